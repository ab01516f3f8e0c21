//! The simulation: turns of the engine on a bad network, and after each of them a look at what must be true.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanline::engine::{Engine, Rules};
use fanline::metrics::memory::Class;
use fanline::ws::deflate::Deflater;
use fanline::{
    ClosedBy, ConnId, Encoding, Join, Joined, Limits, Metrics, NotPublished, Position, Refusal, Response,
};

use crate::client::{Appetite, Client, Kind, Reaction, Wait, masked};
use crate::door::Door;
use crate::model::{Item, Model, Reading, is_right};
use crate::net::{Edge, EngineEnd};
use crate::plan::Plan;
use crate::porter::{Porter, Told};
use crate::runner::{Counts, World};

pub const ROOMS: [&str; 5] = ["k0", "k1", "b0", "s0", "l0"];

pub struct Sim {
    pub engine: Engine<Porter, EngineEnd>,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
    begun: Instant,
    pub now: Instant,
    pub model: Model,
    pub clients: Vec<Client>,
    /// Those who may still be sent something.
    active: Vec<usize>,
    pub by_id: BTreeMap<ConnId, usize>,
    /// Who is in which room, by which membership, as the handler was told.
    members: Vec<(ConnId, String, u64)>,
    memberships: u64,
    /// Members whom the log has passed, as far as is known.
    passed: u64,
    /// Connections ended for what they held.
    ended: u64,
    pub door: Door,
    /// Whether the server agrees to compression.
    pub may_deflate: bool,
    pub deflater: Deflater,
    /// What this step draws.
    pub rng: fastrand::Rng,
    /// In this step the network does what it can at once.
    pub is_calm: bool,
    pub is_stopping: bool,
    pub published: u64,
    trail: Vec<String>,
    pub counts: Counts,
}

impl World for Sim {
    const TEST: &'static str = "nothing_is_lost";
    const STEPS: u64 = 120;
    const KEPT: (&'static str, &'static str) = (include_str!("seeds.txt"), "seeds.txt");
    const HAPPENS: &'static [&'static str] = &[
        "expired",
        "compressed",
        "joined",
        "resumed",
        "not resumed",
        "skipped",
        "turned away",
        "closed by the peer",
        "closed by the server",
        "closed 1013",
        "lost",
    ];

    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let log_max = [10_000, 24_000, 60_000][rng.usize(..3)];
        let is_tight = rng.u8(..5) == 0;
        let limits = Limits {
            room_log_bytes_max: log_max,
            walk_slice: rng.usize(1..6),
            walk_slice_bytes: rng.usize(500..50_000),
            flush_budget: rng.usize(1..8),
            receive_buffer: rng.usize(1024..3000),
            read_budget: rng.usize(200..10_000),
            frame_budget: rng.usize(1..40),
            message_bytes_max: 100_000,
            outbound_bytes_low: 1_000,
            outbound_bytes_high: rng.usize(2_000..40_000),
            control_bytes_max: rng.usize(254..1000),
            connections_max: rng.usize(8..20),
            accept_budget: rng.usize(1..5),
            head_bytes_max: 2_000,
            memory_budget: if is_tight { rng.usize(400_000..1_000_000) } else { 0 },
            ..Limits::default()
        };
        let (metrics, begun) = (Arc::new(Metrics::default()), Instant::now());
        let rules = Rules { limits: limits.clone(), deflate: rng.bool(), ..Rules::default() };
        let may_deflate = rules.deflate;
        let mut engine =
            Engine::new(Porter::default(), rules, metrics.clone(), begun, Duration::from_micros(1000));
        engine.set_machine_memory(None);
        Self {
            engine,
            metrics,
            begun,
            now: begun,
            model: Model { log_max, is_tight, ..Model::default() },
            clients: Vec::new(),
            active: Vec::new(),
            by_id: BTreeMap::new(),
            members: Vec::new(),
            memberships: 0,
            passed: 0,
            ended: 0,
            may_deflate,
            deflater: Deflater::default(),
            door: Door::new(limits.connections_max + 8),
            limits,
            rng,
            is_calm: true,
            is_stopping: false,
            published: 0,
            trail: Vec::new(),
            counts: Counts::new(),
        }
    }

    /// One run, from the first client to the last.
    fn run(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.rng = fastrand::Rng::with_seed(plan.seed_of(*step));
            self.is_calm = step.is_calm;
            self.trail.push(format!("step {}{}", step.number, if step.is_calm { ", calm" } else { "" }));
            self.act();
            match self.rng.u8(..8) {
                0 | 1 => self.rest(),
                2 => {}
                _ => {
                    for _ in 0..self.rng.u8(1..4) {
                        self.now += Duration::from_millis(self.rng.u64(..30));
                        self.turn();
                    }
                }
            }
        }
        self.rng = fastrand::Rng::with_seed(plan.seed);
        self.finish();
    }

    fn trail(&self) -> &[String] {
        &self.trail
    }

    fn counts(&self) -> Counts {
        self.counts.clone()
    }
}

