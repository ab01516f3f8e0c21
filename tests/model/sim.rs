//! The simulation: it compares what the engine says, and what clients get, with the model after every turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fanline::{ClosedBy, ConnId, Encoding, Join, Joined, Limits, Position, Presence};

use crate::client::{Client, Kind, Reaction, Reading};
use crate::hall::{Hall, Question, Told, is_kept};
use crate::model::{KEYS_MAX, KEYS_MS, Model};
use crate::world::{World, masked};

pub const ROOMS: [&str; 7] = ["k0", "k1", "k2", "b0", "b1", "s0", "l0"];

pub struct Sim {
    pub world: World<Hall>,
    pub model: Model,
    pub rng: fastrand::Rng,
    pub clients: BTreeMap<ConnId, Client>,
    /// Positions that clients have been at.
    pub places: Vec<(String, Position)>,
    pub log_max: usize,
    /// Bytes published since the engine last rested.
    pub burst: usize,
    pub published: u64,
    at: u64,
    /// When the engine's clock began.
    begun: Instant,
    passed: u64,
    is_stopping: bool,
    trail: VecDeque<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let log_max = [8_000, 20_000, 120_000][rng.usize(..3)];
        let limits = Limits {
            room_log_bytes_max: log_max,
            presence_grace: Duration::ZERO,
            idempotency_keys_max: KEYS_MAX,
            idempotency_age: Duration::from_millis(KEYS_MS),
            walk_slice: rng.usize(1..6),
            walk_slice_bytes: rng.usize(500..50_000),
            flush_budget: rng.usize(1..8),
            receive_buffer: rng.usize(1024..5000),
            read_budget: rng.usize(500..20_000),
            deflate_bytes_min: rng.usize(1..300),
            ..Limits::default()
        };
        let world = World::with_handler(Hall::default(), limits);
        Self {
            begun: world.now,
            world,
            model: Model::default(),
            rng,
            clients: BTreeMap::new(),
            places: Vec::new(),
            log_max,
            burst: 0,
            published: 0,
            at: 0,
            passed: 0,
            is_stopping: false,
            trail: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn trail(&self) -> &VecDeque<String> {
        &self.trail
    }

    pub fn note(&mut self, what: String) {
        if self.trail.len() == 30 {
            self.trail.pop_front();
        }
        self.trail.push_back(format!("{}: {what}", self.at));
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn assert_everything_happened(&self, steps: u64) {
        let wanted = [
            "resumed",
            "not resumed",
            "notice",
            "repeated",
            "unheard",
            "silent",
            "blocked",
            "polled",
            "woken",
            "skipped",
            "went on with the newest",
            "timed out",
            "closed 1013",
            "closed 4001",
        ];
        let compressed = self.world.metrics.publications_deflated.get();
        assert!(compressed > 0 || steps < 10_000, "nothing was ever compressed");
        for what in wanted {
            let often = self.counts.get(what).copied().unwrap_or(0);
            assert!(often > 0 || steps < 10_000, "{what} never happened");
        }
    }

    /// One random step, and a turn or several.
    pub fn step(&mut self) {
        self.at += 1;
        self.act();
        match self.rng.u8(..10) {
            0..5 => self.rest(),
            5..8 => {
                for _ in 0..self.rng.u8(1..4) {
                    self.turn();
                }
            }
            _ => self.world.engine.check_invariants(),
        }
    }

    /// Everybody goes, and nothing may remain.
    pub fn finish(&mut self) {
        self.rest();
        if self.rng.bool() {
            self.is_stopping = true;
            self.world.engine.stop(self.world.now);
            let now_ms = self.now_ms();
            let ids: Vec<ConnId> = self.clients.keys().copied().collect();
            let mut told: VecDeque<Told> = self.world.engine.handler().told.take().into();
            for id in ids {
                let client = self.clients.get_mut(&id).unwrap();
                match client.kind {
                    Kind::Socket | Kind::Reader => {
                        client.is_leaving = true;
                        self.model.leave(id, None, now_ms);
                    }
                    // The one that is told last is also asked in between.
                    Kind::Asker if client.waits.is_some() => self.believe(told.pop_front().unwrap()),
                    Kind::Asker => {}
                }
            }
            self.rest();
        }
        let ids: Vec<ConnId> = self.clients.keys().copied().collect();
        for id in ids {
            self.end(id);
        }
        self.pass(Duration::from_secs(400));
        assert!(self.clients.is_empty(), "{:?}", self.clients);
        let rooms = self.world.engine.rooms();
        assert_eq!((self.world.engine.len(), rooms.len(), rooms.log_bytes()), (0, 0, 0));
        assert_eq!(rooms.ledger().outcomes().waiting(), 0, "every delivery has come to an end");
        self.world.engine.check_ledger();
    }

    /// A turn, after which everything is as the model says; whether there is more to do.
    pub fn turn(&mut self) -> bool {
        self.world.engine.turn(self.world.now);
        self.world.engine.check_invariants();
        self.absorb() | self.world.engine.has_work()
    }

    /// Turns until nobody has anything to do or to say.
    pub fn rest(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 10_000, "the engine never rests");
        }
        self.burst = 0;
        self.check_rest();
    }

