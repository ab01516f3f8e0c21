//! The users of one room at this node, and what Redis is still to be told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::room::presence::Census;

/// A user at this node, in one room.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// How many connections it has; one that has none is there until Redis knows.
    connections: u32,
    is_announced: bool,
    /// How many Redis has been told of.
    told: u32,
    /// Its place among those that are to be told.
    place: Option<u64>,
    /// It is being told.
    is_sent: bool,
}

/// What this node has to do with the presence in one room.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub(super) seats: BTreeMap<Arc<str>, Seat>,
    /// Who is to be told of, the first in front.
    queue: BTreeMap<u64, Arc<str>>,
    places: u64,
    /// What is being told, until it is answered.
    sent: Vec<(Arc<str>, u32)>,
    pub(super) is_asking: bool,
    /// Which step of this node was the last that Redis has taken; 0 where it has nothing of it.
    pub(super) version: u64,
    pub(super) epoch: Bytes,
    /// The room's log begins anew, and with it what its readers know: who is entered again does not join.
    is_quiet: bool,
    pub(super) due_ms: Option<u64>,
    pub(super) census: Census,
}

impl Present {
    /// A user has so many connections now; says whether that is news for the other nodes.
    pub(super) fn set(&mut self, user: &Arc<str>, connections: u32, is_announced: bool) -> bool {
        let seat = self.seats.entry(user.clone()).or_default();
        if seat.connections == 0 {
            seat.is_announced = is_announced;
        }
        seat.connections = connections;
        if connections == 0 && seat.told == 0 && !seat.is_sent {
            // It has come and gone, and nobody has heard of it.
            self.remove(user);
            return false;
        }
        // Only that somebody comes or has gone is news; how many connections one has is told with what comes next.
        let is_news = (connections == 0) != (seat.told == 0) || seat.is_sent;
        self.mark(user);
        is_news
    }

    fn mark(&mut self, user: &Arc<str>) {
        if let Some(seat) = self.seats.get_mut(user).filter(|seat| seat.place.is_none()) {
            self.places += 1;
            seat.place = Some(self.places);
            self.queue.insert(self.places, user.clone());
        }
    }

    /// Whether there is something to be told.
    pub(super) fn has_news(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes what is to be told next: each user, its connections, and the letter that says how it is entered.
    pub(super) fn take(&mut self, max: usize) -> Vec<(Arc<str>, u32, &'static [u8])> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((_, user)) = self.queue.pop_first()
        {
            let Some(seat) = self.seats.get_mut(&user) else { continue };
            (seat.place, seat.is_sent) = (None, true);
            let letter = match (seat.is_announced, self.is_quiet && seat.told > 0) {
                (true, false) => &b"a"[..],
                (true, true) => b"q",
                (false, _) => b"l",
            };
            taken.push((user, seat.connections, letter));
        }
        self.sent = taken.iter().map(|(user, connections, _)| (user.clone(), *connections)).collect();
        taken
    }

    /// What was sent has been taken.
    pub(super) fn confirm(&mut self) {
        for (user, connections) in std::mem::take(&mut self.sent) {
            let Some(seat) = self.seats.get_mut(&user) else { continue };
            (seat.is_sent, seat.told) = (false, connections);
            if seat.connections == 0 && connections == 0 {
                self.remove(&user);
            }
        }
        self.is_quiet &= self.has_news();
    }

    /// It is not known whether what was sent has been taken.
    pub(super) fn doubt(&mut self) {
        for (user, connections) in &self.sent {
            if let Some(seat) = self.seats.get_mut(user) {
                seat.told = seat.told.max(*connections);
            }
        }
        self.take_back();
    }

    /// What was sent has not been taken.
    pub(super) fn take_back(&mut self) {
        for (user, _) in std::mem::take(&mut self.sent) {
            if let Some(seat) = self.seats.get_mut(&user) {
                seat.is_sent = false;
            }
            self.mark(&user);
        }
    }

    /// Redis has these users, and not what it was told last: everything that differs is to be told.
    pub(super) fn renew(&mut self, version: u64, epoch: Bytes, known: &[Arc<str>]) {
        // Readers have been told that the log begins anew, and look for themselves who is there. They know those who
        // have gone meanwhile, too, and are told of that.
        self.is_quiet = !self.epoch.is_empty() && self.epoch != epoch;
        (self.version, self.epoch) = (version, epoch);
        self.take_back();
        let known: BTreeSet<&Arc<str>> = known.iter().collect();
        for user in &known {
            let seat = self.seats.entry((*user).clone()).or_default();
            seat.told = seat.told.max(1);
        }
        let users: Vec<Arc<str>> = self.seats.keys().cloned().collect();
        for user in users {
            let is_told = |seat: &Seat| seat.connections > 0 || (self.is_quiet && seat.told > 0);
            let is_owed = self.seats.get(&user).is_some_and(is_told);
            match is_owed || known.contains(&user) {
                true => self.mark(&user),
                false => self.remove(&user),
            }
        }
    }

    fn remove(&mut self, user: &str) {
        if let Some(place) = self.seats.remove(user).and_then(|seat| seat.place) {
            self.queue.remove(&place);
        }
    }

    pub(super) fn has_users(&self) -> bool {
        self.seats.values().any(|seat| seat.connections > 0)
    }
}
