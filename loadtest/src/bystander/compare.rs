//! The sliced walk beside the whole-pass walk, in turns, so that a change of the machine's mood meets both.

use super::run::{self, Numbers};
use super::{Load, Server, print};
use crate::measure::{Cores, Latency, latency_table};
use serde_json::json;
use std::error::Error;
use std::time::Duration;

/// The slices must bring the bystander's p99 down to this share of what the whole pass gives.
const RATIO_MAX: f64 = 0.1;

/// The two walks, by the name they have in the tables and the arguments they are started with.
const WALKS: [(&str, &[&str]); 2] = [("sliced", &[]), ("whole pass", &["--walk-slice", "0"])];

/// The rounds of one walk.
#[derive(Default)]
struct Rounds(Vec<Numbers>);

impl Rounds {
    /// The lowest p99 of the quiet rounds: other work on the machine can only add to it.
    fn p99(&self) -> Duration {
        self.quiet().iter().map(|numbers| numbers.echo.percentile(99.0)).min().unwrap_or(Duration::MAX)
    }

    /// The rounds in which nothing else held the cores, or all where there are none.
    fn quiet(&self) -> Vec<&Numbers> {
        let quiet: Vec<&Numbers> = self.0.iter().filter(|numbers| !numbers.is_disturbed()).collect();
        if quiet.is_empty() { self.0.iter().collect() } else { quiet }
    }

    fn undisturbed(&self) -> usize {
        self.0.iter().filter(|numbers| !numbers.is_disturbed()).count()
    }

    fn sum(&self, which: impl Fn(&Numbers) -> &Latency) -> Latency {
        let mut sum = Latency::new();
        self.quiet().into_iter().for_each(|numbers| sum.add(which(numbers)));
        sum
    }

    fn as_json(&self) -> serde_json::Value {
        self.0.iter().map(Numbers::as_json).collect()
    }
}

/// Measures both until each has `rounds` undisturbed rounds, or twice as many in all, and tells whether everything came and the
/// slices keep their promise.
///
/// # Errors
/// When a server cannot be measured, or the promise seems broken in rounds of which none was undisturbed.
pub(super) fn run(
    load: &Load,
    rounds: usize,
    cores: Option<Cores>,
) -> Result<(serde_json::Value, bool), Box<dyn Error>> {
    let rounds = rounds.max(1);
    let mut both = [Rounds::default(), Rounds::default()];
    for round in 1..=2 * rounds {
        if both.iter().all(|walk| walk.undisturbed() >= rounds) {
            break;
        }
        for ((name, arguments), walk) in WALKS.iter().zip(&mut both) {
            let server = Server::launch(arguments, cores)?;
            let numbers = run::measure(&server, load)?;
            println!("\nround {round}, {name}:{}", print::numbers(&numbers));
            walk.0.push(numbers);
        }
    }
    judge(&both)
}

fn judge(both: &[Rounds; 2]) -> Result<(serde_json::Value, bool), Box<dyn Error>> {
    let [sliced, whole] = both;
    let ratio = sliced.p99().as_secs_f64() / whole.p99().as_secs_f64();
    let kept = ratio <= RATIO_MAX;
    println!("{}", closing(sliced, whole, ratio, kept));
    if !kept && both.iter().any(|walk| walk.undisturbed() == 0) {
        return Err("no verdict: other work held the cores in every round".into());
    }
    let right = both.iter().flat_map(|walk| &walk.0).all(Numbers::is_right);
    let [sliced, whole] = [sliced.as_json(), whole.as_json()];
    let numbers =
        json!({ "sliced": sliced, "whole_pass": whole, "p99_ratio": ratio, "p99_ratio_max": RATIO_MAX });
    Ok((numbers, right && kept))
}

fn closing(sliced: &Rounds, whole: &Rounds, ratio: f64, kept: bool) -> String {
    let echo = [sliced.sum(|numbers| &numbers.echo), whole.sum(|numbers| &numbers.echo)];
    let fan_out = [sliced.sum(|numbers| &numbers.fan_out), whole.sum(|numbers| &numbers.fan_out)];
    let rows = [
        ("echo, sliced", &echo[0]),
        ("echo, whole pass", &echo[1]),
        ("fan-out, sliced", &fan_out[0]),
        ("fan-out, whole pass", &fan_out[1]),
    ];
    let each: Vec<String> =
        sliced.0.iter().zip(&whole.0).map(|(sliced, whole)| percentiles(sliced, whole)).collect();
    format!(
        "\n{} sliced and {} whole-pass rounds of {} together, without the disturbed ones if there are others:\n{}\np99 of the echo by round, sliced / whole pass: {}\n\
         lowest to lowest (other work on the machine only adds): {ratio:.4}, which must be at most {RATIO_MAX}: {}",
        sliced.quiet().len(),
        whole.quiet().len(),
        sliced.0.len(),
        latency_table(&rows),
        each.join(", "),
        if kept { "kept" } else { "not kept" }
    )
}

fn percentiles(sliced: &Numbers, whole: &Numbers) -> String {
    let milliseconds = |numbers: &Numbers| numbers.echo.percentile(99.0).as_secs_f64() * 1e3;
    format!("{:.3} / {:.3} ms", milliseconds(sliced), milliseconds(whole))
}
