//! Rooms that several nodes share through Redis: bytes and time go in, bytes and events come out.
//!
//! A publication is numbered, kept in the room's stream and announced in one step of Redis. A node appends to its own
//! log only what has been announced, or stands in the stream, by its offset: whatever is missing between two
//! announcements is read from the stream, and what cannot be had there is owned up to.
//!
//! A server that was promoted, or started again, may not know what was numbered last, and numbers on from what it has. So a
//! room's first publication in another *reign* begins an epoch (`script::append`), and Redis remembers where the epoch
//! before it ends: up to there a position is good, and behind it there was something that is lost.
//!
//! A shard is a server with two lines to it. One Redis, of whatever hosts it is now on one, is one shard that has all
//! rooms; of a Redis Cluster each shard has the rooms of its slots.

mod canary;
pub mod channels;
mod cluster;
mod connect;
mod event;
mod line;
mod news;
mod post;
mod presence;
mod redirect;
mod resp;
mod rooms;
mod script;
mod shard;
mod sharing;
mod slot;
pub mod url;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use cluster::Cluster;
pub use event::{Event, Kind};
use line::{Asked, Expected, Phase, State, refuse_replica};
pub use line::{Line, Purpose};
pub use post::Author;
use post::Post;
use presence::Book;
use redirect::Redirection;
use resp::{Reply, command};
use rooms::Entry;
use script::Script;
use shard::Shard;
pub use sharing::{Protocol, Sharing};
use url::{Server, Url};

use crate::limits::Limits;

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
    /// The servers that the URL names, and which of them is to be tried next.
    seeds: Vec<Server>,
    next_seed: usize,
    shards: Vec<Shard>,
    /// Which shard has what; none for one Redis.
    cluster: Option<Box<Cluster>>,
    publish: Script,
    read: Script,
    rooms: HashMap<Arc<str>, Entry>,
    /// How often a room was read.
    readings: u64,
    /// When rooms are touched the next time.
    touch_due_ms: u64,
    post: Post,
    presence: Book,
    events: VecDeque<Event>,
    /// When the next canaries are sent.
    canary_due_ms: u64,
    random: u64,
    /// What an operator is to know, until somebody asks.
    remark: Option<String>,
}

impl Backplane {
    /// A link that is not up yet. `node` is random: it names this node and the pauses between its tries.
    pub fn new(target: Target, limits: &Limits, node: u64) -> Self {
        let is_cluster = target.url.is_cluster;
        let seeds: Vec<Server> = target.url.places.iter().cloned().map(Server::named).collect();
        let mut link = Self {
            target,
            limits: limits.clone(),
            node,
            seeds: Vec::new(),
            next_seed: 0,
            shards: Vec::new(),
            cluster: is_cluster.then(|| Box::new(Cluster::new())),
            publish: Script::new(script::PUBLISH, is_cluster),
            read: Script::new(script::READ, is_cluster),
            rooms: HashMap::new(),
            readings: 0,
            touch_due_ms: 0,
            post: Post::default(),
            presence: Book::new(is_cluster),
            events: VecDeque::new(),
            canary_due_ms: 0,
            random: node | 1,
            remark: None,
        };
        link.set_seeds(seeds);
        link
    }

