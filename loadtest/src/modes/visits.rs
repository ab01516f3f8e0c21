//! Connections that come and go: what `connect` and `churn` have in common.

use super::progress::Progress;
use super::traffic::{LATE, Pattern, SIZE_MIN, Span};
use super::verdict::LOST;
use crate::measure::{Latency, Meter, Usage};
use crate::reactor::{Ending, Message, Opcode, Peer, Premasked, Swarm, Target, Workload};
use slab::Slab;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// So many failures end a run before its time: there is nothing to measure.
const FAILURES_MAX: u64 = 10_000;

/// Visits that one look at the plan begins, so that catching up does not starve the reading.
const BURST: usize = 16;

/// What a visitor does once connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Errand {
    /// Leaves, without a word: what counts is the handshake.
    Handshake,
    /// Has one message echoed and closes; it counts when the server's Close is there.
    Echo,
}

/// When visits begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Visits under way at a time; with a rate, the most that may be.
    pub(crate) concurrency: usize,
    /// Visits planned a second: an open loop.
    pub(crate) rate: Option<f64>,
    /// The measuring ends with so many.
    pub(crate) count_max: Option<u64>,
}

/// No run is so long.
const NEVER: Duration = Duration::from_secs(1_000_000);

struct Visit {
    planned: Instant,
    number: u64,
    is_echoed: bool,
}

/// All visits of a run, and what became of them.
pub(crate) struct Visits {
    errand: Errand,
    pattern: Pattern,
    frame: Premasked,
    under_way: Slab<Visit>,
    measured_from: Option<Instant>,
    ended: bool,
    numbers: u64,
    /// Done in the measured span.
    pub(crate) count: u64,
    /// From the plan, or the beginning, until it was done.
    pub(super) latency: Latency,
    /// What went wrong, by the words for it.
    pub(crate) errors: BTreeMap<String, u64>,
    failures: u64,
    /// Visits planned in the measured span, those of them begun late, and the longest delay.
    pub(super) plan: (u64, u64, Duration),
}

impl Visits {
    fn new(errand: Errand) -> Self {
        let pattern = Pattern::new(SIZE_MIN * 3);
        Self {
            errand,
            frame: pattern.frame(Opcode::Binary),
            pattern,
            under_way: Slab::new(),
            measured_from: None,
            ended: false,
            numbers: 0,
            count: 0,
            latency: Latency::new(),
            errors: BTreeMap::new(),
            failures: 0,
            plan: (0, 0, Duration::ZERO),
        }
    }

    fn begin(&mut self, swarm: &mut Swarm, target: &Rc<Target>, planned: Instant) {
        let visit = Visit { planned, number: self.numbers, is_echoed: false };
        self.numbers += 1;
        let seat = self.under_way.insert(visit);
        if let Err(error) = swarm.connect(target, seat) {
            self.under_way.remove(seat);
            self.fail(format!("no socket: {}", error.kind()));
        }
    }

    fn record(&mut self, planned: Instant, at: Instant) {
        if self.measured_from.is_some_and(|from| planned >= from) {
            self.latency.record(at.saturating_duration_since(planned));
        }
    }

    /// How long after its plan a visit begins by our own fault.
    fn count_delay(&mut self, planned: Instant, delay: Duration) {
        if self.measured_from.is_some_and(|from| planned >= from) {
            self.plan.0 += 1;
            self.plan.1 += u64::from(delay > LATE);
            self.plan.2 = self.plan.2.max(delay);
        }
    }

    fn fail(&mut self, words: String) {
        self.failures += 1;
        *self.errors.entry(words).or_default() += 1;
    }

    fn done(&mut self, seat: usize, at: Instant) {
        let visit = self.under_way.remove(seat);
        self.count += u64::from(self.measured_from.is_some() && !self.ended);
        self.record(visit.planned, at);
    }
}