impl Sim {
    pub fn note(&mut self, what: String) {
        self.trail.push(format!("    {what}"));
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn now_ms(&self) -> u64 {
        1 + (self.now - self.begun).as_millis() as u64
    }

    /// A client comes to the door.
    pub fn come(&mut self, kind: Kind) -> usize {
        let at = self.clients.len();
        let buffer = [100, 1000, 5000, 60_000][self.rng.usize(..4)];
        self.clients.push(Client::new(at, kind, buffer, self.now));
        self.active.push(at);
        self.door.come(at);
        at
    }

    /// How many are there, at the door or inside.
    pub fn crowd(&self) -> usize {
        self.active.len()
    }

    pub fn active(&self) -> impl Iterator<Item = &Client> {
        self.active.iter().map(|at| &self.clients[*at])
    }

    fn in_use(&self) -> usize {
        self.active().filter(|client| client.id.is_some() && !client.wire.borrow().is_dropped).count()
    }

    /// One turn of the reactor: what the network does, what the poller says of it, who comes in, what the engine does.
    pub fn turn(&mut self) -> bool {
        self.network();
        self.poll();
        self.accept();
        let is_free = self.door.is_open(self.in_use() + 1);
        self.door.free_since = self.door.free_since.or(Some(self.now)).filter(|_| is_free);
        self.engine.turn(self.now);
        self.engine.check_invariants();
        let margin = self.limits.read_budget + 2 * self.limits.message_bytes_max;
        let most = self.engine.memory_budget().saturating_add(margin);
        assert!(self.metrics.memory.total() <= most, "{} bytes of {most}", self.metrics.memory.total());
        self.absorb();
        let has_read = self.read();
        let Self { active, clients, now, .. } = self;
        active.retain(|at| {
            let client = &mut clients[*at];
            let is_full = !client.wire.borrow().has_room();
            client.full_since = client.full_since.or(Some(*now)).filter(|_| is_full);
            let wire = client.wire.borrow();
            !wire.is_dropped || !wire.to_client.is_empty() && client.vanished.is_none()
        });
        has_read | self.has_more()
    }

    fn has_more(&self) -> bool {
        let is_hungry = |client: &Client| {
            client.vanished.is_none()
                && client.appetite != Appetite::Nothing
                && !client.wire.borrow().to_client.is_empty()
        };
        let is_busy = |client: &Client| client.id.is_some() && client.wire.borrow().is_busy();
        self.engine.has_work()
            || self.door.edge
            || self.door.acceptor.is_ready()
            || self.active().any(|client| is_busy(client) || is_hungry(client))
    }

    fn network(&mut self) {
        for at in &self.active {
            let mut wire = self.clients[*at].wire.borrow_mut();
            if self.is_calm {
                wire.travel(usize::MAX, usize::MAX);
                continue;
            }
            let rng = &mut self.rng;
            let mut some = || match rng.u8(..8) {
                0 => 0,
                1 => 1,
                2 => rng.usize(..20),
                3 => rng.usize(..2000),
                _ => usize::MAX,
            };
            let (bytes, grant) = (some(), some());
            // A buffer that was full and has room again is a sign that somebody has taken something.
            let has_vanished = self.clients[*at].vanished.is_some();
            wire.travel(bytes, if has_vanished { usize::MAX } else { grant });
            if self.rng.u8(..50) == 0 {
                wire.interrupts = 2;
            }
        }
    }

    /// An event that is due may come now or later, in any order; one that is not may come, too.
    fn poll(&mut self) {
        let mut polled = self.active.clone();
        if !self.is_calm {
            self.rng.shuffle(&mut polled);
        }
        for at in polled {
            let client = &self.clients[at];
            let Some(id) = client.id else { continue };
            let is_late = !self.is_calm && self.rng.u8(..4) == 0;
            // A socket that is full and takes bytes again is a sign of life, so that would be no lie of a poller's.
            let is_spurious = !self.is_calm && client.vanished.is_none() && self.rng.u8(..20) == 0;
            if is_late || client.wire.borrow().is_dropped && !is_spurious {
                continue;
            }
            let mut edge = client.wire.borrow_mut().take_edge();
            if is_spurious {
                let also = edge.unwrap_or_default();
                edge = Some(Edge { readable: true, writable: true, ..also });
            }
            if let Some(Edge { readable, writable, hung_up }) = edge {
                self.engine.ready(id, readable, writable, hung_up);
            }
        }
    }

    fn accept(&mut self) {
        if self.door.edge && (self.is_calm || self.rng.u8(..3) > 0) {
            self.door.edge = false;
            self.door.acceptor.mark_ready();
        }
        let in_use = self.in_use();
        let (admitted, turned_away) = self.door.accept(self.now, &self.limits, in_use);
        for at in admitted {
            let client = &mut self.clients[at];
            let expected = self.engine.next_id();
            let id = self.engine.connect(EngineEnd(client.wire.clone()), self.now);
            assert!(id.is_none_or(|id| id == expected));
            (client.id, client.connected) = (Some(expected), self.now);
            if id.is_some() {
                self.by_id.insert(expected, at);
            }
        }
        for at in turned_away {
            let mut answer = Vec::new();
            Response::from(Refusal::Unavailable("too many open files")).write(&mut answer, false, true);
            let mut wire = self.clients[at].wire.borrow_mut();
            wire.to_client.extend(answer);
            wire.is_dropped = true;
            drop(wire);
            self.count("turned away");
        }
    }

    /// Turns until nobody has anything to do or to say.
    pub fn rest(&mut self) {
        let was_calm = self.is_calm;
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            // A bad network would take too long for what there is to see.
            self.is_calm |= turns > 40;
            assert!(turns < 20_000, "the engine never rests");
        }
        self.is_calm = was_calm;
        self.check_rest();
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.rest();
        let end = self.now + time;
        let sleep =
            |sim: &Self| sim.engine.sleep(sim.now).into_iter().chain(sim.door.acceptor.sleep(sim.now)).min();
        while let Some(sleep) = sleep(self).filter(|sleep| self.now + *sleep < end) {
            self.now += sleep.max(Duration::from_millis(1));
            self.rest();
        }
        self.now = end;
        self.rest();
        self.check_deadlines();
    }

