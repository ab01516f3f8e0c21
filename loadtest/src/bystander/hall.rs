//! What is heard in the room and beside it.

use crate::measure::{Latency, Receipts};
use crate::reactor::{Ending, Message, Peer, Workload};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A stream of messages with planned times, and what became of them.
pub(super) struct Stream {
    /// Who got what.
    pub(super) receipts: Receipts,
    /// From the plan to the arrival.
    pub(super) latency: Latency,
    /// From the plan to the sending: our own delay, which is part of the latency.
    pub(super) late: Latency,
    planned: Vec<Instant>,
    start: Instant,
    next: Instant,
    period: Duration,
    /// Every message but the first is moved by a random share of its period, so that two streams never march in step.
    jitter: bool,
    measured_from: Instant,
}

impl Stream {
    /// Messages of `size` bytes to so many receivers, `rate` a second.
    pub(super) fn new(receivers: usize, size: usize, rate: f64, jitter: bool) -> Self {
        let now = Instant::now();
        Self {
            receipts: Receipts::new(receivers, size),
            latency: Latency::new(),
            late: Latency::new(),
            planned: Vec::new(),
            start: now,
            next: now,
            period: Duration::from_secs_f64(1.0 / rate),
            jitter,
            measured_from: now,
        }
    }

    /// Begins now; latencies count from `measured_from` on.
    pub(super) fn start(&mut self, now: Instant, measured_from: Instant) {
        (self.start, self.next, self.measured_from) = (now, now, measured_from);
    }

    /// When the next message is to be sent.
    pub(super) fn due(&self) -> Instant {
        self.next
    }

    /// The next message, which is sent now.
    pub(super) fn send(&mut self, now: Instant) -> &[u8] {
        let planned = self.next;
        if planned >= self.measured_from {
            self.late.record(now.saturating_duration_since(planned));
        }
        self.planned.push(planned);
        let number = u32::try_from(self.planned.len()).unwrap_or(u32::MAX);
        let base = self.start + self.period * number;
        self.next = if self.jitter { base + self.period.mul_f64(fastrand::f64()) } else { base };
        self.receipts.send().as_bytes()
    }

    fn receive(&mut self, receiver: usize, message: Message<'_>, at: Instant) {
        match message {
            Message::Binary(bytes) => {
                let number =
                    self.receipts.receive(receiver, bytes).and_then(|number| usize::try_from(number).ok());
                if let Some(planned) =
                    number.map(|number| self.planned[number]).filter(|&at| at >= self.measured_from)
                {
                    self.latency.record(at.saturating_duration_since(planned));
                }
            }
            Message::Text(_) => self.receipts.receive_stranger(),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
    }

    /// Whether everything has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.receipts.delivered() == self.receipts.due()
    }
}

/// The room (seats 0 to `members` - 1) and the bystander (the next seat).
pub(super) struct Hall {
    /// What is published in the room.
    pub(super) room: Stream,
    /// What the bystander has echoed.
    pub(super) echo: Stream,
    /// Connections that ended before their time, by the words for it.
    pub(super) endings: BTreeMap<String, u64>,
    members: usize,
}

impl Hall {
    /// Everybody in their seats, nothing said.
    pub(super) fn new(members: usize, room: Stream, echo: Stream) -> Self {
        Self { room, echo, endings: BTreeMap::new(), members }
    }
}

impl Workload for Hall {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant) {
        if peer.seat < self.members {
            self.room.receive(peer.seat, message, at);
        } else {
            self.echo.receive(0, message, at);
        }
    }

    fn ended(&mut self, _: &mut Peer, ending: Ending) {
        *self.endings.entry(ending.to_string()).or_default() += 1;
    }
}
