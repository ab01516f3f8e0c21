//! Who comes in, and who is told that there is no place.

use std::time::Instant;

use super::handler::Handler;
use super::peer::Peer;
use super::{Engine, Transport, get};
use crate::http::response::Refusal;
use crate::id::ConnId;
use crate::timer::Tick;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Slots past `connections_max` for connections that are only being told that there is no place for them.
    const REFUSALS_MAX: usize = 64;

    /// The id that the next [`Engine::connect`] gives.
    pub fn next_id(&self) -> ConnId {
        ConnId::new(self.peers.vacant_key(), self.generation)
    }

    /// Takes over a connection that has just been accepted. Where there are too many, it is told so or dropped.
    pub fn connect(&mut self, transport: T, now: Instant) -> Option<ConnId> {
        self.take_in(transport, false, now)
    }

    /// As [`Engine::connect`], for one that came through a listener for those who run the server: it has a place also
    /// where all are taken, or memory is short, since that is when somebody wants to look. It counts for no address.
    pub fn connect_admin(&mut self, transport: T, now: Instant) -> Option<ConnId> {
        self.take_in(transport, true, now)
    }

    fn take_in(&mut self, transport: T, is_admin: bool, now: Instant) -> Option<ConnId> {
        self.shared.metrics.accepted.add(1);
        let limits = &self.shared.rules.limits;
        let is_full = match is_admin {
            true => self.admins >= limits.admin_connections_max,
            false => self.peers.len() - self.refusals - self.admins >= limits.connections_max,
        };
        let is_crowded = self.refusals >= Self::REFUSALS_MAX;
        if (is_full && is_crowded) || self.stopping.is_some() {
            self.note_refusal(self.next_id(), None, 503);
            return None;
        }
        let is_short = !is_admin && self.is_short_of_memory();
        let id = self.next_id();
        // 31 bits: a poller's token keeps its highest bit for sources that are no connections.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        self.now = Tick::at(self.start, now);
        let capacity = self.peers.capacity();
        // One for whom there is no place is told so like any other.
        let is_admin = is_admin && !is_full;
        self.admins += usize::from(is_admin);
        self.shared.connections += 1;
        self.peers.insert(Peer { is_admin, ..Peer::new(transport, id, self.now) });
        if self.peers.capacity() != capacity {
            self.charge_table();
        }
        let may = match (is_full, is_short) {
            (true, _) => Err(Refusal::Unavailable("too many connections")),
            (false, true) => Err(Refusal::Unavailable("the server is short of memory")),
            (false, false) if is_admin => Ok(()),
            (false, false) => self.count_client(id),
        };
        if let Err(refusal) = may {
            if is_short && !is_full {
                // This one has a place, and takes it up while it is told.
                self.refuse(id, &refusal.into());
            } else if is_crowded {
                self.note_refusal(id, None, refusal.status());
                self.shared.connections -= 1;
                self.peers.remove(id.slot());
                return None;
            } else {
                self.turn_away(id, refusal, false);
            }
        }
        if let Some(peer) = get(&mut self.peers, id) {
            peer.charge(&self.shared.metrics.memory);
        }
        self.schedule(id);
        Some(id)
    }

    /// Tells a connection that there is no place for it. It lingers beside those that have one, so that nobody's refused
    /// connections take the places of others; where too many do, it is dropped.
    pub(super) fn turn_away(&mut self, id: ConnId, refusal: Refusal, bodiless: bool) {
        let is_crowded = self.refusals >= Self::REFUSALS_MAX;
        self.note_refusal(id, None, refusal.status());
        let Some(peer) = get(&mut self.peers, id) else { return };
        if is_crowded {
            return self.lose(id);
        }
        if !std::mem::replace(&mut peer.refused, true) {
            self.refusals += 1;
        }
        self.send_response(id, &refusal.into(), bodiless, true);
    }
}
