//! stub
/// t
pub struct Timeout;
/// t
pub trait StoreRing {
    /// w
    fn write(&mut self, bytes: &[u8]) -> usize;
    /// r
    fn read(&mut self, bytes: &mut [u8]) -> usize;
    /// w
    fn wait(&mut self) -> Result<(), Timeout>;
}
