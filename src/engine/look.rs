//! How a look through the server goes on, turn by turn, and what it tells.

use std::time::Duration;

use super::handler::Handler;
use super::open::Asked;
use super::peer::Peer;
use super::survey::{Findings, Order, PeerInfo, Running, Subject, Survey};
use super::{Engine, Transport, client, get};
use crate::conn::{Parked, Stage, Why};
use crate::http::head::Request;
use crate::http::response::Refusal;
use crate::id::{ConnId, Identity};
use crate::ledger::Begun;
use crate::room::rooms::{RoomInfo, Rooms};
use crate::timer::Tick;
use crate::ws::close::CloseReason;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Rooms that are named of a connection.
    const ROOMS_NAMED: usize = 8;

    /// Begins a look for a request, which waits for what is found.
    pub(super) fn begin_survey(&mut self, id: ConnId, head: &[u8], request: &Request<'_>, survey: Survey) {
        let limits = &self.shared.rules.limits;
        let why = match () {
            () if !self.accepts() => Some("the server is about to end"),
            () if self.surveys.len() >= limits.surveys_max => {
                Some("as many look through the server as may at a time")
            }
            () => None,
        };
        if let Some(why) = why {
            return self.reply(id, request, &Refusal::Unavailable(why).into());
        }
        let Some(peer) = get(&mut self.peers, id) else { return };
        let until = self.now.after(limits.survey_deadline);
        peer.conn.park(Parked { head: head.into(), room: String::new(), until, why: Why::Survey });
        self.surveys.begin(id, survey);
        self.enter_phase(id);
    }

    /// Takes one look some steps further.
    pub(super) fn survey(&mut self) {
        let Some(mut running) = self.surveys.running.pop_front() else { return };
        let mut steps = self.shared.rules.limits.survey_slice;
        while steps > 0 {
            if running.at >= self.end_of(&running.survey.subject) || running.is_full() {
                return self.conclude(running);
            }
            steps = steps.saturating_sub(self.look(&mut running));
            running.at += 1;
        }
        self.surveys.running.push_back(running);
    }

    /// One past the last slot of what is looked through.
    fn end_of(&self, subject: &Subject) -> usize {
        match subject {
            Subject::Everyone | Subject::User(_) | Subject::Token(_) => self.peers.capacity(),
            Subject::One(id) => id.slot() + 1,
            Subject::Members(room) => self.shared.rooms.member_slots(room),
            Subject::Rooms(_) => self.shared.rooms.slots(),
        }
    }

    /// Looks at one slot; how many steps that took.
    fn look(&mut self, running: &mut Running) -> usize {
        let at = running.at;
        if let Subject::Rooms(prefix) = &running.survey.subject {
            if let Some(info) = self.shared.rooms.info_at(at).filter(|info| info.name.starts_with(prefix)) {
                running.see(room_key(&info, running.survey.order), at);
            }
            return 1;
        }
        let Some(id) = self.meant(&running.survey.subject, at) else { return 1 };
        let Some(peer) = self.peers.get(id.slot()) else { return 1 };
        let (key, memberships) =
            (peer_key(peer, &self.shared.rooms, running.survey.order), peer.memberships.len());
        running.see(key, at);
        let Some(reason) = running.survey.close.clone() else { return 1 + memberships };
        running.closed += usize::from(self.dismiss(id, reason));
        Running::CLOSE_STEPS + memberships
    }

    /// The connection in a slot of what is looked through, if it is meant.
    fn meant(&self, subject: &Subject, at: usize) -> Option<ConnId> {
        let id = match subject {
            Subject::Members(room) => self.shared.rooms.member_at(room, at)?,
            _ => self.peers.get(at)?.id,
        };
        let is_meant = match subject {
            Subject::Everyone | Subject::Members(_) | Subject::Rooms(_) => true,
            Subject::One(one) => *one == id,
            Subject::User(user) => self.identity(id).user.as_deref() == Some(user),
            Subject::Token(token) => self.identity(id).token.as_deref() == Some(token),
        };
        is_meant.then_some(id)
    }

    pub(super) fn identity(&self, id: ConnId) -> Identity {
        let Some(peer) = self.peers.get(id.slot()) else { return Identity::default() };
        match (&peer.state, peer.conn.reader()) {
            (Some(state), _) => self.handler.identity(state),
            (None, Some(reader)) => reader.clone(),
            (None, None) => Identity::default(),
        }
    }

    /// Ends a connection because somebody wants it to; says whether there was anything to be ended.
    fn dismiss(&mut self, id: ConnId, reason: CloseReason) -> bool {
        let Some(peer) = get(&mut self.peers, id) else { return false };
        match peer.conn.stage() {
            Stage::Open => self.close_peer(id, reason),
            Stage::Streaming => self.hang_up(id),
            Stage::Head | Stage::Body | Stage::Deciding | Stage::Waiting => self.lose(id),
            Stage::Closing | Stage::Closed => return false,
        }
        true
    }

    /// Tells whoever has asked what has been found.
    fn conclude(&mut self, mut running: Running) {
        let Some(asker) = running.asker else { return };
        let (page, next) = running.page();
        let (matched, closed) = (running.matched, running.closed);
        // One that goes on behind an earlier page has not looked at those on it.
        let is_sorted = running.survey.order != Order::Slot;
        let is_whole = is_sorted || (next.is_none() && running.survey.after.is_none());
        let mut findings = Findings { next, matched, is_whole, closed, ..Findings::default() };
        let subject = &running.survey.subject;
        match subject {
            Subject::Rooms(prefix) => {
                let rooms = page.iter().filter_map(|mark| self.shared.rooms.info_at(mark.slot));
                findings.rooms = rooms.filter(|info| info.name.starts_with(prefix)).collect();
            }
            _ => {
                let ids: Vec<_> = page.iter().filter_map(|mark| self.meant(subject, mark.slot)).collect();
                findings.peers = ids.into_iter().filter_map(|id| self.peer_info(id)).collect();
            }
        }
        self.surveys.found = Some(findings);
        self.answer_waiting(asker, Asked::Surveyed);
        // Where it was not told after all, nobody else is to be.
        self.surveys.found = None;
    }

    /// Where the application has put a connection, if it says.
    pub(super) fn route(&self, peer: &Peer<T, H::State>) -> Option<String> {
        peer.state.as_ref().and_then(|state| self.handler.route(state))
    }

    fn peer_info(&self, id: ConnId) -> Option<PeerInfo> {
        let peer = self.peers.get(id.slot()).filter(|peer| peer.id == id)?;
        let rooms = &self.shared.rooms;
        let names = peer.memberships.iter().filter_map(|membership| rooms.name(*membership));
        let measured = |order| peer_key(peer, rooms, order);
        Some(PeerInfo {
            id,
            client: client::addr(&peer.transport, peer.client.as_deref()),
            hop: peer.transport.hop(),
            stage: peer.conn.stage(),
            is_admin: peer.is_admin,
            identity: self.identity(id),
            route: self.route(peer),
            rooms: (names.take(Self::ROOMS_NAMED).collect(), peer.memberships.len()),
            owed: measured(Order::Bytes),
            lag: measured(Order::Lag),
            delay: Duration::from_millis(measured(Order::Delay)),
            age: peer.opened.until(self.now),
        })
    }
}

