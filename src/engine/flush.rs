//! The writing half of a turn: what is owed to one connection, then one slice of the walk through the rooms.

use super::handler::Handler;
use super::notable;
use super::peer::Peer;
use super::read::leave_all;
use super::{Engine, Transport, get};
use crate::conn::Stage;
use crate::id::ConnId;
use crate::log::Kind;
use crate::outbound::write_some;
use crate::room::join::Membership;
use crate::room::lane::Pending;
use crate::room::room::Visit;
use crate::room::rooms::Rooms;
use crate::ws::close::{CloseCode, CloseReason};

/// Where a member is after it was sent to.
enum Delivery {
    CaughtUp,
    Blocked,
    /// The log's tail has passed it.
    Passed,
    Failed,
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Slots of a room looked at for each member the slice may send to.
    const STEPS_PER_SEND: usize = 64;

    /// Sends what is owed to those in the queue. When many catch up with their rooms at once, each turn takes a few.
    pub(super) fn flush(&mut self) {
        let (budget, bytes_max) = (self.shared.rules.limits.flush_budget, self.walk_bytes_max());
        let mut bytes = 0;
        for _ in 0..self.owing.len().min(budget) {
            let Some(id) = self.owing.pop_front() else { return };
            if let Some(peer) = get(&mut self.peers, id) {
                peer.owing = false;
                bytes += self.flush_peer(id);
                if bytes >= bytes_max {
                    return;
                }
            }
        }
    }

    /// Bytes of room messages that are sent before the sockets are looked at again.
    fn walk_bytes_max(&self) -> usize {
        match self.shared.rules.limits.walk_slice {
            0 => usize::MAX,
            _ => self.shared.rules.limits.walk_slice_bytes,
        }
    }

    /// Sends one what it is owed; the bytes of room messages among that.
    fn flush_peer(&mut self, id: ConnId) -> usize {
        let Some(peer) = get(&mut self.peers, id) else { return 0 };
        if !peer.writable {
            peer.charge(&self.shared.metrics.memory);
            return 0;
        }
        let before = peer.outbound.len();
        match peer.outbound.flush(&mut peer.transport) {
            Ok(all) => peer.writable = all,
            Err(_) => {
                self.lose(id);
                return 0;
            }
        }
        let taken = before - peer.outbound.len();
        while let Some(begun) = peer.outbound.pop_completed() {
            self.shared.rooms.ledger_mut().completed(begun);
        }
        let has_taken = peer.conn.stage() == Stage::Streaming && taken > 0;
        let is_response = matches!(peer.conn.stage(), Stage::Head | Stage::Closed);
        if is_response && taken >= self.shared.rules.limits.response_progress {
            // A long response to a slow reader takes its time; who takes next to nothing of it has none.
            peer.since = self.now;
        }
        if std::mem::take(&mut peer.drained) || has_taken {
            peer.heard(self.now);
        }
        if let Some(mut spare) = peer.outbound.take_spare()
            && spare.strip(&mut self.shared.spares)
            && self.spare.len() < Self::SPARE_MAX
        {
            self.spare.push(spare);
        }
        peer.charge(&self.shared.metrics.memory);
        if peer.choked && peer.outbound.len() <= self.shared.rules.limits.outbound_bytes_low {
            peer.choked = false;
            peer.queue_read(&mut self.readable);
        }
        match peer.conn.stage() {
            Stage::Closed if peer.writable => self.finish(id),
            Stage::Open | Stage::Streaming if peer.writable && peer.lagging => return self.catch_up(id),
            Stage::Head
            | Stage::Deciding
            | Stage::Body
            | Stage::Waiting
            | Stage::Open
            | Stage::Streaming
            | Stage::Closing
            | Stage::Closed => {}
        }
        0
    }

    /// Everything has been sent: end our side, and leave the peer time to read it before the socket goes.
    ///
    /// Closing a socket with unread input resets the connection, and the reset overtakes what was sent last.
    fn finish(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        if peer.ended || peer.shut {
            if peer.ended {
                self.dead.push(id);
            }
            return;
        }
        peer.shut = true;
        match peer.transport.shutdown_write() {
            Ok(()) => self.enter_phase(id),
            Err(_) => self.dead.push(id),
        }
    }

    /// The socket of a member that lagged takes bytes again; the bytes sent.
    fn catch_up(&mut self, id: ConnId) -> usize {
        let Some(peer) = get(&mut self.peers, id) else { return 0 };
        self.shared.rooms.ledger_mut().tick();
        peer.lagging = false;
        // In rotation, so that one busy room does not keep the others' news from a slow member.
        if !peer.memberships.is_empty() {
            peer.memberships.rotate_left(1);
        }
        let (mut at, mut bytes) = (0, 0);
        while let Some(peer) = get(&mut self.peers, id)
            && let Some(membership) = peer.memberships.get(at).copied()
        {
            bytes += self.visit(id, membership, true);
            at += 1;
        }
        bytes
    }

    /// One slice of the walk: so many sends, or so many bytes, then the sockets are looked at again.
    pub(super) fn walk(&mut self) {
        let bytes_max = self.walk_bytes_max();
        let slice = match self.shared.rules.limits.walk_slice {
            0 => usize::MAX,
            slice => slice,
        };
        if self.shared.rooms.has_news() {
            self.shared.rooms.ledger_mut().tick();
        }
        let mut steps = slice.saturating_mul(Self::STEPS_PER_SEND);
        let mut bytes = 0;
        for _ in 0..slice {
            let Some((id, membership)) = self.shared.rooms.next_visit(&mut steps) else { break };
            bytes += self.visit(id, membership, false);
            if bytes >= bytes_max {
                break;
            }
        }
        self.shared.rooms.rotate();
    }

