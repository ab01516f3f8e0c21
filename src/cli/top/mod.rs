//! `fanline top`: how the server is, once a second.

#[cfg(feature = "top")]
mod screen;
mod turns;

use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use super::Failure;
use super::ask::{pages, show_peers, show_rooms};
use super::client::Client;
use super::show::{bytes, json_line, micros, number, plain, print, text, time};

/// Rows of each table.
const ROWS: u32 = 20;

/// How long an answer may take before it is said that there is none: the screen hears no key meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one look has found.
struct Look {
    status: Value,
    peers: Vec<Value>,
    rooms: Vec<Value>,
}

/// What is shown of two looks.
#[derive(Debug, Default, PartialEq, Eq)]
struct View {
    title: String,
    /// Names and what there is to say of them, in groups.
    figures: Vec<(&'static str, Vec<(&'static str, String)>)>,
}

/// Shows the server until somebody has seen enough.
pub(super) fn watch(client: &Client, args: &ArgMatches) -> Result<(), Failure> {
    let client = &client.with_patience(PATIENCE);
    let seconds = args.get_one::<u32>("interval").copied().unwrap_or(1).clamp(1, 3600);
    let interval = Duration::from_secs(seconds.into());
    let sort = args.get_one::<String>("sort").cloned().unwrap_or_default();
    if args.get_flag("once") || args.get_flag("json") {
        let before = client.get("status")?;
        std::thread::sleep(interval);
        let look = look(client, &sort)?;
        return match args.get_flag("json") {
            true => {
                let Look { status, peers, rooms } = look;
                let before = before["counters"].clone();
                let object =
                    serde_json::json!({ "before": before, "status": status, "peers": peers, "rooms": rooms });
                print(&json_line(&object))
            }
            false => print(&plain_text(&before, &look)),
        };
    }
    #[cfg(feature = "top")]
    return screen::watch(client, interval, &sort);
    #[cfg(not(feature = "top"))]
    Err(Failure("this binary was built without the feature `top`; --once prints a look".to_owned()))
}

fn look(client: &Client, sort: &str) -> Result<Look, Failure> {
    Ok(Look {
        status: client.get("status")?,
        peers: pages(client, &format!("peers?sort={sort}"), "peers", ROWS)?.rows,
        rooms: pages(client, "rooms?sort=members", "rooms", ROWS)?.rows,
    })
}

fn plain_text(before: &Value, look: &Look) -> String {
    let view = view(before, &look.status);
    let mut out = format!("{}\n", view.title);
    for (group, figures) in &view.figures {
        let said: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        out += &format!("{group:<12}{}\n", said.join("   "));
    }
    out += &turns::table_of(&look.status);
    for (name, table) in [("rooms", show_rooms(&look.rooms)), ("peers", show_peers(&look.peers))] {
        let is_empty = if name == "rooms" { look.rooms.is_empty() } else { look.peers.is_empty() };
        out += &if is_empty { format!("\nno {name}\n") } else { format!("\n{table}") };
    }
    out
}

/// How much a counter has grown in a second.
fn rate(before: &Value, now: &Value, pointer: &str) -> Option<f64> {
    let count = |status: &Value| status.pointer(pointer).and_then(Value::as_u64);
    let ms = number(&now["now_ms"]).saturating_sub(number(&before["now_ms"]));
    let grown = count(now)?.saturating_sub(count(before)?);
    // One that was started anew counts from zero.
    (ms > 0 && number(&before["started_ms"]) == number(&now["started_ms"]))
        .then(|| grown as f64 * 1000.0 / ms as f64)
}

fn per_second(before: &Value, now: &Value, pointer: &str) -> String {
    match rate(before, now, pointer) {
        Some(rate) if rate < 10.0 && rate > 0.0 => format!("{rate:.1}/s"),
        Some(rate) => format!("{rate:.0}/s"),
        None => "-".to_owned(),
    }
}

fn view(before: &Value, now: &Value) -> View {
    let count = |pointer: &str| now.pointer(pointer).map_or(0, number);
    let state = match now["unready"].as_str() {
        Some(why) => format!("not ready: {}", plain(why)),
        None => "ready".to_owned(),
    };
    let title = format!(
        "fanline {}   pid {}   up {}   {state}",
        text(&now["version"]),
        number(&now["pid"]),
        time(number(&now["uptime_ms"]))
    );
    let per_second = |pointer| per_second(before, now, pointer);
    let bytes_in = rate(before, now, "/counters/bytes_in").unwrap_or(0.0) as u64;
    let memory = match now["memory"]["budget_bytes"].as_u64() {
        Some(budget) => format!("{} of {}", bytes(count("/memory/used_bytes")), bytes(budget)),
        None => bytes(count("/memory/used_bytes")),
    };
    let mut figures = vec![
        (
            "there",
            vec![
                ("connections", count("/connections").to_string()),
                ("websockets", count("/websockets").to_string()),
                ("rooms", count("/rooms").to_string()),
                ("memory", memory),
            ],
        ),
        (
            "in",
            vec![
                ("messages", per_second("/counters/messages")),
                ("requests", per_second("/counters/requests")),
                ("bytes", format!("{}/s", bytes(bytes_in))),
                ("new", per_second("/counters/opened")),
            ],
        ),
        (
            "out",
            vec![
                ("publications", per_second("/counters/publications")),
                ("deliveries", per_second("/ledger/outcomes/sent")),
                ("replies", per_second("/counters/replies")),
            ],
        ),
        (
            "dropped",
            vec![
                ("skipped", count("/ledger/outcomes/skipped").to_string()),
                ("passed", count("/ledger/outcomes/passed").to_string()),
                ("gone", count("/ledger/outcomes/gone").to_string()),
                ("shed", count("/counters/shed").to_string()),
                ("lost", count("/counters/lost").to_string()),
            ],
        ),
    ];
    figures.extend(ledger(now));
    View { title, figures }
}

