//! An engine with a handler that writes down what it is told, and clients in memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanline::engine::{Engine, Rules};
use fanline::{
    Admission, Closed, ConnId, Context, Encoding, Exchange, Handler, Join, Keep, Lag, Limits, Message,
    Metrics, Opening, Presence, Refusal, Reply, Request, Response, Start,
};

use crate::pipe::{EngineEnd, Pipe};

/// Joins the room that its path names, publishes what it is sent, and obeys a few words.
#[derive(Default)]
pub struct Scribe {
    pub told: Vec<String>,
}

impl Handler for Scribe {
    type State = String;

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        let path = exchange.request().path();
        if let Some(room) = path.strip_prefix("/events") {
            exchange.keep(room, KEEP).unwrap();
            if let Some(ms) = exchange.request().query_value("expires") {
                exchange.expire_at(exchange.now_ms() + ms.parse::<u64>().unwrap());
            }
            return Reply::Events { room: room.to_owned(), start: start_of(exchange.request()) };
        }
        let Some(room) = path.strip_prefix("/wait") else {
            return Response::text(200, &format!("{path} {}", String::from_utf8_lossy(exchange.body())))
                .into();
        };
        exchange.keep(room, KEEP).unwrap();
        if !exchange.body().is_empty() {
            let published = exchange.publish(room, exchange.body(), exchange.request().header("key"));
            return match published {
                Ok(published) => {
                    Response::text(200, &format!("{} {}", published.position, published.repeated)).into()
                }
                Err(error) => Response::text(503, &error.to_string()).into(),
            };
        }
        let start = start_of(exchange.request());
        let log = exchange.rooms().log(room).unwrap();
        let (from, whole) = log.place(start, Encoding::Raw);
        let news: Vec<_> = log.history(from).map(|publication| publication.position.to_string()).collect();
        match news.is_empty() && whole && !exchange.has_waited() {
            true => Reply::Wait { room: room.to_owned(), time: Duration::from_secs(30) },
            false if exchange.request().query_value("long").is_some() => {
                Response::text(200, &"x".repeat(100_000)).into()
            }
            false => Response::text(200, &format!("{whole} {}", news.join(" "))).into(),
        }
    }

    fn admit(&mut self, _id: ConnId, request: &Request<'_>) -> Admission {
        if request.path().ends_with("/later") { Admission::Later } else { Admission::Now }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<String, Response> {
        let path = opening.request().path().to_owned();
        self.told.push(format!("open {path}"));
        if path.starts_with("/kept") {
            opening.keep(&path, KEEP).unwrap();
        }
        if path == "/kept/latest" {
            opening.set_lag(&path, Lag::Latest);
        }
        for (name, lag) in [("/skip", Lag::Skip), ("/latest", Lag::Latest)] {
            if path == name {
                opening.keep(&path, Keep::default()).unwrap();
                opening.set_lag(&path, lag);
            }
        }
        let asks = |name| opening.request().query_value(name).is_some();
        let encoding = if asks("json") { Encoding::Json } else { Encoding::Raw };
        let user = opening.request().query_value("user");
        let presence = user.map_or(Presence::Hidden, |user| Presence::Announced(user.as_ref().into()));
        let (is_quiet, is_compressed) = (asks("quiet"), asks("compress"));
        let start = start_of(opening.request());
        let join = Join { start, encoding, is_quiet, is_compressed, presence };
        let joined = opening.join_as(&path, &join).unwrap();
        if !joined.recovered {
            opening.send("missed some").unwrap();
        }
        match path.as_str() {
            "/refused" => return Err(Refusal::Forbidden("not you").into()),
            "/greeted" => opening.send("welcome").unwrap(),
            "/goodbye" => {
                opening.send("just a moment").unwrap();
                opening.close(4000, "no").unwrap();
                assert!(opening.send("too late").is_err());
            }
            _ => {}
        }
        Ok(path)
    }

    fn message(&mut self, path: &mut String, ctx: &mut Context<'_>, message: Message<'_>) {
        self.told.push(format!("message {path} {}", message.as_text().unwrap_or("(binary)")));
        match message.as_text() {
            Some("leave") => assert!(ctx.leave(path)),
            Some("again") => {
                let join = Join { start: Start::Last(2), ..Join::default() };
                assert!(ctx.join_as(path, &join).unwrap().recovered);
            }
            Some("bye") => {
                ctx.publish(path, "last words");
                ctx.close(4001, "asked to").unwrap();
                assert_eq!(ctx.send("too late"), Err(fanline::SendError::Closed));
            }
            Some("only me") => ctx.send("only you").unwrap(),
            Some("big") => ctx.send(&[b'x'; 10_000]).unwrap(),
            Some(text) if text.starts_with("to ") => {
                ctx.publish(text.split(' ').nth(1).unwrap(), message);
            }
            _ => drop(ctx.publish(path, message)),
        }
    }

    fn close(&mut self, path: String, ctx: &mut Context<'_>, closed: &Closed) {
        assert_eq!(ctx.rooms().count(), 0, "it has left its rooms");
        assert!(ctx.send("too late").is_err());
        assert!(ctx.join("again").is_err());
        self.told.push(format!("close {path} {} {:?} clean={}", closed.code, closed.by, closed.clean));
        ctx.publish(&path, "somebody left");
    }
}

