//! Rooms that several nodes share through one Redis: bytes and time go in, bytes and events come out.
//!
//! A publication is numbered, kept in the room's stream and announced in one step of Redis. A node appends to its own
//! log only what has been announced, or stands in the stream, by its offset: whatever is missing between two
//! announcements is read from the stream, and what cannot be had there is owned up to.

pub mod channels;
mod line;
mod post;
mod resp;
mod rooms;
mod script;
mod shard;
mod sharing;
pub mod url;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use line::{Expected, Phase, State};
pub use line::{Line, Purpose};
pub use post::Author;
use post::Pending;
use resp::Reply;
use rooms::Entry;
use script::Script;
use shard::Shard;
pub use sharing::{Protocol, Sharing};
use url::Url;

use crate::id::ConnId;
use crate::limits::Limits;
use crate::room::position::Position;
use crate::room::publish::{NotPublished, Published, Ticket};

/// What a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Bytes.
    Binary,
    /// What a server has to say.
    Notice,
}

/// What the backplane has for its node.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A room goes on after this position: it has just been opened, or what came before is lost.
    Begin(Arc<str>, Position),
    /// The next publication of a room.
    Append {
        /// The room.
        room: Arc<str>,
        /// When it was published, in milliseconds since 1970.
        time_ms: u64,
        /// What it is.
        kind: Kind,
        /// The connection that published it, if it is one of this node.
        author: Option<ConnId>,
        /// The message.
        payload: Bytes,
    },
    /// A room has what there was when it was opened.
    Ready(Arc<str>),
    /// What has become of a publication, for the connection that waits to be told.
    Answered(ConnId, Ticket, Result<Published, NotPublished>),
}

/// Where the backplane is, and what its keys begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where Redis is.
    pub url: Url,
    /// What all keys and channels begin with.
    pub prefix: String,
    /// Who shares the rooms.
    pub protocol: Protocol,
}

impl Target {
    /// What keys begin with, unless said otherwise.
    pub const PREFIX: &'static str = "fanline:";
}

/// The link of one node to the others.
#[derive(Debug)]
pub struct Backplane {
    target: Target,
    limits: Limits,
    /// Tells this node from all others, and from itself before a restart.
    node: u64,
    shards: Vec<Shard>,
    publish: Script,
    read: Script,
    rooms: HashMap<Arc<str>, Entry>,
    openings: u64,
    /// When rooms are touched the next time.
    touch_due_ms: u64,
    pending: BTreeMap<u64, Pending>,
    pending_bytes: usize,
    next_ticket: u64,
    events: VecDeque<Event>,
    /// When the next canaries are sent.
    canary_due_ms: u64,
    /// Publications that have failed without anybody waiting for the answer.
    failed: u64,
    random: u64,
    /// What an operator is to know, until somebody asks.
    remark: Option<String>,
}

impl Backplane {
    /// A link that is not up yet. `node` is random: it names this node and the pauses between its tries.
    pub fn new(target: Target, limits: &Limits, node: u64) -> Self {
        Self {
            target,
            limits: limits.clone(),
            node,
            shards: vec![Shard::new()],
            publish: Script::new(script::PUBLISH),
            read: Script::new(script::READ),
            rooms: HashMap::new(),
            openings: 0,
            touch_due_ms: 0,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            next_ticket: 1,
            events: VecDeque::new(),
            canary_due_ms: 0,
            failed: 0,
            random: node | 1,
            remark: None,
        }
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Bounds from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = limits.clone();
    }

    /// All lines that there are, in use or not.
    pub fn lines(&self) -> impl Iterator<Item = Line> + use<> {
        (0..2 * self.shards.len()).map(Line::numbered)
    }

    fn state(&self, line: Line) -> &State {
        &self.shards[line.shard][line.purpose]
    }

    fn line(&mut self, line: Line) -> &mut State {
        &mut self.shards[line.shard][line.purpose]
    }

