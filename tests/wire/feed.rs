//! Feeds a table's rows to a connection in every way bytes can arrive, and expects the same of it each time.

use fanline::conn::{Conn, Event, Stage};
use fanline::input::Input;
use fanline::outbound::Outbound;
use fanline::spare::Spares;
use fanline::ws::deflate::Inflater;
use fanline::ws::extension::negotiate_deflate;
use fanline::ws::message::Received;
use fanline::ws::session::Workbench;
use fanline::{CloseCode, CloseReason, Closed, ClosedBy, Limits};

/// What came out of a connection, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Head(String),
    BadHead(u16),
    Text(String),
    Binary(Vec<u8>),
    Ended(Closed),
}

pub fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

pub fn binary(bytes: impl AsRef<[u8]>) -> Seen {
    Seen::Binary(bytes.as_ref().to_vec())
}

/// The peer closed, and was answered.
pub fn by_peer(code: u16, reason: &str) -> Seen {
    Seen::Ended(Closed { code, reason: reason.into(), clean: true, by: ClosedBy::Peer })
}

/// We closed, and were answered (`clean`) or not.
pub fn by_us(code: u16, reason: &str, clean: bool) -> Seen {
    Seen::Ended(Closed { code, reason: reason.into(), clean, by: ClosedBy::Server })
}

/// One row: bytes from the client, what they are to be understood as, and what is to be answered.
#[derive(Clone)]
pub struct Row {
    name: String,
    bytes: Vec<u8>,
    events: Vec<Seen>,
    out: Vec<u8>,
    unfinished: bool,
}

pub fn row(name: &str, bytes: impl Into<Vec<u8>>) -> Row {
    Row { name: name.into(), bytes: bytes.into(), events: Vec::new(), out: Vec::new(), unfinished: false }
}

impl Row {
    pub fn gives(mut self, event: Seen) -> Self {
        self.events.push(event);
        self
    }

    pub fn answers(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.out.extend_from_slice(bytes.as_ref());
        self
    }

    /// These bytes follow.
    pub fn and(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// The connection is failed with this code: a Close with a reason goes out, and nothing is read any more.
    pub fn fails(self, code: u16, reason: &str) -> Self {
        self.answers(super::frames::server_close(code, reason)).gives(by_us(code, reason, false))
    }

    /// The row stops inside something, so that no other can be glued to it.
    pub fn unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }

    fn is_last(&self) -> bool {
        matches!(self.events.last(), Some(Seen::Ended(_) | Seen::BadHead(_)))
    }

    /// Both rows in one read. After the end of a connection, nothing of the second is to be heard.
    fn glued_to(&self, next: &Row) -> Row {
        let mut glued = self.clone();
        glued.name = format!("{} + {}", self.name, next.name);
        glued.bytes.extend_from_slice(&next.bytes);
        if !self.is_last() {
            glued.events.extend_from_slice(&next.events);
            glued.out.extend_from_slice(&next.out);
        }
        glued
    }
}

/// In which phase, and under which agreement, a connection meets its rows.
#[derive(Clone, Default)]
pub struct Start {
    pub limits: Limits,
    deflate: bool,
    stage: Option<Stage>,
}

impl Start {
    /// A connection of which nothing has been read.
    pub fn head() -> Self {
        Self::default()
    }

    /// A connection that is open.
    pub fn open() -> Self {
        Self { stage: Some(Stage::Open), ..Self::default() }
    }

    /// A connection that is open, with permessage-deflate.
    pub fn deflate() -> Self {
        Self { deflate: true, ..Self::open() }
    }

    /// A connection that we have sent a Close on, with 1000 and `bye`.
    pub fn closing() -> Self {
        Self { stage: Some(Stage::Closing), ..Self::default() }
    }

    /// As this, with permessage-deflate.
    pub fn and_deflate(mut self) -> Self {
        self.deflate = true;
        self
    }

    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.message_bytes_max = bytes;
        self
    }

    pub fn head_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.head_bytes_max = bytes;
        self
    }

    /// Feeds every row in every way.
    pub fn check(&self, rows: &[Row]) {
        for (at, row) in rows.iter().enumerate() {
            self.expect(row, "whole", &[&row.bytes]);
            let each: Vec<&[u8]> = row.bytes.chunks(1).collect();
            self.expect(row, "byte by byte", &each);
            for cut in cuts(row.bytes.len()) {
                let (a, b) = row.bytes.split_at(cut);
                self.expect(row, &format!("cut at {cut}"), &[a, b]);
            }
            if !row.unfinished {
                let glued = row.glued_to(&rows[(at + 1) % rows.len()]);
                self.expect(&glued, "glued", &[&glued.bytes]);
                let (a, b) = glued.bytes.split_at(row.bytes.len().saturating_sub(1));
                self.expect(&glued, "glued but for a byte", &[a, b]);
            }
        }
    }

    fn expect(&self, row: &Row, how: &str, pieces: &[&[u8]]) {
        let mut rig = Rig::new(self);
        for piece in pieces {
            rig.feed(piece);
        }
        assert_eq!(brief(&rig.seen), brief(&row.events), "{}, fed {how}", row.name);
        assert!(rig.seen == row.events, "{}, fed {how}: a long payload differs", row.name);
        assert!(
            rig.sent == row.out,
            "{}, fed {how}: sent\n{:02x?}, not\n{:02x?}",
            row.name,
            head_of(&rig.sent),
            head_of(&row.out)
        );
    }
}

