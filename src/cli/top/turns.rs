//! The turns that were over their budget: what took the time in each, and for whom.

use serde_json::Value;

use super::super::show::{Column, figures, micros, number, table, text, time, words};

/// The last one in figures, where there has been one.
pub(super) fn last_of(status: &Value) -> Option<(&'static str, Vec<(&'static str, String)>)> {
    let turn = slow_turns(status).first()?;
    let mut last = vec![
        ("took", micros(number(&turn["took_us"]))),
        ("ago", ago(status, turn)),
        ("most of it in", place(turn).to_owned()),
    ];
    if is_one_input(turn) {
        last.push(("of", text(&turn["conn"])));
        last.push(("at", text(&turn["route"])));
    }
    last.push(("held up", held_up(turn)));
    Some(("slow turn", last))
}

/// All that are remembered, as a table; nothing where there are none.
pub(super) fn table_of(status: &Value) -> String {
    let turns = slow_turns(status);
    if turns.is_empty() {
        return String::new();
    }
    let columns: [Column; 11] = [
        words("SLOW TURN"),
        figures("AGO"),
        figures("TOOK"),
        words("MOST IN"),
        words("ID"),
        words("ROUTE"),
        words("USER"),
        words("ADDRESS"),
        figures("ITS INPUT"),
        figures("DELIVERIES"),
        figures("HELD UP"),
    ];
    let row = |(at, turn): (usize, &Value)| {
        let start = [
            (at + 1).to_string(),
            ago(status, turn),
            micros(number(&turn["took_us"])),
            place(turn).to_owned(),
        ];
        // Whose input took the longest is no lead where something else took the time.
        let whose = ["conn", "route", "user", "address"].map(|name| match is_one_input(turn) {
            true => text(&turn[name]),
            false => "-".to_owned(),
        });
        let input = if is_one_input(turn) { micros(number(&turn["input_us"])) } else { "-".to_owned() };
        let end = [input, number(&turn["deliveries"]).to_string(), held_up(turn)];
        start.into_iter().chain(whose).chain(end).collect()
    };
    format!("\n{}", table(&columns, &turns.iter().enumerate().map(row).collect::<Vec<_>>()))
}

fn slow_turns(status: &Value) -> &[Value] {
    status.pointer("/ledger/loop/slow_turns").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn ago(status: &Value, turn: &Value) -> String {
    time(number(&status["now_ms"]).saturating_sub(number(&turn["at_ms"])))
}

fn is_one_input(turn: &Value) -> bool {
    turn["cause"].as_str() == Some("input")
}

/// What took most of the time, in the words of the guide.
fn place(turn: &Value) -> &'static str {
    match turn["cause"].as_str() {
        // Without a call it was a handshake, or a message that is not whole yet.
        Some("input") if number(&turn["input_calls"]) > 0 => "handler",
        Some("input") => "input",
        Some("inputs") => "many inputs",
        Some("outside") => "outside",
        Some("sending") => "sending",
        Some(_) | None => "-",
    }
}

fn held_up(turn: &Value) -> String {
    turn["held_up"].as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_named_is_who_took_the_time() {
        assert_eq!((last_of(&json!({})), table_of(&json!({}))), (None, String::new()));
        let turn = |cause: &str, calls: u64| {
            json!({
                "at_ms": 1_000, "took_us": 201_000, "cause": cause, "conn": "7.1", "input_us": 200_000, "input_calls": calls,
                "route": "/quiz", "user": "ann", "address": "10.0.0.7", "deliveries": 3, "held_up": 2,
            })
        };
        let turns = [turn("input", 1), turn("sending", 1), turn("input", 0)];
        let status = json!({ "now_ms": 4_500, "ledger": { "loop": { "slow_turns": turns } } });
        let (group, figures) = last_of(&status).unwrap();
        let said: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(
            (group, said.join(", ")),
            (
                "slow turn",
                "took 201.0 ms, ago 3.5 s, most of it in handler, of 7.1, at /quiz, held up 2".to_owned()
            )
        );
        let table = table_of(&status);
        let rows: Vec<Vec<&str>> =
            table.trim_start().lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 4, "{table}");
        assert_eq!(
            rows[1],
            [
                "1", "3.5", "s", "201.0", "ms", "handler", "7.1", "/quiz", "ann", "10.0.0.7", "200.0", "ms",
                "3", "2"
            ]
        );
        assert_eq!(rows[2], ["2", "3.5", "s", "201.0", "ms", "sending", "-", "-", "-", "-", "-", "3", "2"]);
        assert_eq!(rows[3][5], "input");
    }
}
