//! The walk: whose turn it is in which room, and who has to wait for it.

use std::sync::Arc;

use super::super::encoding::Encoding;
use super::super::join::Membership;
use super::super::log::Lag;
use super::super::members::Step;
use super::super::room::Visit;
use super::Rooms;
use crate::id::ConnId;
use crate::ledger::End;
use crate::planted::{Fault, is_planted};

impl Rooms {
    /// Whether the walk has half a log's length still to do in a room.
    pub(super) fn is_behind(&self, key: usize) -> bool {
        self.rooms[key].backlog() > self.limits.room_log_bytes_max as u64 / 2
    }

    pub(super) fn set_crowded(&mut self, key: usize, crowded: bool) {
        let room = &mut self.rooms[key];
        self.crowded = self.crowded + usize::from(crowded) - usize::from(room.crowded);
        room.crowded = crowded;
    }

    /// Whether a publication to this room had better wait.
    pub fn is_crowded(&self, name: &str) -> bool {
        let is_crowded = || self.names.get(name).is_some_and(|key| self.rooms[*key].crowded);
        self.crowded > 0 && (self.is_frozen() || is_crowded())
    }

    /// The first crowded room among these: its members had better wait, for what they send is likely for it.
    pub fn crowded_among(&self, memberships: &[Membership]) -> Option<Arc<str>> {
        if self.crowded == 0 {
            return None;
        }
        let mut rooms = memberships.iter().filter_map(|membership| self.rooms.get(membership.room as usize));
        rooms.find(|room| room.crowded || self.is_held()).map(|room| room.name.clone())
    }

    /// Remembers a publisher that waits for a room while it is crowded; one that was heard meanwhile goes on behind those
    /// that were not.
    pub fn wait_for(&mut self, name: &str, conn: ConnId, was_heard: bool) {
        match self.names.get(name).copied() {
            Some(_) | None if self.is_held() => self.frozen.push(conn),
            Some(key) if self.rooms[key].crowded => {
                let room = &mut self.rooms[key];
                let waiting = if was_heard { &mut room.heard } else { &mut room.waiting };
                waiting.push(conn);
                self.charge(key);
            }
            Some(_) | None => self.released.push_back(conn),
        }
    }

    /// A publisher that need not wait any longer: whoever has waited the longest.
    pub fn pop_released(&mut self) -> Option<ConnId> {
        self.released.pop_front()
    }

    /// Whether some room has news for members that keep up.
    pub fn has_news(&self) -> bool {
        !self.active.is_empty()
    }

    /// The next member to be sent to; each slot looked at takes one of `steps`.
    pub fn next_visit(&mut self, steps: &mut usize) -> Option<(ConnId, Membership)> {
        while let Some(&key) = self.active.front() {
            let room = &mut self.rooms[key];
            *steps = steps.checked_sub(1)?;
            match room.members.step() {
                Step::Slot(slot) => {
                    if let Some(member) = room.members.get(slot)
                        && room.is_due(member)
                    {
                        return Some((member.conn, Membership { room: key as u32, slot: slot as u32 }));
                    }
                }
                Step::Closed => self.close_circle(key),
            }
        }
        None
    }

    /// All who keep up have what was there when the circle began: go round again for what has come since, or rest.
    fn close_circle(&mut self, key: usize) {
        let room = &mut self.rooms[key];
        if room.members.is_empty() {
            // Nobody is left to be sent to, so nobody has to wait for it either.
            room.members.rest_at(room.log.head());
        }
        room.trim();
        let crowded = self.is_behind(key);
        self.set_crowded(key, crowded);
        if !crowded {
            self.released.extend(self.rooms[key].waiting());
        }
        self.charge(key);
        let room = &mut self.rooms[key];
        if room.members.is_empty() {
            room.active = false;
            self.active.pop_front();
            self.free_if_deserted(key);
        } else if room.backlog() == 0 {
            room.active = false;
            self.active.pop_front();
        } else {
            room.members.begin_circle(room.log.head());
        }
    }

    /// Gives the next room its turn.
    pub fn rotate(&mut self) {
        if !self.active.is_empty() {
            self.active.rotate_left(1);
        }
    }

    /// Applies the room's rule for slow members to one whose socket takes bytes again; how many publications it is not
    /// sent, and whether it is to be told.
    pub fn skip(&mut self, membership: Membership) -> (u64, bool) {
        let Some(room) = self.rooms.get_mut(membership.room as usize) else { return (0, false) };
        if room.lag == Lag::Close {
            return (0, false);
        }
        let slot = membership.slot as usize;
        let owed = room.owed(slot);
        let skipped = room.skip(slot);
        self.ledger.end(End::Skipped, owed - room.owed(slot));
        let miscounted = u64::from(skipped > 0 && is_planted(Fault::SkipMiscounted));
        (skipped + miscounted, room.lag == Lag::Skip)
    }

    /// How a member gets its publications.
    pub fn encoding(&self, membership: Membership) -> Encoding {
        let room = self.rooms.get(membership.room as usize);
        let member = room.and_then(|room| room.members.get(membership.slot as usize));
        member.map_or(Encoding::Raw, |member| member.wire.encoding)
    }

    /// A member and what its room has for it; `None` where it has left.
    #[inline]
    pub fn visit(&mut self, membership: Membership) -> Option<Visit<'_>> {
        let room = self.rooms.get_mut(membership.room as usize)?;
        room.visit(membership.slot as usize, &mut self.ledger)
    }

    /// The log's tail has passed a member, which is closed for it: what it has not been sent it never will be.
    pub fn give_up_on(&mut self, membership: Membership) {
        let Some(room) = self.rooms.get_mut(membership.room as usize) else { return };
        self.ledger.end(End::Passed, room.owed(membership.slot as usize));
        room.catch_up(membership.slot as usize);
    }

    /// Says that a member's socket takes no more, or that the member has caught up since.
    ///
    /// Until it has, the walk passes it by and the log is kept for it.
    pub fn set_lagging(&mut self, membership: Membership, lagging: bool) {
        let key = membership.room as usize;
        if let Some(room) = self.rooms.get_mut(key) {
            room.members.set_lagging(membership.slot as usize, lagging);
            if !lagging {
                room.caught_up(membership.slot as usize);
            }
            room.trim();
            self.charge(key);
        }
    }
}
