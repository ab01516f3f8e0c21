//! What a result is worth: whether the server was right, and whether the load was in the way.

use super::Limits;
use super::report::{Kind, Late};
use crate::measure::CpuShare;
use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

/// An open loop that needs more of its core than this had no time left to keep its plan.
const USED_MAX: f64 = 0.97;

/// What did not come within the patience of a run. A load that was in the way may have caused it.
pub(crate) const LOST: &str = "lost";

/// The verdict on a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It stands.
    Ok,
    /// The load was in the way: nothing is said about the server.
    Refused(String),
    /// The server did what it should not.
    Failed(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => write!(f, "ok"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl Verdict {
    /// 0, 3 or 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Ok => ExitCode::SUCCESS,
            Self::Refused(_) => ExitCode::from(3),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }

    /// Judges; a wrong reply weighs more than a load in the way, and that more than a reply that is only missing.
    pub(crate) fn new(evidence: &Evidence<'_>, limits: &Limits) -> Self {
        let wrong = |(kind, _): &(&String, &u64)| *kind != LOST;
        if let Some(words) = in_words(evidence.errors.iter().filter(wrong)) {
            return Self::Failed(words);
        }
        if let Some(why) = evidence.why_refused(limits) {
            return Self::Refused(why);
        }
        match in_words(evidence.errors.iter()) {
            Some(words) => Self::Failed(words),
            None if evidence.count == 0 => Self::Failed("nothing came at all".to_owned()),
            None => Self::Ok,
        }
    }
}

/// The verdict on several results: a failure weighs more than a refusal, and that more than none.
pub(crate) fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let weight = |verdict: &Verdict| match verdict {
        Verdict::Ok => 0,
        Verdict::Refused(_) => 1,
        Verdict::Failed(_) => 2,
    };
    verdicts.max_by_key(weight).unwrap_or(Verdict::Ok)
}

/// What is judged.
pub(crate) struct Evidence<'a> {
    /// What came.
    pub(crate) count: u64,
    /// Whether there was a plan.
    pub(crate) kind: Kind,
    /// How it was kept.
    pub(crate) late: Late,
    /// How the load fared with its core.
    pub(crate) load: CpuShare,
    /// What was wrong.
    pub(crate) errors: &'a BTreeMap<String, u64>,
}

impl Evidence<'_> {
    fn why_refused(&self, limits: &Limits) -> Option<String> {
        let open = self.kind == Kind::Planned;
        let late = self.late.count as f64 / self.late.planned.max(1) as f64;
        let waited = self.load.waited.unwrap_or(0.0);
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        if open && self.load.used >= USED_MAX {
            let (used, most) = (percent(self.load.used), percent(USED_MAX));
            Some(format!("the load was saturated: it used {used} of its core, of which {most} is too much"))
        } else if waited > limits.waited_max {
            let (waited, most) = (percent(waited), percent(limits.waited_max));
            Some(format!(
                "other work kept the load from its core for {waited} of the time; at most {most} may be"
            ))
        } else if open && late > limits.late_max {
            let (late, most) = (percent(late), percent(limits.late_max));
            Some(format!("{late} of the messages were sent over 1 ms late; at most {most} may be"))
        } else {
            None
        }
    }
}

fn in_words<'a>(errors: impl Iterator<Item = (&'a String, &'a u64)>) -> Option<String> {
    let words: Vec<String> = errors.map(|(kind, count)| format!("{count} {kind}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
