//! Where the parts of the kernel's image lie, which each get permissions of their own.

use core::ops::Range;

unsafe extern "C" {
    static image_text: u8;
    static image_rodata: u8;
    static image_data: u8;
    static stack_guard: u8;
}

/// Addresses of the image's parts.
pub struct Image {
    /// Code.
    pub text: Range<usize>,
    /// Constants.
    pub rodata: Range<usize>,
    /// The page below the stack.
    pub stack_guard: usize,
}

impl Image {
    /// The parts as `linker.ld` laid them out.
    pub fn linked() -> Self {
        let address = |symbol: *const u8| symbol.addr();
        Self {
            text: address(&raw const image_text)..address(&raw const image_rodata),
            rodata: address(&raw const image_rodata)..address(&raw const image_data),
            stack_guard: address(&raw const stack_guard),
        }
    }
}
