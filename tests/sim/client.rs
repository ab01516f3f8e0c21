//! The other end of a connection: what it says, and what it must be told for that.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanline::ws::deflate::Inflater;
use fanline::ws::extension::DeflateParams;
use fanline::{ConnId, Encoding, Start};

use crate::inbox::{Answer, Inbox, close_code};
use crate::model::{Item, Model, Reading};
use crate::net::{Wire, move_bytes};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Socket,
    /// It reads events.
    Reader,
    /// It asks and posts.
    Asker,
}

/// How it takes what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    All,
    /// A little now and then.
    Little,
    Nothing,
}

/// A question that waits for news.
#[derive(Clone, Debug)]
pub struct Wait {
    pub room: String,
    pub start: Start,
    pub since_ms: u64,
    pub wait_ms: u64,
}

pub struct Client {
    pub at: usize,
    pub kind: Kind,
    pub wire: Rc<RefCell<Wire>>,
    /// Once it has been accepted.
    pub id: Option<ConnId>,
    pub appetite: Appetite,
    /// It was cut off or slow once: that it is lost is nobody's fault.
    pub is_troubled: bool,
    /// Since when it neither says nor takes anything.
    pub vanished: Option<Instant>,
    /// When it came to the door, or in.
    pub connected: Instant,
    /// When it is closed with 4401.
    pub expires_ms: Option<u64>,
    /// Since when the server can write no more to it.
    pub full_since: Option<Instant>,
    /// It has been answered 101, or 200 with events.
    pub is_open: bool,
    /// The handler has been told of it, and not of its end.
    pub is_told: bool,
    /// It has left all rooms.
    pub is_leaving: bool,
    pub readings: Vec<Reading>,
    /// What it alone is to be sent, in this order.
    pub direct: VecDeque<String>,
    /// Pings that have not been answered.
    pub pings: VecDeque<Vec<u8>>,
    /// So many are out that only the latest has to be answered.
    pub asks_too_often: bool,
    /// Messages that the handler has not heard of.
    pub said: VecDeque<String>,
    /// Codes with which the server may close.
    pub causes: Vec<u16>,
    /// The code of the Close it sent first; no code is 1005.
    pub close_sent: Option<u16>,
    /// The code of the Close it got.
    pub closed: Option<u16>,
    /// It has said something that is refused with this status.
    pub doom: Option<u16>,
    /// Requests, and answers to them.
    pub asked: usize,
    pub answered: usize,
    pub waits: Option<Wait>,
    /// It wants all that came after a position.
    pub resumes: bool,
    /// Whether its first event says that something is missing.
    pub is_reset: Option<bool>,
    /// What it and the server agree on about compression.
    pub deflate: Option<DeflateParams>,
    inbox: Inbox,
}

/// What a client does about what it got.
pub enum Reaction {
    Pong(Vec<u8>),
    Close(Vec<u8>),
    Skipped,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, kind, id, appetite, is_troubled, is_open, is_told, is_leaving, .. } = self;
        write!(
            f,
            "client {at} ({kind:?}, {id:?}, takes {appetite:?}, troubled: {is_troubled}, open: {is_open}, told: {is_told}, "
        )?;
        let Self { closed, causes, close_sent, doom, direct, said, pings, asked, answered, .. } = self;
        write!(
            f,
            "leaving: {is_leaving}, closed: {closed:?} of {causes:?}, sent {close_sent:?}, doom: {doom:?}, "
        )?;
        write!(f, "to be told {:.60?}, said {:.60?}, pings {}, ", direct.front(), said.front(), pings.len())?;
        write!(f, "asked {asked}, answered {answered}, vanished: {}", self.vanished.is_some())?;
        let wire = self.wire.borrow();
        write!(f, ", reset: {}, dropped: {}, ended: {})", wire.is_reset, wire.is_dropped, wire.is_ended)
    }
}

