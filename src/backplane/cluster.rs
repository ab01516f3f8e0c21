//! Which server of a Redis Cluster has which slots: asked of any of them, learnt from their redirections, and followed.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::line::{Expected, Line, Purpose};
use super::redirect::Later;
use super::resp::Reply;
use super::shard::Shard;
use super::slot::SLOTS;
use super::url::{Place, Server};
use super::{Backplane, Protocol, Target};

/// What this node knows of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The shard of each slot.
    owners: Vec<u16>,
    /// When the servers are asked next, and when they were asked last.
    due_ms: u64,
    asked_ms: u64,
    /// Who was asked last; the next one is asked next.
    asked: usize,
    /// When rooms and publications follow what has been learnt, and when they did so last.
    settle_ms: Option<u64>,
    settled_ms: u64,
    /// What is to be asked again.
    pub(super) later: Vec<Later>,
    /// Slots whose news a shard has said to be elsewhere, and shards that would not tell some news for now: rooms are looked
    /// through when everything follows what has been learnt, and not for each of them.
    pub(super) left: BTreeSet<(u16, usize)>,
    pub(super) refused: BTreeSet<usize>,
}

/// In the place of a slot's shard, where none is known.
const NOBODY: u16 = u16::MAX;

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            owners: vec![NOBODY; SLOTS],
            due_ms: 0,
            asked_ms: 0,
            asked: 0,
            settle_ms: None,
            settled_ms: 0,
            later: Vec::new(),
            left: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn owner(&self, slot: u16) -> Option<usize> {
        let owner = *self.owners.get(usize::from(slot))?;
        (owner != NOBODY).then_some(usize::from(owner))
    }

    /// When something is to be done.
    pub(super) fn due_ms(&self) -> u64 {
        let later = self.later.iter().map(|later| later.due_ms);
        later.chain(self.settle_ms).fold(self.due_ms, u64::min)
    }

    /// Whether every slot has a shard.
    pub(super) fn is_whole(&self) -> bool {
        self.owners.iter().all(|owner| *owner != NOBODY)
    }

    /// Bytes of memory taken up, about.
    pub(super) fn held(&self) -> usize {
        self.owners.len() * size_of::<u16>()
    }
}

/// Slots in a row, and the server that has them.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: usize,
    last: usize,
    /// Nothing, where it is the server that says so.
    host: Option<String>,
    port: u16,
    /// The address, where the name is not one.
    ip: Option<IpAddr>,
}

impl Range {
    /// Reads one entry of what `CLUSTER SLOTS` answers.
    fn read(entry: &Reply) -> Option<Self> {
        let [first, last, primary, ..] = entry.list() else { return None };
        let (first, last) = (first.number()? as usize, last.number()? as usize);
        let [host, port, rest @ ..] = primary.list() else { return None };
        let port = u16::try_from(port.number()?).ok()?;
        // Where a server is known by its name, its address stands behind its id.
        let more = rest.get(1).map_or(&[][..], Reply::list);
        let ip = more.chunks_exact(2).find(|pair| pair[0].text() == Some("ip"));
        let ip = ip.and_then(|pair| pair[1].text()?.parse().ok());
        let host = match host.text() {
            None | Some("") => None,
            // It has no name where names are preferred.
            Some("?") => Some(ip.map_or("?".to_owned(), |ip: IpAddr| ip.to_string())),
            Some(host) => Some(host.to_owned()),
        };
        (first <= last && last < SLOTS).then_some(Self { first, last, host, port, ip })
    }
}

impl Backplane {
    /// Pause between two questions about a cluster, so that what goes wrong there is not made worse; and between two
    /// such while some of it is away.
    const PAUSE_MS: u64 = 200;
    const AWAY_MS: u64 = 500;

    /// The shard that has a slot.
    pub(super) fn owner_of(&self, slot: u16) -> Option<usize> {
        self.cluster.as_ref().map_or(Some(0), |cluster| cluster.owner(slot))
    }

