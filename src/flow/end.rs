//! The ends of a flow.

/// One of a flow's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client the flow belongs to.
    Near,
    /// Whoever it talks to.
    Far,
}

impl End {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> End {
        match self {
            End::Near => End::Far,
            End::Far => End::Near,
        }
    }
}
