//! The reading half of a turn: bytes become events, and events reach the handler.

use std::io::{ErrorKind, Read};

use super::budget::Budget;
use super::context::Context;
use super::handler::Handler;
use super::peer::Peer;
use super::{Engine, Shared, Transport, get};
use crate::conn::{Closed, ClosedBy, Event, Stage};
use crate::id::ConnId;
use crate::input::Input;
use crate::planted::{Fault, is_planted};
use crate::proxy::forwarded::Announced;
use crate::timer::Tick;
use crate::ws::close::CloseReason;
use crate::ws::message::Message;
use crate::ws::session::Workbench;

/// What one read of a socket gave.
enum Fill {
    Bytes(usize),
    Nothing,
    End,
    Failed,
}

/// What a handler's call leaves to be done for its own connection.
pub(super) struct Aftermath {
    pub(super) closing: Option<CloseReason>,
    crowded: bool,
    /// It has joined a room that has something for it already.
    behind: bool,
    expires: Option<Tick>,
}

impl Aftermath {
    /// Whether there is anything to be done at all.
    fn is_rare(&self) -> bool {
        self.crowded || self.behind || self.expires.is_some() || self.closing.is_some()
    }

    /// Notes on the connection what it is to remember.
    fn note<T, S>(&self, peer: &mut Peer<T, S>) {
        peer.crowded |= self.crowded;
        peer.lagging |= self.behind;
        peer.expires = self.expires.unwrap_or(peer.expires);
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Reads from everyone in the queue, each up to its budget; who has more to come queues up again.
    pub(super) fn read(&mut self) {
        let ceiling = self.ceiling();
        let mut to_inflate = self.shared.rules.limits.inflate_budget;
        let mut later = Vec::new();
        let first_ns = self.begin_to_read();
        let mut began_ns = first_ns;
        for _ in 0..self.readable.len() {
            if self.shared.metrics.memory.total() > ceiling {
                break;
            }
            let Some(id) = self.readable.pop_front() else { break };
            let Some(peer) = get(&mut self.peers, id) else { continue };
            if to_inflate == 0 && peer.conn.deflate().is_some() {
                later.push(id);
                continue;
            }
            peer.reading = false;
            let calls = self.shared.calls();
            to_inflate = to_inflate.saturating_sub(self.read_peer(id));
            began_ns = self.shared.handled(id, began_ns, calls);
        }
        self.shared.rooms.ledger_mut().health.has_read(first_ns, began_ns);
        // They come first in the next turn, in the order in which they have waited.
        for id in later.into_iter().rev() {
            self.readable.push_front(id);
        }
    }

    /// Reads from one up to its budget; the bytes inflated.
    fn read_peer(&mut self, id: ConnId) -> usize {
        // The buffer changes hands for the time of the read, so that the engine can be borrowed beside it.
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut budget = Budget::new(&self.shared.rules.limits);
        while let Some(peer) = get(&mut self.peers, id).filter(|peer| peer.may_read()) {
            if budget.is_spent() {
                peer.queue_read(&mut self.readable);
                break;
            }
            if !peer.unread.is_empty() {
                let mut unread = std::mem::take(&mut peer.unread);
                self.receive(id, &mut unread, &mut budget);
                continue;
            }
            if !peer.readable {
                break;
            }
            let filled = fill(peer, &mut buffer);
            let peer = match peer.awaited {
                true => {
                    self.heed_announcement(id);
                    let Some(peer) = get(&mut self.peers, id) else { break };
                    peer
                }
                false => peer,
            };
            match filled {
                Fill::Bytes(len) => {
                    peer.seen = self.now;
                    peer.pinged = false;
                    budget.to_read = budget.to_read.saturating_sub(len);
                    self.shared.metrics.bytes_in.add(len as u64);
                    self.receive(id, &mut buffer[..len], &mut budget);
                }
                Fill::Nothing => {
                    // A transport that decrypts may have taken in something all the same.
                    peer.charge(&self.shared.metrics.memory);
                    break;
                }
                Fill::End => {
                    self.end_of_input(id);
                    break;
                }
                Fill::Failed => {
                    if peer.transport.announced() == Announced::Awaited {
                        self.shared.metrics.proxies_refused.add(1);
                    }
                    self.lose(id);
                    break;
                }
            }
        }
        self.buffer = buffer;
        budget.inflated
    }

    /// Decodes what was read and handles each event, until the input is used up or the connection has to wait.
    fn receive(&mut self, id: ConnId, bytes: &mut [u8], budget: &mut Budget) {
        let mut input = Input::new(bytes);
        if let Some(peer) = get(&mut self.peers, id) {
            peer.outbound.lend(&mut self.spare);
        }
        while !input.is_empty()
            && let Some(peer) = get(&mut self.peers, id).filter(|peer| peer.may_read())
        {
            if let Some(room) = self.shared.rooms.crowded_among(&peer.memberships) {
                // Before it sends more there, the walk catches up; its own Close, at most, has to wait for that.
                peer.crowded = true;
                self.shared.rooms.wait_for(&room, id, false);
                break;
            }
            let limits = &self.shared.rules.limits;
            let mut bench = Workbench {
                message_bytes_max: limits.message_bytes_max,
                inflater: &mut self.inflater,
                spares: &mut self.shared.spares,
                frames: budget.to_handle,
            };
            let deflates = peer.conn.deflate().is_some();
            let held = if deflates { peer.conn.held() } else { 0 };
            let event = peer.conn.receive(&mut input, limits, &mut bench, &mut peer.outbound);
            budget.to_handle = bench.frames;
            match event {
                Some(Event::Message(received)) => {
                    if deflates {
                        budget.inflated += received.as_message().len();
                    }
                    peer.first_by = Tick::NEVER;
                    let aftermath = tell(&mut self.handler, peer, &mut self.shared, received.as_message());
                    received.give_back(&mut self.shared.spares);
                    if aftermath.is_rare() {
                        self.settle(id, aftermath);
                    }
                }
                Some(Event::Head(head)) => {
                    budget.to_handle = budget.to_handle.saturating_sub(Budget::FRAMES_PER_REQUEST);
                    self.on_head(id, &head);
                    self.choke(id);
                }
                Some(Event::Request(head, body)) => {
                    self.on_request(id, &head, &body);
                    self.choke(id);
                }
                Some(Event::BadHead(refusal)) => self.refuse(id, &refusal.into()),
                Some(Event::Ended(closed)) => self.on_ended(id, closed),
                None => {
                    // What has been inflated of a message that goes on took its time, too.
                    if deflates && let Some(peer) = get(&mut self.peers, id) {
                        budget.inflated += peer.conn.held().saturating_sub(held);
                    }
                    break;
                }
            }
            if budget.is_busy() {
                break;
            }
        }
        self.after_input(id, &input);
    }

    fn after_input(&mut self, id: ConnId, input: &Input<'_>) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        if !input.is_empty() {
            peer.unread = input.peek().to_vec();
        }
        if peer.outbound.is_empty() && peer.conn.stage() != Stage::Closed {
            self.spare.extend(peer.outbound.take_spare());
        } else {
            peer.queue_flush(&mut self.owing);
            if peer.is_light() && peer.is_incoming_charged() {
                return;
            }
        }
        peer.charge(&self.shared.metrics.memory);
    }

