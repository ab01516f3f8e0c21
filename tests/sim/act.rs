//! What clients do, and what happens to them, at random.

use std::io;
use std::time::Duration;

use fanline::engine::Command;
use fanline::ws::extension::negotiate_deflate;
use fanline::{CloseCode, CloseReason, ConnId, OwnedMessage, Refusal};

use crate::client::{Appetite, Client, Kind, handshake, masked};
use crate::model::Item;
use crate::sim::{ROOMS, Sim};

impl Sim {
    pub fn act(&mut self) {
        match self.rng.u8(..100) {
            0..13 => self.open(),
            13..17 => self.read_events(),
            17..27 => self.ask(),
            27..48 => self.publish(),
            48..50 => self.flood(),
            50..57 => self.join_or_leave(),
            57..61 => self.echo(),
            61..65 => self.ping(),
            65..68 if self.rng.u8(..4) == 0 => self.expire(),
            65..68 => self.close(),
            68..71 => self.violate(),
            71..79 => self.change_appetite(),
            79..82 => self.clog(),
            82..84 => self.vanish(),
            84..86 => self.reset(),
            86..88 => self.half_close(),
            88..91 => self.act_from_outside(),
            91 => self.ping(),
            92..94 => self.take_descriptors(),
            94 => self.fail_to_accept(),
            95..97 => self.decide(),
            97..99 => self.let_time_pass(),
            _ if self.rng.bool() => self.reload(),
            _ => self.jump(),
        }
    }

