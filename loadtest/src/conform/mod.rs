//! Our own conformance run: some hundred rules of RFC 6455, RFC 7692 and RFC 9112, each a case.

mod agreed;
mod answer;
mod case;
mod close;
mod control;
mod deflate;
mod deflate_contexts;
mod deflate_faults;
#[cfg(test)]
mod faulty;
mod fragmentation;
mod framing;
mod handshake;
mod handshake_feeds;
mod http;
mod limits;
mod offers;
mod refusals;
mod report;
mod runner;
mod script;
mod target;
mod traffic;
mod utf8;
mod utf8_table;
mod volume;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::case::{Case, Fault};
use self::target::{Bounds, Target};
use crate::launch::Launched;

/// The limit that our own server is started with: above the largest message of the framing cases.
const OWN_MESSAGE_BYTES_MAX: u64 = 2 << 20;

/// What to run, against whom.
#[derive(Args)]
pub(crate) struct Options {
    /// The server, as ws://host:port/path, where the path echoes; without it, ours is started.
    url: Option<String>,
    /// Runs the cases whose name or group contains this; may be repeated.
    #[arg(long, value_name = "WORDS")]
    only: Vec<String>,
    /// Prints the names of the cases and ends.
    #[arg(long)]
    list: bool,
    /// Writes each case's outcome to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints every case, not only those that failed.
    #[arg(long, short)]
    verbose: bool,
    /// Demands the answers that Fanline documents where the RFC leaves a choice; so for our own server always.
    #[arg(long)]
    strict: bool,
    /// The largest message in bytes that the server at the URL takes.
    #[arg(long, value_name = "BYTES")]
    message_bytes_max: Option<u64>,
    /// Seconds that one connection of a case may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    timeout: f64,
    /// Seconds from the server's Close to the end of its TCP connection.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    close_timeout: f64,
    /// Seconds from a bad byte of text to the failure, while the message goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.7)]
    fail_fast: f64,
    /// How many cases run at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 12)]
    jobs: usize,
}

/// Runs the cases and prints the report; the exit code tells whether one failed.
///
/// # Errors
///
/// If the server cannot be reached or started, or the report cannot be written.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let cases: Vec<Case> = all_cases().into_iter().filter(|case| is_wanted(case, &options.only)).collect();
    if options.list {
        cases.iter().for_each(|case| println!("{:<14} {}", case.group, case.name));
        return Ok(ExitCode::SUCCESS);
    }
    if cases.is_empty() {
        return Err("no case has such a name".into());
    }
    let launched = match options.url {
        Some(_) => None,
        None => Some(launch()?),
    };
    let target = prepare(&options, launched.as_ref())?;
    let results = runner::run(&cases, &target, options.jobs);
    report::print(&results, options.verbose);
    if let Some(path) = &options.json {
        fs::write(path, report::to_json(&results))?;
    }
    Ok(report::close(&results))
}

fn launch() -> Result<Launched, Box<dyn Error>> {
    let limit = OWN_MESSAGE_BYTES_MAX.to_string();
    Ok(Launched::start(&["--deflate", "--message-bytes-max", &limit])?)
}

fn prepare(options: &Options, launched: Option<&Launched>) -> Result<Target, Box<dyn Error>> {
    let bounds = Bounds {
        connection: Duration::try_from_secs_f64(options.timeout)?,
        close: Duration::try_from_secs_f64(options.close_timeout)?,
        fail_fast: Duration::try_from_secs_f64(options.fail_fast)?,
    };
    let url = match (&options.url, launched) {
        (Some(url), _) => url.clone(),
        (None, Some(launched)) => launched.url("/echo"),
        (None, None) => return Err("no server".into()),
    };
    let mut target = Target::new(&url, bounds)?;
    target.strict = options.strict || launched.is_some();
    target.message_bytes_max = launched.map(|_| OWN_MESSAGE_BYTES_MAX).or(options.message_bytes_max);
    if let Err(Fault::Failed(words) | Fault::Skipped(words)) = target.probe() {
        return Err(format!("{url} opens no WebSocket: {words}").into());
    }
    let process = launched.map(|launched| format!(" (process {})", launched.pid())).unwrap_or_default();
    println!("{url}{process}: {}", target.describe());
    Ok(target)
}

/// Every case, group by group.
fn all_cases() -> Vec<Case> {
    let groups: [(&'static str, Vec<Case>); 14] = [
        ("handshake", handshake::cases()),
        ("refusals", refusals::cases()),
        ("http", http::cases()),
        ("framing", framing::cases()),
        ("fragmentation", fragmentation::cases()),
        ("control", control::cases()),
        ("utf8", utf8::cases()),
        ("close", close::cases()),
        ("volume", volume::cases()),
        ("traffic", traffic::cases()),
        ("limits", limits::cases()),
        ("offers", offers::cases()),
        ("deflate", deflate::cases()),
        ("deflate-faults", deflate_faults::cases()),
    ];
    let named = groups.into_iter().flat_map(|(group, cases)| {
        cases.into_iter().map(move |mut case| {
            case.group = group;
            case
        })
    });
    named.collect()
}

fn is_wanted(case: &Case, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|words| case.name.contains(words) || case.group == words)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_a_sentence_with_its_section_and_occurs_once() {
        let mut seen = HashSet::new();
        for case in all_cases() {
            let name = case
                .name
                .strip_prefix("rfc")
                .map_or(case.name.as_str(), |rest| rest.split_once('_').map_or("", |(_, name)| name));
            assert!(
                name.starts_with('s') && name[1..].starts_with(|c: char| c.is_ascii_digit()),
                "{}",
                case.name
            );
            assert!(
                case.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{}",
                case.name
            );
            assert!(seen.insert(case.name.clone()), "{} occurs twice", case.name);
        }
        assert!(seen.len() >= 300, "{} cases", seen.len());
    }

    #[test]
    fn only_chooses_by_name_and_by_group() {
        let chosen =
            |words: &str| all_cases().iter().filter(|case| is_wanted(case, &[words.to_owned()])).count();
        assert!(chosen("utf8") > 100);
        assert_eq!(chosen("s4_2_1_missing_key_is_400"), 1);
        assert_eq!(chosen("no such words"), 0);
    }
}
