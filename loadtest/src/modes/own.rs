//! What a server says of its own deliveries, where it shows `/metrics` beside the room: the client's latencies are compared
//! with these.

use super::report::Report;
use crate::reactor::split;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// For the whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How each quantile is called here and there.
const QUANTILES: [(&str, &str, f64); 4] =
    [("p50", "0.5", 50.0), ("p90", "0.9", 90.0), ("p99", "0.99", 99.0), ("p99.9", "0.999", 99.9)];

/// A server's own quantiles of its deliveries since it started, from reading to the last byte, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Own {
    quantiles: [f64; QUANTILES.len()],
}

impl Own {
    /// Asks the server at a `ws://` address; nothing where it does not show them.
    pub(super) fn ask(url: &str) -> Option<Self> {
        let (authority, _) = split(url).ok()?;
        Self::read(&answer(authority).ok()?)
    }

    fn read(metrics: &str) -> Option<Self> {
        let mut quantiles = [0.0; QUANTILES.len()];
        for (value, (_, quantile, _)) in quantiles.iter_mut().zip(QUANTILES) {
            let name =
                format!("fanline_delivery_quantile_seconds{{stage=\"total\",quantile=\"{quantile}\"}} ");
            let seconds: f64 =
                metrics.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok())?;
            *value = seconds * 1e3;
        }
        Some(Self { quantiles })
    }

    /// Each with its part of what the clients measured.
    pub(super) fn beside(&self, report: &Report) -> String {
        let each = QUANTILES.iter().zip(self.quantiles).map(|((name, _, percent), own)| {
            let theirs = report.latency.percentile(*percent).as_secs_f64() * 1e3;
            format!("{name} {own:.3} ms ({:.2} of it)", own / theirs)
        });
        let each: Vec<String> = each.collect();
        format!("the server's own since it started, beside that: {}", each.join(", "))
    }

    /// For other programs.
    pub(crate) fn as_json(&self) -> Value {
        let named =
            QUANTILES.iter().zip(self.quantiles).map(|((name, ..), own)| ((*name).to_owned(), json!(own)));
        Value::Object(named.collect())
    }

    /// One of them, in milliseconds.
    #[cfg(test)]
    pub(super) fn quantile(&self, name: &str) -> f64 {
        let at = QUANTILES.iter().position(|(known, ..)| *known == name).expect("a quantile");
        self.quantiles[at]
    }
}

fn answer(authority: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_read_where_all_are_there() {
        let lines = QUANTILES.iter().enumerate().map(|(at, (_, quantile, _))| {
            format!("fanline_delivery_quantile_seconds{{stage=\"total\",quantile=\"{quantile}\"}} 0.0{at}\n")
        });
        let text: String = ["HTTP/1.1 200 OK\r\n\r\n".to_owned()].into_iter().chain(lines).collect();
        let own = Own::read(&text).unwrap();
        assert_eq!((own.quantile("p50"), own.quantile("p99")), (0.0, 20.0));
        assert_eq!(Own::read(&text.replace("0.99\"", "0.98\"")), None);
        assert_eq!(Own::read("HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(Own::ask("ws://127.0.0.1:1/"), None, "nobody is there");
    }
}
