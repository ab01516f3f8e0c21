//! `cargo loadtest autobahn`: the Autobahn test suite, the fuzzer that the field measures itself by.

mod catalogue;
mod install;
mod print;
mod python;
mod report;
mod runner;
mod suite;

pub(crate) use install::{cache, lock, quietly};

use crate::launch::Launched;
use catalogue::{CaseId, Profile};
use clap::Args;
use std::error::Error;
use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use suite::{Suite, Unavailable};

/// What automake calls skipped: neither passed nor failed.
const SKIPPED: u8 = 77;

/// The Autobahn suite (0.8.2, pinned) against a server that echoes.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's ws:// address; without one, our own server is started for the run.
    url: Option<String>,
    /// How much of the suite to run.
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Only these cases: `6.4.1`, `6.4`, `12.*.1`; several with commas.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', conflicts_with = "profile")]
    cases: Vec<String>,
    /// Fails on NON-STRICT too.
    #[arg(long)]
    strict: bool,
    /// Keeps the suite's own HTML and JSON reports, in a folder for each group.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Writes the outcome of every case as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Processes of the suite at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Gives a group up after so many seconds, instead of what its cases suggest.
    #[arg(long, value_name = "SECONDS")]
    group_seconds: Option<u64>,
    /// Only finds or installs the suite.
    #[arg(long)]
    install_only: bool,
}

/// Runs the suite; the exit code is 0 when nothing failed, 1 when something did, and 77 when the suite cannot be had here.
///
/// # Errors
/// When the suite could not be installed or run, or the server not be reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let cases = chosen(&options)?;
    let suite = match Suite::find() {
        Ok(suite) => suite,
        Err(Unavailable::Failed(words)) => return Err(words.into()),
        Err(Unavailable::NoInterpreter(words)) => {
            println!("skipped: the Autobahn suite cannot run here: {words}.");
            return Ok(ExitCode::from(SKIPPED));
        }
    };
    if options.install_only {
        return Ok(ExitCode::SUCCESS);
    }
    let launched = match options.url {
        Some(_) => None,
        None => Some(Launched::start(&["--deflate"])?),
    };
    let url = launched
        .as_ref()
        .map_or_else(|| options.url.clone().unwrap_or_default(), |server| server.url("/echo"));
    reach(&url)?;
    judge(&options, &suite, &url, &cases)
}

fn chosen(options: &Options) -> Result<Vec<CaseId>, String> {
    match options.cases.as_slice() {
        [] => Ok(options.profile.cases()),
        patterns => catalogue::matching(patterns),
    }
}

fn judge(options: &Options, suite: &Suite, url: &str, cases: &[CaseId]) -> Result<ExitCode, Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let folder = match &options.report {
        Some(folder) => {
            fs::create_dir_all(folder)?;
            std::path::absolute(folder)?
        }
        None => scratch.path().to_owned(),
    };
    let patience = options.group_seconds.map(Duration::from_secs);
    let plan = runner::Plan { suite, url, folder: &folder, jobs: options.jobs, patience };
    let groups = catalogue::groups(cases);
    let started = Instant::now();
    let ran = plan.run(&groups, |group, time| {
        eprintln!("{:>5}  {:3} cases  {:6.1} s", group.name, group.cases.len(), time.as_secs_f64());
    })?;
    let wall = started.elapsed();

    let troubles: Vec<String> = ran.iter().filter_map(|ran| ran.trouble.clone()).collect();
    let mut outcomes: Vec<report::Outcome> = ran.into_iter().flat_map(|ran| ran.outcomes).collect();
    outcomes.sort_unstable_by_key(|outcome| outcome.case);
    let failures = print::failures(&outcomes, options.strict);
    println!("{}", print::table(&outcomes));
    println!("{}{}", print::exceptions(&outcomes), print::missing(&outcomes));
    troubles.iter().for_each(|trouble| println!("\n{trouble}"));
    let lax = outcomes.iter().filter(|outcome| outcome.verdict == report::Verdict::NonStrict).count();
    println!("\n{} cases in {:.0} s: {} failed", outcomes.len(), wall.as_secs_f64(), failures.len());
    println!("{lax} non-strict, {}", if options.strict { "which fail here" } else { "tolerated" });
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&print::as_json(url, wall, &outcomes, failures.len()))?;
        fs::write(path, text)?;
    }
    Ok(if failures.is_empty() && troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says at once what the suite would tell of each case.
fn reach(url: &str) -> Result<(), String> {
    let (rest, port) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
        (Some(rest), _) => (rest, 80),
        (_, Some(rest)) => (rest, 443),
        _ => return Err(format!("{url}: an address begins with ws:// or wss://")),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let host = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let failed = |error: std::io::Error| format!("nothing answers at {url}: {error}");
    let mut addresses = host.to_socket_addrs().map_err(failed)?;
    let address = addresses.next().ok_or_else(|| format!("{url} has no address"))?;
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_there_is_named_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("ws://{}/echo", listener.local_addr().expect("an address"));
        assert_eq!(reach(&url), Ok(()));
        drop(listener);
        assert!(reach(&url).is_err_and(|words| words.contains(&url)));
        assert!(reach("http://127.0.0.1/").is_err_and(|words| words.contains("ws://")));
    }
}