    /// Asks soon which server has what.
    pub(super) fn want_topology(&mut self, now_ms: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.due_ms = cluster.due_ms.min(now_ms.max(cluster.asked_ms + Self::PAUSE_MS));
        }
    }

    /// Has rooms and publications follow soon, and not for each slot of many that move.
    pub(super) fn want_settled(&mut self, now_ms: u64) {
        if let Some(cluster) = &mut self.cluster {
            let at = now_ms.max(cluster.settled_ms + Self::RETRY_MS);
            cluster.settle_ms.get_or_insert(at);
        }
    }

    /// Does what is due about a cluster.
    pub(super) fn attend_cluster(&mut self, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        let is_due = cluster.due_ms <= now_ms;
        if cluster.settle_ms.is_some_and(|at| at <= now_ms) {
            (cluster.settle_ms, cluster.settled_ms) = (None, now_ms);
            self.settle(now_ms);
        }
        self.repeat_later(now_ms);
        if is_due {
            self.ask_topology(now_ms);
        }
    }

    fn ask_topology(&mut self, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.due_ms = now_ms + Self::AWAY_MS;
        let count = self.shards.len();
        let mut in_turn = (1..=count).map(|step| (cluster.asked + step) % count);
        match in_turn.find(|shard| self.shards[*shard][Purpose::Commands].is_up()) {
            Some(shard) => {
                (cluster.asked, cluster.asked_ms) = (shard, now_ms);
                let line = &mut self.shards[shard][Purpose::Commands];
                line.ask(Expected::Topology, &[b"CLUSTER", b"SLOTS"], now_ms);
            }
            // One without slots looks for a server that answers.
            None if !self.shards.iter().any(|shard| shard.is_used() && shard.slots == 0) => {
                if let Some(seed) = self.next_seed() {
                    self.add_shard(seed);
                }
            }
            None => {}
        }
    }

    /// Takes what a server knows of the cluster.
    ///
    /// # Errors
    /// It knows of none, and is connected for nothing else.
    pub(super) fn hear_topology(&mut self, shard: usize, reply: &Reply, now_ms: u64) -> Result<(), String> {
        let ranges: Vec<Range> = reply.list().iter().filter_map(Range::read).collect();
        let unknown = match reply {
            Reply::Error(error) => Some(String::from_utf8_lossy(error).into_owned()),
            Reply::List(entries) if !ranges.is_empty() && ranges.len() == entries.len() => None,
            Reply::List(_) | Reply::Text(_) | Reply::Nil => {
                Some("it does not say which slots its servers have".to_owned())
            }
        };
        match unknown {
            Some(why) if self.shards[shard].slots == 0 => return Err(why),
            Some(why) => {
                self.say(&why);
                return Ok(());
            }
            None => {}
        }
        let mut owners = vec![NOBODY; SLOTS];
        for Range { first, last, host, port, ip } in ranges {
            let Some(server) = self.server_named((host.as_deref().unwrap_or(""), port), ip, shard) else {
                self.say(&format!("the address of `{}` is not known", host.unwrap_or_default()));
                continue;
            };
            if let Some(owner) = self.shard_at(server) {
                owners[first..=last].fill(owner as u16);
            }
        }
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        if cluster.owners != owners || self.shards[shard].slots == 0 {
            cluster.owners = owners;
            self.count_slots();
            self.want_settled(now_ms);
        }
        let is_well = self.shards.iter().all(|shard| shard.slots == 0 || shard[Purpose::Commands].is_up());
        if let Some(cluster) = self.cluster.as_mut().filter(|cluster| is_well && cluster.is_whole()) {
            cluster.due_ms = now_ms + self.limits.backplane_slots_interval.as_millis().max(1) as u64;
        }
        Ok(())
    }

    fn count_slots(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.slots = 0);
        let owners = self.cluster.iter().flat_map(|cluster| &cluster.owners);
        for owner in owners {
            if let Some(shard) = self.shards.get_mut(usize::from(*owner)) {
                shard.slots += 1;
            }
        }
    }

    /// A slot is in another shard from now on.
    pub(super) fn give_slot(&mut self, slot: u16, to: usize, now_ms: u64) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(owner) = cluster.owners.get_mut(usize::from(slot)) else { return };
        if usize::from(*owner) != to {
            *owner = to as u16;
            self.count_slots();
            self.want_settled(now_ms);
        }
    }

    /// The server with this name, as another one names it; an empty name is that one's own.
    fn server_named(&self, (host, port): (&str, u16), ip: Option<IpAddr>, by: usize) -> Option<Server> {
        let own = self.shards[by].server.as_ref();
        let own_addr = own.and_then(|server| server.addr).map(|addr| addr.ip());
        let (host, ip) = match (host, own.map(|server| &server.place)) {
            ("", Some(Place::Tcp(own, _))) => (own.as_str(), own_addr),
            (host, _) => (host, ip),
        };
        let mut server = Server::named(Place::Tcp(host.to_owned(), port));
        let known = self.seeds.iter().chain(self.shards.iter().filter_map(|shard| shard.server.as_ref()));
        let same_host = |known: &&Server| matches!(&known.place, Place::Tcp(name, _) if name == host);
        let resolved = || known.filter(same_host).find_map(|known| known.addr).map(|addr| addr.ip());
        server.addr = server.addr.or_else(|| ip.or_else(resolved).map(|ip| SocketAddr::new(ip, port)));
        server.addr.is_some().then_some(server)
    }

    /// The shard with this name, as another one names it.
    pub(super) fn find_shard(&mut self, place: (&str, u16), by: usize) -> Option<usize> {
        let server = self.server_named(place, None, by)?;
        self.shard_at(server)
    }

    /// The shard that this server is; it is made one, as far as there may be so many.
    fn shard_at(&mut self, server: Server) -> Option<usize> {
        let is_it = |shard: &Shard| shard.server.as_ref().is_some_and(|known| known.place == server.place);
        match self.shards.iter().position(is_it) {
            Some(shard) => Some(shard),
            None => self.add_shard(server),
        }
    }

    fn add_shard(&mut self, server: Server) -> Option<usize> {
        match self.shards.iter().position(|shard| !shard.is_used()) {
            Some(free) => {
                self.shards[free] = Shard::new(server);
                Some(free)
            }
            None if self.shards.len() < self.limits.backplane_shards_max.min(usize::from(NOBODY)) => {
                self.shards.push(Shard::new(server));
                Some(self.shards.len() - 1)
            }
            None => {
                self.say("there are more servers than backplane_shards_max");
                None
            }
        }
    }

    /// Has everything follow the table: rooms are listened to and read where they are, publications go there, and
    /// servers without slots are left.
    fn settle(&mut self, now_ms: u64) {
        for shard in 0..self.shards.len() {
            let entry = &self.shards[shard];
            let has_others = self.shards.iter().any(|other| other.slots > 0);
            if entry.is_used() && entry.slots == 0 && has_others {
                if entry.kept_until_ms > now_ms {
                    self.want_settled_at(self.shards[shard].kept_until_ms);
                    continue;
                }
                self.drop_line(Line::commands(shard), now_ms);
                self.drop_line(Line::news(shard), now_ms);
                self.shards[shard].server = None;
            }
        }
        self.move_rooms(now_ms);
        for shard in 0..self.shards.len() {
            if self.shards[shard].slots > 0 {
                self.name_canary(shard);
                self.read_rooms(shard, now_ms);
            }
        }
        self.send_pending(now_ms);
    }

    /// A shard does not tell some news for now: rooms that it has not confirmed ask for theirs again in a while.
    pub(super) fn news_refused(&mut self, shard: usize, now_ms: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.refused.insert(shard);
        }
        self.want_topology(now_ms);
        self.want_settled_at(now_ms + Self::AWAY_MS);
    }

    fn want_settled_at(&mut self, at_ms: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.settle_ms = Some(cluster.settle_ms.map_or(at_ms, |at| at.min(at_ms)));
        }
    }
}

