//! The delivery ledger: how long each delivery took, stage by stage, and what became of every one.
//!
//! A publication keeps when it was read and when it was appended; nothing is kept for a member. A visit sends publications
//! that lie side by side, so their waits lie close together, too: mostly in one bucket, and then a visit costs one look at
//! the clock and a few additions, however many it sends. Deliveries of a room are counted in one account, its own while
//! it is among the busiest, and otherwise that of its class; classes and everything are sums, made when somebody asks.

mod begun;
pub mod busy;
pub mod health;
pub mod histogram;
pub mod slow;
pub mod snapshot;

use std::sync::Arc;
use std::time::Instant;

use crate::limits::Limits;
pub use begun::Begun;
use busy::Busy;
use health::Health;
use histogram::Histogram;
use snapshot::{ClassTimes, Lately, Outcomes, Stages};

/// What tells the time between two instants that the driver passes on: a poller's own clock. Without one no time passes
/// within a turn, as in a simulator.
pub type Clock = fn() -> Instant;

/// Nanoseconds from one instant to a later one; 64 bits last for centuries.
#[inline]
pub fn ns_between(start: Instant, now: Instant) -> u64 {
    let since = now.saturating_duration_since(start);
    since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())
}

/// When a publication was read and appended, in nanoseconds since the loop began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When the turn began in which its bytes were read.
    pub read_ns: u64,
    /// When it was appended.
    pub appended_ns: u64,
}

impl Times {
    /// The same for who was not there before this.
    #[inline]
    pub fn no_earlier_than(self, ns: u64) -> Times {
        Times { read_ns: self.read_ns.max(ns), appended_ns: self.appended_ns.max(ns) }
    }
}

/// Names an account, and its life: a busy room's is closed when others are busier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountId {
    index: u16,
    life: u16,
}

/// Where a room stands in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    class: u16,
    account: AccountId,
    /// Its place among the rooms that may be busy.
    entry: u16,
}

impl Default for Standing {
    fn default() -> Self {
        Self { class: 0, account: AccountId::default(), entry: Busy::NOWHERE }
    }
}

impl Standing {
    /// Where its deliveries are counted.
    #[inline]
    pub fn account(&self) -> AccountId {
        self.account
    }
}

/// The times of one room's deliveries, or of those of many.
#[derive(Clone, Debug, Default)]
pub struct Account {
    life: u16,
    /// The account that has what was counted here in the life before.
    heir: u16,
    /// From read to append.
    pub ingest: Histogram,
    /// From append to visit.
    pub waiting: Histogram,
    /// From visit to the last byte.
    pub send: Histogram,
    /// From read to the last byte.
    pub total: Histogram,
}

impl Account {
    fn merge(&mut self, other: &Account) {
        self.ingest.merge(&other.ingest);
        self.waiting.merge(&other.waiting);
        self.send.merge(&other.send);
        self.total.merge(&other.total);
    }

    fn since(&self, earlier: &Account) -> Account {
        Account {
            ingest: self.ingest.since(&earlier.ingest),
            waiting: self.waiting.since(&earlier.waiting),
            send: self.send.since(&earlier.send),
            total: self.total.since(&earlier.total),
            ..Account::default()
        }
    }

    /// The stages in numbers.
    pub fn stages(&self) -> Stages {
        Stages {
            ingest: self.ingest.quantiles(),
            waiting: self.waiting.quantiles(),
            send: self.send.quantiles(),
            total: self.total.quantiles(),
        }
    }
}

#[derive(Debug)]
struct Class {
    name: Arc<str>,
    account: AccountId,
}

/// What was true when the last while began.
#[derive(Debug, Default)]
struct Mark {
    at_ns: u64,
    all: Account,
    outcomes: Outcomes,
}

/// Every delivery's times and end.
#[derive(Debug)]
pub struct Ledger {
    /// Whether times are taken. Outcomes are counted anyway.
    is_on: bool,
    clock: Option<Clock>,
    start: Option<Instant>,
    turn_ns: u64,
    now_ns: u64,
    outcomes: Outcomes,
    bytes: u64,
    accounts: Vec<Account>,
    /// Accounts that have been closed, to be opened again.
    closed: Vec<AccountId>,
    /// The first is that of rooms of which nothing was said.
    classes: Vec<Class>,
    classes_max: usize,
    busy: Busy,
    mark: Mark,
    lately: Lately,
    /// How the loop is.
    pub health: Health,
}

/// What may become of a delivery besides being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// [`Outcomes::skipped`].
    Skipped,
    /// [`Outcomes::passed`].
    Passed,
    /// [`Outcomes::gone`].
    Gone,
    /// [`Outcomes::reset`].
    Reset,
}

impl Ledger {
    /// How often it is worked out which rooms are the busiest, and what the last while was like.
    const WHILE_NS: u64 = 1_000_000_000;

    /// A ledger that only counts outcomes, until it is turned on.
    pub fn new(limits: &Limits) -> Self {
        Self {
            is_on: false,
            clock: None,
            start: None,
            turn_ns: 0,
            now_ns: 0,
            outcomes: Outcomes::default(),
            bytes: 0,
            accounts: Vec::new(),
            closed: Vec::new(),
            classes: vec![Class { name: "".into(), account: AccountId::default() }],
            classes_max: limits.ledger_classes_max.min(usize::from(u16::MAX / 2)),
            busy: Busy::new(limits.ledger_rooms_max),
            mark: Mark::default(),
            lately: Lately::default(),
            health: Health::default(),
        }
    }

