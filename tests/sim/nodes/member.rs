//! Who is connected to a node, what it was sent, and whether that is right.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanline::{ConnId, Position};

use super::order::{Order, Place};
use crate::client::masked;
use crate::inbox::{Answer, Inbox, close_code};
use crate::net::{Wire, move_bytes};

/// What one speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages as they are.
    Raw,
    /// The subprotocol of the application, with positions and answers.
    Json,
    Events,
    /// Requests, one after the other.
    Asker,
}

/// A request that has not been answered.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To become a member.
    Join,
    Post(String),
    /// What came after a place.
    Page(Option<Place>),
    Ready,
}

pub struct Member {
    pub at: usize,
    pub node: usize,
    pub kind: Kind,
    pub room: &'static str,
    /// It is not sent what is its own.
    pub is_quiet: bool,
    pub wire: Rc<RefCell<Wire>>,
    pub id: ConnId,
    inbox: Inbox,
    /// What it has asked, and by when it must be answered.
    pub asked: VecDeque<(Asked, u64)>,
    /// What it said and waits to be told of, by its id: the text, and by when.
    pub said: BTreeMap<String, (String, u64)>,
    /// Where it wants to go on.
    pub since: Option<Place>,
    pub place: Option<Place>,
    pub is_open: bool,
    pub is_over: bool,
    /// The node has said, in the last answer to that question, that it is ready.
    pub is_ready: bool,
}

/// What became of something, for the one who counts.
pub type Happened = Vec<&'static str>;

/// The author that a text names.
fn author(text: &str) -> Option<usize> {
    text.split(' ').nth(2)?.parse().ok()
}

fn position(text: &str) -> Position {
    text.parse().expect("a position")
}

/// The text of a message in JSON.
fn content(object: &serde_json::Value) -> String {
    match object["base64"].as_str() {
        Some(base64) => String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap(),
        None => object["text"].as_str().unwrap_or_else(|| panic!("{object}")).to_owned(),
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, node, kind, room, place, asked, said, is_open, is_over, .. } = self;
        write!(f, "member {at} ({kind:?} of {room} at node {node}, open: {is_open}, over: {is_over}, ")?;
        write!(f, "at {place:?}, asked {asked:?}, said {said:?})")
    }
}

impl Member {
    /// Longer than a publication or a room that is to be opened may take.
    const PATIENCE_MS: u64 = 12_000;

    pub fn new(at: usize, node: usize, kind: Kind, room: &'static str, (wire, id): (Wire, ConnId)) -> Self {
        Self {
            at,
            node,
            kind,
            room,
            is_quiet: false,
            wire: Rc::new(RefCell::new(wire)),
            id,
            inbox: Inbox::default(),
            asked: VecDeque::new(),
            said: BTreeMap::new(),
            since: None,
            place: None,
            is_open: false,
            is_over: false,
            is_ready: false,
        }
    }

    pub fn send(&self, bytes: &[u8]) {
        self.wire.borrow_mut().transit.extend(bytes);
    }

    pub fn ask(&mut self, asked: Asked, request: &str, now_ms: u64) {
        self.asked.push_back((asked, now_ms + Self::PATIENCE_MS));
        self.send(request.as_bytes());
    }

    /// Says something that it wants to be told of.
    pub fn say(&mut self, id: String, text: String, frame: &[u8], now_ms: u64) {
        // Who says much at once is heard as far as not too much is on its way.
        let by_ms = now_ms + Self::PATIENCE_MS * (1 + self.said.len() as u64 / 2);
        self.said.insert(id, (text, by_ms));
        self.send(frame);
    }

    /// Takes all that there is; whether it was anything, and what happened.
    pub fn receive(&mut self, order: &Order, key: u32) -> (bool, Happened) {
        let mut wire = self.wire.borrow_mut();
        let len = wire.to_client.len();
        move_bytes(&mut wire.to_client, len, |piece| self.inbox.push(piece));
        let has_ended = wire.is_over() && !wire.is_ended;
        wire.is_ended |= has_ended;
        let is_over = wire.is_over() || wire.is_reset;
        drop(wire);
        let mut happened = Happened::new();
        while len > 0 && self.read(order, key, &mut happened) {}
        self.is_over |= is_over;
        (len > 0 || has_ended, happened)
    }