    pub fn absorb(&mut self) {
        let told = self.engine.handler().told.take();
        let passed = self.metrics.passed.get();
        let ended = self.metrics.shed.get() + if self.model.is_tight { passed } else { 0 };
        if std::mem::replace(&mut self.ended, ended) < ended {
            // Whoever holds much is ended where memory is short, and whoever has waited for what is cut off.
            self.clients.iter_mut().for_each(|client| client.is_troubled = true);
            self.count("ended for memory");
        }
        if std::mem::replace(&mut self.passed, passed) < passed {
            let published: usize = told.iter().map(Told::published_bytes).sum();
            for client in &mut self.clients {
                // A network that takes little at a time also makes a slow reader.
                let lag = client.readings.iter().map(|reading| reading.lag(&self.model)).max().unwrap_or(0);
                client.is_troubled |= (lag + published) * 10 >= self.model.log_max * 4;
            }
        }
        for told in told {
            self.believe(told);
        }
        // A reader of events leaves without a word to the handler.
        let Self { members, clients, by_id, .. } = self;
        members.retain(|(id, ..)| {
            let client = &clients[by_id[id]];
            client.kind != Kind::Reader || !client.wire.borrow().is_dropped
        });
    }

    fn client(&mut self, id: ConnId) -> &mut Client {
        &mut self.clients[self.by_id[&id]]
    }

