//! What an operator is told of: one event for each thing that is notable, with whom it concerns.
//!
//! Nothing here is on the way of a message: what can come in floods is counted, and said once a second.

use std::sync::Arc;

use tracing::{info, warn};

use super::handler::Handler;
use super::peer::Peer;
use super::pressure::Pressure;
use super::{Engine, Transport, get};
use crate::conn::Closed;
use crate::http::head::Request;
use crate::id::ConnId;
use crate::log::{Kind, Throttle};
use crate::proxy::networks::Hop;

/// What has been said, as far as that decides on what is said next.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) throttle: Throttle,
    /// How short memory is, and what was last said of that.
    pressure: Pressure,
    pressure_said: Pressure,
}

impl Default for Notes {
    fn default() -> Self {
        Self { throttle: Throttle::default(), pressure: Pressure::None, pressure_said: Pressure::None }
    }
}

/// Who somebody is: the client that a proxy names, or the other end itself.
pub(super) fn address<T: Transport, S>(peer: &Peer<T, S>) -> String {
    match (peer.client.as_deref(), peer.transport.hop()) {
        (Some(client), _) => client.to_string(),
        (None, hop) => hop_name(hop),
    }
}

/// The other end in a word.
pub(super) fn hop_name(hop: Hop) -> String {
    match hop {
        Hop::Ip(ip) => ip.to_canonical().to_string(),
        Hop::Unix => "unix".to_owned(),
        Hop::Unknown => "unknown".to_owned(),
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// The longest part of a path that is said.
    const PATH: usize = 120;

    /// Whether an event of this kind is to be said now; where it is not, it is counted, and told of later.
    pub fn admits(&mut self, kind: Kind) -> bool {
        let now_ms = self.shared.now_ms;
        self.shared.notes.throttle.admits(kind, now_ms)
    }

    /// Says that the server has ended, after whatever was left out: nothing more is going to be said.
    pub fn fall_silent(&mut self) {
        self.shared.notes.throttle.say_left_out(u64::MAX);
        info!("ended");
    }

    fn address_of(&mut self, id: ConnId) -> String {
        get(&mut self.peers, id).map_or_else(|| hop_name(Hop::Unknown), |peer| address(peer))
    }

    /// Counts a refusal, and says which it was where somebody was not allowed, or there was no place.
    pub(super) fn note_refusal(&mut self, id: ConnId, request: Option<&Request<'_>>, status: u16) {
        self.shared.metrics.refused(status);
        if Kind::of_refusal(status).is_some_and(|kind| self.admits(kind)) {
            let (conn, address) = (id.short(), self.address_of(id));
            // Never the query, in which a token may stand.
            match request.map(Request::path) {
                Some(path) => {
                    let path = path.get(..path.floor_char_boundary(Self::PATH)).unwrap_or(path);
                    info!(status, conn, address, path, "a request was refused");
                }
                None => info!(status, conn, address, "a request was refused"),
            }
        }
    }

    /// Counts a violation, and says which rule was broken.
    pub(super) fn note_violation(&mut self, id: ConnId, closed: &Closed) {
        self.shared.metrics.violations.add(1);
        if self.admits(Kind::Violation) {
            let (conn, address) = (id.short(), self.address_of(id));
            // The reason is the server's own; what a peer gives as its reason is never said.
            info!(
                conn,
                address,
                code = closed.code,
                rule = closed.reason,
                "a connection was ended for a violation"
            );
        }
    }

    /// Says which member was closed, and in which room.
    #[cold]
    pub(super) fn note_slow(&mut self, id: ConnId, room: Option<Arc<str>>) {
        if self.admits(Kind::SlowClosed) {
            let (conn, address, room) = (id.short(), self.address_of(id), room.as_deref());
            warn!(conn, address, room, "a slow member was closed");
        }
    }

    /// Says how many were left out of what has happened, where that is due.
    pub(super) fn say_left_out(&mut self) {
        if self.shared.notes.throttle.say_left_out(self.shared.now_ms) {
            // How it ended is not to be among those that were only counted.
            self.say_pressure();
        }
    }

    /// Notes how short memory has become, and says so where that is not what was last said.
    pub(super) fn note_pressure(&mut self, pressure: Pressure) {
        if pressure != self.shared.notes.pressure {
            self.shared.notes.pressure = pressure;
            self.say_pressure();
        }
    }

    fn say_pressure(&mut self) {
        let (pressure, before) = (self.shared.notes.pressure, self.shared.notes.pressure_said);
        if pressure == before || !self.admits(Kind::Memory) {
            return;
        }
        self.shared.notes.pressure_said = pressure;
        let (used, budget) = (self.shared.metrics.memory.total(), self.memory_budget());
        let step = match pressure {
            Pressure::None => return info!(used, budget, "memory is not short any more"),
            Pressure::Hold => "publishers are read once a second",
            Pressure::Shorten => "history is shortened, too",
            Pressure::Shed => "who holds the most is ended, too",
        };
        match before < pressure {
            true => warn!(used, budget, step, "memory is short"),
            false => info!(used, budget, step, "memory is less short"),
        }
    }
}

/// Says which member was not sent what, and in which room.
#[cold]
pub(super) fn skipped<T: Transport, S>(peer: &Peer<T, S>, room: Option<Arc<str>>, publications: u64) {
    let (conn, address, room) = (peer.id.short(), address(peer), room.as_deref());
    warn!(conn, address, room, publications, "a slow member was not sent what is gone");
}
