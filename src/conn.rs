//! One connection's whole life: `Head → Open → Closing → Closed`, RFC 6455 §4 and §7, without I/O.

mod closed;
mod parked;

use std::borrow::Cow;

pub use closed::{Closed, ClosedBy};
pub use parked::{Parked, Why};

use crate::http::body::{BodyReader, Framing};
use crate::http::head::HeadReader;
use crate::http::response::Refusal;
use crate::id::Identity;
use crate::input::Input;
use crate::limits::Limits;
use crate::outbound::Outbound;
use crate::timer::Tick;
use crate::ws::close::CloseReason;
use crate::ws::extension::DeflateParams;
use crate::ws::frame::Opcode;
use crate::ws::message::Received;
use crate::ws::session::{Incoming, Session, Workbench};

/// A connection, from its first byte to its last.
#[derive(Debug)]
pub struct Conn {
    phase: Phase,
}

/// Each phase owns what only it needs.
///
/// With a tag of its own, in the order of [`Stage`], so that asking for the stage is reading a byte: it is asked for
/// several times a message.
#[derive(Debug)]
#[repr(u8)]
enum Phase {
    /// Waiting for a request head, the first or a later one on a connection that is kept alive.
    Head(HeadReader),
    /// The handler has the head and has not decided whether to let the client in.
    Deciding(Box<[u8]>),
    /// A request whose head has come and whose body has not.
    Body(Box<Upload>),
    /// A request that waits for something to answer it with.
    Waiting(Box<Parked>),
    /// A response without an end, and who reads it where that is known.
    Streaming(Option<Box<Identity>>),
    /// WebSocket in both directions.
    Open(Session),
    /// We sent a Close; the peer has not answered.
    Closing(Box<Farewell>),
    /// Nothing more is read or queued; what is queued still leaves.
    Closed,
}

#[derive(Debug)]
struct Upload {
    head: Box<[u8]>,
    body: BodyReader,
}

#[derive(Debug)]
struct Farewell {
    session: Session,
    sent: CloseReason,
}

/// Which phase a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a request head.
    Head,
    /// Waiting for the handler's decision.
    Deciding,
    /// Waiting for a request's body.
    Body,
    /// Waiting for something to answer a request with.
    Waiting,
    /// Sending a response without an end.
    Streaming,
    /// WebSocket in both directions.
    Open,
    /// Waiting for the peer's Close.
    Closing,
    /// Over.
    Closed,
}

