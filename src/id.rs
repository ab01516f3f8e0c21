//! The name of a connection: a slot and the generation that tells its tenants apart.

use std::fmt;

/// Names one connection for as long as the server runs.
///
/// A slot is used again after its connection has ended, a generation is not, so an id that outlives its
/// connection finds nothing instead of a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(slot: usize, generation: u32) -> Self {
        // Slots are bounded by `connections_max`, far below 2^32: a process has fewer descriptors.
        Self { slot: slot as u32, generation }
    }

    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }

    /// The id in one word, as a poller's token carries it.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The id that [`ConnId::to_bits`] was made from.
    pub fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.slot, self.generation)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
