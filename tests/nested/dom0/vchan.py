"""libxenvchan, Xen's own library, as Qubes uses it: a stream of bytes each way between two domains, over shared pages.

A domain's server is found by two nodes in XenStore. Qubes removes them when the first event of a client has arrived,
so that a client never finds a server that is taken.
"""

import ctypes
import glob
import subprocess

# Where the flag `blocking` is in struct libxenvchan: its constructors leave it as malloc found it. Behind three pointers
# and the port (libxenvchan.h); the flags before it are is_server and server_persist.
FLAGS_OFFSET, BLOCKING = 0x1C, 4

(LIBRARY,) = glob.glob("/usr/lib/x86_64-linux-gnu/libxenvchan.so.4.*[0-9]")[:1]
_xen = ctypes.CDLL(LIBRARY, use_errno=True)
_text, _size, _handle = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p
_xen.libxenvchan_server_init.argtypes = [_handle, ctypes.c_int, _text, _size, _size]
_xen.libxenvchan_server_init.restype = _handle
_xen.libxenvchan_client_init.argtypes = [_handle, ctypes.c_int, _text]
_xen.libxenvchan_client_init.restype = _handle
for _name in ("read", "write"):
    getattr(_xen, f"libxenvchan_{_name}").argtypes = [_handle, _text, _size]
for _name in ("close", "wait", "fd_for_select", "is_open", "data_ready", "buffer_space"):
    getattr(_xen, f"libxenvchan_{_name}").argtypes = [_handle]


class VchanFailed(Exception):
    """The library refused; the text says what."""


class Vchan:
    """One end of a stream. Nothing here waits, but `wait` for an event."""

    def __init__(self, handle: int | None, what: str, server_path: str = "") -> None:
        if not handle:
            raise VchanFailed(f"{what}: errno {ctypes.get_errno()}")
        self.handle: int | None = handle
        self.server_path = server_path
        flags = ctypes.c_uint8.from_address(handle + FLAGS_OFFSET)
        flags.value &= ~BLOCKING

    @classmethod
    def server(cls, domain: int, port: int, ring_bytes: int) -> "Vchan":
        """A server for that domain; a path that does not begin with a slash is dom0's."""
        path = f"data/vchan/{domain}/{port}"
        handle = _xen.libxenvchan_server_init(None, domain, path.encode(), ring_bytes, ring_bytes)
        return cls(handle, f"no server for domain {domain}", path)

    @classmethod
    def client(cls, own_domain: int, port: int) -> "Vchan":
        """Connects to dom0's server for that domain, which learns of it by the first event."""
        path = f"/local/domain/0/data/vchan/{own_domain}/{port}"
        return cls(_xen.libxenvchan_client_init(None, 0, path.encode()), f"no connection to {path}")

    def fileno(self) -> int:
        """What to poll: readable when there was an event."""
        return _xen.libxenvchan_fd_for_select(self.handle)

    def wait(self) -> None:
        """Takes one event. The first is that of a client: from then on others do not find this server."""
        _xen.libxenvchan_wait(self.handle)
        self.hide()

    def hide(self) -> None:
        """Removes a server's nodes from XenStore."""
        if self.server_path:
            # The directory of the domain goes, too, when nothing else is in it.
            subprocess.run(["xenstore-rm", "-t", f"/local/domain/0/{self.server_path}"], check=True)
            self.server_path = ""

    def is_open(self) -> bool:
        """Neither side has closed; a server that still waits for its client is open."""
        return _xen.libxenvchan_is_open(self.handle) != 0

    def ready(self) -> int:
        """How many bytes can be read."""
        return self._checked(_xen.libxenvchan_data_ready(self.handle), "data_ready")

    def space(self) -> int:
        """How many bytes can be written."""
        return self._checked(_xen.libxenvchan_buffer_space(self.handle), "buffer_space")

    def read(self, count: int) -> bytes:
        """What is there, `count` bytes at most."""
        buffer = ctypes.create_string_buffer(max(count, 1))
        got = self._checked(_xen.libxenvchan_read(self.handle, buffer, count), "read") if count else 0
        return buffer.raw[:got]

    def write(self, data: bytes) -> int:
        """Writes what there is room for; returns how many bytes those were."""
        data = data[: self.space()]
        return self._checked(_xen.libxenvchan_write(self.handle, data, len(data)), "write") if data else 0

    def close(self) -> None:
        """Ends it for both sides."""
        if self.handle:
            _xen.libxenvchan_close(self.handle)
        self.handle = None
        self.hide()

    def _checked(self, result: int, what: str) -> int:
        if result < 0:
            raise VchanFailed(f"{what}: {result}, errno {ctypes.get_errno()}")
        return result
