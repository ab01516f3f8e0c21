//! `cargo loadtest soak`: half of what a server can do, for minutes, with random faults all the while.
//!
//! Well-behaved members get every message once and in order, also those whose connection is cut again and again and who
//! resume where they were. Memory and descriptors stay what they were.

mod faults;
mod resumer;
mod speed;

use super::Common;
use super::crowd::{Heard, Plan};
use super::gauge::{Course, slope};
use super::ground::Ground;
use super::report::{Round, deliver};
use super::round::{Attack, Outcome, play};
use crate::measure::raise_open_files;
use crate::modes::positive;
use crate::modes::traffic::Pattern;
use crate::push::http::Room;
use crate::reactor::Swarm;
use clap::Args;
use faults::{Fault, Targets, Troublemakers};
use resumer::Resumers;
use serde::Serialize;
use speed::Speed;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bytes of a publication in the room.
const ROOM_BYTES: usize = 64;

/// Publications a second at most, so that who comes back within seconds finds in the history what was missed.
const ROOM_RATE_MAX: f64 = 200.0;

/// What memory may vary by whatever happens: the room's history, buffers kept for later, what a slow reader leaves.
const GROWTH: u64 = 24 << 20;

/// A line through fewer points says nothing.
const POINTS_MIN: usize = 10;

/// How often there is a line of progress.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// Between two looks at who is to come back, or to go.
const STEP: Duration = Duration::from_millis(5);

/// How long those who resume may take for what is left to them in the end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const CONFIGURATION: &str = r#"
listen = ["127.0.0.1:0"]

[[route]]
path = "/echo"
mode = "echo"

[[route]]
path = "/chat/{room}"
mode = "room"
lag = "skip"
history = { messages = 1000, bytes = "1MiB", age = "5m" }
"#;

/// Minutes at half load, with random faults.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// How long.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(super) minutes: f64,
    /// Echoes a second, and a twentieth of that in publications; without it, half of what the server can do is measured first.
    #[arg(long, value_parser = positive)]
    pub(super) rate: Option<f64>,
    /// Members whose connections are cut again and again, and who resume.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) resumers: u32,
    /// Faults a second.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub(super) faults: f64,
    /// What the faults are drawn from; printed, so that a run can be repeated.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Fails when a line through the memory of the second half rises by more than so many KiB a minute.
    #[arg(long, default_value_t = 1_024.0, value_parser = positive, value_name = "KIB")]
    pub(super) slope_max: f64,
}

/// Attacks.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files((options.resumers + 3 * options.common.bystanders) as usize + faults::MOST)?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let ground = Ground::find(&options.common, CONFIGURATION)?;
    let speed = speed::half(&options, &ground)?;
    println!(
        "{} minutes of {:.0} echoes and {:.0} publications a second, {} members who are cut and resume, {} faults a second. \
         {}. --seed {seed}",
        options.minutes, speed.echoes, speed.publications, options.resumers, options.faults, ground.place
    );
    let round = round(&options, &ground, seed, speed)?;
    println!("{}", round.print());
    deliver(("soak", &options), &options.common, &ground, &[round])
}

/// Everything but printing, with what half of the server's best is, or was said to be.
#[cfg(test)]
pub(super) fn round_at(options: &Options, ground: &Ground, seed: u64) -> Result<Round, String> {
    round(options, ground, seed, speed::half(options, ground)?)
}

fn round(options: &Options, ground: &Ground, seed: u64, speed: Speed) -> Result<Round, String> {
    let room_url = ground.url(&format!("{}/soak", options.common.rooms_path));
    // From this position on everything counts, whoever reads it and how often they are cut.
    let since = Room::at(&room_url)?.begin()?;
    let plan = Plan {
        room_url: room_url.clone(),
        echo_rate: speed.echoes,
        room_rate: speed.publications,
        room_bytes: ROOM_BYTES,
        ..ground.crowd(&options.common)
    };
    let targets = Targets::new(&ground.url(&options.common.echo_path), &room_url)?;
    let mut soak = Soak {
        options,
        seed,
        swarm: Swarm::new().map_err(|error| error.to_string())?,
        members: Resumers::new(&room_url, &since, Pattern::new(ROOM_BYTES), options.resumers as usize)?,
        troublemakers: Swarm::new().map_err(|error| error.to_string())?,
        trouble: Troublemakers::new(targets, fastrand::Rng::with_seed(seed), ground.is_ours()),
    };
    play(&options.common, ground, plan, &mut soak)
}