impl Client {
    pub fn new(at: usize, kind: Kind, buffer: usize, now: Instant) -> Self {
        Self {
            at,
            kind,
            wire: Rc::new(RefCell::new(Wire::new(buffer))),
            id: None,
            appetite: Appetite::All,
            is_troubled: false,
            vanished: None,
            connected: now,
            full_since: None,
            expires_ms: None,
            is_open: false,
            is_told: false,
            is_leaving: false,
            readings: Vec::new(),
            direct: VecDeque::new(),
            pings: VecDeque::new(),
            asks_too_often: false,
            said: VecDeque::new(),
            causes: Vec::new(),
            close_sent: None,
            closed: None,
            doom: None,
            asked: 0,
            answered: 0,
            waits: None,
            is_reset: None,
            resumes: false,
            deflate: None,
            inbox: Inbox::default(),
        }
    }

    /// Whether it may be told to say something.
    pub fn may_speak(&self) -> bool {
        let wire = self.wire.borrow();
        self.vanished.is_none()
            && !wire.is_ended
            && !wire.is_reset
            && !wire.is_over()
            && self.doom.is_none()
            && self.close_sent.is_none()
            && self.closed.is_none()
    }

    /// Whether nothing can have made it leave its rooms without a word to the handler.
    pub fn is_well(&self, now_ms: u64) -> bool {
        !self.is_troubled && !self.wire.borrow().is_reset && self.expires_ms.is_none_or(|at| at > now_ms)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.wire.borrow_mut().transit.extend(bytes);
    }

    /// Sends a message, which the handler must hear of exactly once.
    pub fn say(&mut self, frames: &[u8], text: String) {
        self.said.push_back(text);
        self.send(frames);
    }

    /// Bytes that it has not taken.
    fn take(&mut self, most: usize) -> bool {
        let mut wire = self.wire.borrow_mut();
        let len = most.min(wire.to_client.len());
        move_bytes(&mut wire.to_client, len, |piece| self.inbox.push(piece));
        len > 0
    }

    /// Takes up to so many bytes, and says what is to be done about them.
    pub fn receive(&mut self, most: usize, model: &Model) -> Option<Vec<Reaction>> {
        if !self.take(most) {
            return None;
        }
        let mut reactions = Vec::new();
        while let Some(reaction) = match (self.kind, self.is_open) {
            (Kind::Socket, true) => self.frame(model),
            (Kind::Reader, true) => self.event(model),
            (Kind::Socket | Kind::Reader | Kind::Asker, _) => self.response(),
        } {
            reactions.extend(reaction);
        }
        Some(reactions)
    }

    fn response(&mut self) -> Option<Option<Reaction>> {
        let Answer { status, head, body } = self.inbox.answer()?;
        if status == 100 {
            return Some(None);
        }
        self.answered += 1;
        match (status, self.kind) {
            (101, Kind::Socket) | (200, Kind::Reader) => {
                self.is_open = true;
                assert_eq!(head.contains("permessage-deflate"), self.deflate.is_some(), "{head}");
            }
            (200, Kind::Asker) => {
                assert_eq!(Some(body.trim_end()), self.direct.pop_front().as_deref().map(str::trim_end));
            }
            (503, _) => self.is_leaving = true,
            (status, _) => {
                self.is_leaving = true;
                assert_eq!(Some(status), self.doom, "{self:?} got {head}");
            }
        }
        Some(None)
    }

