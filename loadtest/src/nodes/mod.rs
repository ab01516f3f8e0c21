//! `cargo loadtest nodes`: one room over one process, over two, over four, on one Redis.
//!
//! What the backplane adds to a delivery's latency, how many deliveries there are with more nodes, and the processor time
//! that a publication and a delivery cost at each of them, of which a deployment's size is computed.

mod fleet;
mod print;
mod run;

use crate::measure::{keep_to, raise_open_files};
use crate::modes::traffic::SIZE_MIN;
use crate::modes::{Common, positive};
use clap::Args;
use fleet::Fleet;
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

/// One room over several nodes.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    /// The nodes are always our own, started for the run.
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// How many nodes, one fleet after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4], value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: Vec<u32>,
    /// Members of the room, spread evenly over the nodes; the first of them publishes.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(64..))]
    subscribers: u32,
    /// Messages a second to all members, while latencies are measured.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    rate: f64,
    /// Messages under way while deliveries are counted: what waits for a member leaves in one go.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Bytes of every message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(SIZE_MIN as i64..=1 << 20))]
    size: u32,
    /// Sends text instead of binary messages.
    #[arg(long)]
    text: bool,
    /// The Redis between the nodes; without one, each fleet has its own.
    #[arg(long, value_name = "URL")]
    #[serde(skip)]
    redis_url: Option<String>,
    /// Has the nodes share one port, by --reuse-port: the kernel says who gets which connection.
    #[arg(long)]
    one_port: bool,
}

/// Measures one fleet after the other, prints a table, and says by the exit code whether every message came once and in
/// order to everybody.
///
/// # Errors
/// When a process cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    if options.common.url.is_some() {
        return Err("the nodes are started for the run; there is no address to give".into());
    }
    raise_open_files(options.subscribers as usize)?;
    if let Some(core) = options.common.core {
        keep_to(core)?;
    }
    println!("{}\n", print::setting(&options));
    let mut rows = vec![run::measure(&options, &Fleet::alone()?, None)?];
    for &count in &options.nodes {
        let fleet = Fleet::start(count as usize, options.redis_url.as_deref(), options.one_port)?;
        rows.push(run::measure(&options, &fleet, Some(count as usize))?);
    }
    println!("{}", print::rows(&rows));
    if let Some(path) = &options.common.json {
        fs::write(path, serde_json::to_string_pretty(&print::as_json(&options, &rows))?)?;
    }
    Ok(print::worst(&rows).exit_code())
}

#[cfg(test)]
mod tests;