struct Soak<'a> {
    options: &'a Options,
    seed: u64,
    swarm: Swarm,
    members: Resumers,
    troublemakers: Swarm,
    trouble: Troublemakers,
}

impl Soak<'_> {
    /// Lets everybody go on for a moment.
    fn step(&mut self, due: Instant) -> Result<(), String> {
        let now = Instant::now();
        self.members.come_back(&mut self.swarm, now)?;
        self.trouble.tend(&mut self.troublemakers, now);
        let turned = self.swarm.turn_until(due.min(now + STEP), &mut self.members);
        turned.map_err(|error| error.to_string())?;
        self.troublemakers.turn(Duration::ZERO, &mut self.trouble).map_err(|error| error.to_string())
    }

    fn cause(&mut self, fault: Fault, ground: &Ground) -> Result<(), String> {
        match fault {
            Fault::Resume(cut) => {
                let away = Duration::from_millis(self.trouble.random.u64(0..1_500));
                let unlucky = self.trouble.random.usize(..);
                self.members.cut(&mut self.swarm, unlucky, cut, Instant::now() + away);
            }
            Fault::Hangup => ground.hang_up()?,
            Fault::HalfMessage | Fault::HalfClose | Fault::Stall | Fault::SlowReader => {
                self.trouble.begin(&mut self.troublemakers, fault);
            }
        }
        Ok(())
    }

    fn progress(&self, ground: &Ground, elapsed: Duration) {
        let held = ground.holdings().map_or(String::new(), |held| {
            let kibibytes = held.resident / 1024;
            format!(", {kibibytes} KiB resident, {} descriptors, {} threads", held.descriptors, held.threads)
        });
        println!(
            "{:.0} s: {} faults, {} messages to who resumes{held}",
            elapsed.as_secs_f64(),
            self.trouble.count(),
            self.members.received()
        );
    }
}

impl Attack for Soak<'_> {
    fn name(&self) -> &'static str {
        "soak"
    }

    fn growth_max(&self) -> u64 {
        GROWTH
    }

    fn prepare(&mut self, _: &Ground) -> Result<(), String> {
        self.members.come_back(&mut self.swarm, Instant::now())
    }

    fn strike(&mut self, ground: &Ground, _: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(self.options.minutes * 60.0);
        let mut next_line = start + PROGRESS_PERIOD;
        let mut next = start;
        while Instant::now() < end {
            let now = Instant::now();
            if now >= next {
                next += Duration::from_secs_f64(1.0 / self.options.faults);
                let fault = self.trouble.draw();
                self.cause(fault, ground)?;
            }
            if now >= next_line {
                next_line += PROGRESS_PERIOD;
                self.progress(ground, start.elapsed());
            }
            self.step(next.min(end))?;
        }
        self.trouble.end(&mut self.troublemakers);
        Ok(())
    }

    fn rest(&mut self, until: Instant) -> Result<(), String> {
        while Instant::now() < until {
            self.step(until)?;
        }
        Ok(())
    }

    fn finish(&mut self, heard: &Heard, course: &Course) -> Result<Outcome, String> {
        let end = Instant::now() + PATIENCE;
        while !self.members.have_all(heard.published) && Instant::now() < end {
            self.step(end)?;
        }
        let mut outcome = Outcome::default();
        outcome.note("seed", self.seed.to_string());
        outcome.note("published", heard.published);
        self.trouble.tell(&mut outcome);
        self.members.tell(heard.published, &mut outcome);
        // What the server takes to find its size is not its growth.
        let half = course.points.len() / 2;
        match slope(&course.points[half..]).filter(|_| course.points.len() - half >= POINTS_MIN) {
            Some(slope) => {
                let minute = slope * 60.0 / 1024.0;
                outcome.note("memory in the second half, KiB a minute", (minute * 10.0).round() / 10.0);
                outcome.note("of which are allowed", self.options.slope_max);
                if minute > self.options.slope_max {
                    let most = self.options.slope_max;
                    outcome
                        .faults
                        .push(format!("memory rises by {minute:.0} KiB a minute; {most} are allowed"));
                }
            }
            None => outcome.note("memory in the second half", "too short for a line through it"),
        }
        Ok(outcome)
    }
}