    fn event(&mut self, model: &Model) -> Option<Option<Reaction>> {
        let event = self.inbox.event()?;
        if event.0 == ":" {
            return Some(None);
        }
        let field = |name: &str| event.field(name);
        let data = field("data").join("\n");
        if let Some(is_reset) = self.is_reset.take() {
            let reading = &mut self.readings[0];
            if model.is_tight {
                // It may have been cut short since, but then it must say so.
                let id = field("id")[0].split(':').nth(1).and_then(|offset| offset.parse().ok());
                let cursor = id.expect("an offset");
                let says_so = field("event") == ["reset"];
                assert!(says_so || !is_reset && (cursor == reading.cursor || !self.resumes), "{event:?}");
                (reading.cursor, reading.has_begun) = (cursor, true);
                return Some(None);
            }
            let position = format!("{}:{}", reading.epoch, reading.cursor);
            assert_eq!((field("retry").len(), field("id")), (1, vec![position.as_str()]), "{event:?}");
            assert_eq!(field("event") == ["reset"], is_reset, "{event:?}");
            reading.has_begun = true;
            return Some(None);
        }
        let data = match field("event").as_slice() {
            ["notice"] => return Some(Some(self.skip(&data, model))),
            ["binary"] => String::from_utf8(STANDARD.decode(data).unwrap()).unwrap(),
            [] => data,
            other => panic!("{other:?}"),
        };
        let position = field("id")[0].to_owned();
        self.publication(&data, None, Encoding::Events, model);
        let reading = &self.readings[0];
        assert_eq!(position, format!("{}:{}", reading.epoch, reading.cursor), "{data}");
        Some(None)
    }

    fn frame(&mut self, model: &Model) -> Option<Option<Reaction>> {
        let (first, payload) = self.inbox.frame()?;
        assert_eq!(self.closed, None, "nothing follows a Close, but {first:#x} {payload:?}");
        Some(match first {
            0x88 => {
                self.close(&payload, model);
                Some(Reaction::Close(payload))
            }
            0x89 => Some(Reaction::Pong(payload)),
            0x8a => {
                self.pong(&payload);
                None
            }
            0x81 | 0x82 => self.message(first == 0x82, payload, model),
            0xc1 | 0xc2 if self.deflate.is_some() => {
                let whole = Inflater::default().inflate(&payload, 1 << 20).expect("it inflates");
                self.message(first == 0xc2, whole, model)
            }
            _ => panic!("client {} got a frame that begins with {first:#x}: {payload:?}", self.at),
        })
    }

    /// Each ping is answered in its turn; of many at once, a client that does not take the answers gets the latest.
    fn pong(&mut self, payload: &[u8]) {
        while let Some(ping) = self.pings.pop_front() {
            if ping == payload {
                return;
            }
            assert!(self.asks_too_often, "client {} got {payload:.8?} before {ping:.8?}", self.at);
        }
        panic!("client {} got a pong that it had not asked for: {payload:?}", self.at);
    }

    /// The code has to be one for which there is a cause, and what came before it must have come.
    fn close(&mut self, payload: &[u8], model: &Model) {
        let code = close_code(payload);
        self.closed = Some(code);
        match code {
            1013 => {
                let lag = self.readings.iter().map(|reading| reading.lag(model)).max().unwrap_or(0);
                let is_behind = model.is_tight || lag * 10 >= model.log_max * 4;
                assert!(is_behind, "{self:?}: 1013, {lag} bytes behind");
            }
            // That it is not too early, the end of the connection shows.
            4401 => assert!(self.expires_ms.is_some(), "{self:?}"),
            code => {
                let is_echo = self.close_sent == Some(code);
                assert!(is_echo || self.causes.contains(&code), "{self:?}: why {code}?");
            }
        }
        self.is_leaving = true;
        assert!(self.direct.is_empty() || code == 1013, "a Close before {:.80?}: {self:?}", self.direct);
    }

    fn message(&mut self, is_binary: bool, payload: Vec<u8>, model: &Model) -> Option<Reaction> {
        let text = String::from_utf8(payload).unwrap_or_else(|error| panic!("{self:?} got {error:?}"));
        if text.starts_with('!') {
            assert_eq!(Some(&text), self.direct.pop_front().as_ref(), "{self:?}");
            self.remark(&text);
            return None;
        }
        if text.contains("{\"skipped\":") {
            return Some(self.skip(&text, model));
        }
        if !text.starts_with('{') {
            self.publication(&text, Some(is_binary), Encoding::Raw, model);
            return None;
        }
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let content = match object["base64"].as_str() {
            Some(base64) => String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap(),
            None => object["text"].as_str().unwrap().to_owned(),
        };
        let cursor = self.publication(&content, None, Encoding::Json, model);
        assert_eq!(object["offset"].as_u64(), Some(cursor as u64), "{text}");
        None
    }