    /// Takes times from now on.
    pub fn turn_on(&mut self) {
        if !self.is_on {
            self.is_on = true;
            self.accounts.push(Account::default());
            self.health.turn_on();
        }
    }

    /// Whether times are taken.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Says which clock to read within turns, and when the loop began by it.
    pub fn set_clock(&mut self, clock: Clock, start: Instant) {
        (self.clock, self.start) = (Some(clock), Some(start));
    }

    /// A turn begins, so many nanoseconds after the loop began; the clock may have gone on since, if it is said again.
    pub fn begin_turn(&mut self, ns: u64) {
        if ns != self.turn_ns {
            (self.turn_ns, self.now_ns) = (ns, ns);
        }
    }

    /// When this turn began.
    pub fn turn_ns(&self) -> u64 {
        self.turn_ns
    }

    /// What the clock said last.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Looks at the clock, if times are taken.
    #[inline]
    pub fn tick(&mut self) -> u64 {
        if self.is_on { self.read_clock() } else { self.now_ns }
    }

    /// Looks at the clock.
    #[inline]
    pub fn read_clock(&mut self) -> u64 {
        if let (Some(clock), Some(start)) = (self.clock, self.start) {
            self.now_ns = ns_between(start, clock());
        }
        self.now_ns
    }

    /// A publication is appended: takes its times, and counts the members it is for. The key is its room's; another room's
    /// is returned where that one has lost its place among those that may be busy.
    pub fn published(&mut self, standing: &mut Standing, key: u32, members: u64) -> (Times, Option<u32>) {
        self.outcomes.owed += members;
        if !self.is_on {
            return (Times { read_ns: self.turn_ns, appended_ns: self.now_ns }, None);
        }
        let times = Times { read_ns: self.turn_ns, appended_ns: self.read_clock() };
        if let Some(account) = self.accounts.get_mut(usize::from(standing.account.index)) {
            account.ingest.record(times.appended_ns.saturating_sub(times.read_ns), 1);
        }
        (times, self.busy.published(standing, key, members))
    }

    /// Somebody is to be sent what was published before, or is not after all.
    pub fn owe(&mut self, more: u64, less: u64) {
        self.outcomes.owed = self.outcomes.owed + more - less;
    }

    /// Deliveries have come to an end without having been sent.
    pub fn end(&mut self, end: End, count: u64) {
        let ended = match end {
            End::Skipped => &mut self.outcomes.skipped,
            End::Passed => &mut self.outcomes.passed,
            End::Gone => &mut self.outcomes.gone,
            End::Reset => &mut self.outcomes.reset,
        };
        *ended += count;
    }

    /// A visit, which began when the clock was looked at the last time, has sent publications that lie side by side: these
    /// are their times, the oldest first.
    #[inline]
    pub fn sent(
        &mut self,
        account: AccountId,
        times: impl DoubleEndedIterator<Item = Times> + ExactSizeIterator + Clone,
    ) {
        let count = times.len() as u64;
        self.outcomes.sent += count;
        if !self.is_on {
            return;
        }
        let began_ns = self.now_ns;
        let now_ns = self.read_clock();
        let Some(account) = self.accounts.get_mut(usize::from(account.index)) else { return };
        account.send.record(now_ns.saturating_sub(began_ns), count);
        let spans =
            |times: Times| (began_ns.saturating_sub(times.appended_ns), now_ns.saturating_sub(times.read_ns));
        let Some((waited, took)) = times.clone().next().map(spans) else { return };
        if count == 1 {
            account.waiting.record(waited, 1);
            account.total.record(took, 1);
            return;
        }
        let (waited_least, took_least) = times.clone().next_back().map_or((waited, took), spans);
        account.waiting.record_falling([waited, waited_least], times.clone().map(|times| spans(times).0));
        account.total.record_falling([took, took_least], times.map(|times| spans(times).1));
    }

    /// Counts bytes of room messages that a socket has taken.
    #[inline]
    pub fn count_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// What became of all deliveries.
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// Bytes of room messages that sockets have taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the last while was like.
    pub fn lately(&self) -> Lately {
        self.lately
    }

    /// All rooms' times.
    pub fn all(&self) -> Account {
        let mut all = Account::default();
        self.accounts.iter().for_each(|account| all.merge(account));
        all
    }

    /// The times of each class that has any, with those of its busy rooms.
    pub fn by_class(&self) -> Vec<(Arc<str>, Account)> {
        let mut classes: Vec<(Arc<str>, Account)> = Vec::new();
        for (at, class) in self.classes.iter().enumerate() {
            let own = self.accounts.get(usize::from(class.account.index)).cloned();
            let mut sum = own.unwrap_or_default();
            let busy = self.busy.accounts().filter(|(class, _)| usize::from(*class) == at);
            for (_, account) in busy {
                self.accounts.get(usize::from(account.index)).into_iter().for_each(|busy| sum.merge(busy));
            }
            if sum.total.count() > 0 || sum.ingest.count() > 0 {
                classes.push((class.name.clone(), sum));
            }
        }
        classes
    }

    /// The classes in numbers.
    pub fn classes(&self) -> Vec<ClassTimes> {
        let classes = self.by_class().into_iter();
        classes.map(|(name, account)| ClassTimes { name, stages: account.stages() }).collect()
    }
}
