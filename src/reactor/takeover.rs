//! One process takes the place of another, over a Unix socket that only their user may open.
//!
//! ```text
//! new                                             old
//!  │── HELLO ────────────────────────────────────►│ accepts no more, publishes no more
//!  │◄── HELLO, length, and its listening sockets ─│
//!  │◄── its rooms ────────────────────────────────│
//!  │── TAKEN ────────────────────────────────────►│ decides: lets go of the sockets, and drains
//!  │◄── GO ───────────────────────────────────────│
//! ```
//!
//! The old process alone decides who goes on. Until it has said GO it can take everything back, and does where the new
//! one is late, gone, or says anything else; who comes meanwhile waits in the backlog of the sockets that both have.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net as blocking;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tracing::{info, warn};

use super::Reactor;
use super::accept::{Accepted, Acceptor};
use super::listener::Listener;
use super::token::Source;
use super::unix::{self, SocketFile};
use crate::engine::handler::Handler;
use crate::limits::Limits;

const HELLO: &[u8; 8] = b"fanline\x01";
const TAKEN: &[u8; 6] = b"taken\n";
const GO: &[u8; 3] = b"go\n";

/// The most listening sockets that are passed on.
const SOCKETS_MAX: usize = 64;

/// What a process takes over from the one before it, which waits to be told.
pub struct Inheritance {
    stream: blocking::UnixStream,
    sockets: Vec<Arc<TcpListener>>,
    rooms: Vec<u8>,
}

