//! `cargo loadtest herd`: thousands of connections that are cut at once, and come back at once.

use super::Common;
use super::crowd::Heard;
use super::gauge::Course;
use super::ground::Ground;
use super::report::{Round, deliver};
use super::round::{Attack, Outcome, play};
use crate::measure::{Latency, milliseconds, raise_open_files};
use crate::modes::positive;
use crate::reactor::{Cut, Ending, Message, Opcode, Peer, PeerId, Premasked, Swarm, Target, Workload};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the memory of a server may vary by when as many connections as before are there again: the kernel gives them other
/// slots, and every one of them has sent a message.
const GROWTH_EACH: u64 = 2 * 1024;

/// What it may vary by whatever their number is.
const GROWTH: u64 = 8 << 20;

/// Connections begun between two looks at the sockets: all of them still come within a fraction of a second.
const BURST: usize = 64;

/// How an ending says that there are too many connections, of all or of one address.
const CAPPED: [&str; 2] = ["answered 503", "answered 429"];

pub(super) const CONFIGURATION: &str = r#"
listen = ["127.0.0.1:0"]

[limits]
connections_max = 18000
"#;

/// Connections that are cut at once, and come back at once.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub(super) connections: u32,
    /// They end with a FIN each, not with a reset. Their ports are then not free for a while.
    #[arg(long)]
    pub(super) fin: bool,
    /// Fails when not all were served again within so many seconds.
    #[arg(long, default_value_t = 30.0, value_parser = positive, value_name = "SECONDS")]
    pub(super) within: f64,
    /// Some of them may be refused, with 503 or 429, for a server with a cap.
    #[arg(long)]
    pub(super) may_refuse: bool,
}

/// Attacks.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files((options.connections + 3 * options.common.bystanders) as usize)?;
    let ground = Ground::find(&options.common, CONFIGURATION)?;
    println!(
        "{} connections are cut at once and come back at once; each is served when a message was echoed. {}.",
        options.connections, ground.place
    );
    let round = round(&options, &ground)?;
    println!("{}", round.print());
    deliver(("herd", &options), &options.common, &ground, &[round])
}

/// Everything but printing.
pub(super) fn round(options: &Options, ground: &Ground) -> Result<Round, String> {
    let mut stampede = Stampede {
        options,
        target: Target::new(&ground.url(&options.common.echo_path))?,
        swarm: Swarm::new().map_err(|error| error.to_string())?,
        ids: Vec::new(),
        herd: Herd::default(),
        took: Duration::ZERO,
    };
    play(&options.common, ground, ground.crowd(&options.common), &mut stampede)
}

struct Stampede<'a> {
    options: &'a Options,
    target: Rc<Target>,
    swarm: Swarm,
    ids: Vec<PeerId>,
    herd: Herd,
    took: Duration,
}

impl Stampede<'_> {
    fn turn(&mut self, patience: Duration) -> Result<(), String> {
        self.swarm.turn(patience, &mut self.herd).map_err(|error| error.to_string())
    }
}

impl Attack for Stampede<'_> {
    fn name(&self) -> &'static str {
        "herd"
    }

    fn growth_max(&self) -> u64 {
        GROWTH + GROWTH_EACH * u64::from(self.options.connections)
    }

    fn may_turn_away(&self) -> bool {
        self.options.may_refuse
    }

    fn prepare(&mut self, _: &Ground) -> Result<(), String> {
        self.ids = self.swarm.open(&self.target, 0, self.options.connections as usize)?;
        Ok(())
    }

    fn strike(&mut self, _: &Ground, _: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        let cut = if self.options.fin { Cut::Fin } else { Cut::Reset };
        self.herd = Herd { is_back: true, ..Herd::default() };
        let start = Instant::now();
        for id in std::mem::take(&mut self.ids) {
            self.swarm.cut(id, cut);
        }
        let count = self.options.connections as usize;
        let end = start + Duration::from_secs_f64(self.options.within);
        self.herd.since = vec![start; count];
        let mut begun = 0;
        while self.herd.done() < count && Instant::now() < end {
            for seat in begun..count.min(begun + BURST) {
                self.herd.since[seat] = Instant::now();
                self.ids.push(self.swarm.connect(&self.target, seat).map_err(|error| error.to_string())?);
            }
            begun = count.min(begun + BURST);
            self.turn(if begun < count { Duration::ZERO } else { Duration::from_millis(20) })?;
        }
        self.took = start.elapsed();
        Ok(())
    }

    fn rest(&mut self, until: Instant) -> Result<(), String> {
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            self.turn(left.min(Duration::from_millis(20)))?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &Heard, _: &Course) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let count = self.options.connections as usize;
        let served = self.herd.served.count();
        outcome.note("served again", served);
        outcome.note("until all were, seconds", self.took.as_secs_f64());
        for (name, value) in self.herd.served.percentiles() {
            outcome.note(format!("from connecting to the echo, {name}, ms"), value);
        }
        for (ending, times) in &self.herd.endings {
            outcome.note(ending.clone(), *times);
        }
        let refused: u64 = self
            .herd
            .endings
            .iter()
            .filter(|(ending, _)| CAPPED.iter().any(|status| ending.contains(status)))
            .map(|pair| pair.1)
            .sum();
        let allowed = if self.options.may_refuse { refused } else { 0 };
        if served + allowed < count as u64 {
            outcome.faults.push(format!(
                "{served} of {count} were served again within {:.1} s, {refused} refused with 503 or 429",
                milliseconds(self.took) / 1e3
            ));
        }
        Ok(outcome)
    }
}

/// Those who come back.
struct Herd {
    /// Whether the first to open are those who come back.
    is_back: bool,
    since: Vec<Instant>,
    hello: Premasked,
    served: Latency,
    endings: BTreeMap<String, u64>,
}

impl Default for Herd {
    fn default() -> Self {
        Self {
            is_back: false,
            since: Vec::new(),
            hello: Premasked::new(Opcode::Text, b"here again"),
            served: Latency::new(),
            endings: BTreeMap::new(),
        }
    }
}

impl Herd {
    fn done(&self) -> usize {
        (self.served.count() + self.endings.values().sum::<u64>()) as usize
    }
}

impl Workload for Herd {
    fn opened(&mut self, peer: &mut Peer) {
        if self.is_back {
            peer.send(self.hello.as_bytes());
        }
    }

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant) {
        if message == Message::Text(b"here again") {
            self.served.record(at.saturating_duration_since(self.since[peer.seat]));
        }
    }

    fn ended(&mut self, _: &mut Peer, ending: Ending) {
        *self.endings.entry(ending.to_string()).or_default() += 1;
    }
}
