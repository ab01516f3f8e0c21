//! `cargo loadtest echo`: messages that come back to whom they came from.

use super::report::{Kind, Late, Report, Words};
use super::subject::Subject;
use super::traffic::{Flow, Pace, Play, SIZE_MIN, Seat, Stage};
use super::verdict::{Evidence, Verdict};
use super::{Common, positive};
use crate::measure::raise_open_files;
use crate::reactor::{Swarm, Target};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

/// Echoes over a number of connections.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,
    /// Bytes of every message.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(SIZE_MIN as i64..=1 << 26))]
    pub(super) size: u32,
    /// Closed loop: messages under way on every connection. What is answered at a time is asked anew in one go.
    #[arg(long, default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) window: u32,
    /// Open loop: messages a second in all, spread over the connections.
    #[arg(long, value_parser = positive)]
    pub(super) rate: Option<f64>,
    /// Sends text instead of binary messages.
    #[arg(long)]
    pub(super) text: bool,
}

/// Measures and prints.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files(options.connections as usize)?;
    let subject = Subject::find(&options.common, "/echo")?;
    println!("{}; {}.", setting(&options), subject.place);
    measure(&options, &subject.url, subject.pid)?.deliver(options.common.json.as_deref())
}

fn setting(options: &Options) -> String {
    let Options { connections, size, window, rate, .. } = options;
    let pace = match rate {
        Some(rate) => format!("{rate} a second in all, open loop: latencies count from the planned times"),
        None => format!("{window} under way on each, closed loop: latencies are service times"),
    };
    let Common { seconds, warmup, .. } = options.common;
    format!(
        "{connections} connections have messages of {size} B echoed, {pace}. {seconds} s after {warmup} s of warm-up"
    )
}

/// Everything but printing.
pub(super) fn measure(options: &Options, url: &str, pid: Option<u32>) -> Result<Report, String> {
    let count = options.connections as usize;
    let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
    let senders = swarm.open(&Target::new(url)?, 0, count)?;
    let pace = pace(options.rate, options.window);
    let flow = Flow::new(&senders, 1, options.size as usize, options.text, pace);
    let seats = (0..count).map(|index| Some(Seat { flow: 0, stream: Some(index), receiver: 0 })).collect();
    let stage = Stage { flows: vec![flow], seats, endings: BTreeMap::new() };
    let mut play = Play { swarm, stage, bystander: None };
    let usage = play.run(options.common.span(), pid)?;

    let errors = play.stage.errors();
    let flow = play.stage.flows.swap_remove(0);
    let (kind, late) = (kind(options.rate), Late::of(&flow.counts));
    let evidence = Evidence { count: flow.counts.counted, kind, late, load: usage.load, errors: &errors };
    Ok(Report {
        words: Words { mode: "echo", one: "message", rated: "messages" },
        url: url.to_owned(),
        options: serde_json::to_value(options).unwrap_or_default(),
        warm_up: options.common.warmup,
        connections: count,
        count: flow.counts.counted,
        rate_asked: options.rate,
        count_per_rated: 1.0,
        verdict: Verdict::new(&evidence, &options.common.limits),
        latency: flow.latency,
        kind,
        late,
        usage,
        bystander: None,
        errors,
    })
}

pub(super) fn pace(rate: Option<f64>, window: u32) -> Pace {
    match rate {
        Some(rate) => Pace::Open { rate, jitter: false },
        None => Pace::Closed { window: window as usize },
    }
}

pub(super) fn kind(rate: Option<f64>) -> Kind {
    if rate.is_some() { Kind::Planned } else { Kind::Service }
}