    /// Who does not take what has been answered is not asked for more.
    fn choke(&mut self, id: ConnId) {
        if let Some(peer) = get(&mut self.peers, id) {
            peer.choke(&self.shared.rules.limits);
        }
    }

    fn on_ended(&mut self, id: ConnId, closed: Closed) {
        // A close that we began and the peer did not answer well, or a breach of the protocol.
        if closed.by == ClosedBy::Server && !closed.clean {
            self.note_violation(id, &closed);
        }
        self.end(id, closed);
        self.enter_phase(id);
    }

    /// Runs something in the context of an open connection.
    pub(super) fn with_context(&mut self, id: ConnId, run: impl FnOnce(&mut Context<'_>)) {
        let Some(peer) = get(&mut self.peers, id).filter(|peer| peer.conn.stage() == Stage::Open) else {
            return;
        };
        let (mut ctx, _) = context(peer, &mut self.shared);
        run(&mut ctx);
        let aftermath = ctx.aftermath();
        peer.queue_flush(&mut self.owing);
        self.settle(id, aftermath);
    }

    /// Does what a handler's call has left to be done.
    pub(super) fn settle(&mut self, id: ConnId, aftermath: Aftermath) {
        if let Some(peer) = get(&mut self.peers, id) {
            aftermath.note(peer);
            if aftermath.behind {
                // It is owed what its new room has for it, also where nothing else is.
                peer.queue_flush(&mut self.owing);
            }
        }
        if aftermath.expires.is_some() {
            self.schedule(id);
        }
        if let Some(reason) = aftermath.closing {
            self.close_peer(id, reason);
        }
    }

    /// The peer sends no more. What is owed to it may still arrive, if it only closed its own side.
    fn end_of_input(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.ended = true;
        self.unlink(id);
        let Some(peer) = get(&mut self.peers, id) else { return };
        if peer.outbound.is_empty() {
            self.dead.push(id);
        } else {
            peer.queue_flush(&mut self.owing);
            self.enter_phase(id);
        }
    }

    /// The WebSocket connection has ended: it leaves its rooms, and the handler is told, once.
    pub(super) fn end(&mut self, id: ConnId, closed: Closed) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        leave_all(peer, &mut self.shared);
        let (mut ctx, state) = context(peer, &mut self.shared);
        if let Some(state) = state.take() {
            ctx.shared.metrics.ended.add(1);
            ctx.shared.metrics.lost.add(u64::from(closed.by == ClosedBy::Loss));
            self.handler.close(state, &mut ctx, &closed);
        }
    }

