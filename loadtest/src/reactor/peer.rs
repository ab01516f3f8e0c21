//! One connection to the server, from connecting to its end.

use super::Workload;
use super::frame::{FrameReader, Message, Opcode, Premasked};
use super::target::Target;
use mio::net::TcpStream;
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A response head longer than this is refused.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A connection. Between messages it holds no buffer.
pub(crate) struct Peer {
    /// The number that the workload gave it.
    pub(crate) seat: usize,
    stream: TcpStream,
    phase: Phase,
    outbox: Vec<u8>,
    /// Whether our Close is out already.
    closing: bool,
    /// Whether nothing is read, whatever there is.
    stalled: bool,
    /// Whether the poller has seen the end of what the server sends, read or not.
    hung_up: bool,
    traffic: Traffic,
}

/// Bytes that a connection has carried, as its socket sees them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Traffic {
    /// To the server.
    pub(crate) sent: u64,
    /// From the server.
    pub(crate) received: u64,
}

enum Phase {
    Connecting(Rc<Target>),
    Upgrading(Rc<Target>, Vec<u8>),
    Open(FrameReader),
    /// Bytes, which are the workload's concern.
    Plain,
    Ended,
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The handshake failed.
    Refused(String),
    /// The server closed it, with this code if it gave one.
    Closed(Option<u16>),
    /// The bytes ended without a Close frame.
    Lost(ErrorKind),
    /// The server sent what no server may send.
    Violation(&'static str),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "handshake refused: {why}"),
            Self::Closed(Some(code)) => write!(f, "closed by the server with {code}"),
            Self::Closed(None) => write!(f, "closed by the server without a code"),
            Self::Lost(kind) => write!(f, "lost: {kind}"),
            Self::Violation(what) => write!(f, "the server sent {what}"),
        }
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.kind())
    }
}

impl Peer {
    pub(super) fn new(seat: usize, stream: TcpStream, target: Rc<Target>) -> Self {
        let phase = Phase::Connecting(target);
        Self {
            seat,
            stream,
            phase,
            outbox: Vec::new(),
            closing: false,
            stalled: false,
            hung_up: false,
            traffic: Traffic::default(),
        }
    }

