//! How often is said what happens: of each kind that can come in floods one line, then a second later how many more.
//!
//! What is said are events of `tracing`; where nobody has installed a subscriber, nothing is written anywhere.

use tracing::{info, warn};

/// A kind of event that can come in floods, often because somebody wants it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A peer has broken the protocol, or a bound on what it may send.
    Violation,
    /// A request was refused since nobody knows who it is of.
    Unauthorized,
    /// A request was refused since it may not do that.
    Forbidden,
    /// A request was refused since there are too many like it.
    TooMany,
    /// A request was refused since there is no place for it, or not now.
    Unavailable,
    /// A member was closed since its room's log had moved past it.
    SlowClosed,
    /// A member was not sent what its room does not have any more.
    SlowSkipped,
    /// A listener could not take in who waits at it.
    Accept,
    /// Memory has become short, or is not short any more.
    Memory,
    /// Somebody who runs the server has done something that is seldom done.
    Admin,
    /// Somebody who runs the server has published.
    AdminPublish,
}

impl Kind {
    const ALL: [Kind; 11] = [
        Kind::Violation,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::TooMany,
        Kind::Unavailable,
        Kind::SlowClosed,
        Kind::SlowSkipped,
        Kind::Accept,
        Kind::Memory,
        Kind::Admin,
        Kind::AdminPublish,
    ];

    /// The kind of a refusal with this status; `None` where it is nothing to tell of. A flood of one hides no other.
    pub fn of_refusal(status: u16) -> Option<Self> {
        match status {
            401 => Some(Kind::Unauthorized),
            403 => Some(Kind::Forbidden),
            429 => Some(Kind::TooMany),
            503 => Some(Kind::Unavailable),
            _ => None,
        }
    }

    /// In one word, as a field of the line that says how many more there were.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Violation => "violation",
            Kind::Unauthorized => "unauthorized",
            Kind::Forbidden => "forbidden",
            Kind::TooMany => "too_many",
            Kind::Unavailable => "unavailable",
            Kind::SlowClosed => "slow_closed",
            Kind::SlowSkipped => "slow_skipped",
            Kind::Accept => "accept",
            Kind::Memory => "memory",
            Kind::Admin => "admin",
            Kind::AdminPublish => "admin_publish",
        }
    }

    /// Whether events of this kind are warnings; the others are information.
    fn is_warning(self) -> bool {
        match self {
            Kind::SlowClosed | Kind::SlowSkipped | Kind::Accept | Kind::Memory => true,
            Kind::Violation
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::TooMany
            | Kind::Unavailable
            | Kind::Admin
            | Kind::AdminPublish => false,
        }
    }
}

/// The second that began when an event was said, and how many like it have come since.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    ends_ms: u64,
    left_out: u64,
}

/// Lets through one event of each kind in a second, and counts the others; times are in milliseconds.
///
/// ```
/// use fanline::log::{Kind, Throttle};
/// let mut throttle = Throttle::default();
/// assert!(throttle.admits(Kind::Forbidden, 5000));
/// assert!(!throttle.admits(Kind::Forbidden, 5001));
/// assert_eq!(throttle.take_due(6000), Some((Kind::Forbidden, 1)));
/// ```
#[derive(Debug, Default)]
pub struct Throttle {
    seconds: [Second; Kind::ALL.len()],
    /// Whether any were left out of which nothing has been said.
    is_owing: bool,
}

impl Throttle {
    /// How long nothing more is said of a kind.
    const SILENCE_MS: u64 = 1000;

    /// Whether an event of this kind is to be said; where it is not, it is counted.
    pub fn admits(&mut self, kind: Kind, now_ms: u64) -> bool {
        let second = &mut self.seconds[kind as usize];
        // Those that were left out are told of first, so that the lines add up in their order.
        let is_admitted = second.ends_ms <= now_ms && second.left_out == 0;
        if is_admitted {
            second.ends_ms = now_ms + Self::SILENCE_MS;
        } else {
            second.left_out += 1;
            self.is_owing = true;
        }
        is_admitted
    }