    fn believe(&mut self, told: Told) {
        match told {
            Told::Opened(id) => self.client(id).is_told = true,
            Told::Refused(id) => {
                let client = self.client(id);
                (client.is_told, client.is_leaving) = (false, true);
                client.readings.clear();
                client.direct.clear();
                self.members.retain(|(member, ..)| *member != id);
            }
            Told::Heard(id, text) => {
                let client = self.client(id);
                assert_eq!(Some(&text), client.said.pop_front().as_ref(), "{client:?} was heard wrong");
            }
            Told::Sent(id, text) => self.client(id).direct.push_back(text),
            Told::Joined { id, room, join, joined, now_ms } => self.joined(id, &room, &join, joined, now_ms),
            Told::Left(id, room) => {
                self.members.retain(|(member, of, _)| *member != id || *of != room);
                let client = &mut self.clients[self.by_id[&id]];
                for reading in client.readings.iter_mut().filter(|r| r.room == room && r.end.is_none()) {
                    reading.end = Some(self.model.len(reading.epoch));
                }
            }
            Told::Published { id, text, is_binary, is_member, result, now_ms } => {
                let room = crate::porter::room_of(&text).to_owned();
                match result {
                    Ok(published) => {
                        let author = self.members.iter().find(|(m, of, _)| *m == id && *of == room);
                        assert_eq!(author.is_some(), is_member);
                        let author = author.map(|(.., number)| *number);
                        let item = Item { text, is_binary, author, time_ms: now_ms };
                        self.model.publish(&room, published.position, item);
                    }
                    Err(NotPublished::Unheard) => self.check_unheard(&room),
                    Err(error) => {
                        let may_be = error == NotPublished::Behind
                            || error == NotPublished::Memory && self.model.is_tight;
                        assert!(may_be && !is_member, "{error:?}: {text:.40}");
                    }
                }
            }
            Told::Asked { id, room, start, head, answer, has_waited, wait_ms, now_ms } => {
                let (from, is_whole) = self.model.place(&room, head.epoch, start, now_ms);
                let items = &self.model.lives[&head.epoch].items;
                assert_eq!(head.offset, items.len() as u64, "{room}");
                let news: Vec<String> = items[from..].iter().map(|item| item.text.clone()).collect();
                let waits = is_whole && news.is_empty() && wait_ms > 0 && !has_waited;
                let resumes = matches!(start, fanline::Start::Since { .. });
                let is_cut = match &answer {
                    _ if !self.model.is_tight => false,
                    Some((is_whole, got)) => !(resumes && *is_whole) && news.ends_with(got),
                    None => !resumes,
                };
                assert!(
                    is_cut || answer == (!waits).then_some((is_whole, news)),
                    "{room} {start:?}: {answer:?}"
                );
                let waits = answer.is_none();
                let (is_stopping, client) = (self.is_stopping, self.client(id));
                let since_ms = client.waits.take().map_or(now_ms, |wait| wait.since_ms);
                assert!(!has_waited || is_stopping || now_ms >= since_ms + wait_ms, "asked too early");
                client.waits = waits.then_some(Wait { room, start, since_ms, wait_ms });
            }
            Told::Events { id, room, start, epoch, now_ms } => {
                let joined = self.model.join(&room, epoch, start, now_ms);
                let client = self.client(id);
                client.is_reset = Some(!joined.recovered);
                client.resumes = matches!(start, fanline::Start::Since { .. });
                let join = Join { start, encoding: Encoding::Events, ..Join::default() };
                self.joined(id, &room, &join, joined, now_ms);
            }
            Told::Expires(id, at_ms) => self.client(id).expires_ms = Some(at_ms),
            Told::Closing(id, code) => self.closes(id, code),
            Told::Closed(id, closed) => self.closed(id, &closed),
        }
    }

    /// Nobody was in this room, and nobody will come for what it kept.
    fn check_unheard(&self, room: &str) {
        // Those who were lost or passed in this turn have left without a word to the handler.
        let is_well = |id: &ConnId| {
            let client = &self.clients[self.by_id[id]];
            client.kind == Kind::Socket && client.is_well(self.now_ms())
        };
        let there = self.members.iter().find(|(id, of, _)| *of == room && is_well(id));
        assert!(!room.starts_with('k') && there.is_none(), "nobody is in {room} but {there:?}");
    }

