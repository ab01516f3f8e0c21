//! What is shown, gathered at once, and written family by family.

use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::counters::ROWS;
use crate::engine::Exchange;
use crate::ledger::histogram::Histogram;
use crate::ledger::slow::SlowCount;
use crate::ledger::snapshot::{Quantiles, Readings, Snapshot};
use crate::metrics::memory::Class;

/// The edges of the histograms: a third of a decade apart, from what a send takes to what nobody waits for.
const EDGES: [Duration; 19] = [
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Collected {
    readings: Readings,
    counts: Vec<(&'static str, u64)>,
    connections: u64,
    rooms: usize,
    memory: Vec<(&'static str, usize)>,
    /// Whether what is published goes round; `None` where rooms are not shared.
    backplane: Option<bool>,
    is_ready: bool,
}

impl Collected {
    pub(super) fn of(exchange: &mut Exchange<'_>) -> Self {
        let metrics = exchange.metrics();
        let memory = Class::ALL.into_iter().map(|class| (class.name(), metrics.memory.get(class)));
        Self {
            counts: metrics.all(),
            connections: metrics.opened.get() - metrics.ended.get(),
            memory: memory.collect(),
            backplane: exchange.is_shared().then(|| exchange.is_ready()),
            is_ready: exchange.unready().is_none(),
            rooms: exchange.rooms().len(),
            readings: exchange.readings(),
        }
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut page = Page(encoder);
        self.encode_state(&mut page)?;
        self.encode_counts(&mut page)?;
        self.encode_deliveries(&mut page)?;
        self.encode_loop(&mut page)
    }
}

impl Collected {
    fn encode_state(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.0
            .encode_descriptor("build", "What is running.", None, MetricType::Info)?
            .encode_info(&version)?;
        page.gauge("connections", "WebSocket connections that are open.", self.connections as f64)?;
        page.gauge("rooms", "Rooms that have members, or history.", self.rooms as f64)?;
        page.gauge("ready", "Whether /readyz says so.", f64::from(self.is_ready))?;
        if let Some(backplane) = self.backplane {
            page.gauge("backplane_ready", "Whether what is published goes round.", f64::from(backplane))?;
            let answers = [([("sampled", "one at a time")], &self.readings.answers)];
            let help = "From a publication to the backplane's answer: canaries, and of those that ask to be told one at a time.";
            page.histograms("backplane_answer", help, answers.into_iter())?;
        }
        let backlog = self.readings.snapshot.health.accept_backlog;
        page.gauge("accept_backlog", "Connections that wait to be accepted.", backlog as f64)?;
        let memory = self.memory.iter().map(|(class, bytes)| ([("class", *class)], *bytes as f64));
        page.gauges("memory", "Memory in use, by what for.", Some(&Unit::Bytes), memory)
    }

    fn encode_counts(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let value =
            |count| self.counts.iter().find(|(name, _)| *name == count).map_or(0, |(_, value)| *value);
        for family in ROWS.chunk_by(|a, b| a.family == b.family) {
            let samples = family.iter().map(|row| (row.label, value(row.count)));
            page.counters(family[0].family, family[0].help, samples)?;
        }
        Ok(())
    }

    fn encode_deliveries(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let snapshot = &self.readings.snapshot;
        let outcomes = snapshot.outcomes;
        page.counters(
            "deliveries_owed",
            "Publications times their members.",
            [(None, outcomes.owed)].into_iter(),
        )?;
        let ends = outcomes.ends().into_iter().map(|(end, count)| (Some(("outcome", end)), count));
        page.counters("deliveries", "Deliveries, by what became of them.", ends)?;
        page.gauge("deliveries_waiting", "Deliveries still to be made.", outcomes.waiting() as f64)?;
        let bytes = [(None, snapshot.bytes)];
        page.counters(
            "delivered_bytes",
            "Bytes of room messages that sockets have taken.",
            bytes.into_iter(),
        )?;
        if !snapshot.is_on {
            return Ok(());
        }
        let classes = self.readings.classes.iter().flat_map(|(route, account)| {
            let stages = [
                ("ingest", &account.ingest),
                ("waiting", &account.waiting),
                ("send", &account.send),
                ("total", &account.total),
            ];
            stages.map(|(stage, times)| (labels(stage, route), times))
        });
        page.histograms("delivery", "How long the stages of deliveries take, by route.", classes)?;
        let all = snapshot.all;
        let stages =
            [("ingest", all.ingest), ("waiting", all.waiting), ("send", all.send), ("total", all.total)];
        let quantiles = stages.into_iter().flat_map(|(stage, quantiles)| {
            named(&quantiles)
                .map(|(quantile, time)| ([("stage", stage), ("quantile", quantile)], time.as_secs_f64()))
        });
        let help = "Quantiles of the stages of all deliveries since the start, within 1.6 %.";
        page.gauges("delivery_quantile", help, Some(&Unit::Seconds), quantiles)
    }

    fn encode_loop(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let health = &self.readings.snapshot.health;
        let help = "The longest turn of the loop lately.";
        let mut lag = page.0.encode_descriptor("loop_lag", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        lag.encode_gauge(&health.lag.as_secs_f64())?;
        self.encode_slow_turns(page)?;
        let parts = self.readings.parts.iter().map(|(part, times)| ([("part", *part)], times));
        let help =
            "How long turns of the loop take, one connection's input in them, and who is ready waits for it.";
        page.histograms("loop", help, parts)
    }
}

impl Collected {
    fn encode_slow_turns(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let Snapshot { slow_turns, slow_counts, health, .. } = &self.readings.snapshot;
        let help = "Turns longer than turn_budget, by what took the time, and by the route where that was a connection's input.";
        let mut family = page.0.encode_descriptor("loop_overruns", help, None, MetricType::Counter)?;
        for SlowCount { cause, route, count } in slow_counts {
            let labels = [("cause", cause.name()), ("route", &**route)];
            write_count(&mut family.encode_family(&labels)?, *count)?;
        }
        // While there has been one a short time ago: a name for each connection would be many.
        let mut by_input = slow_turns.iter().filter_map(|turn| Some((turn, turn.culprit()?)));
        let latest = by_input.find(|(_, culprit)| Some(**culprit) == health.longest);
        let longest = latest.map(|(turn, culprit)| {
            let route = turn.whose.route.clone().unwrap_or_default();
            ([("conn", culprit.conn.short()), ("route", route)], culprit.took.as_secs_f64())
        });
        let help = "The longest input of a connection lately, with the handler's calls for it, where it made a turn longer than turn_budget.";
        page.gauges("loop_longest_input", help, Some(&Unit::Seconds), longest.into_iter())
    }
}

fn labels<'l>(stage: &'l str, route: &'l Arc<str>) -> [(&'l str, &'l str); 2] {
    [("stage", stage), ("route", route)]
}

fn named(quantiles: &Quantiles) -> [(&'static str, Duration); 5] {
    let Quantiles { p50, p90, p99, p999, max, .. } = *quantiles;
    [("0.5", p50), ("0.9", p90), ("0.99", p99), ("0.999", p999), ("1", max)]
}

fn write_count(sample: &mut MetricEncoder<'_>, value: u64) -> Result<(), Error> {
    sample.encode_counter::<[(&str, &str); 0], u64, f64>(&value, None)
}

/// What is written so far.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl Iterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = (Option<(&'l str, &'l str)>, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value) in samples {
            match label {
                Some(label) => write_count(&mut family.encode_family(&[label])?, value)?,
                None => write_count(&mut family, value)?,
            }
        }
        Ok(())
    }

    fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = (L, &'h Histogram)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, times) in samples {
            let (count, mut before) = (times.count(), 0);
            let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(EDGES.len() + 1);
            // The encoder adds them up again.
            for (edge, below) in EDGES.into_iter().zip(times.below(EDGES)) {
                buckets.push((edge.as_secs_f64(), below - before));
                before = below;
            }
            buckets.push((f64::INFINITY, count - before));
            let mut sample = family.encode_family(&labels)?;
            sample.encode_histogram::<[(&str, &str); 0]>(times.sum(), count, &buckets, None)?;
        }
        Ok(())
    }
}
