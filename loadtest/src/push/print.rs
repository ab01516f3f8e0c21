//! All ways in one table, and for other programs.

use super::Options;
use super::run::Row;
use crate::measure::milliseconds;
use crate::modes::verdict::{self, Verdict};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// What is about to be measured.
pub(super) fn setting(options: &Options) -> String {
    let Options { subscribers, rate, size, every, wait, .. } = options;
    let kind = if options.binary { "bytes" } else { "text" };
    format!(
        "{subscribers} subscribers of one room get {rate} messages of {size} B of {kind} a second, each published by a POST. \
         Open loop: latencies count from the planned times. A long poll waits {wait} s, a short one is sent every {every} ms. \
         {} s each after {} s of warm-up",
        options.common.seconds, options.common.warmup
    )
}

/// The table, and below it what each row is worth.
pub(super) fn rows(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "received by",
        "B to a subscriber per message",
        "B from it",
        "requests",
        "p50 ms",
        "p99 ms",
        "server CPU µs",
        "B to begin, to and from",
    ]);
    for row in rows {
        table.add_row(cells(row));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut lines = vec![table.to_string()];
    lines.extend(rows.iter().map(|row| {
        let (report, load) = (&row.report, &row.report.usage.load);
        format!(
            "{}: {} messages came; the load used {:.0} % of its core, and sent {} of {} over 1 ms late; verdict: {}",
            row.way.name(),
            report.count,
            load.used * 100.0,
            report.late.count,
            report.late.planned,
            report.verdict
        )
    }));
    lines.join("\n")
}

fn cells(row: &Row) -> Vec<String> {
    let percentile = |percent| milliseconds(row.report.latency.percentile(percent));
    let bytes = row.measured.bytes;
    let subscribers = row.report.connections.saturating_sub(1).max(1) as u64;
    let opening = row.opening.bytes;
    vec![
        row.way.name().to_owned(),
        format!("{:.1}", row.each(bytes.received)),
        format!("{:.1}", row.each(bytes.sent)),
        format!("{:.2}", row.each(row.measured.requests)),
        format!("{:.2}", percentile(50.0)),
        format!("{:.2}", percentile(99.0)),
        row.report.cpu_us_per_count().map_or("–".to_owned(), |each| format!("{each:.1}")),
        format!("{} + {}", opening.received / subscribers, opening.sent / subscribers),
    ]
}

/// For other programs: each row in the shape that all modes share, and what went over the wire beside it.
pub(super) fn as_json(options: &Options, url: &str, rows: &[Row]) -> Value {
    let ways: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut object = row.report.as_json();
            object["way"] = json!(row.way);
            object["wire"] = json!({
                "bytes_to_subscribers": row.measured.bytes.received,
                "bytes_from_subscribers": row.measured.bytes.sent,
                "requests": row.measured.requests,
                "bytes_to_subscriber_per_message": row.each(row.measured.bytes.received),
                "bytes_from_subscriber_per_message": row.each(row.measured.bytes.sent),
                "requests_per_message": row.each(row.measured.requests),
                "opening_bytes_to_subscribers": row.opening.bytes.received,
                "opening_bytes_from_subscribers": row.opening.bytes.sent,
            });
            object
        })
        .collect();
    let verdict = worst(rows).to_string();
    json!({ "mode": "push", "url": url, "options": options, "ways": ways, "verdict": verdict })
}

/// The verdict on all rows.
pub(super) fn worst(rows: &[Row]) -> Verdict {
    verdict::worst(rows.iter().map(|row| row.report.verdict.clone()))
}