    /// The servers that the URL's names stand for, before any of them has been connected; a name may stand for several.
    pub fn set_seeds(&mut self, seeds: Vec<Server>) {
        self.shards = seeds.first().cloned().into_iter().map(Shard::new).collect();
        self.next_seed = 1;
        self.seeds = seeds;
        if let (None, Some(shard)) = (&self.cluster, self.shards.first_mut()) {
            shard.canary_tag = format!("{:x}", self.node);
        }
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Bounds from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = limits.clone();
        self.touch_due_ms = 0;
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

    /// The slot of a room, which says which shard has it.
    fn slot_of(&self, room: &str) -> u16 {
        if self.cluster.is_some() { slot::of_room(room) } else { 0 }
    }

    /// The shard that has a room, as far as that is known.
    fn shard_of(&self, room: &str) -> Option<usize> {
        self.owner_of(self.slot_of(room))
    }

    /// Under whom a room is, as far as that is known.
    fn reign_at(&self, room: &str) -> String {
        self.shard_of(room).map_or(Shard::UNKNOWN, |shard| self.shards[shard].reign()).to_owned()
    }

    /// Asks Redis something about a room. All of a room's keys are in one slot, and so with one server.
    fn ask_about(&mut self, room: &str, expected: Expected, parts: &[&[u8]], now_ms: u64) {
        if self.cluster.is_none() {
            return self.line(Line::commands(0)).ask(expected, parts, now_ms);
        }
        let mut written = Vec::new();
        command(&mut written, parts);
        let by_ms = now_ms + self.limits.backplane_reply_deadline.as_millis() as u64;
        let slot = slot::of_room(room);
        let asked = Box::new(Asked { written, slot, by_ms, tries: 0 });
        match self.owner_of(slot).filter(|shard| self.shards[*shard][Purpose::Commands].is_up()) {
            Some(shard) => self.shards[shard][Purpose::Commands].ask_elsewhere(expected, asked, now_ms),
            None => {
                let nobody = Reply::Error("CLUSTERDOWN the room's server is away".into());
                self.ask_later(expected, (asked, nobody), now_ms);
            }
        }
    }

    /// Notes what an operator is to know.
    fn say(&mut self, what: &str) {
        self.remark = Some(format!("backplane {}: {what}", self.target.url));
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
        let waiting = self.line(line).expected.pop_front().ok_or("it answers what was not asked")?;
        if let Reply::Error(error) = &reply {
            if self.cluster.is_some()
                && let Some(redirection) = Redirection::read(error)
            {
                self.redirected(line.shard, (redirection, &reply), waiting, now_ms);
                return Ok(());
            }
            if is_of_the_line(error, &waiting.expected) {
                // What has not been answered is asked again on the next line, under the same keys.
                self.lose(&waiting.expected);
                return Err(String::from_utf8_lossy(error).into_owned());
            }
        }
        self.hear_answer(line, waiting.expected, &reply, now_ms)
    }

    /// What was asked will not be answered.
    fn lose(&mut self, expected: &Expected) {
        if let Expected::Read(room, reading, shard) = expected {
            self.lose_page(*shard, (room, *reading));
        }
        self.lose_presence(expected);
    }

    /// Takes the answer to what was asked.
    fn hear_answer(
        &mut self,
        line: Line,
        expected: Expected,
        reply: &Reply,
        now_ms: u64,
    ) -> Result<(), String> {
        match expected {
            Expected::Greeting { is_last: true } => self.opened(line, now_ms),
            Expected::Greeting { is_last: false } | Expected::Nothing | Expected::Layer(_) => {}
            Expected::Role => refuse_replica(reply)?,
            // One that is refused, as where memory is short, is not heard either, and that is no fault of the line.
            Expected::Canary if matches!(reply, Reply::Error(_)) => {}
            Expected::Canary => {
                self.hear_reign(line.shard, reply);
                self.shards[line.shard].deaf_since_ms.get_or_insert(now_ms);
            }
            Expected::Published(number) => {
                self.hear_reign(line.shard, reply);
                self.hear_published(number, reply, now_ms);
            }
            Expected::Seated(room) => self.hear_seated(&room, reply, now_ms)?,
            Expected::Listed(number) => self.hear_listed(number, reply),
            Expected::Read(room, reading, shard) => {
                self.hear_page(shard, (&room, reading), reply, now_ms)?;
            }
            Expected::Topology => self.hear_topology(line.shard, reply, now_ms)?,
        }
        Ok(())
    }

    /// The shards that have rooms.
    fn serving(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| self.cluster.is_none() || shard.slots > 0)
    }

