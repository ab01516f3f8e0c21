//! `cargo loadtest flood`: connections that send as fast as they can, one kind of thing after the other.

use super::Common;
use super::crowd::Heard;
use super::gauge::Course;
use super::ground::Ground;
use super::report::{Round, deliver};
use super::round::{Attack, Outcome, QUIET, play};
use crate::client::frame::Frame;
use crate::measure::raise_open_files;
use crate::modes::positive;
use crate::modes::traffic::Span;
use crate::modes::visits::{Errand, Pace, Round as Visits};
use crate::reactor::{Cut, Ending, Message, Peer, PeerId, Swarm, Target, Workload, split};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that a connection sends in one go.
const CHUNK: usize = 32 * 1024;

/// From one kind to the next.
const EBB: Duration = Duration::from_millis(500);

/// Bytes of a tiny frame's payload.
const TINY: usize = 4;

/// What a flooding connection may cost: its replies up to the bound for those, and what is half received.
const GROWTH_EACH: u64 = 2 << 20;

/// What memory may vary by whatever their number is: a room's log, buffers kept for the next long message.
const GROWTH: u64 = 16 << 20;

pub(super) const CONFIGURATION: &str = r#"
listen = ["127.0.0.1:0"]
"#;

/// Connections that send as fast as they can.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub(super) connections: u32,
    /// How long each kind of flood goes on.
    #[arg(long, default_value_t = 3.0, value_parser = positive)]
    pub(super) seconds: f64,
    /// What they send, one kind after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::ALL)]
    pub(super) kinds: Vec<Kind>,
}

/// What is sent as fast as it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Pings, each of which is to be answered.
    Pings,
    /// Messages of a few bytes to an echo.
    Messages,
    /// Fragments without a byte in them, of a message that never ends.
    Fragments,
    /// HTTP requests, one behind the other without waiting.
    Requests,
    /// Messages of a few bytes in one room, each to all of them.
    Room,
    /// Connections that come, have one message echoed, and go.
    Churn,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Pings, Self::Messages, Self::Fragments, Self::Requests, Self::Room, Self::Churn];

    fn name(self) -> &'static str {
        match self {
            Self::Pings => "pings",
            Self::Messages => "messages",
            Self::Fragments => "fragments",
            Self::Requests => "requests",
            Self::Room => "room",
            Self::Churn => "churn",
        }
    }

    /// What a connection sends first, and what it then repeats.
    fn bytes(self, authority: &str) -> (Vec<u8>, Vec<u8>) {
        let many = |one: Vec<u8>| one.repeat(CHUNK / one.len());
        match self {
            Self::Pings => (Vec::new(), many(Frame::ping([b'p'; TINY]).encode())),
            Self::Messages | Self::Room | Self::Churn => {
                (Vec::new(), many(Frame::binary([b'm'; TINY]).encode()))
            }
            Self::Fragments => {
                let fragment = Frame::continuation(Vec::new()).more().encode();
                (Frame::binary(Vec::new()).more().encode(), many(fragment))
            }
            Self::Requests => {
                let request = format!("GET /healthz HTTP/1.1\r\nHost: {authority}\r\n\r\n");
                (Vec::new(), many(request.into_bytes()))
            }
        }
    }
}

/// Attacks with one kind after the other.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files((options.connections + 3 * options.common.bystanders) as usize)?;
    let ground = Ground::find(&options.common, CONFIGURATION)?;
    println!(
        "{} connections send as fast as they can, each of {} kinds for {} s. {}.",
        options.connections,
        options.kinds.len(),
        options.seconds,
        ground.place
    );
    let round = round(&options, &ground)?;
    println!("{}", round.print());
    deliver(("flood", &options), &options.common, &ground, &[round])
}

/// Everything but printing.
pub(super) fn round(options: &Options, ground: &Ground) -> Result<Round, String> {
    let mut flood = Flood { options, facts: Outcome::default() };
    let round = play(&options.common, ground, ground.crowd(&options.common), &mut flood)?;
    // Its phases have the names of the kinds.
    Ok(Round { name: "flood", ..round })
}

struct Flood<'a> {
    options: &'a Options,
    facts: Outcome,
}

