//! The application under the simulator: it does what clients say, and writes down what it was told and answered.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fanline::{
    Admission, Closed, ConnId, Context, Encoding, Exchange, Handler, Join, Joined, Keep, Lag, Message,
    NotPublished, Opening, Published, Refusal, Reply, Request, Response, Start,
};

use crate::model::KEEP;

/// What happened, in the order in which it did.
#[derive(Debug)]
pub enum Told {
    Opened(ConnId),
    Refused(ConnId),
    Heard(ConnId, String),
    /// It was sent this, alone.
    Sent(ConnId, String),
    Joined {
        id: ConnId,
        room: String,
        join: Join,
        joined: Joined,
        now_ms: u64,
    },
    Left(ConnId, String),
    Published {
        id: ConnId,
        text: String,
        is_binary: bool,
        is_member: bool,
        result: Result<Published, NotPublished>,
        now_ms: u64,
    },
    Asked {
        id: ConnId,
        room: String,
        start: Start,
        head: fanline::Position,
        answer: Option<(bool, Vec<String>)>,
        has_waited: bool,
        wait_ms: u64,
        now_ms: u64,
    },
    Events {
        id: ConnId,
        room: String,
        start: Start,
        epoch: u64,
        now_ms: u64,
    },
    /// What it proved is good until then, in milliseconds since 1970.
    Expires(ConnId, u64),
    /// It begins the closing handshake.
    Closing(ConnId, u16),
    Closed(ConnId, Closed),
}

