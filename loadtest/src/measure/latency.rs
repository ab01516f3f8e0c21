//! Latencies as a histogram: every value is kept, to three digits.

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde_json::json;
use std::time::Duration;

/// The longest latency that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(600);

/// The percentiles of tables and reports.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// How many steps a plot gets.
const STEPS: f64 = 100.0;

/// Latencies of one kind.
pub(crate) struct Latency {
    nanoseconds: Histogram<u64>,
}

impl Latency {
    /// Without values yet.
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3);
        Self { nanoseconds: bounds.expect("one to a large number, in three digits, are bounds") }
    }

    /// Takes one in.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.nanoseconds.saturating_record(nanoseconds(latency));
    }

    /// Takes in another's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.nanoseconds += &other.nanoseconds;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.nanoseconds.len()
    }

    /// How many are longer.
    pub(crate) fn count_above(&self, latency: Duration) -> u64 {
        self.count() - self.nanoseconds.count_between(0, nanoseconds(latency))
    }

    /// The latency that so many percent do not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.nanoseconds.value_at_percentile(percent))
    }

    /// The longest.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.max())
    }

    /// Percentiles in milliseconds, for other programs.
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("count".to_owned(), json!(self.count()));
        for (name, percent) in PERCENTILES {
            object.insert(format!("{name}_ms"), json!(milliseconds(self.percentile(percent))));
        }
        object.insert("max_ms".to_owned(), json!(milliseconds(self.max())));
        object.into()
    }

    /// The percentiles and the maximum by name, in milliseconds.
    pub(crate) fn percentiles(&self) -> Vec<(&'static str, f64)> {
        let named = PERCENTILES.iter().map(|&(name, percent)| (name, self.percentile(percent)));
        named.chain([("max", self.max())]).map(|(name, value)| (name, milliseconds(value))).collect()
    }

    /// About [`STEPS`] steps of equal ratio from the shortest to the longest: each its upper end in milliseconds, and how many
    /// there are in it. Empty steps are left out.
    pub(crate) fn steps(&self) -> Vec<(f64, u64)> {
        let (low, high) = (self.nanoseconds.min().max(1) as f64, self.nanoseconds.max().max(2) as f64);
        let ratio = (high / low).powf(1.0 / STEPS).max(1.001);
        let mut steps: Vec<(i32, u64)> = Vec::new();
        for value in self.nanoseconds.iter_recorded() {
            let place = (value.value_iterated_to() as f64 / low).ln() / ratio.ln();
            let step = place.ceil().clamp(0.0, STEPS) as i32;
            match steps.last_mut().filter(|last| last.0 == step) {
                Some(last) => last.1 += value.count_at_value(),
                None => steps.push((step, value.count_at_value())),
            }
        }
        steps.into_iter().map(|(step, count)| (low * ratio.powi(step) / 1e6, count)).collect()
    }

    fn row(&self, name: &str) -> Vec<String> {
        let mut cells = vec![name.to_owned(), self.count().to_string()];
        let values = PERCENTILES.iter().map(|&(_, percent)| self.percentile(percent)).chain([self.max()]);
        cells.extend(values.map(|value| format!("{:.3}", milliseconds(value))));
        cells
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A length of time, for tables and reports.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// A row of percentiles for each name, in milliseconds.
pub(crate) fn latency_table(rows: &[(&str, &Latency)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let heads = PERCENTILES.iter().map(|&(name, _)| name);
    table.set_header(["milliseconds", "count"].into_iter().chain(heads).chain(["max"]));
    for (name, latency) in rows {
        table.add_row(latency.row(name));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_thousandth() {
        let mut latency = Latency::new();
        (1..=1_000).for_each(|micros| latency.record(Duration::from_micros(micros)));
        for (percent, micros) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0)] {
            let got = latency.percentile(percent).as_secs_f64() * 1e6;
            assert!((got / micros - 1.0).abs() < 0.002, "p{percent} is {got} µs");
        }
        assert_eq!(latency.count(), 1_000);
    }

    #[test]
    fn a_latency_beyond_all_bounds_is_kept_as_the_longest() {
        let mut latency = Latency::new();
        latency.record(Duration::from_secs(100_000));
        assert!(latency.max() >= LONGEST);
    }

    #[test]
    fn the_steps_of_a_plot_hold_every_value() {
        let mut latency = Latency::new();
        assert_eq!(latency.steps(), []);
        (1..=5_000).for_each(|micros| latency.record(Duration::from_micros(micros)));
        let steps = latency.steps();
        assert!((50..=101).contains(&steps.len()), "{} steps", steps.len());
        assert_eq!(steps.iter().map(|step| step.1).sum::<u64>(), 5_000);
        assert!(steps.windows(2).all(|two| two[0].0 < two[1].0));
        let last = steps[steps.len() - 1].0;
        assert!((last / 5.0 - 1.0).abs() < 0.02, "ends at {last} ms");
    }

    #[test]
    fn two_rounds_add_up() {
        let (mut first, mut second) = (Latency::new(), Latency::new());
        first.record(Duration::from_millis(1));
        second.record(Duration::from_millis(3));
        first.add(&second);
        assert_eq!(first.as_json()["count"], 2);
        let text = latency_table(&[("echo", &first)]).to_string();
        assert!(text.contains("p99.9") && text.contains("echo"), "{text}");
    }
}
