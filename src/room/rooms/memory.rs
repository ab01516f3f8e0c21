//! What the rooms take up, and what they can do without when memory is short.

use super::super::members::Member;
use super::super::room::Room;
use super::Rooms;
use crate::id::ConnId;

/// Bytes of memory, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Logs, in every encoding that somebody reads.
    pub logs: usize,
    /// Those among them that count until nobody has them any more: [`super::super::long::Tally`].
    pub tallied: usize,
    /// Everything else: names, members, who is present, keys.
    pub rest: usize,
}

impl Room {
    fn held(&self) -> Held {
        // Its name stands in two more tables.
        let names = 3 * self.name.len() + 2 * size_of::<usize>() * 4;
        let members = self.members.capacity() * size_of::<Member>();
        let roll = self.roll.as_ref().map_or(0, |roll| roll.held());
        let keys = self.keys.as_ref().map_or(0, |keys| keys.held());
        let waiting = (self.waiting.capacity() + self.heard.capacity()) * size_of::<ConnId>();
        Held {
            logs: self.log.allocated(),
            tallied: self.log.tallied(),
            rest: size_of::<Self>() + names + members + roll + keys + waiting,
        }
    }
}

impl Rooms {
    /// Bytes of memory taken up by all rooms, and by what they have let go of and slow members have not.
    #[inline]
    pub fn held(&self) -> Held {
        Held { logs: self.held.logs + self.left_behind(), ..self.held }
    }

    /// Bytes of long publications that only those still have whose sockets have cut them.
    #[inline]
    pub fn left_behind(&self) -> usize {
        self.tally.bytes().saturating_sub(self.held.tallied)
    }

    /// What [`Rooms::held`] is, found out by looking at every room: for simulators and tests.
    pub fn recount(&self) -> Held {
        let mut sum = Held::default();
        for held in self.rooms.iter().map(|(_, room)| room.held()) {
            sum.logs += held.logs;
            sum.tallied += held.tallied;
            sum.rest += held.rest;
        }
        sum.logs += self.tally.bytes().saturating_sub(sum.tallied);
        sum
    }

    /// Notes what a room takes up now.
    pub(super) fn charge(&mut self, key: usize) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let held = room.held();
        let before = std::mem::replace(&mut room.charged, held);
        self.recharge(before, held);
    }

    pub(super) fn recharge(&mut self, before: Held, now: Held) {
        self.held.logs = self.held.logs - before.logs + now.logs;
        self.held.tallied = self.held.tallied - before.tallied + now.tallied;
        self.held.rest = self.held.rest - before.rest + now.rest;
    }

    /// Halves the history of up to `count` rooms, and goes on from there the next time.
    pub fn shorten(&mut self, count: usize) {
        self.each(count, |room| {
            room.log.shorten();
            room.trim();
        });
    }

    /// Leaves up to `count` rooms with what members who keep up have not been sent: what is history goes, and what
    /// slow members still had to be sent, who are treated as their room says; and so do keys of publications.
    pub fn cut(&mut self, count: usize) {
        self.each(count, |room| {
            room.log.forget();
            room.log.trim_to(room.members.walked());
            room.keys = None;
        });
    }

    fn each(&mut self, count: usize, change: impl Fn(&mut Room)) {
        for _ in 0..count.min(self.rooms.capacity()) {
            let key = self.next_swept();
            if let Some(room) = self.rooms.get_mut(key) {
                let before = room.log.allocated();
                change(room);
                // A slow member whose place has gone may have to be told.
                if room.log.allocated() != before && room.members.any_lagging() && !room.active {
                    room.active = true;
                    room.members.begin_circle(room.log.head());
                    self.active.push_back(key);
                }
                self.charge(key);
                self.free_if_deserted(key);
            }
        }
    }
}