impl Inheritance {
    /// Asks the process that listens on a Unix socket for all it has; `None` where there is no such process.
    ///
    /// # Errors
    /// Where it does not give it: then it goes on, and this one had better not begin.
    pub fn ask(path: &Path, limits: &Limits) -> io::Result<Option<Self>> {
        let asked = Self::ask_once(path, limits);
        match &asked {
            // One that has just ended, most likely; one that did not want to would say so a second time.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe
                ) =>
            {
                std::thread::sleep(Duration::from_millis(100));
                Self::ask_once(path, limits)
            }
            Ok(_) | Err(_) => asked,
        }
    }

    fn ask_once(path: &Path, limits: &Limits) -> io::Result<Option<Self>> {
        let stream = match blocking::UnixStream::connect(path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            connected => connected?,
        };
        // The other one decides within its deadline; this one has to be there to hear it, so it waits longer.
        let patience = Some(2 * limits.takeover_deadline).filter(|patience| !patience.is_zero());
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        is_of_our_user(stream.as_fd())?;
        Self::receive(stream, limits.takeover_bytes_max).map(Some)
    }

    fn receive(mut stream: blocking::UnixStream, bytes_max: usize) -> io::Result<Self> {
        stream.write_all(HELLO)?;
        let mut head = [0; 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let len = rustix::io::retry_on_intr(|| {
            let pieces = &mut [IoSliceMut::new(&mut head)];
            rustix::net::recvmsg(&stream, pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?
        .bytes;
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let sockets: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            })
            .flatten()
            .collect();
        let (hello, length) = head.split_at(HELLO.len());
        let length = u64::from_be_bytes(length.try_into().map_err(io::Error::other)?);
        if len < head.len() || hello != HELLO || length > bytes_max as u64 {
            return Err(refused("the process before this one does not hand over as this one takes over"));
        }
        let mut rooms = Vec::new();
        (&stream).take(length).read_to_end(&mut rooms)?;
        if rooms.len() as u64 != length {
            return Err(refused("the process before this one has not handed over all its rooms"));
        }
        let sockets = sockets.into_iter().map(|socket| Arc::new(TcpListener::from(socket))).collect();
        Ok(Self { stream, sockets, rooms })
    }

    /// The sockets on which the process before this one listens.
    pub fn sockets(&self) -> &[Arc<TcpListener>] {
        &self.sockets
    }

    /// Says that everything is in place, and waits until the other lets go.
    fn confirm(mut self) -> io::Result<()> {
        self.stream.write_all(TAKEN)?;
        let mut answer = [0; GO.len()];
        let went_on = |_| refused("the process before this one goes on itself");
        self.stream.read_exact(&mut answer).map_err(went_on)?;
        if answer == *GO { Ok(()) } else { Err(refused("the process before this one does not let go")) }
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("takeover: {why}"))
}

/// Whoever can open the socket gets, or gives, everything; a second lock on the same door.
fn is_of_our_user(stream: BorrowedFd<'_>) -> io::Result<()> {
    let (theirs, ours) = (rustix::net::sockopt::socket_peercred(stream)?.uid, rustix::process::geteuid());
    match theirs == ours || theirs.is_root() {
        true => Ok(()),
        false => {
            Err(io::Error::new(ErrorKind::PermissionDenied, "takeover: the other process is another user's"))
        }
    }
}

/// Where the next process asks, and the one that is there.
pub(super) struct Door {
    listener: UnixListener,
    file: SocketFile,
    acceptor: Acceptor,
    guest: Option<Guest>,
}

struct Guest {
    stream: UnixStream,
    since: Instant,
    until: Instant,
    stage: Stage,
}

enum Stage {
    /// It has not said all of HELLO.
    Asking(Vec<u8>),
    /// It is sent the rooms.
    Told { rooms: Vec<u8>, sent: usize },
    /// It has all, and has not said so.
    Taking(Vec<u8>),
}

enum Step {
    Nothing,
    Asked,
    Taken,
}

impl Door {
    /// Processes that may ask at once; one at a time is heard.
    const BACKLOG: i32 = 16;

    /// Listens beside the path, where nobody asks before the file is moved there.
    fn beside(path: &Path, registry: &Registry) -> io::Result<Self> {
        let (mut listener, file) = unix::bind_beside(path, 0o600, Self::BACKLOG)?;
        registry.register(&mut listener, Source::Door.into(), Interest::READABLE)?;
        Ok(Self { listener, file, acceptor: Acceptor::default(), guest: None })
    }

    pub(super) fn mark_ready(&mut self) {
        self.acceptor.mark_ready();
    }

    /// How long until the guest is late, or, without one, until the next may come in.
    pub(super) fn sleep(&self, now: Instant) -> Option<Duration> {
        match &self.guest {
            Some(guest) => Some(guest.until.saturating_duration_since(now)),
            None if self.acceptor.is_ready() => Some(Duration::ZERO),
            None => self.acceptor.sleep(now),
        }
    }

    fn step(&mut self, registry: &Registry, now: Instant, limits: &Limits) -> io::Result<Step> {
        if self.guest.is_none()
            && let Accepted::Stream((mut stream, _)) =
                self.acceptor.accept(now, limits.accept_retry, || self.listener.accept())
        {
            is_of_our_user(stream.as_fd())?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut stream, Source::Guest.into(), interest)?;
            let (until, stage) = (now + limits.takeover_deadline, Stage::Asking(Vec::new()));
            self.guest = Some(Guest { stream, since: now, until, stage });
        }
        match &mut self.guest {
            Some(guest) if guest.until <= now => Err(ErrorKind::TimedOut.into()),
            Some(guest) => guest.step(),
            None => Ok(Step::Nothing),
        }
    }
}

