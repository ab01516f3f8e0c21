//! `cargo loadtest bystander`: what a large room does to a connection that has nothing to do with it.
//!
//! One member of a room publishes at a steady rate to all the others, while a connection outside the room has its small
//! messages echoed. The load is open loop: every message has a planned time, and its latency counts from the plan, so a
//! stall is charged to every message that should have been sent meanwhile.

mod compare;
mod hall;
mod print;
mod report;
mod run;

use crate::launch::Launched;
use crate::measure::{Cores, raise_open_files};
use crate::modes::Limits;
use clap::Args;
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Descriptors besides the members: the bystander.
const OTHERS: usize = 1;

/// An echo beside the fan-out of a large room.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's address, as in ws://127.0.0.1:8080; without one, our own server is started for the run.
    url: Option<String>,
    #[command(flatten)]
    load: Load,
    /// The server's process, to tell its share of a core.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Measures our server with its sliced walk and with a walk that sends to everybody in one go, in turns; fails unless
    /// the first has a p99 of at most a tenth of the second's.
    #[arg(long, conflicts_with_all = ["url", "pid"])]
    compare_walk: bool,
    /// How often each of the two is measured undisturbed; where other work holds the cores, up to twice as often in all.
    #[arg(long, default_value_t = 3, requires = "compare_walk")]
    rounds: usize,
    #[command(flatten)]
    limits: Limits,
    /// Leaves it to the kernel which core runs what. Otherwise a server that we start is kept to one, and the load to another.
    #[arg(long)]
    no_pin: bool,
    /// Writes the numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How large the room is and what happens in it.
#[derive(Args, Clone, Serialize)]
struct Load {
    /// Connections in the room, one of which publishes.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..))]
    members: u32,
    /// Messages published in a second.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    rate: f64,
    /// Echoes asked for in a second.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    echo_rate: f64,
    /// Bytes of every message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..1_048_576))]
    size: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    /// How long the load runs before, unmeasured (but checked).
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    warm_up: f64,
    /// How long to wait for what is still under way after the last was sent.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    drain: f64,
    /// The route of the room.
    #[arg(long, default_value = "/chat/bystander")]
    room_path: String,
    /// The route that echoes.
    #[arg(long, default_value = "/echo")]
    echo_path: String,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number <= 1e6 { Ok(number) } else { Err("not between 0 and a million".to_owned()) }
}

/// The server under load.
struct Server {
    origin: String,
    pid: Option<u32>,
    /// Ours ends with this value.
    _launched: Option<Launched>,
}

impl Server {
    fn launch(arguments: &[&str], cores: Option<Cores>) -> Result<Self, Box<dyn Error>> {
        let launched = Launched::start(arguments)?;
        if let Some(cores) = cores {
            cores.part(launched.pid())?;
        }
        Ok(Self { origin: launched.url(""), pid: Some(launched.pid()), _launched: Some(launched) })
    }
}

/// Measures, prints, and says by the exit code whether every message came as it should, and the load was not in the way; with
/// `--compare-walk`, whether the slices keep their promise.
///
/// # Errors
/// When a server cannot be started or the connections not be opened.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files(options.load.members as usize + OTHERS)?;
    let parted = !options.no_pin && options.url.is_none();
    let cores = if parted { Cores::two() } else { None };
    println!("{}", print::setting(&options.load, cores, options.url.is_none()));
    if !options.compare_walk {
        return single(&options, cores);
    }
    let (numbers, good) = compare::run(&options.load, options.rounds, cores)?;
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&numbers)?)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn single(options: &Options, cores: Option<Cores>) -> Result<ExitCode, Box<dyn Error>> {
    let server = match &options.url {
        Some(url) => {
            Server { origin: url.trim_end_matches('/').to_owned(), pid: options.pid, _launched: None }
        }
        None => Server::launch(&[], cores)?,
    };
    let numbers = run::measure(&server, &options.load)?;
    println!("{}", print::numbers(&numbers));
    let report = numbers.into_report(&server, &options.load, options.limits);
    println!("verdict: {}", report.verdict);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report.as_json())?)?;
    }
    Ok(report.verdict.exit_code())
}

#[cfg(test)]
mod tests;
