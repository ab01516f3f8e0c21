//! Time: deadlines, pings, and what happens to whoever lets them pass.

use super::handler::Handler;
use super::{Engine, Transport, get};
use crate::conn::Stage;
use crate::http::response::Refusal;
use crate::id::ConnId;
use crate::metrics::memory::Class;
use crate::planted::{Fault, is_planted};
use crate::timer::Tick;
use crate::ws::close::{CloseCode, CloseReason};
use crate::ws::deflate::{Deflater, Inflater};
use crate::ws::frame::Opcode;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Looks at the connections that may be due.
    pub(super) fn expire(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(self.now, &mut due);
        for (id, filed) in due.drain(..) {
            let is_current = get(&mut self.peers, id).is_some_and(|peer| peer.filed == filed);
            if is_current {
                self.look_at(id);
            }
        }
        self.due = due;
        self.shared.rooms.release_users();
        self.keep_house();
    }

    /// Lets go of long buffers that have served nobody for a while, and of history that is too old.
    fn keep_house(&mut self) {
        if self.housekeeping.is_some_and(|due| due <= self.now) {
            self.housekeeping = None;
            self.shared.spares.age();
            self.shared.rooms.sweep(Self::SWEEP);
            self.let_go();
        }
        let has_work = self.shared.metrics.memory.total() > 0;
        if self.housekeeping.is_none() && has_work {
            let due = self.now.after(Self::HOUSEKEEPING);
            self.housekeeping = Some(due);
            self.wheel.file(ConnId::from_bits(u64::MAX), due);
        }
    }

    /// Lets go of what only connections need, where there are none.
    fn let_go(&mut self) {
        if self.peers.is_empty() {
            self.peers.shrink_to_fit();
            self.spare = Vec::new();
            self.inflater = Inflater::new(&self.shared.rules.limits);
            self.shared.deflater = Deflater::default();
        }
        self.charge_table();
        let compression = self.inflater.held() + self.shared.deflater.held();
        self.shared.metrics.memory.set(Class::Compression, compression);
    }

    fn look_at(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.filed = Tick::NEVER;
        if peer.crowded {
            // It is our own room that keeps it from being heard.
            peer.seen = self.now;
            peer.pinged = false;
        }
        if peer.due(&self.shared.rules.limits) <= self.now {
            let (expires, ends) = (peer.expires, peer.ends());
            match peer.conn.stage() {
                Stage::Open if expires <= self.now => {
                    self.close_peer(id, CloseReason::fixed(CloseCode::EXPIRED, "the token has expired"))
                }
                Stage::Open if ends <= self.now => {
                    self.close_peer(id, CloseReason::fixed(CloseCode::POLICY, "no message came in time"))
                }
                // A browser asks again by itself, and is then told why not.
                Stage::Streaming if expires <= self.now => self.hang_up(id),
                Stage::Open | Stage::Streaming if !peer.pinged && ends > self.now => self.ping(id),
                // Many may have begun to wait at once: each turn answers a few, and the wheel need not ask again.
                Stage::Waiting => return self.shared.rooms.wake(id),
                Stage::Deciding => {
                    self.refuse(id, &Refusal::Unavailable("the decision took too long").into())
                }
                Stage::Head
                | Stage::Body
                | Stage::Open
                | Stage::Streaming
                | Stage::Closing
                | Stage::Closed => self.lose(id),
            }
        } else if is_planted(Fault::DeadlineForgotten) {
            return;
        }
        self.schedule(id);
    }

    /// §5.5.2: a Ping as a keepalive; any byte that comes back is an answer.
    fn ping(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        match peer.conn.stage() {
            // HTML §9.2.7: a comment, so that nobody between the two takes the silence for an end. A reader that is
            // behind has enough to read; whether it does is what the deadline is for.
            Stage::Streaming if peer.outbound.is_empty() && !peer.lagging => {
                peer.outbound.push_http(|out| out.extend_from_slice(b":\n\n"));
            }
            Stage::Streaming => {}
            _ => peer.outbound.push_control(Opcode::Ping, b"", self.shared.rules.limits.control_bytes_max),
        }
        peer.pinged = true;
        peer.since = self.now;
        peer.queue_flush(&mut self.owing);
    }

    /// A phase begins now, with its own deadline.
    pub(super) fn enter_phase(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.since = self.now;
        peer.seen = self.now;
        peer.pinged = false;
        peer.charge(&self.shared.metrics.memory);
        self.schedule(id);
    }

    /// Sees to it that the wheel holds the connection no later than it is due.
    pub(super) fn schedule(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        let limits = &self.shared.rules.limits;
        let mut due = peer.due(limits);
        if peer.pinged {
            // What answers the ping moves nothing in the wheel, and the next ping may be due before the deadline of this one.
            due = due.min(self.now.after(limits.ping_interval));
        }
        if due < peer.filed {
            peer.filed = due;
            self.wheel.file(id, due);
        }
    }
}
