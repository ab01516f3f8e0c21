//! One attack from its quiet beginning to its quiet end.

use super::Common;
use super::crowd::{Crowd, Heard, Plan};
use super::gauge::{Course, Gauge};
use super::ground::Ground;
use super::judge::Evidence;
use super::report::Round;
use crate::measure::{Holdings, yield_to_others};
use crate::reactor::{Swarm, Workload};
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

/// What the attack left under way still counts as the attack.
const SETTLE: Duration = Duration::from_millis(300);

/// How long a server may take to let go of what the attack has left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of the phase before the attack, and of that after it.
pub(crate) const QUIET: [&str; 2] = ["before", "after"];

/// What an attack found out by itself.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What there is to know, by name.
    pub(crate) facts: Vec<(String, Value)>,
    /// What was wrong.
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    /// Notes a fact.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.facts.push((name.into(), value.into()));
    }
}

/// An attack on a server.
pub(crate) trait Attack {
    /// What the phase of the attack is called in tables.
    fn name(&self) -> &'static str;

    /// Bytes by which the server's memory may grow, and may stay grown.
    fn growth_max(&self) -> u64;

    /// Whether newcomers may be refused meanwhile.
    fn may_turn_away(&self) -> bool {
        false
    }

    /// Whether it takes all the processor time that it gets, so that the bystanders have to go first.
    fn is_busy(&self) -> bool {
        false
    }

    /// What has to be there before, so that it is in the first reading.
    ///
    /// # Errors
    /// When it is not to be had.
    fn prepare(&mut self, _ground: &Ground) -> Result<(), String> {
        Ok(())
    }

    /// Attacks, and tidies up. `enter` begins a further phase by its name.
    ///
    /// # Errors
    /// In words, when the attack cannot go on.
    fn strike(&mut self, ground: &Ground, enter: &mut dyn FnMut(&'static str)) -> Result<(), String>;

    /// Keeps what it still has alive until then.
    ///
    /// # Errors
    /// When the poller fails.
    fn rest(&mut self, until: Instant) -> Result<(), String> {
        thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Tells what it found, when the bystanders have told what they heard.
    ///
    /// # Errors
    /// When the poller fails.
    fn finish(&mut self, heard: &Heard, course: &Course) -> Result<Outcome, String>;
}

/// Plays one attack with its bystanders, and judges.
///
/// # Errors
/// In words, when the bystanders cannot connect or the attack not begin.
pub(crate) fn play(
    common: &Common,
    ground: &Ground,
    plan: Plan,
    attack: &mut impl Attack,
) -> Result<Round, String> {
    let crowd = Crowd::gather(plan, QUIET[0], ground.pid)?;
    if attack.is_busy() {
        yield_to_others()?;
    }
    attack.prepare(ground)?;
    attack.rest(Instant::now() + Duration::from_secs_f64(common.quiet))?;
    let before = ground.holdings();
    let gauge = ground.pid.map(Gauge::start);
    crowd.enter(attack.name());
    let struck = attack.strike(ground, &mut |phase| crowd.enter(phase));
    attack.rest(Instant::now() + SETTLE)?;
    let course = gauge.map(Gauge::stop).unwrap_or_default();
    crowd.enter(QUIET[1]);
    attack.rest(Instant::now() + Duration::from_secs_f64(common.quiet))?;
    let after = before.and_then(|before| settled(ground, before, attack));
    let heard = crowd.disperse()?;
    let mut outcome = attack.finish(&heard, &course)?;
    if let Err(why) = struck {
        outcome.faults.insert(0, format!("the attack could not go on: {why}"));
    }
    let own = common.bounds.memory_max.map(|mebibytes| (mebibytes * f64::from(1 << 20)) as u64);
    let growth_max = own.unwrap_or_else(|| attack.growth_max());
    let peak = before.map(|_| course.peak);
    let verdict = common.bounds.judge(&Evidence {
        phases: &heard.phases,
        errors: &heard.errors,
        before,
        peak,
        after,
        growth_max,
        may_turn_away: attack.may_turn_away(),
        waited: heard.usage.load.waited.unwrap_or(0.0),
        faults: &outcome.faults,
    });
    Ok(Round { name: attack.name(), heard, before, peak, after, growth_max, outcome, verdict })
}

/// What the server holds once it has let go of what the attack left, or when our patience is over.
fn settled(ground: &Ground, before: Holdings, attack: &mut impl Attack) -> Option<Holdings> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = ground.holdings()?;
        let is_as_before = now.descriptors <= before.descriptors && now.close_wait <= before.close_wait;
        if is_as_before || Instant::now() > end {
            return Some(now);
        }
        attack.rest(Instant::now() + Duration::from_millis(100)).ok()?;
    }
}

/// Lets a swarm live until then.
///
/// # Errors
/// When the poller fails.
pub(crate) fn turn_until(
    swarm: &mut Swarm,
    workload: &mut impl Workload,
    until: Instant,
) -> Result<(), String> {
    while Instant::now() < until {
        swarm.turn_until(until, workload).map_err(|error| error.to_string())?;
    }
    Ok(())
}
