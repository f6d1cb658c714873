//! What the driver of a client can be told to do from outside.

/// What a client's driver can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverAction {
    /// Unload and load the driver as Linux does: 5, 6, then 1.
    Reload,
    /// Start anew without having closed, as after a crash: 1.
    Crash,
    /// Windows' driver takes over what its predecessor left: from Connected 5, 6, 1, 4.
    Dance,
    /// Close without a word: 6.
    CloseAtOnce,
    /// Remove the frontend's own directory, as a device model does.
    RemoveDirectory,
    /// Break the rules of the rings.
    BreakRings,
    /// Write states that are none, and the same one twice.
    Babble,
}