    /// What it has carried so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Sends bytes now, as far as the socket takes them, and the rest when it takes more.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.has_ended() {
            return;
        }
        let idle = self.outbox.is_empty();
        // An error shows again in the next read, where the end is told.
        let sent = if idle { write_some(&mut self.stream, bytes).unwrap_or(bytes.len()) } else { 0 };
        self.traffic.sent += sent as u64;
        self.outbox.extend_from_slice(&bytes[sent..]);
    }

    /// Begins the closing handshake with 1000.
    pub(crate) fn close(&mut self) {
        self.send(Premasked::new(Opcode::Close, &1000_u16.to_be_bytes()).as_bytes());
        self.closing = true;
    }

    /// Reads no more, or goes on with it; what has come meanwhile is there at the next visit.
    pub(crate) fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// Ends our direction, and goes on reading.
    pub(crate) fn finish_sending(&mut self) {
        // It fails only when the peer is gone, which the next read tells.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends bytes when TCP is connected, or after what is still to be sent.
    pub(crate) fn send_later(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Whether the server has ended its direction, or all of it, also where nobody has read so far.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    pub(super) fn note_hung_up(&mut self) {
        self.hung_up = true;
    }

    /// Whether what is sent stays here, since the server takes no more.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Lets the end of the connection be a reset, as a cut network or a killed process leaves it.
    pub(super) fn end_with_reset(&self) {
        // Without it the end is an ordinary one.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends the connection without a word; the workload is not told, since it asked for it.
    pub(crate) fn abandon(&mut self) {
        self.phase = Phase::Ended;
    }

    /// The socket takes bytes: goes on with connecting, or with what could not be sent.
    pub(super) fn writable(&mut self, workload: &mut impl Workload) {
        match self.try_write() {
            Ok(true) => workload.opened(self),
            Ok(false) => {}
            Err(ending) => self.end(ending, workload),
        }
    }

    /// Says whether the connection has just become open.
    fn try_write(&mut self) -> Result<bool, Ending> {
        let mut is_opened = false;
        if let Phase::Connecting(target) = &self.phase {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            match self.stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                connected => connected.map(drop)?,
            }
            let target = Rc::clone(target);
            self.stream.set_nodelay(true)?;
            self.outbox.extend_from_slice(&target.request);
            is_opened = target.is_plain();
            self.phase = if is_opened { Phase::Plain } else { Phase::Upgrading(target, Vec::new()) };
        }
        if !self.outbox.is_empty() {
            let sent = write_some(&mut self.stream, &self.outbox)?;
            self.traffic.sent += sent as u64;
            if sent == self.outbox.len() {
                self.outbox = Vec::new();
            } else {
                self.outbox.drain(..sent);
            }
        }
        Ok(is_opened)
    }

    /// The socket has bytes. A short read is the last one, unless the other side has closed.
    pub(super) fn readable(&mut self, buffer: &mut [u8], closed: bool, workload: &mut impl Workload) {
        while !self.has_ended() && !self.stalled {
            let read = match self.stream.read(buffer) {
                Ok(0) => return self.end(Ending::Lost(ErrorKind::UnexpectedEof), workload),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.end(error.into(), workload),
            };
            self.traffic.received += read as u64;
            self.receive(&buffer[..read], Instant::now(), workload);
            if read < buffer.len() && !closed {
                return;
            }
        }
    }

    /// Reads once, at most as much as the buffer takes, also where reading has stopped.
    pub(super) fn sip(&mut self, buffer: &mut [u8], workload: &mut impl Workload) {
        match self.stream.read(buffer) {
            Ok(0) => self.end(Ending::Lost(ErrorKind::UnexpectedEof), workload),
            Ok(read) => {
                self.traffic.received += read as u64;
                self.receive(&buffer[..read], Instant::now(), workload);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.end(error.into(), workload),
        }
    }

    fn receive(&mut self, bytes: &[u8], at: Instant, workload: &mut impl Workload) {
        match mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Upgrading(target, head) => self.receive_head(target, head, bytes, at, workload),
            Phase::Open(reader) => self.receive_frames(reader, bytes, at, workload),
            Phase::Plain => {
                self.phase = Phase::Plain;
                workload.bytes(self, bytes, at);
            }
            Phase::Connecting(_) => {
                self.end(Ending::Refused("bytes before the request".to_owned()), workload)
            }
            Phase::Ended => {}
        }
    }

    fn receive_head(
        &mut self,
        target: Rc<Target>,
        mut head: Vec<u8>,
        bytes: &[u8],
        at: Instant,
        workload: &mut impl Workload,
    ) {
        head.extend_from_slice(bytes);
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
            if head.len() > HEAD_BYTES_MAX {
                return self.end(Ending::Refused("the response head does not end".to_owned()), workload);
            }
            self.phase = Phase::Upgrading(target, head);
            return;
        };
        if let Err(why) = target.check(&head[..end]) {
            return self.end(Ending::Refused(why), workload);
        }
        self.phase = Phase::Open(FrameReader::default());
        workload.opened(self);
        if end < head.len() {
            self.receive(&head[end..], at, workload);
        }
    }

    fn receive_frames(
        &mut self,
        mut reader: FrameReader,
        bytes: &[u8],
        at: Instant,
        workload: &mut impl Workload,
    ) {
        let mut closed = None;
        self.phase = Phase::Open(FrameReader::default());
        let read = reader.feed(bytes, |message| match message {
            // §5.5.1: nothing counts after a Close.
            _ if closed.is_some() => {}
            Message::Close(payload) => closed = Some(close_code(payload)),
            Message::Ping(payload) => self.send(Premasked::new(Opcode::Pong, payload).as_bytes()),
            message => workload.message(self, message, at),
        });
        if self.has_ended() {
            // The workload has ended it while it was told.
        } else if let Err(what) = read {
            self.end(Ending::Violation(what), workload);
        } else if let Some(code) = closed {
            self.answer_close(code);
            self.end(Ending::Closed(code), workload);
        } else {
            self.phase = Phase::Open(reader);
        }
    }

    /// §5.5.1: once, and not where the server's Close is the answer itself.
    fn answer_close(&mut self, code: Option<u16>) {
        if !self.closing {
            let payload = code.map(u16::to_be_bytes);
            let payload = payload.as_ref().map_or(&[][..], |code| &code[..]);
            self.send(Premasked::new(Opcode::Close, payload).as_bytes());
        }
    }

    fn end(&mut self, ending: Ending, workload: &mut impl Workload) {
        self.phase = Phase::Ended;
        workload.ended(self, ending);
    }
}

fn close_code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// Writes until everything is gone or the socket takes no more.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
