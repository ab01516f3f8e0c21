//! What an attack may do to others, and what it did.

use super::crowd::Phase;
use crate::measure::{Holdings, Latency, milliseconds};
use crate::modes::positive;
use crate::modes::verdict::Verdict;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A percentile of fewer values says nothing.
const COUNT_MIN: u64 = 20;

/// Descriptors by which two looks at an idle server differ: a newcomer may be in the door.
const DESCRIPTORS_SPARE: usize = 2;

/// What others may notice of an attack.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Bounds {
    /// Fails when the p99 of bystanders and newcomers during the attack is above so many times that before it.
    #[arg(long, default_value_t = 10.0, value_parser = positive, value_name = "TIMES")]
    pub(crate) p99_factor: f64,
    /// A p99 below so many milliseconds is good enough whatever it was before. A large number leaves time out of the verdict.
    #[arg(long, default_value_t = 100.0, value_parser = positive, value_name = "MS")]
    pub(crate) p99_floor: f64,
    /// Fails when the server's memory grows by more than so many MiB during the attack; each attack has a bound of its own,
    /// which it prints.
    #[arg(long, value_parser = positive, value_name = "MIB")]
    pub(crate) memory_max: Option<f64>,
    /// Says nothing about times when other work kept the bystanders from their core for more than this share of the time.
    #[arg(long, default_value_t = 0.1, value_parser = positive, value_name = "SHARE")]
    pub(crate) waited_max: f64,
}

/// What is judged.
pub(crate) struct Evidence<'a> {
    /// The first is before the attack, the last after it.
    pub(crate) phases: &'a [Phase],
    /// What was wrong with the bystanders' messages.
    pub(crate) errors: &'a BTreeMap<String, u64>,
    /// Before the attack, where the server's process is known.
    pub(crate) before: Option<Holdings>,
    /// The most memory during it.
    pub(crate) peak: Option<u64>,
    /// After it.
    pub(crate) after: Option<Holdings>,
    /// Bytes by which memory may grow, during the attack and for good.
    pub(crate) growth_max: u64,
    /// Whether newcomers may be refused during this attack.
    pub(crate) may_turn_away: bool,
    /// How long the bystanders had no core.
    pub(crate) waited: f64,
    /// What the attack itself found wrong.
    pub(crate) faults: &'a [String],
}

impl Bounds {
    /// Judges: wrong is wrong, but late may be the load's own fault.
    pub(crate) fn judge(&self, evidence: &Evidence<'_>) -> Verdict {
        let mut wrong = evidence.faults.to_vec();
        wrong.extend(evidence.errors.iter().map(|(kind, count)| format!("bystanders: {count} {kind}")));
        wrong.extend(turned_away(evidence));
        wrong.extend(left_behind(evidence));
        let late = self.late(evidence.phases);
        if wrong.is_empty() && !late.is_empty() && evidence.waited > self.waited_max {
            let share = evidence.waited * 100.0;
            return Verdict::Refused(format!(
                "other work kept the bystanders from their core for {share:.1} % of the time; they say: {}",
                late.join("; ")
            ));
        }
        wrong.extend(late);
        match wrong.is_empty() {
            true => Verdict::Ok,
            false => Verdict::Failed(wrong.join("; ")),
        }
    }

    fn late(&self, phases: &[Phase]) -> Vec<String> {
        let Some((before, during)) = during(phases) else {
            return vec!["the attack has no phase".to_owned()];
        };
        type Of = fn(&Phase) -> &Latency;
        let kinds: [(&str, Of); 3] = [
            ("echoes", |phase| &phase.echo),
            ("deliveries", |phase| &phase.room),
            ("newcomers", |phase| &phase.newcomers),
        ];
        let mut late = Vec::new();
        for phase in during {
            for (kind, of) in kinds {
                late.extend(
                    self.is_late(of(before), of(phase))
                        .map(|words| format!("{kind} during {}: {words}", phase.name)),
                );
            }
        }
        late
    }

    fn is_late(&self, before: &Latency, during: &Latency) -> Option<String> {
        // What came meanwhile may be too little for a percentile: then the longest speaks.
        let p99 = |latency: &Latency| match latency.count() < COUNT_MIN {
            true => latency.max(),
            false => latency.percentile(99.0),
        };
        let floor = Duration::from_secs_f64(self.p99_floor / 1e3);
        let most = p99(before).mul_f64(self.p99_factor).max(floor);
        let seen = p99(during);
        (seen > most).then(|| {
            format!("p99 {:.1} ms, of which {:.1} ms are allowed", milliseconds(seen), milliseconds(most))
        })
    }
}

/// The phase before the attack, and those of it.
fn during(phases: &[Phase]) -> Option<(&Phase, &[Phase])> {
    match phases {
        [before, during @ .., _] if !during.is_empty() => Some((before, during)),
        _ => None,
    }
}

fn turned_away(evidence: &Evidence<'_>) -> Vec<String> {
    let is_allowed = |place: usize| evidence.may_turn_away && place > 0;
    let bad = evidence
        .phases
        .iter()
        .enumerate()
        .filter(|(place, phase)| !is_allowed(*place) && phase.turned_away > 0);
    bad.map(|(_, phase)| format!("{} newcomers were not let in {}", phase.turned_away, phase.name)).collect()
}

