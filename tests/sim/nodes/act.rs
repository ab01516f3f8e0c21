//! What members do, and what becomes of the nodes, of Redis, and of the ways between them, at random.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use fanline::backplane::Line;

use super::member::{Asked, Kind, Member};
use super::node::Node;
use super::order::Place;
use super::{Fleet, NODES, ROOMS};
use crate::client::{handshake, masked};

/// The lines of a node to its one Redis.
const LINES: [Line; 2] = [Line::commands(0), Line::news(0)];

impl Fleet {
    pub fn act(&mut self) {
        if self.rng.u8(..4) == 0 {
            self.server.replicate(&self.order);
        }
        match self.rng.u8(..100) {
            0..14 => self.join(),
            14..20 => self.move_one(),
            20..40 => self.say(),
            40..54 => self.post_some(),
            54..58 => self.post_again(),
            58..64 => self.page(),
            64..68 => self.go(),
            68..74 => self.lose_line(),
            74..78 => self.stall(),
            78..81 => self.cut(),
            81..84 => self.stop(),
            84..88 => self.kill(),
            88..92 => self.err(),
            92 => self.forget(),
            93..95 => self.restart_node(),
            95..97 => self.heal(),
            _ => self.let_time_pass(),
        }
    }

    fn room(&mut self) -> &'static str {
        ROOMS[self.rng.usize(..ROOMS.len())]
    }

    fn any(&mut self, is_wanted: impl Fn(&Member) -> bool) -> Option<usize> {
        let found: Vec<usize> =
            self.active().filter(|member| is_wanted(member)).map(|member| member.at).collect();
        self.rng.choice(found)
    }

    fn is_full(&self) -> bool {
        self.active().count() >= 12
    }

    /// A text that has never been there before: of which kind, its number, whose it is.
    fn text(&mut self, author: usize, is_binary: bool) -> String {
        self.published += 1;
        let len = match self.rng.u8(..16) {
            0 => self.rng.usize(..2_000),
            _ => self.rng.usize(..30),
        };
        let kind = if is_binary { 'b' } else { 't' };
        format!("{kind} {} {author} {}", self.published, "x".repeat(len))
    }

    /// Joins at a node, from a place on if there is one.
    fn enter(
        &mut self,
        node: usize,
        kind: Kind,
        room: &'static str,
        since: Option<Place>,
        last: Option<usize>,
    ) {
        let at = self.come(node, kind, room);
        let mut query = since.as_ref().map_or(String::new(), |place| format!("?since={}", place.position));
        if let Some(last) = last {
            let sign = if query.is_empty() { '?' } else { '&' };
            write!(query, "{sign}last={last}").unwrap();
        }
        self.note(format!("member {at}, {kind:?}, joins {room}{query} at node {node}"));
        let is_quiet = kind != Kind::Events && self.rng.u8(..4) == 0;
        let path = if is_quiet { "quiet" } else { "chat" };
        let request = match kind {
            Kind::Events => format!("GET /rooms/{room}/events{query} HTTP/1.1\r\nHost: x\r\n\r\n"),
            Kind::Raw | Kind::Asker => handshake(&format!("/{path}/{room}{query}")),
            Kind::Json => handshake(&format!("/{path}/{room}{query}"))
                .replace("Host: x\r\n", "Host: x\r\nSec-WebSocket-Protocol: fanline.v1\r\n"),
        };
        let now_ms = self.now_ms();
        let member = &mut self.members[at];
        (member.is_quiet, member.since) = (is_quiet, since);
        member.ask(Asked::Join, &request, now_ms);
    }

    fn join(&mut self) {
        if self.is_full() {
            return self.go();
        }
        let (node, room) = (self.rng.usize(..NODES), self.room());
        let kind = [Kind::Raw, Kind::Json, Kind::Json, Kind::Events][self.rng.usize(..4)];
        let last = (self.rng.u8(..3) == 0).then(|| self.rng.usize(..8));
        // Somebody who has been in the room once, wherever that was.
        let been: Vec<Place> = self
            .members
            .iter()
            .filter(|member| member.room == room)
            .filter_map(|m| m.place.clone())
            .collect();
        let since = self.rng.choice(been).filter(|_| self.rng.bool());
        self.enter(node, kind, room, since, last);
    }

    /// A member goes, and comes back at another node.
    fn move_one(&mut self) {
        let Some(at) = self.any(|member| member.is_open && member.place.is_some()) else { return };
        self.shift(at);
    }

    fn shift(&mut self, at: usize) {
        let node = (self.members[at].node + self.rng.usize(1..NODES)) % NODES;
        let Member { kind, room, ref place, .. } = self.members[at];
        let place = place.clone();
        self.note(format!("member {at} moves"));
        self.leave(at);
        self.enter(node, kind, room, place, None);
    }

    /// Everybody goes on at another node, where nothing is missing.
    pub fn move_all(&mut self) {
        let open: Vec<usize> =
            self.active().filter(|member| member.is_open).map(|member| member.at).collect();
        for at in open {
            let before = self.counts.get("resumed").copied();
            // Who reads messages as they are is not told of another epoch, and may be refused for that.
            let Member { kind, room, place, .. } = &self.members[at];
            let knows = place.as_ref().is_some_and(|place| self.order.is_said(room, place));
            let may_be_gone = *kind == Kind::Raw && !knows;
            self.shift(at);
            self.rest();
            let member = self.members.last().expect("it has just come");
            assert!(
                may_be_gone || member.is_open && self.counts.get("resumed").copied() > before,
                "{member:?} cannot go on"
            );
        }
    }

    fn leave(&mut self, at: usize) {
        let mut wire = self.members[at].wire.borrow_mut();
        match self.rng.bool() {
            true => wire.is_ended = true,
            false => wire.reset(),
        }
        drop(wire);
        self.turn();
        // By now it is lost in any case.
        let member = &mut self.members[at];
        member.wire.borrow_mut().reset();
        self.nodes[member.node].engine.ready(member.id, true, true, true);
        member.is_over = true;
    }

    fn go(&mut self) {
        let Some(at) = self.any(|_| true) else { return };
        self.note(format!("member {at} goes"));
        self.leave(at);
    }

    /// A member says something, or several things.
    fn say(&mut self) {
        let Some(at) = self.any(|member| member.is_open && matches!(member.kind, Kind::Raw | Kind::Json))
        else {
            return;
        };
        for _ in 0..[1, 1, 2, 5, 20][self.rng.usize(..5)] {
            let is_binary = self.rng.u8(..6) == 0;
            let (text, key, now_ms) = (self.text(at, is_binary), self.rng.u32(..), self.now_ms());
            self.note(format!("member {at} says {text:.40}"));
            let member = &mut self.members[at];
            if member.kind == Kind::Raw {
                member.send(&masked(if is_binary { 0x82 } else { 0x81 }, text.as_bytes(), key));
                continue;
            }
            let id = self.published.to_string();
            let object = match is_binary {
                true => json!({ "base64": STANDARD.encode(&text), "id": id }),
                false => json!({ "text": text, "id": id }),
            };
            member.say(id, text, &masked(0x81, object.to_string().as_bytes(), key), now_ms);
        }
    }

    fn free_asker(&mut self) -> Option<usize> {
        let found = self.any(|member| member.kind == Kind::Asker && member.asked.is_empty());
        match found.filter(|_| self.rng.bool()) {
            Some(at) => Some(at),
            None if self.is_full() => None,
            None => {
                let (node, room) = (self.rng.usize(..NODES), self.room());
                Some(self.come(node, Kind::Asker, room))
            }
        }
    }

    fn post_some(&mut self) {
        for _ in 0..self.rng.u8(1..4) {
            let Some(at) = self.free_asker() else { return };
            self.post(at, None);
        }
    }

    /// Posts a text, a new one or one that has been posted before, with a key of its own or without.
    pub fn post(&mut self, at: usize, again: Option<(&'static str, String)>) {
        let has_key = again.is_some() || self.rng.u8(..3) > 0;
        let (room, text) = again.unwrap_or_else(|| (self.members[at].room, self.text(at, false)));
        self.members[at].room = room;
        let key = if has_key { format!("Idempotency-Key: {text:.20}\r\n") } else { String::new() };
        let (node, len, now_ms) = (self.members[at].node, text.len(), self.now_ms());
        self.note(format!("member {at} posts {text:.40} to {room} at node {node}, key: {has_key}"));
        let request = format!(
            "POST /rooms/{room}/messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n{key}\
             Content-Length: {len}\r\n\r\n{text}"
        );
        if has_key {
            self.posted.push_back((room, text.clone(), now_ms));
        }
        self.members[at].ask(Asked::Post(text), &request, now_ms);
    }

    /// What was posted with a key a moment ago is posted again, perhaps while the first one is still on its way.
    fn post_again(&mut self) {
        let (now_ms, Some(at)) = (self.now_ms(), self.free_asker()) else { return };
        self.posted.retain(|(.., since)| since + 20_000 > now_ms);
        if let Some((room, text, _)) = self.rng.choice(self.posted.iter().cloned().collect::<Vec<_>>()) {
            self.post(at, Some((room, text)));
        }
    }

    fn page(&mut self) {
        let Some(at) = self.free_asker() else { return };
        let room = self.members[at].room;
        let been: Vec<Place> = self
            .members
            .iter()
            .filter(|member| member.room == room)
            .filter_map(|m| m.place.clone())
            .collect();
        let since = self.rng.choice(been).filter(|_| self.rng.bool());
        let mut query = format!("limit={}", self.rng.usize(1..20));
        if let Some(since) = &since {
            write!(query, "&since={}", since.position).unwrap();
        }
        if self.rng.bool() {
            query.push_str("&wait=2");
        }
        self.note(format!("member {at} reads {room}?{query}"));
        let (request, now_ms) =
            (format!("GET /rooms/{room}/messages?{query} HTTP/1.1\r\nHost: x\r\n\r\n"), self.now_ms());
        self.members[at].ask(Asked::Page(since), &request, now_ms);
    }

    fn lose_line(&mut self) {
        let (node, line) = (self.rng.usize(..NODES), LINES[self.rng.usize(..2)]);
        self.note(format!("node {node} loses its line of {:?}", line.purpose));
        let both = self.rng.u8(..4) == 0;
        for line in LINES.into_iter().filter(|other| both || *other == line) {
            self.server.lose(node, line, &mut self.rng, &mut self.order);
        }
    }

    fn stall(&mut self) {
        let (node, line) = (self.rng.usize(..NODES), LINES[self.rng.usize(..2)]);
        let (is_back, ms) = (self.rng.bool(), self.rng.u64(..4_000));
        self.note(format!(
            "{:?} of node {node} is held up for {ms} ms, on the way back: {is_back}",
            line.purpose
        ));
        let until = self.now_ms() + ms;
        self.server.stall(node, line, is_back, until);
    }

    fn cut(&mut self) {
        let node = self.rng.usize(..NODES);
        let is_cut = !self.server.cut.remove(&node) && self.server.cut.insert(node);
        self.note(format!("node {node} is cut off: {is_cut}"));
    }

    fn stop(&mut self) {
        self.server.is_stopped ^= true;
        self.note(format!("Redis is stopped: {}", self.server.is_stopped));
    }

    fn kill(&mut self) {
        let now_ms = self.now_ms();
        if self.server.is_up {
            self.note("Redis is killed".to_owned());
            self.server.kill(&mut self.rng, &mut self.order);
            if self.rng.u8(..3) == 0 {
                return;
            }
        }
        match self.rng.u8(..6) {
            0 => {
                self.note("Redis comes back empty".to_owned());
                self.server.start_empty(now_ms, &mut self.order);
            }
            1..4 => {
                self.note("a replica takes its place".to_owned());
                let skew = self.rng.u64(..10_000_000);
                self.server.promote(now_ms, skew, &mut self.order);
            }
            _ => {
                self.note("Redis comes back".to_owned());
                self.server.start(now_ms);
            }
        }
    }

    /// Redis answers, but not as one would like.
    fn err(&mut self) {
        let redis = &mut self.server.redis;
        match self.rng.u8(..5) {
            0 | 1 => redis.is_full ^= true,
            2 => redis.set_read_only(!redis.is_read_only()),
            3 => redis.is_loading ^= true,
            _ => self.server.password = if self.server.password == "other" { "right" } else { "other" },
        }
        let redis = &self.server.redis;
        let (full, only, loading) = (redis.is_full, redis.is_read_only(), redis.is_loading);
        self.note(format!(
            "Redis: full {full}, read only {only}, loading {loading}, password {}",
            self.server.password
        ));
    }

    fn forget(&mut self) {
        if self.rng.bool() {
            self.note("Redis forgets its scripts".to_owned());
            return self.server.redis.forget_scripts();
        }
        let (room, kept) = (self.room(), self.rng.usize(..4));
        let gone = self.server.trim(room, kept);
        self.note(format!("{gone} publications of {room} are gone"));
    }

    fn restart_node(&mut self) {
        let at = self.rng.usize(..NODES);
        self.note(format!("node {at} is killed, and another one is started"));
        self.nodes[at].die(&mut self.server);
        self.nodes[at] = Node::new(at, &self.settings, self.now, &mut self.rng);
        self.members.iter_mut().filter(|member| member.node == at).for_each(|member| member.is_over = true);
    }

    fn heal(&mut self) {
        let waits = self.rng.bool();
        self.note(format!(
            "Redis and the ways to it are well, and for a while nothing else happens: {waits}"
        ));
        let now_ms = self.now_ms();
        self.server.heal(now_ms);
        if waits {
            self.recover();
        }
    }

    fn let_time_pass(&mut self) {
        let ms = match self.rng.u8(..8) {
            0 => self.rng.u64(..60_000),
            _ => self.rng.u64(..6_000),
        };
        self.note(format!("{ms} ms pass"));
        self.pass(ms);
    }
}
