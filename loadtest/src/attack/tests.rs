//! Every attack in small, on our own server in this process, and on one that loses messages.

use super::ground::Ground;
use super::report::Round;
use super::round::{Attack, Outcome, play};
use super::soak::round_at;
use super::stall::Policy;
use super::{bomb, crowd, flood, gauge, herd, slowloris, soak, stall};
use crate::modes::verdict::Verdict;
use crate::synthetic::{self, Mischief};
use clap::Parser;
use fanline::app::App;
use fanline::settings::Settings;
use fanline::{Builder, Server};
use serde_json::Value;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

/// Bystanders who are few, and whose latencies in a debug build on a busy machine say nothing.
const SMALL: &str = "--bystanders 4 --bystander-rate 40 --quiet 0.3 --p99-floor 60000";

#[derive(Parser)]
enum Command {
    Bomb(bomb::Options),
    Flood(flood::Options),
    Herd(herd::Options),
    Slowloris(slowloris::Options),
    Soak(soak::Options),
    Stall(stall::Options),
}

/// Our server with this configuration, to run until the test process ends.
fn serve(configuration: &str) -> Ground {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    file.write_all(configuration.as_bytes()).expect("written");
    let settings = match Settings::from_file(file.path(), &|_| None) {
        Ok(settings) => settings,
        Err(_) => panic!("a configuration with mistakes:\n{configuration}"),
    };
    let (told, origin) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let builder: Builder = Server::builder().listen("127.0.0.1:0").expect("a free port");
        let server = builder
            .limits(settings.limits.clone())
            .deflate(settings.deflate)
            .bind(App::new(settings.routes.clone()))
            .expect("bound");
        let address = server.local_addrs()[0];
        told.send(format!("ws://{address}")).expect("somebody waits");
        server.run().expect("served");
    });
    Ground::at(&origin.recv().expect("an address"), None).expect("an address")
}

fn attack(line: &str) -> Round {
    let words = ["loadtest"].into_iter().chain(line.split(' ')).chain(SMALL.split(' '));
    let round = match Command::parse_from(words) {
        Command::Bomb(options) => bomb::round(&options, &serve(bomb::CONFIGURATION)),
        Command::Flood(options) => flood::round(&options, &serve(flood::CONFIGURATION)),
        Command::Herd(options) => herd::round(&options, &serve(herd::CONFIGURATION)),
        Command::Slowloris(options) => slowloris::round(&options, &serve(slowloris::CONFIGURATION)),
        Command::Soak(options) => round_at(&options, &serve(soak::CONFIGURATION), 7),
        Command::Stall(options) => {
            let policy = options.policies[0];
            stall::round(&options, &serve(stall::CONFIGURATION), policy)
        }
    };
    round.expect("an attack")
}

