//! Joining the layer through which Django Channels' processes speak, as `channels_redis` keeps it in Redis.
//!
//! What the layer is, in Redis, for the prefix `asgi`:
//!
//! * **A channel** whose name has no exclamation mark, such as that of a worker, is a sorted set `asgi<channel>` of messages,
//!   by the time at which each was sent. Whoever takes one out has it alone.
//! * **A channel with one**, `<kind>.<process>!<consumer>`, is one consumer's. All channels of a process share the sorted
//!   set `asgi<kind>.<process>!`, and the process knows from a field of each message, `__asgi_channel__`, for which of its
//!   consumers it is: one name, or a list of them.
//! * **A group** is a sorted set `asgi:group:<group>` of channels, by the time at which each joined. Who joined longer ago
//!   than `group_expiry` has left. Sending to a group is sending to each of its channels, once for all that share a set.
//! * **A message** is twelve random bytes, so that no two are the same member of a set, and a dict in MessagePack, whose
//!   `type` names the consumer's method. Who sends drops messages from the set that are older than `expiry`, and sends
//!   nothing to a set with `capacity` messages. That is all there is to delivery: at most once, and nobody is told.
//! * **Receiving** is waiting for the oldest member of the set to be taken out, and keeping it in a second set,
//!   `…!$inflight`, until it has been heard. What is in flight when somebody begins to receive comes first.
//!
//! A node is to the others one such process: its channels are `fanline.<node>!<opening>`, one for each room that is open
//! here, in the group of that room. What a room is sent comes back through the layer, also to who sent it. Its own
//! messages a node knows by their first twelve bytes, which are a number instead. Positions are the node's own, since the
//! layer has none: the order in which messages have come here.
//!
//! It is at home beside the nodes' own backplane, since it speaks with the same Redis over the same two lines, and is to the
//! engine the same: rooms are opened, what is published comes back as events.

mod dialect;
mod dict;
mod post;
mod rooms;
mod script;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub use dialect::Dialect;
use post::Pending;
use rooms::Entry;

use super::line::{Expected, Line, Phase, Purpose, State, refuse_replica};
use super::resp::Reply;
use super::script::Script;
use super::shard::Shard;
use super::url::Server;
use super::{Event, Target, is_of_the_line};
use crate::limits::Limits;

/// What the next reply answers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A room's channel has joined its group; which opening of the room that was.
    Joined(Arc<str>, u64),
    /// A message has been sent to a group, or not.
    Sent(u64),
    /// A message has been sent to a channel, or not.
    Handed(u64),
    /// A message to the group of this node alone.
    Canary,
    /// The oldest message, or none after a while.
    Oldest,
    /// More messages; whether they may be those that have been heard.
    More {
        /// The line before was lost.
        is_again: bool,
    },
}

/// The link of one node to a Channels layer.
#[derive(Debug)]
pub struct Layer {
    target: Target,
    limits: Limits,
    /// Tells this node from all others, and from itself before a restart.
    node: u64,
    /// The servers that the URL names, of which one is the primary.
    seeds: Vec<Server>,
    /// The one Redis, with the line on which it is asked, and that on which is waited for messages.
    redis: Shard,
    group: Script,
    channel: Script,
    take: Script,
    rooms: HashMap<Arc<str>, Entry>,
    /// The rooms by the numbers of their channels.
    channels: HashMap<u64, Arc<str>>,
    /// What has been said of rooms, also of those that are not open yet.
    dialects: HashMap<Arc<str>, Arc<Dialect>>,
    openings: u64,
    /// When members of groups are renewed the next time, and when the node's own was.
    touch_due_ms: u64,
    joined_ms: u64,
    pending: BTreeMap<u64, Pending>,
    pending_bytes: usize,
    /// From this number on they have not been sent.
    unsent: u64,
    /// How many have been sent and have neither come back nor been given up.
    on_way: usize,
    /// How many are to be told what has become of them; several of one that was sent under the same key.
    asking: usize,
    next_ticket: u64,
    events: VecDeque<Event>,
    /// How many lines there have been on which messages are taken.
    taking: u64,
    /// The messages that are in flight and have been heard, by what makes them unique.
    heard: HashSet<[u8; UNIQUE]>,
    canary_due_ms: u64,
    /// Messages that have failed without anybody waiting for the answer, and queues that were full.
    failed: u64,
    full: u64,
    random: u64,
    remark: Option<String>,
}

