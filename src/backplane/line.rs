//! One connection to Redis, without its socket: how it is greeted, what is expected of it, and when it is given up.

use std::collections::VecDeque;
use std::sync::Arc;

use super::channels::Step;
use super::resp::{Decoder, Reply, command};
use super::script::Script;
use super::url::Url;
use crate::limits::Limits;

/// What one of a shard's two connections is for: Redis says nothing else on one that subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What is asked and answered.
    Commands,
    /// What is published.
    News,
}

/// One connection to Redis: of which shard, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The place of the shard among all shards; one Redis is the shard 0.
    pub shard: usize,
    /// What it is for.
    pub purpose: Purpose,
}

impl Line {
    /// The line on which a shard is asked.
    pub const fn commands(shard: usize) -> Self {
        Self { shard, purpose: Purpose::Commands }
    }

    /// The line on which a shard says what is published.
    pub const fn news(shard: usize) -> Self {
        Self { shard, purpose: Purpose::News }
    }

    /// A number of its own.
    pub const fn number(self) -> usize {
        2 * self.shard + self.purpose as usize
    }

    /// The line with this number.
    pub const fn numbered(number: usize) -> Self {
        let purpose = if number.is_multiple_of(2) { Purpose::Commands } else { Purpose::News };
        Self { shard: number / 2, purpose }
    }
}

/// What the next reply on the line of commands answers.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// A part of the greeting; the last of them opens the line.
    Greeting { is_last: bool },
    /// A publication, by its number.
    Published(u64),
    /// A page of a room's publications: the number of the reading, and the shard that counts it.
    Read(Arc<str>, u64, usize),
    /// What this node has said of the presence in a room.
    Seated(Arc<str>),
    /// A page of a room's users, by the number of the question.
    Listed(u64),
    /// What nobody but this node was told.
    Canary,
    /// Something that is asked of a Channels layer.
    Layer(Step),
    /// Nothing that matters.
    Nothing,
    /// Whether this is a primary.
    Role,
    /// Which server of a cluster has which slots.
    Topology,
}

/// What a reply answers.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) expected: Expected,
    since_ms: u64,
    /// What was asked, where another server may have to be asked instead.
    pub(super) asked: Option<Box<Asked>>,
}

/// A command about one slot, as it is written, and until when it is of any use.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) written: Vec<u8>,
    pub(super) slot: u16,
    pub(super) by_ms: u64,
    pub(super) tries: u8,
}

/// Whether a server that answers so when it is asked for its role is a primary; who may not ask finds out when it does not
/// take a publication.
///
/// # Errors
/// It is a replica.
pub(super) fn refuse_replica(reply: &Reply) -> Result<(), String> {
    let is_known = !matches!(reply, Reply::Error(_));
    match is_known && reply.list().first().and_then(Reply::text) != Some("master") {
        true => Err("it is not the primary".to_owned()),
        false => Ok(()),
    }
}

/// How far a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none; it is tried again then.
    Down { retry_ms: u64 },
    /// It has to be greeted by then.
    Opening { by_ms: u64 },
    /// It serves.
    Up,
}

