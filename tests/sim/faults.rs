//! Faults planted in the server one at a time: the simulator finds each, and finds nothing where there is none.
//!
//! It does not find what is only unfair, such as publishers released in the reverse order: each of them is heard in the
//! end, since its clients do not publish forever. `tests/engine/rooms.rs` looks at that.

use fanline::planted::{Fault, plant};

use crate::nodes::Fleet;
use crate::plan::Plan;
use crate::runner::{World, run};
use crate::sim::Sim;

/// In so many runs each is found.
const RUNS: u64 = 200;

/// The first of the runs that fails, and how.
fn first_found<W: World>(fault: Option<Fault>) -> Option<(u64, String)> {
    plant(fault);
    let found = (1..=RUNS).find_map(|seed| Some((seed, run::<W>(&Plan::whole(seed, W::STEPS)).err()?.words)));
    plant(None);
    found
}

fn find_all<W: World>(faults: &[Fault]) {
    assert!(faults.len() >= 10);
    let mut missed = Vec::new();
    for fault in faults {
        match first_found::<W>(Some(*fault)) {
            Some((seed, words)) => {
                let words = words.lines().nth(1).unwrap_or_default();
                println!("{fault:?} is found in run {seed}: {words:.100}");
            }
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found in {RUNS} runs: {missed:?}");
}

#[test]
fn each_planted_fault_is_found_within_two_hundred_runs() {
    find_all::<Sim>(Fault::OF_ONE_NODE);
}

#[test]
fn each_planted_fault_that_takes_several_nodes_is_found_within_two_hundred_runs() {
    find_all::<Fleet>(Fault::OF_SEVERAL_NODES);
}

#[test]
fn without_a_fault_the_same_runs_pass() {
    assert_eq!(first_found::<Sim>(None), None);
    assert_eq!(first_found::<Fleet>(None), None);
}