fn left_behind(evidence: &Evidence<'_>) -> Vec<String> {
    let Some(before) = evidence.before else { return Vec::new() };
    let Some(after) = evidence.after else { return vec!["the server's process is gone".to_owned()] };
    let mut wrong = Vec::new();
    let kibibytes = |bytes: u64| bytes / 1024;
    let most = kibibytes(evidence.growth_max);
    for (when, bytes) in [("during", evidence.peak), ("after", Some(after.resident))] {
        let grown = bytes.unwrap_or(0).saturating_sub(before.resident);
        if grown > evidence.growth_max {
            let grown = kibibytes(grown);
            wrong.push(format!("memory grew by {grown} KiB {when} the attack; {most} KiB are allowed"));
        }
    }
    if after.descriptors > before.descriptors + DESCRIPTORS_SPARE {
        wrong.push(format!("{} descriptors before, {} after", before.descriptors, after.descriptors));
    }
    if after.threads > before.threads {
        wrong.push(format!("{} threads before, {} after", before.threads, after.threads));
    }
    if after.close_wait > before.close_wait {
        wrong.push(format!("{} sockets are left in CLOSE_WAIT", after.close_wait));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(name: &'static str, millis: u64, turned_away: u64) -> Phase {
        let latency = || {
            let mut latency = Latency::new();
            (0..100).for_each(|_| latency.record(Duration::from_millis(millis)));
            latency
        };
        Phase { name, echo: latency(), room: latency(), newcomers: latency(), turned_away }
    }

    const BEFORE: Holdings = Holdings { resident: 10 << 20, descriptors: 60, threads: 1, close_wait: 0 };

    /// What there is to judge; as it begins, nothing is wrong.
    struct Case {
        phases: [Phase; 3],
        errors: BTreeMap<String, u64>,
        peak: u64,
        after: Option<Holdings>,
        may_turn_away: bool,
        waited: f64,
        faults: Vec<String>,
    }

    impl Case {
        /// Bystanders whose latencies were so many milliseconds before the attack, and during it.
        fn of(before: u64, during: u64) -> Self {
            Self {
                phases: [phase("before", before, 0), phase("it", during, 0), phase("after", 900, 0)],
                errors: BTreeMap::new(),
                peak: BEFORE.resident + (1 << 20),
                after: Some(BEFORE),
                may_turn_away: false,
                waited: 0.0,
                faults: Vec::new(),
            }
        }

        /// The verdict where ten times as much is allowed, or 50 ms, and a mebibyte.
        fn verdict(&self) -> Verdict {
            let bounds = Bounds { p99_factor: 10.0, p99_floor: 50.0, memory_max: None, waited_max: 0.1 };
            bounds.judge(&Evidence {
                phases: &self.phases,
                errors: &self.errors,
                before: Some(BEFORE),
                peak: Some(self.peak),
                after: self.after,
                growth_max: 1 << 20,
                may_turn_away: self.may_turn_away,
                waited: self.waited,
                faults: &self.faults,
            })
        }

        fn words(&self) -> String {
            self.verdict().to_string()
        }
    }

    #[test]
    fn bystanders_within_the_factor_and_a_server_as_before_pass() {
        assert_eq!(Case::of(8, 79).verdict(), Verdict::Ok);
    }

    #[test]
    fn bystanders_beyond_the_factor_fail_and_the_phase_is_named() {
        let words = Case::of(8, 90).words();
        assert!(words.starts_with("failed: echoes during it: p99 9"), "{words}");
    }

    #[test]
    fn bystanders_below_the_floor_pass_whatever_was_before() {
        assert_eq!(Case::of(1, 45).verdict(), Verdict::Ok);
    }

    #[test]
    fn lateness_of_a_load_without_a_core_is_refused_but_a_wrong_message_is_not() {
        let mut case = Case { waited: 0.2, ..Case::of(8, 90) };
        assert!(matches!(case.verdict(), Verdict::Refused(_)), "{}", case.words());
        case.errors.insert("lost".to_owned(), 2);
        assert!(case.words().starts_with("failed: bystanders: 2 lost"), "{}", case.words());
    }

    #[test]
    fn whatever_a_server_keeps_is_told() {
        type Change = fn(&mut Holdings);
        let table: [(Change, &str); 4] = [
            (|after| after.resident += 1 << 21, "memory grew by 2048 KiB after"),
            (|after| after.descriptors += 3, "60 descriptors before, 63 after"),
            (|after| after.threads = 2, "1 threads before, 2 after"),
            (|after| after.close_wait = 1, "1 sockets are left in CLOSE_WAIT"),
        ];
        for (change, words) in table {
            let mut after = BEFORE;
            change(&mut after);
            let case = Case { after: Some(after), ..Case::of(8, 8) };
            assert!(case.words().contains(words), "{}", case.words());
        }
        assert!(Case { after: None, ..Case::of(8, 8) }.words().contains("process is gone"));
        let words = Case { peak: 1 << 30, ..Case::of(8, 8) }.words();
        assert!(words.contains("during the attack; 1024 KiB are allowed"), "{words}");
    }

    #[test]
    fn newcomers_may_be_refused_only_where_an_attack_says_so_and_never_before_it() {
        let mut case = Case::of(8, 8);
        case.phases[1].turned_away = 3;
        assert!(case.words().contains("3 newcomers were not let in it"), "{}", case.words());
        case.may_turn_away = true;
        assert_eq!(case.verdict(), Verdict::Ok);
        case.phases[0].turned_away = 1;
        assert!(case.words().contains("1 newcomers were not let in before"), "{}", case.words());
    }

    #[test]
    fn what_the_attack_found_fails_it() {
        let case = Case { faults: vec!["three were never told".to_owned()], ..Case::of(8, 8) };
        assert_eq!(case.words(), "failed: three were never told");
    }
}
