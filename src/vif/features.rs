//! What a peer says that it can take.

use crate::wire::packet::Offload;

/// What a peer can take, from its XenStore keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `feature-sg`: packets in more than one slot.
    pub scatter_gather: Support,
    /// Blank IPv4 checksums (the absence of `feature-no-csum-offload`).
    pub blank_checksum: Support,
    /// `feature-gso-tcpv4`: TCP packets that are still to be segmented.
    pub segmentation: Support,
}

impl Features {
    /// Whether a packet with this much work left can be given to the peer. Its checksum does not count: we can complete
    /// it.
    pub fn accept(self, offload: Offload) -> Support {
        if offload.gso.is_some() { self.accept_unsegmented() } else { Support::Yes }
    }

    /// Whether TCP packets that are still to be segmented can be given to the peer.
    pub fn accept_unsegmented(self) -> Support {
        if self.blank_checksum == Support::No || self.scatter_gather == Support::No {
            return Support::No;
        }
        self.segmentation
    }
}

/// Whether a peer supports something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It does not.
    No,
}

impl Support {
    /// From a `feature-` key; missing means that there is none.
    pub fn of(flag: Option<u32>) -> Self {
        if flag.unwrap_or(0) != 0 { Self::Yes } else { Self::No }
    }

    /// From a `feature-no-` key; missing means that there is support.
    pub fn unless(flag: Option<u32>) -> Self {
        match Self::of(flag) {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
        }
    }

    /// The value of a `feature-` key.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Yes => "1",
            Self::No => "0",
        }
    }
}