    /// Lets time pass; clients answer pings meanwhile.
    pub fn pass(&mut self, time: Duration) {
        self.rest();
        let end = self.world.now + time;
        while let Some(sleep) = self.world.engine.sleep(self.world.now)
            && self.world.now + sleep < end
        {
            self.world.now += sleep.max(Duration::from_millis(1));
            self.rest();
        }
        self.world.now = end;
        self.rest();
    }

    /// The client closes its side.
    pub fn end(&mut self, id: ConnId) {
        let client = self.clients.get_mut(&id).unwrap();
        client.is_over = true;
        self.world.end(client.at);
        if client.kind == Kind::Asker {
            self.model.polls.remove(&id);
        }
    }

    /// Compares what has happened, and what has arrived, with the model; whether a client had something to say to it.
    pub fn absorb(&mut self) -> bool {
        for told in self.world.engine.handler().told.take() {
            self.believe(told);
        }
        self.take_leave_of_those_who_are_gone();
        self.find_those_who_were_passed();
        for room in ROOMS {
            let got = self.world.engine.rooms().members(room);
            assert_eq!(got, self.model.count(room), "members of {room}");
        }
        self.read()
    }

    fn believe(&mut self, told: Told) {
        match told {
            Told::Joined { id, room, join, joined, now_ms } => self.joined(id, &room, &join, &joined, now_ms),
            Told::Left { id, room, now_ms } => self.model.leave(id, Some(&room), now_ms),
            Told::Published { id, post, result, now_ms } => {
                self.model.publish(Some(id), &post, result, now_ms);
                match result {
                    Ok(published) if published.repeated => self.count("repeated"),
                    Ok(_) => {}
                    Err(_) => self.count("unheard"),
                }
                let client = self.clients.get_mut(&id).unwrap();
                client.answer = Some(format!("{result:?}")).filter(|_| client.kind == Kind::Asker);
            }
            Told::Asked { id, question, answer, now_ms } => self.asked(id, question, answer, now_ms),
            Told::Events { id, room, start, now_ms } => {
                let epoch = self.world.engine.rooms().info(&room).unwrap().position.epoch;
                let life = self.model.life(&room, epoch, now_ms);
                let (from, recovered) = self.model.entry(life, &room, start, now_ms);
                let is_behind = from < self.model.lives[life].items.len();
                let position = Position { epoch, offset: from as u64 };
                let joined = Joined { position, recovered, is_behind };
                let join = Join { start, encoding: Encoding::Events, ..Join::default() };
                self.joined(id, &room, &join, &joined, now_ms);
                self.clients.get_mut(&id).unwrap().first_event = Some(joined.first_event());
            }
            Told::Closing { id, now_ms } => {
                let client = self.clients.get_mut(&id).unwrap();
                client.is_leaving = true;
                for reading in &mut client.readings {
                    reading.end = Some(self.model.lives[reading.life].items.len());
                }
                self.model.leave(id, None, now_ms);
            }
            Told::Closed { id, closed, now_ms } => {
                self.model.leave(id, None, now_ms);
                let client = self.clients.get_mut(&id).unwrap();
                client.is_leaving = true;
                let may_be_lost = client.is_over || client.is_slow || client.silent.is_some();
                assert!(closed.by != ClosedBy::Loss || may_be_lost, "{client:?} was lost");
            }
        }
    }

    fn joined(&mut self, id: ConnId, room: &str, join: &Join, joined: &Joined, now_ms: u64) {
        let (number, life) = self.model.join(id, room, join, joined, now_ms);
        let reading = Reading {
            room: room.to_owned(),
            life,
            number,
            cursor: joined.position.offset as usize,
            encoding: join.encoding,
            is_quiet: join.is_quiet,
            end: None,
        };
        self.clients.get_mut(&id).unwrap().readings.push(reading);
        if let fanline::Start::Since { .. } = join.start {
            self.count(if joined.recovered { "resumed" } else { "not resumed" });
        }
        if matches!(join.presence, Presence::Announced(_)) {
            self.count("notice");
        }
    }