    fn joined(&mut self, id: ConnId, room: &str, join: &Join, joined: Joined, now_ms: u64) {
        let epoch = joined.position.epoch;
        let want = self.model.join(room, epoch, join.start, now_ms);
        assert!(is_right(joined, want, self.model.is_tight), "{room} {join:?}: {joined:?}, not {want:?}");
        self.memberships += 1;
        self.members.push((id, room.to_owned(), self.memberships));
        let reading = Reading {
            room: room.to_owned(),
            epoch,
            number: self.memberships,
            cursor: joined.position.offset as usize,
            encoding: join.encoding,
            is_quiet: join.is_quiet,
            has_begun: false,
            end: None,
        };
        self.client(id).readings.push(reading);
        self.count(match join.start {
            fanline::Start::Since { .. } if joined.recovered => "resumed",
            fanline::Start::Since { .. } => "not resumed",
            _ => "joined",
        });
    }

    /// The server begins to close this one, with this code.
    pub fn closes(&mut self, id: ConnId, code: u16) {
        self.members.retain(|(member, ..)| *member != id);
        let client = &mut self.clients[self.by_id[&id]];
        client.causes.push(code);
        client.is_leaving = true;
        for reading in &mut client.readings {
            reading.end.get_or_insert(self.model.len(reading.epoch));
        }
    }

    fn closed(&mut self, id: ConnId, closed: &fanline::Closed) {
        self.members.retain(|(member, ..)| *member != id);
        let now_ms = self.now_ms();
        let client = self.client(id);
        let was_leaving = client.is_leaving;
        (client.is_told, client.is_leaving) = (false, true);
        let wire = client.wire.borrow();
        match closed.by {
            ClosedBy::Peer => {
                assert_eq!(client.close_sent, Some(closed.code), "{client:?} {closed:?}");
                assert!(client.said.is_empty(), "{client:?} was not heard before its Close");
                assert!(closed.clean);
            }
            ClosedBy::Server => {
                let has_expired = closed.code == 4401 && client.expires_ms.is_some_and(|at| at <= now_ms);
                let is_cause = client.causes.contains(&closed.code) || closed.code == 1013 || has_expired;
                assert!(is_cause, "{client:?} {closed:?}");
                let is_breach = matches!(closed.code, 1002 | 1007 | 1009);
                assert!(!is_breach || was_leaving || client.said.is_empty(), "{client:?} {closed:?}");
            }
            ClosedBy::Loss => {
                let may_be_lost = client.is_troubled || wire.is_ended || wire.is_reset;
                assert!(may_be_lost, "{client:?} was lost");
                let has_ended_well = wire.is_ended && !wire.is_reset && !client.is_troubled;
                assert!(!has_ended_well || client.said.is_empty(), "{client:?} was not heard before its end");
            }
        }
        drop(wire);
        self.count(match closed.by {
            ClosedBy::Peer => "closed by the peer",
            ClosedBy::Server if closed.code == 1013 => "closed 1013",
            ClosedBy::Server if closed.code == 4401 => "expired",
            ClosedBy::Server => "closed by the server",
            ClosedBy::Loss => "lost",
        });
    }

    /// Every client takes what it wants to; whether one took anything.
    fn read(&mut self) -> bool {
        let mut has_read = false;
        for at in self.active.clone() {
            let client = &mut self.clients[at];
            let most = match client.appetite {
                _ if client.vanished.is_some() => 0,
                Appetite::All => usize::MAX,
                Appetite::Little if self.rng.bool() => self.rng.usize(1..3000),
                Appetite::Little | Appetite::Nothing => 0,
            };
            if let Some(reactions) = client.receive(most, &self.model) {
                has_read = true;
                reactions.into_iter().for_each(|reaction| self.react(at, reaction));
            }
            let client = &self.clients[at];
            let mut wire = client.wire.borrow_mut();
            if wire.is_over() && wire.to_client.is_empty() && client.vanished.is_none() && most > 0 {
                has_read |= !wire.is_ended;
                wire.is_ended = true;
            }
        }
        has_read
    }

