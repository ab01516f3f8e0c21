//! One kind of message in a run: its streams, when each is sent, and what became of them.
//!
//! A stream has one sender and one or many receivers. An echo is a stream with a single receiver, the sender itself; in a
//! room every publisher has a stream that all members receive.

use super::pattern::Pattern;
use super::stream::{Came, Stream};
use crate::measure::Latency;
use crate::reactor::{Message, Opcode, PeerId, Premasked, Swarm};
use std::time::{Duration, Instant};

/// A message sent later than this after its plan counts as late.
pub(crate) const LATE: Duration = Duration::from_millis(1);

/// Messages that one visit sends before the connections are read again, so that catching up does not starve the reading.
const BURST: u64 = 64;

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many are under way in every stream; the next is sent when one has come to all.
    Closed {
        /// How many.
        window: usize,
    },
    /// So many a second in all, each at its planned time, whatever has come.
    Open {
        /// A second.
        rate: f64,
        /// Every message is moved by a random share of its period, so that two flows never march in step.
        jitter: bool,
    },
}

/// What was wrong with arrivals, and how messages were sent.
#[derive(Default)]
pub(crate) struct Counts {
    /// Arrivals in the measured span.
    pub(crate) counted: u64,
    /// Messages sent, or to be sent by the plan, in the measured span.
    pub(crate) planned: u64,
    /// Of these, sent more than [`LATE`] after the plan, or not at all.
    pub(crate) late: u64,
    /// The longest such delay.
    pub(crate) late_max: Duration,
    /// Came again.
    pub(crate) doubled: u64,
    /// Came after a later one.
    pub(crate) swapped: u64,
    /// Came with other bytes, of another kind, or to whom it was not sent.
    pub(crate) altered: u64,
}

/// Messages of one size at one pace.
pub(crate) struct Flow {
    /// What was counted.
    pub(crate) counts: Counts,
    /// From the plan (or the sending, in a closed loop) to the arrival.
    pub(crate) latency: Latency,
    pattern: Pattern,
    frame: Premasked,
    is_text: bool,
    streams: Vec<Stream>,
    pace: Pace,
    /// Streams of a closed loop that have room in their window.
    ready: Vec<usize>,
    start: Instant,
    next: Instant,
    sent: u64,
    /// What is planned from then on is measured.
    measured_from: Instant,
    /// Whether the measured span is running: arrivals count as long as processor time is counted.
    pub(super) is_counting: bool,
}

impl Flow {
    /// A flow from each of `senders` to `receivers` receivers each.
    pub(crate) fn new(senders: &[PeerId], receivers: usize, size: usize, is_text: bool, pace: Pace) -> Self {
        let (pattern, now) = (Pattern::new(size), Instant::now());
        let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
        Self {
            counts: Counts::default(),
            latency: Latency::new(),
            frame: pattern.frame(opcode),
            pattern,
            is_text,
            streams: senders.iter().map(|&sender| Stream::new(sender, receivers)).collect(),
            pace,
            ready: (0..senders.len()).collect(),
            start: now,
            next: now,
            sent: 0,
            measured_from: now,
            is_counting: false,
        }
    }

    /// The same flow with every message behind a head instead of in a frame: as the body of a request, say.
    pub(crate) fn behind(mut self, head: &[u8]) -> Self {
        self.frame = self.pattern.behind(head);
        self
    }

    /// Begins now; what is planned from `measured_from` on is measured.
    pub(super) fn start(&mut self, now: Instant, measured_from: Instant) {
        (self.start, self.next, self.measured_from) = (now, now, measured_from);
    }