    /// A request waits exactly while there is no news, and is told exactly what there is.
    fn asked(&mut self, id: ConnId, question: Question, answer: Option<String>, now_ms: u64) {
        let Question { room, start, wait_ms, has_waited, head } = &question;
        let life = self.model.life(room, head.epoch, now_ms);
        let (from, whole) = self.model.place(life, room, *start, now_ms);
        let items = &self.model.lives[life].items;
        let waits = whole && from == items.len() && *wait_ms > 0 && !has_waited;
        let news: Vec<String> =
            (from..items.len()).map(|at| format!("{} {}", at + 1, items[at].post.text)).collect();
        let want = format!("{}:{} {whole} {from}\n{}", head.epoch, items.len(), news.join("\n"));
        assert_eq!(answer, (!waits).then_some(want), "{question:?}");
        let client = self.clients.get_mut(&id).unwrap();
        let since = client.waits.take().map_or(now_ms, |(_, since)| since);
        assert!(!has_waited || now_ms >= since + wait_ms || self.is_stopping, "too early");
        client.answer = answer;
        if waits {
            client.waits = Some((question.clone(), since));
            self.model.polls.insert(id, question.room);
            self.count("polled");
        } else {
            self.model.polls.remove(&id);
            let what = if *has_waited { "timed out" } else { "woken" };
            if since < now_ms {
                self.count(what);
            }
        }
    }

    /// A reader of events leaves without a word to the handler.
    fn take_leave_of_those_who_are_gone(&mut self) {
        let now_ms = self.now_ms();
        for (id, client) in self.clients.iter_mut().filter(|(_, client)| client.kind == Kind::Reader) {
            if client.is_over && !client.is_leaving {
                client.is_leaving = true;
                self.model.leave(*id, None, now_ms);
            }
        }
        let gone: Vec<ConnId> =
            self.clients.iter().filter(|(_, c)| self.world.is_gone(c.at)).map(|(id, _)| *id).collect();
        for id in gone {
            // The last that was sent may still be read.
            self.read_one(id);
            let client = self.clients.remove(&id).unwrap();
            self.remember(&client);
            match client.kind {
                Kind::Socket => assert!(self.model.members.iter().all(|member| member.id != id)),
                Kind::Reader => {
                    assert!(client.is_over || client.is_slow || client.is_leaving, "{client:?} was lost");
                    self.model.leave(id, None, self.now_ms());
                }
                Kind::Asker => {
                    assert!(client.is_over || client.waits.is_none(), "{client:?} was not answered");
                    self.model.polls.remove(&id);
                }
            }
        }
    }

    /// Remembers where a client was, for one who comes back.
    pub fn remember(&mut self, client: &Client) {
        for reading in &client.readings {
            let epoch = self.model.lives[reading.life].epoch;
            let place = (reading.room.clone(), Position { epoch, offset: reading.cursor as u64 });
            if self.places.len() < 50 {
                self.places.push(place);
            } else {
                let at = self.rng.usize(..self.places.len());
                self.places[at] = place;
            }
        }
    }

    pub fn now_ms(&self) -> u64 {
        (self.world.now - self.begun).as_millis() as u64
    }

    /// Members whom the log has passed leave without a word to the handler: only those who were far behind.
    fn find_those_who_were_passed(&mut self) {
        let passed = self.world.metrics.passed.get();
        for _ in self.passed..passed {
            let rooms = self.world.engine.rooms();
            let short = ROOMS.into_iter().find(|room| rooms.members(room) < self.model.count(room));
            let room = short.expect("somebody has left");
            let roll: Vec<String> = rooms
                .roll(room)
                .map_or_else(Vec::new, |roll| roll.users(None).map(|(user, _)| user.to_owned()).collect());
            // Whoever was listed is not any more; of those who read events, the last one.
            let lag = |client: &Client| {
                let lags = client.readings.iter().map(|reading| reading.lag(&self.model));
                lags.max().unwrap_or(0)
            };
            let is_member = |id: &ConnId| self.model.members.iter().any(|m| m.id == *id && m.room == room);
            let is_listed = |client: &Client| roll.contains(&format!("c{}@{room}", client.at));
            let (id, lag) = self
                .clients
                .iter()
                .filter(|(id, client)| client.is_slow && is_member(id))
                .filter(|(_, client)| client.kind == Kind::Reader || !is_listed(client))
                .max_by_key(|(_, client)| (client.kind == Kind::Socket, lag(client)))
                .map(|(id, client)| (*id, lag(client)))
                .expect("one who is slow");
            assert!(lag * 10 >= self.log_max * 4, "{id} was passed, {lag} bytes behind");
            let client = self.clients.get_mut(&id).unwrap();
            (client.is_leaving, client.is_passed) = (true, true);
            self.model.leave(id, None, self.now_ms());
            self.count("passed");
        }
        self.passed = passed;
    }

