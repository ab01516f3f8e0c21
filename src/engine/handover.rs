//! What the engine does when another process takes its place, or when it takes another's.

use std::time::{Duration, Instant};

use super::handler::Handler;
use super::{Engine, Transport};
use crate::room::snapshot::SnapshotError;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Copies all rooms for another process. Nothing is published until [`Engine::thaw`] or [`Engine::hand_over`] says
    /// which of the two goes on: members who want to are not read, requests are told to try again.
    ///
    /// # Errors
    /// [`SnapshotError::TooLong`]; then everything stays as it was.
    pub fn freeze(&mut self) -> Result<Vec<u8>, SnapshotError> {
        // What handlers have asked for since the last turn belongs to the rooms, too.
        self.run_commands();
        self.shared.rooms.freeze();
        let copied = self.shared.rooms.export(self.shared.rules.limits.takeover_bytes_max);
        if copied.is_err() {
            self.thaw();
        }
        copied
    }

    /// Goes on, since the other process does not.
    pub fn thaw(&mut self) {
        self.shared.rooms.thaw();
    }

    /// The other process goes on with the rooms: drains without a delay, for new visitors are served there already.
    pub fn hand_over(&mut self, now: Instant) {
        self.shared.rooms.give_up();
        if self.accepts() {
            self.set_time(now);
            self.begin_drain(Duration::ZERO);
        }
    }

    /// Whether nothing can be published, be it that the other process goes on or that it is not known yet.
    pub fn is_held(&self) -> bool {
        self.shared.rooms.is_held()
    }

    /// Goes on with the rooms of another process; how many there are.
    ///
    /// # Errors
    /// [`SnapshotError`]; the engine is then not to be used.
    pub fn restore(&mut self, rooms: &[u8], now: Instant) -> Result<usize, SnapshotError> {
        self.set_time(now);
        let count = self.shared.rooms.import(rooms)?;
        self.shared.charge_rooms();
        Ok(count)
    }
}
