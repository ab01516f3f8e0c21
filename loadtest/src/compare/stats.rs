//! Medians and spreads, and ratios by repetition.

use super::cases::{Goal, Metric};
use super::outcome::Outcome;
use std::fmt;

/// The rounds of one peer in one case, by number; a round without a result is `None`.
pub(crate) type Rounds = Vec<Option<Outcome>>;

/// A median with the lowest and the highest.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    /// Half are at most this.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) low: f64,
    /// The highest.
    pub(crate) high: f64,
}

impl Spread {
    /// Of these numbers, if there are any.
    pub(crate) fn of(mut numbers: Vec<f64>) -> Option<Self> {
        numbers.sort_by(f64::total_cmp);
        let (&low, &high) = (numbers.first()?, numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            0 => (numbers[middle - 1] + numbers[middle]) / 2.0,
            _ => numbers[middle],
        };
        Some(Self { median, low, high })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}–{})", short(self.median), short(self.low), short(self.high))
    }
}

/// Three digits that matter, without an exponent.
pub(crate) fn short(number: f64) -> String {
    let decimals = match number.abs() {
        0.0..0.1 => 4,
        0.1..10.0 => 3,
        10.0..100.0 => 2,
        100.0..1000.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// A metric of one peer.
pub(crate) fn spread(rounds: &[Option<Outcome>], metric: Metric) -> Option<Spread> {
    Spread::of(rounds.iter().flatten().filter_map(|outcome| outcome.metric(metric)).collect())
}

/// The ratio within each round in which both have a result.
pub(crate) fn ratio(ours: &[Option<Outcome>], theirs: &[Option<Outcome>], metric: Metric) -> Option<Spread> {
    let each = ours.iter().zip(theirs).filter_map(|(ours, theirs)| {
        let (ours, theirs) = (ours.as_ref()?.metric(metric)?, theirs.as_ref()?.metric(metric)?);
        (theirs > 0.0).then(|| ours / theirs)
    });
    Spread::of(each.collect())
}

/// What is seen of a goal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Seen {
    /// Of the rounds.
    pub(crate) spread: Spread,
    /// Whether the median reaches it; `None` where nothing must be reached.
    pub(crate) met: Option<bool>,
}

/// Judges a goal by the rounds of Fanline and of the peer it names.
pub(crate) fn judge<'a>(goal: Goal, rounds: impl Fn(&str) -> Option<&'a Rounds>) -> Option<Seen> {
    let ours = rounds(super::peers::OURS)?;
    let (spread, most) = match goal {
        Goal::Ratio(metric, peer, most) => (ratio(ours, rounds(peer)?, metric)?, most),
        Goal::Most(metric, most) => (spread(ours, metric)?, most),
    };
    Some(Seen { spread, met: most.is_finite().then_some(spread.median <= most) })
}

#[cfg(test)]
mod tests {
    use super::super::outcome::canned;
    use super::*;

    fn rounds(cpu: &[f64]) -> Rounds {
        cpu.iter().map(|&cpu| (cpu > 0.0).then(|| canned(cpu, 0.25))).collect()
    }

    #[test]
    fn a_median_is_in_the_middle_of_odd_and_even_numbers() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine slowed down for both in the second round, and the third lacks one of them.
        let (ours, theirs) = (rounds(&[5.0, 10.0, 99.0]), rounds(&[10.0, 20.0, 0.0]));
        let seen = ratio(&ours, &theirs, Metric::Cpu).expect("two rounds");
        assert_eq!(seen, Spread { median: 0.5, low: 0.5, high: 0.5 });
        assert_eq!(ratio(&ours, &theirs, Metric::OwnBytes), None);
    }

    #[test]
    fn a_goal_is_met_missed_or_only_shown() {
        let (ours, theirs) = (rounds(&[5.0]), rounds(&[10.0]));
        let find = |peer: &str| match peer {
            "fanline" => Some(&ours),
            "bare" => Some(&theirs),
            _ => None,
        };
        let met = |most| judge(Goal::Ratio(Metric::Cpu, "bare", most), find).map(|seen| seen.met);
        assert_eq!(
            [met(0.5), met(0.49), met(f64::INFINITY)],
            [Some(Some(true)), Some(Some(false)), Some(None)]
        );
        assert_eq!(judge(Goal::Ratio(Metric::Cpu, "bun", 1.0), find), None);
        assert_eq!(judge(Goal::Most(Metric::Cpu, 5.0), find).and_then(|seen| seen.met), Some(true));
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!(
            [0.0123, 1.0, 12.3456, 250.04, 12_345.6].map(short),
            ["0.0123", "1.000", "12.35", "250.0", "12346"]
        );
    }
}
