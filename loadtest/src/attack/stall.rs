//! `cargo loadtest stall`: members of a room who read no more.
//!
//! They cost the server their place and nothing else, the other members get everything in time, and the stalled are told
//! what they missed in the way that their room declares: closed with 1013, told how many were skipped, or sent the newest.

use super::Common;
use super::crowd::{Heard, Plan};
use super::gauge::Course;
use super::ground::Ground;
use super::report::{Round, deliver};
use super::round::{Attack, Outcome, play, turn_until};
use crate::measure::{Memory, raise_open_files};
use crate::modes::positive;
use crate::modes::traffic::Pattern;
use crate::reactor::{Ending, Message, Peer, PeerId, Swarm, Target, Workload};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a stalled member may cost.
const EACH_MAX: u64 = 64 * 1024;

/// What a room keeps for its slow members on the server that we start, and what it keeps as history anyway.
const LOG_BYTES: u64 = 128 * 1024;

/// What memory varies by without any attack: pages of the allocator, the room's index, one long read.
const MARGIN: u64 = 256 * 1024;

/// The close code for who has fallen too far behind.
const TRY_AGAIN_LATER: u16 = 1013;

/// How long the stalled are listened to when they read again.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const CONFIGURATION: &str = r#"
listen = ["127.0.0.1:0"]

[limits]
room_log_bytes_max = "128KiB"
ping_interval = "10m"
close_deadline = "10m"

[[route]]
path = "/echo"
mode = "echo"

[[route]]
path = "/chat/close"
mode = "room"
history = { messages = 1000, bytes = "128KiB" }

[[route]]
path = "/chat/skip"
mode = "room"
lag = "skip"
history = { messages = 1000, bytes = "128KiB" }

[[route]]
path = "/chat/latest"
mode = "room"
lag = "latest"
history = { messages = 1000, bytes = "128KiB" }
"#;

/// Members of a room who read no more.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Members of the room who read.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) members: u32,
    /// Members who do not.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) stalled: u32,
    /// Messages published in a second.
    #[arg(long, default_value_t = 25.0, value_parser = positive)]
    pub(super) rate: f64,
    /// Bytes of every message.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(32..=1 << 20))]
    pub(super) size: u32,
    /// How long they stall.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(super) seconds: f64,
    /// What the rooms declare for their slow members; each names its room, below --rooms-path.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Policy::ALL)]
    pub(super) policies: Vec<Policy>,
}

/// What a room does with who is slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Policy {
    /// Ends the connection with 1013.
    Close,
    /// Goes on with what is left, and says how many were skipped.
    Skip,
    /// Goes on with the newest, without a word.
    Latest,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Close, Self::Skip, Self::Latest];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Skip => "skip",
            Self::Latest => "latest",
        }
    }
}

/// Attacks a room of every policy, one after the other.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    raise_open_files((options.members + options.stalled + options.common.bystanders) as usize)?;
    let ground = Ground::find(&options.common, CONFIGURATION)?;
    println!(
        "{} members of a room get {} messages of {} B a second; then {} more of them read nothing for {} s. {}.",
        options.members, options.rate, options.size, options.stalled, options.seconds, ground.place
    );
    let mut rounds = Vec::new();
    for &policy in &options.policies {
        let round = round(&options, &ground, policy)?;
        println!("{}", round.print());
        rounds.push(round);
    }
    deliver(("stall", &options), &options.common, &ground, &rounds)
}

/// One policy.
pub(super) fn round(options: &Options, ground: &Ground, policy: Policy) -> Result<Round, String> {
    let room_url = ground.url(&format!("{}/{}", options.common.rooms_path, policy.name()));
    let plan = Plan {
        room_url: room_url.clone(),
        members: options.members as usize,
        room_rate: options.rate,
        room_bytes: options.size as usize,
        ..ground.crowd(&options.common)
    };
    let mut stall = Stall {
        options,
        policy,
        target: Target::new(&room_url)?.narrow(),
        swarm: Swarm::new().map_err(|error| error.to_string())?,
        ids: Vec::new(),
        stalled: Stalled::new(options.stalled as usize, options.size as usize),
        growth: None,
    };
    play(&options.common, ground, plan, &mut stall)
}

struct Stall<'a> {
    options: &'a Options,
    policy: Policy,
    target: std::rc::Rc<Target>,
    swarm: Swarm,
    ids: Vec<PeerId>,
    stalled: Stalled,
    /// Memory before and at the end of the stall, by the exact count.
    growth: Option<(u64, u64)>,
}

