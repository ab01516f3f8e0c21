//! What came of an attack, for people and for programs.

use super::Common;
use super::crowd::{Heard, Phase};
use super::ground::Ground;
use super::round::Outcome;
use crate::measure::{Holdings, latency_table};
use crate::modes::verdict::Verdict;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fs;
use std::process::ExitCode;

/// One attack with its bystanders.
pub(crate) struct Round {
    /// The attack, or its variant.
    pub(crate) name: &'static str,
    /// What the bystanders heard.
    pub(crate) heard: Heard,
    /// What the server held before.
    pub(crate) before: Option<Holdings>,
    /// The most memory it had meanwhile.
    pub(crate) peak: Option<u64>,
    /// What it held afterwards.
    pub(crate) after: Option<Holdings>,
    /// By how many bytes its memory may have grown.
    pub(crate) growth_max: u64,
    /// What the attack found.
    pub(crate) outcome: Outcome,
    /// Whether others were hurt.
    pub(crate) verdict: Verdict,
}

impl Round {
    /// All that there is to say.
    pub(crate) fn print(&self) -> String {
        let mut rows = Vec::new();
        for phase in &self.heard.phases {
            rows.push((format!("echo, {}", phase.name), &phase.echo));
            rows.push((format!("room, {}", phase.name), &phase.room));
            rows.push((format!("newcomers, {}", phase.name), &phase.newcomers));
        }
        let rows: Vec<(&str, _)> = rows.iter().map(|(name, latency)| (name.as_str(), *latency)).collect();
        let mut lines = vec![String::new(), latency_table(&rows).to_string()];
        match (self.before, self.after) {
            (Some(before), Some(after)) => lines.push(self.holdings(before, after).to_string()),
            _ => lines.push("what the server holds is not known (--pid)".to_owned()),
        }
        lines.push(format!("memory may grow by {} KiB", self.growth_max / 1024));
        lines.extend(self.outcome.facts.iter().map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            value => format!("{name}: {value}"),
        }));
        lines.push(format!("{}: {}", self.name, self.words()));
        lines.join("\n")
    }

    fn words(&self) -> String {
        match &self.verdict {
            Verdict::Ok => "passed: nobody else was hurt".to_owned(),
            verdict => verdict.to_string(),
        }
    }

    fn holdings(&self, before: Holdings, after: Holdings) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["the server", "KiB resident", "descriptors", "threads", "CLOSE_WAIT"]);
        let row = |name: &str, held: Holdings| {
            let Holdings { resident, descriptors, threads, close_wait } = held;
            let numbers = [resident / 1024, descriptors as u64, threads as u64, close_wait as u64];
            [name.to_owned()].into_iter().chain(numbers.map(|number| number.to_string())).collect::<Vec<_>>()
        };
        table.add_row(row("before", before));
        table.add_row(["at most".to_owned(), (self.peak.unwrap_or(0) / 1024).to_string()]);
        table.add_row(row("after", after));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// For other programs.
    pub(crate) fn as_json(&self) -> Value {
        let phase = |phase: &Phase| {
            json!({
                "name": phase.name,
                "echo": phase.echo.as_json(),
                "room": phase.room.as_json(),
                "newcomers": phase.newcomers.as_json(),
                "turned_away": phase.turned_away,
            })
        };
        let phases: Vec<Value> = self.heard.phases.iter().map(phase).collect();
        let facts: Map<String, Value> = self.outcome.facts.iter().cloned().collect();
        json!({
            "name": self.name,
            "phases": phases,
            "errors": self.heard.errors,
            "published": self.heard.published,
            "late": { "planned": self.heard.late.planned, "count": self.heard.late.count },
            "load": self.heard.usage.load.as_json(),
            "server_cpu_seconds": self.heard.usage.server.map(|server| server.cpu_seconds),
            "before": self.before,
            "resident_peak": self.peak,
            "after": self.after,
            "growth_max": self.growth_max,
            "facts": facts,
            "faults": self.outcome.faults,
            "verdict": self.verdict.to_string(),
        })
    }
}

/// Writes the rounds of an attack if a file is named, and returns the exit code of the worst verdict.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn deliver(
    (mode, options): (&str, &impl Serialize),
    common: &Common,
    ground: &Ground,
    rounds: &[Round],
) -> Result<ExitCode, Box<dyn Error>> {
    let verdicts: Vec<&Verdict> = rounds.iter().map(|round| &round.verdict).collect();
    let worst = worst(&verdicts);
    if let Some(path) = &common.json {
        let rounds: Vec<Value> = rounds.iter().map(Round::as_json).collect();
        let result = json!({
            "mode": mode,
            "url": ground.origin,
            "options": serde_json::to_value(options)?,
            "rounds": rounds,
            "verdict": worst.to_string(),
        });
        fs::write(path, serde_json::to_string_pretty(&result)?)?;
    }
    Ok(worst.exit_code())
}

fn worst<'a>(verdicts: &[&'a Verdict]) -> &'a Verdict {
    let weight = |verdict: &Verdict| match verdict {
        Verdict::Ok => 0,
        Verdict::Refused(_) => 1,
        Verdict::Failed(_) => 2,
    };
    verdicts.iter().max_by_key(|verdict| weight(verdict)).copied().unwrap_or(&Verdict::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_among_rounds_is_the_verdict() {
        let all = [Verdict::Ok, Verdict::Failed("a".into()), Verdict::Refused("b".into())];
        assert_eq!(*worst(&[&all[0], &all[1], &all[2]]), all[1]);
        assert_eq!(*worst(&[&all[0], &all[2]]), all[2]);
        assert_eq!(*worst(&[]), Verdict::Ok);
    }
}
