//! What the ledger knows of rooms: of which class each is, and which are the busiest.

use super::Rooms;
use crate::ledger::snapshot::BusyRoom;
use crate::ledger::{End, Ledger};
use crate::planted::{Fault, is_planted};

impl Rooms {
    /// The ledger of all deliveries.
    #[inline]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, to be told of time and of the loop.
    #[inline]
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Says of which class a room is, if there is one of this name.
    pub fn classify(&mut self, name: &str, class: &str) {
        if let Some(key) = self.names.get(name) {
            self.ledger.classify(&mut self.rooms[*key].standing, class);
        }
    }

    /// A room has lost its place among those that may be busy.
    pub(super) fn displace(&mut self, key: u32) {
        if let Some(room) = self.rooms.get_mut(key as usize) {
            self.ledger.displace(&mut room.standing);
        }
    }

    /// A member leaves that was still to be sent so many.
    pub(super) fn end_with_member(&mut self, owed: u64) {
        if !is_planted(Fault::DeliveryForgotten) {
            self.ledger.end(End::Gone, owed);
        }
    }

    /// Works out, once in a while, which rooms are the busiest.
    #[inline]
    pub fn keep_ledger(&mut self) {
        if self.ledger.is_due() {
            self.turn_page();
        }
    }

    #[cold]
    fn turn_page(&mut self) {
        for (key, account) in self.ledger.turn_page() {
            if let Some(room) = self.rooms.get_mut(key as usize) {
                room.standing.move_to(account);
            }
        }
    }

    /// The busiest rooms, the busiest first.
    pub fn busiest(&self) -> Vec<BusyRoom> {
        let named = self.ledger.busiest().into_iter().filter_map(|busy| {
            let room = self.rooms.get(busy.key as usize)?;
            Some(BusyRoom {
                name: room.name.clone(),
                class: busy.class,
                members: room.members.len(),
                rate: busy.rate,
                stages: busy.stages,
            })
        });
        named.collect()
    }

    /// Deliveries that members are still to be sent, found out by looking at each: for simulators and tests.
    pub fn recount_owed(&self) -> u64 {
        self.rooms.iter().map(|(_, room)| room.owed_to_all()).sum()
    }
}
