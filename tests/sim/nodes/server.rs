//! The simulated Redis with its connections: what nodes say arrives late, in pieces, or not at all, and so does what it
//! answers; and it is stopped, killed, and comes back with what it had, with less, or with nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use fanline::backplane::Line;
use resp_rs::ParseError;
use resp_rs::resp2::{Frame, frame_to_bytes, parse_frame};

use super::order::{Lines, Order};
use super::redis::{Keys, Redis, bulk};
use crate::net::move_bytes;

/// What every key begins with.
pub const PREFIX: &str = "sim:";

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The node has asked for it.
    Asked,
    Up,
    /// One side has let go; what is on its way may still arrive.
    Over,
}

/// One connection of a node.
#[derive(Debug)]
struct Pipe {
    node: usize,
    line: Line,
    phase: Phase,
    /// The node has let go of it.
    is_left: bool,
    /// On its way to Redis.
    there: VecDeque<u8>,
    /// Arrived, and not a whole command yet.
    input: BytesMut,
    /// On its way to the node.
    back: VecDeque<u8>,
    channels: BTreeSet<Bytes>,
    has_shown_password: bool,
    /// Until when nothing moves, there and back.
    stalled_ms: [u64; 2],
}

/// What a node finds when it looks at its connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Connected,
    Bytes(Vec<u8>),
    /// It is over: refused, ended or reset.
    End,
}

pub struct Server {
    pub redis: Redis,
    pipes: BTreeMap<u64, Pipe>,
    next: u64,
    /// What the replica has, and what stands in its rooms.
    replica: (Keys, Lines),
    pub is_up: bool,
    /// It is there, and does nothing.
    pub is_stopped: bool,
    /// Nodes between whom and Redis nothing is carried.
    pub cut: BTreeSet<usize>,
    pub password: &'static str,
    begun_us: u64,
    skew_us: u64,
}

impl Server {
    pub const PASSWORD: &'static str = "right";

    /// One whose clock is ahead by so much.
    pub fn new(skew_us: u64) -> Self {
        Self {
            redis: Redis::default(),
            pipes: BTreeMap::new(),
            next: 1,
            replica: (Keys::default(), Lines::default()),
            is_up: true,
            is_stopped: false,
            cut: BTreeSet::new(),
            password: Self::PASSWORD,
            begun_us: 1_000_000_000_000,
            skew_us,
        }
    }

    fn time_us(&self, now_ms: u64) -> u64 {
        self.begun_us + self.skew_us + now_ms * 1000
    }

    /// A node connects.
    pub fn connect(&mut self, node: usize, line: Line) -> u64 {
        let id = self.next;
        self.next += 1;
        let pipe = Pipe {
            node,
            line,
            phase: Phase::Asked,
            is_left: false,
            there: VecDeque::new(),
            input: BytesMut::new(),
            back: VecDeque::new(),
            channels: BTreeSet::new(),
            has_shown_password: false,
            stalled_ms: [0; 2],
        };
        self.pipes.insert(id, pipe);
        id
    }

