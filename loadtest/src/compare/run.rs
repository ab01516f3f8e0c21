//! The rounds of one case: each peer in turn, freshly started on one core, the load on the other.

use super::cases::{Case, ECHO};
use super::outcome::Outcome;
use super::peers::Ready;
use super::stats::Rounds;
use crate::launch::Launched;
use crate::measure::{Cores, keep_to};
use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a round without a result is repeated.
const REPEATS: usize = 2;

/// What a mode may take besides its seconds: connecting, draining, settling.
const ASIDE: Duration = Duration::from_secs(90);

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Rounds of every case.
    pub(crate) rounds: usize,
    /// Measured seconds of every round.
    pub(crate) seconds: f64,
    /// The share of the time that the load may wait for its core before a mode refuses its result, if it is not the mode's own.
    pub(crate) waited_max: Option<f64>,
    /// The same for the share of messages sent late.
    pub(crate) late_max: Option<f64>,
    /// Where servers and load run; `None` leaves it to the kernel.
    pub(crate) cores: Option<Cores>,
}

/// What came of a case.
pub(crate) struct CaseResult {
    /// Which.
    pub(crate) case: &'static Case,
    /// The rounds of each peer that took part, in the order of the table of peers.
    pub(crate) rounds: Vec<(&'static str, Rounds)>,
    /// Rounds that gave no result, in words.
    pub(crate) troubles: Vec<String>,
    /// The load's command for each peer.
    pub(crate) commands: Vec<String>,
}

impl CaseResult {
    /// The rounds of one peer.
    pub(crate) fn of(&self, peer: &str) -> Option<&Rounds> {
        self.rounds.iter().find(|(name, _)| *name == peer).map(|(_, rounds)| rounds)
    }

    /// Whether so many repeated rounds failed that the next would too.
    fn is_given_up(&self, peer: &str) -> bool {
        self.of(peer).is_some_and(|rounds| matches!(rounds.as_slice(), [.., None]))
    }
}

/// Runs all rounds: A, B, B, A, so that a change of the machine's mood meets everybody, and nobody is always the second.
pub(crate) fn case(case: &'static Case, peers: &[Ready], plan: Plan) -> CaseResult {
    let able = |ready: &&Ready| ready.peer.has_echo || !case.needs_echo();
    let able: Vec<&Ready> = peers.iter().filter(able).collect();
    let rounds = able.iter().map(|ready| (ready.peer.name, Vec::new())).collect();
    let mut result = CaseResult { case, rounds, troubles: Vec::new(), commands: Vec::new() };
    for round in 1..=plan.rounds {
        let mut places: Vec<usize> = (0..able.len()).collect();
        if round % 2 == 0 {
            places.reverse();
        }
        for place in places {
            let ready = able[place];
            let outcome = if result.is_given_up(ready.peer.name) {
                None
            } else {
                attempts(&mut result, ready, plan, round)
            };
            result.rounds[place].1.push(outcome);
        }
    }
    result
}

fn attempts(result: &mut CaseResult, ready: &Ready, plan: Plan, round: usize) -> Option<Outcome> {
    let (case, name) = (result.case, ready.peer.name);
    for _ in 0..=REPEATS {
        match measure(case, ready, plan) {
            Ok((outcome, command)) => {
                if round == 1 {
                    result.commands.push(format!("{name}: {command}"));
                }
                eprintln!("  {} round {round}, {name}: {}", case.name, words(case, &outcome));
                return Some(outcome);
            }
            Err(why) => {
                eprintln!("  {} round {round}, {name}: {why}", case.name);
                result.troubles.push(format!("{}, round {round}, {name}: {why}", case.name));
            }
        }
    }
    None
}

fn words(case: &Case, outcome: &Outcome) -> String {
    let each = case.metrics.iter().filter_map(|&metric| {
        Some(format!("{} {}", metric.words(), super::stats::short(outcome.metric(metric)?)))
    });
    each.collect::<Vec<_>>().join("; ")
}

/// One round: start, load, end.
pub(super) fn measure(case: &Case, ready: &Ready, plan: Plan) -> Result<(Outcome, String), String> {
    // A child is born on its parent's core, with all the threads it will have.
    plan.cores.map_or(Ok(()), |cores| keep_to(cores.server))?;
    let server = ready.start();
    plan.cores.map_or(Ok(()), |cores| keep_to(cores.load))?;
    load(case, &server?, plan)
}

fn load(case: &Case, server: &Launched, plan: Plan) -> Result<(Outcome, String), String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let mut arguments = arguments(case, server, plan);
    let shown = format!("cargo loadtest {}", arguments.join(" "));
    arguments.extend(["--json".to_owned(), file.path().to_string_lossy().into_owned()]);
    let mut command = Command::new(env::current_exe().map_err(|error| error.to_string())?);
    let words = finish(command.args(&arguments), Duration::from_secs_f64(plan.seconds) + ASIDE)?;
    let text = fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
    if text.is_empty() {
        return Err(format!("no result: {}", words.trim()));
    }
    Ok((Outcome::parse(&text)?, shown))
}

fn arguments(case: &Case, server: &Launched, plan: Plan) -> Vec<String> {
    let mut arguments = vec![case.mode.to_owned(), server.url(case.path)];
    arguments.extend(case.options.iter().map(|option| option.replace(ECHO, &server.url("/echo"))));
    arguments.extend(["--pid".to_owned(), server.pid().to_string()]);
    if case.is_timed() {
        arguments.extend(["--seconds".to_owned(), plan.seconds.to_string()]);
        for (name, most) in [("--waited-max", plan.waited_max), ("--late-max", plan.late_max)] {
            arguments.extend(most.into_iter().flat_map(|most| [name.to_owned(), most.to_string()]));
        }
    }
    arguments
}

/// Runs a child to its end, or ends it; what it says on standard error is returned.
fn finish(command: &mut Command, patience: Duration) -> Result<String, String> {
    let errors = tempfile::tempfile().map_err(|error| error.to_string())?;
    let mut says = errors.try_clone().map_err(|error| error.to_string())?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let end = Instant::now() + patience;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > end {
            // It fails only when the process has ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return Err("the load did not come to an end".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let mut words = String::new();
    std::io::Seek::rewind(&mut says).map_err(|error| error.to_string())?;
    std::io::Read::read_to_string(&mut says, &mut words).map_err(|error| error.to_string())?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_hangs_is_ended() {
        let (start, patience) = (Instant::now(), Duration::from_millis(50));
        assert!(finish(Command::new("sleep").arg("60"), patience).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
        let words = finish(Command::new("sh").args(["-c", "echo why >&2"]), Duration::from_secs(30));
        assert_eq!(words.as_deref(), Ok("why\n"));
    }
}