fn fact(round: &Round, name: &str) -> Value {
    let found = round.outcome.facts.iter().find(|(fact, _)| fact == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", round.outcome.facts)).1.clone()
}

#[test]
fn row_2_of_part_2_a_stalled_member_is_told_in_the_way_of_each_policy() {
    const LINE: &str = "stall --members 8 --stalled 2 --rate 300 --seconds 0.8 --policies";
    let signs = [
        (Policy::Close, "closed with 1013"),
        (Policy::Skip, "told how many they missed"),
        (Policy::Latest, "went on with the newest"),
    ];
    for (policy, sign) in signs {
        let round = attack(&format!("{LINE} {}", policy.name()));
        assert_eq!(round.verdict, Verdict::Ok, "{}", round.print());
        assert_eq!(fact(&round, sign), 2);
    }
}

#[test]
fn a_stall_that_never_reached_the_limit_is_no_success() {
    let round = attack("stall --members 2 --rate 5 --seconds 0.1 --policies close");
    assert!(matches!(&round.verdict, Verdict::Failed(why) if why.contains("0 of 1 were closed")));
}

#[test]
fn row_5_of_part_2_a_herd_that_comes_back_is_served() {
    let round = attack("herd --connections 200");
    assert_eq!(round.verdict, Verdict::Ok, "{}", round.print());
    assert_eq!(fact(&round, "served again"), 200);
}

#[test]
fn a_herd_that_is_not_served_in_time_is_told() {
    let round = attack("herd --connections 100 --within 0.000001");
    assert!(matches!(&round.verdict, Verdict::Failed(why) if why.contains("of 100 were served again")));
}

#[test]
fn row_18_of_part_2_whoever_is_slow_is_ended_at_the_deadline() {
    let round = attack("slowloris --connections 4 --every 200 --deadline 2");
    assert_eq!(round.verdict, Verdict::Ok, "{}", round.print());
}

#[test]
fn whoever_outlives_the_deadline_is_told_by_kind() {
    let round = attack("slowloris --connections 1 --every 200 --deadline 0.01");
    let Verdict::Failed(why) = &round.verdict else { panic!("{}", round.verdict) };
    assert!(why.contains("1 of 1 that send nothing were still there"), "{why}");
}

#[test]
fn row_16_of_part_2_bombs_are_closed_with_1009_and_what_is_allowed_comes() {
    let round = attack("bomb --connections 2 --inflated 8 --message-bytes-max 1048576 --seconds 1.5");
    assert_eq!(round.verdict, Verdict::Ok, "{}", round.print());
    let told = fact(&round, "bombs in fragments: closed by the server with 1009");
    assert!(told.as_u64() >= Some(2), "{told}");
}

#[test]
fn a_flood_of_every_kind_is_a_phase_of_its_own_and_takes_nothing_from_others() {
    let round = attack("flood --connections 2 --seconds 0.3");
    assert_eq!(round.verdict, Verdict::Ok, "{}", round.print());
    let phases: Vec<&str> = round.heard.phases.iter().map(|phase| phase.name).collect();
    let kinds = ["before", "pings", "messages", "fragments", "requests", "room", "churn", "after"];
    assert_eq!(phases, kinds);
    let printed = round.print();
    assert!(printed.contains("what the server holds is not known (--pid)"), "{printed}");
    assert_eq!(round.as_json()["verdict"], "ok");
}

#[test]
fn a_soak_counts_every_message_of_who_is_cut_and_resumes() {
    let round = attack("soak --minutes 0.05 --rate 200 --resumers 4 --faults 30");
    assert_eq!(round.verdict, Verdict::Ok, "{}", round.print());
    let published = fact(&round, "published").as_u64().expect("a count");
    assert_eq!(fact(&round, "messages to who resumes"), published * 4);
    assert!(published > 20 && fact(&round, "resumed").as_u64() > Some(2), "{}", round.print());
    assert_eq!(fact(&round, "seed"), "7");
}

/// An attack that does nothing.
struct Idle;

impl Attack for Idle {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn growth_max(&self) -> u64 {
        u64::MAX
    }

    fn strike(&mut self, _: &Ground, _: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        thread::sleep(Duration::from_millis(400));
        Ok(())
    }

    fn finish(&mut self, _: &crowd::Heard, _: &gauge::Course) -> Result<Outcome, String> {
        Ok(Outcome::default())
    }
}

#[test]
fn a_server_that_loses_doubles_or_closes_fails_by_its_bystanders() {
    let table = [
        (Mischief::Lose, "bystanders: 1 lost"),
        (Mischief::Double, "bystanders: 1 doubled"),
        (Mischief::Close, "closed by the server with 1008"),
    ];
    for (mischief, words) in table {
        let origin = synthetic::start(mischief).expect("a free port");
        let line = ["loadtest", "flood"].into_iter().chain(SMALL.split(' '));
        let Command::Flood(options) = Command::parse_from(line) else { panic!("a flood") };
        let ground = Ground::at(&origin, None).expect("an address");
        let plan = crowd::Plan { room_rate: 40.0, ..ground.crowd(&options.common) };
        let round = play(&options.common, &ground, plan, &mut Idle).expect("played");
        assert!(matches!(&round.verdict, Verdict::Failed(why) if why.contains(words)), "{}", round.verdict);
    }
}
