//! Rooms against a naive model: random clients, random networks, one seed.
//!
//! `SEED=7 cargo test --test model` replays one run, `STEPS=100000` makes it longer.
#![forbid(unsafe_code)]

mod client;
mod hall;
mod model;
#[path = "../engine/pipe.rs"]
#[allow(dead_code, reason = "what the tests of the engine need besides")]
mod pipe;
mod sim;
mod steps;
#[path = "../engine/world.rs"]
#[allow(dead_code, reason = "what the tests of the engine need besides")]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

fn run(seed: u64) {
    let steps = number("STEPS").unwrap_or(10_000);
    let mut sim = sim::Sim::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            sim.step();
        }
        sim.finish();
    }));
    if let Err(panic) = outcome {
        println!("the last steps: {:#?}", sim.trail());
        println!("replay with SEED={seed}; it failed at step {}", sim.at());
        resume_unwind(panic);
    }
    sim.assert_everything_happened(steps);
}

#[test]
fn ten_thousand_random_steps_make_no_difference_to_the_model() {
    match number("SEED") {
        Some(seed) => run(seed),
        None => (1..=4).for_each(run),
    }
}