/// The state of one line.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) output: Vec<u8>,
    /// What replies are expected.
    pub(super) expected: VecDeque<Waiting>,
    decoder: Decoder,
    /// How often in a row it was lost before it was of use.
    failures: u32,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Down { retry_ms: 0 },
            output: Vec::new(),
            expected: VecDeque::new(),
            decoder: Decoder::default(),
            failures: 0,
        }
    }

    /// Bytes of memory taken up, about.
    pub(super) fn held(&self) -> usize {
        self.output.capacity() + self.decoder.len()
    }

    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    pub(super) fn begin(&mut self, limits: &Limits, now_ms: u64) {
        self.phase = Phase::Opening { by_ms: now_ms + limits.backplane_connect_deadline.as_millis() as u64 };
        self.decoder = Decoder::default();
    }

    /// Greets the server: who this is, which database, and the scripts that will be called; where it matters, it is
    /// asked whether it is a primary.
    pub(super) fn greet(
        &mut self,
        (url, asks_role): (&Url, bool),
        name: &str,
        scripts: &[&Script],
        now_ms: u64,
    ) {
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        let db = url.db.to_string();
        match (&url.user, &url.password) {
            (Some(user), Some(password)) => {
                commands.push(vec![b"AUTH", user.as_bytes(), password.as_bytes()]);
            }
            (None, Some(password)) => commands.push(vec![b"AUTH", password.as_bytes()]),
            (_, None) => {}
        }
        let role_at = commands.len();
        if asks_role {
            commands.push(vec![b"ROLE"]);
        }
        commands.push(vec![b"CLIENT", b"SETNAME", name.as_bytes()]);
        if url.db > 0 {
            commands.push(vec![b"SELECT", db.as_bytes()]);
        }
        commands.extend(scripts.iter().map(|script| vec![&b"SCRIPT"[..], b"LOAD", script.text.as_bytes()]));
        let count = commands.len();
        for (at, parts) in commands.iter().enumerate() {
            let expected = match asks_role && at == role_at {
                true => Expected::Role,
                false => Expected::Greeting { is_last: at + 1 == count },
            };
            self.ask(expected, parts, now_ms);
        }
    }

    pub(super) fn ask(&mut self, expected: Expected, parts: &[&[u8]], now_ms: u64) {
        command(&mut self.output, parts);
        self.await_reply(expected, now_ms);
    }

    /// Expects a reply to what has just been written.
    pub(super) fn await_reply(&mut self, expected: Expected, now_ms: u64) {
        self.expected.push_back(Waiting { expected, since_ms: now_ms, asked: None });
    }

    /// Sends a command that has been written before.
    pub(super) fn ask_written(&mut self, expected: Expected, written: &[u8], now_ms: u64) {
        self.output.extend_from_slice(written);
        self.await_reply(expected, now_ms);
    }

    /// Sends a command that may have to be sent elsewhere.
    pub(super) fn ask_elsewhere(&mut self, expected: Expected, asked: Box<Asked>, now_ms: u64) {
        self.output.extend_from_slice(&asked.written);
        self.expected.push_back(Waiting { expected, since_ms: now_ms, asked: Some(asked) });
    }

    /// Says that the next command is about a slot that is on its way to this server.
    pub(super) fn say_asking(&mut self, now_ms: u64) {
        self.ask(Expected::Nothing, &[b"ASKING"], now_ms);
    }

    /// The replies in what has come; an error says why the line is of no use any more.
    pub(super) fn receive(&mut self, bytes: &[u8], limits: &Limits) -> Result<Vec<Reply>, &'static str> {
        let replies = self.decoder.receive(bytes).map_err(|_| "it does not speak as Redis does")?;
        match self.decoder.len() > limits.backplane_reply_bytes_max {
            true => Err("its reply is longer than backplane_reply_bytes_max"),
            false => Ok(replies),
        }
    }

    pub(super) fn open(&mut self) {
        self.phase = Phase::Up;
    }

    /// It is of use, which is more than that it opens.
    pub(super) fn proved(&mut self) {
        self.failures = 0;
    }

    /// Gives the line up; it is tried again after a pause that doubles, and is never twice the same for all nodes.
    pub(super) fn give_up(&mut self, limits: &Limits, random: u64, now_ms: u64) {
        let (min, max) = (limits.backplane_retry_min.as_millis(), limits.backplane_retry_max.as_millis());
        let pause = min.saturating_mul(1 << self.failures.min(20)).min(max).max(1) as u64;
        self.failures = self.failures.saturating_add(1);
        let retry_ms = now_ms + pause / 2 + random % (pause / 2 + 1);
        self.phase = Phase::Down { retry_ms };
        self.output = Vec::new();
        self.expected.clear();
        self.decoder = Decoder::default();
    }

    /// When something about the line is due: to be tried again, or to be given up.
    pub(super) fn due_ms(&self, limits: &Limits) -> u64 {
        let answer = limits.backplane_reply_deadline.as_millis() as u64;
        let overdue_ms = self.expected.front().map_or(u64::MAX, |waiting| waiting.since_ms + answer);
        match self.phase {
            Phase::Down { retry_ms } => retry_ms,
            Phase::Opening { by_ms } => by_ms.min(overdue_ms),
            Phase::Up => overdue_ms,
        }
    }
}
