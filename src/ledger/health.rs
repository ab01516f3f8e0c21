//! How the loop is: how long turns take, what in them takes long, and how long who is ready waits to be read.

use std::time::Duration;

use super::histogram::Histogram;
use super::slow::{Cause, Overrun, SlowTurn, SlowTurns, Whose};
use super::snapshot::{Handling, LoopHealth};
use crate::id::ConnId;
use crate::limits::Limits;

/// What has been counted since the server began, of which a turn's part is a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of the handler for messages and requests.
    pub calls: u64,
    /// Deliveries sent.
    pub deliveries: u64,
    /// Bytes of those.
    pub bytes_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Connections accepted.
    pub accepts: u64,
}

#[derive(Debug, Default)]
struct LoopTimes {
    turn: Histogram,
    handling: Histogram,
    delay: Histogram,
    answer: Histogram,
}

/// What one connection's input took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Handled {
    conn: ConnId,
    took_ns: u64,
    calls: u64,
}

impl From<Handled> for Handling {
    fn from(Handled { conn, took_ns, calls }: Handled) -> Self {
        Handling { conn, took: Duration::from_nanos(took_ns), calls }
    }
}

/// The longest of some time.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    turn_ns: u64,
    handled: Option<Handled>,
}

impl Longest {
    fn note_turn(&mut self, took_ns: u64) {
        self.turn_ns = self.turn_ns.max(took_ns);
    }

    #[inline]
    fn note(&mut self, handled: Handled) {
        if self.handled.is_none_or(|longest| longest.took_ns < handled.took_ns) {
            self.handled = Some(handled);
        }
    }
}

/// The loop's own times.
#[derive(Debug, Default)]
pub struct Health {
    times: Option<Box<LoopTimes>>,
    reads: u64,
    /// In this turn.
    longest: Longest,
    before: Counts,
    /// When the first connection's read began in this turn, and the last one's ended.
    reading_ns: (u64, u64),
    /// The last turns that were too long.
    pub slow: SlowTurns,
    /// Of this stretch of `ready_lag_age`, and of the one before.
    recent: [Longest; 2],
    stretch_ns: u64,
    overruns: u64,
    said_ns: Option<u64>,
    unsaid: u64,
    /// Connections that wait at the listeners.
    pub accept_backlog: usize,
    /// Whether a listener takes in nobody for a while.
    pub is_deaf: bool,
}

impl Health {
    /// A line about a long turn is followed by no other for so long.
    const SILENCE_NS: u64 = 1_000_000_000;

    pub(super) fn turn_on(&mut self) {
        self.times.get_or_insert_default();
    }

    /// A turn begins.
    pub fn begin_turn(&mut self, counts: Counts) {
        (self.before, self.reads, self.longest) = (counts, 0, Longest::default());
        self.reading_ns = (0, 0);
    }

    /// One connection's input has been handled: its read began at `began_ns`, in a turn that began at `turn_ns`.
    #[inline]
    pub fn handled(&mut self, conn: ConnId, (turn_ns, began_ns, now_ns): (u64, u64, u64), calls: u64) {
        let Some(times) = &mut self.times else { return };
        self.reads += 1;
        let took_ns = now_ns.saturating_sub(began_ns);
        times.delay.record(began_ns.saturating_sub(turn_ns), 1);
        times.handling.record(took_ns, 1);
        self.longest.note(Handled { conn, took_ns, calls });
    }

    /// Every connection that was ready has been read, from the first one's beginning to the last one's end.
    #[inline]
    pub fn has_read(&mut self, began_ns: u64, now_ns: u64) {
        self.reading_ns = (began_ns, now_ns);
    }

    /// Connections are about to be read, so many of them, after a turn that was too long.
    pub fn resumed(&mut self, ready: usize) {
        self.slow.resumed(ready);
    }

    /// Whose input has taken the longest in this turn.
    pub fn longest_in_turn(&self) -> Option<Handling> {
        self.longest.handled.map(Handling::from)
    }

    /// The backplane has answered a publication, as a sample.
    pub fn answered(&mut self, took_ns: u64) {
        if let Some(times) = &mut self.times {
            times.answer.record(took_ns, 1);
        }
    }

    /// A turn is over; says whether it was longer than `turn_budget`.
    pub fn end_turn(&mut self, (turn_ns, now_ns): (u64, u64), limits: &Limits) -> bool {
        let took_ns = now_ns.saturating_sub(turn_ns);
        if let Some(times) = &mut self.times {
            times.turn.record(took_ns, 1);
        }
        self.turn_over(now_ns, limits);
        self.recent[0].note_turn(took_ns);
        self.longest.handled.into_iter().for_each(|handled| self.recent[0].note(handled));
        took_ns > limits.turn_budget.as_nanos() as u64
    }