/// What came out of the bytes received.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A complete request head.
    Head(Cow<'i, [u8]>),
    /// A head that came before, and now its body.
    Request(Box<[u8]>, Vec<u8>),
    /// What began as a request and cannot become one.
    BadHead(Refusal),
    /// A message.
    Message(Received<'i>),
    /// The WebSocket connection has ended; what answers the peer is queued.
    Ended(Closed),
}

impl Default for Conn {
    fn default() -> Self {
        Self { phase: Phase::Head(HeadReader::default()) }
    }
}

impl Conn {
    /// Which phase the connection is in.
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Head(_) => Stage::Head,
            Phase::Deciding(_) => Stage::Deciding,
            Phase::Body(_) => Stage::Body,
            Phase::Waiting(_) => Stage::Waiting,
            Phase::Streaming(_) => Stage::Streaming,
            Phase::Open(_) => Stage::Open,
            Phase::Closing(_) => Stage::Closing,
            Phase::Closed => Stage::Closed,
        }
    }

    /// What was agreed on compression, once open.
    pub fn deflate(&self) -> Option<DeflateParams> {
        match &self.phase {
            Phase::Open(session) => session.deflate(),
            Phase::Head(_)
            | Phase::Deciding(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Streaming(_)
            | Phase::Closing(_)
            | Phase::Closed => None,
        }
    }

    /// Who reads a response without an end.
    pub fn reader(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Streaming(reader) => reader.as_deref(),
            _ => None,
        }
    }

    /// Until when a request waits.
    pub fn waits_until(&self) -> Tick {
        match &self.phase {
            Phase::Waiting(parked) => parked.until,
            _ => Tick::NEVER,
        }
    }

    /// Bytes kept of a head or a message in the making.
    pub fn buffered(&self) -> usize {
        match &self.phase {
            Phase::Head(reader) => reader.buffered(),
            Phase::Deciding(head) => head.len(),
            Phase::Body(upload) => upload.head.len() + upload.body.buffered(),
            Phase::Waiting(parked) => parked.head.len(),
            Phase::Open(session) => session.buffered(),
            Phase::Closing(farewell) => farewell.session.buffered(),
            Phase::Streaming(_) | Phase::Closed => 0,
        }
    }

    /// Bytes of memory taken up by a head, a body or a message in the making.
    pub fn held(&self) -> usize {
        match &self.phase {
            Phase::Head(reader) => reader.held(),
            Phase::Deciding(head) => head.len(),
            Phase::Body(upload) => size_of::<Upload>() + upload.head.len() + upload.body.held(),
            Phase::Waiting(parked) => size_of::<Parked>() + parked.head.len() + parked.room.capacity(),
            Phase::Open(session) => session.held(),
            Phase::Closing(farewell) => size_of::<Farewell>() + farewell.session.held(),
            Phase::Streaming(reader) => reader.as_ref().map_or(0, |_| size_of::<Identity>()),
            Phase::Closed => 0,
        }
    }

    /// Takes from `input` until there is an event; `None` once the input is used up, or has to wait for a decision.
    ///
    /// Pongs and Close frames that answer the peer are queued in `out`.
    pub fn receive<'i>(
        &mut self,
        input: &mut Input<'i>,
        limits: &Limits,
        bench: &mut Workbench<'_>,
        out: &mut Outbound,
    ) -> Option<Event<'i>> {
        match &mut self.phase {
            Phase::Head(reader) => match reader.read(input, limits) {
                Ok(head) => head.map(Event::Head),
                Err(refusal) => Some(Event::BadHead(refusal)),
            },
            Phase::Deciding(_) | Phase::Waiting(_) => None,
            Phase::Body(upload) => match upload.body.read(input, limits.body_bytes_max) {
                Ok(false) => None,
                Ok(true) => self.take_upload(),
                Err(refusal) => Some(Event::BadHead(refusal)),
            },
            Phase::Open(session) => match receive_open(session, input, limits, bench, out)? {
                Outcome::Event(event) => Some(event),
                Outcome::Ended(closed) => {
                    self.phase = Phase::Closed;
                    Some(Event::Ended(closed))
                }
            },
            Phase::Closing(farewell) => {
                let closed = receive_closing(farewell, input, bench)?;
                self.phase = Phase::Closed;
                Some(Event::Ended(closed))
            }
            // RFC 9112 §9.3.2: after a request that ends the connection, what comes is not looked at.
            Phase::Streaming(_) | Phase::Closed => {
                input.take_all();
                None
            }
        }
    }

    /// The handshake is answered: what follows is frames.
    pub fn open(&mut self, deflate: Option<DeflateParams>) {
        self.phase = Phase::Open(Session::new(deflate));
    }

    /// Keeps a head until its body has come; says whether there is one to come.
    pub fn expect_body(&mut self, head: &[u8], framing: Framing) -> bool {
        let Some(body) = BodyReader::new(framing) else { return false };
        self.phase = Phase::Body(Box::new(Upload { head: head.into(), body }));
        true
    }

    fn take_upload<'i>(&mut self) -> Option<Event<'i>> {
        match std::mem::replace(&mut self.phase, Phase::Head(HeadReader::default())) {
            Phase::Body(upload) => Some(Event::Request(upload.head, upload.body.finish())),
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// Keeps a request until there is something to answer it with.
    pub fn park(&mut self, parked: Parked) {
        self.phase = Phase::Waiting(Box::new(parked));
    }

    /// Gives a waiting request back, and waits for another in its place.
    pub fn take_parked(&mut self) -> Option<Parked> {
        match std::mem::replace(&mut self.phase, Phase::Head(HeadReader::default())) {
            Phase::Waiting(parked) => Some(*parked),
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// The response has begun and has no end: nothing is read any more.
    pub fn stream(&mut self, reader: Identity) {
        self.phase = Phase::Streaming((!reader.is_nobody()).then(|| Box::new(reader)));
    }

    /// Keeps a head until the handler has decided about it.
    pub fn defer(&mut self, head: &[u8]) {
        self.phase = Phase::Deciding(head.into());
    }

    /// Gives the deferred head back, and waits for another in its place.
    pub fn take_deferred(&mut self) -> Option<Box<[u8]>> {
        match std::mem::replace(&mut self.phase, Phase::Head(HeadReader::default())) {
            Phase::Deciding(head) => Some(head),
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// The last response is queued: whatever else comes is not read.
    pub fn hang_up(&mut self, out: &mut Outbound) {
        out.seal();
        self.phase = Phase::Closed;
    }

    /// Begins the closing handshake; without effect unless the connection is open.
    pub fn close(&mut self, reason: CloseReason, out: &mut Outbound) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(mut session) => {
                session.discard();
                out.push_close(Some(&reason));
                self.phase = Phase::Closing(Box::new(Farewell { session, sent: reason }));
            }
            phase => self.phase = phase,
        }
    }

    /// Ends an open connection with a Close that no answer is waited for, as a violation does: what is in the making is
    /// let go at once. Says how it ended; `None` where it was not open.
    pub fn fail(&mut self, reason: &CloseReason, out: &mut Outbound) -> Option<Closed> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(_) => {
                out.push_close(Some(reason));
                Some(Closed::by_server(reason, false))
            }
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// The transport has ended, or the peer has run out of time. Says how the WebSocket connection ended, if it had not.
    pub fn lost(&mut self) -> Option<Closed> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(_) => Some(Closed::lost()),
            Phase::Closing(farewell) => Some(Closed::by_server(&farewell.sent, false)),
            Phase::Head(_)
            | Phase::Deciding(_)
            | Phase::Body(_)
            | Phase::Waiting(_)
            | Phase::Streaming(_)
            | Phase::Closed => None,
        }
    }
}

enum Outcome<'i> {
    Event(Event<'i>),
    Ended(Closed),
}

fn receive_open<'i>(
    session: &mut Session,
    input: &mut Input<'i>,
    limits: &Limits,
    bench: &mut Workbench<'_>,
    out: &mut Outbound,
) -> Option<Outcome<'i>> {
    loop {
        match session.next(input, bench) {
            Ok(None) => return None,
            Ok(Some(Incoming::Message(message))) => return Some(Outcome::Event(Event::Message(message))),
            // §5.5.2: a Pong repeats the payload of its Ping.
            Ok(Some(Incoming::Ping(payload))) => {
                out.push_control(Opcode::Pong, &payload, limits.control_bytes_max);
            }
            Ok(Some(Incoming::Pong(_))) => {}
            // §5.5.1: the echo repeats the peer's code, also when it had none.
            Ok(Some(Incoming::Close(reason))) => {
                let echo = reason.as_ref().map(|reason| CloseReason::bare(reason.code()));
                out.push_close(echo.as_ref());
                return Some(Outcome::Ended(Closed::by_peer(reason.as_ref())));
            }
            // §7.1.7: the connection fails; nothing the peer sends is read any more.
            Err(violation) => {
                let sent = CloseReason::from(violation);
                out.push_close(Some(&sent));
                return Some(Outcome::Ended(Closed::by_server(&sent, false)));
            }
        }
    }
}

/// §7.1.1: after our Close only the peer's Close matters; what it sent before is passed over.
fn receive_closing(
    farewell: &mut Farewell,
    input: &mut Input<'_>,
    bench: &mut Workbench<'_>,
) -> Option<Closed> {
    loop {
        match farewell.session.next(input, bench) {
            Ok(None) => return None,
            Ok(Some(Incoming::Message(_) | Incoming::Ping(_) | Incoming::Pong(_))) => {}
            Ok(Some(Incoming::Close(_))) => return Some(Closed::by_server(&farewell.sent, true)),
            Err(_) => return Some(Closed::by_server(&farewell.sent, false)),
        }
    }
}
