//! `cargo loadtest slowloris`: connections that take as long as they are let for everything that they do.
//!
//! Each must be ended by the server at its deadline, and meanwhile nobody else is kept waiting.

use super::Common;
use super::crowd::Heard;
use super::gauge::Course;
use super::ground::Ground;
use super::report::{Round, deliver};
use super::round::{Attack, Outcome, play};
use crate::client::request::Request;
use crate::measure::raise_open_files;
use crate::modes::positive;
use crate::reactor::{Ending, Message, Opcode, Peer, PeerId, Premasked, Swarm, Target, Workload, split};
use clap::Args;
use serde::Serialize;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The deadlines of the server that we start, all together: head or body, or ping and pong.
const OWN_DEADLINE: f64 = 2.0;

/// The longest default of any server that we know, with time to spare.
const FOREIGN_DEADLINE: f64 = 75.0;

/// By how much a server may look at its clock too late.
const TOLERANCE: f64 = 1.5;

/// What a slow connection may cost the server: what a reader has asked for waits for it, up to the bounds for that.
const GROWTH_EACH: u64 = 64 * 1024;

/// What it may vary by whatever their number is.
const GROWTH: u64 = 8 << 20;

/// What a slow reader may cost a server whose bounds are not known: its answers wait for it, and its requests.
const FOREIGN_GROWTH_EACH: u64 = 3 << 20;

/// For what a slow reader has not read: less than any deadline.
const LAST_LOOK: Duration = Duration::from_millis(700);

/// Bytes that a slow reader asks for: more than the kernel keeps for it.
const ASKED_BYTES: usize = 1 << 20;

pub(super) const CONFIGURATION: &str = r#"
listen = ["127.0.0.1:0"]

[limits]
head_deadline = "2s"
body_deadline = "2s"
ping_interval = "1s"
pong_deadline = "1s"
close_deadline = "1s"
linger_deadline = "1s"
outbound_bytes_high = "32KiB"
outbound_bytes_low = "16KiB"
"#;

/// Connections that take as long as they are let.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections of each kind.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub(super) connections: u32,
    /// Milliseconds from one byte of a slow sender, or reader, to the next.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(super) every: u64,
    /// Fails when a connection lives for longer than so many seconds (2 for our own server, else 75), with a tolerance.
    #[arg(long, value_parser = positive, value_name = "SECONDS")]
    pub(super) deadline: Option<f64>,
    /// Where the server speaks TLS: some connections stop there in the middle of their hello.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) tls: Option<String>,
}

/// What a connection takes its time with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// It sends nothing at all.
    Silent,
    /// It sends a head byte by byte.
    Head,
    /// It sends a body byte by byte.
    Body,
    /// It asks for a page again and again, and reads byte by byte.
    Page,
    /// It opens a WebSocket and says nothing any more, not even a pong.
    Mute,
    /// It asks for echoes, and reads byte by byte.
    Echo,
    /// It stops in the middle of its TLS hello.
    Hello,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Silent, Self::Head, Self::Body, Self::Page, Self::Mute, Self::Echo, Self::Hello];

    fn words(self) -> &'static str {
        match self {
            Self::Silent => "send nothing",
            Self::Head => "send a head byte by byte",
            Self::Body => "send a body byte by byte",
            Self::Page => "read pages byte by byte",
            Self::Mute => "open a WebSocket and fall silent",
            Self::Echo => "read echoes byte by byte",
            Self::Hello => "stop in their TLS hello",
        }
    }

    /// What it sends at once.
    fn opening(self, authority: &str, echo_path: &str) -> Vec<u8> {
        let upgrade = || Request::upgrade(authority, echo_path).encode();
        let page = format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes();
        match self {
            Self::Silent | Self::Head => Vec::new(),
            Self::Body => format!(
                "POST /rooms/slowloris/messages HTTP/1.1\r\nHost: {authority}\r\nContent-Type: text/plain\r\n\
                 Content-Length: 65536\r\n\r\n"
            )
            .into_bytes(),
            Self::Page => page.repeat(ASKED_BYTES / 8 / page.len()),
            Self::Mute => upgrade(),
            Self::Echo => {
                let frame = Premasked::new(Opcode::Binary, &[b'x'; 16 * 1024]);
                [upgrade(), frame.as_bytes().repeat(ASKED_BYTES / frame.as_bytes().len())].concat()
            }
            // A handshake record of 512 bytes, of which the first few come: a hello in TLS 1.2's coat.
            Self::Hello => vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7, 7, 7],
        }
    }

    /// What it goes on with, a byte at a time.
    fn trickle(self, at: usize) -> Option<u8> {
        const HEAD: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
        match self {
            Self::Head => Some(HEAD.get(at).copied().unwrap_or(b'a')),
            Self::Body => Some(b'a'),
            Self::Silent | Self::Page | Self::Mute | Self::Echo | Self::Hello => None,
        }
    }

    fn sips(self) -> bool {
        matches!(self, Self::Page | Self::Echo)
    }
}

