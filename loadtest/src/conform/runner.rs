//! Runs cases on a few threads, each case with connections and a deadline of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::case::{Case, Fault, Outcome};
use super::target::Target;

/// A case that has run.
pub(crate) struct Ran<'a> {
    /// Which case.
    pub(crate) case: &'a Case,
    /// What it came to.
    pub(crate) outcome: Outcome,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Runs all cases, `jobs` at a time, and gives the results in the cases' order.
pub(crate) fn run<'a>(cases: &'a [Case], target: &Target, jobs: usize) -> Vec<Ran<'a>> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 64) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The receiver outlives the scope.
                    let _ = sender.send(run_one(case, target));
                }
            });
        }
    });
    drop(sender);
    let mut results: Vec<Ran<'a>> = receiver.into_iter().collect();
    results.sort_by_key(|ran| std::ptr::from_ref(ran.case));
    results
}

fn run_one<'a>(case: &'a Case, target: &Target) -> Ran<'a> {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| case.run(target)))
        .unwrap_or_else(|_| Err(Fault::Failed("the case itself panicked".to_owned())));
    Ran { case, outcome, took: start.elapsed() }
}