impl Workload for Visits {
    fn opened(&mut self, peer: &mut Peer) {
        match self.errand {
            Errand::Handshake => {
                peer.abandon();
                self.done(peer.seat, Instant::now());
            }
            Errand::Echo => {
                self.pattern.stamp(&mut self.frame, 0, self.under_way[peer.seat].number);
                peer.send(self.frame.as_bytes());
            }
        }
    }

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, _: Instant) {
        let visit = &mut self.under_way[peer.seat];
        let bytes = match message {
            Message::Binary(bytes) => Some(bytes),
            Message::Text(_) => None,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return,
        };
        let is_ours = bytes.and_then(|bytes| self.pattern.read(bytes)) == Some((0, visit.number));
        let again = std::mem::replace(&mut visit.is_echoed, true);
        match (is_ours, again) {
            (true, false) => {}
            (true, true) => self.fail("doubled".to_owned()),
            (false, _) => self.fail("altered".to_owned()),
        }
        if !again {
            peer.close();
        }
    }

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        if self.under_way[peer.seat].is_echoed && ending == Ending::Closed(Some(1000)) {
            return self.done(peer.seat, Instant::now());
        }
        self.under_way.remove(peer.seat);
        self.fail(ending.to_string());
    }
}

/// The loop of a run.
pub(crate) struct Round {
    swarm: Swarm,
    target: Rc<Target>,
    visits: Visits,
    pace: Pace,
    start: Instant,
    begun: u64,
    /// When the server last had as many visitors as there may be. A visit planned before is not late by our fault.
    full_at: Instant,
}

impl Round {
    pub(crate) fn new(url: &str, errand: Errand, pace: Pace) -> Result<Self, String> {
        let swarm = Swarm::new().map_err(|error| error.to_string())?;
        let (target, visits) = (Target::new(url)?, Visits::new(errand));
        let now = Instant::now();
        Ok(Self { swarm, target, visits, pace, start: now, begun: 0, full_at: now })
    }

    /// Visits until the time is over, or as many were counted as asked for, and waits for those still under way.
    ///
    /// # Errors
    /// When the poller fails or the server's process ends.
    pub(crate) fn run(mut self, span: Span, server: Option<u32>) -> Result<(Visits, Usage), String> {
        self.start = Instant::now();
        let from = self.start + span.warm_up;
        let end = from + span.measured;
        let mut progress = Progress::new(span.warm_up + span.measured);
        self.visit_until(from, &mut progress)?;
        self.visits.measured_from = Some(Instant::now());
        let meter = Meter::start(server)?;
        self.visit_until(end, &mut progress)?;
        let usage = meter.stop()?;
        progress.finish();
        self.visits.ended = true;
        self.give_up(Instant::now().min(end));
        self.drain(Instant::now() + span.drain)?;
        Ok((self.visits, usage))
    }

    fn visit_until(&mut self, until: Instant, progress: &mut Progress) -> Result<(), String> {
        loop {
            let now = Instant::now();
            let is_enough = self.pace.count_max.is_some_and(|most| self.visits.count >= most);
            if now >= until || is_enough || self.visits.failures > FAILURES_MAX {
                return Ok(());
            }
            progress.tick(now);
            let due = self.begin_due(now).min(until);
            self.turn(due)?;
        }
    }

    /// Begins what is due, and tells when to look again.
    fn begin_due(&mut self, now: Instant) -> Instant {
        for _ in 0..BURST {
            let planned = self.next_planned(now);
            let is_full = self.visits.under_way.len() >= self.pace.concurrency;
            if is_full {
                self.full_at = now;
                return self.start + NEVER;
            }
            if planned > now {
                return planned;
            }
            self.begun += 1;
            self.visits.count_delay(planned, now.saturating_duration_since(planned.max(self.full_at)));
            self.visits.begin(&mut self.swarm, &self.target, planned);
        }
        now
    }

    fn next_planned(&self, now: Instant) -> Instant {
        self.pace.rate.map_or(now, |rate| self.start + Duration::from_secs_f64(self.begun as f64 / rate))
    }

    /// What was planned and never found room has waited until now at least: leaving it out would hide the longest waits.
    fn give_up(&mut self, end: Instant) {
        let is_enough = self.pace.count_max.is_some_and(|most| self.visits.count >= most);
        let open = self.pace.rate.is_some() && !is_enough;
        while open && self.next_planned(end) < end {
            self.visits.record(self.next_planned(end), end);
            self.begun += 1;
        }
    }

    fn drain(&mut self, end: Instant) -> Result<(), String> {
        while !self.visits.under_way.is_empty() && Instant::now() < end {
            self.turn(end)?;
        }
        for _ in 0..self.visits.under_way.len() {
            self.visits.fail(LOST.to_owned());
        }
        Ok(())
    }

    fn turn(&mut self, due: Instant) -> Result<(), String> {
        self.swarm.turn_until(due, &mut self.visits).map_err(|error| error.to_string())
    }
}