impl Target {
    /// What is wrong with it, if anything is.
    pub fn contradiction(&self) -> Option<String> {
        let prefix = &self.prefix;
        match self.protocol {
            Protocol::Nodes if self.url.is_cluster && prefix.contains('{') => Some(format!(
                "its prefix `{prefix}` has a brace, by which Redis Cluster would tell where a key is"
            )),
            Protocol::Channels if self.url.is_cluster => {
                Some("a Channels layer is in one Redis, and not in a Redis Cluster".to_owned())
            }
            Protocol::Nodes | Protocol::Channels => None,
        }
    }
}

#[cfg(test)]
mod tests {
    //! A cluster of which the test says every word; real ones are in `tests/nodes`.

    use super::super::resp::Decoder;
    use super::super::url::Url;
    use super::super::{Author, Event, Kind};
    use super::*;
    use crate::id::ConnId;
    use crate::limits::Limits;
    use crate::room::log::Keep;

    /// A link to a cluster of two servers, `a` with the lower half of the slots and `b` with the others.
    struct Stage {
        backplane: Backplane,
        now_ms: u64,
        /// It sends no canaries, and does not ask about the cluster.
        is_quiet: bool,
    }

    const HALVES: [(&str, usize, usize); 2] = [("10.0.0.1", 0, 8191), ("10.0.0.2", 8192, 16_383)];