    /// Whether every room has a shard.
    fn is_whole(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.is_whole())
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ms: u64) {
        for line in self.lines() {
            let state = self.state(line);
            if !matches!(state.phase, Phase::Down { .. }) && state.due_ms(&self.limits) <= now_ms {
                self.lost(line, "it does not answer", now_ms);
                if line.purpose == Purpose::Commands {
                    // Who answers nothing takes nothing either: what it is to tell the news of would pile up.
                    self.drop_line(Line::news(line.shard), now_ms);
                }
            }
        }
        self.attend_cluster(now_ms);
        self.attend_post(now_ms);
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
        // The first may have gone round before anybody listened: there is a second one before that is held against a line.
        let two_canaries = 2 * self.limits.backplane_canary_interval;
        let deadline = self.limits.backplane_reply_deadline.max(two_canaries).as_millis() as u64;
        if self.shards[shard].deaf_since_ms.is_some_and(|since_ms| since_ms + deadline <= now_ms) {
            self.lost(Line::news(shard), "what is published is not heard", now_ms);
        }
        // Where a server hangs, another one may have been put in its place without that the line says so.
        if self.shards[shard].slots > 0 && !self.shards[shard].is_ready(&self.limits, now_ms) {
            self.want_topology(now_ms);
        }
        self.read_rooms(shard, now_ms);
    }

    /// When [`Backplane::tick`] is to be called the next time.
    pub fn due_ms(&self) -> u64 {
        let shards = self.shards.iter().enumerate();
        let lines = shards.map(|(at, shard)| shard.due_ms(&self.limits, self.wants_news(at)));
        let cluster = self.cluster.as_ref().map(|cluster| cluster.due_ms());
        let presence = self.presence.due_ms(self.limits.presence_pending_max);
        let due = lines.chain(cluster).chain([self.post.due_ms(), presence]);
        due.fold(self.canary_due_ms, u64::min)
    }

    /// Whether what is published goes round: a canary has come back a moment ago.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        self.is_whole() && self.serving().all(|shard| shard.is_ready(&self.limits, now_ms))
    }

    /// Bytes of memory taken up, about.
    pub fn held(&self) -> usize {
        let cluster = self.cluster.as_ref().map_or(0, |cluster| cluster.held());
        let lines: usize = self.shards.iter().map(Shard::held).sum();
        lines + self.post.held() + self.presence.held() + cluster
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
        format!("{}{what}{}", self.target.prefix, slot::braced(room))
    }

    /// Channels know no databases: the number stands in their name.
    fn channel(&self, room: &str) -> String {
        format!("{}:{}", self.key("news", room), self.target.url.db)
    }
}

/// Whether an error is about the line, or the server for the time being, and not about what was asked.
fn is_of_the_line(error: &[u8], expected: &Expected) -> bool {
    let kinds = ["NOSCRIPT", "NOAUTH", "READONLY", "LOADING", "MASTERDOWN"];
    // Before Redis 7 what goes wrong within a script is told by the script.
    let in_script = || {
        let said = error.strip_prefix(b"ERR Error running script");
        said.is_some_and(|said| said.windows(11).any(|words| words == b" -READONLY "))
    };
    matches!(expected, Expected::Greeting { .. })
        || kinds.iter().any(|kind| error.starts_with(kind.as_bytes()))
        || in_script()
}

#[cfg(test)]
mod tests {
    //! The link against a few replies by hand; real ones are in `tests/nodes`.

    use std::time::Duration;