    /// Whether it is not sent this, since it is its own.
    pub fn passes(&self, text: &str) -> bool {
        self.is_quiet && author(text) == Some(self.at)
    }

    /// Reads one thing, if one is whole.
    fn read(&mut self, order: &Order, key: u32, happened: &mut Happened) -> bool {
        match (self.kind, self.is_open) {
            (Kind::Raw | Kind::Json, true) => {
                let Some((first, payload)) = self.inbox.frame() else { return false };
                match first {
                    0x81 | 0x82 => self.message(first == 0x82, payload, order, happened),
                    0x89 => self.send(&masked(0x8a, &payload, key)),
                    0x88 => self.closed(&payload, key, happened),
                    _ => panic!("{self:?} got a frame that begins with {first:#x}"),
                }
            }
            (Kind::Events, true) => {
                let Some(event) = self.inbox.event().filter(|event| event.0 != ":") else { return false };
                let (data, place) = (event.field("data").join("\n"), position(event.field("id")[0]));
                match event.field("event")[..] {
                    ["reset"] => self.reset(place, order, happened),
                    [] if data.is_empty() => self.begin(place, true, order, happened),
                    [] | ["binary"] => {
                        let is_binary = !event.field("event").is_empty();
                        let decoded = || String::from_utf8(STANDARD.decode(&data).unwrap()).unwrap();
                        let text = if is_binary { decoded() } else { data };
                        self.publication(&text, is_binary, Some(place), order);
                    }
                    ref other => panic!("{self:?} got the event {other:?}"),
                }
            }
            (Kind::Raw | Kind::Json | Kind::Events | Kind::Asker, _) => {
                let Some(answer) = self.inbox.answer() else { return false };
                let (asked, _) = self.asked.pop_front().unwrap_or_else(|| panic!("{self:?} did not ask"));
                self.answer(&asked, &answer, order, happened);
            }
        }
        true
    }

    fn answer(&mut self, asked: &Asked, answer: &Answer, order: &Order, happened: &mut Happened) {
        match (asked, answer.status) {
            (Asked::Join, 101) => {
                self.is_open = true;
                let header = answer.head.lines().find_map(|line| line.strip_prefix("fanline-position: "));
                if self.kind == Kind::Raw {
                    self.begin(position(header.expect("the position")), true, order, happened);
                }
            }
            (Asked::Join, 200) => self.is_open = true,
            (Asked::Join, 410) => {
                assert!(self.kind == Kind::Raw && self.since.is_some(), "{self:?}: gone");
                happened.push("gone");
            }
            (Asked::Post(text), 200 | 201) => {
                let object: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                let at = position(object["position"].as_str().unwrap());
                assert!(order.has(text, at), "{text} is not at {at}");
                happened.push(if answer.status == 201 { "posted" } else { "posted before" });
            }
            (Asked::Page(since), 200) => {
                let object: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                self.page(since.clone(), &object, order);
                happened.push("page");
            }
            (Asked::Ready, 200 | 503) => self.is_ready = answer.status == 200,
            (Asked::Join | Asked::Post(_) | Asked::Page(_), 503) => happened.push("503"),
            (asked, status) => panic!("{self:?} asked {asked:?} and got {status}: {answer:?}"),
        }
    }

    /// A page goes on where the last one ended, or says that it does not.
    fn page(&self, since: Option<Place>, object: &serde_json::Value, order: &Order) {
        let end = position(object["position"].as_str().unwrap());
        let messages = object["messages"].as_array().unwrap();
        let recovered = object["recovered"].as_bool().unwrap();
        let first = messages.first().map(|first| first["offset"].as_u64().unwrap());
        let before = Position { offset: first.map_or(end.offset, |first| first - 1), ..end };
        let mut place = order.place(self.room, before);
        let is_asked = since.as_ref().is_none_or(|since| since.is(&place));
        assert!(!recovered || is_asked, "{object}, and asked for {since:?}");
        for message in messages {
            let at = Position { offset: message["offset"].as_u64().unwrap(), ..end };
            order.follow(self.room, &mut place, (&content(message), Some(at)), |_| false);
            assert_eq!(message["offset"].as_u64(), Some(place.position.offset), "{object}");
        }
        assert_eq!(place.position, end, "{object}");
    }