    fn react(&mut self, at: usize, reaction: Reaction) {
        let key = self.rng.u32(..);
        let client = &mut self.clients[at];
        let may_answer =
            client.close_sent.is_none() && client.doom.is_none() && !client.wire.borrow().is_ended;
        match reaction {
            Reaction::Skipped => self.count("skipped"),
            Reaction::Pong(payload) if may_answer => client.send(&masked(0x8a, &payload, key)),
            Reaction::Close(payload) if may_answer => {
                client.close_sent = client.closed;
                client.send(&masked(0x88, &payload, key));
            }
            Reaction::Pong(_) | Reaction::Close(_) => {}
        }
    }

    /// Nothing is on its way: whoever takes what it is sent has everything.
    fn check_rest(&self) {
        // Where memory is short, publishers wait for it.
        let is_pressed = self.metrics.memory.total() >= self.engine.memory_budget() / 100 * 80;
        for client in self.active() {
            let wire = client.wire.borrow();
            let is_cut_off = client.appetite == Appetite::Nothing
                || client.vanished.is_some()
                || wire.is_reset
                || wire.is_clogged;
            if is_cut_off || client.id.is_none() || is_pressed {
                continue;
            }
            let is_deciding = client.id.is_some_and(|id| self.engine.handler().deciding.contains(&id));
            let is_here = !wire.is_dropped && !wire.is_ended && !is_deciding;
            assert!(
                !wire.is_ended || wire.is_dropped || is_deciding || client.waits.is_some(),
                "nobody has noticed that {client:?} ended"
            );
            if !is_here {
                continue;
            }
            assert!(client.has_no_rest(), "half a message: {client:?}");
            assert!(wire.is_read() || client.waits.is_some(), "{client:?} is not read any more");
            assert!(client.causes.is_empty() || client.closed.is_some(), "{client:?} is not closed");
            let waits = client.waits.is_some() || client.is_leaving;
            assert!(client.doom.is_none() || waits, "{client:?} is not refused");
            assert!(waits || client.asked == client.answered, "{client:?} is not answered");
            if client.is_open && !client.is_leaving {
                let missed = client.readings.iter().find_map(|reading| reading.next(&self.model));
                assert!(missed.is_none(), "{client:?} was not sent {missed:.200?}");
                assert!(client.readings.iter().all(|reading| reading.has_begun), "{client:?}");
                assert!(client.direct.is_empty() && client.said.is_empty(), "{client:?}");
                assert!(client.pings.is_empty(), "{client:?}");
            }
            if let Some(wait) = &client.waits
                && let fanline::Start::Since { position, .. } = wait.start
            {
                let len = self.model.len(position.epoch) as u64;
                assert_eq!(len, position.offset, "{client:?} is not told the news of {}", wait.room);
            }
        }
        // Each encoding has a lane, and each lane holds what it may, and what came in the last burst.
        let held_max = ROOMS.len() * 5 * self.model.log_max * 5 / 2;
        assert!(self.engine.rooms().log_bytes() <= held_max, "{} bytes", self.engine.rooms().log_bytes());
        for room in ROOMS {
            let there = self.engine.rooms().members(room);
            let of = |(id, of, _): &&(ConnId, String, u64)| {
                let client = &self.clients[self.by_id[id]];
                of == room && client.is_well(self.now_ms()) && !client.wire.borrow().is_ended
            };
            let all = self.members.iter().filter(|(_, of, _)| of == room).count();
            let well = self.members.iter().filter(of).count();
            assert!(there <= all && there >= well, "{there} in {room}, of {all}, {well} of them well");
        }
    }