impl Attack for Stall<'_> {
    fn name(&self) -> &'static str {
        self.policy.name()
    }

    fn growth_max(&self) -> u64 {
        EACH_MAX * u64::from(self.options.stalled) + LOG_BYTES + MARGIN
    }

    fn strike(&mut self, ground: &Ground, _: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        let memory = |pid: u32| Memory::of(pid).map(|memory| memory.resident);
        let before = ground.pid.map(memory).transpose()?;
        self.ids = self.swarm.open(&self.target, 0, self.stalled.members.len())?;
        for peer in self.swarm.peers() {
            peer.stall(true);
        }
        self.turn(Duration::from_secs_f64(self.options.seconds))?;
        self.growth = before.zip(ground.pid.map(memory).transpose()?);
        // They read again, and what they were told is there.
        self.swarm.peers().for_each(|peer| peer.stall(false));
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && !self.stalled.are_told(self.policy) {
            for id in self.ids.clone() {
                self.swarm.visit(id, &mut self.stalled);
            }
            self.turn(Duration::from_millis(20))?;
        }
        for id in std::mem::take(&mut self.ids) {
            self.swarm.cut(id, crate::reactor::Cut::Fin);
        }
        Ok(())
    }

    fn finish(&mut self, _: &Heard, _: &Course) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        if let Some((before, after)) = self.growth {
            let grown = after.saturating_sub(before);
            outcome.note("memory grew while they stalled, KiB", grown / 1024);
            let each = EACH_MAX * u64::from(self.options.stalled);
            outcome.note("for that, KiB each are allowed beside the room's log", EACH_MAX / 1024);
            if grown > each + MARGIN {
                outcome.faults.push(format!(
                    "the stalled cost {} KiB of memory; {} KiB and a margin of {} KiB are allowed",
                    grown / 1024,
                    each / 1024,
                    MARGIN / 1024
                ));
            }
        }
        self.stalled.tell(self.policy, &mut outcome);
        Ok(outcome)
    }
}

impl Stall<'_> {
    fn turn(&mut self, time: Duration) -> Result<(), String> {
        turn_until(&mut self.swarm, &mut self.stalled, Instant::now() + time)
    }
}

/// What one of the stalled got.
#[derive(Clone, Default, Debug)]
struct Member {
    last: Option<u64>,
    /// Messages missing between two that came.
    missing: u64,
    /// What the server said was skipped.
    skipped: u64,
    /// Messages that came after a gap.
    afterwards: u64,
    /// Something was out of order, or no message of ours.
    is_wrong: bool,
    ending: Option<Ending>,
}

/// The stalled, by their seats.
struct Stalled {
    members: Vec<Member>,
    pattern: Pattern,
}

impl Stalled {
    fn new(count: usize, size: usize) -> Self {
        Self { members: vec![Member::default(); count], pattern: Pattern::new(size) }
    }

    fn are_told(&self, policy: Policy) -> bool {
        self.members.iter().all(|member| match policy {
            _ if member.ending.is_some() => true,
            Policy::Close => false,
            Policy::Skip => member.skipped > 0 && member.afterwards > 0,
            Policy::Latest => member.afterwards > 0,
        })
    }

    fn tell(&self, policy: Policy, outcome: &mut Outcome) {
        let count = |is: fn(&Member) -> bool| self.members.iter().filter(|member| is(member)).count();
        let all = self.members.len();
        let missing: u64 = self.members.iter().map(|member| member.missing).sum();
        let wrong = count(|member| member.is_wrong);
        if wrong > 0 {
            outcome.faults.push(format!("{wrong} of the stalled got messages altered or out of order"));
        }
        match policy {
            Policy::Close => {
                let told = count(|member| member.ending == Some(Ending::Closed(Some(TRY_AGAIN_LATER))));
                outcome.note("closed with 1013", told);
                let gaps = count(|member| member.missing > 0);
                expect(outcome, told, all, "were closed with 1013");
                expect(outcome, all - gaps, all, "had no gap before that");
            }
            Policy::Skip => {
                let told = count(|member| member.skipped > 0 && member.skipped == member.missing);
                outcome.note("told how many they missed", told);
                outcome.note("messages missed", missing);
                expect(outcome, told, all, "were told the right number of messages that they missed");
            }
            Policy::Latest => {
                let told = count(|member| member.afterwards > 0 && member.ending.is_none());
                outcome.note("went on with the newest", told);
                outcome.note("messages missed", missing);
                expect(outcome, told, all, "went on with the newest");
            }
        }
    }
}

fn expect(outcome: &mut Outcome, seen: usize, all: usize, words: &str) {
    if seen < all {
        outcome.faults.push(format!(
            "{seen} of {all} {words} (if they were never behind, more has to be sent: --rate, --size, --seconds)"
        ));
    }
}

impl Workload for Stalled {
    fn opened(&mut self, _: &mut Peer) {}

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, _: Instant) {
        let member = &mut self.members[peer.seat];
        match message {
            Message::Binary(bytes) => match (self.pattern.read(bytes), member.last) {
                (Some((_, number)), Some(last)) if number > last => {
                    member.missing += number - last - 1;
                    member.afterwards += u64::from(member.missing > 0);
                    member.last = Some(number);
                }
                (Some((_, number)), None) => member.last = Some(number),
                (Some(_), Some(_)) | (None, _) => member.is_wrong = true,
            },
            Message::Text(text) => match skipped_in(text) {
                Some(skipped) => member.skipped += skipped,
                None => member.is_wrong = true,
            },
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {}
        }
    }

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        self.members[peer.seat].ending = Some(ending);
    }
}

/// The number in `{"skipped":7}`.
fn skipped_in(text: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(text).ok()?.get("skipped")?.as_u64()
}