    /// It is a member from now on, and goes on after this position.
    fn begin(&mut self, at: Position, recovered: bool, order: &Order, happened: &mut Happened) {
        let since = self.since.take();
        happened.push(match (&since, recovered) {
            (None, _) => "joined",
            (Some(_), true) => "resumed",
            (Some(_), false) => "not resumed",
        });
        assert!(recovered || since.is_some(), "{self:?} has asked for nothing that could be missing");
        let place = order.place(self.room, at);
        let is_asked = since.as_ref().is_none_or(|since| since.is(&place));
        assert!(!recovered || is_asked, "{self:?} goes on at {at}, and asked for {since:?}");
        self.place = Some(place);
    }

    /// It is told that it goes on elsewhere.
    fn reset(&mut self, at: Position, order: &Order, happened: &mut Happened) {
        let Some(before) = &self.place else { return self.begin(at, false, order, happened) };
        let before = before.position;
        // Who knows of the one epoch alone may have missed another one, which is lost altogether.
        let is_other = before.epoch != at.epoch || order.has_other_epochs(self.room, at.epoch);
        let is_lost = is_other && order.losses > 0;
        assert!(is_lost || at.offset > before.offset, "{self:?} is led from {before} to {at}");
        self.place = Some(order.place(self.room, at));
        happened.push("reset");
    }

    fn message(&mut self, is_binary: bool, payload: Vec<u8>, order: &Order, happened: &mut Happened) {
        let text = String::from_utf8(payload).unwrap();
        if self.kind == Kind::Raw {
            return self.publication(&text, is_binary, None, order);
        }
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let field = |name: &str| object[name].as_str().unwrap_or_else(|| panic!("{object}"));
        match field("type") {
            "joined" => {
                let recovered = object["recovered"].as_bool().unwrap();
                self.begin(position(field("position")), recovered, order, happened);
            }
            "reset" => self.reset(position(field("position")), order, happened),
            "message" => {
                let epoch = self.place.as_ref().expect("a place").position.epoch;
                let at = Position { epoch, offset: object["offset"].as_u64().unwrap() };
                // Where the room has got another epoch it is said; the offset is the same.
                let said = object["position"].as_str().map_or(at, position);
                assert_eq!(said.offset, at.offset, "{object}");
                let at = said;
                self.publication(&content(&object), object["base64"].is_string(), Some(at), order);
            }
            "ack" => {
                let (text, _) = self.said.remove(field("id")).expect("it has said that, once");
                let at = position(field("position"));
                assert!(order.has(&text, at), "{text} is not at {at}");
                happened.push("ack");
            }
            "error" => {
                self.said.remove(field("id")).expect("it has said that, once");
                happened.push("not published");
            }
            other => panic!("{self:?} got a {other}"),
        }
    }

    fn publication(&mut self, text: &str, is_binary: bool, at: Option<Position>, order: &Order) {
        assert_eq!(text.starts_with('b'), is_binary, "{self:?} got {text:.40}");
        assert!(!self.passes(text), "{self:?} got its own {text:.40}");
        let mut place = self.place.clone().unwrap_or_else(|| panic!("{self:?} got {text:.40}"));
        order.follow(self.room, &mut place, (text, at), |text| self.passes(text));
        self.place = Some(place);
    }

    fn closed(&mut self, payload: &[u8], key: u32, happened: &mut Happened) {
        let code = close_code(payload);
        match code {
            1000 => {}
            1013 => {
                assert_eq!(self.kind, Kind::Raw, "{self:?} could have been told");
                happened.push("closed 1013");
            }
            _ => panic!("{self:?} is closed with {code}"),
        }
        self.send(&masked(0x88, payload, key));
        self.wire.borrow_mut().is_ended = true;
        self.is_over = true;
    }
}
