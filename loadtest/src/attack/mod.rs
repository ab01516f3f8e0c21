//! `cargo loadtest stall`, `herd`, `slowloris`, `bomb`, `flood` and `soak`: attacks on a server, and what others notice of them.
//!
//! Each attack is judged by its bystanders: connections that echo, or listen in a room, before, during and after it, while
//! newcomers knock. A peer may only hurt itself: nothing of theirs is lost, their latencies stay within a factor, and the
//! server's memory, descriptors and threads stay within bounds.

pub(crate) mod bomb;
mod crowd;
pub(crate) mod flood;
mod gauge;
mod ground;
pub(crate) mod herd;
mod judge;
mod report;
mod round;
pub(crate) mod slowloris;
pub(crate) mod soak;
pub(crate) mod stall;

use crate::modes::positive;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// What all attacks are told.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Common {
    /// The server's address, as in ws://127.0.0.1:8080; without one, our own server is started for the attack, with limits
    /// that bring everything to its end within seconds.
    #[serde(skip)]
    url: Option<String>,
    /// The server's process, to watch its memory, descriptors and threads.
    #[arg(long, requires = "url")]
    #[serde(skip)]
    pid: Option<u32>,
    /// The route that echoes.
    #[arg(long, default_value = "/echo", value_name = "PATH")]
    echo_path: String,
    /// Where rooms are: the path without the room's name.
    #[arg(long, default_value = "/chat", value_name = "PATH")]
    rooms_path: String,
    /// Bystanders who echo; as many listen in a room.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    bystanders: u32,
    /// Echoes that the bystanders ask for in a second, all together.
    #[arg(long, default_value_t = 200.0, value_parser = positive, value_name = "RATE")]
    bystander_rate: f64,
    /// How long the bystanders are measured before the attack, and after it.
    #[arg(long, default_value_t = 2.0, value_parser = positive, value_name = "SECONDS")]
    quiet: f64,
    #[command(flatten)]
    #[serde(flatten)]
    bounds: judge::Bounds,
    /// Writes the result as JSON.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
