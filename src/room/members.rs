//! The members of one room and the walk that moves their cursors.

use slab::Slab;

use super::encoding::Wire;
use super::lane::Cursor;
use crate::id::ConnId;
use crate::planted::{Fault, is_planted};

/// One connection in one room.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) conn: ConnId,
    pub(super) cursor: Cursor,
    pub(super) wire: Wire,
    /// Its socket takes no more; it is moved when the socket does, not by the walk.
    pub(super) lagging: bool,
}

/// The members, and where the walk among them stands.
///
/// The walk goes in circles, each from another start so that nobody is always last. A circle brings every member
/// that keeps up to at least the head at which the circle began.
#[derive(Debug, Default)]
pub(super) struct Members {
    slots: Slab<Member>,
    /// One past the highest slot in use.
    high: usize,
    lagging: usize,
    walk: Walk,
}

#[derive(Debug, Default)]
struct Walk {
    at: usize,
    start: usize,
    wrapped: bool,
    /// The log's head when the circle began.
    circle_head: Cursor,
    /// Where every member is that keeps up.
    walked: Cursor,
}

/// One step of the walk.
pub(super) enum Step {
    /// This slot's member is to be sent to, if it is behind.
    Slot(usize),
    /// A circle has closed.
    Closed,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// For how many members there is room.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many members the walk passes by, because they are behind.
    pub(super) fn lagging(&self) -> usize {
        self.lagging
    }

    /// Whether some member's socket takes no more.
    pub(super) fn any_lagging(&self) -> bool {
        self.lagging > 0
    }

    pub(super) fn insert(&mut self, conn: ConnId, cursor: Cursor, wire: Wire) -> usize {
        let slot = self.slots.insert(Member { conn, cursor, wire, lagging: false });
        self.high = self.high.max(slot + 1);
        slot
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.slots.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.slots.iter_mut().map(|(_, member)| member)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Member> {
        self.slots.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Member> {
        self.slots.get_mut(slot)
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Member> {
        let member = self.slots.try_remove(slot)?;
        if is_planted(Fault::WalkSkipsOneAfterLeave) && slot < self.walk.at {
            self.walk.at += 1;
        }
        self.lagging -= usize::from(member.lagging);
        while self.high > 0 && !self.slots.contains(self.high - 1) {
            self.high -= 1;
        }
        Some(member)
    }

    pub(super) fn set_lagging(&mut self, slot: usize, lagging: bool) {
        if let Some(member) = self.slots.get_mut(slot)
            && member.lagging != lagging
        {
            member.lagging = lagging;
            self.lagging = if lagging { self.lagging + 1 } else { self.lagging - 1 };
        }
    }

    /// Where every member is that keeps up.
    pub(super) fn walked(&self) -> Cursor {
        self.walk.walked
    }

    /// Nobody is there: whoever comes starts at `head` or lags.
    pub(super) fn rest_at(&mut self, head: Cursor) {
        self.walk.walked = head;
    }

    /// Begins a circle that brings everybody to `head`.
    pub(super) fn begin_circle(&mut self, head: Cursor) {
        let walk = &mut self.walk;
        // Five eighths on: successive starts fall all around the room.
        walk.start = if self.high == 0 { 0 } else { (walk.start + self.high * 5 / 8 + 1) % self.high };
        walk.at = walk.start;
        walk.wrapped = false;
        walk.circle_head = head;
    }

    /// Goes one slot on. Members that join during a circle start at the head and need no visit in it, so a circle may
    /// miss or meet new slots; those that were there when it began stay where they are, and are met once.
    pub(super) fn step(&mut self) -> Step {
        let walk = &mut self.walk;
        if !walk.wrapped && walk.at >= self.high {
            walk.wrapped = true;
            walk.at = 0;
        }
        if walk.wrapped && walk.at >= walk.start.min(self.high) {
            walk.walked = walk.circle_head;
            return Step::Closed;
        }
        walk.at += 1;
        Step::Slot(walk.at - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_meets_everybody_once_while_others_come_and_go() {
        for seed in 0..200usize {
            let mut members = Members::default();
            let old: Vec<usize> =
                (0..20).map(|i| members.insert(ConnId::new(i, 0), Cursor::default(), Wire::RAW)).collect();
            for _ in 0..seed % 5 {
                members.begin_circle(Cursor::default());
            }
            members.begin_circle(Cursor::default());
            let (mut met, mut gone, mut steps) = (vec![0; 64], Vec::new(), 0);
            while let Step::Slot(slot) = members.step() {
                met[slot] += 1;
                steps += 1;
                match (seed + steps * 7) % 5 {
                    0 => {
                        members.insert(ConnId::new(100, 0), Cursor::default(), Wire::RAW);
                    }
                    1 => {
                        let slot = old[(seed + steps) % old.len()];
                        gone.extend(members.remove(slot).map(|_| slot));
                    }
                    _ => {}
                }
            }
            for slot in old.into_iter().filter(|slot| !gone.contains(slot)) {
                assert_eq!(met[slot], 1, "slot {slot} with seed {seed}");
            }
        }
    }
}