    /// How long until something is to be said of those that were left out.
    pub fn due_in_ms(&self, now_ms: u64) -> Option<u64> {
        let owing = self.seconds.iter().filter(|second| self.is_owing && second.left_out > 0);
        owing.map(|second| second.ends_ms.saturating_sub(now_ms)).min()
    }

    /// The next kind whose second is over, and how many of it were left out.
    pub fn take_due(&mut self, now_ms: u64) -> Option<(Kind, u64)> {
        if !self.is_owing {
            return None;
        }
        let is_due = |second: &Second| second.left_out > 0 && second.ends_ms <= now_ms;
        let due = Kind::ALL.into_iter().find(|kind| is_due(&self.seconds[*kind as usize]));
        self.is_owing = self.seconds.iter().any(|second| second.left_out > 0);
        due.map(|kind| (kind, std::mem::take(&mut self.seconds[kind as usize].left_out)))
    }

    /// Says how many were left out of each kind whose second is over, and whether there were any; `u64::MAX` is the end of
    /// all of them.
    #[inline]
    pub fn say_left_out(&mut self, now_ms: u64) -> bool {
        let mut is_said = false;
        while let Some((kind, count)) = self.take_due(now_ms) {
            let name = kind.name();
            is_said = true;
            match kind.is_warning() {
                true => warn!(kind = name, count, "and {count} more like it"),
                false => info!(kind = name, count, "and {count} more like it"),
            }
        }
        is_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_one_is_said_each_second_and_the_numbers_add_up() {
        let mut throttle = Throttle::default();
        let (mut said, mut counted, mut lines) = (0, 0, 0);
        // Ten seconds of 1,000 events each.
        for ms in 0..10_000 {
            while let Some((kind, count)) = throttle.take_due(ms) {
                assert_eq!(kind, Kind::Violation);
                (counted, lines) = (counted + count, lines + 1);
            }
            said += u64::from(throttle.admits(Kind::Violation, ms));
        }
        while let Some((_, count)) = throttle.take_due(u64::MAX) {
            (counted, lines) = (counted + count, lines + 1);
        }
        assert_eq!((said, lines, said + counted), (10, 10, 10_000));
        assert_eq!((throttle.due_in_ms(10_000), throttle.take_due(u64::MAX)), (None, None));
    }

    #[test]
    fn each_refusal_that_is_told_of_is_a_kind_by_itself() {
        let kinds: Vec<_> = [401, 403, 429, 503].into_iter().filter_map(Kind::of_refusal).collect();
        assert!(kinds.len() == 4 && kinds.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(Kind::of_refusal(404), None);
    }

    #[test]
    fn each_kind_has_its_own_second() {
        let mut throttle = Throttle::default();
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert!(throttle.admits(kind, 7), "{}", kind.name());
            assert!(!throttle.admits(kind, 8), "{}", kind.name());
        }
        assert_eq!(throttle.due_in_ms(500), Some(507));
        assert_eq!(throttle.take_due(1006), None);
        let due: Vec<_> = std::iter::from_fn(|| throttle.take_due(1007)).collect();
        assert_eq!(due, Kind::ALL.map(|kind| (kind, 1)));
    }

    #[test]
    fn who_comes_after_the_second_waits_until_those_before_it_have_been_told_of() {
        let mut throttle = Throttle::default();
        assert!(throttle.admits(Kind::Forbidden, 0) && !throttle.admits(Kind::Forbidden, 999));
        assert!(!throttle.admits(Kind::Forbidden, 5000), "one is still owed");
        assert_eq!(throttle.take_due(5000), Some((Kind::Forbidden, 2)));
        assert!(throttle.admits(Kind::Forbidden, 5000));
        assert_eq!(throttle.due_in_ms(5001), None, "nothing was left out");
    }
}
