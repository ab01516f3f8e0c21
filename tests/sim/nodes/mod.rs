//! Three nodes on one simulated Redis, and a model that spans them: whatever becomes of the Redis and of the ways to it,
//! each member is sent a piece of the one order, or told that it is not.

mod act;
mod member;
mod node;
mod order;
pub mod redis;
mod server;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fanline::{Keep, Limits};

use crate::net::{Edge, EngineEnd, Wire};
use crate::plan::Plan;
use crate::runner::{Counts, World};
use member::{Asked, Kind, Member};
use node::{Node, Settings};
use order::Order;
use server::Server;

pub const NODES: usize = 3;
pub const ROOMS: [&str; 3] = ["a", "b", "c"];

pub struct Fleet {
    settings: Settings,
    begun: Instant,
    now: Instant,
    nodes: Vec<Node>,
    server: Server,
    order: Order,
    members: Vec<Member>,
    /// Since when Redis has not answered a node.
    dead_since: [Option<u64>; NODES],
    rng: fastrand::Rng,
    is_calm: bool,
    published: u64,
    /// What has been posted, to which room and when.
    posted: VecDeque<(&'static str, String, u64)>,
    trail: Vec<String>,
    counts: Counts,
}

impl World for Fleet {
    const TEST: &'static str = "three_nodes";
    const STEPS: u64 = 80;
    const KEPT: (&'static str, &'static str) = (include_str!("seeds.txt"), "nodes/seeds.txt");
    const HAPPENS: &'static [&'static str] = &[
        "ack",
        "closed 1013",
        "gone",
        "joined",
        "not published",
        "not resumed",
        "page",
        "posted",
        "posted before",
        "reset",
        "resumed",
        "503",
    ];

    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ms = |from: u64, to: u64| Duration::from_millis(rng.u64(from..to));
        let limits = Limits {
            backplane_connect_deadline: ms(500, 2_000),
            backplane_reply_deadline: ms(500, 3_000),
            backplane_publish_deadline: ms(500, 5_000),
            backplane_retry_max: ms(100, 2_000),
            backplane_room_age: ms(30_000, 90_000),
            backplane_canary_interval: Duration::from_millis(900),
            ..Limits::default()
        };
        let limits = Limits {
            backplane_pending_max: [2, 8, 1000][rng.usize(..3)],
            backplane_log_min: rng.usize(2..20),
            page_entries_max: rng.usize(1..40),
            page_bytes_max: rng.usize(1..2_000),
            ..limits
        };
        let age = Duration::from_secs(30);
        let keep = Keep { messages: rng.usize(1..15), bytes: 4_000, age };
        let (settings, begun) = (Settings { limits, keep }, Instant::now());
        let nodes = (0..NODES).map(|at| Node::new(at, &settings, begun, &mut rng)).collect();
        Self {
            settings,
            begun,
            now: begun,
            nodes,
            server: Server::new(rng.u64(..10_000_000)),
            order: Order::default(),
            members: Vec::new(),
            dead_since: [None; NODES],
            rng,
            is_calm: true,
            published: 0,
            posted: VecDeque::new(),
            trail: Vec::new(),
            counts: Counts::new(),
        }
    }

    fn run(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.rng = fastrand::Rng::with_seed(plan.seed_of(*step));
            self.is_calm = step.is_calm;
            self.trail.push(format!("step {}{}", step.number, if step.is_calm { ", calm" } else { "" }));
            self.act();
            match self.rng.u8(..8) {
                0 => self.rest(),
                1 => {}
                2 => {
                    let ms = self.rng.u64(..1_500);
                    self.pass(ms);
                }
                _ => {
                    for _ in 0..self.rng.u8(1..6) {
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

impl Fleet {
    /// Longer than a line that is down, or deaf, is so after the last fault.
    const RECOVERY_MS: u64 = 8_000;

    /// What the nodes have counted.
    pub fn metrics(&self) -> Vec<Vec<(&'static str, u64)>> {
        self.nodes.iter().map(|node| node.metrics.all()).collect()
    }

    fn note(&mut self, what: String) {
        self.trail.push(format!("    {what}"));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn now_ms(&self) -> u64 {
        (self.now - self.begun).as_millis() as u64
    }

    /// Somebody connects to a node, and asks for something.
    fn come(&mut self, node: usize, kind: Kind, room: &'static str) -> usize {
        let (at, wire) = (self.members.len(), Wire::new(1 << 20));
        let expected = self.nodes[node].engine.next_id();
        self.members.push(Member::new(at, node, kind, room, (wire, expected)));
        let end = EngineEnd(self.members[at].wire.clone());
        assert_eq!(self.nodes[node].engine.connect(end, self.now), Some(expected));
        at
    }

    fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_over)
    }

    /// One turn of all three, and what everybody got by then; whether anything has happened or will.
    fn turn(&mut self) -> bool {
        let Self { rng, is_calm, members, nodes, server, order, .. } = self;
        let (calm, now, now_ms) = (*is_calm, self.now, (self.now - self.begun).as_millis() as u64);
        let mut some = || match if calm { 7 } else { rng.u8(..8) } {
            0 => 0,
            1 => rng.usize(..4),
            2 => rng.usize(..100),
            _ => usize::MAX,
        };
        for member in members.iter() {
            let mut wire = member.wire.borrow_mut();
            if wire.is_dropped {
                continue;
            }
            wire.travel(some(), some());
            if let Some(Edge { readable, writable, hung_up }) = wire.take_edge() {
                drop(wire);
                nodes[member.node].engine.ready(member.id, readable, writable, hung_up);
            }
        }
        for node in nodes.iter_mut() {
            node.turn(server, now, now_ms, &mut some);
        }
        server.turn(now_ms, rng, calm, order);
        for (at, since) in self.dead_since.iter_mut().enumerate() {
            *since = since.or(Some(now_ms)).filter(|_| server.is_dead_for(at));
        }
        let (mut has_read, mut all) = (false, Vec::new());
        for member in members.iter_mut().filter(|member| !member.is_over) {
            let (has_got, happened) = member.receive(order, rng.u32(..));
            has_read |= has_got;
            all.extend(happened);
        }
        all.into_iter().for_each(|what| self.count(what));
        has_read | self.has_more()
    }

    fn has_more(&mut self) -> bool {
        self.restless().is_some()
    }

    /// Who has something to do or to say.
    fn restless(&mut self) -> Option<String> {
        let (now, now_ms) = (self.now, self.now_ms());
        let is_busy = |member: &&Member| !member.wire.borrow().is_dropped && member.wire.borrow().is_busy();
        if let Some(member) = self.members.iter().find(is_busy) {
            return Some(format!("{member:?}"));
        }
        if self.server.is_busy(now_ms) {
            return Some("Redis".to_owned());
        }
        self.nodes.iter_mut().find_map(|node| {
            let is_busy = node.engine.has_work() || node.is_busy(now);
            is_busy.then(|| format!("node {}", node.at))
        })
    }

    /// Turns until nobody has anything to do or to say.
    fn rest(&mut self) {
        let (was_calm, mut turns) = (self.is_calm, 0);
        while self.turn() {
            turns += 1;
            self.is_calm |= turns > 40;
            assert!(turns < 10_000, "they never rest: {:?}", self.restless());
        }
        self.is_calm = was_calm;
    }

    /// Lets time pass.
    fn pass(&mut self, ms: u64) {
        self.rest();
        let end = self.now + Duration::from_millis(ms);
        while let Some(sleep) = self.sleep().filter(|sleep| self.now + *sleep < end) {
            self.now += sleep.max(Duration::from_millis(1));
            self.rest();
            self.check();
        }
        self.now = end;
        self.rest();
        self.check();
    }

    fn sleep(&self) -> Option<Duration> {
        let now_ms = self.now_ms();
        let network = self.server.due_ms(now_ms).map(|due| Duration::from_millis(due - now_ms));
        self.nodes.iter().filter_map(|node| node.engine.sleep(self.now)).chain(network).min()
    }

    /// Nothing is on its way that could move: what has its time has happened.
    fn check(&mut self) {
        let (now, now_ms) = (self.now, self.now_ms());
        for member in self.active() {
            let mut due = member.asked.iter().map(|(_, by)| by).chain(member.said.values().map(|(_, by)| by));
            let is_late = due.any(|by| *by < now_ms);
            assert!(!is_late, "nobody answers {member:?}");
        }
        for at in 0..NODES {
            let is_ready = self.nodes[at].is_ready(now);
            let is_late = self.dead_since[at].is_some_and(|since| since + 3_000 < now_ms);
            assert!(!is_ready || !is_late, "node {at} believes that it is ready");
        }
    }

    /// All is well again: everybody gets everything, in bounded time, wherever they are.
    fn finish(&mut self) {
        self.note("the end".to_owned());
        let now_ms = self.now_ms();
        self.server.heal(now_ms);
        self.is_calm = true;
        self.recover();
        for at in 0..NODES {
            let asker = self.come(at, Kind::Asker, ROOMS[0]);
            let now_ms = self.now_ms();
            self.members[asker].ask(Asked::Ready, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", now_ms);
            self.rest();
            assert!(self.members[asker].is_ready, "node {at} says that it is not ready");
        }
        for (at, room) in (0..NODES).zip(ROOMS) {
            let poster = self.come(at, Kind::Asker, room);
            self.post(poster, None);
        }
        self.rest();
        self.check_arrived();
        self.move_all();
        self.rest();
        self.check_arrived();
        for node in &self.nodes {
            let is_there = |member: &&Member| member.node == node.at && !member.wire.borrow().is_dropped;
            let there = self.members.iter().filter(is_there).count();
            assert_eq!(node.engine.len(), there, "connections at node {}", node.at);
        }
    }

    /// Nothing is wrong any more: before long all nodes are ready, and all members have everything.
    fn recover(&mut self) {
        self.pass(Self::RECOVERY_MS);
        for node in &mut self.nodes {
            assert!(node.is_ready(self.now), "node {} is not ready", node.at);
        }
        self.check_arrived();
    }

    /// Whoever is a member has all that there is, and whoever said something knows what has become of it.
    fn check_arrived(&self) {
        for member in self.active() {
            assert!(member.asked.is_empty() && member.said.is_empty(), "{member:?} is not answered");
            if member.is_open {
                let place = member.place.as_ref().unwrap_or_else(|| panic!("{member:?} is nowhere"));
                let end = self.order.end(member.room);
                let is_there = self.order.is_at_end(member.room, place, |text| member.passes(text));
                assert!(is_there, "{member:?} is not at the end, {end:?}");
            }
        }
    }
}