/// Bytes before each message that make it unique.
const UNIQUE: usize = 12;

impl Layer {
    /// What keys begin with, unless said otherwise: what `channels_redis` says.
    pub const PREFIX: &'static str = "asgi";

    /// A link that is not up yet. `node` is random: it names this node and the pauses between its tries.
    pub fn new(target: Target, limits: &Limits, node: u64) -> Self {
        let seeds: Vec<Server> = target.url.places.iter().cloned().map(Server::named).collect();
        Self {
            target,
            limits: limits.clone(),
            node,
            redis: Shard::new(seeds.first().cloned()),
            seeds,
            group: Script::new(script::GROUP, false),
            channel: Script::new(script::CHANNEL, false),
            take: Script::new(script::TAKE, false),
            rooms: HashMap::new(),
            channels: HashMap::new(),
            dialects: HashMap::new(),
            openings: 0,
            touch_due_ms: 0,
            joined_ms: 0,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            unsent: 0,
            on_way: 0,
            asking: 0,
            next_ticket: 1,
            events: VecDeque::new(),
            taking: 0,
            heard: HashSet::new(),
            canary_due_ms: 0,
            failed: 0,
            full: 0,
            random: node | 1,
            remark: None,
        }
    }

    /// Bounds from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = limits.clone();
    }

    /// The servers that the URL's names stand for, before any of them has been connected; a name may stand for several.
    pub fn set_seeds(&mut self, seeds: Vec<Server>) {
        self.redis = Shard::new(seeds.first().cloned());
        self.seeds = seeds;
    }

    /// Where its lines lead.
    pub fn server(&self, _line: Line) -> Option<&Server> {
        self.redis.server.as_ref()
    }

    /// Where there are several servers, messages are waited for at the one that has said that it is the primary.
    fn is_wanted(&self, purpose: Purpose) -> bool {
        purpose == Purpose::Commands || self.seeds.len() < 2 || self.is_answered()
    }

    /// All lines that there are.
    pub const LINES: [Line; 2] = [Line::commands(0), Line::news(0)];

    fn commands(&mut self) -> &mut State {
        &mut self.redis[Purpose::Commands]
    }

    /// Whether something can be asked.
    fn is_answered(&self) -> bool {
        self.redis[Purpose::Commands].is_up()
    }

    /// Whether a line is to be connected now.
    pub fn wants(&self, line: Line, now_ms: u64) -> bool {
        self.is_wanted(line.purpose)
            && matches!(self.redis[line.purpose].phase, Phase::Down { retry_ms } if retry_ms <= now_ms)
    }

    /// Whether there is no use for a line's socket.
    pub fn is_down(&self, line: Line) -> bool {
        matches!(self.redis[line.purpose].phase, Phase::Down { .. })
    }

    /// A line is being connected.
    pub fn connecting(&mut self, line: Line, now_ms: u64) {
        self.redis[line.purpose].begin(&self.limits, now_ms);
    }

    /// A line is connected.
    pub fn connected(&mut self, line: Line, now_ms: u64) {
        let name = format!("fanline-{:016x}", self.node);
        let scripts = match line.purpose {
            Purpose::Commands => vec![&self.group, &self.channel],
            Purpose::News => vec![&self.take],
        };
        let asks_role = self.seeds.len() > 1 && line.purpose == Purpose::Commands;
        self.redis[line.purpose].greet((&self.target.url, asks_role), &name, &scripts, now_ms);
    }

    /// A line is lost, or cannot be had.
    pub fn lost(&mut self, line: Line, why: &str, now_ms: u64) {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.random >> 33;
        self.say(why);
        self.redis[line.purpose].give_up(&self.limits, random, now_ms);
        (self.redis.canary_ms, self.redis.deaf_since_ms) = (None, None);
        self.let_go();
        let at = self.seeds.iter().position(|seed| Some(seed) == self.redis.server.as_ref());
        let next = at.and_then(|at| self.seeds.get((at + 1) % self.seeds.len()));
        if line.purpose == Purpose::Commands && self.seeds.len() > 1 {
            self.redis.server = next.cloned();
            // Both lines lead to the same server.
            if !self.is_down(Line::news(0)) {
                self.redis[Purpose::News].give_up(&self.limits, random, now_ms);
            }
        }
    }

    fn say(&mut self, what: &str) {
        self.remark = Some(format!("channel layer {}: {what}", self.target.url));
    }

    /// What an operator is to know, if anything has happened since it was asked the last time.
    pub fn take_remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// What a line has to send; who sends it takes it out.
    pub fn output(&mut self, line: Line) -> &mut Vec<u8> {
        &mut self.redis[line.purpose].output
    }

    /// What has come on a line.
    pub fn receive(&mut self, line: Line, bytes: &[u8], now_ms: u64) {
        match self.redis[line.purpose].receive(bytes, &self.limits) {
            Ok(replies) => {
                for reply in replies {
                    if let Err(why) = self.hear(line, &reply, now_ms) {
                        return self.lost(line, &why, now_ms);
                    }
                }
                self.send_more(now_ms);
            }
            Err(why) => self.lost(line, why, now_ms),
        }
    }

    /// Takes one reply; an error says why its line is of no use any more.
    fn hear(&mut self, line: Line, reply: &Reply, now_ms: u64) -> Result<(), String> {
        let waiting = self.redis[line.purpose].expected.pop_front().ok_or("it answers what was not asked")?;
        let expected = waiting.expected;
        if let Reply::Error(error) = reply
            && (line.purpose == Purpose::News || is_of_the_line(error, &expected))
        {
            return Err(String::from_utf8_lossy(error).into_owned());
        }
        match expected {
            Expected::Greeting { is_last: true } => self.opened(line, now_ms),
            Expected::Layer(step) => self.hear_step(step, reply, now_ms),
            Expected::Greeting { is_last: false }
            | Expected::Nothing
            | Expected::Published(_)
            | Expected::Read(..)
            | Expected::Topology
            | Expected::Seated(_)
            | Expected::Listed(_)
            | Expected::Canary => {}
            Expected::Role => refuse_replica(reply)?,
        }
        Ok(())
    }

    fn hear_step(&mut self, step: Step, reply: &Reply, now_ms: u64) {
        match step {
            Step::Joined(room, opening) => self.hear_joined(&room, opening, reply),
            Step::Sent(number) => self.hear_sent(number, reply, now_ms),
            Step::Handed(number) => self.hear_handed(number, reply, now_ms),
            Step::Canary => self.hear_canary(reply, now_ms),
            Step::Oldest => {
                if let [_, message, _] = reply.list() {
                    self.hear_message(message, now_ms);
                }
            }
            Step::More { is_again } => self.hear_more(is_again, reply, now_ms),
        }
    }

    /// A line serves: what had to wait for it goes on.
    fn opened(&mut self, line: Line, now_ms: u64) {
        self.redis[line.purpose].open();
        match line.purpose {
            Purpose::Commands => self.join_all(now_ms),
            Purpose::News => {
                self.taking += 1;
                self.take(true, now_ms);
                self.say("connected");
            }
        }
        self.canary_due_ms = now_ms;
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ms: u64) {
        for line in Self::LINES {
            let state = &self.redis[line.purpose];
            if !matches!(state.phase, Phase::Down { .. }) && state.due_ms(&self.limits) <= now_ms {
                self.lost(line, "it does not answer", now_ms);
            }
        }
        self.expire_pending(now_ms);
        self.send_more(now_ms);
        if self.dialects.len() > self.rooms.len() {
            self.dialects.retain(|room, _| self.rooms.contains_key(room));
        }
        if self.canary_due_ms <= now_ms {
            self.canary_due_ms = now_ms + self.limits.backplane_canary_interval.as_millis() as u64;
            if self.redis.is_up() {
                self.send_canary(now_ms);
            }
            let deadline = self.limits.backplane_reply_deadline.as_millis() as u64;
            if self.redis.deaf_since_ms.is_some_and(|since_ms| since_ms + deadline <= now_ms) {
                self.lost(Line::news(0), "what is sent does not come", now_ms);
            }
            self.renew_some(now_ms);
        }
    }

    /// When [`Layer::tick`] is to be called the next time.
    pub fn due_ms(&self) -> u64 {
        let pending = self.pending.values().next().map_or(u64::MAX, |pending| pending.by_ms);
        self.redis.due_ms(&self.limits, self.is_wanted(Purpose::News)).min(pending).min(self.canary_due_ms)
    }

    /// Whether what is sent goes round: a canary has come back a moment ago.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        self.redis.is_ready(&self.limits, now_ms)
    }

    /// Bytes of memory taken up, about.
    pub fn held(&self) -> usize {
        self.redis.held() + self.pending_bytes
    }

    /// The next event.
    pub fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there are events.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.target.prefix)
    }

    fn group_key(&self, group: &str) -> String {
        self.key(&format!(":group:{group}"))
    }

    /// What the names of this node's channels have in common, which is its queue.
    fn queue(&self) -> String {
        format!("fanline.{:016x}!", self.node)
    }

    fn channel_of(&self, opening: u64) -> String {
        format!("{}{opening:x}", self.queue())
    }

    /// The number in the name of a channel of this node.
    fn opening_of(&self, channel: &str) -> Option<u64> {
        u64::from_str_radix(channel.strip_prefix(&self.queue())?, 16).ok()
    }

    /// The time as the layer writes it: seconds since 1970.
    fn seconds(now_ms: u64) -> String {
        format!("{}.{:03}", now_ms / 1000, now_ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    //! The link against a few replies by hand; a real layer is in `tests/channels`.

    use std::sync::Arc;

    use super::*;
    use crate::backplane::url::Url;
    use crate::backplane::{Author, Kind, Protocol};
    use crate::id::ConnId;
    use crate::room::publish::{NotPublished, Published, Ticket};

    /// A link and a Redis of which the test says every word.
    struct Stage {
        layer: Layer,
        now_ms: u64,
    }

    const COMMANDS: Line = Line::commands(0);
    const NEWS: Line = Line::news(0);
    const NODE: u64 = 0x0123_4567_89ab_cdef;
    const QUEUE: &str = "fanline.0123456789abcdef!";

    fn bulk(bytes: &[u8]) -> Vec<u8> {
        [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
    }

    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
    }

    /// A message for channels of this node, with a number where it is one of its own.
    fn message(unique: [u8; UNIQUE], text: &str, channels: &[&str]) -> Vec<u8> {
        let channels = rmpv::Value::Array(channels.iter().map(|channel| (*channel).into()).collect());
        let fields = [("type".into(), "chat.message".into()), ("message".into(), text.into())];
        [&unique[..], &dict::write(&fields, &[(dict::CHANNELS.into(), channels)])].concat()
    }

    impl Stage {
        /// Both lines are up, and the reader waits.
        fn new() -> Self {
            let url = Url::parse("redis://host").unwrap();
            let target = Target { url, prefix: "p".to_owned(), protocol: Protocol::Channels };
            let mut stage = Self { layer: Layer::new(target, &Limits::default(), NODE), now_ms: 1_000_000 };
            stage.open(COMMANDS);
            stage.open(NEWS);
            stage.reply(NEWS, &list(&[]));
            assert!(stage.said(NEWS).contains(&format!("BZPOPMIN p{QUEUE} 1.500")));
            stage
        }

        fn open(&mut self, line: Line) {
            assert!(self.layer.wants(line, self.now_ms));
            self.layer.connecting(line, self.now_ms);
            self.layer.connected(line, self.now_ms);
            self.said(line);
            self.reply(
                line,
                "+OK\r\n".repeat(if line.purpose == Purpose::Commands { 3 } else { 2 }).as_bytes(),
            );
            match line.purpose {
                Purpose::Commands => {
                    assert!(self.said(line).contains("ZADD p:group:fanline.0123456789abcdef 1000.000"));
                    self.reply(line, b":1\r\n:1\r\n");
                }
                Purpose::News => assert!(self.said(line).contains("1048576 1048576 60 ")),
            }
        }

        fn reply(&mut self, line: Line, bytes: &[u8]) {
            self.layer.receive(line, bytes, self.now_ms);
        }

        /// What a line has to send, in words.
        fn said(&mut self, line: Line) -> String {
            let bytes = std::mem::take(self.layer.output(line));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']) && !word.is_empty());
            words.collect::<Vec<_>>().join(" ")
        }

        fn events(&mut self) -> Vec<Event> {
            std::iter::from_fn(|| self.layer.pop_event()).collect()
        }

        /// Opens the room and says that it has joined.
        fn share(&mut self, room: &str, opening: u64) {
            self.layer.open(room.into(), self.now_ms);
            let want = format!("ZADD p:group:{room} 1000.000 {QUEUE}{opening:x}");
            assert!(self.said(COMMANDS).contains(&want));
            self.reply(COMMANDS, b":1\r\n:1\r\n");
            assert!(matches!(&self.events()[..], [Event::Begin(..), Event::Ready(_)]));
        }

        fn publish(&mut self, author: Author, key: Option<&str>) -> Result<Ticket, NotPublished> {
            self.layer.publish(("lobby", true), (Kind::Text, b"mine"), (author, None), key, self.now_ms)
        }

        /// What the room has got, and whose each was.
        fn appended(&mut self) -> Vec<(String, Option<ConnId>)> {
            let appended = self.events().into_iter().filter_map(|event| match event {
                Event::Append { author, payload, .. } => {
                    let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                    Some((value["message"].as_str().unwrap().to_owned(), author))
                }
                _ => None,
            });
            appended.collect()
        }
    }

    fn asker() -> ConnId {
        ConnId::from_bits(7)
    }

    #[test]
    fn what_was_sent_comes_back_to_its_author_and_is_answered_with_its_position() {
        let mut stage = Stage::new();
        stage.share("lobby", 1);
        let ticket = stage.publish(Author::Asking(asker()), Some("k")).unwrap();
        assert!(stage.said(COMMANDS).contains("p:group:lobby"));
        stage.reply(COMMANDS, &list(&[b":2\r\n".to_vec(), b":0\r\n".to_vec(), b":1\r\n".to_vec()]));
        assert_eq!(stage.events(), [], "that it is sent is not that it has come");
        let again = stage.publish(Author::Asking(asker()), Some("k")).unwrap();
        assert_eq!(stage.said(COMMANDS), "", "it is on its way already");
        let own = message(stage.layer.unique(ticket.0), "mine", &[&format!("{QUEUE}1"), "other.x!1"]);
        stage.reply(NEWS, &[list(&[bulk(b"q"), bulk(&own), bulk(b"1")]), list(&[])].concat());
        let events = stage.events();
        assert!(matches!(events[0], Event::Append { author: Some(id), .. } if id == asker()));
        let Event::Answered(_, first, Ok(Published { position, repeated: false, .. })) = events[1] else {
            panic!("{events:?}")
        };
        assert_eq!((first, position.offset, stage.layer.pending_bytes), (ticket, 1, 0));
        assert!(matches!(events[2], Event::Answered(_, second, Ok(_)) if second == again));
        stage.publish(Author::Asking(asker()), Some("k")).unwrap();
        let repeated = Published { position, crowded: false, repeated: true };
        assert!(
            matches!(&stage.events()[..], [Event::Answered(_, _, Ok(published))] if *published == repeated)
        );
    }

    #[test]
    fn what_others_send_is_nobodys_here_and_goes_to_the_rooms_it_is_for() {
        let mut stage = Stage::new();
        stage.share("lobby", 1);
        stage.share("other", 2);
        let both =
            message([9; UNIQUE], "hi", &[&format!("{QUEUE}2"), &format!("{QUEUE}1"), &format!("{QUEUE}ff")]);
        stage.reply(NEWS, &[b"*-1\r\n".to_vec(), list(&[bulk(&both)])].concat());
        let hi = ("hi".to_owned(), None);
        assert_eq!(stage.appended(), [hi.clone(), hi]);
        stage.layer.close("other", stage.now_ms);
        assert!(stage.said(COMMANDS).contains(&format!("ZREM p:group:other {QUEUE}2")));
        stage.reply(NEWS, &[b"*-1\r\n".to_vec(), list(&[bulk(&both)])].concat());
        assert_eq!(stage.appended().len(), 1, "a room that is closed gets nothing");
    }

    #[test]
    fn a_room_that_is_named_twice_gets_a_message_once_and_rooms_do_not_hold_it_twice() {
        let mut stage = Stage::new();
        stage.share("lobby", 1);
        stage.share("other", 2);
        let names = [format!("{QUEUE}1"), format!("{QUEUE}2")];
        let many: Vec<&str> = names.iter().map(String::as_str).cycle().take(10_000).collect();
        let said = message([9; UNIQUE], "hi", &many);
        stage.reply(NEWS, &[b"*-1\r\n".to_vec(), list(&[bulk(&said)])].concat());
        let payloads = stage.events().into_iter().filter_map(|event| match event {
            Event::Append { payload, .. } => Some(payload.as_ptr()),
            _ => None,
        });
        let payloads: Vec<_> = payloads.collect();
        assert!(payloads.len() == 2 && payloads[0] == payloads[1], "{payloads:?}");
    }

    #[test]
    fn no_more_is_taken_than_a_reply_has_room_for() {
        let mut stage = Stage::new();
        stage.layer.set_limits(&Limits { backplane_reply_bytes_max: 4 << 10, ..Limits::default() });
        stage.reply(NEWS, &[b"*-1\r\n".to_vec(), list(&[])].concat());
        assert!(stage.said(NEWS).contains(" 1 1000 2048 "));
    }

    #[test]
    fn what_is_too_long_to_be_taken_is_not_passed_over_in_silence() {
        let mut stage = Stage::new();
        stage.layer.take_remark();
        stage.reply(NEWS, &[b"*-1\r\n".to_vec(), list(&[bulk(b"")])].concat());
        assert!(stage.layer.take_remark().unwrap().contains("too long"));
    }

    #[test]
    fn what_is_in_flight_when_a_line_is_lost_comes_once() {
        let mut stage = Stage::new();
        stage.share("lobby", 1);
        let say = |n: u8| bulk(&message([n; UNIQUE], &n.to_string(), &[&format!("{QUEUE}1")]));
        stage.reply(NEWS, &[b"*-1\r\n".to_vec(), list(&[say(1), say(2)])].concat());
        assert_eq!(stage.appended().len(), 2);
        stage.layer.lost(NEWS, "cut", stage.now_ms);
        stage.now_ms += 10_000;
        stage.open(NEWS);
        // Redis has not been asked for more: these have been heard.
        stage.reply(NEWS, &list(&[say(1), say(2)]));
        assert_eq!(stage.appended(), []);
        stage.layer.lost(NEWS, "cut", stage.now_ms);
        stage.now_ms += 10_000;
        stage.open(NEWS);
        // It has been, and its answer was lost: these have not.
        stage.reply(NEWS, &list(&[say(3), say(4)]));
        assert_eq!(stage.appended().len(), 2);
    }

    #[test]
    fn what_has_no_answer_in_time_is_away_and_is_never_sent_again() {
        let mut stage = Stage::new();
        stage.share("lobby", 1);
        stage.publish(Author::Asking(asker()), None).unwrap();
        stage.said(COMMANDS);
        stage.layer.lost(COMMANDS, "cut", stage.now_ms);
        stage.publish(Author::Asking(asker()), None).unwrap();
        stage.layer.connecting(COMMANDS, stage.now_ms + 1);
        stage.layer.connected(COMMANDS, stage.now_ms + 1);
        stage.said(COMMANDS);
        stage.reply(COMMANDS, "+OK\r\n".repeat(3).as_bytes());
        let said = stage.said(COMMANDS);
        assert_eq!(said.matches("EVALSHA").count(), 1, "only what had not been sent: {said}");
        stage.now_ms += 60_000;
        stage.layer.tick(stage.now_ms);
        let away = |event: &Event| matches!(event, Event::Answered(_, _, Err(NotPublished::Away)));
        let events = stage.events();
        assert!(events.len() == 2 && events.iter().all(away), "{events:?}");
        assert_eq!(stage.layer.held(), 0);
    }

    #[test]
    fn who_asks_under_one_key_all_the_time_is_refused_and_told_when_there_is_an_answer() {
        let mut stage = Stage::new();
        stage.layer.set_limits(&Limits { backplane_pending_max: 3, ..Limits::default() });
        stage.share("lobby", 1);
        for _ in 0..3 {
            stage.publish(Author::Asking(asker()), Some("k")).unwrap();
        }
        assert_eq!(stage.publish(Author::Asking(asker()), Some("k")), Err(NotPublished::Away));
        stage.now_ms += 60_000;
        stage.layer.tick(stage.now_ms);
        assert_eq!((stage.events().len(), stage.layer.asking, stage.layer.on_way), (3, 0, 0));
        stage.publish(Author::Asking(asker()), Some("k")).unwrap();
    }

    #[test]
    fn no_more_is_on_its_way_than_a_part_of_the_queue_and_what_waits_goes_in_its_order() {
        let mut stage = Stage::new();
        stage.layer.set_limits(&Limits { channels_capacity: 8, ..Limits::default() });
        stage.share("lobby", 1);
        let tickets: Vec<_> = (0..5).map(|_| stage.publish(Author::Silent(asker()), None).unwrap()).collect();
        assert_eq!(stage.said(COMMANDS).matches("p:group:lobby").count(), 2);
        let comes = |stage: &mut Stage, at: usize| {
            let own = message(stage.layer.unique(tickets[at].0), "mine", &[&format!("{QUEUE}1")]);
            stage.reply(NEWS, &[list(&[bulk(b"q"), bulk(&own), bulk(b"1")]), list(&[])].concat());
        };
        comes(&mut stage, 0);
        assert_eq!(stage.said(COMMANDS).matches("p:group:lobby").count(), 1);
        stage.layer.lost(NEWS, "cut", stage.now_ms);
        stage.layer.tick(stage.now_ms);
        let said = stage.said(COMMANDS);
        assert_eq!(
            said.matches("p:group:lobby").count(),
            2,
            "what may have been lost is not waited for: {said}"
        );
    }

    #[test]
    fn a_canary_that_finds_no_group_has_all_groups_joined_anew() {
        let mut stage = Stage::new();
        stage.share("lobby", 1);
        stage.layer.tick(stage.now_ms);
        assert!(stage.said(COMMANDS).contains("fanline.canary"));
        stage.reply(COMMANDS, &list(&[b":0\r\n".to_vec(), b":0\r\n".to_vec(), b":0\r\n".to_vec()]));
        let said = stage.said(COMMANDS);
        assert!(said.contains("ZADD p:group:lobby") && said.contains("ZADD p:group:fanline."), "{said}");
        assert!(!stage.layer.is_ready(stage.now_ms));
        let canary = message([0; UNIQUE], "", &[&format!("{QUEUE}0")]);
        stage.reply(NEWS, &[list(&[bulk(b"q"), bulk(&canary), bulk(b"1")]), list(&[])].concat());
        assert!(stage.layer.is_ready(stage.now_ms) && !stage.layer.is_ready(stage.now_ms + 60_000));
    }

    #[test]
    fn a_room_is_spoken_of_as_was_said_last_and_keeps_its_group() {
        let mut stage = Stage::new();
        let dialect = |group: &str, text: Option<&str>| {
            Arc::new(Dialect { group: group.into(), text: text.map(str::to_owned), ..Dialect::default() })
        };
        stage.layer.speak("lobby", &dialect("chat_{room}", None));
        stage.layer.open("lobby".into(), stage.now_ms);
        assert!(stage.said(COMMANDS).contains("p:group:chat_lobby"));
        stage.layer.speak("lobby", &dialect("elsewhere_{room}", Some("message")));
        stage.publish(Author::Server, None).unwrap();
        assert!(stage.said(COMMANDS).contains("p:group:chat_lobby"));
        stage.layer.speak("never opened", &dialect("x", None));
        stage.layer.speak("nor this", &dialect("x", None));
        stage.layer.tick(stage.now_ms);
        assert!(stage.layer.dialects.is_empty());
        assert_eq!(
            stage.layer.publish(("a b", true), (Kind::Text, b"x"), (Author::Server, None), None, 0),
            Err(NotPublished::Refused)
        );
    }

    #[test]
    fn of_several_hosts_the_layer_is_at_the_primary_with_both_lines() {
        let mut stage = Stage::new();
        let url = Url::parse("redis://10.0.0.1,10.0.0.2").unwrap();
        let target = Target { url, prefix: "p".to_owned(), protocol: Protocol::Channels };
        stage.layer = Layer::new(target, &Limits::default(), NODE);
        for (role, host) in [("slave", "10.0.0.1:6379"), ("master", "10.0.0.2:6379")] {
            assert!(!stage.layer.wants(NEWS, stage.now_ms), "not before it is known to be the primary");
            assert_eq!(stage.layer.server(COMMANDS).unwrap().place.to_string(), host);
            stage.layer.connecting(COMMANDS, stage.now_ms);
            stage.layer.connected(COMMANDS, stage.now_ms);
            assert!(stage.said(COMMANDS).starts_with("ROLE "));
            stage.reply(COMMANDS, &[list(&[bulk(role.as_bytes())]), b"+OK\r\n".repeat(3)].concat());
            stage.now_ms += 50;
        }
        stage.open(NEWS);
        stage.reply(COMMANDS, b"-READONLY You can't write against a read only replica.\r\n");
        assert!(stage.layer.is_down(COMMANDS) && stage.layer.is_down(NEWS));
        assert_eq!(stage.layer.server(NEWS).unwrap().place.to_string(), "10.0.0.1:6379");
    }
}
