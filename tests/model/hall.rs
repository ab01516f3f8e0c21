//! The application under the model: it does what clients say, and writes down what the rooms answered.

use std::cell::RefCell;
use std::time::Duration;

use fanline::{
    Closed, ConnId, Context, Encoding, Exchange, Handler, Join, Joined, Keep, Lag, Message, NotPublished,
    Opening, Position, Presence, Published, Refusal, Reply, Response, Start,
};

/// What rooms keep whose name begins with a `k` or an `l`; the others keep nothing.
pub const KEEP: Keep = Keep { messages: 20, bytes: 3000, age: Duration::from_secs(60) };

/// Whether a room of this name keeps history.
pub fn is_kept(room: &str) -> bool {
    room.starts_with(['k', 'l'])
}

/// What a room of this name keeps, and what it does about slow members.
fn rules_of(room: &str) -> (Keep, Lag) {
    let keep = if is_kept(room) { KEEP } else { Keep::default() };
    match room.as_bytes()[0] {
        b's' => (keep, Lag::Skip),
        b'l' => (keep, Lag::Latest),
        _ => (keep, Lag::Close),
    }
}

/// What happened, in the order in which it did.
#[derive(Debug)]
pub enum Told {
    Joined {
        id: ConnId,
        room: String,
        join: Join,
        joined: Joined,
        now_ms: u64,
    },
    Left {
        id: ConnId,
        room: String,
        now_ms: u64,
    },
    Published {
        id: ConnId,
        post: Post,
        result: Result<Published, NotPublished>,
        now_ms: u64,
    },
    Asked {
        id: ConnId,
        question: Question,
        answer: Option<String>,
        now_ms: u64,
    },
    Events {
        id: ConnId,
        room: String,
        start: Start,
        now_ms: u64,
    },
    /// It begins the closing handshake, or is refused: it has left its rooms in any case.
    Closing {
        id: ConnId,
        now_ms: u64,
    },
    Closed {
        id: ConnId,
        closed: Closed,
        now_ms: u64,
    },
}

/// A request for news.
#[derive(Clone, Debug)]
pub struct Question {
    pub room: String,
    pub start: Start,
    pub wait_ms: u64,
    pub has_waited: bool,
    /// The room's latest position when it was asked.
    pub head: Position,
}

/// A message: its first word names the room, and a second one that begins with `#` is a key.
#[derive(Clone, Debug)]
pub struct Post {
    pub text: String,
    pub is_binary: bool,
}

impl Post {
    pub fn of(message: Message<'_>) -> Self {
        let text = String::from_utf8(message.as_bytes().to_vec()).unwrap();
        Self { text, is_binary: message.as_text().is_none() }
    }

    pub fn room(&self) -> &str {
        self.text.split(' ').next().unwrap()
    }

    pub fn key(&self) -> Option<&str> {
        self.text.split(' ').nth(1).filter(|word| word.starts_with('#'))
    }

    pub fn message(&self) -> Message<'_> {
        match self.is_binary {
            true => Message::Binary(self.text.as_bytes()),
            false => Message::Text(&self.text),
        }
    }
}

/// `now`, `last=N`, `since=EPOCH:OFFSET` or `since=EPOCH:OFFSET,N`.
pub fn parse_start(text: &str) -> Start {
    match text.split_once('=') {
        Some(("last", count)) => Start::Last(count.parse().unwrap()),
        Some((_, since)) => {
            let (position, or_last) = since.split_once(',').unwrap_or((since, "0"));
            Start::Since { position: position.parse().unwrap(), or_last: or_last.parse().unwrap() }
        }
        None => Start::Now,
    }
}

#[derive(Default)]
pub struct Hall {
    pub told: RefCell<Vec<Told>>,
}

impl Hall {
    fn tell(&self, told: Told) {
        self.told.borrow_mut().push(told);
    }

    /// `ROOM START ENCODING quiet|loud USER answer|silent`; a user is `-`, `name` or `name!`.
    fn join(&self, ctx: &mut Context<'_>, words: &str) {
        let [room, start, encoding, quiet, user, answer] =
            words.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (keep, lag) = rules_of(room);
        ctx.keep(room, keep).unwrap();
        ctx.set_lag(room, lag);
        let presence = match (user, user.strip_suffix('!')) {
            ("-", _) => Presence::Hidden,
            (_, Some(user)) => Presence::Announced(user.into()),
            (user, None) => Presence::Listed(user.into()),
        };
        let encoding = if encoding == "json" { Encoding::Json } else { Encoding::Raw };
        let join = Join {
            start: parse_start(start),
            encoding,
            is_quiet: quiet == "quiet",
            is_compressed: true,
            presence,
        };
        let (id, now_ms, room) = (ctx.id(), ctx.now_ms(), room.to_owned());
        let again = ctx.rooms().any(|joined| *joined == *room);
        let joined = ctx.join_as(&room, &join).unwrap();
        if again {
            self.tell(Told::Left { id, room: room.clone(), now_ms });
        }
        if again || answer == "answer" {
            let what = if again { "again" } else { "joined" };
            ctx.send(&format!("!{what} {room} {} {}", joined.position, joined.recovered)).unwrap();
        }
        self.tell(Told::Joined { id, room, join, joined, now_ms });
    }

