//! What one connection may have read, inflated and handled in one turn, so that the others get theirs.

use crate::limits::Limits;

/// How much one connection may still have in this turn.
pub(super) struct Budget {
    /// Bytes read; what has been read is also handled.
    pub(super) to_read: usize,
    /// Bytes inflated so far, and at the most: few that were read can become many, and each takes its time.
    pub(super) inflated: usize,
    inflated_max: usize,
    /// Frames handled: each takes its time, however short it is.
    pub(super) to_handle: usize,
}

impl Budget {
    /// A request is looked through, routed and answered with a head of its own.
    pub(super) const FRAMES_PER_REQUEST: usize = 16;

    pub(super) fn new(limits: &Limits) -> Self {
        let bytes = limits.read_budget;
        Self { to_read: bytes, inflated: 0, inflated_max: bytes, to_handle: limits.frame_budget }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.to_read == 0 || self.is_busy()
    }

    /// Whether what has been read already is to wait, too.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.inflated >= self.inflated_max || self.to_handle == 0
    }
}
