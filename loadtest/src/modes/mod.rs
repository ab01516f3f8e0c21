//! The load modes that measure one thing at a time: `echo`, `fanout`, `connect` and `churn`.
//!
//! Where a rate is given the load is open loop: every message has a planned time, and its latency counts from the plan, so a
//! stall is charged to all that should have been sent meanwhile. Without one it is closed loop, and says that its latencies
//! are service times. Every reply is compared with what was sent. A result is refused when the load itself was in the way.

pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod fanout;
mod own;
mod print;
mod progress;
pub(crate) mod report;
pub(crate) mod subject;
pub(crate) mod traffic;
pub(crate) mod verdict;
pub(crate) mod visits;

use crate::reactor::PeerId;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use traffic::{Flow, Pace, Span};

/// What all these modes are told.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Common {
    /// The server's ws:// address with a route; without one, our own server is started for the run.
    #[serde(skip)]
    pub(crate) url: Option<String>,
    /// How long to measure.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// How long the load runs before that, unmeasured (but checked).
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = not_negative)]
    pub(crate) warmup: f64,
    /// How long to wait for what is still under way after the last was sent.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = positive)]
    pub(crate) drain: f64,
    /// The server's process, to tell its processor time and memory.
    #[arg(long, requires = "url")]
    #[serde(skip)]
    pub(crate) pid: Option<u32>,
    /// Keeps the load to this core. A server that we start is kept to another, with or without this.
    #[arg(long)]
    pub(crate) core: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) limits: Limits,
    /// Writes the result as JSON.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
}

/// Beyond which a load is in its own way.
#[derive(Args, Clone, Copy, Serialize, Debug)]
pub(crate) struct Limits {
    /// Refuses the result when more than this share of the messages was sent over 1 ms late.
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = not_negative)]
    pub(crate) late_max: f64,
    /// Refuses the result when the load was ready to run, but had no core, for more than this share of the time.
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = not_negative)]
    pub(crate) waited_max: f64,
}

/// How the messages of `echo` and `fanout` are sent.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Messages {
    /// Closed loop: messages under way on every connection, or of every publisher, until all have them. What is answered at a
    /// time is asked anew in one go.
    #[arg(long, default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Open loop: messages a second in all, spread over the senders.
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// Sends text instead of binary messages.
    #[arg(long)]
    text: bool,
}

impl Messages {
    /// The pace in words; `each` says what a window is counted by.
    fn setting(&self, each: &str) -> String {
        match (self.rate, self.window) {
            (Some(rate), _) => {
                format!("{rate} a second in all, open loop: latencies count from the planned times")
            }
            (None, window) => format!("{window} under way {each}, closed loop: latencies are service times"),
        }
    }

    /// Messages of `size` bytes from each of `senders` to so many receivers.
    fn flow(&self, senders: &[PeerId], receivers: usize, size: u32) -> Flow {
        let pace = match self.rate {
            Some(rate) => Pace::Open { rate, jitter: false },
            None => Pace::Closed { window: self.window as usize },
        };
        Flow::new(senders, receivers, size as usize, self.text, pace)
    }
}

impl Common {
    /// How long a run lasts.
    pub(crate) fn span(&self) -> Span {
        Span {
            warm_up: Duration::from_secs_f64(self.warmup),
            measured: Duration::from_secs_f64(self.seconds),
            drain: Duration::from_secs_f64(self.drain),
        }
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1e7).contains(&number) { Ok(number) } else { Err("not between 0 and ten million".to_owned()) }
}

/// Reads a number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    not_negative(text)
        .and_then(|number| if number > 0.0 { Ok(number) } else { Err("not above 0".to_owned()) })
}

#[cfg(test)]
mod tests;