impl Attack for Flood<'_> {
    fn name(&self) -> &'static str {
        self.options.kinds.first().map_or(QUIET[1], |kind| kind.name())
    }

    fn growth_max(&self) -> u64 {
        GROWTH + GROWTH_EACH * u64::from(self.options.connections)
    }

    fn is_busy(&self) -> bool {
        true
    }

    fn strike(&mut self, ground: &Ground, enter: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        for (place, kind) in self.options.kinds.iter().enumerate() {
            if place > 0 {
                enter(kind.name());
            }
            match kind {
                Kind::Churn => self.churn(ground)?,
                Kind::Pings | Kind::Messages | Kind::Fragments | Kind::Requests | Kind::Room => {
                    self.pour(ground, *kind)?;
                }
            }
            // What it left in the sockets is still its own.
            thread::sleep(EBB);
        }
        Ok(())
    }

    fn finish(&mut self, _: &Heard, _: &Course) -> Result<Outcome, String> {
        Ok(std::mem::take(&mut self.facts))
    }
}

impl Flood<'_> {
    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.options.seconds)
    }

    fn churn(&mut self, ground: &Ground) -> Result<(), String> {
        let pace = Pace { concurrency: self.options.connections as usize, rate: None, count_max: None };
        let echo = ground.url(&self.options.common.echo_path);
        let span = Span { warm_up: Duration::ZERO, measured: self.length(), drain: Duration::from_secs(5) };
        let (visits, usage) = Visits::new(&echo, Errand::Echo, pace)?.run(span, None)?;
        self.facts.note("churn: visits a second", (visits.count as f64 / usage.seconds).round());
        for (kind, count) in &visits.errors {
            self.facts.faults.push(format!("churn: {count} {kind}"));
        }
        Ok(())
    }

    fn pour(&mut self, ground: &Ground, kind: Kind) -> Result<(), String> {
        let common = &self.options.common;
        let target = match kind {
            Kind::Requests => Target::plain(&ground.origin)?,
            Kind::Room => Target::new(&ground.url(&format!("{}/flood", common.rooms_path)))?,
            Kind::Pings | Kind::Messages | Kind::Fragments | Kind::Churn => {
                Target::new(&ground.url(&common.echo_path))?
            }
        };
        let (first, chunk) = kind.bytes(split(&ground.origin)?.0);
        let mut swarm = Swarm::new().map_err(|error| error.to_string())?;
        let ids = swarm.open(&target, 0, self.options.connections as usize)?;
        for id in &ids {
            swarm.peer(*id).into_iter().for_each(|peer| peer.send(&first));
        }
        let mut tap = Tap { is_alive: vec![true; ids.len()], endings: BTreeMap::new() };
        let (start, end) = (Instant::now(), Instant::now() + self.length());
        while Instant::now() < end && tap.is_alive.contains(&true) {
            let has_sent = pour_once(&mut swarm, &ids, &tap, &chunk);
            let patience = if has_sent { Duration::ZERO } else { Duration::from_millis(1) };
            swarm.turn(patience, &mut tap).map_err(|error| error.to_string())?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let traffic = swarm.peers().fold((0, 0), |sum, peer| {
            let traffic = peer.traffic();
            (sum.0 + traffic.sent, sum.1 + traffic.received)
        });
        let rate = |bytes: u64| (bytes as f64 / f64::from(1 << 20) / seconds * 10.0).round() / 10.0;
        let name = kind.name();
        self.facts.note(format!("{name}: MiB a second to the server"), rate(traffic.0));
        self.facts.note(format!("{name}: MiB a second from it"), rate(traffic.1));
        for (ending, count) in tap.endings {
            self.facts.note(format!("{name}: {ending}"), count);
        }
        for (id, is_alive) in ids.into_iter().zip(tap.is_alive) {
            if is_alive {
                swarm.cut(id, Cut::Reset);
            }
        }
        Ok(())
    }
}

/// Sends a chunk on every connection that takes one, and tells whether there was any.
fn pour_once(swarm: &mut Swarm, ids: &[PeerId], tap: &Tap, chunk: &[u8]) -> bool {
    let mut has_sent = false;
    for (seat, id) in ids.iter().enumerate() {
        if let Some(peer) = swarm.peer(*id).filter(|peer| tap.is_alive[seat] && !peer.is_blocked()) {
            peer.send(chunk);
            has_sent = true;
        }
    }
    has_sent
}

/// Takes what comes back and looks at none of it.
struct Tap {
    is_alive: Vec<bool>,
    endings: BTreeMap<String, u64>,
}

impl Workload for Tap {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, _: &mut Peer, _: Message<'_>, _: Instant) {}

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        self.is_alive[peer.seat] = false;
        *self.endings.entry(ending.to_string()).or_default() += 1;
    }
}
