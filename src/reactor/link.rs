//! The sockets of the backplane: connected without blocking, read into the state machine, written from it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Instant;

use mio::event::{Event, Source as _};
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::Reactor;
use super::token::Source;
use crate::backplane::url::Place;
use crate::backplane::{Line, Sharing, Target};
use crate::engine::handler::Handler;

/// Where Redis is, as the kernel knows it.
enum Way {
    /// A host may have several addresses; they are tried in turn.
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Connection {
    stream: Stream,
    is_connected: bool,
    is_readable: bool,
    is_writable: bool,
}

/// Drives the lines of a backplane.
pub(super) struct Link {
    way: Way,
    tried: usize,
    /// By the numbers of their lines.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    /// What the operator was told last.
    said: String,
}

impl Link {
    /// Bytes read from a line in one turn; the connections of this node wait meanwhile.
    const READ_BUDGET: usize = 1 << 20;

    /// Finds out where Redis is. A name is resolved here, once and before anybody is served, since that blocks: where a
    /// name comes to stand for other addresses, it takes a restart.
    ///
    /// # Errors
    /// Where the name cannot be resolved.
    fn new(target: &Target) -> io::Result<Self> {
        let way = match &target.url.place {
            Place::Tcp(host, port) => {
                let addrs: Vec<SocketAddr> = (host.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(|error| io::Error::new(error.kind(), format!("backplane: `{host}`: {error}")))?
                    .collect();
                Way::Tcp(addrs)
            }
            Place::Unix(path) => Way::Unix(path.into()),
        };
        let buffer = vec![0; 64 << 10];
        Ok(Self { way, tried: 0, connections: Vec::new(), buffer, said: String::new() })
    }

    /// A number that no other node has.
    fn random() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// Marks what the poller says of a line.
    pub(super) fn mark(&mut self, line: Line, event: &Event) {
        if let Some(Some(connection)) = self.connections.get_mut(line.number()) {
            let is_over = event.is_read_closed() || event.is_write_closed() || event.is_error();
            connection.is_readable |= event.is_readable() || is_over;
            connection.is_writable |= event.is_writable() || is_over;
        }
    }

    /// Whether there is something to read that no event will announce again.
    pub(super) fn has_work(&self) -> bool {
        self.connections.iter().flatten().any(|connection| connection.is_connected && connection.is_readable)
    }

    /// Connects what is to be connected and, unless the rooms are behind, reads what has come.
    fn drive(&mut self, registry: &Registry, (backplane, now_ms): (&mut Sharing, u64), may_read: bool) {
        for line in backplane.lines() {
            let number = line.number();
            if self.connections.len() <= number {
                self.connections.resize_with(number + 1, || None);
            }
            if backplane.is_down(line) {
                self.connections[number] = None;
            }
            if backplane.wants(line, now_ms) {
                backplane.connecting(line, now_ms);
                match self.connect(line, registry) {
                    Ok(connection) => self.connections[number] = Some(connection),
                    Err(error) => backplane.lost(line, &error.to_string(), now_ms),
                }
            }
            let Some(connection) = &mut self.connections[number] else { continue };
            let outcome = match connection.is_connected {
                false => connection.finish().map(|is_connected| {
                    if is_connected {
                        backplane.connected(line, now_ms);
                    }
                }),
                true if may_read => read(connection, &mut self.buffer, |bytes| {
                    backplane.receive(line, bytes, now_ms);
                    !backplane.is_down(line)
                }),
                true => Ok(()),
            };
            if let Err(error) = outcome {
                backplane.lost(line, &error.to_string(), now_ms);
            }
        }
        self.remark(backplane);
    }

    /// Writes what there is to say.
    fn flush(&mut self, (backplane, now_ms): (&mut Sharing, u64)) {
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let Some(connection) = connection else { continue };
            let line = Line::numbered(number);
            if connection.is_connected
                && let Err(error) = write(connection, backplane.output(line))
            {
                backplane.lost(line, &error.to_string(), now_ms);
            }
        }
    }