    /// What had its time has happened.
    fn check_deadlines(&self) {
        let limits = &self.limits;
        // A moment ago accepting may have failed for another reason.
        let is_paused = self.door.acceptor.sleep(self.now).is_some_and(|sleep| sleep <= limits.accept_retry);
        let is_free = |since: Instant| self.now - since > limits.accept_retry * 2;
        if !is_paused && self.door.free_since.is_some_and(is_free) {
            assert!(self.door.backlog.is_empty(), "{:?} wait at the door", self.door.backlog);
        }
        for client in self.active().filter(|client| client.id.is_some()) {
            let wire = client.wire.borrow();
            if let Some(wait) = &client.waits {
                let is_late = self.now_ms() > wait.since_ms + wait.wait_ms + 200;
                assert!(!is_late || wire.is_dropped || wire.is_clogged, "{client:?} waits for too long");
            }
            let is_expired = client.expires_ms.is_some_and(|at| at + 200 < self.now_ms());
            let is_cut_off =
                client.is_troubled || wire.is_reset || client.is_leaving || client.closed.is_some();
            assert!(!is_expired || is_cut_off || wire.is_dropped, "{client:?} has expired");
            // Whose kernel still takes bytes is taken for alive by all that a server can see of a reader of events.
            let may_last = client.kind == Kind::Reader && client.full_since.is_none();
            if let Some(since) =
                client.vanished.filter(|_| !may_last && !wire.is_dropped && !self.model.is_tight)
            {
                let since = since.max(client.connected).max(client.full_since.unwrap_or(since));
                let most = match client.is_open && client.kind == Kind::Socket {
                    true => limits.ping_interval + limits.pong_deadline + limits.close_deadline * 2,
                    // Several questions may be waiting one behind the other.
                    false => Duration::from_secs(130 + 20 * client.asked as u64),
                };
                let late = self.now - since;
                assert!(late < most, "{client:?} vanished {late:?} ago");
            }
        }
    }

    /// Everybody goes, and nothing may remain.
    fn finish(&mut self) {
        self.note("the end".to_owned());
        self.door.descriptors_max = 1000;
        for client in &self.clients {
            client.wire.borrow_mut().is_clogged = false;
        }
        self.pass(Duration::from_secs(1));
        if self.rng.u8(..3) == 0 {
            self.note("the server stops".to_owned());
            self.is_stopping = true;
            let open: Vec<ConnId> =
                self.by_id.iter().filter(|(_, at)| self.clients[**at].is_told).map(|(id, _)| *id).collect();
            open.into_iter().for_each(|id| self.closes(id, 1001));
            self.clients.iter_mut().filter(|c| c.kind != Kind::Socket).for_each(|c| c.is_leaving = true);
            self.engine.stop(self.now);
            self.rest();
        }
        for at in self.active.clone() {
            let how = self.rng.u8(..4);
            let client = &mut self.clients[at];
            match how {
                0 => client.wire.borrow_mut().reset(),
                1 if client.kind != Kind::Reader => {
                    client.vanished = Some(self.now);
                    client.is_troubled = true;
                }
                _ => {
                    client.appetite = Appetite::All;
                    client.wire.borrow_mut().is_ended = true;
                }
            }
        }
        self.pass(Duration::from_secs(150));
        for client in self.active().filter(|client| client.vanished.is_some() && client.kind == Kind::Reader)
        {
            client.wire.borrow_mut().reset();
        }
        self.pass(Duration::from_secs(700));
        let left: VecDeque<&Client> =
            self.clients.iter().filter(|client| !client.wire.borrow().is_dropped).collect();
        assert!(left.is_empty(), "still there: {left:#?}");
        let (handler, rooms) = (self.engine.handler(), self.engine.rooms());
        assert_eq!(handler.open_count(), 0, "every one that was opened is closed");
        assert_eq!(self.metrics.opened.get(), self.metrics.ended.get());
        assert_eq!((self.engine.len(), rooms.len(), rooms.log_bytes()), (0, 0, 0), "what is left");
        // The table of connections keeps its length; everything else is given back.
        for class in Class::ALL.into_iter().filter(|class| *class != Class::Connections) {
            assert_eq!(self.metrics.memory.get(class), 0, "bytes for {}", class.name());
        }
        self.engine.check_ledger();
        let outcomes = rooms.ledger().outcomes();
        assert_eq!(outcomes.waiting(), 0, "every delivery has come to an end: {outcomes:?}");
        assert!(!self.engine.has_work(), "work is left");
        let sleep = self.engine.sleep(self.now);
        assert!(self.is_stopping || sleep.is_none(), "a timer is left: {sleep:?}");
    }

    /// A position at which some client has been, or near one.
    pub fn a_place_in(&mut self, room: &str) -> Option<Position> {
        let of = |reading: &&Reading| reading.room == room;
        let readings = self.clients.iter().flat_map(|client| client.readings.iter().filter(of));
        let places: Vec<Position> = readings
            .map(|reading| Position { epoch: reading.epoch, offset: reading.cursor as u64 })
            .collect();
        self.rng.choice(places)
    }
}
