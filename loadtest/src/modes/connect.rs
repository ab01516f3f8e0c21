//! `cargo loadtest connect` and `cargo loadtest churn`: what it costs a server that connections come and go.

use super::report::{Asked, Came, Late, Report, Words};
use super::subject::Subject;
use super::visits::{Errand, Pace, Round};
use super::{Common, positive};
use crate::measure::raise_open_files;
use clap::Args;
use serde::Serialize;
use std::error::Error;
use std::process::ExitCode;

/// Visits that an open loop may have under way, where nothing else is said.
const OPEN_CONCURRENCY: u32 = 1_024;

/// Visits that a closed loop has under way, where nothing else is said.
const CLOSED_CONCURRENCY: u32 = 64;

/// Connections that come and go.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Ends when so many were counted, also before the time is over.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) connections: Option<u64>,
    /// Connections under way at a time (64); with a rate, the most that may be (1024): what is planned beyond waits, and the
    /// wait counts.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(super) concurrency: Option<u32>,
    /// Open loop: connections a second.
    #[arg(long, value_parser = positive)]
    pub(super) rate: Option<f64>,
}

/// The handshake storm: TCP connect and upgrade, then the connection is dropped.
///
/// # Errors
/// When the server cannot be started.
pub(crate) fn connect(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    run(options, Errand::Handshake)
}

/// Connect, one echo, closing handshake.
///
/// # Errors
/// When the server cannot be started.
pub(crate) fn churn(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    run(options, Errand::Echo)
}

fn run(options: Options, errand: Errand) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files(concurrency(&options) as usize)?;
    let subject = Subject::find(&options.common, "/echo")?;
    println!("{}; {}.", setting(&options, errand), subject.place);
    measure(&options, errand, &subject.url, subject.pid)?.deliver(options.common.json.as_deref())
}

fn concurrency(options: &Options) -> u32 {
    let usual = if options.rate.is_some() { OPEN_CONCURRENCY } else { CLOSED_CONCURRENCY };
    options.concurrency.unwrap_or(usual)
}

fn setting(options: &Options, errand: Errand) -> String {
    let what = match errand {
        Errand::Handshake => "Connections are opened (TCP and upgrade) and dropped",
        Errand::Echo => "Connections are opened, have one message echoed, and close by the closing handshake",
    };
    let most = concurrency(options);
    let pace = match options.rate {
        Some(rate) => format!(
            "{rate} a second, at most {most} at a time, open loop: latencies count from the planned times"
        ),
        None => format!("{most} at a time, closed loop: latencies are service times"),
    };
    let Common { seconds, warmup, .. } = options.common;
    let until = options.connections.map_or(String::new(), |count| format!(" or {count} connections"));
    format!("{what}, {pace}. {seconds} s{until} after {warmup} s of warm-up")
}

/// Everything but printing.
pub(super) fn measure(
    options: &Options,
    errand: Errand,
    url: &str,
    pid: Option<u32>,
) -> Result<Report, String> {
    let concurrency = concurrency(options) as usize;
    let pace = Pace { concurrency, rate: options.rate, count_max: options.connections };
    let (visits, usage) = Round::new(url, errand, pace)?.run(options.common.span(), pid)?;
    let (planned, count, max) = visits.plan;
    let (mode, one) = match errand {
        Errand::Handshake => ("connect", "handshake"),
        Errand::Echo => ("churn", "visit"),
    };
    let asked = Asked {
        words: Words { mode, one, rated: "connections" },
        url,
        common: &options.common,
        connections: concurrency,
        rate: options.rate,
        count_per_rated: 1.0,
    };
    let came = Came {
        count: visits.count,
        latency: visits.latency,
        late: Late { planned, count, max },
        usage,
        errors: visits.errors,
    };
    Ok(Report::new(&asked, options, came))
}
