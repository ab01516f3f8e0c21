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
mod inbox;
mod model;
mod net;
mod plan;
mod porter;
mod runner;
mod sim;

use sim::Sim;

#[test]
fn nothing_is_lost_doubled_or_left_over_whatever_the_network_does() {
    runner::check::<Sim>(500);
}

#[test]
fn a_run_is_the_same_each_time() {
    runner::check_replay(|sim: &Sim| sim.metrics.all());
}
