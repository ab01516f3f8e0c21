//! `cargo loadtest compare`: Fanline beside its peers, in turns, as ratios with their spread.
//!
//! Every round starts each peer anew, pinned to one core, with the load pinned to another: A, B, B, A. A ratio is taken within
//! a round, so that a change of the machine's mood meets both of its sides. The load is a mode of this program in a
//! process of its own, which refuses results that it was itself in the way of; such a round is repeated.

mod cases;
mod check;
mod host;
mod install;
mod outcome;
mod peers;
mod plots;
mod report;
mod run;
mod stats;
mod table;

use crate::measure::{Cores, raise_open_files};
use cases::{CASES, Case};
use clap::Args;
use peers::{OURS, PEERS, Peer, Ready};
use report::{Entry, Report};
use run::Plan;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// The largest case has 10,000 connections; a server needs as many files.
const FILES: usize = 11_000;

/// Whom `--quick` compares with.
const QUICK_PEERS: [&str; 4] = [OURS, "bare", "threads", "bun"];

/// Fanline beside its peers.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs this case only; may be repeated.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Compares with this peer only; may be repeated. Ours always takes part.
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Rounds of every case.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measured seconds of every round.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Takes results of a load that was ready to run, but had no core, for up to this share of the time; the modes themselves
    /// take 0.05. The server's processor time suffers little from more, latencies do.
    #[arg(long, value_name = "SHARE")]
    waited_max: Option<f64>,
    /// Takes results of an open loop that sent up to this share of its messages late; the modes themselves take 0.01.
    #[arg(long, value_name = "SHARE")]
    late_max: Option<f64>,
    /// Two rounds of one second, with bare, threads and Bun, unless other peers are named: a first look, not a result.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Checks that every peer that is here carries echoes and a fan-out as it should, for a second each, and compares nothing.
    #[arg(long)]
    check: bool,
    /// Prints the cases and the peers, and does nothing.
    #[arg(long)]
    list: bool,
    /// Writes the report to this file.
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    report: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=600.0).contains(&number) { Ok(number) } else { Err("not between 0.1 and 600".to_owned()) }
}

/// Compares, prints the numbers and writes the report; fails when a goal was missed or not measured.
///
/// # Errors
/// When a name is unknown or our own server cannot be started.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    if options.list {
        println!("{}", table::list());
        return Ok(ExitCode::SUCCESS);
    }
    raise_open_files(FILES)?;
    let plan = plan(&options);
    if options.check {
        return check::run(plan);
    }
    let (cases, peers) = (chosen_cases(&options.case)?, chosen_peers(&options)?);
    println!("{}", setting(&cases, plan));
    let (ready, entries) = prepare(&peers)?;
    let mut results = Vec::new();
    for case in cases {
        let result = run::case(case, &ready, plan);
        println!("\n{}\n{}", case.title, table::case(&result));
        results.push(result);
    }
    let rows = table::rows(&results, |name| peers.iter().any(|peer| peer.name == name));
    println!("\n{}", table::numbers(&rows));
    let report =
        Report { command: command_line(), facts: host::facts(), entries, rows: &rows, results: &results };
    fs::write(&options.report, report.html()?)?;
    println!("\nwritten: {}", options.report.display());
    let good = rows.iter().all(|row| matches!(row.verdict(), "met" | "shown"));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(options: &Options) -> Plan {
    let (rounds, seconds) = if options.quick { (2, 1.0) } else { (options.rounds as usize, options.seconds) };
    let Options { waited_max, late_max, .. } = *options;
    Plan { rounds, seconds, waited_max, late_max, cores: Cores::two() }
}

fn setting(cases: &[&Case], plan: Plan) -> String {
    let place = match plan.cores {
        Some(cores) => format!("servers on core {}, the load on core {}", cores.server, cores.load),
        None => "servers and load on the same core".to_owned(),
    };
    format!("{} cases, {} rounds of {} s in turns; {place}.", cases.len(), plan.rounds, plan.seconds)
}

fn chosen_cases(names: &[String]) -> Result<Vec<&'static Case>, String> {
    if let Some(unknown) = names.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        return Err(format!("there is no case `{unknown}`; --list has them all"));
    }
    let is_chosen = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    Ok(CASES.iter().filter(is_chosen).collect())
}

fn chosen_peers(options: &Options) -> Result<Vec<&'static Peer>, String> {
    let names: Vec<&str> = match options.peer.as_slice() {
        [] if options.quick => QUICK_PEERS.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| !PEERS.iter().any(|peer| peer.name == **name)) {
        return Err(format!("there is no peer `{unknown}`; --list has them all"));
    }
    let is_chosen = |peer: &&Peer| names.is_empty() || peer.name == OURS || names.contains(&peer.name);
    Ok(PEERS.iter().filter(is_chosen).collect())
}

/// Installs what is missing; what cannot be had is said, and left out. Without our own server there is nothing to compare.
fn prepare(peers: &[&'static Peer]) -> Result<(Vec<Ready>, Vec<Entry>), String> {
    let (mut ready, mut entries) = (Vec::new(), Vec::new());
    for peer in peers {
        let mut entry = Entry {
            name: peer.name,
            words: peer.words,
            version: String::new(),
            hashes: Vec::new(),
            command: String::new(),
        };
        match peer.prepare() {
            Ok(found) => {
                (entry.version, entry.hashes) = (found.version.clone(), found.hashes.clone());
                entry.command = found.command_line();
                ready.push(found);
            }
            Err(why) if peer.name == OURS => return Err(why),
            Err(why) => {
                eprintln!("{} is missing: {why}", peer.name);
                entry.version = format!("missing: {why}");
            }
        }
        entries.push(entry);
    }
    Ok((ready, entries))
}

/// This run, as it was asked for.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo loadtest {}", arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &[&str]) -> Options {
        Line::try_parse_from([&["compare"], line].concat()).expect("understood").options
    }

    #[test]
    fn ours_always_takes_part_and_unknown_names_are_refused() {
        let names = |line: &[&str]| -> Vec<&str> {
            chosen_peers(&options(line)).expect("known").iter().map(|peer| peer.name).collect()
        };
        assert_eq!(names(&["--peer", "bun"]), ["fanline", "bun"]);
        assert_eq!(names(&["--quick"]), QUICK_PEERS);
        assert_eq!(names(&[]).len(), PEERS.len());
        assert!(chosen_peers(&options(&["--peer", "netcat"])).is_err_and(|words| words.contains("netcat")));
        assert!(chosen_cases(&["echo-33".to_owned()]).is_err());
        assert_eq!(chosen_cases(&[]).map(|cases| cases.len()), Ok(CASES.len()));
    }

    #[test]
    fn a_quick_look_has_two_short_rounds() {
        let plan = |line: &[&str]| plan(&options(line));
        assert_eq!((plan(&["--quick"]).rounds, plan(&["--quick"]).seconds), (2, 1.0));
        assert_eq!((plan(&[]).rounds, plan(&["--seconds", "2"]).seconds), (5, 2.0));
    }
}