/// What is measured of deliveries and of the loop, where it is.
fn ledger(now: &Value) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let ledger = &now["ledger"];
    if ledger["on"].as_bool() != Some(true) {
        return Vec::new();
    }
    let lately = &ledger["lately"]["stages"]["total"];
    let shown = |of: &Value, name: &str| micros(number(&of[name]));
    let delivery = match number(&lately["count"]) {
        0 => vec![("lately", "none".to_owned())],
        _ => [("p50", "p50_us"), ("p99", "p99_us"), ("max", "max_us")]
            .map(|(name, key)| (name, shown(lately, key)))
            .to_vec(),
    };
    let mut rows = vec![("delivery", delivery)];
    if number(&lately["count"]) > 0 {
        // Of what is late, one of these says where it was.
        let stages = ["ingest", "waiting", "send"];
        let p99 = |stage| (stage, shown(&ledger["lately"]["stages"][stage], "p99_us"));
        rows.push(("p99 of", stages.map(p99).to_vec()));
    }
    let health = &ledger["loop"];
    let mut turns = vec![
        ("turn p99", shown(&health["turn"], "p99_us")),
        ("longest lately", shown(health, "lag_us")),
        ("over budget", number(&health["overruns"]).to_string()),
    ];
    if let Some(conn) = health["longest"]["conn"].as_str() {
        turns.push(("longest input", format!("{} by {conn}", shown(&health["longest"], "took_us"))));
    }
    rows.push(("loop", turns));
    rows.extend(turns::last_of(now));
    if number(&health["answer"]["count"]) > 0 {
        let round = [("p50", "p50_us"), ("p99", "p99_us"), ("max", "max_us")];
        rows.push(("backplane", round.map(|(name, key)| (name, shown(&health["answer"], key))).to_vec()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(now_ms: u64, messages: u64) -> Value {
        json!({
            "version": "1.2.3", "pid": 7, "now_ms": now_ms, "started_ms": 0, "uptime_ms": now_ms, "ready": true,
            "draining": false, "connections": 3, "websockets": 2, "rooms": 1,
            "memory": { "used_bytes": 2048, "budget_bytes": null },
            "counters": { "messages": messages }, "ledger": { "outcomes": { "skipped": 4 } },
        })
    }

    #[test]
    fn a_look_in_plain_text() {
        let peer = json!({ "id": "1.2", "address": "::1", "rooms": ["a"], "rooms_total": 3, "lag": 9, "delay_ms": 1500 });
        let look = Look { status: status(62_000, 70), peers: vec![peer], rooms: Vec::new() };
        let shown = plain_text(&status(60_000, 20), &look);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "fanline 1.2.3   pid 7   up 1m 02s   ready");
        assert_eq!(lines[1], "there       connections 3   websockets 2   rooms 1   memory 2.0 KiB");
        assert!(lines[2].starts_with("in          messages 25/s   requests -"), "{shown}");
        assert!(lines[4].starts_with("dropped     skipped 4"), "{shown}");
        assert!(shown.contains("\nno rooms\n") && shown.contains("a +2"), "{shown}");
    }

    #[test]
    fn a_rate_is_none_where_the_server_was_started_anew() {
        let (before, mut now) = (status(1000, 50), status(2000, 60));
        assert_eq!(rate(&before, &now, "/counters/messages"), Some(10.0));
        now["started_ms"] = json!(1500);
        assert_eq!(rate(&before, &now, "/counters/messages"), None);
        assert_eq!(rate(&now, &now, "/counters/messages"), None);
    }

    #[test]
    fn what_the_ledger_measures_is_shown_where_there_is_one() {
        let mut now = status(2000, 0);
        assert_eq!(ledger(&now), []);
        let quantiles = json!({ "count": 5, "p50_us": 250, "p99_us": 1500, "max_us": 2_000_000 });
        let longest = json!({ "conn": "7.1", "took_us": 8_000 });
        let answer = json!({ "count": 2, "p50_us": 1_000, "p99_us": 2_000, "max_us": 3_000 });
        let health = json!({ "turn": { "p99_us": 700 }, "lag_us": 9_000, "overruns": 2, "longest": longest, "answer": answer });
        let stages = json!({ "total": quantiles, "ingest": { "p99_us": 20 }, "waiting": { "p99_us": 1400 }, "send": { "p99_us": 90 } });
        now["ledger"] = json!({ "on": true, "lately": { "stages": stages }, "loop": health });
        let shown = ledger(&now);
        let values: Vec<&str> =
            shown.iter().flat_map(|(_, all)| all.iter().map(|(_, value)| value.as_str())).collect();
        assert_eq!(
            values,
            [
                "250 µs",
                "1.5 ms",
                "2.0 s",
                "20 µs",
                "1.4 ms",
                "90 µs",
                "700 µs",
                "9.0 ms",
                "2",
                "8.0 ms by 7.1",
                "1.0 ms",
                "2.0 ms",
                "3.0 ms"
            ]
        );
    }
}
