//! `cargo loadtest bomb`: messages that become a thousand times longer when they are inflated, and frames that announce what
//! never comes.

use super::Common;
use super::crowd::Heard;
use super::gauge::Course;
use super::ground::Ground;
use super::report::{Round, deliver};
use super::round::{Attack, Outcome, play};
use crate::client::deflate::Deflater;
use crate::client::frame::{BINARY, Frame, RSV1};
use crate::measure::raise_open_files;
use crate::modes::positive;
use crate::reactor::{Cut, Ending, Message, Peer, Swarm, Target, Workload};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The close code for a message that is too long.
const TOO_BIG: u16 = 1009;

/// The longest message of the server that we start.
const OWN_LIMIT: u64 = 1 << 20;

/// The longest message that most servers take, where nothing else is said.
const FOREIGN_LIMIT: u64 = 16 << 20;

/// Inflated messages that a server may hold at a time, for all connections together, beside what it keeps for each.
const MESSAGES_HELD: u64 = 8;

/// What a connection may cost beside that.
const GROWTH_EACH: u64 = 64 * 1024;

/// What memory may vary by whatever their number is: an inflater, buffers kept for the next long message.
const GROWTH: u64 = 16 << 20;

const EXTENSION: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";

/// Messages of a connection that keeps to the limit.
const ALLOWED: usize = 8;

pub(super) const CONFIGURATION: &str = r#"
listen = ["127.0.0.1:0"]
deflate = true

[limits]
message_bytes_max = "1MiB"
ping_interval = "10m"
"#;

/// Messages that inflate beyond the limit, and frames that announce what never comes.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) common: Common,
    /// Connections of each kind at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) connections: u32,
    /// MiB that a bomb becomes when it is inflated.
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(super) inflated: u32,
    /// The server's longest message in bytes (1 MiB for our own, else 16 MiB).
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1_024..=1 << 30))]
    pub(super) message_bytes_max: Option<u64>,
    /// For how long bombs are thrown; whose connection is closed comes again.
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub(super) seconds: f64,
}

/// A way to make a server hold more than it was sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    /// A compressed message in one frame.
    Whole,
    /// The same in many fragments.
    Fragments,
    /// A frame whose header announces more than anybody may send.
    Announced,
    /// A frame whose header announces as much as one may send, and that never comes.
    Promised,
    /// Compressed messages within the limit, in a room of their own.
    Allowed,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Whole, Self::Fragments, Self::Announced, Self::Promised, Self::Allowed];

    fn words(self) -> &'static str {
        match self {
            Self::Whole => "bombs in one frame",
            Self::Fragments => "bombs in fragments",
            Self::Announced => "frames announced beyond the limit",
            Self::Promised => "frames announced within the limit and never sent",
            Self::Allowed => "compressed messages within the limit",
        }
    }

    /// Whether the server is to close with 1009; otherwise it is not to close at all.
    fn is_too_big(self) -> bool {
        matches!(self, Self::Whole | Self::Fragments | Self::Announced)
    }

    fn bytes(self, inflated: usize, limit: u64) -> Vec<u8> {
        let bomb = |length: usize| Deflater::new(9, 15).message(&vec![b'b'; length]);
        // The bytes of the header alone; a payload of nothing makes no more.
        let announced = |length: u64| Frame::new(BINARY, Vec::new()).announcing(length).encode();
        match self {
            Self::Whole => Frame::binary(bomb(inflated)).rsv(RSV1).encode(),
            Self::Fragments => fragments(&bomb(inflated)),
            Self::Announced => announced(1 << 40),
            Self::Promised => announced(limit),
            Self::Allowed => {
                let length = usize::try_from(limit / 4).unwrap_or(usize::MAX);
                Frame::binary(bomb(length)).rsv(RSV1).encode().repeat(ALLOWED)
            }
        }
    }
}

/// §5.4: only the first fragment says that the message is compressed.
fn fragments(message: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = message.chunks(message.len().div_ceil(64).max(1)).collect();
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(at, piece)| {
        let frame = if at == 0 { Frame::binary(*piece).rsv(RSV1) } else { Frame::continuation(*piece) };
        if at < last { frame.more() } else { frame }.encode()
    });
    frames.collect::<Vec<_>>().concat()
}

/// Attacks.
///
/// # Errors
/// When the server cannot be started or reached.
pub(crate) fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let connections = options.connections as usize * Kind::ALL.len();
    raise_open_files(connections + 3 * options.common.bystanders as usize)?;
    let ground = Ground::find(&options.common, CONFIGURATION)?;
    println!(
        "{} connections of each of {} kinds send what is {} MiB long inflated, or announce what never comes, for {} s. {}.",
        options.connections,
        Kind::ALL.len(),
        options.inflated,
        options.seconds,
        ground.place
    );
    let round = round(&options, &ground)?;
    println!("{}", round.print());
    deliver(("bomb", &options), &options.common, &ground, &[round])
}

