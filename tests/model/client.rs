//! The other end of a connection: it takes apart what it gets, and compares it with what it must get.

use std::fmt;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanline::Encoding;
use fanline::ws::deflate::Inflater;

use crate::hall::Question;
use crate::model::{Item, Life, Model};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Socket,
    /// It reads events.
    Reader,
    /// It polls and posts.
    Asker,
}

/// What it reads of one room by one membership.
#[derive(Debug)]
pub struct Reading {
    pub room: String,
    pub life: usize,
    pub number: u64,
    pub cursor: usize,
    pub encoding: Encoding,
    pub is_quiet: bool,
    /// Where the closing handshake began.
    pub end: Option<usize>,
}

impl Reading {
    /// What it has to be sent next, and its index.
    pub fn next<'m>(&self, model: &'m Model) -> Option<(usize, &'m Item)> {
        let items = model.lives[self.life].items.iter().enumerate().skip(self.cursor);
        let is_own = |item: &Item| self.is_quiet && item.author == Some(self.number);
        items.take_while(|(at, _)| self.end.is_none_or(|end| *at < end)).find(|(_, item)| !is_own(item))
    }

    /// Bytes it has yet to be sent.
    pub fn lag(&self, model: &Model) -> usize {
        let life = &model.lives[self.life];
        (self.cursor..life.items.len()).map(|at| encode(self.encoding, life, at).1.len()).sum()
    }
}

/// A publication as a reader must get it: the first byte of its frame, and the payload.
fn encode(encoding: Encoding, life: &Life, at: usize) -> (u8, Vec<u8>) {
    let (epoch, offset, item) = (life.epoch, at + 1, &life.items[at]);
    let (text, is_binary) = (&item.post.text, item.post.is_binary);
    let text = match encoding {
        Encoding::Raw => return (if is_binary { 0x82 } else { 0x81 }, text.clone().into_bytes()),
        Encoding::Json => {
            let (what, content) = match (item.is_notice, is_binary) {
                (true, _) => ("notice", format!("\"notice\":{text}")),
                (false, true) => ("message", format!("\"base64\":\"{}\"", STANDARD.encode(text))),
                (false, false) => ("message", format!("\"text\":{}", serde_json::json!(text))),
            };
            format!(r#"{{"type":"{what}","offset":{offset},"time":{},{content}}}"#, item.time_ms)
        }
        Encoding::Events => {
            let (event, data) = match (item.is_notice, is_binary) {
                (true, _) => ("event: notice\n", text.clone()),
                (false, true) => ("event: binary\n", STANDARD.encode(text)),
                (false, false) if text.contains('\r') => ("event: text-base64\n", STANDARD.encode(text)),
                (false, false) => ("", text.replace('\n', "\ndata: ")),
            };
            format!("id: {epoch}:{offset}\n{event}data: {data}")
        }
    };
    (0x81, text.into_bytes())
}

/// What a client does about what it got.
#[derive(Debug)]
pub enum Reaction {
    Pong(Vec<u8>),
    Close(Vec<u8>),
    /// It has been answered.
    Done,
    /// It was not sent something, as the room's rule is.
    Skipped(&'static str),
}

pub struct Client {
    /// Its place among the world's clients.
    pub at: usize,
    pub kind: Kind,
    pub is_slow: bool,
    /// Since when it says nothing any more.
    pub silent: Option<Instant>,
    /// The handshake, or the head of the events, has come.
    pub is_open: bool,
    /// It has left all rooms, by the server's or its own doing.
    pub is_leaving: bool,
    /// The log has passed it.
    pub is_passed: bool,
    /// It has closed its side.
    pub is_over: bool,
    /// The rooms it reads, in the order in which it joined them; a later one begins where an earlier one was left.
    pub readings: Vec<Reading>,
    /// The event with which its stream begins.
    pub first_event: Option<String>,
    pub waits: Option<(Question, u64)>,
    pub answer: Option<String>,
    /// The code of the Close it got.
    pub closed: Option<u16>,
    bytes: Vec<u8>,
    inflater: Inflater,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, kind, is_slow, silent, is_open, is_leaving, is_over, closed, .. } = self;
        write!(f, "client {at} ({kind:?}, slow: {is_slow}, silent since {silent:?}, open: {is_open}, ")?;
        write!(f, "leaving: {is_leaving}, over: {is_over}, closed: {closed:?})")
    }
}

impl Client {
    pub fn new(at: usize, kind: Kind, is_slow: bool) -> Self {
        Self {
            at,
            kind,
            is_slow,
            silent: None,
            is_open: false,
            is_leaving: false,
            is_passed: false,
            is_over: false,
            readings: Vec::new(),
            first_event: None,
            waits: None,
            answer: None,
            closed: None,
            bytes: Vec::new(),
            inflater: Inflater::default(),
        }
    }

    /// Whether it may be told to do something.
    pub fn is_well(&self) -> bool {
        self.is_open && !self.is_leaving && !self.is_over && self.silent.is_none() && self.closed.is_none()
    }

