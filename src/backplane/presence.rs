//! Who is in the rooms: what this node knows of it is told to Redis, where what all nodes know comes together.
//!
//! Of each room the state of its users is told, not what has happened: whatever waits is told as it is by then, and is
//! told again where it is not known whether it has been heard. Each step names the version that Redis is to have of this
//! node; where it has another, because the lease was over or Redis has lost something, all of the node is told anew.

mod list;
mod room;
mod script;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use room::Present;
use script::{LIST, SEAT};

use super::line::{Expected, Purpose};
use super::resp::Reply;
use super::script::Script;
use super::{Backplane, Event};
use crate::id::ConnId;
use crate::room::presence::Census;

/// The presence in all rooms, and when which is to be told.
#[derive(Debug)]
pub(super) struct Book {
    rooms: HashMap<Arc<str>, Present>,
    agenda: BTreeSet<(u64, Arc<str>)>,
    asking: usize,
    /// Who waits for a list, by the number of the question.
    questions: BTreeMap<u64, ConnId>,
    asked: u64,
    pub(super) seat: Script,
    pub(super) list: Script,
}

impl Book {
    pub(super) fn new(is_cluster: bool) -> Self {
        Self {
            rooms: HashMap::new(),
            agenda: BTreeSet::new(),
            asking: 0,
            questions: BTreeMap::new(),
            asked: 0,
            seat: Script::new(SEAT, is_cluster),
            list: Script::new(LIST, is_cluster),
        }
    }

    /// Sees to it that a room has its turn by then.
    fn plan(&mut self, room: &Arc<str>, due_ms: u64) {
        let Some(present) = self.rooms.get_mut(room).filter(|present| !present.is_asking) else { return };
        if present.due_ms.is_some_and(|due| due <= due_ms) {
            return;
        }
        if let Some(before) = present.due_ms.replace(due_ms) {
            self.agenda.remove(&(before, room.clone()));
        }
        self.agenda.insert((due_ms, room.clone()));
    }

    fn forget(&mut self, room: &Arc<str>) {
        if let Some(due) = self.rooms.remove(room).and_then(|present| present.due_ms) {
            self.agenda.remove(&(due, room.clone()));
        }
    }

    /// When the next room has its turn.
    pub(super) fn due_ms(&self, asking_max: usize) -> u64 {
        match self.asking < asking_max {
            true => self.agenda.first().map_or(u64::MAX, |(due_ms, _)| *due_ms),
            false => u64::MAX,
        }
    }

    /// Bytes of memory taken up, about: names are shared with the connections that bear them.
    pub(super) fn held(&self) -> usize {
        self.rooms.len() * size_of::<Present>()
    }
}

impl Backplane {
    /// Users told of in one step, or cleared away, so that a crowd that comes or goes at once does not hold up the others.
    const SEATED: usize = 64;

    /// A user has so many connections in a room here now, none when the last has gone; and whether it is announced.
    pub fn seat(
        &mut self,
        room: &Arc<str>,
        user: &Arc<str>,
        (connections, is_announced): (u32, bool),
        now_ms: u64,
    ) {
        let present = self.presence.rooms.entry(room.clone()).or_default();
        if present.set(user, connections, is_announced) {
            self.presence.plan(room, now_ms);
        }
        self.drop_strays();
    }

    /// Rooms that come and go while nothing can be told leave nothing behind: what Redis has of them ends with the lease.
    fn drop_strays(&mut self) {
        if self.presence.rooms.len() <= 2 * self.rooms.len() + 1024 {
            return;
        }
        let stray = |(room, present): (&Arc<str>, &Present)| {
            let is_stray = !self.rooms.contains_key(room) && !present.is_asking && !present.has_users();
            is_stray.then(|| room.clone())
        };
        let strays: Vec<Arc<str>> = self.presence.rooms.iter().filter_map(stray).collect();
        strays.iter().for_each(|room| self.presence.forget(room));
    }