/// By what rooms are ordered; the highest come first.
fn room_key(info: &RoomInfo, order: Order) -> u64 {
    match order {
        Order::Slot | Order::Age => 0,
        Order::Lag | Order::Delay => info.lagging as u64,
        Order::Bytes => info.log_bytes as u64,
        Order::Members => info.members as u64,
        Order::Publications => info.position.offset,
    }
}

/// By what connections are ordered; the highest come first.
fn peer_key<T, S>(peer: &Peer<T, S>, rooms: &Rooms, order: Order) -> u64 {
    let standings = || peer.memberships.iter().map(|membership| rooms.standing(*membership));
    match order {
        Order::Slot => 0,
        // One that its socket has taken a part of is still to be sent, too.
        Order::Lag => standings().map(|standing| standing.publications).sum::<u64>() + peer.outbound.owed(),
        Order::Delay => {
            let begun = peer.outbound.first_begun().map_or(rooms.ledger().now_ns(), Begun::since_ns);
            let waited_ms = rooms.ledger().now_ns().saturating_sub(begun) / 1_000_000;
            standings().map(|standing| standing.waited_ms).fold(waited_ms, u64::max)
        }
        Order::Bytes => peer.outbound.len() as u64 + standings().map(|standing| standing.bytes).sum::<u64>(),
        // The earlier it came, the more time there is until the end of all ticks.
        Order::Age => peer.opened.until(Tick::NEVER).as_millis() as u64,
        Order::Members | Order::Publications => peer.memberships.len() as u64,
    }
}
