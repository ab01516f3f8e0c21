//! Rooms that are shared with other nodes: they are opened first, and appended to only what comes back from all of them.

use std::sync::Arc;

use super::super::encoding::Encoding;
use super::super::join::Membership;
use super::super::lineage::Lineage;
use super::super::log::{Keep, Lag, Log};
use super::super::position::Position;
use super::super::press::Press;
use super::Rooms;
use crate::id::ConnId;
use crate::ledger::End;
use crate::ws::message::Message;

/// What has become of a room that the other nodes have to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is wanted here now.
    Opened(Arc<str>),
    /// It is not wanted here any more.
    Closed(Arc<str>),
    /// The server has something to say in it.
    Announced(Arc<str>, String),
    /// A user has so many connections in it here now.
    Seated {
        /// The room.
        room: Arc<str>,
        /// Whose they are.
        user: Arc<str>,
        /// How many; none when the last has gone.
        connections: u32,
        /// Whether the others are told when the user comes and goes.
        is_announced: bool,
    },
}

impl Rooms {
    /// For how many milliseconds a room that has been opened stays without anybody.
    const OPENED_MS: u64 = 1_000;

    /// From now on rooms are shared: each is opened before it can be joined; and whether all nodes together list who is
    /// in them.
    pub fn share(&mut self, lists_together: bool) {
        self.changes.get_or_insert_default();
        self.lists_together = lists_together;
    }

    /// Notes what has become of a room, if rooms are shared at all.
    pub(super) fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
        }
    }

    /// What has become of rooms since it was asked the last time.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How much of a room is kept; `None` where there is none of this name.
    pub fn keep_of(&self, name: &str) -> Option<Keep> {
        self.get(name).map(|room| room.log.keep())
    }

    /// What happens to a room's slow members.
    pub fn lag_of(&self, name: &str) -> Lag {
        self.get(name).map_or(Lag::Close, |room| room.lag)
    }

    /// Whether a room is there and not open yet.
    pub fn is_opening(&self, name: &str) -> bool {
        self.changes.is_some() && self.get(name).is_some_and(|room| room.is_opening)
    }

    /// Whether the walk is so far behind in some room that nothing more is to be taken from other nodes.
    pub fn is_any_crowded(&self) -> bool {
        self.crowded > 0
    }

    /// A room is open: whoever waits for it need not any longer.
    pub fn opened(&mut self, name: &str) {
        if let Some(key) = self.names.get(name).copied() {
            let room = &mut self.rooms[key];
            room.is_opening = false;
            room.left_ms = self.now_ms;
            // Nobody is in it, but those who wait are about to be: a room without history would go before they are.
            room.guarded_ms = room.guarded_ms.max(self.now_ms + Self::OPENED_MS);
            self.woken.extend(std::mem::take(&mut room.listeners));
        }
    }

    /// The members of a room, and how each reads it.
    pub fn readers(&self, name: &str) -> Vec<(ConnId, Membership, Encoding)> {
        let Some(key) = self.names.get(name).copied() else { return Vec::new() };
        let members = self.rooms[key].members.iter();
        let place = |slot| Membership { room: key as u32, slot: slot as u32 };
        members.map(|(slot, member)| (member.conn, place(slot), member.wire.encoding)).collect()
    }

    /// A room goes on after this position, with all its members; what came before is gone. Requests that wait for
    /// news are told.
    pub fn begin(&mut self, name: &str, position: Position, lineage: Lineage) {
        let Some(key) = self.names.get(name).copied() else { return };
        let room = &mut self.rooms[key];
        let mut log =
            Log::resume(position.epoch, position.offset, self.limits.room_log_bytes_max, self.tally.clone());
        log.set_keep(room.log.keep());
        log.set_lineage(lineage);
        self.ledger.end(End::Reset, room.owed_to_all());
        room.begin(log);
        if !room.is_opening {
            self.woken.extend(std::mem::take(&mut room.listeners));
        }
        let crowded = self.is_behind(key);
        self.set_crowded(key, crowded);
        self.charge(key);
    }

    /// A room goes on where it is, under another epoch: nobody misses anything.
    pub fn rename(&mut self, name: &str, epoch: u64, lineage: Lineage) {
        if let Some(key) = self.names.get(name).copied() {
            self.rooms[key].log.rename(epoch, lineage);
        }
    }

    /// Appends what has come back from all nodes; the author's place is found among `memberships`.
    pub fn append_shared(
        &mut self,
        name: &str,
        (message, time_ms, is_notice): (Message<'_>, u64, bool),
        memberships: &[Membership],
        press: &mut Press<'_>,
    ) {
        let Some(key) = self.names.get(name).copied() else { return };
        let author = memberships.iter().find(|author| author.room as usize == key);
        let author = author.map(|author| author.slot as usize);
        let is_opening = self.rooms[key].is_opening;
        let listeners = std::mem::take(&mut self.rooms[key].listeners);
        self.put(key, message, (is_notice, author), time_ms, Some(press));
        // Before it is open, whoever waits waits for more than one publication.
        match is_opening {
            true => self.rooms[key].listeners = listeners,
            false => self.woken.extend(listeners),
        }
        self.charge(key);
    }

    /// Appends for all who are there, whatever comes of it.
    pub(super) fn put(
        &mut self,
        key: usize,
        message: Message<'_>,
        (is_notice, author): (bool, Option<usize>),
        time_ms: u64,
        press: Option<&mut Press<'_>>,
    ) -> Position {
        let room = &mut self.rooms[key];
        let is_for_author = author.is_none_or(|slot| !room.is_quiet(slot));
        let members = room.members.len() as u64 - u64::from(!is_for_author);
        let (times, displaced) = self.ledger.published(&mut room.standing, key as u32, members);
        let position = room.append(message, is_notice, author, time_ms, press);
        room.log.note_times(times);
        if let Some(displaced) = displaced {
            self.displace(displaced);
        }
        let room = &mut self.rooms[key];
        self.woken.extend(std::mem::take(&mut room.listeners));
        if !room.active && !room.members.is_empty() {
            room.active = true;
            room.members.begin_circle(room.log.head());
            self.active.push_back(key);
        }
        let crowded = self.is_behind(key);
        self.set_crowded(key, crowded);
        position
    }
}
