//! A result in the one shape that all modes share, for people and for programs.

use super::own::Own;
use super::verdict::{Evidence, Verdict};
use super::{Common, print, traffic};
use crate::measure::{Latency, Usage};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What latencies count from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The time planned for the message: an open loop.
    Planned,
    /// The sending: a closed loop, in which a slow reply delays the next question.
    Service,
}

/// How the plan was kept.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Late {
    /// Messages of the plan.
    pub(crate) planned: u64,
    /// Of these, sent over a millisecond late.
    pub(crate) count: u64,
    /// The longest delay.
    pub(crate) max: Duration,
}

impl Late {
    /// How an open loop kept its plan.
    pub(crate) fn of(counts: &traffic::Counts) -> Self {
        Self { planned: counts.planned, count: counts.late, max: counts.late_max }
    }
}

/// The words that differ from mode to mode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// The mode.
    pub(crate) mode: &'static str,
    /// What one of `count` is.
    pub(crate) one: &'static str,
    /// What the rate counts, in the plural.
    pub(crate) rated: &'static str,
}

/// What a mode was asked for.
pub(crate) struct Asked<'a> {
    /// The mode's words.
    pub(crate) words: Words,
    /// The server's address.
    pub(crate) url: &'a str,
    /// What all modes are told.
    pub(crate) common: &'a Common,
    /// Connections.
    pub(crate) connections: usize,
    /// Asked, a second; without it the load was a closed loop.
    pub(crate) rate: Option<f64>,
    /// How many counted things one of the rate makes: the members of a room, else 1.
    pub(crate) count_per_rated: f64,
}

/// What came of it.
pub(crate) struct Came {
    /// What was counted in the measured span.
    pub(crate) count: u64,
    /// The latencies.
    pub(crate) latency: Latency,
    /// How the plan was kept.
    pub(crate) late: Late,
    /// What load and server used in the measured span.
    pub(crate) usage: Usage,
    /// What was wrong, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Came {
    /// All of it, where one flow is what was measured.
    pub(crate) fn of(flow: traffic::Flow, usage: Usage, errors: BTreeMap<String, u64>) -> Self {
        let late = Late::of(&flow.counts);
        Self { count: flow.counts.counted, latency: flow.latency, late, usage, errors }
    }
}

/// A result.
pub(crate) struct Report {
    /// The mode's words.
    pub(crate) words: Words,
    /// The server's address.
    pub(crate) url: String,
    /// What the mode was told.
    pub(crate) options: Value,
    /// Unmeasured seconds before.
    pub(crate) warm_up: f64,
    /// Connections.
    pub(crate) connections: usize,
    /// What was counted in the measured span.
    pub(crate) count: u64,
    /// Asked, a second.
    pub(crate) rate_asked: Option<f64>,
    /// How many counted things one of the rate makes: the members of a room, else 1.
    pub(crate) count_per_rated: f64,
    /// The latencies.
    pub(crate) latency: Latency,
    /// What they count from.
    pub(crate) kind: Kind,
    /// How the plan was kept.
    pub(crate) late: Late,
    /// What load and server used in the measured span.
    pub(crate) usage: Usage,
    /// The latencies of an echo beside the load.
    pub(crate) bystander: Option<Latency>,
    /// What the server itself says of the latencies.
    pub(crate) own: Option<Own>,
    /// What was wrong, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// What the result is worth.
    pub(crate) verdict: Verdict,
}

impl Report {
    /// Judges what came of a load; `options` is all that the mode was told.
    pub(crate) fn new(asked: &Asked<'_>, options: &impl Serialize, came: Came) -> Self {
        let Came { count, latency, late, usage, errors } = came;
        let kind = if asked.rate.is_some() { Kind::Planned } else { Kind::Service };
        let evidence = Evidence { count, kind, late, load: usage.load, errors: &errors };
        Self {
            words: asked.words,
            url: asked.url.to_owned(),
            options: serde_json::to_value(options).unwrap_or_default(),
            warm_up: asked.common.warmup,
            connections: asked.connections,
            count,
            rate_asked: asked.rate,
            count_per_rated: asked.count_per_rated,
            verdict: Verdict::new(&evidence, &asked.common.limits),
            latency,
            kind,
            late,
            usage,
            bystander: None,
            own: None,
            errors,
        }
    }

    /// Achieved, a second.
    pub(super) fn rate_achieved(&self) -> f64 {
        self.count as f64 / self.count_per_rated / self.usage.seconds
    }

    /// The server's processor time for one of `count`.
    pub(crate) fn cpu_us_per_count(&self) -> Option<f64> {
        self.usage.server.map(|server| server.cpu_seconds * 1e6 / (self.count.max(1) as f64))
    }

    /// For other programs.
    pub(crate) fn as_json(&self) -> Value {
        let Usage { seconds, load, server } = &self.usage;
        let server = server.map(|server| {
            json!({
                "pid": server.pid,
                "cpu_seconds": server.cpu_seconds,
                "cpu_us_per_count": self.cpu_us_per_count(),
                "resident_bytes": server.resident,
            })
        });
        json!({
            "mode": self.words.mode,
            "url": self.url,
            "options": self.options,
            "seconds": seconds,
            "warmup_seconds": self.warm_up,
            "connections": self.connections,
            "count": self.count,
            "rate_asked": self.rate_asked,
            "rate_achieved": self.rate_achieved(),
            "latency_ms": latency(&self.latency, self.kind),
            "histogram": self.latency.steps(),
            "late": { "count": self.late.count, "max_ms": self.late.max.as_secs_f64() * 1e3 },
            "load": load.as_json(),
            "server": server,
            "bystander": self.bystander.as_ref().map(|echo| latency(echo, Kind::Planned)),
            "own_ms": self.own.as_ref().map(Own::as_json),
            "errors": self.errors,
            "verdict": self.verdict.to_string(),
        })
    }

    /// Prints it, writes it if a file is named, and returns the exit code of its verdict.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn deliver(&self, file: Option<&Path>) -> Result<ExitCode, Box<dyn Error>> {
        println!("{}", print::report(self));
        if let Some(path) = file {
            fs::write(path, serde_json::to_string_pretty(&self.as_json())?)?;
        }
        Ok(self.verdict.exit_code())
    }
}

fn latency(latency: &Latency, kind: Kind) -> Value {
    let named = latency.percentiles().into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
    let mut object: Map<String, Value> = named.collect();
    let kind = match kind {
        Kind::Planned => "planned",
        Kind::Service => "service",
    };
    object.insert("kind".to_owned(), json!(kind));
    object.into()
}