    use super::*;
    use crate::id::ConnId;
    use crate::room::log::Keep;
    use crate::room::publish::{NotPublished, Ticket};

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
            let replies = if line == COMMANDS { 5 } else { 1 };
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
            let keep = Keep { messages: 10, bytes: 1000, age: Duration::from_secs(60) };
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
                Event::Begin(_, position, _) => format!("begin {position}"),
                Event::Renamed(_, epoch, _) => format!("epoch {epoch}"),
                Event::Append { payload, .. } => String::from_utf8_lossy(&payload).into_owned(),
                Event::Ready(_) => "ready".to_owned(),
                Event::WentRound(took_ms) => format!("round in {took_ms} ms"),
                Event::Answered(_, _, Ok(published)) => format!("at {}", published.position),
                Event::Answered(_, _, Err(error)) => error.to_string(),
                Event::Counted(_, census) => format!("{} users", census.users),
                Event::Listed(_, roster) => format!("{roster:?}"),
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
    fn what_is_announced_before_it_is_known_what_was_missed_waits_until_that_has_been_read() {
        let mut stage = Stage::new();
        stage.share("a");
        stage.page(3, 1..=2);
        stage.events();
        for line in [COMMANDS, NEWS] {
            stage.backplane.lost(line, "cut", stage.now_ms);
        }
        stage.now_ms += 50;
        stage.open(NEWS);
        stage.confirm("a");
        // It may follow upon another second one than this node has.
        stage.announce("a", 3, 3);
        assert_eq!(stage.events(), [""; 0]);
        stage.open(COMMANDS);
        stage.page(4, 1..=3);
        assert_eq!(stage.events(), ["begin 4:0", "m1", "m2", "m3"]);
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
    fn a_room_goes_on_under_another_epoch_as_far_as_the_one_before_is_a_part_of_it() {
        for (ends, want) in [(2, &["epoch 4", "m3"][..]), (3, &["epoch 4", "m3"]), (1, &["begin 4:2", "m3"])]
        {
            let mut stage = Stage::new();
            stage.share("a");
            stage.page(3, 1..=2);
            stage.events();
            stage.announce("a", 4, 3);
            assert!(stage.said(COMMANDS).contains("p:log{a} 3 2 "), "what was before that?");
            let entry = list(&[bulk("3"), bulk("3 t 7 2 1"), bulk("m3")]);
            let lineage = bulk(&format!(" 2:1 3:{ends}"));
            stage.reply(COMMANDS, &list(&[bulk("4"), bulk("3"), entry, ":0\r\n".into(), lineage]));
            assert_eq!(stage.events(), want, "{ends}");
            stage.announce("a", 4, 4);
            assert_eq!(stage.events(), ["m4"]);
        }
    }

    #[test]
    fn a_reign_is_looked_up_on_each_line_and_said_with_each_publication() {
        let mut stage = Stage::new();
        let told = |stage: &mut Stage| {
            stage.publish("one").unwrap();
            stage.said(COMMANDS).split(' ').next_back().map(str::to_owned)
        };
        assert_eq!(told(&mut stage).as_deref(), Some("?"));
        stage.reply(COMMANDS, &list(&[bulk("3:1"), ":0\r\n".into(), bulk("abc")]));
        assert_eq!(told(&mut stage).as_deref(), Some("abc"));
        stage.reply(COMMANDS, &list(&[bulk("3:2"), ":0\r\n".into()]));
        stage.backplane.lost(COMMANDS, "cut", stage.now_ms);
        stage.now_ms += 50;
        stage.open(COMMANDS);
        assert_eq!(told(&mut stage).as_deref(), Some("?"), "it may be another one");
        stage.backplane.take_remark();
        stage.reply(COMMANDS, &list(&[bulk("3:3"), ":0\r\n".into(), bulk("")]));
        assert!(stage.backplane.take_remark().is_some_and(|said| said.contains("INFO is refused")));
        stage.publish("two").unwrap();
        stage.reply(COMMANDS, &list(&[bulk("3:4"), ":0\r\n".into(), bulk("")]));
        assert_eq!(stage.backplane.take_remark(), None, "once");
    }

    #[test]
    fn nothing_is_put_behind_what_redis_may_not_have_any_more() {
        let mut stage = Stage::new();
        stage.share("a");
        stage.page(3, 1..=2);
        stage.events();
        stage.backplane.lost(COMMANDS, "it is another one", stage.now_ms);
        stage.backplane.lost(NEWS, "it is another one", stage.now_ms);
        stage.now_ms += 50;
        stage.open(NEWS);
        stage.confirm("a");
        // The other one never had the second, and has put a third behind one of its own; that is not known yet.
        stage.announce("a", 3, 3);
        assert_eq!(stage.events(), [""; 0]);
        stage.open(COMMANDS);
        assert!(
            stage.said(COMMANDS).contains("p:log{a} 3 2 2 t 7 2 1"),
            "what is there at the second's place?"
        );
        stage.page(4, 1..=3);
        assert_eq!(stage.events(), ["begin 4:0", "m1", "m2", "m3"]);
    }

    #[test]
    fn of_several_hosts_the_primary_is_found_and_both_lines_lead_there() {
        let mut stage = Stage::new();
        let url = Url::parse("redis://10.0.0.1,10.0.0.2").unwrap();
        let target = Target { url, prefix: "p:".to_owned(), protocol: Protocol::Nodes };
        stage.backplane = Backplane::new(target, &Limits::default(), 7);
        let leads_to = |stage: &Stage, line| stage.backplane.server(line).unwrap().place.to_string();
        let greet = |stage: &mut Stage, role: &str| {
            stage.backplane.connecting(COMMANDS, stage.now_ms);
            stage.backplane.connected(COMMANDS, stage.now_ms);
            assert!(stage.said(COMMANDS).starts_with("ROLE CLIENT SETNAME"));
            let role = list(&[bulk(role)]);
            stage.reply(COMMANDS, &format!("{role}{}", "+OK\r\n".repeat(5)));
        };
        assert!(!stage.backplane.wants(NEWS, stage.now_ms), "not before it is known to be the primary");
        greet(&mut stage, "slave");
        let remark = stage.backplane.take_remark().unwrap();
        assert!(remark.ends_with("10.0.0.1:6379: it is not the primary"), "{remark}");
        assert_eq!(leads_to(&stage, COMMANDS), "10.0.0.2:6379");
        stage.now_ms += 50;
        greet(&mut stage, "master");
        stage.open(NEWS);
        stage.publish("one").unwrap();
        stage.reply(COMMANDS, "-READONLY You can't write against a read only replica.\r\n");
        assert!(stage.backplane.is_down(COMMANDS) && stage.backplane.is_down(NEWS));
        assert_eq!((leads_to(&stage, NEWS), stage.events()), ("10.0.0.1:6379".to_owned(), vec![]));
        stage.now_ms += 50;
        greet(&mut stage, "master");
        assert!(stage.said(COMMANDS).contains("one"));
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
    fn what_may_be_sent_again_is_known_by_its_key_as_long_as_it_may_be() {
        let mut stage = Stage::new();
        let limits = Limits { idempotency_age: std::time::Duration::ZERO, ..Limits::default() };
        stage.backplane.set_limits(&limits);
        stage.publish("one").unwrap();
        let said = stage.said(COMMANDS);
        assert_eq!(said.split(' ').rev().nth(2), Some("10000"), "twice the deadline: {said}");
    }

    #[test]
    fn rooms_are_not_looked_through_for_those_to_be_touched_where_there_was_none() {
        let mut stage = Stage::new();
        stage.share("a");
        stage.page(3, 1..=1);
        stage.said(COMMANDS);
        let quarter_ms = stage.backplane.limits.backplane_room_age.as_millis() as u64 / 4;
        stage.backplane.touch_rooms(stage.now_ms);
        assert!(stage.backplane.touch_due_ms > stage.now_ms + 60_000);
        let mut touched = 0;
        for _ in 0..40 {
            stage.now_ms += quarter_ms / 32;
            stage.backplane.touch_rooms(stage.now_ms);
            touched += stage.said(COMMANDS).matches("PEXPIRE").count();
        }
        assert_eq!(touched, 2, "the state and the log, once");
    }

    #[test]
    fn a_publication_without_an_answer_is_given_up_in_time() {
        let mut stage = Stage::new();
        stage.publish("one").unwrap();
        stage.now_ms += 4_999;
        stage.backplane.attend_post(stage.now_ms);
        assert_eq!(stage.events(), [""; 0]);
        stage.now_ms += 1;
        assert!(stage.backplane.due_ms() <= stage.now_ms);
        stage.backplane.attend_post(stage.now_ms);
        assert_eq!(stage.events(), ["the backplane does not answer"]);
        stage.reply(COMMANDS, &list(&[bulk("3:3"), ":0\r\n".into()]));
        assert_eq!(stage.events(), [""; 0], "an answer that comes late is nobody's");
        assert_eq!(stage.backplane.post.held(), 0);
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
    fn a_canary_that_comes_late_says_how_it_was_when_it_was_sent() {
        let mut stage = Stage::new();
        let sent_ms = stage.now_ms;
        let came =
            list(&[bulk("message"), bulk("p:canary-news{7}:0"), bulk(&format!("1 1 0 n 0 - 0\n{sent_ms}"))]);
        stage.now_ms += 1_900;
        stage.reply(NEWS, &came);
        assert!(stage.backplane.is_ready(sent_ms + 2_000) && !stage.backplane.is_ready(sent_ms + 2_001));
        stage.now_ms += 3_000;
        stage.reply(NEWS, &came);
        assert!(!stage.backplane.is_ready(stage.now_ms), "its way is not known to be open now");
    }

    #[test]
    fn a_canary_that_was_published_before_anybody_listened_is_not_held_against_the_line() {
        let mut stage = Stage::new();
        let limits = Limits { backplane_reply_deadline: Duration::from_millis(400), ..Limits::default() };
        stage.backplane.set_limits(&limits);
        stage.backplane.tick(stage.now_ms);
        stage.reply(COMMANDS, &list(&[bulk("1:1"), ":0\r\n".into()]));
        stage.now_ms += 500;
        stage.backplane.tick(stage.now_ms);
        assert!(!stage.backplane.is_down(NEWS));
        stage.reply(COMMANDS, &list(&[bulk("1:1"), ":0\r\n".into()]));
        stage.now_ms += 500;
        stage.backplane.tick(stage.now_ms);
        assert!(stage.backplane.is_down(NEWS), "the second one was not heard either");
    }

    #[test]
    fn a_server_that_answers_nothing_is_not_told_more_and_more() {
        let mut stage = Stage::new();
        stage.publish("one").unwrap();
        stage.now_ms += 3_000;
        stage.backplane.tick(stage.now_ms);
        assert!(stage.backplane.is_down(COMMANDS) && stage.backplane.is_down(NEWS));
        for room in ["a", "b", "c"] {
            stage.backplane.open(room.into(), Keep::default(), stage.now_ms);
            stage.backplane.close(room);
        }
        assert_eq!(stage.said(NEWS), "", "it is told when it is there again");
    }

    #[test]
    fn a_line_that_is_back_serves_only_when_a_canary_has_come_round_on_it() {
        let mut stage = Stage::new();
        stage.backplane.tick(stage.now_ms);
        let canary = list(&[bulk("message"), bulk("p:canary-news{7}:0"), bulk("1 1 0 n 0 - 0\n")]);
        stage.reply(NEWS, &canary);
        assert!(stage.backplane.is_ready(stage.now_ms));
        stage.backplane.lost(NEWS, "cut", stage.now_ms);
        stage.now_ms += 50;
        stage.open(NEWS);
        assert!(!stage.backplane.is_ready(stage.now_ms), "what was heard was heard on another one");
        stage.reply(NEWS, &canary);
        assert!(stage.backplane.is_ready(stage.now_ms));
    }

    #[test]
    fn a_line_that_opens_and_is_of_no_use_is_tried_less_and_less_often() {
        let mut stage = Stage::new();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            stage.backplane.tick(stage.now_ms);
            stage.reply(COMMANDS, "-READONLY You can't write against a read only replica.\r\n");
            let since = stage.now_ms;
            while !stage.backplane.wants(COMMANDS, stage.now_ms) {
                stage.now_ms += 1;
            }
            pauses.push(stage.now_ms - since);
            stage.open(COMMANDS);
        }
        assert!(pauses[0] <= 50 && pauses[8..].iter().all(|pause| *pause >= 1_000), "{pauses:?}");
    }

    #[test]
    fn a_replica_says_so_in_the_words_of_a_script_too() {
        // As Redis 6 words it.
        let mut stage = Stage::new();
        stage.publish("one").unwrap();
        let why = "You can't write against a read only replica.";
        stage.reply(
            COMMANDS,
            &format!("-ERR Error running script (call to f_1): @user_script:8: @user_script: 8: -READONLY {why}\r\n"),
        );
        assert_eq!((stage.backplane.is_down(COMMANDS), stage.events()), (true, Vec::new()));
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
