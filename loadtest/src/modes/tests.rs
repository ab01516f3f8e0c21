//! The modes against servers with a known delay or a known fault: each must be measured, or told by its kind.

use super::connect;
use super::report::{Kind, Late, Report};
use super::verdict::{Evidence, Verdict};
use super::visits::Errand;
use super::{echo, fanout};
use crate::measure::CpuShare;
use crate::synthetic::{self, Mischief};
use clap::Parser;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[derive(Parser)]
enum Command {
    Echo(echo::Options),
    Fanout(fanout::Options),
    Connect(connect::Options),
    Churn(connect::Options),
}

/// One load at a time: two would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a command line against a server at `origin`; the machine may keep us from our core as long as it likes, but where a
/// line says otherwise.
fn measure(origin: &str, line: &str) -> Report {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let patient = ["loadtest"].into_iter().chain(line.split(' '));
    let usual = ["--waited-max", "1", "--late-max", "1"].into_iter().filter(|_| !line.contains("-max"));
    let pid = std::process::id();
    let (echo, room) = (format!("{origin}/echo"), format!("{origin}/chat/fanout"));
    match Command::parse_from(patient.chain(usual)) {
        Command::Echo(options) => echo::measure(&options, &echo, Some(pid)),
        Command::Fanout(mut options) => {
            options.bystander = options.bystander.map(|_| echo);
            options.publish_url =
                (options.publishers > options.subscribers).then(|| format!("{origin}/publish"));
            fanout::measure(&options, &room, Some(pid))
        }
        Command::Connect(options) => connect::measure(&options, Errand::Handshake, &echo, Some(pid)),
        Command::Churn(options) => connect::measure(&options, Errand::Echo, &echo, Some(pid)),
    }
    .expect("measured")
}

fn echoes(mischief: Mischief, line: &str) -> Report {
    measure(&synthetic::start_echo(mischief).expect("a free port"), line)
}

fn p(report: &Report, percent: f64) -> f64 {
    report.latency.percentile(percent).as_secs_f64() * 1e3
}

#[test]
fn a_known_delay_is_measured_within_one_percent() {
    const LINE: &str = "echo --connections 8 --seconds 0.8 --warmup 0.1";
    // Long beside what a busy machine adds by itself, which is half a millisecond.
    const DELAY_MS: u16 = 150;
    let is_right = |p50: &f64| (p50 / f64::from(DELAY_MS) - 1.0).abs() < 0.01;
    for pace in ["--rate 40", "--window 1"] {
        // Other work on the machine only adds, so one attempt that it spares is enough.
        let mut p50s: Vec<f64> = Vec::new();
        while p50s.len() < 4 && !p50s.last().is_some_and(is_right) {
            let report = echoes(Mischief::Delay(DELAY_MS.into()), &format!("{LINE} {pace}"));
            assert_eq!(report.verdict, Verdict::Ok, "{pace}");
            p50s.push(p(&report, 50.0));
        }
        assert!(p50s.last().is_some_and(is_right), "{pace}: {p50s:?} ms");
    }
}

/// A room whose handler takes a fifth of a second for each message, and which shows what it measures.
struct Slow;

impl fanline::Handler for Slow {
    type State = ();

    fn http(&mut self, exchange: &mut fanline::Exchange<'_>) -> fanline::Reply {
        fanline::exposition::answer(exchange).into()
    }

    fn open(&mut self, opening: &mut fanline::Opening<'_>) -> Result<(), fanline::Response> {
        Ok(opening.join("room")?)
    }