/// A connection and what came of it so far.
pub struct Rig {
    pub conn: Conn,
    pub seen: Vec<Seen>,
    /// What left for the peer since the connection met its first row.
    pub sent: Vec<u8>,
    fed: usize,
    limits: Limits,
    inflater: Inflater,
    spares: Spares,
    outbound: Outbound,
}

impl Rig {
    pub fn new(start: &Start) -> Self {
        let deflate = negotiate_deflate([&b"permessage-deflate"[..]].into_iter()).unwrap();
        let (mut conn, mut outbound) = (Conn::default(), Outbound::default());
        if start.stage.is_some() {
            conn.open(deflate.filter(|_| start.deflate));
        }
        if start.stage == Some(Stage::Closing) {
            conn.close(CloseReason::new(CloseCode::NORMAL, "bye").unwrap(), &mut outbound);
            outbound.flush(&mut std::io::sink()).unwrap();
        }
        let limits = start.limits.clone();
        let (seen, sent) = (Vec::new(), Vec::new());
        let (inflater, spares) = (Inflater::default(), Spares::new(limits.spare_bytes_max));
        Self { conn, seen, sent, fed: 0, limits, inflater, spares, outbound }
    }

    pub fn feed(&mut self, piece: &[u8]) {
        self.fed += piece.len();
        let mut bytes = piece.to_vec();
        let mut input = Input::new(&mut bytes);
        while let Some(event) = self.conn.receive(
            &mut input,
            &self.limits,
            &mut Workbench {
                message_bytes_max: self.limits.message_bytes_max,
                inflater: &mut self.inflater,
                spares: &mut self.spares,
                frames: usize::MAX,
            },
            &mut self.outbound,
        ) {
            let seen = own(event);
            if matches!(seen, Seen::BadHead(_)) {
                self.conn.hang_up(&mut self.outbound);
            }
            self.seen.push(seen);
            assert!(self.seen.len() <= self.fed, "more events than bytes: {:?}", self.seen.last());
        }
        assert!(input.is_empty(), "everything is taken, or kept");
        self.check_bounds();
        self.outbound.flush(&mut self.sent).unwrap();
    }

    /// What is kept of the peer's bytes stays within the limits, at every moment.
    fn check_bounds(&self) {
        let bound = match self.conn.stage() {
            Stage::Head | Stage::Deciding | Stage::Waiting => self.limits.head_bytes_max,
            Stage::Body => self.limits.head_bytes_max + self.limits.body_bytes_max,
            // Deflate may have made a message longer, and a control frame may be in the making inside it.
            Stage::Open | Stage::Closing => self.limits.message_bytes_max / 8 * 9 + 64 + 7 + 125,
            Stage::Streaming | Stage::Closed => 0,
        };
        assert!(self.conn.buffered() <= bound, "{} bytes kept, over {bound}", self.conn.buffered());
    }
}

fn own(event: Event<'_>) -> Seen {
    match event {
        Event::Head(head) => Seen::Head(String::from_utf8_lossy(&head).into_owned()),
        Event::Request(head, body) => {
            Seen::Head(String::from_utf8_lossy(&[&head[..], &body].concat()).into_owned())
        }
        Event::BadHead(refusal) => Seen::BadHead(refusal.status()),
        Event::Message(Received::Text(text)) => Seen::Text(text.into_owned()),
        Event::Message(Received::Binary(bytes)) => Seen::Binary(bytes.into_owned()),
        Event::Ended(closed) => Seen::Ended(closed),
    }
}

/// All offsets of a short row; of a long one those near its ends, and some in between.
fn cuts(len: usize) -> Vec<usize> {
    const NEAR: usize = 32;
    if len <= 600 {
        return (1..len).collect();
    }
    let between = (1..16usize).map(|i| NEAR + i.wrapping_mul(2_654_435_761) % (len - 2 * NEAR));
    (1..NEAR).chain(between).chain(len - NEAR..len).collect()
}

fn brief(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| format!("{seen:?}").chars().take(200).collect()).collect()
}

fn head_of(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}
