//! What a run prints: a table of groups, the cases that did not pass, and one last line.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::case::Fault;
use super::runner::Ran;

/// How many cases came to what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    took: Duration,
}

impl Tally {
    fn of<'a>(results: impl Iterator<Item = &'a Ran<'a>>) -> Tally {
        results.fold(Tally::default(), |mut tally, ran| {
            match ran.outcome {
                Ok(()) => tally.passed += 1,
                Err(Fault::Failed(_)) => tally.failed += 1,
                Err(Fault::Skipped(_)) => tally.skipped += 1,
            }
            tally.took += ran.took;
            tally
        })
    }
}

/// Prints the cases in question and the table.
pub(crate) fn print(results: &[Ran<'_>], verbose: bool) {
    for ran in results {
        match &ran.outcome {
            Ok(()) if verbose => println!("passed  {} ({:.0?})", ran.case.name, ran.took),
            Ok(()) => {}
            Err(Fault::Failed(words)) => println!("FAILED  {}: {words}", ran.case.name),
            Err(Fault::Skipped(words)) if verbose => println!("skipped {}: {words}", ran.case.name),
            Err(Fault::Skipped(_)) => {}
        }
    }
    println!("{}", table(results));
    print_reasons(results);
}

fn table(results: &[Ran<'_>]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["group", "passed", "failed", "skipped", "time"]);
    for group in groups(results) {
        let tally = Tally::of(results.iter().filter(|ran| ran.case.group == group));
        table.add_row([
            group.to_owned(),
            tally.passed.to_string(),
            tally.failed.to_string(),
            tally.skipped.to_string(),
            format!("{:.1} s", tally.took.as_secs_f64()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn groups<'a>(results: &[Ran<'a>]) -> Vec<&'a str> {
    let mut groups: Vec<&str> = results.iter().map(|ran| ran.case.group).collect();
    groups.dedup();
    groups
}

/// Says once for each reason how many cases were skipped for it.
fn print_reasons(results: &[Ran<'_>]) {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for ran in results {
        if let Err(Fault::Skipped(words)) = &ran.outcome {
            match reasons.iter_mut().find(|(reason, _)| reason == words) {
                Some((_, count)) => *count += 1,
                None => reasons.push((words, 1)),
            }
        }
    }
    for (reason, count) in reasons {
        println!("{count} skipped: {reason}");
    }
}

/// Prints the last line and gives the exit code.
pub(crate) fn close(results: &[Ran<'_>]) -> ExitCode {
    let tally = Tally::of(results.iter());
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The results as a JSON array, a case per object.
pub(crate) fn to_json(results: &[Ran<'_>]) -> String {
    let rows = results.iter().map(|ran| {
        let (outcome, detail) = match &ran.outcome {
            Ok(()) => ("passed", None),
            Err(Fault::Failed(words)) => ("failed", Some(words)),
            Err(Fault::Skipped(words)) => ("skipped", Some(words)),
        };
        json!({
            "name": ran.case.name,
            "group": ran.case.group,
            "outcome": outcome,
            "detail": detail,
            "milliseconds": ran.took.as_millis() as u64,
        })
    });
    format!("{:#}\n", Value::Array(rows.collect()))
}