    fn message(&mut self, _: &mut (), ctx: &mut fanline::Context<'_>, message: fanline::Message<'_>) {
        ctx.publish("room", message);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn row_21_of_part_2_the_servers_own_quantiles_agree_with_these() {
    let server = fanline::Server::builder().listen("127.0.0.1:0").unwrap().bind(Slow).unwrap();
    let (origin, handle) = (format!("ws://{}", server.local_addrs()[0]), server.handle());
    let thread = std::thread::spawn(move || server.run());
    let report = measure(&origin, "fanout --subscribers 8 --seconds 2 --warmup 0.1 --window 1");
    let own = report.own.as_ref().expect("it shows them");
    for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
        let (ours, theirs) = (own.quantile(name), p(&report, percent));
        assert!((ours / theirs - 1.0).abs() <= 0.1, "{name}: {ours} ms, and {theirs} ms here");
    }
    assert_eq!(report.as_json()["own_ms"]["p50"], own.quantile("p50"));
    assert!(super::print::report(&report).contains("the server's own since it started"));
    handle.shutdown();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_stall_is_charged_to_all_who_waited_in_an_open_loop_only() {
    const LINE: &str = "echo --connections 2 --seconds 1 --warmup 0";
    let open = echoes(Mischief::Stall(200), &format!("{LINE} --rate 500"));
    assert!(p(&open, 99.9) >= 150.0, "p99.9 {}", p(&open, 99.9));
    assert!(p(&open, 90.0) >= 60.0, "p90 {}: a fifth of all waited 100 ms on average", p(&open, 90.0));
    assert_eq!(open.as_json()["latency_ms"]["kind"], "planned");

    let closed = echoes(Mischief::Stall(200), &format!("{LINE} --window 1"));
    assert!(p(&closed, 99.0) < 60.0, "p99 {}: only one message of each connection met it", p(&closed, 99.0));
    assert_eq!(closed.as_json()["latency_ms"]["kind"], "service");
}

#[test]
fn each_fault_of_an_echo_is_told_by_its_kind() {
    let table: [(Mischief, &[(&str, u64)]); 4] = [
        (Mischief::Lose, &[("lost", 1)]),
        (Mischief::Double, &[("doubled", 1)]),
        (Mischief::Swap, &[("swapped", 1)]),
        (Mischief::Alter, &[("altered", 1), ("lost", 1)]),
    ];
    const LINE: &str = "echo --connections 1 --seconds 0.3 --warmup 0 --drain 0.5";
    for (mischief, errors) in table {
        // A second message is under way, so that there is one to be overtaken by.
        let report = echoes(mischief, &format!("{LINE} --window 2"));
        let want: BTreeMap<String, u64> = errors.iter().map(|&(kind, n)| (kind.to_owned(), n)).collect();
        assert_eq!(report.errors, want, "{mischief:?}");
        assert!(matches!(report.verdict, Verdict::Failed(_)), "{mischief:?}");
    }
    let closed = echoes(Mischief::Close, LINE);
    assert_eq!(closed.errors["closed by the server with 1008"], 1);
}

#[test]
fn each_fault_of_a_room_is_told_by_its_kind() {
    let table = [(Mischief::Lose, "lost"), (Mischief::Double, "doubled"), (Mischief::Swap, "swapped")];
    for (mischief, kind) in table {
        let origin = synthetic::start(mischief).expect("a free port");
        let line = "fanout --subscribers 4 --seconds 0.3 --warmup 0 --drain 0.5 --rate 100";
        let report = measure(&origin, line);
        assert_eq!(report.errors, BTreeMap::from([(kind.to_owned(), 1)]), "{mischief:?}");
    }
}

#[test]
fn a_room_and_its_bystander_are_measured_side_by_side() {
    let origin = synthetic::start(Mischief::None).expect("a free port");
    let line =
        "fanout --subscribers 5 --publishers 2 --window 3 --text --seconds 0.3 --warmup 0.1 --bystander";
    let report = measure(&origin, line);
    assert_eq!(report.errors, BTreeMap::new());
    assert_eq!(report.connections, 6);
    let deliveries_each = report.rate_achieved() * report.usage.seconds;
    assert!((deliveries_each * 5.0 - report.count as f64).abs() < 0.5);
    let echo = report.bystander.as_ref().expect("asked for").count();
    assert!((25..=31).contains(&echo), "{echo} echoes in 0.3 s at 100 a second");
}

#[test]
fn publishers_may_stand_outside_the_room() {
    let origin = synthetic::start(Mischief::None).expect("a free port");
    let report = measure(&origin, "fanout --subscribers 2 --publishers 3 --seconds 0.2 --warmup 0");
    assert_eq!((report.errors.len(), report.connections), (0, 5));
    assert!(report.count > 0 && report.latency.count().is_multiple_of(2), "{}", report.count);
}

#[test]
fn handshakes_and_visits_are_counted_until_there_are_enough() {
    let origin = synthetic::start(Mischief::None).expect("a free port");
    for line in [
        "connect --connections 40 --concurrency 4 --warmup 0.1",
        "churn --connections 40 --concurrency 4 --warmup 0.1",
        "churn --rate 100 --seconds 0.5 --warmup 0.1",
    ] {
        let report = measure(&origin, line);
        assert_eq!(report.errors, BTreeMap::new(), "{line}");
        assert!((40..=60).contains(&report.count), "{line}: {}", report.count);
        assert_eq!(report.verdict, Verdict::Ok, "{line}");
    }
    let crowded = measure(&origin, "churn --rate 50000 --concurrency 2 --seconds 0.2 --warmup 0");
    let waited = crowded.latency.count();
    assert!((9_000..=10_001).contains(&waited), "{waited}: who never found room has waited too");
    assert!(p(&crowded, 50.0) > 40.0, "{} ms", p(&crowded, 50.0));
    let wrong = synthetic::start_echo(Mischief::Alter).expect("a free port");
    let report = measure(&wrong, "churn --connections 20 --concurrency 2 --warmup 0");
    assert_eq!(report.errors["altered"], 1);
}

#[test]
fn a_saturated_load_is_refused() {
    let line = "echo --connections 4 --rate 2000000 --seconds 0.2 --warmup 0 --drain 0.2 --late-max 0.01";
    let report = echoes(Mischief::None, line);
    assert!(matches!(report.verdict, Verdict::Refused(_)), "{}", report.verdict);
    assert!(report.as_json()["verdict"].as_str().is_some_and(|words| words.starts_with("refused: ")));
    assert!(report.late.count > report.late.planned / 2, "{:?}", report.late);
}

#[test]
fn what_is_refused_and_what_is_failed() {
    let Command::Echo(options) = Command::parse_from(["loadtest", "echo"]) else { unreachable!() };
    let verdict = |kind, used, waited, late, errors: &[(&str, u64)]| {
        let errors = errors.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect();
        let late = Late { planned: 1_000, count: late, ..Late::default() };
        let load = CpuShare { used, waited: Some(waited) };
        let evidence = Evidence { count: 10, kind, late, load, errors: &errors };
        let words = Verdict::new(&evidence, &options.common.limits).to_string();
        words.split(':').next().unwrap_or_default().to_owned()
    };
    use Kind::{Planned, Service};
    assert_eq!(verdict(Planned, 0.5, 0.01, 10, &[]), "ok");
    assert_eq!(verdict(Planned, 0.98, 0.01, 0, &[]), "refused");
    assert_eq!(verdict(Service, 1.0, 0.0, 0, &[]), "ok");
    assert_eq!(verdict(Planned, 0.5, 0.01, 11, &[]), "refused");
    assert_eq!(verdict(Service, 0.5, 0.06, 0, &[]), "refused");
    assert_eq!(verdict(Planned, 0.98, 0.0, 0, &[("lost", 1)]), "refused");
    assert_eq!(verdict(Planned, 0.5, 0.0, 0, &[("lost", 1)]), "failed");
    assert_eq!(verdict(Planned, 0.98, 0.0, 0, &[("lost", 1), ("altered", 1)]), "failed");
}

#[test]
fn the_frame_of_a_result_has_every_field() {
    let report = echoes(Mischief::None, "echo --connections 2 --rate 100 --seconds 0.2 --warmup 0 --size 40");
    let frame = report.as_json();
    let fields = [
        "mode",
        "url",
        "options",
        "seconds",
        "warmup_seconds",
        "connections",
        "count",
        "rate_asked",
        "rate_achieved",
        "latency_ms",
        "histogram",
        "late",
        "load",
        "server",
        "bystander",
        "own_ms",
        "errors",
        "verdict",
    ];
    let object = frame.as_object().expect("an object");
    assert_eq!(object.len(), fields.len());
    assert!(fields.iter().all(|field| object.contains_key(*field)), "{frame:#}");
    assert_eq!(
        (&frame["mode"], &frame["options"]["size"], &frame["rate_asked"]),
        (&json!("echo"), &json!(40), &json!(100.0))
    );
    for field in ["p50", "p90", "p99", "p99.9", "max"] {
        assert!(frame["latency_ms"][field].is_f64(), "{field}");
    }
    assert!(frame["server"]["cpu_us_per_count"].is_f64() && frame["server"]["resident_bytes"].is_u64());
    let counted: u64 =
        frame["histogram"].as_array().expect("steps").iter().filter_map(|step| step[1].as_u64()).sum();
    assert_eq!(counted, 20);
}