    /// A node lets go of a connection; what it has said may arrive all the same.
    pub fn leave(&mut self, id: u64) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.is_left = true;
            pipe.back.clear();
        }
    }

    /// A node sends up to so many of these bytes.
    pub fn send(&mut self, id: u64, bytes: &mut Vec<u8>, most: usize) {
        let sent = bytes.drain(..most.min(bytes.len()));
        // Before it hears of the end, what it says goes nowhere.
        if let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| pipe.phase == Phase::Up) {
            pipe.there.extend(sent);
        }
    }

    /// What a node finds, of what has come up to so many bytes.
    pub fn find(&mut self, id: u64, is_connected: bool, most: usize, now_ms: u64) -> Found {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Found::End };
        if pipe.stalled_ms[1] > now_ms || self.cut.contains(&pipe.node) {
            return Found::Nothing;
        }
        if !is_connected {
            return match pipe.phase {
                Phase::Asked => Found::Nothing,
                Phase::Up => Found::Connected,
                Phase::Over => Found::End,
            };
        }
        if pipe.back.is_empty() {
            return if pipe.phase == Phase::Over { Found::End } else { Found::Nothing };
        }
        let mut bytes = Vec::new();
        let len = most.min(pipe.back.len());
        move_bytes(&mut pipe.back, len, |piece| bytes.extend_from_slice(piece));
        if bytes.is_empty() { Found::Nothing } else { Found::Bytes(bytes) }
    }

    /// Whether it cannot answer this node.
    pub fn is_dead_for(&self, node: usize) -> bool {
        !self.is_up || self.is_stopped || self.cut.contains(&node)
    }

    /// Whether anything moves by itself.
    pub fn is_busy(&self, now_ms: u64) -> bool {
        self.pipes.values().any(|pipe| {
            let [there, back] = pipe.stalled_ms.map(|until| until <= now_ms);
            let answers = self.is_up && !self.is_stopped;
            let is_open = !self.cut.contains(&pipe.node);
            let knocks = pipe.phase == Phase::Asked && there;
            let says = !pipe.there.is_empty() && pipe.phase == Phase::Up && there;
            let hears = !pipe.is_left && (!pipe.back.is_empty() || pipe.phase == Phase::Over);
            is_open && (knocks || says && answers || hears && back)
        })
    }

    /// When the next connection that is stalled goes on.
    pub fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let all = self.pipes.values().flat_map(|pipe| pipe.stalled_ms);
        all.filter(|until| *until > now_ms).min()
    }

    /// Carries what is on its way, and does what has arrived.
    pub fn turn(&mut self, now_ms: u64, rng: &mut fastrand::Rng, is_calm: bool, order: &mut Order) {
        self.redis.set_time(self.time_us(now_ms));
        let mut ids: Vec<u64> = self.pipes.keys().copied().collect();
        if !is_calm {
            rng.shuffle(&mut ids);
        }
        for id in ids {
            let Some(pipe) = self.pipes.get_mut(&id) else { continue };
            if self.cut.contains(&pipe.node) || pipe.stalled_ms[0] > now_ms {
                continue;
            }
            if pipe.phase == Phase::Asked && (is_calm || rng.u8(..4) > 0) {
                // The kernel of a process that is stopped takes connections all the same.
                pipe.phase = if self.is_up { Phase::Up } else { Phase::Over };
            }
            if pipe.phase == Phase::Up && self.is_up && !self.is_stopped {
                let most = if is_calm { usize::MAX } else { [0, 1, 30, 200, usize::MAX][rng.usize(..5)] };
                let Pipe { there, input, .. } = pipe;
                let len = most.min(there.len());
                move_bytes(there, len, |piece| input.extend_from_slice(piece));
                self.obey(id, order);
            }
            let is_gone = |pipe: &Pipe| pipe.is_left && (pipe.there.is_empty() || pipe.phase != Phase::Up);
            if self.pipes.get(&id).is_some_and(is_gone) {
                self.pipes.remove(&id);
            }
        }
    }

    fn obey(&mut self, id: u64, order: &mut Order) {
        while let Some(pipe) = self.pipes.get_mut(&id) {
            let rest = pipe.input.split().freeze();
            match parse_frame(rest.clone()) {
                Ok((Frame::Array(Some(parts)), after)) => {
                    pipe.input = BytesMut::from(&after[..]);
                    let parts = parts.into_iter().map(|part| part.into_bulk_string().unwrap());
                    let replies = self.reply(id, &parts.collect::<Vec<_>>(), order);
                    let pipe = self.pipes.get_mut(&id).expect("it has just been there");
                    replies.iter().for_each(|reply| pipe.back.extend(&frame_to_bytes(reply)));
                }
                Err(ParseError::Incomplete) => {
                    pipe.input = BytesMut::from(&rest[..]);
                    return;
                }
                other => panic!("a node says {other:?}"),
            }
        }
    }

    fn reply(&mut self, id: u64, parts: &[Bytes], order: &mut Order) -> Vec<Frame> {
        let pipe = self.pipes.get_mut(&id).expect("it has said something");
        let error = |text: &'static str| vec![Frame::Error(text.into())];
        match &parts[0][..] {
            b"AUTH" => {
                pipe.has_shown_password = parts.last().is_some_and(|shown| shown == self.password);
                match pipe.has_shown_password {
                    true => vec![Frame::SimpleString("OK".into())],
                    false => error("WRONGPASS invalid username-password pair or user is disabled."),
                }
            }
            _ if !pipe.has_shown_password => error("NOAUTH Authentication required."),
            what @ (b"SUBSCRIBE" | b"UNSUBSCRIBE") => {
                let is_in = what == b"SUBSCRIBE";
                let mut replies = Vec::new();
                for channel in &parts[1..] {
                    match is_in {
                        true => pipe.channels.insert(channel.clone()),
                        false => pipe.channels.remove(channel),
                    };
                    let (what, count) =
                        (if is_in { "subscribe" } else { "unsubscribe" }, pipe.channels.len());
                    let channel = Frame::BulkString(Some(channel.clone()));
                    replies.push(Frame::Array(Some(vec![bulk(what), channel, Frame::Integer(count as i64)])));
                }
                replies
            }
            _ => {
                assert!(pipe.channels.is_empty(), "who subscribes may say nothing else, but {parts:?}");
                let reply = self.redis.call(parts);
                self.tell_news(order);
                if parts[0] == "EVALSHA" {
                    self.look(&parts[3], order);
                }
                vec![reply]
            }
        }
    }

    /// What has been published is told, and stands in the order.
    fn tell_news(&mut self, order: &mut Order) {
        for (channel, said) in std::mem::take(&mut self.redis.published) {
            if let Some(room) = room_of(&channel, "news") {
                order.accept(&room, std::str::from_utf8(&said).unwrap());
            }
            let parts =
                [bulk("message"), Frame::BulkString(Some(channel.clone())), Frame::BulkString(Some(said))];
            let message = frame_to_bytes(&Frame::Array(Some(parts.into())));
            let hears = |pipe: &&mut Pipe| pipe.channels.contains(&channel) && pipe.phase == Phase::Up;
            self.pipes.values_mut().filter(hears).for_each(|pipe| pipe.back.extend(&message));
        }
    }

    /// Whether a room has another epoch now.
    fn look(&mut self, state: &Bytes, order: &mut Order) {
        if let (Some(room), Some((epoch, offset))) = (room_of(state, "state"), self.redis.state(state)) {
            order.look(&room, epoch, offset);
        }
    }

    /// A connection is lost, for Redis now and for the node when it has read what came before that.
    pub fn lose(&mut self, node: usize, line: Line, rng: &mut fastrand::Rng, order: &mut Order) -> bool {
        let is_it =
            |pipe: &Pipe| pipe.node == node && pipe.line == line && pipe.phase == Phase::Up && !pipe.is_left;
        let Some((id, _)) = self.pipes.iter().find(|(_, pipe)| is_it(pipe)) else { return false };
        self.break_off(*id, rng, order);
        true
    }

    /// Of what is on its way some arrives, and is done or not; and so with the answers.
    fn break_off(&mut self, id: u64, rng: &mut fastrand::Rng, order: &mut Order) {
        let is_awake = self.is_up && !self.is_stopped;
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if pipe.phase == Phase::Up && is_awake && rng.bool() {
            let some = rng.usize(..=pipe.there.len());
            let Pipe { there, input, .. } = pipe;
            move_bytes(there, some, |piece| input.extend_from_slice(piece));
            self.obey(id, order);
        }
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.there.clear();
        pipe.back.truncate(rng.usize(..=pipe.back.len()));
        pipe.channels.clear();
        pipe.phase = Phase::Over;
        if pipe.is_left {
            self.pipes.remove(&id);
        }
    }

    /// Something on the way holds a connection up until then, in one direction.
    pub fn stall(&mut self, node: usize, line: Line, is_back: bool, until_ms: u64) {
        let of = |pipe: &&mut Pipe| pipe.node == node && pipe.line == line;
        for pipe in self.pipes.values_mut().filter(of) {
            pipe.stalled_ms[usize::from(is_back)] = until_ms;
        }
    }

    pub fn kill(&mut self, rng: &mut fastrand::Rng, order: &mut Order) {
        let ids: Vec<u64> = self.pipes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.break_off(id, rng, order));
        (self.is_up, self.is_stopped) = (false, false);
    }

    /// It is there again, with all that it had.
    pub fn start(&mut self, now_ms: u64) {
        let keys = self.redis.keys.clone();
        self.redis.restart(keys, self.time_us(now_ms));
        self.is_up = true;
    }

    /// It is there again, and knows nothing.
    pub fn start_empty(&mut self, now_ms: u64, order: &mut Order) {
        self.redis.restart(Keys::default(), self.time_us(now_ms));
        order.go_back_to(Lines::default());
        self.is_up = true;
        self.replicate(order);
    }

    /// Its replica takes its place, with what that has, and with another clock.
    pub fn promote(&mut self, now_ms: u64, skew_us: u64, order: &mut Order) {
        self.skew_us = skew_us;
        self.redis.restart(self.replica.0.clone(), self.time_us(now_ms));
        order.go_back_to(self.replica.1.clone());
        self.is_up = true;
    }

    /// The replica has got everything up to now.
    pub fn replicate(&mut self, order: &Order) {
        self.replica = (self.redis.keys.clone(), order.lines());
    }

    /// Somebody shortens the stream of a room.
    pub fn trim(&mut self, room: &str, kept: usize) -> usize {
        let key = format!("{PREFIX}log{{{room}}}");
        let gone = self.redis.keys.trim(&key.into(), kept);
        self.redis.trimmed += gone;
        gone
    }

    /// Nothing is wrong with it any more, nor with the way to it.
    pub fn heal(&mut self, now_ms: u64) {
        if !self.is_up {
            self.start(now_ms);
        }
        self.is_stopped = false;
        (self.redis.is_full, self.redis.is_loading) = (false, false);
        self.redis.set_read_only(false);
        self.password = Self::PASSWORD;
        self.cut.clear();
        self.pipes.values_mut().for_each(|pipe| pipe.stalled_ms = [0; 2]);
    }
}

/// The room of a key or channel of this kind.
fn room_of(name: &[u8], what: &str) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let rest = name.strip_prefix(PREFIX)?.strip_prefix(what)?.strip_prefix('{')?;
    Some(rest.rsplit_once('}')?.0.to_owned())
}
