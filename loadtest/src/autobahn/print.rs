//! The table by section, and every case that is not OK.

use super::catalogue::{CaseId, SECTIONS, Section};
use super::report::{Outcome, VERDICTS, Verdict};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;

/// How many cases got each verdict, in the order of [`VERDICTS`].
fn tally(outcomes: &[&Outcome]) -> [usize; VERDICTS.len()] {
    VERDICTS.map(|verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count())
}

/// A row for each section that was run, and their sum. Columns that are empty throughout are left out, but for OK.
pub(crate) fn table(outcomes: &[Outcome]) -> Table {
    let all: Vec<&Outcome> = outcomes.iter().collect();
    let total = tally(&all);
    let shown: Vec<usize> = (0..VERDICTS.len()).filter(|&column| column < 4 || total[column] > 0).collect();

    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let words = shown.iter().map(|&column| VERDICTS[column].word());
    let heads = ["section", "cases"].into_iter().chain(words).chain(["seconds"]);
    table.set_header(heads);
    for section in &SECTIONS {
        let of_section: Vec<&Outcome> =
            all.iter().copied().filter(|outcome| outcome.case.section == section.number).collect();
        if !of_section.is_empty() {
            table.add_row(row(&name(section), &of_section, &shown));
        }
    }
    table.add_row(row("all", &all, &shown));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn name(section: &Section) -> String {
    format!("{} {}", section.number, section.name)
}

fn row(name: &str, outcomes: &[&Outcome], shown: &[usize]) -> Vec<String> {
    let counts = tally(outcomes);
    let milliseconds: u64 = outcomes.iter().map(|outcome| outcome.milliseconds).sum();
    let mut cells = vec![name.to_owned(), outcomes.len().to_string()];
    cells.extend(shown.iter().map(|&column| counts[column].to_string()));
    cells.push(format!("{:.1}", Duration::from_millis(milliseconds).as_secs_f64()));
    cells
}

/// The suite's words about every case that is not OK.
pub(crate) fn exceptions(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let Some(detail) = &outcome.detail else { continue };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{} {}", outcome.case, outcome.verdict.word());
        let line = |label: &str, words: &str| format!("\n    {label:<9}{}", one_line(words));
        text += &line("case", &detail.description);
        text += &line("expected", &detail.expectation);
        text += &line("result", &detail.result);
        text += &line("received", &detail.received());
        text += &line("close", &close(outcome, detail));
    }
    text
}

/// The cases that the suite says nothing about, a line for each section.
pub(crate) fn missing(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for section in &SECTIONS {
        let cases: Vec<String> = outcomes
            .iter()
            .filter(|outcome| outcome.verdict == Verdict::Missing && outcome.case.section == section.number)
            .map(|outcome| outcome.case.to_string())
            .collect();
        if !cases.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\nMISSING: {}", cases.join(" "));
        }
    }
    text
}

fn close(outcome: &Outcome, detail: &super::report::Detail) -> String {
    let codes = detail.expected_close.codes.iter().map(u16::to_string);
    let wanted: Vec<String> = codes.chain(["no code".to_owned()]).collect();
    let got = outcome.close_code.map_or("no code".to_owned(), |code| code.to_string());
    let (how, words) = (&detail.behavior_close, &detail.result_close);
    format!("{how}: wanted {}, got {got}. {words}", wanted.join(" or "))
}

/// The suite writes its descriptions with markup and line breaks.
fn one_line(words: &str) -> String {
    let plain = words.replace("<br/>", " ").replace("<br>", " ").replace("<b>", "").replace("</b>", "");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cases that the run fails for.
pub(crate) fn failures(outcomes: &[Outcome], strict: bool) -> Vec<CaseId> {
    let failing = outcomes.iter().filter(|outcome| outcome.verdict.is_failure(outcome.case, strict));
    failing.map(|outcome| outcome.case).collect()
}

/// Everything as JSON, for other programs.
pub(crate) fn as_json(url: &str, wall: Duration, outcomes: &[Outcome], failed: usize) -> serde_json::Value {
    json!({ "url": url, "seconds": wall.as_secs_f64(), "cases": outcomes.len(), "failed": failed, "outcomes": outcomes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(case: &str, verdict: Verdict) -> Outcome {
        let case = case.parse().expect("a case number");
        Outcome { case, verdict, milliseconds: 500, close_code: Some(1000), detail: None }
    }

    #[test]
    fn the_table_counts_by_section_and_in_all() {
        let outcomes = [
            outcome("1.1.1", Verdict::Ok),
            outcome("1.1.2", Verdict::NonStrict),
            outcome("7.1.6", Verdict::Informational),
            outcome("13.1.1", Verdict::Missing),
        ];
        let text = table(&outcomes).to_string();
        let squeezed: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(squeezed[0].contains("MISSING") && !squeezed[0].contains("UNCLEAN"), "{text}");
        assert!(squeezed.contains(&"| 1 framing | 2 | 1 | 1 | 0 | 0 | 0 | 1.0 |".to_owned()), "{text}");
        assert!(squeezed.contains(&"| all | 4 | 1 | 1 | 1 | 0 | 1 | 2.0 |".to_owned()), "{text}");
        assert_eq!(missing(&outcomes), "\nMISSING: 13.1.1");
        assert_eq!(failures(&outcomes, false).len(), 1);
        assert_eq!(failures(&outcomes, true).len(), 2);
    }

    #[test]
    fn descriptions_lose_their_markup() {
        assert_eq!(one_line("Send<br/>  a <b>bad</b>\n frame"), "Send a bad frame");
    }
}
