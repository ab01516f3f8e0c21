//! `cargo loadtest push`: what the ways to get a room's messages cost, beside each other.
//!
//! The same stream of messages, each published by a `POST`, is received by WebSocket, by server-sent events, by long polls
//! and by short polls, one way after the other on one server. The load is open loop: every message has a planned time, and
//! its latency counts from the plan until a subscriber has it.

mod events;
mod hall;
pub(crate) mod http;
mod print;
mod run;

use crate::measure::raise_open_files;
use crate::modes::subject::Subject;
use crate::modes::traffic::SIZE_MIN;
use crate::modes::{Common, positive};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

/// Descriptors besides the subscribers: the publisher.
const OTHERS: usize = 1;

/// A room's messages, received in every way there is.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    /// The address is a room's: the requests go to /rooms/ and the last segment of its path.
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    /// Who gets every message.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// Messages published a second.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    rate: f64,
    /// Bytes of every message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(SIZE_MIN as i64..=1 << 20))]
    size: u32,
    /// Milliseconds from one short poll of a subscriber to its next.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=5_000))]
    every: u64,
    /// Seconds for which a long poll waits.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    wait: u64,
    /// Publishes bytes instead of text: events and polls carry them as base64.
    #[arg(long)]
    binary: bool,
    /// The ways to measure, of all four.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Way::ALL)]
    ways: Vec<Way>,
}

/// How a subscriber gets the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// A WebSocket in the room.
    Websocket,
    /// `GET /rooms/<room>/events`.
    Events,
    /// `GET /rooms/<room>/messages` that waits for something to answer with.
    LongPoll,
    /// The same at fixed times, answered at once.
    ShortPoll,
}

impl Way {
    const ALL: [Self; 4] = [Self::Websocket, Self::Events, Self::LongPoll, Self::ShortPoll];

    /// What it is called in tables.
    fn name(self) -> &'static str {
        match self {
            Self::Websocket => "WebSocket",
            Self::Events => "server-sent events",
            Self::LongPoll => "long poll",
            Self::ShortPoll => "short poll",
        }
    }
}

/// Measures one way after the other, prints a table, and says by the exit code whether every message came once and in order to
/// everybody, and whether the load was in the way.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files(options.subscribers as usize + OTHERS)?;
    let subject = Subject::find(&options.common, "/chat/push")?;
    println!("{}; {}.\n", print::setting(&options), subject.place);
    let mut rows = Vec::new();
    for &way in &options.ways {
        rows.push(run::measure(way, &options, &subject.url, subject.pid)?);
    }
    println!("{}", print::rows(&rows));
    if let Some(path) = &options.common.json {
        fs::write(path, serde_json::to_string_pretty(&print::as_json(&options, &subject.url, &rows))?)?;
    }
    Ok(print::worst(&rows).exit_code())
}

#[cfg(test)]
mod tests;
