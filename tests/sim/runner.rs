//! Runs of a world: fresh seeds and kept ones, and of one that fails what it takes to fail, and how to see it again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::plan::Plan;

/// How often what happened in a run.
pub type Counts = BTreeMap<&'static str, u64>;

/// What a plan is carried out in.
pub trait World {
    /// What the test is called, as far as it takes to run that one alone.
    const TEST: &'static str;
    /// Steps of one run.
    const STEPS: u64;
    /// The seeds that are kept, and the file in this folder that has them.
    const KEPT: (&'static str, &'static str);
    /// What the runs of one test must have seen, or they see less than they should.
    const HAPPENS: &'static [&'static str];

    fn new(seed: u64) -> Self;
    /// The whole run; it panics where something is not as it must be.
    fn run(&mut self, plan: &Plan);
    /// What was done, and in which steps.
    fn trail(&self) -> &[String];
    fn counts(&self) -> Counts;
}

thread_local! {
    /// What the last panic of this thread said, while runs are made whose panics are expected.
    static LAST_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// How a run failed, and what it had done.
pub struct Failure {
    pub words: String,
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
pub fn run<W: World>(plan: &Plan) -> Result<Counts, Failure> {
    hush();
    let mut world = W::new(plan.seed);
    LAST_WORDS.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(plan)));
    let words = LAST_WORDS.take().unwrap_or_default();
    match outcome {
        Ok(()) => Ok(world.counts()),
        Err(_) => {
            let trail = world.trail().to_vec();
            // What is left of it may not hold together any more.
            std::mem::forget(world);
            Err(Failure { words, trail })
        }
    }
}

/// Shrinks a failing run as long as it fails at the same place, and says everything about it.
fn tell<W: World>(seed: u64, failure: &Failure) -> String {
    let place = |failure: &Failure| failure.words.lines().next().map(str::to_owned);
    let reached = failure.trail.iter().rev().find_map(|line| line.strip_prefix("step ")?.parse::<u64>().ok());
    let is_at_the_end = failure.trail.iter().any(|line| line.ends_with("the end"));
    let plan = Plan::whole(seed, reached.filter(|_| !is_at_the_end).map_or(W::STEPS, |step| step + 1));
    let smallest =
        plan.shrink(1500, |plan| run::<W>(plan).err().is_some_and(|it| place(&it) == place(failure)));
    let Err(failure) = run::<W>(&smallest) else {
        return format!("SEED={seed} fails, but not every time");
    };
    let (trail, words, test) = (failure.trail.join("\n"), failure.words, W::TEST);
    format!(
        "{trail}\n{words}\nSEED={seed} cargo test --test sim {test}\n\
         SEED={seed} STEPS={smallest} cargo test --test sim {test}\n"
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

/// The seeds that are kept: one a line, and why.
fn kept_seeds<W: World>() -> impl Iterator<Item = u64> {
    let lines = W::KEPT.0.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').next().unwrap().parse().expect("a seed"))
}

fn keep<W: World>(seed: u64) {
    let path = format!("{}/tests/sim/{}", env!("CARGO_MANIFEST_DIR"), W::KEPT.1);
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    writeln!(file, "{seed} failed, and nobody has said why yet").unwrap();
}

/// The run that `SEED` and `STEPS` ask for, or so many fresh ones and those that are kept.
pub fn check<W: World>(runs: u64) {
    if let Some(seed) = number("SEED") {
        let mut plan = Plan::whole(seed, W::STEPS);
        if let Ok(steps) = std::env::var("STEPS") {
            plan.steps = steps.split_terminator(',').map(|step| step.parse().expect("a step")).collect();
        }
        match run::<W>(&plan) {
            Ok(_) => return,
            Err(failure) if std::env::var("STEPS").is_ok() => {
                panic!("{}\n{}", failure.trail.join("\n"), failure.words);
            }
            Err(failure) => panic!("{}", tell::<W>(seed, &failure)),
        }
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let fresh = (0..number("RUNS").unwrap_or(runs)).map(|i| clock.wrapping_add(i) % 1_000_000_000_000);
    let (mut failed, mut counts) = (Vec::new(), Counts::new());
    for seed in kept_seeds::<W>().chain(fresh) {
        match run::<W>(&Plan::whole(seed, W::STEPS)) {
            Ok(happened) => {
                happened.into_iter().for_each(|(what, often)| *counts.entry(what).or_insert(0) += often)
            }
            Err(failure) => {
                println!("SEED={seed} cargo test --test sim {}: {}", W::TEST, failure.words);
                failed.push((seed, failure));
                if number("KEEP") == Some(1) {
                    keep::<W>(seed);
                }
            }
        }
        if failed.len() == 10 {
            break;
        }
    }
    println!("{counts:?}");
    if let Some((seed, failure)) = failed.first() {
        panic!("{}{} seeds failed", tell::<W>(*seed, failure), failed.len());
    }
    for what in W::HAPPENS {
        assert!(counts.contains_key(what) || number("RUNS").is_some(), "{what} never happened: {counts:?}");
    }
}

/// Replays some runs, which must be the same each time, in everything that `also` sees.
pub fn check_replay<W: World, T: PartialEq + std::fmt::Debug>(also: impl Fn(&W) -> T) {
    for seed in 0..5 {
        let trail = || {
            let mut world = W::new(seed);
            world.run(&Plan::whole(seed, W::STEPS));
            (world.trail().to_vec(), world.counts(), also(&world))
        };
        assert_eq!(trail(), trail(), "seed {seed}");
    }
}
