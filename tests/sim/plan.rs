//! What a run is made of: a seed, and numbered steps that each draw for themselves, so that one can be left out
//! without any other becoming another.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub number: u64,
    /// The network is kind in this step.
    pub is_calm: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub steps: Vec<Step>,
}

impl Plan {
    /// The whole run of a seed.
    pub fn whole(seed: u64, len: u64) -> Self {
        let steps = (0..len).map(|number| Step { number, is_calm: false }).collect();
        Self { seed, steps }
    }

    pub fn seed_of(&self, step: Step) -> u64 {
        fastrand::Rng::with_seed(self.seed ^ step.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).u64(..)
    }

    /// The smallest run that still fails as far as leaving out halves, quarters and so on leads: first steps, then
    /// whatever the network does in those that remain.
    pub fn shrink(mut self, tries: usize, fails: impl Fn(&Plan) -> bool) -> Self {
        let mut left = tries;
        for is_removal in [true, false, true] {
            let mut len = self.steps.len().div_ceil(2).max(1);
            loop {
                let mut at = 0;
                while at < self.steps.len() && left > 0 {
                    let end = (at + len).min(self.steps.len());
                    let mut fewer = self.clone();
                    if is_removal {
                        fewer.steps.drain(at..end);
                    } else {
                        fewer.steps[at..end].iter_mut().for_each(|step| step.is_calm = true);
                    }
                    if fewer != self {
                        left -= 1;
                        if fails(&fewer) {
                            self = fewer;
                            if is_removal {
                                continue;
                            }
                        }
                    }
                    at = end;
                }
                if len == 1 || left == 0 {
                    break;
                }
                len = len.div_ceil(2);
            }
        }
        self
    }
}

/// `3,17,44~`: the steps that are left, those with a `~` on a kind network.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let (comma, calm) = (if i > 0 { "," } else { "" }, if step.is_calm { "~" } else { "" });
            write!(f, "{comma}{}{calm}", step.number)?;
        }
        Ok(())
    }
}

impl FromStr for Step {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.trim_end_matches('~');
        Ok(Self { number: number.parse()?, is_calm: number.len() < text.len() })
    }
}

#[test]
fn a_run_shrinks_to_the_steps_that_it_takes() {
    let fails = |plan: &Plan| {
        let has = |number| plan.steps.iter().find(|step| step.number == number);
        has(17).is_some_and(|step| !step.is_calm) && has(80).is_some()
    };
    let smallest = Plan::whole(1, 100).shrink(1000, fails);
    assert_eq!(smallest.to_string(), "17,80~");
    let steps: Vec<Step> = smallest.to_string().split(',').map(|step| step.parse().unwrap()).collect();
    assert_eq!(steps, smallest.steps);
}
