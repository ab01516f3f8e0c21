//! Slow turns: the last of those above `turn_budget`, each with what took the time, and for whom.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::health::Counts;
use super::snapshot::Handling;
use crate::limits::Limits;

/// What took most of a slow turn's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One connection's input: the handler's calls for it, and before them reading and decoding, which are bounded.
    Input,
    /// The input of several connections together.
    Inputs,
    /// What comes before connections are read: other threads, signals, the backplane, another process.
    Outside,
    /// What comes after: deliveries, replies, looks through the server, ends of connections, accepting.
    Sending,
    /// Times are not taken.
    Unknown,
}

impl Cause {
    /// Each of them.
    pub const ALL: [Cause; 5] = [Cause::Input, Cause::Inputs, Cause::Outside, Cause::Sending, Cause::Unknown];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Input => "input",
            Cause::Inputs => "inputs",
            Cause::Outside => "outside",
            Cause::Sending => "sending",
            Cause::Unknown => "unknown",
        }
    }
}

/// Whose connection it was, as the application says, while it was still there to be asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Where the application has put it.
    pub route: Option<String>,
    /// The user.
    pub user: Option<Arc<str>>,
    /// The client's address.
    pub address: Option<String>,
}

/// A turn that was longer than `turn_budget`, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowTurn {
    /// When it was over, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long it took.
    pub took: Duration,
    /// What took most of that.
    pub cause: Cause,
    /// Connections read.
    pub reads: u64,
    /// What it did.
    pub did: Counts,
    /// Whose input took the longest.
    pub longest: Option<Handling>,
    /// Whose connection that was.
    pub whose: Whose,
    /// Connections that were ready to be read when it was over, and had waited for that; `None` until they are read.
    pub held_up: Option<usize>,
}

/// A slow turn of which something is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// The turn.
    pub turn: SlowTurn,
    /// Turns like it of which nothing was said.
    pub unsaid: u64,
}

impl SlowTurn {
    /// Whose input it was that took the time, where it was one connection's.
    pub fn culprit(&self) -> Option<&Handling> {
        self.longest.as_ref().filter(|_| self.cause == Cause::Input)
    }
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlowTurn { took, reads, did, longest, .. } = &self.turn;
        write!(f, "a turn took {took:.1?}: {reads} reads of {} bytes, {} calls", did.bytes_in, did.calls)?;
        if let Some(Handling { conn, took, calls }) = longest {
            write!(f, ", the longest input {conn} with {took:.1?} for {calls}")?;
        }
        write!(f, "; {} deliveries of {} bytes, {} accepted", did.deliveries, did.bytes_out, did.accepts)?;
        match self.unsaid {
            0 => Ok(()),
            unsaid => write!(f, "; {unsaid} more such turns before it"),
        }
    }
}

/// Slow turns by their cause and, where that is a connection's input, by its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCount {
    /// What took most of their time.
    pub cause: Cause,
    /// The route, if it has one; past `ledger_classes_max` they are counted with those that have none.
    pub route: Arc<str>,
    /// How many there were.
    pub count: u64,
}

/// The last slow turns, and how many there were of each cause.
#[derive(Debug, Default)]
pub struct SlowTurns {
    kept: VecDeque<SlowTurn>,
    counts: Vec<SlowCount>,
}

impl SlowTurns {
    pub(super) fn note(&mut self, turn: SlowTurn, limits: &Limits) {
        self.count(&turn, limits);
        self.kept.truncate(limits.slow_turns_max);
        if self.kept.len() == limits.slow_turns_max {
            self.kept.pop_back();
        }
        if limits.slow_turns_max > 0 {
            self.kept.push_front(turn);
        }
    }

    fn count(&mut self, turn: &SlowTurn, limits: &Limits) {
        let route = turn.whose.route.as_deref().filter(|_| turn.cause == Cause::Input).unwrap_or_default();
        let is_new = !self.counts.iter().any(|known| &*known.route == route);
        let routes = self.counts.iter().filter(|known| !known.route.is_empty()).count();
        let route = if is_new && routes >= limits.ledger_classes_max { "" } else { route };
        let known = |known: &&mut SlowCount| known.cause == turn.cause && &*known.route == route;
        match self.counts.iter_mut().find(known) {
            Some(known) => known.count += 1,
            None => self.counts.push(SlowCount { cause: turn.cause, route: route.into(), count: 1 }),
        }
    }

    /// Says how many were ready when the last one was over, unless that is known.
    pub(super) fn resumed(&mut self, ready: usize) {
        if let Some(last) = self.kept.front_mut() {
            last.held_up.get_or_insert(ready);
        }
    }

    /// The last ones, the newest first; at most `slow_turns_max`.
    pub fn latest(&self) -> Vec<SlowTurn> {
        self.kept.iter().cloned().collect()
    }

    /// How many there were of each cause, and of those by one connection's input of each route.
    pub fn counts(&self) -> Vec<SlowCount> {
        let none =
            |cause: &Cause| !self.counts.iter().any(|known| known.cause == *cause && known.route.is_empty());
        let zeros = Cause::ALL.into_iter().filter(none);
        let zeros = zeros.map(|cause| SlowCount { cause, route: "".into(), count: 0 });
        self.counts.iter().cloned().chain(zeros).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(cause: Cause, route: &str) -> SlowTurn {
        let whose = Whose { route: Some(route.to_owned()), ..Whose::default() };
        SlowTurn {
            at_ms: 7,
            took: Duration::from_millis(200),
            cause,
            reads: 1,
            did: Counts::default(),
            longest: None,
            whose,
            held_up: None,
        }
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted_under_few_routes() {
        let limits = Limits { slow_turns_max: 2, ledger_classes_max: 2, ..Limits::default() };
        let mut turns = SlowTurns::default();
        for route in ["/a", "/b", "/c", "/a", "/d"] {
            turns.note(turn(Cause::Input, route), &limits);
        }
        turns.note(turn(Cause::Sending, "/a"), &limits);
        turns.resumed(3);
        turns.resumed(4);
        let latest = turns.latest();
        assert_eq!(latest.len(), 2);
        assert_eq!((latest[0].cause, latest[0].held_up), (Cause::Sending, Some(3)));
        assert_eq!(latest[1].whose.route.as_deref(), Some("/d"));
        let count = |cause: Cause, route: &str| {
            let counts = turns.counts();
            counts
                .iter()
                .filter(|it| it.cause == cause && *it.route == *route)
                .map(|it| it.count)
                .sum::<u64>()
        };
        assert_eq!(
            [count(Cause::Input, "/a"), count(Cause::Input, "/b"), count(Cause::Input, "")],
            [2, 1, 2]
        );
        assert_eq!((count(Cause::Sending, ""), count(Cause::Sending, "/a")), (1, 0));
        assert_eq!(turns.counts().len(), 4 + 3, "a cause without any has a zero of its own");
    }

    #[test]
    fn none_are_kept_where_none_are_to_be() {
        let limits = Limits { slow_turns_max: 0, ..Limits::default() };
        let mut turns = SlowTurns::default();
        turns.note(turn(Cause::Input, "/a"), &limits);
        assert_eq!(turns.latest(), []);
    }
}
