//! The numbers as tables, for the terminal.

use super::cases::CASES;
use super::peers::PEERS;
use super::run::CaseResult;
use super::stats::{Seen, judge, spread};
use comfy_table::{Table, presets};

/// One row of the numbers.
pub(crate) struct Row {
    /// The case.
    pub(crate) case: &'static str,
    /// What must be reached.
    pub(crate) goal: String,
    /// What was seen.
    pub(crate) seen: Option<Seen>,
}

impl Row {
    /// The median and its spread.
    pub(crate) fn value(&self) -> String {
        self.seen.map_or_else(|| "not measured".to_owned(), |seen| seen.spread.to_string())
    }

    /// Met, missed, or neither.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.seen {
            Some(Seen { met: Some(true), .. }) => "met",
            Some(Seen { met: Some(false), .. }) => "missed",
            Some(Seen { met: None, .. }) => "shown",
            None => "–",
        }
    }
}

/// Every goal of every case that ran, but for those beside a peer that nobody has asked for.
pub(crate) fn rows(results: &[CaseResult], asked: impl Fn(&str) -> bool) -> Vec<Row> {
    let of_case = |result: &CaseResult| {
        let goals = result.case.goals.iter().filter(|goal| goal.peer().is_none_or(&asked));
        let rows = goals.map(|&goal| Row {
            case: result.case.title,
            goal: goal.words(),
            seen: judge(goal, |peer| result.of(peer)),
        });
        rows.collect::<Vec<_>>()
    };
    results.iter().flat_map(of_case).collect()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

/// The table of the numbers.
pub(crate) fn numbers(rows: &[Row]) -> Table {
    let mut table = table(&["case", "must reach", "seen (median, spread)", "met or missed"]);
    for row in rows {
        table.add_row([row.case, &row.goal, &row.value(), row.verdict()]);
    }
    table
}

/// What every peer did in one case.
pub(crate) fn case(result: &CaseResult) -> Table {
    let metrics = result.case.metrics;
    let mut header = vec!["peer", "rounds"];
    header.extend(metrics.iter().map(|metric| metric.words()));
    let mut table = table(&header);
    for (peer, rounds) in &result.rounds {
        let good = rounds.iter().flatten().count();
        let mut cells = vec![(*peer).to_owned(), format!("{good} of {}", rounds.len())];
        let each = metrics.iter().map(|&metric| spread(rounds, metric));
        cells.extend(each.map(|spread| spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string())));
        table.add_row(cells);
    }
    table
}

/// What could be compared: `--list`.
pub(crate) fn list() -> String {
    let mut cases = table(&["--case", "what", "must reach", "load"]);
    for case in CASES {
        let goals: Vec<String> = case.goals.iter().map(|goal| goal.words()).collect();
        let load = format!("{} {}", case.mode, case.options.join(" "));
        cases.add_row([case.name, case.title, &goals.join("; "), &load]);
    }
    let mut peers = table(&["--peer", "what"]);
    for peer in PEERS {
        peers.add_row([peer.name, peer.words]);
    }
    format!("{cases}\n\n{peers}")
}

#[cfg(test)]
pub(crate) fn sample() -> Vec<CaseResult> {
    use super::outcome::canned;
    let rounds = |cpu: f64| vec![Some(canned(cpu, 0.25)), Some(canned(cpu * 1.1, 0.3)), None];
    let rounds = vec![("fanline", rounds(1.0)), ("bare", rounds(2.0)), ("<bun>", rounds(3.0))];
    let command = "fanline: cargo loadtest echo ws://127.0.0.1:1/echo".to_owned();
    let troubles = vec!["echo-32, round 3, bare: refused: <busy>".to_owned()];
    vec![CaseResult { case: &CASES[0], rounds, troubles, commands: vec![command] }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_name_case_goal_sight_and_verdict() {
        let text = numbers(&rows(&sample(), |_| true)).to_string();
        assert!(text.contains("| CPU, µs: ≤ 1.03 × bare"), "{text}");
        assert!(text.contains("| 0.500 (0.500–0.500)") && text.contains("| met"), "{text}");
    }

    #[test]
    fn what_nobody_asked_for_is_no_goal_and_what_could_not_be_had_is_not_measured() {
        let rows = rows(&sample(), |peer| peer == "unmeasured");
        let seen: Vec<(&str, &str)> = rows.iter().map(|row| (row.goal.as_str(), row.verdict())).collect();
        assert_eq!(seen, [("CPU, µs: ≤ 1.03 × unmeasured", "–")]);
    }

    #[test]
    fn a_case_lists_every_peer_with_its_good_rounds() {
        let text = case(&sample()[0]).to_string();
        assert!(text.contains("2 of 3") && text.contains("1.050 (1.000–1.100)"), "{text}");
    }

    #[test]
    fn the_list_names_every_case_and_peer() {
        let list = list();
        assert!(CASES.iter().all(|case| list.contains(case.name)));
        assert!(PEERS.iter().all(|peer| list.contains(peer.name)));
    }
}