/// Everything but printing.
pub(super) fn round(options: &Options, ground: &Ground) -> Result<Round, String> {
    let limit = options.message_bytes_max;
    let limit = limit.unwrap_or(if ground.is_ours() { OWN_LIMIT } else { FOREIGN_LIMIT });
    let inflated = (options.inflated as usize) << 20;
    if inflated as u64 <= limit {
        return Err(format!("{inflated} bytes are within the limit of {limit}: --inflated"));
    }
    let echo = Target::with_fields(&ground.url(&options.common.echo_path), EXTENSION)?;
    // What is sent in a room comes back as it is, to be counted.
    let room = Target::with_fields(&ground.url(&format!("{}/bombs", options.common.rooms_path)), EXTENSION)?;
    let payloads = Kind::ALL.map(|kind| kind.bytes(inflated, limit));
    let mut raid = Raid {
        options,
        limit,
        echo,
        room,
        swarm: Swarm::new().map_err(|error| error.to_string())?,
        bombs: Bombs { seats: Vec::new(), payloads, counts: BTreeMap::new() },
    };
    play(&options.common, ground, ground.crowd(&options.common), &mut raid)
}

struct Raid<'a> {
    options: &'a Options,
    limit: u64,
    echo: Rc<Target>,
    room: Rc<Target>,
    swarm: Swarm,
    bombs: Bombs,
}

/// What became of the connections of one kind.
#[derive(Default, Debug)]
struct Counts {
    thrown: u64,
    messages: u64,
    endings: BTreeMap<String, u64>,
    /// Ended as they should not.
    wrong: u64,
}

struct Bombs {
    /// What each seat throws, and whether it has ended and may come again.
    seats: Vec<(Kind, bool)>,
    payloads: [Vec<u8>; Kind::ALL.len()],
    counts: BTreeMap<Kind, Counts>,
}

impl Workload for Bombs {
    fn opened(&mut self, peer: &mut Peer) {
        let kind = self.seats[peer.seat].0;
        peer.send(&self.payloads[kind as usize]);
        self.counts.entry(kind).or_default().thrown += 1;
    }

    fn message(&mut self, peer: &mut Peer, message: Message<'_>, _: Instant) {
        let kind = self.seats[peer.seat].0;
        if matches!(message, Message::Binary(_) | Message::Text(_)) {
            self.counts.entry(kind).or_default().messages += 1;
        }
    }

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        let (kind, has_ended) = &mut self.seats[peer.seat];
        *has_ended = true;
        let counts = self.counts.entry(*kind).or_default();
        let is_right = match kind.is_too_big() {
            // What we still send may meet a closed socket, and its reset overtake the Close frame.
            true => matches!(ending, Ending::Closed(Some(TOO_BIG)) | Ending::Lost(_)),
            false => false,
        };
        counts.wrong += u64::from(!is_right);
        *counts.endings.entry(ending.to_string()).or_default() += 1;
    }
}

impl Attack for Raid<'_> {
    fn name(&self) -> &'static str {
        "bomb"
    }

    fn growth_max(&self) -> u64 {
        let connections = u64::from(self.options.connections) * Kind::ALL.len() as u64;
        GROWTH + MESSAGES_HELD * self.limit + GROWTH_EACH * connections
    }

    fn is_busy(&self) -> bool {
        true
    }

    fn strike(&mut self, _: &Ground, _: &mut dyn FnMut(&'static str)) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs_f64(self.options.seconds);
        let mut ids = Vec::new();
        for kind in Kind::ALL {
            // Each of these goes to all of them, so that they are few.
            let count = if kind == Kind::Allowed { 2 } else { self.options.connections };
            for _ in 0..count {
                ids.push(self.connect(self.bombs.seats.len(), kind)?);
                self.bombs.seats.push((kind, false));
            }
        }
        while Instant::now() < end {
            self.swarm.turn(Duration::from_millis(20), &mut self.bombs).map_err(|error| error.to_string())?;
            for (seat, id) in ids.iter_mut().enumerate() {
                let (kind, has_ended) = self.bombs.seats[seat];
                if has_ended && kind.is_too_big() {
                    self.bombs.seats[seat].1 = false;
                    *id = self.connect(seat, kind)?;
                }
            }
        }
        for (seat, id) in ids.into_iter().enumerate() {
            if !self.bombs.seats[seat].1 {
                self.swarm.cut(id, Cut::Fin);
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Heard, _: &Course) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        for (kind, counts) in &self.bombs.counts {
            let words = kind.words();
            outcome.note(format!("{words}: thrown"), counts.thrown);
            for (ending, count) in &counts.endings {
                outcome.note(format!("{words}: {ending}"), *count);
            }
            let told = counts.endings.get(&Ending::Closed(Some(TOO_BIG)).to_string()).copied().unwrap_or(0);
            let (wrong, too_big) = (counts.wrong, kind.is_too_big());
            if wrong > 0 {
                outcome.faults.push(format!("{wrong} connections that sent {words} ended in another way"));
            }
            if too_big && told == 0 {
                outcome.faults.push(format!("none that sent {words} was closed with {TOO_BIG}"));
            }
            // Each of the two members gets what both publish; one may have come later than the other's first.
            if *kind == Kind::Allowed {
                outcome.note(format!("{words}: came inflated"), counts.messages);
                if counts.messages < 2 * ALLOWED as u64 {
                    outcome
                        .faults
                        .push(format!("{} {words} came, of {ALLOWED} to each of 2", counts.messages));
                }
            }
        }
        Ok(outcome)
    }
}

impl Raid<'_> {
    fn connect(&mut self, seat: usize, kind: Kind) -> Result<crate::reactor::PeerId, String> {
        let target = if kind == Kind::Allowed { &self.room } else { &self.echo };
        self.swarm.connect(target, seat).map_err(|error| error.to_string())
    }
}
