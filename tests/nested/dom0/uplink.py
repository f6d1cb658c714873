"""The servers on the uplink side: HTTP, UDP echo, DNS, and one that only opens and closes, on every address of dom0.

Writes /run/uplink-ready when all of them listen.
"""

import hashlib
import http.server
import pathlib
import shutil
import socket
import socketserver
import struct
import threading
from collections.abc import Callable

HTTP_PORTS = (80, 81, 8080)
UDP_ECHO_PORTS = (7, 9007)
DNS_PORT = 53
# Where clients of a Qubes system ask; what comes to an address of its own is answered from there.
QUBES_RESOLVER = "10.139.1.1"
CLOSED_AT_ONCE_PORT = 9
NAMES = {b"\x06uplink\x04test\x00": "10.0.0.1"}
SERVED = pathlib.Path("/srv")


class Files(http.server.BaseHTTPRequestHandler):
    """Serves SERVED; answers an upload with the SHA-256 of what arrived, and /peer with the client's address."""

    def do_GET(self) -> None:
        file = SERVED / self.path.removeprefix("/")
        if self.path == "/peer":
            self.answer(200, self.client_address[0].encode())
        elif file.is_file():
            self.send(file)
        else:
            self.answer(404, b"no such file\n")

    def do_POST(self) -> None:
        total = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read(min(left, 1 << 16))):
            total.update(data)
            left -= len(data)
        self.answer(200, total.hexdigest().encode())

    def send(self, file: pathlib.Path) -> None:
        """In pieces: a client that is destroyed on the way is waited for, a quarter of an hour and with all that is held."""
        self.send_response(200)
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        with file.open("rb") as content:
            shutil.copyfileobj(content, self.wfile)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve_udp(port: int, answer: Callable[[bytes], bytes | None], address: str = "") -> None:
    """Answers every datagram to `port` from a thread of its own."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # There may be one for all addresses besides.
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    udp.bind((address, port))

    def run() -> None:
        while True:
            query, peer = udp.recvfrom(65536)
            if (reply := answer(query)) is not None:
                udp.sendto(reply, peer)

    threading.Thread(target=run, daemon=True).start()


def close_at_once(port: int) -> None:
    """Accepts every TCP connection to `port` and closes it."""
    door = socket.create_server(("", port), backlog=1024)

    def run() -> None:
        while True:
            door.accept()[0].close()

    threading.Thread(target=run, daemon=True).start()


def resolve(query: bytes) -> bytes | None:
    """The DNS reply to a query with one question: an address, an empty answer, or NXDOMAIN (RFC 1035)."""
    if len(query) < 17:
        return None
    end = query.index(b"\0", 12) + 1
    name, kind = query[12:end].lower(), query[end : end + 2]
    known = name in NAMES
    records = b""
    if known and kind == b"\0\1":
        records = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(NAMES[name])
    flags = 0x8580 | (0 if known else 3)
    return query[:2] + struct.pack(">HHHHH", flags, 1, bool(records), 0, 0) + query[12 : end + 4] + records


def main() -> None:
    for port in UDP_ECHO_PORTS:
        serve_udp(port, lambda query: query)
    serve_udp(DNS_PORT, resolve)
    serve_udp(DNS_PORT, resolve, QUBES_RESOLVER)
    close_at_once(CLOSED_AT_ONCE_PORT)
    # Not http.server.HTTPServer, which asks the DNS for our own name first.
    servers = [socketserver.ThreadingTCPServer(("", port), Files) for port in HTTP_PORTS]
    for server in servers:
        # In effect while the kernel permits it (net.ipv4.tcp_fastopen); the number is that of connections that may wait.
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    pathlib.Path("/run/uplink-ready").touch()


main()
