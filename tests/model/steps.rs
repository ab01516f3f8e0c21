//! What clients do, at random.

use std::time::Duration;

use fanline::engine::Command;
use fanline::{ConnId, NotPublished, OwnedMessage, Position, Published};

use crate::client::{Client, Kind};
use crate::hall::{Post, is_kept};
use crate::sim::{ROOMS, Sim};
use crate::world::{handshake, masked};

impl Sim {
    pub fn act(&mut self) {
        match self.rng.u8(..100) {
            0..14 => self.open(),
            14..24 => self.join(),
            24..28 => self.leave(),
            28..50 => self.say(),
            50..58 => self.post(),
            58..64 => self.publish_from_outside(),
            64..70 => self.go(),
            70..78 => self.change_window(),
            78..84 => self.ask(),
            84..87 => self.read_events(),
            87..89 => self.send_from_outside(),
            89 => self.flood(),
            _ => self.let_time_pass(),
        }
    }

    fn room(&mut self) -> &'static str {
        ROOMS[self.rng.usize(..ROOMS.len())]
    }

    /// One who can be told to do something.
    fn any(&mut self, is_wanted: impl Fn(&Client) -> bool) -> Option<ConnId> {
        let ids: Vec<ConnId> =
            self.clients.iter().filter(|(_, client)| is_wanted(client)).map(|(id, _)| *id).collect();
        self.rng.choice(ids)
    }

    fn socket(&mut self) -> Option<ConnId> {
        self.any(|client| client.kind == Kind::Socket && client.is_well())
    }

    /// Now, the last ones, or a position: a good one, an old one, or one that never was.
    fn start_in(&mut self, room: &str) -> String {
        let mut places: Vec<Position> =
            self.places.iter().filter(|(at, _)| at == room).map(|(_, position)| *position).collect();
        for client in self.clients.values() {
            for reading in client.readings.iter().filter(|reading| reading.room == room) {
                let epoch = self.model.lives[reading.life].epoch;
                places.push(Position { epoch, offset: reading.cursor as u64 });
            }
        }
        let place = self.rng.choice(places).unwrap_or(Position { epoch: 1, offset: 0 });
        let Position { epoch, offset } = place;
        match self.rng.u8(..10) {
            0..2 => "now".to_owned(),
            2..4 => format!("last={}", self.rng.usize(..30)),
            4..7 => format!("since={place}"),
            7 => format!(
                "since={epoch}:{},{}",
                offset.saturating_sub(self.rng.u64(1..40)),
                self.rng.usize(..30)
            ),
            8 => format!("since={epoch}:{},{}", offset + self.rng.u64(..4), self.rng.usize(..5)),
            _ => format!("since={}:{offset}", self.rng.u64(1..epoch + 3)),
        }
    }

    fn join_words(&mut self, at: usize, is_slow: bool) -> String {
        let room = self.room();
        let start = self.start_in(room);
        let encoding = if self.rng.u8(..3) == 0 { "json" } else { "raw" };
        // What it is not sent because it is its own cannot be told from what it was too slow for.
        let may_be_quiet = !room.starts_with(['s', 'l']);
        let quiet = if may_be_quiet && self.rng.u8(..4) == 0 { "quiet" } else { "loud" };
        let user = match self.rng.u8(..5) {
            _ if is_slow => format!("c{at}@{room}"),
            // One notice is like another: where some are skipped, nobody could tell which.
            0..3 if room.starts_with('l') => format!("ann@{room}"),
            0 => format!("ann@{room}!"),
            1 => format!("bob@{room}!"),
            2 => format!("eve@{room}"),
            _ => "-".to_owned(),
        };
        let answer = if self.rng.bool() { "answer" } else { "silent" };
        format!("{room} {start} {encoding} {quiet} {user} {answer}")
    }

    fn add(&mut self, kind: Kind, is_slow: bool) -> (ConnId, usize) {
        let at = self.world.connect();
        let id = self.world.clients[at].id;
        self.clients.insert(id, Client::new(at, kind, is_slow));
        (id, at)
    }

    fn open(&mut self) {
        if self.clients.len() > 24 {
            return self.go();
        }
        let is_slow = self.rng.u8(..3) == 0;
        let (_, at) = self.add(Kind::Socket, is_slow);
        let mut path = "/ws?".to_owned();
        if self.rng.u8(..4) > 0 {
            path.push_str(&format!("join={}", self.join_words(at, is_slow).replace(' ', "+")));
        }
        if self.rng.u8(..20) == 0 {
            path.push_str("&refuse");
        }
        self.note(format!("client {at} opens {path}, slow: {is_slow}"));
        let mut bytes = handshake(&path).into_bytes();
        // The model does not know how far behind a slow one is in compressed bytes.
        if !is_slow && self.rng.bool() {
            let at = bytes.len() - 2;
            bytes.splice(at..at, *b"Sec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        if !path.ends_with("&refuse") && self.rng.u8(..4) == 0 {
            let post = self.message();
            bytes.extend(masked(if post.is_binary { 0x82 } else { 0x81 }, post.text.as_bytes()));
        }
        if is_slow && self.rng.bool() {
            let window = self.rng.usize(..400);
            self.world.narrow(at, window);
        }
        self.world.send(at, &bytes);
    }

    fn join(&mut self) {
        let Some(id) = self.socket() else { return };
        let Client { at, is_slow, .. } = self.clients[&id];
        let words = self.join_words(at, is_slow);
        self.note(format!("client {at} joins {words}"));
        self.world.send_text(at, &format!("/join {words}"));
    }

    fn leave(&mut self) {
        let Some(id) = self.socket() else { return };
        let (at, room) = (self.clients[&id].at, self.room());
        self.note(format!("client {at} leaves {room}"));
        self.world.send_text(at, &format!("/leave {room}"));
    }

    /// A message that has never been there before.
    fn message(&mut self) -> Post {
        self.published += 1;
        let len = match self.rng.u8(..20) {
            0 => self.rng.usize(..self.log_max / 6),
            1..5 => self.rng.usize(..self.log_max / 40),
            _ => self.rng.usize(..60),
        };
        let filler = ["xxxxxxxx", "\"quoted\" ", "a line\n", "多说", "a line\r\n"][self.rng.usize(..5)];
        let key = match self.rng.u8(..4) {
            0 => format!("#{} ", self.rng.u8(..12)),
            _ => String::new(),
        };
        let text = format!("{} {key}{} {}", self.room(), self.published, filler.repeat(len / filler.len()));
        // In no encoding is it longer.
        let len = text.len() * 2 + 100;
        if self.burst + len > self.log_max * 9 / 10 {
            self.rest();
        }
        self.burst += len;
        Post { text, is_binary: self.rng.u8(..6) == 0 }
    }

    fn say(&mut self) {
        let post = self.message();
        let Some(id) = self.socket() else { return };
        let at = self.clients[&id].at;
        self.note(format!("client {at} says {:.40}", post.text));
        self.world.send(at, &masked(if post.is_binary { 0x82 } else { 0x81 }, post.text.as_bytes()));
    }

    fn post(&mut self) {
        let post = self.message();
        self.post_as(post);
    }

    fn post_as(&mut self, post: Post) {
        let (_, at) = self.add(Kind::Asker, false);
        self.note(format!("client {at} posts {:.40}", post.text));
        let binary = if post.is_binary { "?binary" } else { "" };
        let head =
            format!("POST /post{binary} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", post.text.len());
        self.world.send(at, &[head.as_bytes(), post.text.as_bytes()].concat());
    }

    fn publish_from_outside(&mut self) {
        let mut post = self.message();
        // Nobody is told how it went, so nothing else may be on its way; and there is no key.
        self.rest();
        post.text = post.text.replacen('#', "", 1);
        self.note(format!("from outside: {:.40}", post.text));
        let room = post.room().to_owned();
        let message = match post.is_binary {
            true => OwnedMessage::Binary(post.text.clone().into_bytes()),
            false => OwnedMessage::Text(post.text.clone()),
        };
        let before = self.world.engine.rooms().info(&room);
        self.world.engine.apply(Command::Publish(room.clone(), message));
        let now_ms = self.now_ms();
        match (before, self.world.engine.rooms().info(&room)) {
            (Some(before), Some(after)) if after.position != before.position => {
                let published = Published { position: after.position, crowded: false, repeated: false };
                self.model.publish(None, &post, Ok(published), now_ms);
            }
            (None, None) if is_kept(&room) => {}
            _ => self.model.publish(None, &post, Err(NotPublished::Unheard), now_ms),
        }
    }

    /// More than a room's log holds: those who do not read are passed, and some of them look up in time to be told.
    fn flood(&mut self) {
        let room = self.room();
        self.note(format!("a flood in {room}"));
        let members: Vec<usize> = self
            .clients
            .values()
            .filter(|client| client.is_slow && client.silent.is_none())
            .filter(|client| client.readings.iter().any(|reading| reading.room == room))
            .map(|client| client.at)
            .collect();
        for at in &members {
            if self.rng.bool() {
                self.world.narrow(*at, 0);
            }
        }
        for _ in 0..10 {
            self.published += 1;
            let text = format!("{room} {} {}", self.published, "flood".repeat(self.log_max / 35));
            self.rest();
            self.post_as(Post { text, is_binary: false });
        }
        self.rest();
        for at in members {
            if self.rng.bool() {
                self.world.widen(at, usize::MAX);
            }
        }
    }

    fn go(&mut self) {
        let Some(id) = self.any(|client| !client.is_over && client.silent.is_none()) else { return };
        let (at, kind) = (self.clients[&id].at, self.clients[&id].kind);
        let is_well = self.clients[&id].is_well();
        let how = self.rng.u8(..4);
        self.note(format!("client {at} goes, {how}"));
        match (kind, how) {
            (Kind::Reader | Kind::Asker, _) => {
                self.rest();
                if self.clients.get(&id).is_some_and(|client| !client.is_over) {
                    self.end(id);
                    self.rest();
                }
            }
            (Kind::Socket, 0) if is_well => self.world.send_text(at, "/bye"),
            (Kind::Socket, 1) if is_well => self.world.send(at, &masked(0x88, &[3, 232])),
            (Kind::Socket, 2) if is_well => {
                self.count("silent");
                self.clients.get_mut(&id).unwrap().silent = Some(self.world.now);
            }
            (Kind::Socket, _) => self.end(id),
        }
    }

    fn change_window(&mut self) {
        let Some(id) = self.any(|client| client.is_slow && client.silent.is_none()) else { return };
        let at = self.clients[&id].at;
        let window = [0, 1, 7, 200, 3000, usize::MAX][self.rng.usize(..6)];
        self.note(format!("client {at} takes {window} bytes"));
        if window == 0 {
            self.count("blocked");
            self.world.narrow(at, 0);
        } else {
            self.world.widen(at, window);
        }
    }

    fn ask(&mut self) {
        let room = self.room();
        if !is_kept(room) {
            return;
        }
        let is_free = |client: &Client| {
            client.kind == Kind::Asker && !client.is_over && client.waits.is_none() && client.answer.is_none()
        };
        self.rest();
        let at = match self.any(is_free).filter(|_| self.rng.bool()) {
            Some(id) => self.clients[&id].at,
            None => self.add(Kind::Asker, false).1,
        };
        let start = match self.world.engine.rooms().info(room) {
            Some(info) if self.rng.u8(..3) > 0 => format!("since={}", info.position),
            _ => self.start_in(room),
        };
        let wait = self.rng.choice([0, 1, 300, 5_000, 20_000]).unwrap();
        self.note(format!("client {at} asks for {room} {start}, and waits {wait} ms"));
        let request = format!("GET /poll?room={room}&start={start}&wait={wait} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.world.send(at, request.as_bytes());
    }

    fn read_events(&mut self) {
        if self.clients.len() > 24 {
            return;
        }
        self.rest();
        let (room, is_slow) = (self.room(), self.rng.bool());
        let start = self.start_in(room);
        let (_, at) = self.add(Kind::Reader, is_slow);
        self.note(format!("client {at} reads the events of {room} {start}, slow: {is_slow}"));
        let request = format!("GET /events?room={room}&start={start} HTTP/1.1\r\nHost: x\r\n\r\n");
        if is_slow && self.rng.bool() {
            self.world.narrow(at, 300);
        }
        self.world.send(at, request.as_bytes());
        self.rest();
    }

    fn send_from_outside(&mut self) {
        let Some(id) = self.any(|client| client.kind == Kind::Socket && client.is_open) else { return };
        self.note(format!("from outside, to {id}"));
        self.world.engine.apply(Command::Send(id, "!hello".into()));
    }

    fn let_time_pass(&mut self) {
        let ms = match self.rng.u8(..20) {
            0 => self.rng.u64(..70_000),
            1..6 => self.rng.u64(..8_000),
            _ => self.rng.u64(..300),
        };
        self.note(format!("{ms} ms pass"));
        self.pass(Duration::from_millis(ms));
    }
}