/// Attacks.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let kinds = kinds(&options).count();
    raise_open_files(options.connections as usize * kinds + 3 * options.common.bystanders as usize)?;
    let ground = Ground::find(&options.common, CONFIGURATION)?;
    println!(
        "{} connections of each of {kinds} slow kinds, a byte every {} ms, each to be ended within {} s. {}.",
        options.connections,
        options.every,
        deadline(&options, &ground),
        ground.place
    );
    let round = round(&options, &ground)?;
    println!("{}", round.print());
    deliver(("slowloris", &options), &options.common, &ground, &[round])
}

fn kinds(options: &Options) -> impl Iterator<Item = Kind> {
    let is_tls = options.tls.is_some();
    Kind::ALL.into_iter().filter(move |kind| is_tls || *kind != Kind::Hello)
}

fn deadline(options: &Options, ground: &Ground) -> f64 {
    options.deadline.unwrap_or(if ground.is_ours() { OWN_DEADLINE } else { FOREIGN_DEADLINE })
}

/// Everything but printing.
pub(super) fn round(options: &Options, ground: &Ground) -> Result<Round, String> {
    let mut slow = Slow {
        options,
        swarm: Swarm::new().map_err(|error| error.to_string())?,
        sufferers: Sufferers::default(),
        deadline: deadline(options, ground),
        is_ours: ground.is_ours(),
    };
    play(&options.common, ground, ground.crowd(&options.common), &mut slow)
}

struct Slow<'a> {
    options: &'a Options,
    swarm: Swarm,
    sufferers: Sufferers,
    deadline: f64,
    is_ours: bool,
}

/// A slow connection.
struct Sufferer {
    kind: Kind,
    id: PeerId,
    /// When it was connected.
    since: Option<Instant>,
    /// How long it lived.
    ended: Option<Duration>,
    trickled: usize,
}

#[derive(Default)]
struct Sufferers(Vec<Sufferer>);

impl Sufferers {
    fn end(&mut self, seat: usize) {
        let one = &mut self.0[seat];
        let lived = one.since.map_or(Duration::ZERO, |since| since.elapsed());
        one.ended.get_or_insert(lived);
    }

    fn are_all_ended(&self) -> bool {
        self.0.iter().all(|one| one.ended.is_some())
    }
}

impl Workload for Sufferers {
    fn opened(&mut self, peer: &mut Peer) {
        self.0[peer.seat].since = Some(Instant::now());
    }