    fn connect(&mut self, line: Line, registry: &Registry) -> io::Result<Connection> {
        let mut stream = match &self.way {
            Way::Tcp(addrs) => {
                let nothing = || io::Error::new(ErrorKind::AddrNotAvailable, "its name has no address");
                let addr = addrs.get(self.tried % addrs.len().max(1)).ok_or_else(nothing)?;
                self.tried = self.tried.wrapping_add(1);
                Stream::Tcp(TcpStream::connect(*addr)?)
            }
            Way::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        let token: Token = Source::Link(line).into();
        let interest = Interest::READABLE | Interest::WRITABLE;
        match &mut stream {
            Stream::Tcp(tcp) => tcp.register(registry, token, interest)?,
            Stream::Unix(unix) => unix.register(registry, token, interest)?,
        }
        Ok(Connection { stream, is_connected: false, is_readable: false, is_writable: false })
    }

    /// Tells the operator, and nothing twice in a row.
    fn remark(&mut self, backplane: &mut Sharing) {
        if let Some(remark) = backplane.take_remark()
            && remark != self.said
        {
            super::say(format_args!("{remark}"));
            self.said = remark;
        }
    }
}

impl<H: Handler> Reactor<H> {
    /// Shares the rooms with other nodes through this backplane.
    ///
    /// # Errors
    /// Where its name cannot be resolved.
    pub fn share(&mut self, target: Target) -> io::Result<()> {
        self.link = Some(Link::new(&target)?);
        self.engine.share(Sharing::new(target, &self.limits, Link::random()));
        Ok(())
    }

    pub(super) fn listen_to_others(&mut self, now: Instant) {
        let may_read = !self.engine.is_behind();
        if let (Some(link), Some(backplane)) = (&mut self.link, self.engine.backplane(now)) {
            link.drive(self.poll.registry(), backplane, may_read);
        }
    }

    pub(super) fn tell_others(&mut self, now: Instant) {
        if let (Some(link), Some(backplane)) = (&mut self.link, self.engine.backplane(now)) {
            link.flush(backplane);
        }
    }
}

impl Connection {
    /// Whether the connection has come about.
    fn finish(&mut self) -> io::Result<bool> {
        if !self.is_writable {
            return Ok(false);
        }
        let (error, peer) = match &self.stream {
            Stream::Tcp(tcp) => (tcp.take_error()?, tcp.peer_addr().map(drop)),
            Stream::Unix(unix) => (unix.take_error()?, unix.peer_addr().map(drop)),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => {
                if let Stream::Tcp(tcp) = &self.stream {
                    tcp.set_nodelay(true)?;
                }
                self.is_connected = true;
                Ok(true)
            }
            (None, Err(error)) if error.kind() == ErrorKind::NotConnected => {
                self.is_writable = false;
                Ok(false)
            }
            (None, Err(error)) => Err(error),
        }
    }
}

/// Hands over what has come, until there is no more, or it is enough for a turn, or nobody wants it any longer.
fn read(
    connection: &mut Connection,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut total = 0;
    while connection.is_readable && total < Link::READ_BUDGET {
        let got = match &mut connection.stream {
            Stream::Tcp(tcp) => tcp.read(buffer),
            Stream::Unix(unix) => unix.read(buffer),
        };
        match got {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it has ended the connection")),
            Ok(len) => {
                total += len;
                if !take(&buffer[..len]) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.is_readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write(connection: &mut Connection, output: &mut Vec<u8>) -> io::Result<()> {
    let mut written = 0;
    while connection.is_writable && written < output.len() {
        let sent = match &mut connection.stream {
            Stream::Tcp(tcp) => tcp.write(&output[written..]),
            Stream::Unix(unix) => unix.write(&output[written..]),
        };
        match sent {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.is_writable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.drain(..written);
    Ok(())
}
