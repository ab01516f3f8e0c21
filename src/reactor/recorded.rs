//! What the reactor tells the engine, and what its streams give and take, noted in a recording where there is one.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Event;
use tracing::warn;

use super::Reactor;
use super::socket::Stream;
use crate::engine::Transport;
use crate::engine::handler::Handler;
use crate::id::ConnId;
use crate::proxy::forwarded::Announced;
use crate::proxy::networks::Hop;
use crate::record::{Call, Entry, Failure, Hidden, Input, Sum, Tape};

/// A stream whose calls are noted.
pub struct Recorded {
    stream: Stream,
    tape: Tape,
    conn: u64,
    /// The socket forgets these when its peer has gone.
    addr: Option<SocketAddr>,
    hop: Hop,
    /// What was noted last.
    announced: Cell<Announced>,
    held: Cell<usize>,
    /// Where what is said is not to be in the recording.
    hidden: Option<Box<Hidden>>,
    sent: Sum,
}

impl Recorded {
    fn new(stream: Stream, tape: Tape) -> Self {
        let (addr, hop, announced) = (stream.peer_addr(), stream.hop(), stream.announced());
        tape.input(Input::Connect(addr, hop, announced));
        let hidden = (!tape.has_bodies()).then(|| Box::new(Hidden::new(tape.filler().clone())));
        let (conn, sent) = (tape.next_conn(), Sum::new(tape.has_bodies()));
        let (announced, held) = (Cell::new(announced), Cell::new(0));
        Self { stream, tape, conn, addr, hop, announced, held, hidden, sent }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn note(&self, call: Call<'_>) {
        self.tape.note(&Entry::Call(self.conn, call));
    }

    fn note_read(&mut self, bytes: &[u8]) {
        match &mut self.hidden {
            None => self.note(Call::Read(bytes.into())),
            Some(hidden) => {
                let mut bytes = bytes.to_vec();
                hidden.replace(&mut bytes);
                self.note(Call::Read(bytes.into()));
            }
        }
    }
}

impl Transport for Recorded {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let done = self.stream.shutdown_write();
        self.note(Call::Shut(done.is_ok()));
        done
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    fn held(&self) -> usize {
        let held = self.stream.held();
        if self.held.replace(held) != held {
            self.note(Call::Held(held as u64));
        }
        held
    }

    fn hop(&self) -> Hop {
        self.hop
    }

    fn announced(&self) -> Announced {
        let announced = self.stream.announced();
        if self.announced.replace(announced) != announced {
            self.note(Call::Announced(announced));
        }
        announced
    }

    fn resume(&mut self) -> io::Result<()> {
        let done = self.stream.resume();
        if done.is_err() {
            self.note(Call::NotResumed);
        }
        done
    }
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        if self.tape.is_on() {
            match &read {
                Ok(len) => self.note_read(&buffer[..*len]),
                Err(error) => self.note(Call::NotRead(failure(error))),
            }
        }
        read
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes);
        if self.tape.is_on() {
            let offered = bytes.len() as u64;
            match &written {
                Ok(len) => {
                    if let Some(hidden) = &mut self.hidden {
                        hidden.answered(bytes);
                    }
                    self.sent.add(&bytes[..*len]);
                    self.note(Call::Write(offered, *len as u64, self.sent.value()));
                }
                Err(error) => self.note(Call::NotWritten(offered, failure(error))),
            }
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.note(Call::Gone);
    }
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock => Failure::WouldBlock,
        ErrorKind::Interrupted => Failure::Interrupted,
        _ => Failure::Broken,
    }
}

/// A point in time to count from, for whoever lets time pass by itself.
pub fn any_instant() -> Instant {
    Instant::now()
}

impl<H: Handler> Reactor<H> {
    pub(super) fn note(&self, input: Input) {
        if let Some(tape) = &self.tape {
            tape.input(input);
        }
    }

    pub(super) fn note_wake(&self, now: Instant) {
        let Some(tape) = &self.tape else { return };
        tape.wake(now);
        if self.inbox.has_waiting() {
            tape.end("another thread asks for something, which is not recorded");
        }
    }

    /// Tells the engine what the poller says of a connection.
    pub(super) fn tell_ready(&mut self, id: ConnId, event: &Event) {
        let hung_up = event.is_read_closed() || event.is_error();
        let (readable, writable) = (event.is_readable(), event.is_writable());
        if let Some(tape) = &self.tape {
            let bits = u8::from(readable) | u8::from(writable) << 1 | u8::from(hung_up) << 2;
            tape.input(Input::Ready(id.to_bits(), bits));
        }
        self.engine.ready(id, readable, writable, hung_up);
    }

    /// The stream, recorded where there is a recording that goes on.
    pub(super) fn recorded(&self, stream: Stream) -> Stream {
        match self.tape.as_ref().filter(|tape| tape.is_on()) {
            Some(tape) => Stream::Recorded(Box::new(Recorded::new(stream, tape.clone()))),
            None => stream,
        }
    }

    /// Hands over what was noted in this turn.
    pub(super) fn keep_recording(&self) {
        if let Some(why) = self.tape.as_ref().and_then(Tape::end_turn) {
            warn!("the recording ends, and the server goes on: {why}");
        }
    }

    /// Ends the recording with the server.
    pub(super) fn end_recording(&self) {
        if let Some(why) = self.tape.as_ref().and_then(Tape::finish) {
            warn!("the recording is not whole: {why}");
        }
    }
}
