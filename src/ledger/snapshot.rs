//! What the ledger shows: quantiles by stage, outcomes, and how the loop is.

use std::sync::Arc;
use std::time::Duration;

use super::Account;
use super::histogram::Histogram;
use super::slow::{SlowCount, SlowTurn};
use crate::id::ConnId;

/// A distribution of times in a few numbers, each within 1.6 % but for the maximum, which is at most 3 % too high; publications
/// that were sent together may be counted in the bucket beside their own, and so be off by 3 % more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean: Duration,
    /// Half of them are no longer.
    pub p50: Duration,
    /// 90 of 100 are no longer.
    pub p90: Duration,
    /// 99 of 100 are no longer.
    pub p99: Duration,
    /// 999 of 1000 are no longer.
    pub p999: Duration,
    /// None is longer.
    pub max: Duration,
}

/// The stages of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// From the turn in which the publisher's bytes were read to the append to the log; once for each publication.
    pub ingest: Quantiles,
    /// From the append to the visit that sends it: how long the cursor was behind.
    pub waiting: Quantiles,
    /// From the beginning of that visit until the socket has taken the last byte.
    pub send: Quantiles,
    /// All of it.
    pub total: Quantiles,
}

/// What became of deliveries: a publication is owed to each member that there is when it is appended, and each of those
/// comes to exactly one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Publications times the members that they were for; what who joins is sent of the past, too.
    pub owed: u64,
    /// The socket has taken the last byte.
    pub sent: u64,
    /// The room's rule for slow members passed over it.
    pub skipped: u64,
    /// The log had moved past the member, which was closed for it.
    pub passed: u64,
    /// The member had left, or its connection had ended.
    pub gone: u64,
    /// The room's history was lost, and its members were told.
    pub reset: u64,
}

impl Outcomes {
    /// Deliveries that have not come to an end: how far all cursors together are behind.
    pub fn waiting(&self) -> u64 {
        self.owed - self.sent - self.skipped - self.passed - self.gone - self.reset
    }

    /// What has come since it was like `earlier`.
    pub fn since(&self, earlier: &Outcomes) -> Outcomes {
        Outcomes {
            owed: self.owed - earlier.owed,
            sent: self.sent - earlier.sent,
            skipped: self.skipped - earlier.skipped,
            passed: self.passed - earlier.passed,
            gone: self.gone - earlier.gone,
            reset: self.reset - earlier.reset,
        }
    }

    /// Each end with its name.
    pub fn ends(&self) -> [(&'static str, u64); 5] {
        [
            ("sent", self.sent),
            ("skipped", self.skipped),
            ("passed", self.passed),
            ("gone", self.gone),
            ("reset", self.reset),
        ]
    }
}

/// What there is to know of the rooms of one class, such as those of one route.
#[derive(Clone, Debug)]
pub struct ClassTimes {
    /// The class as the handler named it; empty for rooms of which it said nothing.
    pub name: Arc<str>,
    /// Since the server started.
    pub stages: Stages,
}

/// One of the busiest rooms.
#[derive(Clone, Debug)]
pub struct BusyRoom {
    /// Its name.
    pub name: Arc<str>,
    /// Its class.
    pub class: Arc<str>,
    /// How many members it has.
    pub members: usize,
    /// Deliveries per second lately, about.
    pub rate: f64,
    /// Since it came to be among the busiest.
    pub stages: Stages,
}

/// The last while, be it that nobody was sent anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lately {
    /// How long it was: about a second, or as long as there was nothing to do.
    pub span: Duration,
    /// When it ended, since the loop began: who asks more often than it changes knows it by that.
    pub until: Duration,
    /// Deliveries of that time, by when they came to their end.
    pub stages: Stages,
    /// Outcomes in that time.
    pub outcomes: Outcomes,
}

/// What one connection's input took in one turn: reading, decoding, and the handler's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handling {
    /// Whose it was.
    pub conn: ConnId,
    /// How long it took.
    pub took: Duration,
    /// How many messages and requests the handler was called for.
    pub calls: u64,
}

/// How the loop is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopHealth {
    /// From the poller's return to the end of the turn.
    pub turn: Quantiles,
    /// What each connection's input took in a turn.
    pub handling: Quantiles,
    /// From the poller's return to the read of a connection that was ready.
    pub delay: Quantiles,
    /// The longest turn lately: at least `ready_lag_age`, and at most twice that, is looked back upon.
    pub lag: Duration,
    /// The longest handling lately.
    pub longest: Option<Handling>,
    /// From a publication to the backplane's answer: canaries, to the millisecond, and of those that ask to be told one
    /// at a time.
    pub answer: Quantiles,
    /// Turns that were longer than `turn_budget`.
    pub overruns: u64,
    /// Connections that the kernel has completed and nobody has accepted yet, as of the last second with a turn in it.
    pub accept_backlog: usize,
    /// Whether every listener takes in who comes; one that has run out of descriptors does not.
    pub is_accepting: bool,
}

/// Everything that the ledger knows, in numbers of bounded size.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether times are taken; where they are not, only outcomes are counted.
    pub is_on: bool,
    /// What became of all deliveries.
    pub outcomes: Outcomes,
    /// Bytes of room messages that sockets have taken.
    pub bytes: u64,
    /// All rooms, since the server started.
    pub all: Stages,
    /// All rooms, lately: for plots over time.
    pub lately: Lately,
    /// By class; at most `ledger_classes_max` and the one without a name.
    pub classes: Vec<ClassTimes>,
    /// The busiest rooms, the busiest first; at most `ledger_rooms_max`.
    pub rooms: Vec<BusyRoom>,
    /// How the loop is.
    pub health: LoopHealth,
    /// The last turns that were longer than `turn_budget`, the newest first; at most `slow_turns_max`.
    pub slow_turns: Vec<SlowTurn>,
    /// How many of those there were, by cause and route.
    pub slow_counts: Vec<SlowCount>,
}

/// Everything that the ledger knows, with its histograms: for whoever shows all of it.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// In numbers.
    pub snapshot: Snapshot,
    /// The times of each class.
    pub classes: Vec<(Arc<str>, Account)>,
    /// The backplane's answers, as in [`LoopHealth::answer`].
    pub answers: Histogram,
    /// The loop's own: `turn`, `handling` and `delay`, as in [`LoopHealth`].
    pub parts: Vec<(&'static str, Histogram)>,
}