    /// Somebody is listed in a room that is open here, if not by this node: it is to be noticed when a node dies.
    pub(super) fn watch(&mut self, room: &Arc<str>, due_ms: u64) {
        if self.rooms.contains_key(room) {
            self.presence.rooms.entry(room.clone()).or_default();
            self.presence.plan(room, due_ms);
        }
    }

    /// Somebody has come or gone in a room.
    pub fn noticed(&mut self, room: &Arc<str>, now_ms: u64) {
        self.watch(room, now_ms + self.lease_third());
    }

    /// A room is open anew: nothing is known of it.
    pub(super) fn look_again(&mut self, room: &Arc<str>, now_ms: u64) {
        if let Some(present) = self.presence.rooms.get_mut(room) {
            present.census = Census::default();
            self.presence.plan(room, now_ms);
        }
    }

    /// A shard can be asked again: it hears of all rooms.
    pub(super) fn renew_presence(&mut self, shard: usize, now_ms: u64) {
        self.shards[shard].settles_ms = now_ms + self.lease_third();
        let rooms: Vec<Arc<str>> = self.presence.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| self.presence.plan(room, now_ms));
    }

    /// Another shard has a room from now on: what could not be told of it is told there.
    pub(super) fn move_presence(&mut self, room: &Arc<str>, now_ms: u64) {
        self.presence.plan(room, now_ms);
    }

    /// From when on what is over in a room may be cleared away; nothing while its shard does not serve.
    fn settles_ms(&self, room: &str) -> Option<u64> {
        let shard = &self.shards[self.owner_of(self.slot_of(room))?];
        shard[Purpose::Commands].is_up().then_some(shard.settles_ms)
    }

    fn lease_third(&self) -> u64 {
        self.limits.presence_lease.as_millis() as u64 / 3
    }

    /// Tells Redis what is due, with how many members each room has here.
    pub fn tell_presence(&mut self, now_ms: u64, members: impl Fn(&str) -> usize) {
        while self.presence.due_ms(self.limits.presence_pending_max) <= now_ms
            && let Some((_, room)) = self.presence.agenda.pop_first()
        {
            let serves = self.settles_ms(&room).is_some();
            let Some(present) = self.presence.rooms.get_mut(&room) else { continue };
            // Without a line it has its turn when there is one.
            present.due_ms = None;
            if serves {
                self.tell_room(&room, members(&room), now_ms);
            }
        }
    }

    fn tell_room(&mut self, room: &Arc<str>, members: usize, now_ms: u64) {
        let Some(present) = self.presence.rooms.get_mut(room) else { return };
        present.is_asking = true;
        self.presence.asking += 1;
        let users: Vec<_> = present.take(Self::SEATED);
        let numbers = [
            present.version.to_string(),
            members.to_string(),
            self.limits.presence_lease.as_millis().to_string(),
            self.limits.presence_grace.as_millis().to_string(),
        ];
        let users: Vec<_> =
            users.iter().map(|(user, count, letter)| (user, count.to_string(), letter)).collect();
        let mut more: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
        more.extend(
            users.iter().flat_map(|(user, count, letter)| [user.as_bytes(), count.as_bytes(), letter]),
        );
        let sha = self.presence.seat.sha.clone();
        self.ask_presence(room, &sha, &more, Expected::Seated(room.clone()), now_ms);
    }

    /// Calls one of the scripts about presence.
    pub(super) fn ask_presence(
        &mut self,
        room: &str,
        sha: &str,
        more: &[&[u8]],
        expected: Expected,
        now_ms: u64,
    ) {
        let keys = ["state", "log", "users", "seats", "nodes", "leases", "leaving", "versions"];
        let keys = keys.map(|what| self.key(what, room));
        let keep = self.rooms.get(room).map(super::rooms::Entry::keep);
        let settles =
            if self.settles_ms(room).is_some_and(|settles_ms| settles_ms <= now_ms) { "1" } else { "0" };
        let own = [
            self.channel(room),
            format!("{:016x}", self.node),
            settles.to_owned(),
            keep.map_or(String::new(), |keep| self.kept(keep).to_string()),
            self.room_age(keep.unwrap_or_default()).to_string(),
            self.limits.backplane_log_min.to_string(),
            Self::SEATED.to_string(),
            self.reign_at(room),
        ];
        let mut parts: Vec<&[u8]> = vec![b"EVALSHA", sha.as_bytes(), b"8"];
        parts.extend(keys.iter().chain(&own).map(String::as_bytes));
        parts.extend(more);
        self.ask_about(room, expected, &parts, now_ms);
    }

    /// Takes what Redis says to what it was told of a room.
    pub(super) fn hear_seated(&mut self, room: &Arc<str>, reply: &Reply, now_ms: u64) -> Result<(), String> {
        self.presence.asking = self.presence.asking.saturating_sub(1);
        let Some(present) = self.presence.rooms.get_mut(room) else { return Ok(()) };
        present.is_asking = false;
        let unread = || "what it says of presence is not understood".to_owned();
        match reply.list() {
            [what, version, epoch, seats] if what.text() == Some("lost") => {
                let version = version.number().ok_or_else(unread)?;
                let seats = seats.list().iter().filter_map(|seat| seat.text()?.split_once(' '));
                let known: Vec<Arc<str>> = seats.map(|(_, user)| user.into()).collect();
                present.renew(version, epoch.bytes().cloned().unwrap_or_default(), &known);
                self.presence.plan(room, now_ms);
            }
            [what, version, epoch, rest @ ..] if what.text() == Some("kept") => {
                let [due, counts @ ..] = rest else { return Err(unread()) };
                let counts: Vec<usize> =
                    counts.iter().filter_map(|count| count.text()?.parse().ok()).collect();
                let &[leaving, members, users, nodes] = counts.as_slice() else { return Err(unread()) };
                present.version = version.number().ok_or_else(unread)?;
                present.epoch = epoch.bytes().cloned().unwrap_or_default();
                present.confirm();
                self.note_census(room, Census { members, users, nodes });
                // There is none where nothing is ever over.
                self.plan_next(room, due.number(), leaving > 0, now_ms);
            }
            _ => {
                // It is refused, as where memory is short, and tried again with the next canary.
                if let Reply::Error(error) = reply {
                    let why = String::from_utf8_lossy(error);
                    self.remark = Some(format!("backplane {}: {why}", self.target.url));
                }
                present.doubt();
                let pause = self.limits.backplane_canary_interval.as_millis() as u64;
                self.presence.plan(room, now_ms + pause);
            }
        }
        Ok(())
    }

    fn note_census(&mut self, room: &Arc<str>, census: Census) {
        if let Some(present) = self.presence.rooms.get_mut(room)
            && std::mem::replace(&mut present.census, census) != census
        {
            self.events.push_back(Event::Counted(room.clone(), census));
        }
    }

    /// Says when a room has its turn again, if it has one: to be told of, to renew the lease, to clear away what is over.
    fn plan_next(&mut self, room: &Arc<str>, due: Option<u64>, is_leaving: bool, now_ms: u64) {
        /// What is over is over for all nodes at the same time: who comes a little later finds that another has done it.
        const PAUSE_MS: u64 = 10;
        let third = self.lease_third();
        let settles_ms = self.settles_ms(room).unwrap_or_default();
        let Some(present) = self.presence.rooms.get(room) else { return };
        let is_open = self.rooms.contains_key(room);
        let is_watched = is_open && (present.census.users > 0 || present.census.nodes > 0);
        let over_ms = due.map(|due| now_ms.saturating_add(due).saturating_add(PAUSE_MS).max(settles_ms));
        if present.has_news() {
            self.presence.plan(room, now_ms);
        } else if !present.seats.is_empty() || is_watched {
            self.presence.plan(room, over_ms.unwrap_or(u64::MAX).min(now_ms + third));
        } else if let Some(over_ms) = over_ms.filter(|_| is_leaving) {
            self.presence.plan(room, over_ms);
        } else {
            self.presence.forget(room);
        }
    }

    /// What was asked about presence will not be answered.
    pub(super) fn lose_presence(&mut self, expected: &Expected) {
        match expected {
            Expected::Seated(room) => {
                self.presence.asking = self.presence.asking.saturating_sub(1);
                if let Some(present) = self.presence.rooms.get_mut(room) {
                    present.is_asking = false;
                    present.doubt();
                }
            }
            Expected::Listed(number) => self.answer_list(*number, None),
            Expected::Greeting { .. }
            | Expected::Published(_)
            | Expected::Read(..)
            | Expected::Canary
            | Expected::Layer(_)
            | Expected::Role
            | Expected::Topology
            | Expected::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    //! The state machine against a few replies by hand; real ones are in `tests/nodes`.

    use super::super::line::Line;
    use super::super::url::Url;
    use super::super::{Backplane, Protocol, Target};
    use super::*;
    use crate::limits::Limits;
    use crate::room::log::Keep;

    const COMMANDS: Line = Line::commands(0);

    struct Stage {
        link: Backplane,
        now_ms: u64,
    }

    impl Stage {
        fn new() -> Self {
            let target = Target {
                url: Url::parse("redis://host").unwrap(),
                prefix: "p:".to_owned(),
                protocol: Protocol::Nodes,
            };
            let mut stage = Self { link: Backplane::new(target, &Limits::default(), 7), now_ms: 1_000 };
            stage.open();
            stage.link.open("a".into(), Keep::default(), stage.now_ms);
            stage
        }

        fn open(&mut self) {
            self.link.connecting(COMMANDS, self.now_ms);
            self.link.connected(COMMANDS, self.now_ms);
            self.link.output(COMMANDS).clear();
            self.reply(&"+OK\r\n".repeat(5));
        }

        fn reply(&mut self, reply: &str) {
            self.link.receive(COMMANDS, reply.as_bytes(), self.now_ms);
        }

        fn seat(&mut self, user: &str, connections: u32) {
            self.link.seat(&"a".into(), &user.into(), (connections, true), self.now_ms);
        }

        /// What is told of users, a word for each, after the version; nothing where nothing is asked.
        fn told(&mut self) -> Vec<String> {
            self.link.tell_presence(self.now_ms, |_| 3);
            let bytes = std::mem::take(self.link.output(COMMANDS));
            let text = String::from_utf8(bytes).unwrap();
            let words: Vec<&str> =
                text.split("\r\n").filter(|word| !word.starts_with(['*', '$']) && !word.is_empty()).collect();
            let told = words.split(|word| *word == "EVALSHA").skip(1).flat_map(|asked| {
                // The name, the number of keys, eight keys, and eight arguments stand before the version.
                let users = asked[22..].chunks(3).map(|user| user.join(" "));
                std::iter::once(asked[18..].first().map_or(String::new(), |version| format!("v{version}")))
                    .chain(users)
            });
            told.collect()
        }

        fn kept(&mut self, version: u64, due: i64) {
            self.reply(&format!("*8\r\n+kept\r\n:{version}\r\n+e1\r\n:{due}\r\n:0\r\n:0\r\n:1\r\n:1\r\n"));
        }

        fn lost(&mut self, version: u64, epoch: &str, users: &[&str]) {
            let users: String = users.iter().map(|user| format!("+07 {user}\r\n")).collect();
            let count = users.matches('+').count();
            self.reply(&format!("*4\r\n+lost\r\n:{version}\r\n+{epoch}\r\n*{count}\r\n{users}"));
        }
    }

    #[test]
    fn of_a_user_the_first_connection_and_the_last_are_told_at_once_and_the_others_with_what_comes_next() {
        let mut stage = Stage::new();
        stage.seat("ann", 1);
        assert_eq!(stage.told(), ["v0", "ann 1 a"]);
        stage.seat("bob", 1);
        assert_eq!(stage.told(), [""; 0], "one step of a room at a time");
        stage.kept(1, 30_000);
        assert_eq!(stage.told(), ["v1", "bob 1 a"]);
        stage.kept(2, 30_000);
        stage.seat("ann", 2);
        assert_eq!(stage.told(), [""; 0]);
        stage.now_ms += 10_000;
        assert!(stage.link.due_ms() <= stage.now_ms, "a third of the lease");
        assert_eq!(stage.told(), ["v2", "ann 2 a"]);
        stage.kept(3, 30_000);
        stage.seat("ann", 0);
        stage.seat("bob", 0);
        assert_eq!(stage.told(), ["v3", "ann 0 a", "bob 0 a"]);
        stage.kept(0, -1);
        assert!(stage.link.presence.rooms["a"].seats.is_empty());
    }

    #[test]
    fn who_comes_and_goes_before_anybody_was_told_is_not_told_of_and_the_last_state_wins() {
        let mut stage = Stage::new();
        stage.seat("ann", 1);
        stage.seat("ann", 0);
        stage.seat("bob", 1);
        assert_eq!(stage.told(), ["v0", "bob 1 a"]);
        for connections in [0, 1, 0, 1, 0] {
            stage.seat("bob", connections);
        }
        stage.kept(1, 30_000);
        assert_eq!(stage.told(), ["v1", "bob 0 a"]);
    }

    #[test]
    fn a_storm_of_joins_takes_a_few_steps_and_no_more_than_one_at_a_time() {
        let mut stage = Stage::new();
        (0..10_000).for_each(|n| stage.seat(&format!("user {n}"), 1));
        let (mut steps, mut users) = (0, 0);
        loop {
            let told = stage.told();
            if told.is_empty() {
                break;
            }
            (steps, users) = (steps + 1, users + told.len() - 1);
            assert!(told.len() <= 65 && stage.link.presence.asking == 1);
            stage.kept(steps, 30_000);
        }
        assert_eq!((steps, users), (10_000_u64.div_ceil(64), 10_000));
    }

    #[test]
    fn rooms_wait_their_turn_where_many_have_something_to_tell() {
        let mut stage = Stage::new();
        for room in 0..1_000 {
            let room: Arc<str> = format!("room {room}").into();
            stage.link.open(room.clone(), Keep::default(), stage.now_ms);
            stage.link.seat(&room, &"ann".into(), (1, true), stage.now_ms);
        }
        let mut told = stage.told().len() / 2;
        assert_eq!(told, 256);
        assert_eq!(stage.link.presence.due_ms(256), u64::MAX, "it does not spin meanwhile");
        for _ in 0..1_000 {
            stage.kept(1, 30_000);
            told += stage.told().len() / 2;
        }
        assert_eq!((told, stage.link.presence.asking), (1_000, 0));
    }

    #[test]
    fn what_was_not_answered_is_told_again_on_the_next_line_as_it_is_by_then() {
        let mut stage = Stage::new();
        ["ann", "bob"].iter().for_each(|user| stage.seat(user, 1));
        stage.told();
        stage.link.lost(COMMANDS, "cut", stage.now_ms);
        stage.seat("ann", 0);
        stage.seat("cid", 1);
        assert_eq!(stage.told(), [""; 0]);
        stage.open();
        assert_eq!(stage.told(), ["v0", "ann 0 a", "bob 1 a", "cid 1 a"]);
        // The first attempt has been heard: Redis has another version than is named.
        stage.lost(1, "e1", &["ann", "bob"]);
        assert_eq!(stage.told(), ["v1", "ann 0 a", "bob 1 a", "cid 1 a"]);
        stage.kept(2, 30_000);
        assert_eq!(stage.told(), [""; 0]);
    }

    #[test]
    fn what_redis_has_lost_is_told_anew_and_what_it_has_too_much_is_taken_back() {
        let mut stage = Stage::new();
        ["ann", "bob"].iter().for_each(|user| stage.seat(user, 1));
        stage.told();
        stage.kept(1, 30_000);
        stage.now_ms += 10_000;
        assert_eq!(stage.told(), ["v1"], "the lease is renewed");
        stage.lost(0, "e1", &["ghost"]);
        let mut told = stage.told();
        told.sort();
        assert_eq!(
            told,
            ["ann 1 a", "bob 1 a", "ghost 0 l", "v0"],
            "the others have been told that they left"
        );
        stage.kept(1, 30_000);
        // The log begins anew, too: its readers look for themselves.
        stage.seat("bob", 0);
        stage.told();
        stage.lost(0, "e2", &[]);
        let mut told = stage.told();
        told.sort();
        assert_eq!(told, ["ann 1 q", "bob 0 q", "v0"]);
    }

    #[test]
    fn what_is_over_is_cleared_away_in_time_but_not_before_the_others_can_have_renewed_their_leases() {
        let mut stage = Stage::new();
        stage.seat("ann", 1);
        stage.told();
        stage.kept(1, 0);
        assert!(stage.told().is_empty());
        stage.now_ms += 9_999;
        assert!(stage.told().is_empty(), "a third of the lease has to pass first");
        stage.now_ms += 1;
        assert_eq!(stage.told(), ["v1"]);
        stage.kept(2, 400);
        stage.now_ms += 409;
        assert!(stage.told().is_empty());
        stage.now_ms += 1;
        assert_eq!(stage.told(), ["v2"]);
    }

    #[test]
    fn what_is_refused_is_told_again_after_a_pause() {
        let mut stage = Stage::new();
        stage.seat("ann", 1);
        stage.told();
        stage.reply("-OOM command not allowed\r\n");
        assert!(stage.told().is_empty());
        stage.now_ms += 500;
        assert_eq!(stage.told(), ["v0", "ann 1 a"]);
    }

    #[test]
    fn rooms_that_come_and_go_while_nothing_can_be_told_leave_nothing_behind() {
        let mut stage = Stage::new();
        for n in 0..10_000 {
            let room: Arc<str> = format!("room {n}").into();
            stage.link.open(room.clone(), Keep::default(), stage.now_ms);
            stage.link.seat(&room, &"ann".into(), (1, true), stage.now_ms);
            stage.link.seat(&room, &"ann".into(), (0, true), stage.now_ms);
            stage.link.close(&room);
        }
        let book = &stage.link.presence;
        assert!(book.rooms.len() < 2_000 && book.agenda.len() < 2_000, "{}", book.rooms.len());
    }

    #[test]
    fn questions_are_bounded_and_end_with_the_line() {
        let mut stage = Stage::new();
        let asker = ConnId::from_bits(1);
        let ask = |stage: &mut Stage| stage.link.ask_who("a", ("", 10), asker, stage.now_ms).is_some();
        assert_eq!((0..300).filter(|_| ask(&mut stage)).count(), 256);
        stage.reply("*5\r\n:1\r\n:0\r\n:2\r\n:1\r\n*2\r\n+ann\r\n:2\r\n");
        let Some(Event::Listed(_, Some(roster))) = stage.link.pop_event() else { panic!("no list") };
        assert_eq!((roster.users, roster.census.users), (vec![("ann".to_owned(), 2)], 2));
        stage.link.lost(COMMANDS, "cut", stage.now_ms);
        let unanswered = std::iter::from_fn(|| stage.link.pop_event());
        assert_eq!(unanswered.filter(|event| matches!(event, Event::Listed(_, None))).count(), 255);
        assert!(!ask(&mut stage), "there is nobody to ask");
    }
}
