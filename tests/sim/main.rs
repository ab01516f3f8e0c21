//! The whole server but its sockets, on a bad network, against a naive model; everything is drawn from one seed.
//!
//! `cargo test --test sim` runs fresh seeds and the kept ones of `seeds.txt`. A run that fails is shrunk, and printed
//! with the line that replays it: `SEED=7 cargo test --test sim`, or with `STEPS=3,17~` only these of its steps, those
//! with a `~` on a kind network. `RUNS=5000` runs more, and `KEEP=1` notes a failing seed in `seeds.txt`.
//!
//! `tests/model` is about what rooms remember and who is in them, on a network that does no harm; this is about
//! connections, and that nothing is lost, doubled or left over, whatever the network does.
#![forbid(unsafe_code)]

mod act;
mod client;
mod door;
#[cfg(feature = "planted-faults")]
mod faults;
mod model;
mod net;
mod plan;
mod porter;
mod sim;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use plan::Plan;
use sim::Sim;

/// Steps of one run, and fresh runs.
const STEPS: u64 = 120;
const RUNS: u64 = 500;

thread_local! {
    /// What the last panic of this thread said, while runs are made whose panics are expected.
    static LAST_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How a run failed, and what it had done.
struct Failure {
    words: String,
    trail: Vec<String>,
}

/// Keeps panics quiet that are caught and told later.
fn hush() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info| {
            let is_quiet = LAST_WORDS.with_borrow_mut(|words| match words {
                Some(words) => {
                    *words = info.to_string();
                    true
                }
                None => false,
            });
            if !is_quiet {
                loud(info);
            }
        }));
    });
}

/// One run: what happened how often, or how it failed.
fn run(plan: &Plan) -> Result<BTreeMap<&'static str, u64>, Failure> {
    hush();
    let mut sim = Sim::new(plan.seed);
    LAST_WORDS.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(|| sim.run(plan)));
    let words = LAST_WORDS.take().unwrap_or_default();
    match outcome {
        Ok(()) => Ok(sim.counts),
        Err(_) => {
            let trail = sim.trail().to_vec();
            // What is left of it may not hold together any more.
            std::mem::forget(sim);
            Err(Failure { words, trail })
        }
    }
}

/// Shrinks a failing run as long as it fails at the same place, and says everything about it.
fn tell(seed: u64, failure: &Failure) -> String {
    let place = |failure: &Failure| failure.words.lines().next().map(str::to_owned);
    let reached = failure.trail.iter().rev().find_map(|line| line.strip_prefix("step ")?.parse::<u64>().ok());
    let is_at_the_end = failure.trail.iter().any(|line| line.ends_with("the end"));
    let plan = Plan::whole(seed, reached.filter(|_| !is_at_the_end).map_or(STEPS, |step| step + 1));
    let smallest = plan.shrink(1500, |plan| run(plan).err().is_some_and(|it| place(&it) == place(failure)));
    let Err(failure) = run(&smallest) else {
        return format!("SEED={seed} fails, but not every time");
    };
    let trail = failure.trail.join("\n");
    format!(
        "{trail}\n{}\nSEED={seed} cargo test --test sim\nSEED={seed} STEPS={smallest} cargo test --test sim\n",
        failure.words
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

/// The seeds of `seeds.txt`: one a line, and why it is kept.
fn kept_seeds() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').next().unwrap().parse().expect("a seed")).collect()
}

fn keep(seed: u64) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sim/seeds.txt");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    writeln!(file, "{seed} failed, and nobody has said why yet").unwrap();
}

#[test]
fn nothing_is_lost_doubled_or_left_over_whatever_the_network_does() {
    if let Some(seed) = number("SEED") {
        let mut plan = Plan::whole(seed, STEPS);
        if let Ok(steps) = std::env::var("STEPS") {
            plan.steps = steps.split(',').map(|step| step.parse().expect("a step")).collect();
        }
        match run(&plan) {
            Ok(_) => return,
            Err(failure) if std::env::var("STEPS").is_ok() => {
                panic!("{}\n{}", failure.trail.join("\n"), failure.words);
            }
            Err(failure) => panic!("{}", tell(seed, &failure)),
        }
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let fresh = (0..number("RUNS").unwrap_or(RUNS)).map(|i| clock.wrapping_add(i) % 1_000_000_000_000);
    let (mut failed, mut counts) = (Vec::new(), BTreeMap::new());
    for seed in kept_seeds().into_iter().chain(fresh) {
        match run(&Plan::whole(seed, STEPS)) {
            Ok(happened) => {
                happened.into_iter().for_each(|(what, often)| *counts.entry(what).or_insert(0) += often)
            }
            Err(failure) => {
                println!("SEED={seed} cargo test --test sim: {}", failure.words);
                failed.push((seed, failure));
                if number("KEEP") == Some(1) {
                    keep(seed);
                }
            }
        }
        if failed.len() == 10 {
            break;
        }
    }
    println!("{counts:?}");
    if let Some((seed, failure)) = failed.first() {
        panic!("{}{} seeds failed", tell(*seed, failure), failed.len());
    }
    for what in HAPPENS {
        assert!(counts.contains_key(what) || number("RUNS").is_some(), "{what} never happened: {counts:?}");
    }
}

/// What 500 runs must have seen, or they see less than they should.
const HAPPENS: [&str; 11] = [
    "expired",
    "compressed",
    "joined",
    "resumed",
    "not resumed",
    "skipped",
    "turned away",
    "closed by the peer",
    "closed by the server",
    "closed 1013",
    "lost",
];

#[test]
fn a_run_is_the_same_each_time() {
    for seed in 0..5 {
        let trail = || {
            let mut sim = Sim::new(seed);
            sim.run(&Plan::whole(seed, STEPS));
            (sim.trail().to_vec(), sim.counts.clone(), sim.metrics.all())
        };
        assert_eq!(trail(), trail(), "seed {seed}");
    }
}
