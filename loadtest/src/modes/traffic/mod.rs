//! Messages over connections that stay: what `echo` and `fanout` have in common.
//!
//! A run has one or two flows; its loop sends what is due, sleeps until the next plan, and reads what comes.

mod flow;
mod pattern;
mod stream;

pub(crate) use flow::{Counts, Flow, LATE, Pace};
pub(crate) use pattern::{Pattern, SIZE_MIN};

use super::progress::Progress;
use super::verdict::LOST;
use crate::measure::{Meter, Usage};
use crate::reactor::{Ending, Message, Peer, PeerId, Swarm, Workload};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a load that fell behind may still send after the end of its plan.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How long we listen for what nobody asked for (a doubled message, say) when everything has come.
const AFTERMATH: Duration = Duration::from_millis(100);

/// How long a run lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Before the measuring.
    pub(crate) warm_up: Duration,
    /// Measured.
    pub(crate) measured: Duration,
    /// After the last message, for what is still under way.
    pub(crate) drain: Duration,
}

/// Which flow a connection listens to, and as whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// The index of the flow.
    pub(crate) flow: usize,
    /// The one stream of it that it hears, or all.
    pub(crate) stream: Option<usize>,
    /// The receiver that it is in each of these.
    pub(crate) receiver: usize,
}

/// The flows and their audience.
pub(crate) struct Stage {
    /// What is sent.
    pub(crate) flows: Vec<Flow>,
    /// By the seats of the connections; nothing is expected where there is none.
    pub(crate) seats: Vec<Option<Seat>>,
    /// Connections that ended before their time, by the words for it.
    pub(crate) endings: BTreeMap<String, u64>,
}

impl Stage {
    /// What was wrong in all flows, by kind; nothing is in it that did not happen.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors = self.endings.clone();
        for flow in &self.flows {
            let Counts { doubled, swapped, altered, .. } = flow.counts;
            let kinds =
                [(LOST, flow.lost()), ("doubled", doubled), ("swapped", swapped), ("altered", altered)];
            for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
                *errors.entry(kind.to_owned()).or_default() += count;
            }
        }
        errors
    }
}

/// What a run plays: flows, and who listens to them.
pub(crate) trait Scene: Workload {
    /// What is sent.
    fn flows(&mut self) -> &mut [Flow];

    /// The measured span begins, or ends: what is counted besides the flows?
    fn count(&mut self, _swarm: &mut Swarm, _is_on: bool) {}

    /// Whether a run without a fixed length ends now.
    fn is_over(&self) -> bool {
        false
    }

    /// Does what else is due, and tells when there is more.
    fn tend(&mut self, _swarm: &mut Swarm, _now: Instant) -> Option<Instant> {
        None
    }
}

impl Scene for Stage {
    fn flows(&mut self) -> &mut [Flow] {
        &mut self.flows
    }
}

impl Workload for Stage {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant) {
        if let Some(seat) = self.seats[peer.seat] {
            self.flows[seat.flow].receive(seat.stream, seat.receiver, message, at);
        }
    }

    fn ended(&mut self, _: &mut Peer, ending: Ending) {
        *self.endings.entry(ending.to_string()).or_default() += 1;
    }
}

/// Connections, what goes over them, and one of them that is read first whenever there is something to read.
pub(crate) struct Play<S = Stage> {
    /// The connections.
    pub(crate) swarm: Swarm,
    /// The flows.
    pub(crate) stage: S,
    /// The connection of the last flow, which is not to wait for those of the first.
    pub(crate) bystander: Option<PeerId>,
}

impl<S: Scene> Play<S> {
    /// Keeps the plan, and waits for what is still under way after it.
    ///
    /// # Errors
    /// When the poller fails or the server's process ends.
    pub(crate) fn run(&mut self, span: Span, server: Option<u32>) -> Result<Usage, String> {
        let start = Instant::now();
        let from = start + span.warm_up;
        let end = from + span.measured;
        self.stage.flows().iter_mut().for_each(|flow| flow.start(start, from));
        let mut progress = Progress::new(span.warm_up + span.measured);
        self.play_until(from, end, &mut progress)?;
        let meter = Meter::start(server)?;
        self.count(true);
        self.play_until(end, end, &mut progress)?;
        let usage = meter.stop()?;
        self.count(false);
        progress.finish();
        self.catch_up(end)?;
        self.drain(span.drain)?;
        Ok(usage)
    }

    /// Keeps the plan until the scene says that it is over, at most for `length`, and waits for what is still under way.
    ///
    /// # Errors
    /// When the poller fails.
    pub(crate) fn run_until_over(&mut self, length: Duration, drain: Duration) -> Result<(), String> {
        let start = Instant::now();
        self.stage.flows().iter_mut().for_each(|flow| flow.start(start, start));
        self.count(true);
        while !self.stage.is_over() && start.elapsed() < length {
            let now = Instant::now();
            let has_more = self.send_due(now, now);
            let due = self.stage.flows().iter().filter_map(Flow::due).min();
            self.turn(if has_more { now } else { due.unwrap_or(now + AFTERMATH).min(now + AFTERMATH) })?;
        }
        self.count(false);
        let end = Instant::now();
        self.catch_up(end)?;
        self.drain(drain)
    }

    fn count(&mut self, is_on: bool) {
        self.stage.flows().iter_mut().for_each(|flow| flow.is_counting = is_on);
        self.stage.count(&mut self.swarm, is_on);
    }

    fn play_until(&mut self, until: Instant, end: Instant, progress: &mut Progress) -> Result<(), String> {
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            progress.tick(now);
            let has_more = self.send_due(now, end);
            let due = self.stage.flows().iter().filter_map(Flow::due).min().unwrap_or(until).min(until);
            self.turn(if has_more { now } else { due })?;
        }
    }

    fn send_due(&mut self, now: Instant, end: Instant) -> bool {
        let mut has_more = false;
        for flow in self.stage.flows() {
            has_more |= flow.send_due(&mut self.swarm, now, end);
        }
        has_more
    }

    /// Sends what a stall kept us from sending: it was planned all the same.
    fn catch_up(&mut self, end: Instant) -> Result<(), String> {
        loop {
            let now = Instant::now();
            if !self.send_due(now, end) {
                return Ok(());
            }
            if now > end + CATCH_UP {
                self.stage.flows().iter_mut().for_each(|flow| flow.give_up(now, end));
                return Ok(());
            }
            self.turn(now)?;
        }
    }

    fn drain(&mut self, patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        while !self.stage.flows().iter().all(Flow::is_complete) && Instant::now() < end {
            self.turn(end.min(Instant::now() + AFTERMATH))?;
        }
        let end = Instant::now() + AFTERMATH;
        while Instant::now() < end {
            self.turn(end)?;
        }
        Ok(())
    }

    fn turn(&mut self, due: Instant) -> Result<(), String> {
        let next = self.stage.tend(&mut self.swarm, Instant::now());
        let due = next.map_or(due, |next| next.min(due));
        self.swarm.turn_until(due, &mut self.stage).map_err(|error| error.to_string())?;
        if let (Some(id), Some(flow)) = (self.bystander, self.stage.flows().last())
            && !flow.is_complete()
        {
            self.swarm.visit(id, &mut self.stage);
        }
        Ok(())
    }
}
