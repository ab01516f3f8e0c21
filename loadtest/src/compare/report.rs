//! `report.html`: everything in one file that needs nothing from anywhere else.

use super::cases::Metric;
use super::plots;
use super::run::CaseResult;
use super::stats::{Spread, spread};
use super::table::Row;
use std::error::Error;
use std::fmt::Write as _;

/// A peer as the report names it.
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) words: &'static str,
    /// Its version, or why it is missing.
    pub(crate) version: String,
    /// Files and their SHA-256.
    pub(crate) hashes: Vec<(String, String)>,
    /// How it is started.
    pub(crate) command: String,
}

/// All that is reported.
pub(crate) struct Report<'a> {
    /// The command that made it.
    pub(crate) command: String,
    /// The machine.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The peers.
    pub(crate) entries: Vec<Entry>,
    /// The numbers.
    pub(crate) rows: &'a [Row],
    /// What they come from.
    pub(crate) results: &'a [CaseResult],
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Fanline and its peers</title><style>\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:.8rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}\
.met{background:#e4f4e4}.missed{background:#fbe3e3}code,pre{font-size:13px}pre{overflow-x:auto;background:#f5f5f5;padding:.6rem}\
svg{max-width:100%;height:auto}</style></head><body><h1>Fanline and its peers</h1>\n";

impl Report<'_> {
    /// The page.
    ///
    /// # Errors
    /// When a plot cannot be drawn.
    pub(crate) fn html(&self) -> Result<String, Box<dyn Error>> {
        let mut page = HEAD.to_owned();
        write!(page, "<p>Made by <code>{}</code>.</p>", escape(&self.command))?;
        let facts = self.facts.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]);
        page += &table(&["host", ""], facts);
        page += "<h2>The numbers</h2><p>Ratios are taken within each round; shown are their median and, in \
                 parentheses, the lowest and the highest. Lower is better everywhere.</p>";
        page += &self.numbers();
        for result in self.results {
            page += &case(result)?;
        }
        page += "<h2>The peers</h2>";
        page += &self.peers();
        page += "</body></html>\n";
        Ok(page)
    }

    fn numbers(&self) -> String {
        let mut text =
            "<table><tr><th>case<th>must reach<th>seen (median, spread)<th>met or missed</tr>".to_owned();
        for row in self.rows {
            let cells = [row.case.to_owned(), row.goal.clone(), row.value(), row.verdict().to_owned()];
            text += &format!("<tr class=\"{}\">", row.verdict());
            cells.iter().for_each(|cell| text += &format!("<td>{}", escape(cell)));
            text += "</tr>";
        }
        text + "</table>"
    }

    fn peers(&self) -> String {
        let rows = self.entries.iter().map(|entry| {
            let hashes: Vec<String> =
                entry.hashes.iter().map(|(file, digest)| format!("{file} {digest}")).collect();
            let name = entry.name.to_owned();
            vec![
                name,
                entry.words.to_owned(),
                entry.version.clone(),
                entry.command.clone(),
                hashes.join("\n"),
            ]
        });
        table(&["peer", "what", "version", "command", "SHA-256"], rows)
    }
}

/// One case: its table, its plots, its commands, and the rounds without a result.
fn case(result: &CaseResult) -> Result<String, Box<dyn Error>> {
    let mut text = format!("<h2>{}</h2>", escape(result.case.title));
    text += &summary(result);
    for svg in pictures(result)? {
        text += &svg;
    }
    text += &format!("<pre>{}</pre>", escape(&result.commands.join("\n")));
    if !result.troubles.is_empty() {
        text +=
            &format!("<p>Rounds that were repeated:</p><pre>{}</pre>", escape(&result.troubles.join("\n")));
    }
    Ok(text)
}

fn summary(result: &CaseResult) -> String {
    let mut header = vec!["peer", "rounds with a result"];
    // The median of the latency stands behind them for every case.
    let metrics = || result.case.metrics.iter().filter(|metric| **metric != Metric::P50);
    header.extend(metrics().map(|metric| metric.words()));
    header.extend(["p50, ms", "p99, ms", "a second", "resident, MiB"]);
    let rows = result.rounds.iter().map(|(peer, rounds)| {
        let good = rounds.iter().flatten().count();
        let mut cells = vec![(*peer).to_owned(), format!("{good} of {}", rounds.len())];
        cells.extend(metrics().map(|&metric| show(spread(rounds, metric))));
        let each = |value: &dyn Fn(&super::outcome::Outcome) -> Option<f64>| {
            show(Spread::of(rounds.iter().flatten().filter_map(value).collect()))
        };
        cells.push(each(&|outcome| outcome.latency_ms.as_ref().map(|latency| latency.p50)));
        cells.push(each(&|outcome| outcome.latency_ms.as_ref().map(|latency| latency.p99)));
        cells.push(each(&|outcome| outcome.throughput()));
        cells.push(each(&|outcome| {
            outcome.server.as_ref().map(|server| server.resident_bytes as f64 / 1048576.0)
        }));
        cells
    });
    table(&header, rows)
}

fn show(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string())
}

/// The plots that a case has numbers for.
fn pictures(result: &CaseResult) -> Result<Vec<String>, Box<dyn Error>> {
    let medians = |value: &dyn Fn(&super::outcome::Outcome) -> Option<f64>| -> Vec<(&str, f64)> {
        let each = result.rounds.iter().filter_map(|(peer, rounds)| {
            Some((*peer, Spread::of(rounds.iter().flatten().filter_map(value).collect())?.median))
        });
        each.collect()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        result.rounds.iter().map(|(peer, rounds)| (*peer, plots::line(rounds))).collect();
    let mut pictures = Vec::new();
    if lines.iter().any(|(_, line)| !line.is_empty()) {
        pictures.push(plots::percentiles("Latency by percentile", &lines)?);
    }
    let charts = [
        ("Throughput, a second", medians(&|outcome| outcome.throughput())),
        ("CPU of the server for one, µs", medians(&|outcome| outcome.metric(Metric::Cpu))),
        ("Own memory per idle connection, bytes", medians(&|outcome| outcome.metric(Metric::OwnBytes))),
    ];
    for (title, bars) in charts.iter().filter(|(_, bars)| !bars.is_empty()) {
        pictures.push(plots::bars(title, bars)?);
    }
    Ok(pictures)
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = "<table><tr>".to_owned();
    header.iter().for_each(|cell| text += &format!("<th>{}", escape(cell)));
    for row in rows {
        text += "</tr><tr>";
        row.iter().for_each(|cell| text += &format!("<td>{}", escape(cell)));
    }
    text + "</tr></table>"
}

/// Text as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    use super::super::table::{rows, sample};
    use super::*;

    #[test]
    fn the_page_has_everything_and_asks_nobody_for_more() {
        let results = sample();
        let rows = rows(&results, |_| true);
        let entry = Entry {
            name: "bare",
            words: "a loop",
            version: "mio 1".to_owned(),
            hashes: vec![("bare".to_owned(), "abc123".to_owned())],
            command: "bare --listen".to_owned(),
        };
        let report = Report {
            command: "cargo loadtest compare".to_owned(),
            facts: vec![("processor", "A <Processor>".to_owned())],
            entries: vec![entry],
            rows: &rows,
            results: &results,
        };
        let page = report.html().expect("drawn");
        for part in
            ["A &lt;Processor&gt;", "class=\"met\"", "0.500 (0.500–0.500)", "abc123", "refused: &lt;busy&gt;"]
        {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(page.matches("<svg").count() >= 3);
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("href="));
    }
}
