//! `cargo loadtest compare --check`: every peer that is here carries echoes and a fan-out for a second, and nothing goes wrong. How busy the machine is does not matter.

use super::cases::{Case, Goal, Metric};
use super::peers::PEERS;
use super::run::{self, Plan};
use std::error::Error;
use std::process::ExitCode;

/// Small and short: it is right, or it is not.
const CASES: [Case; 4] = [
    small("echo", "echo", "/echo", &["--connections", "8", "--size", "125", "--window", "8"]),
    small("large echo", "echo", "/echo", &["--connections", "2", "--size", "1048576", "--window", "1"]),
    small("fan-out", "fanout", "/chat/check", &["--subscribers", "50", "--size", "64", "--window", "8"]),
    small("handshakes", "connect", "/echo", &["--concurrency", "8"]),
];

const fn small(
    name: &'static str,
    mode: &'static str,
    path: &'static str,
    options: &'static [&'static str],
) -> Case {
    let goals: &[Goal] = &[];
    Case { name, title: name, mode, path, options, metrics: &[Metric::Cpu], goals }
}

/// Checks every peer that is here; one that is missing is said and does not count.
///
/// # Errors
/// Never, so far.
pub(super) fn run(plan: Plan) -> Result<ExitCode, Box<dyn Error>> {
    let plan = Plan { seconds: 1.0, waited_max: Some(1.0), late_max: Some(1.0), ..plan };
    let mut failed = 0;
    for peer in PEERS {
        let ready = match peer.prepare() {
            Ok(ready) => ready,
            Err(why) => {
                println!("{}: missing: {why}", peer.name);
                continue;
            }
        };
        for case in CASES.iter().filter(|case| peer.has_echo || !case.needs_echo()) {
            let verdict = run::measure(case, &ready, plan);
            failed += usize::from(verdict.is_err());
            let words =
                verdict.map_or_else(|why| why, |(outcome, _)| format!("right, {} of them", outcome.count));
            println!("{} ({}), {}: {words}", peer.name, ready.version, case.name);
        }
    }
    println!("{failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