    fn room(&mut self) -> &'static str {
        ROOMS[self.rng.usize(..ROOMS.len())]
    }

    fn any(&mut self, is_wanted: impl Fn(&Client) -> bool) -> Option<usize> {
        let found: Vec<usize> =
            self.active().filter(|client| is_wanted(client)).map(|client| client.at).collect();
        self.rng.choice(found)
    }

    /// One who can say something.
    fn speaker(&mut self) -> Option<usize> {
        self.any(|client| client.kind == Kind::Socket && client.is_open && client.may_speak())
    }

    fn start_in(&mut self, room: &str) -> String {
        let place = self.a_place_in(room);
        match (self.rng.u8(..6), place) {
            (0..3, Some(place)) => format!("since={place}"),
            (3, Some(place)) => {
                format!("since={}:{}", place.epoch, (place.offset + 2).saturating_sub(self.rng.u64(..25)))
            }
            (4, _) => format!("last={}", self.rng.usize(..25)),
            _ => "now".to_owned(),
        }
    }

    fn join_words(&mut self) -> String {
        let room = self.room();
        let start = self.start_in(room);
        let encoding = if self.rng.u8(..3) == 0 { "json" } else { "raw" };
        // What it is not sent because it is its own cannot be told from what it was too slow for.
        let may_be_quiet = !room.starts_with(['s', 'l']);
        let quiet = if may_be_quiet && self.rng.u8(..4) == 0 { "quiet" } else { "loud" };
        format!("{room} {start} {encoding} {quiet}")
    }

    /// A message that has never been there before.
    fn text(&mut self, room: &str) -> String {
        self.published += 1;
        let len = match self.rng.u8(..16) {
            0 => self.rng.usize(..self.model.log_max / 8),
            1..4 => self.rng.usize(..400),
            _ => self.rng.usize(..40),
        };
        format!("pub {room} {} {}", self.published, "多xy".repeat(len / 5))
    }

    /// A message as one frame, or as several with others in between.
    fn frames(&mut self, at: usize, text: &str, is_binary: bool) -> Vec<u8> {
        let mut opcode = if is_binary { 2 } else { 1 };
        let mut rest = text.as_bytes();
        let params = self.clients[at].deflate.filter(|_| self.rng.bool());
        if let Some(compressed) = params.and_then(|params| self.deflater.deflate(params, rest)) {
            opcode |= 0x40;
            rest = compressed;
            *self.counts.entry("compressed").or_default() += 1;
        }
        let rest = rest.to_vec();
        let mut rest = rest.as_slice();
        if self.rng.u8(..3) > 0 {
            return masked(0x80 | opcode, rest, self.rng.u32(..));
        }
        let (mut frames, mut first) = (Vec::new(), opcode);
        while self.rng.u8(..3) > 0 {
            // Also in the middle of a character, and also nothing.
            let cut = self.rng.usize(..=rest.len());
            frames.extend(masked(first, &rest[..cut], self.rng.u32(..)));
            (rest, first) = (&rest[cut..], 0);
            match self.rng.u8(..4) {
                0 => frames.extend(self.a_ping(at)),
                1 => frames.extend(masked(0x8a, b"unasked", self.rng.u32(..))),
                _ => {}
            }
        }
        frames.extend(masked(0x80 | first, rest, self.rng.u32(..)));
        frames
    }

    fn a_ping(&mut self, at: usize) -> Vec<u8> {
        let len = self.rng.usize(..=125);
        let mut payload = self.rng.u32(..).to_be_bytes().to_vec();
        payload.resize(len.max(4), b'p');
        let client = &mut self.clients[at];
        client.pings.push_back(payload.clone());
        let waiting: usize = client.pings.iter().map(|ping| ping.len() + 2).sum();
        client.asks_too_often |= waiting > self.limits.control_bytes_max;
        masked(0x89, &payload, self.rng.u32(..))
    }

    fn say(&mut self, at: usize, text: String) {
        let is_binary = text.starts_with("pub") && self.rng.u8(..6) == 0;
        let frames = self.frames(at, &text, is_binary);
        self.note(format!("client {at} says {text:.60}"));
        self.clients[at].say(&frames, text);
    }

    fn open(&mut self) {
        if self.crowd() > 14 {
            return self.half_close();
        }
        let at = self.come(Kind::Socket);
        let is_deferred = self.rng.u8(..8) == 0;
        let mut path = if is_deferred { "/later?" } else { "/ws?" }.to_owned();
        if self.rng.u8(..5) > 0 {
            path.push_str(&format!("join={}", self.join_words().replace(' ', "+")));
        }
        let mut head = handshake(&path);
        let offer = "permessage-deflate; client_max_window_bits";
        if self.rng.u8(..3) == 0 {
            head = head.replace("Host: x\r\n", &format!("Host: x\r\nSec-WebSocket-Extensions: {offer}\r\n"));
            let agreed = negotiate_deflate([offer.as_bytes()].into_iter()).unwrap();
            self.clients[at].deflate = agreed.filter(|_| self.may_deflate);
        }
        match self.rng.u8(..20) {
            0 => {
                head = head.replace(&path, &format!("{path}&refuse"));
                self.clients[at].doom = Some(403);
            }
            1 => {
                head = head.replace("Version: 13", "Version: 8");
                self.clients[at].doom = Some(426);
            }
            2 => {
                head = head.replace("Host: x\r\n", "Host: x\r\nOrigin: http://evil\r\n");
                self.clients[at].doom = Some(403);
            }
            _ => {}
        }
        self.note(format!("client {at} opens {path}, to be refused: {:?}", self.clients[at].doom));
        self.clients[at].asked = 1;
        self.clients[at].send(head.as_bytes());
        // What follows may travel with the handshake.
        while self.clients[at].doom.is_none() && self.rng.u8(..3) == 0 {
            let room = self.room();
            let text = self.text(room);
            self.say(at, text);
        }
    }

    fn read_events(&mut self) {
        if self.crowd() > 14 {
            return;
        }
        let at = self.come(Kind::Reader);
        let room = self.room();
        let start = self.start_in(room);
        self.note(format!("client {at} reads the events of {room} {start}"));
        let request = format!("GET /events?room={room}&start={start} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.clients[at].asked = 1;
        self.clients[at].send(request.as_bytes());
    }

    /// Requests, often several at once.
    fn ask(&mut self) {
        let is_free = |client: &Client| client.kind == Kind::Asker && client.may_speak();
        let at = match self.any(is_free).filter(|_| self.rng.bool()) {
            Some(at) => at,
            None if self.crowd() > 14 => return,
            None => self.come(Kind::Asker),
        };
        for _ in 0..self.rng.u8(1..5) {
            let room = self.room();
            let request = match self.rng.u8(..12) {
                0..4 => {
                    let text = self.text(room);
                    let expect = if self.rng.u8(..4) == 0 { "Expect: 100-continue\r\n" } else { "" };
                    self.note(format!("client {at} posts {text:.60}"));
                    format!(
                        "POST /post HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: {}\r\n\r\n{text}",
                        text.len()
                    )
                }
                4..8 => {
                    let room = ["k0", "k1"][self.rng.usize(..2)];
                    let start = match self.engine.rooms().info(room) {
                        Some(info) if self.rng.bool() => format!("since={}", info.position),
                        _ => self.start_in(room),
                    };
                    let wait = [0, 300, 5_000, 20_000][self.rng.usize(..4)];
                    self.note(format!("client {at} polls {room} {start}, for {wait} ms"));
                    format!("GET /poll?room={room}&start={start}&wait={wait} HTTP/1.1\r\nHost: x\r\n\r\n")
                }
                8..11 => {
                    self.note(format!("client {at} gets {}", self.published));
                    format!("GET /get?n={} HTTP/1.1\r\nhost: x\r\n\r\n", self.published)
                }
                _ => {
                    let (request, status) = match self.rng.u8(..3) {
                        0 => ("GET /get HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), 400),
                        1 => (format!("GET /{} HTTP/1.1\r\n", "x".repeat(3000)), 431),
                        _ => (
                            "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n".to_owned(),
                            413,
                        ),
                    };
                    self.note(format!("client {at} asks for {status}"));
                    self.clients[at].doom = Some(status);
                    self.clients[at].send(request.as_bytes());
                    return;
                }
            };
            self.clients[at].asked += 1;
            self.clients[at].send(request.as_bytes());
        }
    }

    fn publish(&mut self) {
        let Some(at) = self.speaker() else { return };
        for _ in 0..[1, 1, 1, 2, 6][self.rng.usize(..5)] {
            let room = self.room();
            let text = self.text(room);
            self.say(at, text);
        }
    }

    fn join_or_leave(&mut self) {
        let Some(at) = self.speaker() else { return };
        let text = match self.rng.u8(..3) {
            0 => format!("leave {}", self.room()),
            _ => format!("join {}", self.join_words()),
        };
        self.say(at, text);
    }

    fn echo(&mut self) {
        let Some(at) = self.speaker() else { return };
        for _ in 0..self.rng.u8(1..5) {
            self.published += 1;
            let text = format!("echo {} {}", self.published, [3, 100, 3000, 20_000][self.rng.usize(..4)]);
            self.say(at, text);
        }
    }

    fn ping(&mut self) {
        let Some(at) = self.speaker() else { return };
        for _ in 0..self.rng.u8(1..8) {
            let frame = self.a_ping(at);
            self.clients[at].send(&frame);
        }
        self.note(format!("client {at} pings, {} are out", self.clients[at].pings.len()));
    }

    fn expire(&mut self) {
        let Some(at) = self.speaker() else { return };
        let text = format!("expire {}", [0_u64, 2_000, 30_000, 9_999_999_999][self.rng.usize(..4)]);
        self.say(at, text);
    }

    fn close(&mut self) {
        let Some(at) = self.speaker() else { return };
        let key = self.rng.u32(..);
        if self.rng.bool() {
            let code = [1000, 4001, 1011][self.rng.usize(..3)];
            return self.say(at, format!("bye {code}"));
        }
        let (code, payload) =
            [(1000, &b"\x03\xe8bye"[..]), (1005, b""), (4999, b"\x13\x87")][self.rng.usize(..3)];
        self.note(format!("client {at} closes with {code}"));
        self.clients[at].close_sent = Some(code);
        self.clients[at].send(&masked(0x88, payload, key));
    }

    /// Something that RFC 6455 forbids, and the code that answers it.
    fn violate(&mut self) {
        let Some(at) = self.speaker() else { return };
        let key = self.rng.u32(..);
        let mut in_fragments = masked(0x01, "多".as_bytes(), key);
        in_fragments.extend(masked(0x80, b"\xa4", key));
        let mut message_inside = masked(0x01, b"a", key);
        message_inside.extend(masked(0x81, b"b", key));
        let rows: [(u16, Vec<u8>); 13] = [
            (1002, b"\x81\x02hi".to_vec()),
            (1002, masked(0xa1, b"hi", key)),
            (1002, masked(0x83, b"hi", key)),
            (1002, masked(0x09, b"hi", key)),
            (1002, masked(0x89, &[b'p'; 126], key)),
            (1002, masked(0x80, b"hi", key)),
            (1002, message_inside),
            (1002, b"\x81\xfe\x00\x05\x00\x00\x00\x00hello".to_vec()),
            (1007, masked(0x81, b"\xff\xfe", key)),
            (1007, in_fragments),
            (1002, masked(0x88, b"\x03", key)),
            (1002, masked(0x88, b"\x03\xed", key)),
            (1009, masked(0x82, &[b'x'; 100_001], key)[..20].to_vec()),
        ];
        let (code, mut bytes) = rows[self.rng.usize(..rows.len())].clone();
        self.note(format!("client {at} says {bytes:.20x?}, which is {code}"));
        bytes.extend(vec![b'!'; self.rng.usize(..100)]);
        let client = &mut self.clients[at];
        client.send(&bytes);
        client.causes.push(code);
        // From here on it says nothing that anybody would hear.
        client.doom = Some(code);
    }

    fn change_appetite(&mut self) {
        let is_away = |client: &Client| client.vanished.is_none() && client.appetite != Appetite::All;
        let at = match self.any(is_away).filter(|_| self.rng.bool()) {
            Some(at) => Some(at),
            None => self.any(|client| client.vanished.is_none()),
        };
        let Some(at) = at else { return };
        let appetite =
            [Appetite::All, Appetite::All, Appetite::Little, Appetite::Nothing][self.rng.usize(..4)];
        self.note(format!("client {at} takes {appetite:?}"));
        let client = &mut self.clients[at];
        client.appetite = appetite;
        client.is_troubled |= appetite != Appetite::All;
    }

    fn clog(&mut self) {
        let Some(at) = self.any(|client| client.vanished.is_none()) else { return };
        let client = &mut self.clients[at];
        client.is_troubled = true;
        let mut wire = client.wire.borrow_mut();
        wire.is_clogged ^= true;
        let is_clogged = wire.is_clogged;
        drop(wire);
        self.note(format!("what client {at} says arrives: {}", !is_clogged));
    }

    fn vanish(&mut self) {
        let Some(at) = self.any(|client| client.vanished.is_none()) else { return };
        self.note(format!("client {at} vanishes"));
        let client = &mut self.clients[at];
        client.vanished = Some(self.now);
        client.is_troubled = true;
        let mut wire = client.wire.borrow_mut();
        wire.is_clogged = true;
        wire.transit.clear();
    }

    fn reset(&mut self) {
        let Some(at) = self.any(|_| true) else { return };
        self.note(format!("the connection of client {at} is reset"));
        self.clients[at].wire.borrow_mut().reset();
    }

    fn half_close(&mut self) {
        let Some(at) = self.any(|client| client.vanished.is_none()) else { return };
        self.note(format!("client {at} closes its side"));
        self.clients[at].wire.borrow_mut().is_ended = true;
    }

    fn act_from_outside(&mut self) {
        // Also to one that has long gone.
        let ids: Vec<ConnId> = self.by_id.keys().copied().collect();
        let Some(id) = self.rng.choice(ids) else { return };
        let at = self.by_id[&id];
        match self.rng.u8(..3) {
            0 => {
                let before = self.metrics.replies.get();
                self.engine.apply(Command::Send(id, "!hello".into()));
                let is_sent = self.metrics.replies.get() > before;
                self.note(format!("from outside to client {at}, sent: {is_sent}"));
                if is_sent {
                    self.clients[at].direct.push_back("!hello".to_owned());
                }
            }
            1 => {
                self.note(format!("from outside, client {at} is closed"));
                let reason = CloseReason::new(CloseCode::new(4000).unwrap(), "from outside").unwrap();
                if self.clients[at].is_told && !self.clients[at].is_leaving {
                    self.closes(id, 4000);
                }
                self.engine.apply(Command::Close(id, reason));
            }
            _ => {
                let room = self.room();
                self.publish_from_outside(room);
            }
        }
    }

    fn publish_from_outside(&mut self, room: &str) {
        let text = self.text(room);
        self.note(format!("from outside {text:.40}"));
        if self.engine.is_crowded(room) {
            return;
        }
        let before = self.engine.rooms().info(room);
        self.engine.apply(Command::Publish(room.to_owned(), OwnedMessage::Text(text.clone())));
        let after = self.engine.rooms().info(room);
        if let (Some(before), Some(after)) = (before, after)
            && before.position != after.position
        {
            let item = Item { text, is_binary: false, author: None, time_ms: self.now_ms() };
            self.model.publish(room, after.position, item);
        }
    }

    /// More than a room's log holds: those who do not take it are passed.
    fn flood(&mut self) {
        let room = self.room();
        self.note(format!("a flood in {room}"));
        // Some look away meanwhile, and come back in time or too late.
        let readers = |client: &Client| client.readings.iter().any(|reading| reading.room == room);
        let readers: Vec<usize> = self.active().filter(|c| readers(c)).map(|client| client.at).collect();
        for at in readers.into_iter().filter(|_| self.rng.u8(..3) == 0).collect::<Vec<_>>() {
            self.clients[at].appetite = Appetite::Nothing;
            self.clients[at].is_troubled = true;
        }
        for _ in 0..24 {
            let Some(at) = self.speaker() else { return };
            self.published += 1;
            let text = format!("pub {room} {} {}", self.published, "f".repeat(self.model.log_max / 12));
            self.say(at, text);
            if self.rng.bool() {
                self.turn();
            }
        }
    }

    /// Somebody else in the process takes descriptors, or gives them back.
    fn take_descriptors(&mut self) {
        let most = if self.rng.bool() { self.limits.connections_max + 8 } else { self.rng.usize(..6) };
        self.note(format!("there are {most} descriptors"));
        self.door.descriptors_max = most;
    }

    fn fail_to_accept(&mut self) {
        let (emfile, enfile, enobufs, econnaborted, eintr) = (24, 23, 105, 103, 4);
        for _ in 0..self.rng.u8(1..4) {
            let error = [emfile, enfile, enobufs, econnaborted, eintr][self.rng.usize(..5)];
            self.door.errors.push_back(io::Error::from_raw_os_error(error));
        }
        self.note(format!("accepting fails: {:?}", self.door.errors));
    }

    fn decide(&mut self) {
        let deciding: Vec<ConnId> = self.engine.handler().deciding.iter().copied().collect();
        let Some(id) = self.rng.choice(deciding) else { return };
        let at = self.by_id[&id];
        let is_welcome = self.rng.u8(..3) > 0;
        self.note(format!("client {at} is let in: {is_welcome}"));
        if is_welcome {
            self.engine.apply(Command::Admit(id));
        } else {
            self.clients[at].doom = Some(403);
            self.engine.apply(Command::Refuse(id, Refusal::Forbidden("not you").into()));
        }
        self.absorb();
    }

    fn let_time_pass(&mut self) {
        let ms = match self.rng.u8(..4) {
            0 => self.rng.u64(..100_000),
            _ => self.rng.u64(..8_000),
        };
        self.note(format!("{ms} ms pass"));
        self.pass(Duration::from_millis(ms));
    }

    /// Somebody changes the limits while everything goes on.
    fn reload(&mut self) {
        let (walk_slice, flush_budget) = (self.rng.usize(1..6), self.rng.usize(1..8));
        let (read_budget, high) = (self.rng.usize(200..10_000), self.rng.usize(2_000..40_000));
        self.note(format!("limits change: {walk_slice}, {flush_budget}, {read_budget}, {high}"));
        self.engine.reload(|_, rules| {
            (rules.limits.walk_slice, rules.limits.flush_budget) = (walk_slice, flush_budget);
            (rules.limits.read_budget, rules.limits.outbound_bytes_high) = (read_budget, high);
        });
        self.limits = self.engine.limits().clone();
    }

    /// The machine sleeps for hours, or so it seems.
    fn jump(&mut self) {
        let hours = self.rng.u64(1..30);
        self.note(format!("{hours} hours are gone"));
        self.rest();
        self.now += Duration::from_secs(hours * 3600);
        // Who has vanished before is looked for from here on.
        for client in self.clients.iter_mut().filter(|client| client.vanished.is_some()) {
            client.vanished = Some(self.now);
        }
        self.rest();
    }
}