    /// The shard that has a room.
    fn shard_of(&self, _room: &str) -> usize {
        0
    }

    /// Asks Redis something about a room. All of a room's keys are in one slot, and so with one server.
    fn ask_about(&mut self, room: &str, expected: Expected, parts: &[&[u8]], now_ms: u64) {
        let shard = self.shard_of(room);
        self.line(Line::commands(shard)).ask(expected, parts, now_ms);
    }

    /// Whether a line is to be connected now.
    pub fn wants(&self, line: Line, now_ms: u64) -> bool {
        matches!(self.state(line).phase, Phase::Down { retry_ms } if retry_ms <= now_ms)
    }

    /// Whether there is no use for a line's socket.
    pub fn is_down(&self, line: Line) -> bool {
        matches!(self.state(line).phase, Phase::Down { .. })
    }

    /// A line is being connected.
    pub fn connecting(&mut self, line: Line, now_ms: u64) {
        self.shards[line.shard][line.purpose].begin(&self.limits, now_ms);
    }

    /// A line is connected.
    pub fn connected(&mut self, line: Line, now_ms: u64) {
        let name = format!("fanline-{:016x}", self.node);
        let scripts = match line.purpose {
            Purpose::Commands => vec![&self.publish, &self.read],
            Purpose::News => Vec::new(),
        };
        self.shards[line.shard][line.purpose].greet(&self.target.url, &name, &scripts, now_ms);
    }

    /// A line is lost, or cannot be had.
    pub fn lost(&mut self, line: Line, why: &str, now_ms: u64) {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.random >> 33;
        self.remark = Some(format!("backplane {}: {why}", self.target.url));
        let shard = &mut self.shards[line.shard];
        shard[line.purpose].give_up(&self.limits, random, now_ms);
        shard.deaf_since_ms = None;
        match line.purpose {
            Purpose::Commands => self.stop_reading(line.shard),
            Purpose::News => self.rooms.values_mut().for_each(Entry::unsubscribe),
        }
    }

    /// What an operator is to know, if anything has happened since it was asked the last time.
    pub fn take_remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// What a line has to send; who sends it takes it out.
    pub fn output(&mut self, line: Line) -> &mut Vec<u8> {
        &mut self.line(line).output
    }

    /// What has come on a line.
    pub fn receive(&mut self, line: Line, bytes: &[u8], now_ms: u64) {
        match self.shards[line.shard][line.purpose].receive(bytes, &self.limits) {
            Ok(replies) => {
                for reply in replies {
                    if let Err(why) = self.hear(line, reply, now_ms) {
                        return self.lost(line, &why, now_ms);
                    }
                }
            }
            Err(why) => self.lost(line, why, now_ms),
        }
    }

    /// Takes one reply; an error says why its line is of no use any more.
    fn hear(&mut self, line: Line, reply: Reply, now_ms: u64) -> Result<(), String> {
        if line.purpose == Purpose::News && self.state(line).is_up() {
            return self.hear_news(line.shard, &reply, now_ms);
        }
        let (expected, _) = self.line(line).expected.pop_front().ok_or("it answers what was not asked")?;
        if let Reply::Error(error) = &reply
            && is_of_the_line(error, &expected)
        {
            // What has not been answered is asked again on the next line, under the same keys.
            return Err(String::from_utf8_lossy(error).into_owned());
        }
        match expected {
            Expected::Greeting { is_last: true } => self.opened(line, now_ms),
            Expected::Greeting { is_last: false } | Expected::Nothing | Expected::Layer(_) => {}
            // One that is refused, as where memory is short, is not heard either, and that is no fault of the line.
            Expected::Canary if matches!(reply, Reply::Error(_)) => {}
            Expected::Canary => {
                self.shards[line.shard].deaf_since_ms.get_or_insert(now_ms);
            }
            Expected::Published(number) => self.hear_published(number, &reply),
            Expected::Read(room, opening) => self.hear_page(line.shard, (&room, opening), &reply, now_ms)?,
        }
        Ok(())
    }