    /// When the next message is to be sent, in an open loop.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.pace {
            Pace::Open { .. } => Some(self.next),
            Pace::Closed { .. } => None,
        }
    }

    /// Sends what is due and was planned before `end`, and tells whether there is more.
    pub(super) fn send_due(&mut self, swarm: &mut Swarm, now: Instant, end: Instant) -> bool {
        match self.pace {
            Pace::Closed { window } => {
                if now < end {
                    self.fill_windows(swarm, window, now);
                }
                false
            }
            Pace::Open { rate, jitter } => {
                let most = self.sent + BURST;
                while self.next <= now && self.next < end && self.sent < most {
                    self.send_planned(swarm, now);
                    self.plan_next(rate, jitter);
                }
                self.next <= now && self.next < end
            }
        }
    }

    /// What fits into a stream's window leaves in one `send`.
    fn fill_windows(&mut self, swarm: &mut Swarm, window: usize, now: Instant) {
        let mut bytes = Vec::new();
        for index in std::mem::take(&mut self.ready) {
            let stream = &mut self.streams[index];
            while stream.under_way() < window {
                let number = stream.plan(now);
                self.pattern.stamp(&mut self.frame, index, number);
                bytes.extend_from_slice(self.frame.as_bytes());
                self.counts.planned += u64::from(now >= self.measured_from);
            }
            if let Some(peer) = swarm.peer(stream.sender) {
                peer.send(&bytes);
            }
            bytes.clear();
        }
    }

    fn send_planned(&mut self, swarm: &mut Swarm, now: Instant) {
        let index = (self.sent % self.streams.len() as u64) as usize;
        let stream = &mut self.streams[index];
        let number = stream.plan(self.next);
        self.pattern.stamp(&mut self.frame, index, number);
        if let Some(peer) = swarm.peer(stream.sender) {
            peer.send(self.frame.as_bytes());
        }
        self.count_planned(now.saturating_duration_since(self.next));
    }

    fn count_planned(&mut self, delay: Duration) {
        if self.next >= self.measured_from {
            self.counts.planned += 1;
            self.counts.late += u64::from(delay > LATE);
            self.counts.late_max = self.counts.late_max.max(delay);
        }
    }

    fn plan_next(&mut self, rate: f64, jitter: bool) {
        self.sent += 1;
        let place = self.sent as f64 + if jitter { fastrand::f64() } else { 0.0 };
        self.next = self.start + Duration::from_secs_f64(place / rate);
    }

    /// Gives up what was planned before `end` and could not be sent: all of it is late.
    pub(super) fn give_up(&mut self, now: Instant, end: Instant) {
        if let Pace::Open { rate, jitter } = self.pace {
            while self.next < end {
                self.count_planned(now.saturating_duration_since(self.next).max(LATE * 2));
                self.plan_next(rate, jitter);
            }
        }
    }

    /// How many messages were sent in all, in an open loop.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes in a message; `own` is the only stream that this receiver is to hear from, if there is only one.
    pub(crate) fn receive(&mut self, own: Option<usize>, receiver: usize, message: Message<'_>, at: Instant) {
        let (bytes, is_text) = match message {
            Message::Text(bytes) => (bytes, true),
            Message::Binary(bytes) => (bytes, false),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
        };
        let read = self.pattern.read(bytes).filter(|_| is_text == self.is_text);
        let read =
            read.filter(|&(sender, _)| sender < self.streams.len() && own.is_none_or(|own| own == sender));
        match read.map(|(sender, number)| (sender, self.streams[sender].take(receiver, number))) {
            None | Some((_, Came::NeverSent)) => self.counts.altered += 1,
            Some((_, Came::Again)) => self.counts.doubled += 1,
            Some((sender, Came::Right { planned, overtaken, completes })) => {
                self.counts.swapped += u64::from(overtaken);
                self.record(planned, at);
                if completes && matches!(self.pace, Pace::Closed { .. }) && self.ready.last() != Some(&sender)
                {
                    self.ready.push(sender);
                }
            }
        }
    }

    fn record(&mut self, planned: Instant, at: Instant) {
        self.counts.counted += u64::from(self.is_counting);
        if planned >= self.measured_from {
            self.latency.record(at.saturating_duration_since(planned));
        }
    }

    /// Whether everything that was sent has come to everybody.
    pub(super) fn is_complete(&self) -> bool {
        self.streams.iter().all(|stream| stream.under_way() == 0)
    }

    /// What has not come, summed over the receivers.
    pub(crate) fn lost(&self) -> u64 {
        self.streams.iter().map(Stream::lost).sum()
    }
}