    fn poll(&self, exchange: &mut Exchange<'_>, room: &str, wait: u64) -> Reply {
        exchange.keep(room, KEEP).unwrap();
        exchange.rooms().set_lag(room, rules_of(room).1);
        let start = parse_start(&exchange.request().query_value("start").unwrap());
        let (id, has_waited, now_ms) = (exchange.id(), exchange.has_waited(), exchange.now_ms());
        let log = exchange.rooms().log(room).unwrap();
        let (from, whole) = log.place(start, Encoding::Raw);
        let waits = whole && from == log.head() && wait > 0 && !has_waited;
        let news: Vec<String> = log
            .history(from)
            .map(|publication| {
                format!("{} {}", publication.position.offset, Post::of(publication.message).text)
            })
            .collect();
        let question =
            Question { room: room.to_owned(), start, wait_ms: wait, has_waited, head: log.position() };
        let answer =
            (!waits).then(|| format!("{} {whole} {}\n{}", log.position(), from.offset(), news.join("\n")));
        self.tell(Told::Asked { id, question, answer: answer.clone(), now_ms });
        match answer {
            Some(answer) => Response::text(200, &answer).into(),
            None => Reply::Wait { room: room.to_owned(), time: Duration::from_millis(wait) },
        }
    }
}

impl Handler for Hall {
    type State = ();

    fn http(&mut self, exchange: &mut Exchange<'_>) -> Reply {
        let (id, now_ms, request) = (exchange.id(), exchange.now_ms(), exchange.request());
        let room = request.query_value("room").unwrap_or_default().into_owned();
        match request.path() {
            "/poll" => {
                let wait = request.query_value("wait").unwrap().parse().unwrap();
                self.poll(exchange, &room, wait)
            }
            "/events" => {
                let (keep, lag) = rules_of(&room);
                exchange.keep(&room, keep).unwrap();
                exchange.rooms().set_lag(&room, lag);
                let start = parse_start(&request.query_value("start").unwrap());
                self.tell(Told::Events { id, room: room.clone(), start, now_ms });
                Reply::Events { room, start }
            }
            "/post" => {
                let is_binary = request.query_value("binary").is_some();
                let post = Post { text: String::from_utf8(exchange.body().to_vec()).unwrap(), is_binary };
                let (keep, lag) = rules_of(post.room());
                exchange.keep(post.room(), keep).unwrap();
                exchange.rooms().set_lag(post.room(), lag);
                let result = exchange.publish(post.room(), post.message(), post.key());
                self.tell(Told::Published { id, post, result, now_ms });
                Response::text(200, &format!("{result:?}")).into()
            }
            _ => Refusal::NotFound.into(),
        }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Response> {
        if let Some(join) = opening.request().query_value("join") {
            self.join(opening, &join);
        }
        if opening.request().query_value("refuse").is_some() {
            self.tell(Told::Closing { id: opening.id(), now_ms: opening.now_ms() });
            return Err(Refusal::Forbidden("not you").into());
        }
        Ok(())
    }

    fn message(&mut self, _: &mut (), ctx: &mut Context<'_>, message: Message<'_>) {
        let (id, now_ms) = (ctx.id(), ctx.now_ms());
        let text = message.as_text().unwrap_or_default();
        match text.strip_prefix('/').map(|command| command.split_once(' ').unwrap_or((command, ""))) {
            Some(("join", words)) => self.join(ctx, words),
            Some(("leave", room)) => {
                if ctx.leave(room) {
                    ctx.send(&format!("!left {room}")).unwrap();
                    self.tell(Told::Left { id, room: room.to_owned(), now_ms });
                }
            }
            Some(("bye", _)) => {
                ctx.close(4001, "as you said").unwrap();
                self.tell(Told::Closing { id, now_ms });
            }
            Some((command, _)) => panic!("{command}?"),
            None => {
                let post = Post::of(message);
                let (keep, lag) = rules_of(post.room());
                ctx.keep(post.room(), keep).unwrap();
                ctx.set_lag(post.room(), lag);
                let result = ctx.publish_once(post.room(), message, post.key());
                self.tell(Told::Published { id, post, result, now_ms });
            }
        }
    }

    fn close(&mut self, (): (), ctx: &mut Context<'_>, closed: &Closed) {
        self.tell(Told::Closed { id: ctx.id(), closed: closed.clone(), now_ms: ctx.now_ms() });
    }
}