impl Guest {
    fn step(&mut self) -> io::Result<Step> {
        match &mut self.stage {
            Stage::Asking(said) => {
                Ok(if hear(&mut self.stream, said, HELLO)? { Step::Asked } else { Step::Nothing })
            }
            Stage::Told { rooms, sent } => {
                while *sent < rooms.len() {
                    match self.stream.write(&rooms[*sent..]) {
                        Ok(0) => return Err(ErrorKind::WriteZero.into()),
                        Ok(len) => *sent += len,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Step::Nothing),
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                self.stage = Stage::Taking(Vec::new());
                self.step()
            }
            Stage::Taking(said) => {
                Ok(if hear(&mut self.stream, said, TAKEN)? { Step::Taken } else { Step::Nothing })
            }
        }
    }

    /// Sends the listening sockets; the rooms follow as the stream takes them.
    fn tell(&mut self, listeners: &[Listener], rooms: Vec<u8>) -> io::Result<()> {
        let sockets: Vec<BorrowedFd<'_>> = listeners.iter().filter_map(Listener::tcp_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(refused("there are more listening sockets than can be passed"));
        }
        let length = (rooms.len() as u64).to_be_bytes();
        let pieces = [IoSlice::new(HELLO), IoSlice::new(&length)];
        // Nothing has been sent before, so this much fits.
        let sent = rustix::net::sendmsg(&self.stream, &pieces, &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent < HELLO.len() + length.len() {
            return Err(ErrorKind::WriteZero.into());
        }
        self.stage = Stage::Told { rooms, sent: 0 };
        Ok(())
    }
}

/// Hears more of what is to be said; whether that was all.
fn hear(stream: &mut UnixStream, said: &mut Vec<u8>, expected: &[u8]) -> io::Result<bool> {
    let mut buffer = [0; 16];
    while said.len() < expected.len() {
        let left = expected.len() - said.len();
        match stream.read(&mut buffer[..left]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => said.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if said == expected { Ok(true) } else { Err(ErrorKind::InvalidData.into()) }
}

impl<H: Handler> Reactor<H> {
    /// Takes over what was inherited, and lets the next process ask for it.
    ///
    /// # Errors
    /// Where the rooms cannot be used, the process before this one does not let go, or the path cannot be listened on.
    pub fn take_over(&mut self, inheritance: Option<Inheritance>, path: &Path) -> io::Result<()> {
        let named = |error| io::Error::other(format!("takeover: `{}`: {error}", path.display()));
        let mut door = Door::beside(path, self.poll.registry()).map_err(named)?;
        let Some(inheritance) = inheritance else {
            door.file.move_to(path).map_err(named)?;
            self.door = Some(door);
            return Ok(());
        };
        self.engine
            .restore(&inheritance.rooms, Instant::now())
            .map_err(|error| refused(&error.to_string()))?;
        inheritance.confirm()?;
        info!(rooms = self.engine.rooms().len(), "takeover: this process goes on from the one before it");
        // From here on this process serves, or nobody does.
        match door.file.move_to(path) {
            Ok(()) => self.door = Some(door),
            Err(error) => warn!("the next process cannot ask this one: {}", named(error)),
        }
        Ok(())
    }

    /// Goes on with handing over to the next process, if there is one.
    pub(super) fn attend(&mut self, now: Instant) {
        while let Some(door) = &mut self.door {
            let done = match door.step(self.poll.registry(), now, &self.limits) {
                Ok(Step::Nothing) => return,
                Ok(Step::Asked) if !self.has_emptied_inbox() => return,
                Ok(Step::Asked) => self.tell_guest(),
                Ok(Step::Taken) => self.let_go(now),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                warn!("takeover: this process goes on: {error}");
                if let Some(door) = &mut self.door {
                    door.guest = None;
                }
                self.thaw();
                self.listeners.iter_mut().for_each(Listener::mark_ready);
            }
        }
    }

    /// What other threads have published belongs to the rooms; where a room is behind, the next turn tries again.
    fn has_emptied_inbox(&mut self) -> bool {
        self.inbox.freeze();
        self.inbox.drain(&mut self.engine);
        !self.inbox.has_waiting()
    }

    /// Goes on, since no other process does.
    pub(super) fn thaw(&mut self) {
        self.engine.thaw();
        self.inbox.thaw();
    }

    fn tell_guest(&mut self) -> io::Result<()> {
        let rooms = self.engine.freeze().map_err(io::Error::other)?;
        match self.door.as_mut().and_then(|door| door.guest.as_mut()) {
            Some(guest) => guest.tell(&self.listeners, rooms),
            None => Ok(()),
        }
    }

    /// The point of no return: once GO is on its way, the next process serves.
    fn let_go(&mut self, now: Instant) -> io::Result<()> {
        if let Some(guest) = self.door.as_mut().and_then(|door| door.guest.as_mut()) {
            guest.stream.write_all(GO)?;
            let (rooms, held) = (self.engine.rooms().len(), now.saturating_duration_since(guest.since));
            info!("takeover: the next process goes on; rooms: {rooms}, held for {held:?}");
        }
        // The path is the next process's now, and so are those who wait at the sockets.
        if let Some(door) = self.door.take() {
            door.file.leave();
        }
        self.inbox.give_up();
        self.let_listeners_go();
        self.engine.hand_over(now);
        Ok(())
    }
}