    fn message(&mut self, _: &mut Peer, _: Message<'_>, _: Instant) {}

    fn ended(&mut self, peer: &mut Peer, _: Ending) {
        self.end(peer.seat);
    }
}

impl Attack for Slow<'_> {
    fn name(&self) -> &'static str {
        "slowloris"
    }

    fn growth_max(&self) -> u64 {
        let all: u64 = kinds(self.options)
            .map(|kind| if kind.sips() && !self.is_ours { FOREIGN_GROWTH_EACH } else { GROWTH_EACH })
            .sum();
        GROWTH + all * u64::from(self.options.connections)
    }

    fn strike(&mut self, ground: &Ground, _: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        self.begin(ground)?;
        let start = Instant::now();
        let period = Duration::from_millis(self.options.every);
        let (mut next, end) = (start, start + Duration::from_secs_f64(self.deadline + TOLERANCE));
        while !self.sufferers.are_all_ended() && Instant::now() < end {
            if Instant::now() >= next {
                next += period;
                self.step();
            }
            let due = next.min(Instant::now() + Duration::from_millis(20));
            self.swarm.turn_until(due, &mut self.sufferers).map_err(|error| error.to_string())?;
            self.note_hung_up();
        }
        self.look_behind_what_is_unread()
    }

    fn finish(&mut self, _: &Heard, _: &Course) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        for kind in kinds(self.options) {
            let all = self.sufferers.0.iter().filter(|one| one.kind == kind);
            let most = Duration::from_secs_f64(self.deadline + TOLERANCE);
            // Of who does not read the end is seen only in the last look.
            let in_time = |lived: &Duration| kind.sips() || *lived <= most;
            let lives: Vec<Duration> = all.clone().filter_map(|one| one.ended).filter(in_time).collect();
            let (count, ended) = (all.count(), lives.len());
            let seconds = |life: Option<&Duration>| life.map_or(0.0, Duration::as_secs_f64);
            let (first, last) = (seconds(lives.iter().min()), seconds(lives.iter().max()));
            let words = kind.words();
            outcome.note(
                format!("{count} that {words}"),
                format!("{ended} ended, after {first:.2} to {last:.2} s"),
            );
            if ended < count {
                let left = count - ended;
                let waited = self.deadline + TOLERANCE;
                outcome
                    .faults
                    .push(format!("{left} of {count} that {words} were still there after {waited} s"));
            }
        }
        Ok(outcome)
    }
}

impl Slow<'_> {
    fn begin(&mut self, ground: &Ground) -> Result<(), String> {
        let plain = Target::plain(&ground.origin)?.narrow();
        let (authority, _) = split(&ground.origin)?;
        let tls = self.options.tls.as_ref().map(|at| Target::plain(&format!("ws://{at}"))).transpose()?;
        for kind in kinds(self.options) {
            let target: &Rc<Target> = match (kind, &tls) {
                (Kind::Hello, Some(tls)) => tls,
                _ => &plain,
            };
            let opening = kind.opening(authority, &self.options.common.echo_path);
            for _ in 0..self.options.connections {
                let seat = self.sufferers.0.len();
                let id = self.swarm.connect(target, seat).map_err(|error| error.to_string())?;
                let one = Sufferer { kind, id, since: None, ended: None, trickled: 0 };
                self.sufferers.0.push(one);
                if let Some(peer) = self.swarm.peer(id) {
                    peer.stall(kind.sips());
                    peer.send_later(&opening);
                }
            }
        }
        Ok(())
    }

    /// The next byte of everybody who is slow.
    fn step(&mut self) {
        for seat in 0..self.sufferers.0.len() {
            let one = &mut self.sufferers.0[seat];
            if one.ended.is_some() || one.since.is_none() {
                continue;
            }
            let id = one.id;
            if let (Some(byte), Some(peer)) = (one.kind.trickle(one.trickled), self.swarm.peer(id)) {
                one.trickled += 1;
                peer.send(&[byte]);
            }
            if one.kind.sips() {
                self.swarm.sip(id, 1, &mut self.sufferers);
            }
        }
    }

    /// The end may stand behind what the kernel holds for who does not read: they read now, and either it comes at once, or the
    /// server is still there.
    fn look_behind_what_is_unread(&mut self) -> Result<(), String> {
        let end = Instant::now() + LAST_LOOK;
        let ids: Vec<PeerId> =
            self.sufferers.0.iter().filter(|one| one.ended.is_none()).map(|one| one.id).collect();
        for id in ids {
            self.swarm.peer(id).into_iter().for_each(|peer| peer.stall(false));
            self.swarm.visit(id, &mut self.sufferers);
        }
        while !self.sufferers.are_all_ended() && Instant::now() < end {
            self.swarm.turn_until(end, &mut self.sufferers).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Who does not read does not see the end among what it has not read; the poller has told it.
    fn note_hung_up(&mut self) {
        for seat in 0..self.sufferers.0.len() {
            let one = &self.sufferers.0[seat];
            let id = one.id;
            if one.ended.is_none() && self.swarm.peer(id).is_some_and(|peer| peer.has_hung_up()) {
                self.sufferers.end(seat);
                self.swarm.cut(id, crate::reactor::Cut::Fin);
            }
        }
    }
}