/// What rooms below `/kept`, and those asked for over HTTP, keep.
pub const KEEP: Keep = Keep { messages: 5, bytes: 1 << 20, age: Duration::from_secs(60) };

fn start_of(request: &Request<'_>) -> Start {
    let last = request.query_value("last").map(|last| last.parse().unwrap());
    match request.query_value("since").map(|since| since.parse().unwrap()) {
        Some(position) => Start::Since { position, or_last: last.unwrap_or(0) },
        None => last.map_or(Start::Now, Start::Last),
    }
}

/// An engine, its clock, and its clients.
pub struct World<H: Handler = Scribe> {
    pub engine: Engine<H, EngineEnd>,
    pub metrics: Arc<Metrics>,
    pub now: Instant,
    pub clients: Vec<Client>,
}

/// The other end of one connection.
pub struct Client {
    pub id: ConnId,
    pub pipe: Rc<RefCell<Pipe>>,
}

impl World {
    pub fn new(limits: Limits) -> Self {
        Self::with_handler(Scribe::default(), limits)
    }

    /// A world whose ledger is off.
    pub fn unmeasured() -> Self {
        let (metrics, now) = (Arc::new(Metrics::default()), Instant::now());
        let rules = Rules { ledger: false, ..Rules::default() };
        let engine = Engine::new(Scribe::default(), rules, metrics.clone(), now, Duration::from_micros(1));
        Self { engine, metrics, now, clients: Vec::new() }
    }

    /// Everything the handler was told since the beginning.
    pub fn told(&self) -> Vec<String> {
        self.engine.handler().told.clone()
    }
}

impl<H: Handler> World<H> {
    pub fn with_handler(handler: H, limits: Limits) -> Self {
        let (metrics, now) = (Arc::new(Metrics::default()), Instant::now());
        let rules = Rules { limits, deflate: true, ..Rules::default() };
        let engine = Engine::new(handler, rules, metrics.clone(), now, Duration::from_micros(1));
        Self { engine, metrics, now, clients: Vec::new() }
    }

    /// Connects without a word.
    pub fn connect(&mut self) -> usize {
        self.try_connect(Pipe::default()).expect("a slot")
    }

    /// Connects through such a pipe, if there is a slot.
    pub fn try_connect(&mut self, pipe: Pipe) -> Option<usize> {
        let pipe = Rc::new(RefCell::new(Pipe { window: usize::MAX, read_max: usize::MAX, ..pipe }));
        let id = self.engine.connect(EngineEnd(pipe.clone()), self.now)?;
        self.clients.push(Client { id, pipe });
        Some(self.clients.len() - 1)
    }

    /// Connects through a listener for those who run the server.
    pub fn connect_admin(&mut self, pipe: Pipe) -> Option<usize> {
        let pipe = Rc::new(RefCell::new(Pipe { window: usize::MAX, read_max: usize::MAX, ..pipe }));
        let id = self.engine.connect_admin(EngineEnd(pipe.clone()), self.now)?;
        self.clients.push(Client { id, pipe });
        Some(self.clients.len() - 1)
    }

    /// Connects and opens a WebSocket.
    pub fn open(&mut self, path: &str) -> usize {
        self.open_with(path, "")
    }

