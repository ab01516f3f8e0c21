//! The whole server but its sockets, on a bad network, against a naive model; everything is drawn from one seed.
//!
//! `cargo test --test sim` runs fresh seeds and the kept ones of `seeds.txt`. A run that fails is shrunk, and printed
//! with the line that replays it: `SEED=7 cargo test --test sim NAME`, or with `STEPS=3,17~` only these of its steps, those
//! with a `~` on a kind network. `RUNS=5000` runs more, and `KEEP=1` notes a failing seed in `seeds.txt`.
//!
//! Three nodes on a simulated Redis, each of them such a server, are in `nodes`.
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
mod nodes;
mod plan;
mod porter;
mod runner;
mod sim;

use nodes::Fleet;
use sim::Sim;

#[test]
fn nothing_is_lost_doubled_or_left_over_whatever_the_network_does() {
    runner::check::<Sim>(500);
}

#[test]
fn three_nodes_give_all_their_members_one_order_whatever_becomes_of_redis() {
    runner::check::<Fleet>(150);
}

#[test]
fn a_run_is_the_same_each_time() {
    runner::check_replay(|sim: &Sim| sim.metrics.all());
    runner::check_replay(|fleet: &Fleet| fleet.metrics());
}