    /// Every client reads; whether one had something to say to it.
    fn read(&mut self) -> bool {
        let ids: Vec<ConnId> = self.clients.keys().copied().collect();
        ids.into_iter().fold(false, |said, id| self.read_one(id) | said)
    }

    fn read_one(&mut self, id: ConnId) -> bool {
        let client = self.clients.get_mut(&id).unwrap();
        let at = client.at;
        if self.world.clients[at].pipe.borrow().to_peer.is_empty() {
            return false;
        }
        let bytes = self.world.take(at);
        let reactions = client.receive(&bytes, &self.model);
        let says_nothing = client.silent.is_some() || client.is_over;
        let mut said = false;
        for reaction in reactions {
            match reaction {
                Reaction::Skipped(what) => {
                    self.count(what);
                    continue;
                }
                Reaction::Pong(_) | Reaction::Close(_) if says_nothing => {}
                Reaction::Pong(payload) => self.world.send(at, &masked(0x8a, &payload)),
                Reaction::Close(payload) => {
                    match u16::from_be_bytes([payload[0], payload[1]]) {
                        1013 => self.count("closed 1013"),
                        4001 => self.count("closed 4001"),
                        _ => {}
                    }
                    self.world.send(at, &masked(0x88, &payload));
                    self.end(id);
                }
                Reaction::Done if self.rng.bool() => self.end(id),
                Reaction::Done => {}
            }
            said = true;
        }
        said
    }

    /// Nothing is on its way: whoever reads has everything, and the rooms are as the model has them.
    fn check_rest(&self) {
        let (now, rooms) = (self.world.now, self.world.engine.rooms());
        for (id, client) in &self.clients {
            let is_blocked = self.world.clients[client.at].pipe.borrow().window == 0;
            assert!(is_blocked || client.has_no_rest() || !client.is_open, "half a frame: {client:?}");
            let mut want: Vec<u64> = self
                .model
                .members
                .iter()
                .filter(|member| member.id == *id)
                .map(|member| member.number)
                .collect();
            let mut got: Vec<u64> = client.readings.iter().map(|reading| reading.number).collect();
            want.sort();
            got.sort();
            if !is_blocked && !client.is_leaving {
                assert_eq!(got, want, "the rooms of {client:?}");
                let missed = client.readings.iter().find_map(|reading| reading.next(&self.model));
                assert!(missed.is_none(), "{client:?} was not sent {missed:.200?}");
            }
            let is_told = client.closed == Some(1013) || client.kind == Kind::Reader || client.is_over;
            assert!(
                is_blocked || !client.is_passed || is_told,
                "{client:?} was not told that it was too slow"
            );
            let is_heard = self.world.clients[client.at].pipe.borrow().to_engine.is_empty();
            assert!(is_blocked || is_heard || !client.is_well(), "{client:?} is not read any more");
            if let Some(since) = client.silent {
                let is_late = now - since > Duration::from_millis(40_500);
                assert!(client.is_leaving || !is_late, "a silent one is still there: {client:?}");
            }
            if let Some((question, since)) = &client.waits {
                let due = since + question.wait_ms + 200;
                assert!(client.is_over || self.now_ms() < due, "{question:?} waits for too long");
                let fanline::Start::Since { position, .. } = question.start else { continue };
                let life = self.model.lives.iter().find(|life| life.epoch == position.epoch).unwrap();
                assert_eq!(life.items.len() as u64, position.offset, "{question:?} is not told the news");
            }
        }
        for room in ROOMS {
            let roll: Option<BTreeMap<String, u32>> =
                rooms.roll(room).map(|roll| roll.users(None).map(|(user, n)| (user.to_owned(), n)).collect());
            assert_eq!(roll.unwrap_or_default(), self.model.users(room), "who is in {room}");
            let is_there = rooms.info(room).is_some();
            assert!(is_kept(room) || is_there == (self.model.count(room) > 0), "{room} is there: {is_there}");
        }
        assert!(rooms.log_bytes() < ROOMS.len() * 5 * 2 * self.log_max, "{} bytes", rooms.log_bytes());
    }
}