    /// Whether everything has arrived whole.
    pub fn has_no_rest(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what has come, and says what is to be done about it.
    pub fn receive(&mut self, bytes: &[u8], model: &Model) -> Vec<Reaction> {
        self.bytes.extend_from_slice(bytes);
        let mut reactions = Vec::new();
        while let Some(reaction) = match (self.kind, self.is_open) {
            (Kind::Socket, true) => self.frame(model),
            (Kind::Reader, true) => self.event(model),
            (Kind::Socket | Kind::Reader, false) => self.head(),
            (Kind::Asker, _) => self.response(),
        } {
            reactions.extend(reaction);
        }
        reactions
    }

    fn take_until(&mut self, end: &[u8]) -> Option<String> {
        let at = self.bytes.windows(end.len()).position(|window| window == end)?;
        let rest = self.bytes.split_off(at + end.len());
        let mut taken = std::mem::replace(&mut self.bytes, rest);
        taken.truncate(at);
        Some(String::from_utf8(taken).unwrap())
    }

    fn head(&mut self) -> Option<Option<Reaction>> {
        let head = self.take_until(b"\r\n\r\n")?;
        match head.split(' ').nth(1) {
            Some("101" | "200") => self.is_open = true,
            Some("403") => self.bytes.clear(),
            _ => panic!("{head}"),
        }
        Some(None)
    }

    fn response(&mut self) -> Option<Option<Reaction>> {
        let all = String::from_utf8(self.bytes.clone()).unwrap();
        let (head, body) = all.split_once("\r\n\r\n")?;
        let len = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let body = body.get(..len.parse().unwrap())?;
        self.bytes.drain(..head.len() + 4 + body.len());
        assert_eq!(Some(body.trim_end()), self.answer.take().as_deref().map(str::trim_end), "{head}");
        Some(Some(Reaction::Done))
    }

    fn event(&mut self, model: &Model) -> Option<Option<Reaction>> {
        let event = self.take_until(b"\n\n")?;
        if let Some(first) = self.first_event.take() {
            assert_eq!(event, first.trim_end());
        } else if event != ":" {
            return Some(self.publication(0x81, event.into_bytes(), model));
        }
        Some(None)
    }

    fn frame(&mut self, model: &Model) -> Option<Option<Reaction>> {
        let (len, start) = match *self.bytes.get(1)? {
            126 => (usize::from(u16::from_be_bytes([*self.bytes.get(2)?, *self.bytes.get(3)?])), 4),
            len => (usize::from(len), 2),
        };
        let mut payload = self.bytes.get(start..start + len)?.to_vec();
        let first = self.bytes[0] & !0x40;
        if self.bytes[0] != first {
            payload = self.inflater.inflate(&payload, 1 << 20).unwrap();
        }
        self.bytes.drain(..start + len);
        assert_eq!(self.closed, None, "nothing follows a Close");
        Some(match first {
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                self.closed = Some(code);
                if code == 4001 {
                    let is_patient = |reading: &&Reading| !reading.room.starts_with(['s', 'l']);
                    let missed =
                        self.readings.iter().filter(is_patient).find_map(|reading| reading.next(model));
                    assert!(missed.is_none(), "a Close before what had been published: {missed:?}");
                }
                Some(Reaction::Close(payload))
            }
            0x89 => Some(Reaction::Pong(payload)),
            0x81 if payload.starts_with(b"!") => {
                self.remark(&String::from_utf8(payload).unwrap(), model);
                None
            }
            first => self.publication(first, payload, model),
        })
    }

    /// What the hall says: from here on, a room is read by another membership, or not at all.
    fn remark(&mut self, remark: &str, model: &Model) {
        let words: Vec<&str> = remark.split(' ').collect();
        if let ["!left" | "!again", room, ..] = words[..] {
            let at = self.readings.iter().position(|reading| reading.room == room).expect("a reading");
            self.readings.remove(at);
        }
        if let ["!joined" | "!again", room, position, _] = words[..] {
            let reading = self.readings.iter().find(|reading| reading.room == room).expect("a reading");
            assert_eq!(format!("{}:{}", model.lives[reading.life].epoch, reading.cursor), position);
        }
    }

    /// It has to be the next one of a room; or a later one, where the room's rule allows that.
    fn publication(&mut self, first: u8, payload: Vec<u8>, model: &Model) -> Option<Reaction> {
        let got = (first, payload);
        let mut rooms = Vec::new();
        for reading in &mut self.readings {
            if rooms.contains(&reading.room) {
                continue;
            }
            rooms.push(reading.room.clone());
            let life = &model.lives[reading.life];
            if let Some((at, _)) = reading.next(model)
                && encode(reading.encoding, life, at) == got
            {
                reading.cursor = at + 1;
                return None;
            }
            let mut later = reading.cursor..life.items.len();
            if reading.room.starts_with('l')
                && let Some(at) = later.find(|at| encode(reading.encoding, life, *at) == got)
            {
                reading.cursor = at + 1;
                return Some(Reaction::Skipped("went on with the newest"));
            }
        }
        let text = String::from_utf8_lossy(&got.1).into_owned();
        let skipped = text.split("{\"skipped\":").nth(1).and_then(|rest| rest.split('}').next());
        let skipper = self.readings.iter_mut().find(|reading| reading.room.starts_with('s'));
        if let (Some(skipped), Some(reading), true) = (skipped, skipper, self.is_slow) {
            reading.cursor += skipped.parse::<usize>().unwrap();
            assert!(reading.cursor <= model.lives[reading.life].items.len());
            return Some(Reaction::Skipped("skipped"));
        }
        let next = |reading: &Reading| {
            let (at, item) = reading.next(model)?;
            Some(format!("{} {}: {:.60}", reading.room, at + 1, item.post.text))
        };
        let wanted: Vec<_> = self.readings.iter().map(next).collect();
        panic!("client {} got {text:.200?} instead of one of {wanted:#?}", self.at);
    }
}