    /// From here on a room is read by another membership, or not at all.
    fn remark(&mut self, remark: &str) {
        let words: Vec<&str> = remark.split(' ').collect();
        match words[..] {
            ["!left", room] => {
                let at = self.readings.iter().position(|reading| reading.room == room).expect("a reading");
                assert!(self.readings.remove(at).has_begun, "{self:?} leaves {room} before it has come");
            }
            ["!joined", room, position] => {
                let reading = self.readings.iter_mut().find(|reading| reading.room == room).expect("one");
                assert_eq!(format!("{}:{}", reading.epoch, reading.cursor), position);
                reading.has_begun = true;
            }
            _ => {}
        }
    }

    /// It is told how many it is not sent; so the next one is known exactly.
    fn skip(&mut self, text: &str, model: &Model) -> Reaction {
        let number = text.split("{\"skipped\":").nth(1).and_then(|rest| rest.split('}').next());
        let skipped: usize = number.and_then(|number| number.parse().ok()).expect("a number");
        let reading = self.readings.iter_mut().find(|reading| reading.room.starts_with('s'));
        let reading = reading.expect("only where that is the rule");
        reading.cursor += skipped;
        assert!(skipped > 0 && reading.cursor <= model.len(reading.epoch), "{skipped} of {reading:?}");
        Reaction::Skipped
    }

    /// It has to be the next of its room; or a later one, where the room's rule allows that. The place after it.
    fn publication(
        &mut self,
        text: &str,
        is_binary: Option<bool>,
        encoding: Encoding,
        model: &Model,
    ) -> usize {
        let is_it =
            |item: &Item| item.text == text && is_binary.is_none_or(|is_binary| item.is_binary == is_binary);
        let room = text.split(' ').nth(1).unwrap_or_default();
        let who = format!("client {} in {room}", self.at);
        let found = self.readings.iter_mut().find(|reading| reading.room == room);
        let Some(reading) = found.filter(|reading| reading.has_begun) else {
            panic!("{who} got {text:.80?}, and is not in it");
        };
        assert_eq!(reading.encoding, encoding, "{who}");
        let items = &model.lives[&reading.epoch].items;
        let next = reading.next(model).map(|(at, _)| at);
        let at = match next {
            Some(at) if is_it(&items[at]) => Some(at),
            _ if room.starts_with('l') => (reading.cursor..items.len()).find(|at| is_it(&items[*at])),
            _ => None,
        };
        let Some(at) = at else {
            let place = items.iter().position(is_it).map(|at| at + 1);
            let wanted = next.map(|at| format!("{} {:.40}", at + 1, items[at].text));
            panic!("{who} got {text:.40?}, number {place:?}, instead of {wanted:?}");
        };
        reading.cursor = at + 1;
        reading.cursor
    }

    /// Whether everything has arrived whole.
    pub fn has_no_rest(&self) -> bool {
        self.inbox.is_empty()
    }
}

pub fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's frame.
pub fn masked(first: u8, payload: &[u8], key: u32) -> Vec<u8> {
    let key = key.to_be_bytes();
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    let start = frame.len();
    frame.extend_from_slice(payload);
    // By eights, since one by one they take most of a debug build's time.
    let twice = u64::from_ne_bytes([key, key].concat().try_into().unwrap());
    let (words, rest) = frame[start..].as_chunks_mut::<8>();
    words.iter_mut().for_each(|word| *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes());
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    frame
}
