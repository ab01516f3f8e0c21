//! All fleets in two tables, and for other programs.

use super::Options;
use super::run::{Load, Row};
use crate::measure::milliseconds;
use crate::modes::report::Report;
use crate::modes::verdict::{Verdict, worst as worst_of};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// What is about to be measured.
pub(super) fn setting(options: &Options) -> String {
    let Options { subscribers, rate, size, window, .. } = options;
    let port = if options.one_port { ", all on one port" } else { "" };
    format!(
        "{subscribers} members of one room are spread over the nodes{port}; the first of them publishes messages of {size} B. \
         Latencies: {rate} messages a second, counted from the planned times; before that, 100 a second to 64 members. \
         Deliveries ({window} under way), and publications to one member at each node: closed loop. {} s each after {} s of warm-up; nodes, Redis and the load run where the kernel likes.",
        options.common.seconds, options.common.warmup
    )
}

/// The tables, and below them what was wrong.
pub(super) fn rows(rows: &[Row]) -> String {
    let mut lines = vec![many(rows).to_string()];
    if rows.iter().any(|row| row.narrow.is_some()) {
        lines.push(String::new());
        lines.push(costs(rows).to_string());
    }
    lines.extend(rows.iter().map(|row| format!("{}: {}", name(row), verdict(row))));
    lines.join("\n")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

fn right(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What comes of more nodes.
fn many(rows: &[Row]) -> Table {
    let mut table = table(&[
        "nodes",
        "few: p50 ms",
        "p99 ms",
        "all: p50 ms",
        "p99 ms",
        "deliveries/s",
        "at each node",
        "× alone",
    ]);
    let Some(alone) = rows.first() else { return table };
    let at = |report: &Report, percent| format!("{:.2}", milliseconds(report.latency.percentile(percent)));
    let each_second = |load: &Load| load.deliveries as f64 / load.seconds;
    for row in rows {
        let deliveries = each_second(&row.wide);
        table.add_row([
            name(row),
            at(&row.few, 50.0),
            at(&row.few, 99.0),
            at(&row.paced, 50.0),
            at(&row.paced, 99.0),
            format!("{deliveries:.0}"),
            format!("{:.0}", deliveries / row.nodes.unwrap_or(1) as f64),
            format!("{:.2}", deliveries / each_second(&alone.wide)),
        ]);
    }
    right(table)
}

/// Microseconds of processor time.
fn costs(rows: &[Row]) -> Table {
    let mut table = table(&[
        "nodes",
        "publications/s",
        "µs CPU: its publisher's node",
        "each other node",
        "Redis",
        "a delivery",
        "publication p50 ms",
    ]);
    for row in rows {
        let Some(narrow) = &row.narrow else { continue };
        let costs = Costs::of(&row.wide, narrow);
        let number = |number: Option<f64>| number.map_or("–".to_owned(), |number| format!("{number:.1}"));
        table.add_row([
            name(row),
            format!("{:.0}", narrow.publications() / narrow.seconds),
            number(Some(costs.own_node)),
            number(costs.other_node),
            number(costs.redis),
            format!("{:.2}", costs.delivery),
            format!("{:.2}", milliseconds(narrow.latency.percentile(50.0))),
        ]);
    }
    right(table)
}

/// What things cost, in microseconds of processor time.
struct Costs {
    /// A publication at the node of its publisher, with its one delivery there.
    own_node: f64,
    /// The same at another node.
    other_node: Option<f64>,
    /// The same at Redis.
    redis: Option<f64>,
    /// One delivery, with its share of the publication.
    delivery: f64,
}

impl Costs {
    fn of(wide: &Load, narrow: &Load) -> Self {
        let publications = narrow.publications();
        let (own, others) = narrow.nodes.split_first().unwrap_or((&0.0, &[]));
        let mean = others.iter().sum::<f64>() / others.len().max(1) as f64;
        Self {
            own_node: narrow.each(*own, publications),
            other_node: (!others.is_empty()).then(|| narrow.each(mean, publications)),
            redis: narrow.redis.map(|redis| narrow.each(redis, publications)),
            delivery: wide.each(wide.nodes.iter().sum(), wide.deliveries as f64),
        }
    }
}

fn name(row: &Row) -> String {
    row.nodes.map_or("no backplane".to_owned(), |nodes| nodes.to_string())
}

/// Whether everything came once, in order and unaltered, under all loads; and whether the plan was kept.
fn verdict(row: &Row) -> Verdict {
    let loads = [Some(&row.wide), row.narrow.as_ref()];
    let faults = loads.into_iter().flatten().map(|load| {
        let words: Vec<String> = load.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        match (words.is_empty(), load.deliveries) {
            (false, _) => Verdict::Failed(words.join(", ")),
            (true, 0) => Verdict::Failed("nothing came at all".to_owned()),
            (true, _) => Verdict::Ok,
        }
    });
    worst_of(faults.chain([row.few.verdict.clone(), row.paced.verdict.clone()]))
}

/// The verdict on all rows.
pub(super) fn worst(rows: &[Row]) -> Verdict {
    worst_of(rows.iter().map(verdict))
}

/// For other programs.
pub(super) fn as_json(options: &Options, rows: &[Row]) -> Value {
    let load = |load: &Load| {
        json!({
            "seconds": load.seconds,
            "members": load.members,
            "deliveries": load.deliveries,
            "node_cpu_seconds": load.nodes,
            "redis_cpu_seconds": load.redis,
            "latency_ms": load.latency.as_json(),
            "errors": load.errors,
        })
    };
    let fleets: Vec<Value> = rows
        .iter()
        .map(|row| {
            let narrow = row.narrow.as_ref();
            json!({
                "nodes": row.nodes,
                "few": row.few.as_json(),
                "paced": row.paced.as_json(),
                "wide": load(&row.wide),
                "narrow": narrow.map(load),
            })
        })
        .collect();
    json!({ "mode": "nodes", "options": options, "fleets": fleets, "verdict": worst(rows).to_string() })
}
