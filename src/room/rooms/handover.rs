//! Rooms on their way from one process to another.

use super::super::join::JoinError;
use super::super::keys::Keys;
use super::super::log::Log;
use super::super::position::Position;
use super::super::snapshot::{self, Shot, SnapshotError, Writer};
use super::Rooms;

/// Whether these rooms are the ones that are published in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// They are.
    #[default]
    Ours,
    /// A copy is on its way; nothing is published until it is known which of the two goes on.
    Frozen,
    /// The copy goes on. What is here is only read.
    Gone,
}

impl Rooms {
    /// How long a room that was taken over waits for its members, where nothing else keeps it.
    const GUARD_MS: u64 = 60_000;

    /// Nothing is published from now on, so that a copy stays the whole truth; who wants to publish waits.
    pub fn freeze(&mut self) {
        if self.hold == Hold::Ours {
            self.hold = Hold::Frozen;
            // So that whoever asks whether anybody has to wait asks about nothing else. Where rooms are shared, nobody has
            // to: both processes publish through the backplane.
            self.crowded += usize::from(self.changes.is_none());
        }
    }

    /// No other process has taken the rooms over: those who waited go on.
    pub fn thaw(&mut self) {
        if self.hold == Hold::Frozen {
            self.hold = Hold::Ours;
            self.crowded -= usize::from(self.changes.is_none());
            self.released.extend(self.frozen.drain(..));
        }
    }

    /// Another process has taken the rooms over: what is published is published there.
    pub fn give_up(&mut self) {
        self.freeze();
        self.hold = Hold::Gone;
    }

    /// Whether it is not known yet which process goes on.
    pub fn is_frozen(&self) -> bool {
        self.hold == Hold::Frozen
    }

    /// Whether nothing can be published here, now or any more.
    pub fn is_held(&self) -> bool {
        self.hold != Hold::Ours
    }

    /// All rooms as bytes, at most `bytes_max`. Where they are longer, rooms are written without their history.
    ///
    /// # Errors
    /// [`SnapshotError::TooLong`], where that does not do either.
    pub fn export(&mut self, bytes_max: usize) -> Result<Vec<u8>, SnapshotError> {
        if self.changes.is_some() {
            // The backplane has them all.
            return Writer::new(0, bytes_max).finish();
        }
        let least = |(_, room): (usize, &super::Room)| Writer::least(&room.name, room.keys.as_deref());
        let mut reserved: usize = self.rooms.iter().map(least).sum::<usize>() + 4;
        let mut writer = Writer::new(self.rooms.len(), bytes_max);
        for (_, room) in &mut self.rooms {
            room.log.age(self.now_ms);
            reserved -= Writer::least(&room.name, room.keys.as_deref());
            writer.room(&room.name, &room.log, room.lag, room.keys.as_deref(), reserved);
        }
        writer.finish()
    }

    /// Goes on with rooms that another process has exported: the same epochs, the next offsets. Returns how many.
    ///
    /// # Errors
    /// [`SnapshotError`]; the rooms are then not to be used.
    pub fn import(&mut self, bytes: &[u8]) -> Result<usize, SnapshotError> {
        let shots = snapshot::read(bytes)?;
        if self.changes.is_some() {
            // What counts is what the backplane has.
            return Ok(0);
        }
        for shot in &shots {
            if self.names.contains_key(shot.name) {
                return Err(SnapshotError::Torn);
            }
            let key = self.make(shot.name)?;
            self.resume(key, shot);
        }
        Ok(shots.len())
    }

    fn resume(&mut self, key: usize, shot: &Shot<'_>) {
        let (oldest_ms, keys_max) = (self.oldest_key_ms(), self.limits.idempotency_keys_max);
        let mut log = Log::resume(shot.epoch, shot.base, self.limits.room_log_bytes_max, self.tally.clone());
        log.set_keep(shot.keep);
        for (time_ms, is_notice, message) in &shot.history {
            log.append(*message, *is_notice, log.head(), *time_ms, None);
        }
        log.age(self.now_ms);
        let room = &mut self.rooms[key];
        room.log = log;
        room.lag = shot.lag;
        room.left_ms = self.now_ms;
        room.guarded_ms = self.now_ms + Self::GUARD_MS;
        room.members.rest_at(room.log.head());
        room.trim();
        for (time_ms, offset, known) in &shot.keys {
            let keys = room.keys.get_or_insert_with(|| Box::new(Keys::default()));
            let position = Position { epoch: shot.epoch, offset: *offset };
            keys.remember(known, position, *time_ms, keys_max, oldest_ms);
        }
        self.charge(key);
        self.next_epoch = self.next_epoch.max(shot.epoch.saturating_add(1));
    }
}

impl From<JoinError> for SnapshotError {
    fn from(error: JoinError) -> Self {
        SnapshotError::Room(error)
    }
}