impl Told {
    /// The longest that what was published can be in any encoding.
    pub fn published_bytes(&self) -> usize {
        match self {
            Told::Published { text, .. } => text.len() * 4 / 3 + 80,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Deciding,
    Open,
    Ended,
}

#[derive(Default)]
pub struct Porter {
    pub told: RefCell<Vec<Told>>,
    /// Each connection is opened at most once, told of messages only while open, and closed exactly once if opened.
    lives: BTreeMap<ConnId, Life>,
    /// Those who wait for a decision.
    pub deciding: BTreeSet<ConnId>,
}

/// What a room of this name keeps, and what it does about slow members.
pub fn rules_of(room: &str) -> (Keep, Lag) {
    match room.as_bytes().first() {
        Some(b'k') => (KEEP, Lag::Close),
        Some(b's') => (Keep::default(), Lag::Skip),
        Some(b'l') => (Keep::default(), Lag::Latest),
        _ => (Keep::default(), Lag::Close),
    }
}

/// The room that a message is for.
pub fn room_of(text: &str) -> &str {
    text.split(' ').nth(1).unwrap_or("none")
}

/// `now`, `last=N` or `since=EPOCH:OFFSET`.
fn parse_start(text: &str) -> Option<Start> {
    Some(match text.split_once('=') {
        Some(("last", count)) => Start::Last(count.parse().ok()?),
        Some((_, since)) => Start::Since { position: since.parse().ok()?, or_last: 3 },
        None => Start::Now,
    })
}

impl Porter {
    fn tell(&self, told: Told) {
        self.told.borrow_mut().push(told);
    }

    pub fn open_count(&self) -> usize {
        self.lives.values().filter(|life| **life == Life::Open).count()
    }

    fn send(&self, ctx: &mut Context<'_>, text: String) {
        ctx.send(&text).unwrap();
        self.tell(Told::Sent(ctx.id(), text));
    }

    /// `ROOM START raw|json quiet|loud`.
    fn join(&self, ctx: &mut Context<'_>, words: &str) -> Option<()> {
        let [room, start, encoding, quiet] = words.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let (keep, lag) = rules_of(room);
        ctx.keep(room, keep).ok()?;
        ctx.set_lag(room, lag);
        self.leave(ctx, room);
        let encoding = if encoding == "json" { Encoding::Json } else { Encoding::Raw };
        let join = Join {
            start: parse_start(start)?,
            encoding,
            is_quiet: quiet == "quiet",
            // Where it was agreed; in some rooms nobody is sent what is compressed.
            is_compressed: room.ends_with('0'),
            ..Join::default()
        };
        let (id, now_ms) = (ctx.id(), ctx.now_ms());
        let joined = ctx.join_as(room, &join).ok()?;
        self.tell(Told::Joined { id, room: room.to_owned(), join, joined, now_ms });
        self.send(ctx, format!("!joined {room} {}", joined.position));
        Some(())
    }

    fn leave(&self, ctx: &mut Context<'_>, room: &str) {
        if ctx.leave(room) {
            self.tell(Told::Left(ctx.id(), room.to_owned()));
            self.send(ctx, format!("!left {room}"));
        }
    }

    fn publish(&self, ctx: &mut Context<'_>, message: Message<'_>) {
        let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
        let (id, now_ms, room) = (ctx.id(), ctx.now_ms(), room_of(&text).to_owned());
        let (keep, lag) = rules_of(&room);
        if !keep.is_nothing() {
            ctx.keep(&room, keep).unwrap();
        }
        ctx.set_lag(&room, lag);
        let is_member = ctx.rooms().any(|joined| *joined == *room);
        let result = ctx.publish_once(&room, message, None);
        let is_binary = message.as_text().is_none();
        self.tell(Told::Published { id, text, is_binary, is_member, result, now_ms });
    }

    fn poll(&self, exchange: &mut Exchange<'_>, room: &str) -> Option<Reply> {
        let request = exchange.request();
        let wait_ms: u64 = request.query_value("wait")?.parse().ok()?;
        let start = parse_start(&request.query_value("start")?)?;
        let (id, has_waited, now_ms) = (exchange.id(), exchange.has_waited(), exchange.now_ms());
        let log = exchange.rooms().log(room)?;
        let (from, is_whole) = log.place(start, Encoding::Raw);
        let waits = is_whole && from == log.head() && wait_ms > 0 && !has_waited;
        let text = |message: Message<'_>| String::from_utf8_lossy(message.as_bytes()).into_owned();
        let news: Vec<String> = log.history(from).map(|publication| text(publication.message)).collect();
        let head = log.position();
        let answer = (!waits).then(|| (is_whole, news.clone()));
        self.tell(Told::Asked {
            id,
            room: room.to_owned(),
            start,
            head,
            answer,
            has_waited,
            wait_ms,
            now_ms,
        });
        if waits {
            return Some(Reply::Wait { room: room.to_owned(), time: Duration::from_millis(wait_ms) });
        }
        Some(self.answer(id, format!("{is_whole}\n{}", news.join("\n"))))
    }

    fn answer(&self, id: ConnId, text: String) -> Reply {
        self.tell(Told::Sent(id, text.clone()));
        Response::text(200, &text).into()
    }
}

impl Handler for Porter {
    type State = ();

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        let (id, now_ms, request) = (exchange.id(), exchange.now_ms(), exchange.request());
        let room = request.query_value("room").unwrap_or_default().into_owned();
        let (keep, lag) = rules_of(&room);
        match request.path() {
            "/poll" if exchange.keep(&room, keep).is_ok() => {
                self.poll(exchange, &room).unwrap_or_else(|| Refusal::Malformed("what?").into())
            }
            "/events" if exchange.keep(&room, keep).is_ok() => {
                exchange.rooms().set_lag(&room, lag);
                let start = request.query_value("start").and_then(|start| parse_start(&start));
                let (Some(start), Some(info)) = (start, exchange.rooms().info(&room)) else {
                    return Refusal::NotFound.into();
                };
                let epoch = info.position.epoch;
                self.tell(Told::Events { id, room: room.clone(), start, epoch, now_ms });
                Reply::Events { room, start }
            }
            "/post" => {
                let text = String::from_utf8_lossy(exchange.body()).into_owned();
                let room = room_of(&text);
                let (keep, lag) = rules_of(room);
                if !keep.is_nothing() {
                    exchange.keep(room, keep).unwrap();
                }
                exchange.rooms().set_lag(room, lag);
                let result = exchange.publish(room, text.as_str(), None);
                let answer = format!("{result:?}");
                let is_member = false;
                self.tell(Told::Published { id, text, is_binary: false, is_member, result, now_ms });
                self.answer(id, answer)
            }
            "/get" => self.answer(id, request.query_value("n").unwrap_or_default().into_owned()),
            _ => Refusal::NotFound.into(),
        }
    }

    fn admit(&mut self, id: ConnId, request: &Request<'_>) -> Admission {
        if request.path() != "/later" {
            return Admission::Now;
        }
        assert_eq!(self.lives.insert(id, Life::Deciding), None, "{id} is asked about once");
        self.deciding.insert(id);
        Admission::Later
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        let id = opening.id();
        self.deciding.remove(&id);
        let before = self.lives.insert(id, Life::Open);
        assert!(matches!(before, None | Some(Life::Deciding)), "{id} is opened once");
        self.tell(Told::Opened(id));
        if let Some(words) = opening.request().query_value("join") {
            self.join(opening, &words);
        }
        if opening.request().query_value("refuse").is_some() {
            self.lives.insert(id, Life::Ended);
            self.tell(Told::Refused(id));
            return Err(Refusal::Forbidden("not you").into());
        }
        Ok(())
    }

    fn message(&mut self, _: &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        let id = ctx.id();
        assert_eq!(self.lives.get(&id), Some(&Life::Open), "{id} is open when it has sent something");
        let text = String::from_utf8_lossy(message.as_bytes()).into_owned();
        self.tell(Told::Heard(id, text.clone()));
        let (command, words) = text.split_once(' ').unwrap_or((&text, ""));
        match command {
            "pub" => self.publish(ctx, message),
            "join" => drop(self.join(ctx, words)),
            "leave" => self.leave(ctx, words),
            "echo" => {
                let len = words.rsplit(' ').next().and_then(|len| len.parse().ok()).unwrap_or(0);
                self.send(ctx, format!("!echo {words} {}", "e".repeat(len)));
            }
            "expire" => {
                let at_ms = ctx.now_ms() + words.parse().unwrap_or(0);
                ctx.expire_at(at_ms);
                self.tell(Told::Expires(id, at_ms));
            }
            "bye" => {
                let code = words.parse().unwrap_or(4001);
                ctx.close(code, "as you said").unwrap();
                self.tell(Told::Closing(id, code));
            }
            _ => {}
        }
    }

    fn close(&mut self, (): (), ctx: &mut Context<'_>, closed: &Closed) {
        let id = ctx.id();
        assert_eq!(self.lives.insert(id, Life::Ended), Some(Life::Open), "{id} is closed once");
        assert_eq!(ctx.rooms().count(), 0, "it has left its rooms");
        self.tell(Told::Closed(id, closed.clone()));
        // A callback in the middle of whatever has ended it.
        self.publish(ctx, Message::Text(&format!("pub b0 gone {id}")));
    }
}
