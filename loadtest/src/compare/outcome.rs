//! What one round of a mode printed as JSON, read back.

use super::cases::Metric;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A round's result; what a mode does not tell is absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    /// Messages, deliveries or handshakes.
    pub(crate) count: u64,
    /// Measured seconds.
    pub(crate) seconds: f64,
    /// A second.
    pub(crate) rate_achieved: Option<f64>,
    /// The latencies.
    pub(crate) latency_ms: Option<Latency>,
    /// Upper bound of a step in ms, and how many lie in it.
    pub(crate) histogram: Vec<(f64, u64)>,
    /// The server's process.
    pub(crate) server: Option<Server>,
    /// The echo beside the load.
    pub(crate) bystander: Option<Latency>,
    /// What was wrong, by kind.
    pub(crate) errors: BTreeMap<String, serde_json::Value>,
    /// `ok`, or why not.
    pub(crate) verdict: Option<String>,
    /// Of the idle mode.
    own_bytes_per_connection: Option<f64>,
    /// The same, by its older name.
    resident_bytes_per_connection: Option<f64>,
}

/// Percentiles in ms.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50: f64,
    /// The 99th.
    pub(crate) p99: f64,
}

/// What the server used.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Server {
    /// Processor time for one of `count`.
    pub(crate) cpu_us_per_count: Option<f64>,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
}

impl Outcome {
    /// Reads a round's file; one whose verdict is not `ok` is an error in the verdict's words.
    ///
    /// # Errors
    /// Also when the file is no such JSON.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let outcome: Self = serde_json::from_str(text).map_err(|error| format!("not a result: {error}"))?;
        match outcome.verdict.as_deref() {
            None | Some("ok") => Ok(outcome),
            Some(verdict) => Err(verdict.to_owned()),
        }
    }

    /// One number of it, if the mode tells it.
    pub(crate) fn metric(&self, metric: Metric) -> Option<f64> {
        let value = match metric {
            Metric::Cpu => self.server.as_ref()?.cpu_us_per_count?,
            Metric::P50 => self.latency_ms.as_ref()?.p50,
            Metric::BystanderP50 => self.bystander.as_ref()?.p50,
            Metric::BystanderP99 => self.bystander.as_ref()?.p99,
            Metric::OwnBytes => self.own_bytes_per_connection.or(self.resident_bytes_per_connection)?,
        };
        value.is_finite().then_some(value)
    }

    /// Counted things a second.
    pub(crate) fn throughput(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.count as f64 / self.seconds)
    }
}

/// A round as a mode writes it, for tests.
#[cfg(test)]
pub(crate) fn canned(cpu: f64, p50: f64) -> Outcome {
    let text = CANNED.replace("7.25", &cpu.to_string()).replace("0.250", &p50.to_string());
    Outcome::parse(&text).expect("the sample is a result")
}

#[cfg(test)]
const CANNED: &str = r#"{"mode":"fanout","url":"ws://127.0.0.1:1/chat/x","options":{"size":64},"seconds":2.0,"warmup_seconds":0.5,
  "connections":64,"count":2000,"rate_asked":null,"rate_achieved":1000.0,
  "latency_ms":{"p50":0.250,"p90":0.3,"p99":0.5,"p99.9":0.9,"max":1.5,"kind":"service"},
  "histogram":[[0.25,1000],[0.3,800],[0.5,180],[1.5,20]],"late":{"count":0,"max_ms":0.0},
  "load":{"used":0.7,"waited":null},
  "server":{"pid":7,"cpu_seconds":0.1,"cpu_us_per_count":7.25,"resident_bytes":4194304},
  "bystander":{"p50":0.1,"p90":0.2,"p99":2.0,"p99.9":3.0,"max":4.0,"kind":"planned"},"errors":{},"verdict":"ok"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read_as_the_modes_write_it() {
        let outcome = canned(7.25, 0.25);
        assert_eq!(outcome.metric(Metric::Cpu), Some(7.25));
        assert_eq!(outcome.metric(Metric::P50), Some(0.25));
        assert_eq!(outcome.metric(Metric::BystanderP99), Some(2.0));
        assert_eq!(outcome.metric(Metric::OwnBytes), None);
        assert_eq!(outcome.throughput(), Some(1000.0));
    }

    #[test]
    fn a_verdict_that_is_not_ok_is_an_error_in_its_own_words() {
        let refused = CANNED.replace("\"ok\"", "\"refused: the load was saturated\"");
        assert_eq!(Outcome::parse(&refused).unwrap_err(), "refused: the load was saturated");
        assert!(Outcome::parse("{").unwrap_err().starts_with("not a result"));
    }

    #[test]
    fn an_idle_result_may_lack_everything_else() {
        let outcome = Outcome::parse(r#"{"connections":10,"own_bytes_per_connection":190.5}"#).expect("read");
        assert_eq!(outcome.metric(Metric::OwnBytes), Some(190.5));
        assert_eq!((outcome.metric(Metric::Cpu), outcome.throughput()), (None, None));
        let server = Outcome::parse(r#"{"mode":"echo","server":null,"bystander":null}"#).expect("read");
        assert_eq!(server.metric(Metric::Cpu), None);
    }
}