    /// In the slots 866 and 12182.
    const LOW: &str = "hello";
    const HIGH: &str = "foo";

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn slots(ranges: &[(&str, usize, usize)]) -> String {
        let entry = |(host, first, last): &(&str, usize, usize)| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n{}:7000\r\n{}", bulk(host), bulk("id"))
        };
        format!("*{}\r\n{}", ranges.len(), ranges.iter().map(entry).collect::<String>())
    }

    impl Stage {
        /// Connected to both, and nothing is owed.
        fn new() -> Self {
            let url = Url::parse("redis+cluster://10.0.0.1:7000,10.0.0.2:7000").unwrap();
            let target = Target { url, prefix: "p:".to_owned(), protocol: Protocol::Nodes };
            let backplane = Backplane::new(target, &Limits::default(), 7);
            let mut stage = Self { backplane, now_ms: 1_000_000, is_quiet: false };
            stage.connect();
            stage.tell(Line::commands(0), &slots(&HALVES));
            stage.is_quiet = true;
            stage.connect();
            for shard in 0..2 {
                stage.said(Line::commands(shard));
                stage.backplane.shards[shard][Purpose::Commands].expected.clear();
            }
            stage
        }

        /// Lets a moment pass, and connects what is to be connected.
        fn connect(&mut self) {
            for _ in 0..4 {
                self.pass(60);
                for line in self.backplane.lines() {
                    if !self.backplane.wants(line, self.now_ms) {
                        continue;
                    }
                    self.backplane.connecting(line, self.now_ms);
                    self.backplane.connected(line, self.now_ms);
                    let replies = self.said(line).matches("CLIENT").count();
                    let replies = replies + if line.purpose == Purpose::Commands { 4 } else { 0 };
                    self.tell(line, &"+OK\r\n".repeat(replies));
                }
            }
        }

        fn pass(&mut self, ms: u64) {
            self.now_ms += ms;
            if let Some(cluster) = self.backplane.cluster.as_mut().filter(|_| self.is_quiet) {
                (cluster.due_ms, self.backplane.canary_due_ms) = (u64::MAX, u64::MAX);
            }
            self.backplane.tick(self.now_ms);
        }

        fn tell(&mut self, line: Line, bytes: &str) {
            self.backplane.receive(line, bytes.as_bytes(), self.now_ms);
        }

        /// The commands that a line has to send, but for canaries and questions about the cluster.
        fn commands(&mut self, line: Line) -> Vec<Vec<String>> {
            let bytes = std::mem::take(self.backplane.output(line));
            let words = |command: Reply| {
                let words = command.list().iter().filter_map(|word| word.text().map(str::to_owned));
                words.collect::<Vec<_>>()
            };
            let commands = Decoder::default().receive(&bytes).unwrap().into_iter().map(words);
            commands.filter(|words| !words.iter().any(|word| word.contains("canary-state"))).collect()
        }

        fn said(&mut self, line: Line) -> String {
            self.commands(line).concat().join(" ")
        }

        /// Which publications a line has to send: their texts, each with a `+` where it names the one before.
        fn sent(&mut self, shard: usize) -> Vec<String> {
            let commands = self.commands(Line::commands(shard));
            let published = commands.into_iter().filter_map(|words| match words.first()?.as_str() {
                "ASKING" => Some("asking".to_owned()),
                "EVALSHA" if words[2] == "3" => Some(words[8].clone()),
                "EVALSHA" if words[2] == "4" => Some(format!("{}+", words[9])),
                _ => None,
            });
            published.collect()
        }

        fn publish(&mut self, room: &str, text: &str) {
            let author = Author::Asking(ConnId::from_bits(2));
            let said = (Kind::Text, text.as_bytes());
            self.backplane.publish((room, None), said, author, None, self.now_ms).unwrap();
        }

        /// Answers a publication on a shard with its place.
        fn place(&mut self, shard: usize, offset: u64) {
            self.tell(Line::commands(shard), &format!("*2\r\n{}:0\r\n", bulk(&format!("3:{offset}"))));
        }

        fn not_yet(&mut self, shard: usize) {
            self.tell(Line::commands(shard), &format!("*2\r\n{}:2\r\n", bulk("")));
        }

        fn answers(&mut self) -> Vec<String> {
            let events = std::iter::from_fn(|| self.backplane.pop_event());
            let answers = events.filter_map(|event| match event {
                Event::Answered(_, _, Ok(published)) => Some(published.position.to_string()),
                Event::Answered(_, _, Err(error)) => Some(error.to_string()),
                Event::Begin(..)
                | Event::Renamed(..)
                | Event::Append { .. }
                | Event::Ready(_)
                | Event::WentRound(_)
                | Event::Counted(..)
                | Event::Listed(..) => None,
            });
            answers.collect()
        }
    }

    #[test]
    fn a_room_is_published_to_and_listened_to_where_its_slot_is() {
        let mut stage = Stage::new();
        stage.publish(LOW, "low");
        stage.publish(HIGH, "high");
        assert_eq!((stage.sent(0), stage.sent(1)), (vec!["low".to_owned()], vec!["high".to_owned()]));
        (0..2).for_each(|shard| drop(stage.said(Line::news(shard))));
        let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
        stage.backplane.open(HIGH.into(), keep, stage.now_ms);
        assert_eq!(stage.said(Line::news(0)), "");
        assert_eq!(stage.said(Line::news(1)), "SSUBSCRIBE p:news{foo}:0");
    }

    #[test]
    fn what_has_moved_follows_in_its_order_and_names_the_one_before() {
        let mut stage = Stage::new();
        ["one", "two", "three"].iter().for_each(|text| stage.publish(LOW, text));
        assert_eq!(stage.sent(0), ["one", "two+", "three+"]);
        stage.tell(Line::commands(0), "-MOVED 866 10.0.0.2:7000\r\n");
        assert_eq!(stage.sent(1), ["one"]);
        // One that is published meanwhile goes to the new owner at once, and comes there before the two others.
        stage.publish(LOW, "four");
        assert_eq!(stage.sent(1), ["four+"]);
        stage.place(1, 1);
        stage.not_yet(1);
        assert_eq!((stage.sent(1), stage.answers()), (vec![], vec!["3:1".to_owned()]));
        stage.tell(Line::commands(0), &"-MOVED 866 10.0.0.2:7000\r\n".repeat(2));
        assert_eq!(stage.sent(1), ["two", "three+", "four+"], "each once");
        (2..5).for_each(|offset| stage.place(1, offset));
        assert_eq!(stage.answers(), ["3:2", "3:3", "3:4"]);
    }

    #[test]
    fn who_was_told_to_wait_for_one_that_is_given_up_goes_without_it() {
        let mut stage = Stage::new();
        stage.publish(LOW, "one");
        stage.pass(2_000);
        stage.sent(0);
        stage.tell(Line::commands(0), "-TRYAGAIN Multiple keys\r\n");
        stage.publish(LOW, "two");
        assert_eq!(stage.sent(0), [""; 0], "not before the first");
        for _ in 0..60 {
            stage.pass(60);
            if stage.answers() == ["the backplane does not answer"] {
                assert!(stage.sent(0).contains(&"two".to_owned()));
                return;
            }
            let sent = stage.sent(0).iter().filter(|text| *text != "asking").count();
            stage.tell(Line::commands(0), &"-TRYAGAIN Multiple keys\r\n".repeat(sent));
        }
        panic!("it is never given up");
    }

    #[test]
    fn who_is_asked_for_once_is_told_so_and_keeps_nothing() {
        let mut stage = Stage::new();
        stage.publish(LOW, "one");
        stage.sent(0);
        stage.tell(Line::commands(0), "-ASK 866 10.0.0.2:7000\r\n");
        assert_eq!(stage.sent(1), ["asking", "one"]);
        stage.tell(Line::commands(1), "+OK\r\n");
        stage.place(1, 1);
        stage.publish(LOW, "two");
        assert_eq!((stage.answers(), stage.sent(0)), (vec!["3:1".to_owned()], vec!["two".to_owned()]));
    }

    #[test]
    fn what_is_asked_about_a_room_follows_it_too_and_ends_in_time() {
        let mut stage = Stage::new();
        let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
        stage.backplane.open(LOW.into(), keep, stage.now_ms);
        stage.tell(Line::news(0), "*3\r\n$10\r\nssubscribe\r\n$15\r\np:news{hello}:0\r\n:1\r\n");
        assert!(stage.said(Line::commands(0)).contains("p:log{hello}"));
        stage.tell(Line::commands(0), "-ASK 866 10.0.0.2:7000\r\n");
        let asked = stage.said(Line::commands(1));
        assert!(asked.starts_with("ASKING EVALSHA") && asked.contains("p:log{hello}"), "{asked}");
        stage.tell(Line::commands(1), "+OK\r\n-TRYAGAIN Multiple keys\r\n");
        assert_eq!(stage.said(Line::commands(0)), "");
        stage.pass(60);
        assert!(stage.said(Line::commands(0)).contains("p:log{hello}"), "its owner is asked again");
        let page = "*3\r\n$1\r\n3\r\n$1\r\n0\r\n*0\r\n";
        stage.tell(Line::commands(0), page);
        let events: Vec<Event> = std::iter::from_fn(|| stage.backplane.pop_event()).collect();
        assert!(matches!(&events[..], [Event::Begin(..), Event::Ready(_)]), "{events:?}");
    }

    #[test]
    fn of_those_that_were_told_to_wait_only_the_first_is_tried_until_it_is_answered() {
        let mut stage = Stage::new();
        ["one", "two", "three", "four"].iter().for_each(|text| stage.publish(LOW, text));
        stage.sent(0);
        stage.tell(Line::commands(0), &"-TRYAGAIN Multiple keys\r\n".repeat(4));
        for _ in 0..3 {
            stage.pass(60);
            assert_eq!(stage.sent(0), ["one"]);
            stage.tell(Line::commands(0), "-TRYAGAIN Multiple keys\r\n");
        }
        stage.publish(LOW, "five");
        stage.pass(60);
        assert_eq!(stage.sent(0), ["one"]);
        stage.place(0, 1);
        assert_eq!(stage.sent(0), ["two", "three+", "four+", "five+"]);
    }

    #[test]
    fn a_page_that_was_asked_of_a_server_that_is_lost_is_read_again() {
        let mut stage = Stage::new();
        let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
        stage.backplane.open(LOW.into(), keep, stage.now_ms);
        stage.tell(Line::news(0), "*3\r\n$10\r\nssubscribe\r\n$15\r\np:news{hello}:0\r\n:1\r\n");
        stage.said(Line::commands(0));
        stage.tell(Line::commands(0), "-ASK 866 10.0.0.2:7000\r\n");
        assert!(stage.said(Line::commands(1)).starts_with("ASKING EVALSHA"));
        stage.backplane.lost(Line::commands(1), "cut", stage.now_ms);
        assert_eq!(stage.backplane.shards[0].reading, 0, "it takes nobody's place");
        stage.backplane.read_rooms(0, stage.now_ms);
        assert!(stage.said(Line::commands(0)).contains("p:log{hello}"));
    }

    #[test]
    fn what_was_sent_on_to_a_server_that_is_lost_goes_to_its_owner_again() {
        let mut stage = Stage::new();
        stage.publish(LOW, "one");
        stage.sent(0);
        stage.tell(Line::commands(0), "-ASK 866 10.0.0.2:7000\r\n");
        assert_eq!(stage.sent(1), ["asking", "one"]);
        stage.backplane.lost(Line::commands(1), "cut", stage.now_ms);
        stage.publish(LOW, "two");
        stage.pass(60);
        assert_eq!(stage.sent(0), ["one", "two+"]);
    }

    #[test]
    fn a_slot_that_leaves_takes_its_rooms_news_with_it_and_they_are_read_again() {
        let mut stage = Stage::new();
        let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
        stage.backplane.open(LOW.into(), keep, stage.now_ms);
        let channel = bulk("p:news{hello}:0");
        let confirm = format!("*3\r\n{}{channel}:1\r\n", bulk("ssubscribe"));
        stage.tell(Line::news(0), &confirm);
        stage.said(Line::commands(0));
        stage.tell(Line::commands(0), "*3\r\n$1\r\n3\r\n$1\r\n0\r\n*0\r\n");
        (0..2).for_each(|shard| drop(stage.said(Line::news(shard))));
        stage.tell(Line::news(0), &format!("*3\r\n{}{channel}:0\r\n", bulk("sunsubscribe")));
        stage.pass(60);
        // It is asked for where it was, as far as is known, and that names another one.
        assert_eq!(stage.said(Line::news(0)), "SSUBSCRIBE p:news{hello}:0");
        stage.tell(Line::news(0), "-MOVED 866 10.0.0.2:7000\r\n");
        stage.pass(60);
        assert_eq!(stage.said(Line::news(1)), "SSUBSCRIBE p:news{hello}:0");
        // What is announced before the room has been read there is not put behind what was had elsewhere.
        stage.tell(Line::news(1), &confirm);
        assert!(stage.said(Line::commands(1)).contains("p:log{hello} 3 0 "));
        let news = bulk("3 1 1 b 9 2 1\nm1");
        stage.tell(Line::news(1), &format!("*3\r\n{}{channel}{news}", bulk("smessage")));
        let appends = std::iter::from_fn(|| stage.backplane.pop_event());
        assert_eq!(appends.filter(|event| matches!(event, Event::Append { .. })).count(), 0);
    }

    #[test]
    fn a_seed_that_is_in_no_cluster_is_left_for_the_next_one() {
        for said in ["-ERR This instance has cluster support disabled\r\n", "*0\r\n"] {
            let url = Url::parse("redis+cluster://10.0.0.1:7000,10.0.0.2:7000").unwrap();
            let target = Target { url, prefix: "p:".to_owned(), protocol: Protocol::Nodes };
            let backplane = Backplane::new(target, &Limits::default(), 7);
            let mut stage = Stage { backplane, now_ms: 1_000_000, is_quiet: false };
            stage.connect();
            stage.tell(Line::commands(0), said);
            let remark = stage.backplane.take_remark().unwrap();
            assert!(remark.contains("10.0.0.1:7000: "), "{remark}");
            stage.pass(100);
            stage.connect();
            stage.tell(Line::commands(0), &slots(&[("10.0.0.2", 0, 16_383)]));
            assert!(stage.backplane.is_whole());
        }
    }

    #[test]
    fn a_slot_that_nobody_has_does_not_take_the_news_of_the_others_with_it() {
        let mut stage = Stage::new();
        let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
        stage.backplane.open(LOW.into(), keep, stage.now_ms);
        assert!(stage.said(Line::news(0)).contains("SSUBSCRIBE p:news{hello}:0"));
        let down = "-CLUSTERDOWN Hash slot not served\r\n";
        stage.tell(Line::news(0), &down.repeat(3));
        assert!(!stage.backplane.is_down(Line::news(0)), "the slot is away, and not the line");
        stage.pass(60);
        assert_eq!(stage.said(Line::news(0)), "", "not at once");
        stage.pass(500);
        assert_eq!(stage.said(Line::news(0)).matches("p:news{hello}:0").count(), 1);
    }

    #[test]
    fn servers_without_slots_are_left_and_those_that_cannot_be_had_are_said() {
        let mut stage = Stage::new();
        assert_eq!(stage.backplane.serving().count(), 2);
        stage.is_quiet = false;
        stage.backplane.want_topology(stage.now_ms);
        stage.pass(1_000);
        let asked = (0..2).find(|shard| stage.said(Line::commands(*shard)).contains("SLOTS")).unwrap();
        stage.tell(Line::commands(asked), &slots(&[("10.0.0.2", 0, 8191), ("somewhere.test", 8192, 16_383)]));
        let remark = stage.backplane.take_remark().unwrap();
        assert!(remark.ends_with("the address of `somewhere.test` is not known"), "{remark}");
        stage.pass(60);
        assert_eq!(stage.backplane.shards.iter().filter(|shard| shard.is_used()).count(), 1);
        assert!(
            stage.backplane.is_down(Line::commands(0)) && !stage.backplane.wants(Line::commands(0), u64::MAX)
        );
        assert!(!stage.backplane.is_ready(stage.now_ms), "half of the slots have nobody");
    }

    #[test]
    fn who_came_while_nobody_had_the_slot_is_told_of_when_a_server_that_was_there_has_it() {
        let mut stage = Stage::new();
        let learn = |stage: &mut Stage, ranges: &[(&str, usize, usize)]| {
            stage.is_quiet = false;
            stage.backplane.want_topology(stage.now_ms);
            stage.pass(1_000);
            stage.is_quiet = true;
            let asked = (0..2).find(|shard| stage.said(Line::commands(*shard)).contains("SLOTS")).unwrap();
            // A canary comes first, where there is one.
            stage.backplane.shards[asked][Purpose::Commands].expected.drain(..).for_each(drop);
            let line = &mut stage.backplane.shards[asked][Purpose::Commands];
            line.await_reply(Expected::Topology, stage.now_ms);
            stage.tell(Line::commands(asked), &slots(ranges));
            stage.pass(60);
        };
        learn(&mut stage, &HALVES[1..]);
        let (room, user) = (LOW.into(), "mary".into());
        let keep = Keep { messages: 10, bytes: 1000, age: std::time::Duration::from_secs(60) };
        stage.backplane.open(LOW.into(), keep, stage.now_ms);
        stage.backplane.seat(&room, &user, (1, true), stage.now_ms);
        stage.backplane.tell_presence(stage.now_ms, |_| 1);
        assert!(!stage.said(Line::commands(1)).contains("mary"));
        learn(&mut stage, &[("10.0.0.2", 0, 16_383)]);
        stage.backplane.tell_presence(stage.now_ms, |_| 1);
        assert!(stage.said(Line::commands(1)).contains("mary"));
    }

    #[test]
    fn servers_are_bounded() {
        let mut stage = Stage::new();
        stage.backplane.set_limits(&Limits { backplane_shards_max: 2, ..Limits::default() });
        stage.publish(LOW, "one");
        stage.sent(0);
        stage.tell(Line::commands(0), "-MOVED 866 10.0.0.3:7000\r\n");
        assert_eq!(stage.backplane.shards.len(), 2);
        assert!(stage.backplane.take_remark().unwrap().contains("backplane_shards_max"));
        stage.pass(60);
        assert_eq!(stage.sent(0), ["one"], "who is known is asked again");
    }

    #[test]
    fn an_entry_says_where_a_server_is_by_its_address_or_by_its_name_and_both() {
        let read = |wire: &str| {
            let replies = Decoder::default().receive(wire.as_bytes()).unwrap();
            Range::read(&replies[0])
        };
        let entry = |host: &str, more: &str| {
            let count = if more.is_empty() { 3 } else { 4 };
            format!("*3\r\n:0\r\n:5\r\n*{count}\r\n{host}:7000\r\n$2\r\nid\r\n{more}")
        };
        let range = |host: Option<&str>, ip: Option<&str>| {
            let (host, ip) = (host.map(str::to_owned), ip.map(|ip| ip.parse().unwrap()));
            Some(Range { first: 0, last: 5, host, port: 7000, ip })
        };
        assert_eq!(read(&entry(&bulk("::1"), "*0\r\n")), range(Some("::1"), None));
        let ip = format!("*2\r\n{}{}", bulk("ip"), bulk("10.0.0.9"));
        assert_eq!(read(&entry(&bulk("node.test"), &ip)), range(Some("node.test"), Some("10.0.0.9")));
        assert_eq!(read(&entry("$-1\r\n", &ip)), range(None, Some("10.0.0.9")));
        assert_eq!(read(&entry(&bulk(""), "")), range(None, None));
        // Without a name where names are preferred.
        assert_eq!(read(&entry(&bulk("?"), &ip)), range(Some("10.0.0.9"), Some("10.0.0.9")));
        assert_eq!(read(&entry(&bulk("?"), "")), range(Some("?"), None));
        assert_eq!(read("*2\r\n:0\r\n:5\r\n"), None);
    }
}