    /// A line serves: what had to wait for it goes on.
    fn opened(&mut self, line: Line, now_ms: u64) {
        self.line(line).open();
        match line.purpose {
            Purpose::Commands => {
                self.send_pending(line.shard, now_ms);
                self.read_rooms(line.shard, now_ms);
            }
            Purpose::News => {
                self.subscribe_all(line.shard);
                self.remark = Some(format!("backplane {}: connected", self.target.url));
            }
        }
        self.canary_due_ms = now_ms;
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ms: u64) {
        for line in self.lines() {
            let state = self.state(line);
            if !matches!(state.phase, Phase::Down { .. }) && state.due_ms(&self.limits) <= now_ms {
                self.lost(line, "it does not answer", now_ms);
            }
        }
        self.expire_pending(now_ms);
        if self.canary_due_ms <= now_ms {
            self.canary_due_ms = now_ms + self.limits.backplane_canary_interval.as_millis() as u64;
            for shard in 0..self.shards.len() {
                self.look_after(shard, now_ms);
            }
            self.touch_rooms(now_ms);
        }
    }

    /// Sees to it that a shard serves.
    fn look_after(&mut self, shard: usize, now_ms: u64) {
        if self.shards[shard].is_up() {
            self.send_canary(shard, now_ms);
        }
        let deadline = self.limits.backplane_reply_deadline.as_millis() as u64;
        if self.shards[shard].deaf_since_ms.is_some_and(|since_ms| since_ms + deadline <= now_ms) {
            self.lost(Line::news(shard), "what is published is not heard", now_ms);
        }
        self.read_rooms(shard, now_ms);
    }

    /// When [`Backplane::tick`] is to be called the next time.
    pub fn due_ms(&self) -> u64 {
        let lines = self.shards.iter().map(|shard| shard.due_ms(&self.limits));
        let pending = self.pending.values().next().map(|pending| pending.by_ms);
        lines.chain(pending).fold(self.canary_due_ms, u64::min)
    }

    /// Whether what is published goes round: a canary has come back a moment ago.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        self.shards.iter().all(|shard| shard.is_ready(&self.limits, now_ms))
    }

    /// Bytes of memory taken up, about.
    pub fn held(&self) -> usize {
        self.shards.iter().map(Shard::held).sum::<usize>() + self.pending_bytes
    }

    /// The next event.
    pub fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there are events.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// A name below the prefix: what it is, and the room's name in braces, which puts all of a room into one slot.
    fn key(&self, what: &str, room: &str) -> String {
        format!("{}{what}{{{room}}}", self.target.prefix)
    }

    /// Channels know no databases: the number stands in their name.
    fn channel(&self, room: &str) -> String {
        format!("{}:{}", self.key("news", room), self.target.url.db)
    }
}

