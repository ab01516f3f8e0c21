//! How the server is, in numbers that are there without looking for them.

use super::Shared;

/// How the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Connections, in whatever phase.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// What time it is, likewise.
    pub now_ms: u64,
    /// The memory that it keeps within, in bytes; `None` where nobody has said, and the machine does not.
    pub memory_budget: Option<usize>,
    /// Whether it is about to end.
    pub is_draining: bool,
    /// Why nobody new is to be sent here, if so.
    pub unready: Option<&'static str>,
}

impl Shared {
    pub(super) fn vitals(&mut self) -> Vitals {
        Vitals {
            connections: self.connections,
            rooms: self.rooms.len(),
            started_ms: self.start_ms,
            now_ms: self.now_ms,
            memory_budget: Some(self.budget.bytes).filter(|bytes| *bytes != usize::MAX),
            is_draining: self.is_draining,
            unready: self.unready(),
        }
    }
}