    /// Sends a member what its room has for it, or marks it as lagging; the bytes sent.
    fn visit(&mut self, id: ConnId, membership: Membership, was_lagging: bool) -> usize {
        let rooms = &mut self.shared.rooms;
        let Some(peer) = get(&mut self.peers, id) else { return 0 };
        // While its socket is full it costs nothing to leave it where it is.
        let (skipped, is_told) = if was_lagging { rooms.skip(membership) } else { (0, false) };
        if skipped > 0 {
            self.shared.metrics.skipped.add(skipped);
            if self.shared.notes.throttle.admits(Kind::SlowSkipped, self.shared.now_ms) {
                notable::skipped(peer, rooms.name(membership), skipped);
            }
            if is_told {
                // What it is told comes before what it goes on with.
                let encoding = rooms.encoding(membership);
                peer.outbound.push_notice(encoding, &format!("{{\"skipped\":{skipped}}}"));
                peer.lagging = true;
                rooms.set_lagging(membership, true);
                peer.queue_flush(&mut self.owing);
                return 0;
            }
        }
        let Some(mut visit) = rooms.visit(membership) else { return 0 };
        let (delivery, sent) = match peer.writable && peer.outbound.is_empty() {
            true => deliver(peer, visit),
            false => (check(&mut visit), 0),
        };
        if sent > 0 && !peer.is_transport_charged() {
            peer.charge(&self.shared.metrics.memory);
        }
        if sent > 0 && peer.conn.stage() == Stage::Streaming {
            peer.heard(self.now);
        }
        match delivery {
            Delivery::CaughtUp if was_lagging => rooms.set_lagging(membership, false),
            Delivery::CaughtUp => {}
            Delivery::Blocked => {
                peer.lagging = true;
                rooms.set_lagging(membership, true);
                peer.charge(&self.shared.metrics.memory);
            }
            Delivery::Passed => {
                self.shared.metrics.passed.add(1);
                let room = rooms.name(membership);
                rooms.give_up_on(membership);
                match peer.conn.stage() {
                    Stage::Streaming => self.hang_up(id),
                    _ => self.close_peer(
                        id,
                        CloseReason::fixed(CloseCode::TRY_AGAIN_LATER, "too slow for the room"),
                    ),
                }
                self.note_slow(id, room);
            }
            Delivery::Failed => self.lose(id),
        }
        sent
    }

    /// Begins the closing handshake: first what its rooms still have for it, as far as that may wait, then the Close.
    pub(super) fn close_peer(&mut self, id: ConnId, reason: CloseReason) {
        let high = self.shared.rules.limits.outbound_bytes_high;
        let Some(peer) = get(&mut self.peers, id).filter(|peer| peer.conn.stage() == Stage::Open) else {
            return;
        };
        say_last_words(peer, &mut self.shared.rooms, high);
        leave_all(peer, &mut self.shared);
        peer.conn.close(reason, &mut peer.outbound);
        peer.queue_flush(&mut self.owing);
        // Only its Close is waited for now; nothing of ours keeps it from being read.
        peer.choked = false;
        peer.crowded = false;
        peer.queue_read(&mut self.readable);
        self.enter_phase(id);
    }

    /// Lets publishers go on whose room has been walked through; where memory is short, they wait for that, too.
    pub(super) fn release(&mut self) {
        while let Some(id) = self.shared.rooms.pop_released() {
            if self.shared.is_pressed() {
                self.shared.budget.held.push(id);
                continue;
            }
            if let Some(peer) = get(&mut self.peers, id) {
                peer.crowded = false;
                peer.queue_read(&mut self.readable);
            }
        }
    }
}

/// Queues what its rooms still have for a member, as far as `bytes_max` goes: nothing more will be sent to it.
pub(super) fn say_last_words<T, S>(peer: &mut Peer<T, S>, rooms: &mut Rooms, bytes_max: usize) {
    let is_http = peer.conn.stage() == Stage::Streaming;
    for membership in &peer.memberships {
        let Some(mut visit) = rooms.visit(*membership) else { continue };
        while let Pending::Frames(frames) = visit.pending()
            && peer.outbound.len() + frames.len() <= bytes_max
        {
            match is_http {
                true => peer.outbound.push_http(|out| out.extend_from_slice(frames)),
                false => peer.outbound.push_frames(frames),
            }
            peer.outbound.note_begun(visit.hand_over(frames.len()));
        }
    }
}

/// Moves a member's cursor as far as its socket takes it, one send for all that lies side by side; the bytes sent.
fn deliver<T: Transport, S>(peer: &mut Peer<T, S>, mut visit: Visit<'_>) -> (Delivery, usize) {
    let mut total = 0;
    loop {
        let frames = match visit.pending() {
            Pending::CaughtUp => return (Delivery::CaughtUp, total),
            Pending::Passed => return (Delivery::Passed, total),
            Pending::Frames(frames) => frames,
        };
        let Ok(sent) = write_some(&mut peer.transport, frames) else { return (Delivery::Failed, total) };
        total += sent;
        if let Some(rest) = visit.advance(sent) {
            peer.outbound.hold(rest, visit.cut());
        }
        if sent < frames.len() {
            peer.writable = false;
            return (Delivery::Blocked, total);
        }
        if visit.is_caught_up() {
            return (Delivery::CaughtUp, total);
        }
    }
}

/// What there is to do for a member that cannot be sent to now.
fn check(visit: &mut Visit<'_>) -> Delivery {
    match visit.pending() {
        Pending::CaughtUp => Delivery::CaughtUp,
        Pending::Frames(_) => Delivery::Blocked,
        Pending::Passed => Delivery::Passed,
    }
}
