//! What the server says of itself, beside what its clients see.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fanline::{Context, Exchange, Handler, Message, Opening, Refusal, Reply, Response, Server, exposition};

use crate::binary::Process;
use crate::client::{connect, get, text};

/// A room whose handler sleeps for as many milliseconds as a message says, half of them before that is published.
struct Sleepy;

impl Handler for Sleepy {
    type State = ();

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        match exchange.request().path() {
            "/metrics" => exposition::answer(exchange).into(),
            _ => Refusal::NotFound.into(),
        }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        Ok(opening.join("room")?)
    }

    fn message(&mut self, _state: &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        let half = Duration::from_millis(message.as_text().unwrap().parse().unwrap()) / 2;
        std::thread::sleep(half);
        ctx.publish("room", message);
        std::thread::sleep(half);
    }
}

/// A sample of what `/metrics` shows.
fn sample(addr: SocketAddr, name: &str) -> f64 {
    let shown = get(addr, "/metrics");
    let value = shown.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{shown}"))
}

fn quantile(addr: SocketAddr, stage: &str, quantile: &str) -> f64 {
    sample(addr, &format!("fanline_delivery_quantile_seconds{{stage=\"{stage}\",quantile=\"{quantile}\"}}"))
}

#[test]
fn row_21_of_part_2_the_servers_own_quantiles_agree_with_what_its_clients_measure() {
    let server = Server::builder().listen("127.0.0.1:0").unwrap().bind(Sleepy).unwrap();
    let (addr, handle) = (server.local_addrs()[0], server.handle());
    let thread = std::thread::spawn(move || server.run());
    let mut members: Vec<_> = (0..8).map(|_| connect(addr, "/")).collect();
    let mut seen = Vec::new();
    // Delays that rise evenly, so that no quantile lies at a jump, and so long that what a machine adds is small beside them.
    for ms in (40..=440).step_by(20) {
        let sent = Instant::now();
        members[0].send(ms.to_string().into()).unwrap();
        for member in &mut members {
            assert_eq!(text(member), ms.to_string());
            seen.push(sent.elapsed().as_secs_f64());
        }
    }
    seen.sort_by(f64::total_cmp);
    for (name, part) in [("0.5", 0.5), ("0.99", 0.99)] {
        let theirs = seen[(seen.len() as f64 * part) as usize];
        let ours = quantile(addr, "total", name);
        assert!((ours / theirs - 1.0).abs() <= 0.1, "{name}: {ours} s, but clients saw {theirs} s");
    }
    let [ingest, waiting, total] = ["ingest", "waiting", "total"].map(|stage| quantile(addr, stage, "0.5"));
    assert!(((ingest + waiting) / total - 1.0).abs() <= 0.1, "{ingest} s and {waiting} s, of {total} s");
    assert_eq!(sample(addr, "fanline_deliveries_total{outcome=\"sent\"}"), seen.len() as f64);
    assert!(quantile(addr, "send", "0.5") < 0.010, "it is the wait that takes its time");
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn row_21_of_part_2_a_reader_that_stalls_moves_only_its_own_waiting() {
    const STALL: Duration = Duration::from_millis(700);
    let server = Process::start(&["--listen", "127.0.0.1:0", "--metrics", "--room-log-bytes-max", "64MiB"]);
    let addr = server.addr();
    let (mut reader, mut stalled) = (connect(addr, "/chat/x"), connect(addr, "/chat/x"));
    // More than the kernel's buffers take, of which the first half comes before the stall can be felt.
    let long = "x".repeat(100_000);
    for _ in 0..200 {
        reader.send(long.clone().into()).unwrap();
        assert_eq!(text(&mut reader).len(), long.len());
    }
    let waiting = sample(addr, "fanline_deliveries_waiting");
    assert!((1.0..200.0).contains(&waiting), "{waiting}");
    let before = quantile(addr, "waiting", "1");
    std::thread::sleep(STALL);
    for _ in 0..200 {
        assert_eq!(text(&mut stalled).len(), long.len());
    }
    let (median, longest) = (quantile(addr, "waiting", "0.5"), quantile(addr, "waiting", "1"));
    assert!(longest >= STALL.as_secs_f64() && longest > before, "{longest} s at the most, {before} s before");
    assert!(median < STALL.as_secs_f64() / 3.0, "{median} s for who reads");
    assert_eq!(sample(addr, "fanline_deliveries_waiting"), 0.0);
    assert_eq!(sample(addr, "fanline_deliveries_total{outcome=\"sent\"}"), 400.0);
    assert_eq!(sample(addr, "fanline_deliveries_owed_total"), 400.0);
}

#[test]
fn a_turn_that_takes_too_long_is_told_on_stderr_and_metrics_are_not_shown_unasked() {
    let mut server = Process::start(&["--listen", "127.0.0.1:0", "--turn-budget", "0ms"]);
    let mut client = connect(server.addr(), "/echo");
    client.send("hello".into()).unwrap();
    assert_eq!(text(&mut client), "hello");
    let said = server.said("a turn took ");
    assert!(said.contains(" reads of ") && said.contains(" deliveries of "), "{said}");
    assert!(get(server.addr(), "/metrics").starts_with("HTTP/1.1 404 "));
}

#[test]
fn without_the_ledger_there_are_outcomes_and_no_times() {
    let server = Process::start(&["--listen", "127.0.0.1:0", "--metrics", "--no-ledger"]);
    let mut client = connect(server.addr(), "/chat/x");
    client.send("hello".into()).unwrap();
    assert_eq!(text(&mut client), "hello");
    let shown = get(server.addr(), "/metrics");
    assert!(shown.contains("fanline_deliveries_total{outcome=\"sent\"} 1"), "{shown}");
    assert!(!shown.contains("fanline_delivery_seconds"), "{shown}");
}