/// Whether an error is about the line, or the server for the time being, and not about what was asked.
fn is_of_the_line(error: &[u8], expected: &Expected) -> bool {
    let kinds = ["NOSCRIPT", "NOAUTH", "READONLY", "LOADING", "MASTERDOWN"];
    matches!(expected, Expected::Greeting { .. })
        || kinds.iter().any(|kind| error.starts_with(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    //! The link against a few replies by hand; real ones are in `tests/nodes`.

    use super::*;
    use crate::room::log::Keep;

    const COMMANDS: Line = Line::commands(0);
    const NEWS: Line = Line::news(0);

    /// A link and a Redis of which the test says every word.
    struct Stage {
        backplane: Backplane,
        now_ms: u64,
    }

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn list(items: &[String]) -> String {
        format!("*{}\r\n{}", items.len(), items.concat())
    }

    impl Stage {
        /// Both lines are up.
        fn new() -> Self {
            let target = Target {
                url: Url::parse("redis://host").unwrap(),
                prefix: "p:".to_owned(),
                protocol: Protocol::Nodes,
            };
            let mut stage = Self { backplane: Backplane::new(target, &Limits::default(), 7), now_ms: 1_000 };
            stage.open(COMMANDS);
            stage.open(NEWS);
            stage
        }

        fn open(&mut self, line: Line) {
            assert!(self.backplane.wants(line, self.now_ms));
            self.backplane.connecting(line, self.now_ms);
            self.backplane.connected(line, self.now_ms);
            let greeting = self.said(line);
            assert!(greeting.starts_with("CLIENT SETNAME fanline-0000000000000007"), "{greeting}");
            let replies = if line == COMMANDS { 3 } else { 1 };
            self.reply(line, &"+OK\r\n".repeat(replies));
        }

        fn reply(&mut self, line: Line, bytes: &str) {
            self.backplane.receive(line, bytes.as_bytes(), self.now_ms);
        }

        /// What a line has to send, in words.
        fn said(&mut self, line: Line) -> String {
            let bytes = std::mem::take(self.backplane.output(line));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']) && !word.is_empty());
            words.collect::<Vec<_>>().join(" ")
        }

        fn share(&mut self, room: &str) {
            let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
            self.backplane.open(room.into(), keep, self.now_ms);
            assert_eq!(self.said(NEWS).split(' ').next_back(), Some(&*format!("p:news{{{room}}}:0")));
            self.confirm(room);
        }

        fn confirm(&mut self, room: &str) {
            let channel = format!("p:news{{{room}}}:0");
            self.reply(NEWS, &list(&[bulk("subscribe"), bulk(&channel), ":1\r\n".into()]));
        }

        /// A page of the room from this offset to that one.
        fn page(&mut self, epoch: u64, offsets: std::ops::RangeInclusive<u64>) {
            let latest = *offsets.end();
            let entries = offsets.flat_map(|offset| {
                [bulk(&offset.to_string()), bulk(&format!("{offset} t 7 2 1")), bulk(&format!("m{offset}"))]
            });
            let entries: Vec<String> = entries.collect();
            let page = list(&[bulk(&epoch.to_string()), bulk(&latest.to_string()), list(&entries)]);
            self.reply(COMMANDS, &page);
        }

        fn announce(&mut self, room: &str, epoch: u64, offset: u64) {
            let said = format!("{epoch} {offset} {offset} b 9 2 1\nm{offset}");
            let channel = format!("p:news{{{room}}}:0");
            self.reply(NEWS, &list(&[bulk("message"), bulk(&channel), bulk(&said)]));
        }

        /// What has happened, each in a word.
        fn events(&mut self) -> Vec<String> {
            let events = std::iter::from_fn(|| self.backplane.pop_event());
            let word = |event| match event {
                Event::Begin(_, position) => format!("begin {position}"),
                Event::Append { payload, .. } => String::from_utf8_lossy(&payload).into_owned(),
                Event::Ready(_) => "ready".to_owned(),
                Event::Answered(_, _, Ok(published)) => format!("at {}", published.position),
                Event::Answered(_, _, Err(error)) => error.to_string(),
            };
            events.map(word).collect()
        }

        fn publish(&mut self, text: &str) -> Result<Ticket, NotPublished> {
            let author = Author::Asking(ConnId::from_bits(2));
            let said = (Kind::Text, text.as_bytes());
            self.backplane.publish(("a", None), said, author, None, self.now_ms)
        }
    }

    #[test]
    fn a_room_is_subscribed_then_read_then_followed() {
        let mut stage = Stage::new();
        stage.share("a");
        assert!(stage.said(COMMANDS).contains("p:state{a} p:log{a}"));
        stage.announce("a", 3, 12);
        assert_eq!(stage.events(), [""; 0], "what is announced before it has been read is read");
        stage.page(3, 11..=12);
        assert_eq!(stage.events(), ["begin 3:10", "m11", "m12", "ready"]);
        stage.announce("a", 3, 13);
        stage.announce("a", 3, 13);
        stage.announce("a", 3, 12);
        assert_eq!(stage.events(), ["m13"], "each once");
        assert_eq!(stage.said(COMMANDS), "", "nothing is missing");
    }

    #[test]
    fn what_is_missing_is_read_and_what_is_announced_meanwhile_is_read_again() {
        let mut stage = Stage::new();
        stage.share("a");
        stage.page(3, 1..=1);
        stage.events();
        stage.said(COMMANDS);
        stage.announce("a", 3, 3);
        assert!(stage.said(COMMANDS).contains("p:log{a} 3 1 1 t 7 2 1 10"), "from the last one on");
        stage.announce("a", 3, 4);
        stage.announce("a", 3, 5);
        assert_eq!((stage.said(COMMANDS), stage.events()), (String::new(), Vec::new()));
        stage.page(3, 2..=4);
        assert_eq!(stage.events(), ["m2", "m3", "m4"]);
        assert!(stage.said(COMMANDS).contains("p:log{a} 3 4 "), "the fifth has been announced");
        stage.page(3, 5..=5);
        assert_eq!(stage.events(), ["m5"]);
    }

    #[test]
    fn what_cannot_be_had_begins_the_room_anew() {
        let mut stage = Stage::new();
        stage.share("a");
        stage.page(3, 1..=1);
        stage.events();
        stage.announce("a", 3, 9);
        stage.page(3, 8..=9);
        assert_eq!(stage.events(), ["begin 3:7", "m8", "m9"], "trimmed");
        stage.announce("a", 4, 1);
        stage.page(4, 1..=1);
        assert_eq!(stage.events(), ["begin 4:0", "m1"], "another epoch");
    }

    #[test]
    fn a_line_that_is_lost_is_tried_again_later_and_what_was_not_answered_is_sent_again() {
        let mut stage = Stage::new();
        stage.share("a");
        stage.page(3, 1..=1);
        stage.events();
        stage.said(COMMANDS);
        stage.publish("one").unwrap();
        stage.publish("two").unwrap();
        let first = stage.said(COMMANDS);
        stage.reply(COMMANDS, &list(&[bulk("3:2"), ":0\r\n".into()]));
        assert_eq!(stage.events(), ["at 3:2"]);
        stage.backplane.lost(COMMANDS, "cut", stage.now_ms);
        assert!(!stage.backplane.wants(COMMANDS, stage.now_ms), "after a pause");
        stage.now_ms += 50;
        stage.open(COMMANDS);
        let again = stage.said(COMMANDS);
        assert!(first.ends_with(&again) && again.contains("two") && !again.contains("one"), "{again}");
        stage.reply(COMMANDS, &list(&[bulk("3:3"), ":1\r\n".into()]));
        assert_eq!(stage.events(), ["at 3:3"]);
    }

    #[test]
    fn a_publication_without_an_answer_is_given_up_in_time() {
        let mut stage = Stage::new();
        stage.publish("one").unwrap();
        stage.now_ms += 4_999;
        stage.backplane.expire_pending(stage.now_ms);
        assert_eq!(stage.events(), [""; 0]);
        stage.now_ms += 1;
        assert!(stage.backplane.due_ms() <= stage.now_ms);
        stage.backplane.expire_pending(stage.now_ms);
        assert_eq!(stage.events(), ["the backplane does not answer"]);
        stage.reply(COMMANDS, &list(&[bulk("3:3"), ":0\r\n".into()]));
        assert_eq!(stage.events(), [""; 0], "an answer that comes late is nobody's");
        assert_eq!((stage.backplane.pending_bytes, stage.backplane.pending.len()), (0, 0));
    }

    #[test]
    fn more_than_may_be_on_its_way_is_refused() {
        let limits = Limits { backplane_pending_max: 2, ..Limits::default() };
        let mut stage = Stage::new();
        stage.backplane.set_limits(&limits);
        assert!(stage.publish("one").is_ok() && !stage.backplane.is_crowded());
        assert!(stage.publish("two").is_ok() && stage.backplane.is_crowded());
        assert_eq!(stage.publish("three"), Err(NotPublished::Away));
    }

    #[test]
    fn scripts_that_redis_has_forgotten_are_loaded_again() {
        let mut stage = Stage::new();
        stage.publish("one").unwrap();
        stage.said(COMMANDS);
        stage.reply(COMMANDS, "-NOSCRIPT No matching script.\r\n");
        assert!(stage.backplane.is_down(COMMANDS) && stage.events().is_empty());
        stage.now_ms += 50;
        stage.open(COMMANDS);
        assert!(stage.said(COMMANDS).contains("one"));
    }

    #[test]
    fn a_canary_that_is_published_and_not_heard_ends_the_line_that_hears() {
        let mut stage = Stage::new();
        assert!(!stage.backplane.is_ready(stage.now_ms));
        stage.backplane.tick(stage.now_ms);
        let canary = list(&[bulk("1:1"), ":0\r\n".into()]);
        stage.reply(COMMANDS, &canary);
        stage.reply(NEWS, &list(&[bulk("message"), bulk("p:canary-news{7}:0"), bulk("1 1 0 n 0 - 0\n")]));
        assert!(stage.backplane.is_ready(stage.now_ms) && stage.backplane.is_ready(stage.now_ms + 2_000));
        assert!(!stage.backplane.is_ready(stage.now_ms + 2_001));
        for _ in 0..7 {
            stage.now_ms += 500;
            stage.backplane.tick(stage.now_ms);
            stage.reply(COMMANDS, &canary);
        }
        assert!(stage.backplane.is_down(NEWS) && !stage.backplane.is_down(COMMANDS));
    }

    #[test]
    fn pauses_between_tries_grow_to_their_bound_and_differ() {
        let mut stage = Stage::new();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            stage.backplane.lost(NEWS, "cut", stage.now_ms);
            let since = stage.now_ms;
            while !stage.backplane.wants(NEWS, stage.now_ms) {
                stage.now_ms += 1;
            }
            pauses.push(stage.now_ms - since);
            stage.backplane.connecting(NEWS, stage.now_ms);
        }
        assert!(pauses[0] <= 50 && pauses.iter().all(|pause| *pause <= 2_000), "{pauses:?}");
        let long: std::collections::BTreeSet<u64> = pauses[8..].iter().copied().collect();
        assert!(long.len() > 20 && long.iter().all(|pause| *pause >= 1_000), "{pauses:?}");
    }

    #[test]
    fn many_rooms_are_read_some_at_a_time_and_names_of_rooms_that_are_gone_do_not_pile_up() {
        let mut stage = Stage::new();
        let rooms: Vec<String> = (0..600).map(|i| format!("room-{i}")).collect();
        rooms.iter().for_each(|room| stage.share(room));
        let mut asked = stage.said(COMMANDS).matches("EVALSHA").count();
        assert_eq!(asked, 256);
        for _ in 0..600 {
            stage.page(3, 1..=1);
            asked += stage.said(COMMANDS).matches("EVALSHA").count();
        }
        assert_eq!((asked, stage.events().iter().filter(|event| *event == "ready").count()), (600, 600));
        stage.backplane.lost(COMMANDS, "cut", stage.now_ms);
        for _ in 0..10_000 {
            stage.share("fleeting");
            stage.backplane.close("fleeting");
            stage.said(NEWS);
        }
        assert!(stage.backplane.shards[0].unread.len() < 2_000, "{}", stage.backplane.shards[0].unread.len());
    }

    #[test]
    fn what_is_no_redis_is_given_up() {
        let mut stage = Stage::new();
        stage.reply(COMMANDS, "HTTP/1.1 400 Bad Request\r\n");
        assert!(stage.backplane.is_down(COMMANDS));
        assert_eq!(
            stage.backplane.take_remark().unwrap(),
            "backplane redis://host:6379/0: it does not speak as Redis does"
        );
    }
}