    /// Connects and opens a WebSocket with a further header.
    pub fn open_with(&mut self, path: &str, header: &str) -> usize {
        let client = self.connect();
        self.send(client, handshake(path).replacen("\r\n", &format!("\r\n{header}"), 1).as_bytes());
        self.turn();
        let answer = String::from_utf8_lossy(&self.take(client)).into_owned();
        assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("\r\n\r\n"), "{answer}");
        client
    }

    /// Connects and opens a WebSocket; what followed the handshake's answer is still to be taken.
    pub fn open_and_replay(&mut self, path: &str) -> usize {
        self.open_and_replay_with(path, "")
    }

    /// As [`World::open_and_replay`], with a further header.
    pub fn open_and_replay_with(&mut self, path: &str, header: &str) -> usize {
        let client = self.connect();
        self.send(client, handshake(path).replacen("\r\n", &format!("\r\n{header}"), 1).as_bytes());
        self.turn();
        let bytes = self.take(client);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer") + 4;
        assert!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&bytes));
        self.clients[client].pipe.borrow_mut().to_peer = bytes[end..].to_vec();
        client
    }

    /// Asks by HTTP, and returns what has come of the answer.
    pub fn ask(&mut self, client: usize, line: &str, headers: &str, body: &str) -> String {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.send(client, format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n{body}").as_bytes());
        self.turn();
        self.answer(client)
    }

    /// What has come since, as text.
    pub fn answer(&mut self, client: usize) -> String {
        String::from_utf8(self.take(client)).unwrap()
    }

    /// The client sends bytes, and the poller says so.
    pub fn send(&mut self, client: usize, bytes: &[u8]) {
        let Client { id, pipe } = &self.clients[client];
        pipe.borrow_mut().to_engine.extend(bytes);
        self.engine.ready(*id, true, false, false);
    }

    pub fn send_text(&mut self, client: usize, text: &str) {
        self.send(client, &masked(0x81, text.as_bytes()));
    }

    /// The client closes its side.
    pub fn end(&mut self, client: usize) {
        let Client { id, pipe } = &self.clients[client];
        pipe.borrow_mut().ended = true;
        self.engine.ready(*id, true, false, true);
    }

    /// The client takes no more than so many bytes from now on.
    pub fn narrow(&mut self, client: usize, window: usize) {
        self.clients[client].pipe.borrow_mut().window = window;
    }

    /// The client takes bytes again, and the poller says so.
    pub fn widen(&mut self, client: usize, window: usize) {
        self.narrow(client, window);
        self.engine.ready(self.clients[client].id, false, true, false);
    }

    /// Turns until there is nothing left to do.
    pub fn turn(&mut self) {
        for _ in 0..10_000 {
            self.engine.turn(self.now);
            self.engine.check_invariants();
            if !self.engine.has_work() {
                return;
            }
        }
        panic!("the engine never rests");
    }

    /// Lets time pass, turning whenever the engine wants to wake up.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.turn();
        while let Some(sleep) = self.engine.sleep(self.now).filter(|sleep| self.now + *sleep < end) {
            self.now += sleep.max(Duration::from_millis(1));
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    /// What the client has received since it last looked.
    pub fn take(&mut self, client: usize) -> Vec<u8> {
        std::mem::take(&mut self.clients[client].pipe.borrow_mut().to_peer)
    }

    /// The frames the client has received since it last looked: first byte and payload.
    pub fn frames(&mut self, client: usize) -> Vec<(u8, Vec<u8>)> {
        let bytes = self.take(client);
        let (mut rest, mut frames) = (bytes.as_slice(), Vec::new());
        while let [first, len, after @ ..] = rest {
            let (len, after) = match *len {
                126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
                127 => (u64::from_be_bytes(after[..8].try_into().unwrap()) as usize, &after[8..]),
                len => (usize::from(len), after),
            };
            frames.push((*first, after[..len].to_vec()));
            rest = &after[len..];
        }
        frames
    }

    /// The texts among them.
    pub fn texts(&mut self, client: usize) -> Vec<String> {
        let frames = self.frames(client);
        let texts = frames.into_iter().filter(|(first, _)| *first == 0x81);
        texts.map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
    }

    pub fn is_gone(&self, client: usize) -> bool {
        self.clients[client].pipe.borrow().dropped
    }
}

pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's frame, up to 65,535 bytes long.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