    /// A turn was too long, which was over at `at_ms` since 1970; what is to be said about it, if it is not too early for
    /// that.
    #[cold]
    pub fn overrun(
        &mut self,
        (turn_ns, now_ns): (u64, u64),
        counts: Counts,
        (at_ms, whose): (u64, Whose),
        limits: &Limits,
    ) -> Option<Overrun> {
        self.overruns += 1;
        let before = self.before;
        let did = Counts {
            calls: counts.calls - before.calls,
            deliveries: counts.deliveries - before.deliveries,
            bytes_out: counts.bytes_out - before.bytes_out,
            bytes_in: counts.bytes_in - before.bytes_in,
            accepts: counts.accepts - before.accepts,
        };
        let (took, longest) = (Duration::from_nanos(now_ns.saturating_sub(turn_ns)), self.longest_in_turn());
        let (cause, reads) = (self.cause((turn_ns, now_ns)), self.reads);
        let turn = SlowTurn { at_ms, took, cause, reads, did, longest, whose, held_up: None };
        self.slow.note(turn.clone(), limits);
        if self.said_ns.is_some_and(|said_ns| now_ns < said_ns + Self::SILENCE_NS) {
            self.unsaid += 1;
            return None;
        }
        self.said_ns = Some(now_ns);
        Some(Overrun { turn, unsaid: std::mem::take(&mut self.unsaid) })
    }

    /// What has taken most of a turn's time.
    fn cause(&self, (turn_ns, now_ns): (u64, u64)) -> Cause {
        let began_ns = self.reading_ns.0.max(turn_ns);
        let ended_ns = self.reading_ns.1.max(began_ns);
        let (outside, reading, sending) =
            (began_ns - turn_ns, ended_ns - began_ns, now_ns.saturating_sub(ended_ns));
        let longest = self.longest.handled.map_or(0, |longest| longest.took_ns);
        match () {
            () if self.times.is_none() => Cause::Unknown,
            () if reading < outside.max(sending) => {
                if outside > sending {
                    Cause::Outside
                } else {
                    Cause::Sending
                }
            }
            () if longest >= reading / 2 => Cause::Input,
            () => Cause::Inputs,
        }
    }

    /// What is long ago does not count any more.
    fn turn_over(&mut self, now_ns: u64, limits: &Limits) {
        let age_ns = limits.ready_lag_age.as_nanos() as u64;
        let since_ns = now_ns.saturating_sub(self.stretch_ns);
        if since_ns >= age_ns {
            let before = if since_ns < 2 * age_ns { self.recent[0] } else { Longest::default() };
            (self.recent, self.stretch_ns) = ([Longest::default(), before], now_ns);
        }
    }

    /// The longest turn lately.
    pub fn lag(&mut self, now_ns: u64, limits: &Limits) -> Duration {
        self.turn_over(now_ns, limits);
        Duration::from_nanos(self.recent[0].turn_ns.max(self.recent[1].turn_ns))
    }

    /// Everything in numbers.
    pub fn show(&mut self, now_ns: u64, limits: &Limits) -> LoopHealth {
        let lag = self.lag(now_ns, limits);
        let mut longest = self.recent[0];
        self.recent[1].handled.into_iter().for_each(|handled| longest.note(handled));
        let quantiles = |pick: fn(&LoopTimes) -> &Histogram| {
            self.times.as_deref().map(pick).map(Histogram::quantiles).unwrap_or_default()
        };
        LoopHealth {
            turn: quantiles(|times| &times.turn),
            handling: quantiles(|times| &times.handling),
            delay: quantiles(|times| &times.delay),
            lag,
            longest: longest.handled.map(Handling::from),
            answer: quantiles(|times| &times.answer),
            overruns: self.overruns,
            accept_backlog: self.accept_backlog,
            is_accepting: !self.is_deaf,
        }
    }

    /// How long the backplane takes to answer publications, where times are taken.
    pub fn answers(&self) -> Option<&Histogram> {
        self.times.as_ref().map(|times| &times.answer)
    }

    /// The loop's histograms with their names, where times are taken.
    pub fn histograms(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        let times = self.times.iter();
        times
            .flat_map(|times| [("turn", &times.turn), ("handling", &times.handling), ("delay", &times.delay)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cause of a turn of 200 ms in which reading began and ended then, and the longest input took so long.
    fn cause_of(reading_ms: (u64, u64), longest_ms: u64) -> Cause {
        let ns = |ms: u64| ms * 1_000_000;
        let mut health = Health::default();
        health.turn_on();
        health.begin_turn(Counts::default());
        let began_ns = ns(1000 + reading_ms.0);
        health.handled(ConnId::new(1, 1), (ns(1000), began_ns, began_ns + ns(longest_ms)), 1);
        health.has_read(began_ns, ns(1000 + reading_ms.1));
        let limits = Limits::default();
        let turn = (ns(1000), ns(1200));
        assert!(health.end_turn(turn, &limits));
        health.overrun(turn, Counts::default(), (0, Whose::default()), &limits).unwrap().turn.cause
    }

    #[test]
    fn what_took_the_most_time_is_the_cause() {
        assert_eq!(cause_of((0, 190), 180), Cause::Input);
        assert_eq!(cause_of((0, 190), 20), Cause::Inputs);
        assert_eq!(cause_of((150, 190), 40), Cause::Outside);
        assert_eq!(cause_of((10, 20), 10), Cause::Sending);
        let mut off = Health::default();
        off.begin_turn(Counts::default());
        let overrun = off.overrun((0, 1), Counts::default(), (0, Whose::default()), &Limits::default());
        assert_eq!(overrun.unwrap().turn.cause, Cause::Unknown);
    }
}