    /// The transport has failed, or the peer has run out of time.
    pub(super) fn lose(&mut self, id: ConnId) {
        self.unlink(id);
        self.dead.push(id);
    }

    /// The connection is over, whatever it was: nothing leads to it any more.
    fn unlink(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        if let Some(parked) = peer.conn.take_parked() {
            self.shared.rooms.unlisten(&parked.room, id);
        }
        self.shared.wait_no_longer(id);
        self.surveys.forget(id);
        if is_planted(Fault::LeaveForgottenOnLoss) {
            peer.memberships.clear();
        }
        match peer.conn.lost() {
            Some(closed) => self.end(id, closed),
            None => leave_all(peer, &mut self.shared),
        }
    }
}

impl Context<'_> {
    pub(super) fn aftermath(self) -> Aftermath {
        let Context { closing, crowded, behind, expires, .. } = self;
        Aftermath { closing, crowded, behind, expires }
    }
}

/// Hands a message to the handler, and says what is left to be done.
fn tell<H: Handler, T: Transport>(
    handler: &mut H,
    peer: &mut Peer<T, H::State>,
    shared: &mut Shared,
    message: Message<'_>,
) -> Aftermath {
    shared.metrics.messages.add(1);
    let (mut ctx, state) = context(peer, shared);
    if let Some(state) = state {
        handler.message(state, &mut ctx, message);
    }
    let aftermath = ctx.aftermath();
    peer.choke(&shared.rules.limits);
    aftermath
}

/// The context of a connection, and the state the handler keeps of it.
pub(super) fn context<'a, T: Transport, S>(
    peer: &'a mut Peer<T, S>,
    shared: &'a mut Shared,
) -> (Context<'a>, &'a mut Option<S>) {
    let ctx = Context {
        id: peer.id,
        transport: &peer.transport,
        client: peer.client.as_deref(),
        outbound: &mut peer.outbound,
        memberships: &mut peer.memberships,
        deflate: peer.conn.deflate(),
        open: peer.conn.stage() == Stage::Open,
        closing: None,
        crowded: false,
        behind: false,
        expires: None,
        shared,
    };
    (ctx, &mut peer.state)
}

pub(super) fn leave_all<T, S>(peer: &mut Peer<T, S>, shared: &mut Shared) {
    for membership in std::mem::take(&mut peer.memberships) {
        shared.rooms.leave(membership);
    }
    peer.lagging = false;
}

/// One read. A short one has found the end of what there is, and no second one has to ask; but a peer that has hung
/// up is read to the end, since no further edge will come.
fn fill<T: Read, S>(peer: &mut Peer<T, S>, buffer: &mut [u8]) -> Fill {
    loop {
        match peer.transport.read(buffer) {
            Ok(0) => {
                peer.readable = false;
                return Fill::End;
            }
            Ok(len) => {
                peer.readable =
                    len == buffer.len() || (peer.hung_up && !is_planted(Fault::EndOfInputForgotten));
                return Fill::Bytes(len);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                peer.readable = false;
                return Fill::Nothing;
            }
            Err(_) => return Fill::Failed,
        }
    }
}
