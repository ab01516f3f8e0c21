//! `cargo loadtest echo`: messages that come back to whom they came from.

use super::report::{Asked, Came, Report, Words};
use super::subject::Subject;
use super::traffic::{Play, SIZE_MIN, Seat, Stage};
use super::{Common, Messages};
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
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) messages: Messages,
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
    let Options { connections, size, .. } = options;
    let pace = options.messages.setting("on each");
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
    let flow = options.messages.flow(&senders, 1, options.size);
    let seats = (0..count).map(|index| Some(Seat { flow: 0, stream: Some(index), receiver: 0 })).collect();
    let stage = Stage { flows: vec![flow], seats, endings: BTreeMap::new() };
    let mut play = Play { swarm, stage, bystander: None };
    let usage = play.run(options.common.span(), pid)?;

    let errors = play.stage.errors();
    let flow = play.stage.flows.swap_remove(0);
    let asked = Asked {
        words: Words { mode: "echo", one: "message", rated: "messages" },
        url,
        common: &options.common,
        connections: count,
        rate: options.messages.rate,
        count_per_rated: 1.0,
    };
    Ok(Report::new(&asked, options, Came::of(flow, usage, errors)))
}
