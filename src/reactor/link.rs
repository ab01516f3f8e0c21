//! The sockets of the backplane: connected without blocking, read into the state machine, written from it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs as _;
use std::time::Instant;

use mio::event::{Event, Source as _};
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Registry, Token};
use tracing::{info, warn};

use super::Reactor;
use super::socket::{Socket, Stream};
use super::token::Source;
use super::trust::Client;
use crate::backplane::url::{Place, Server};
use crate::backplane::{Line, Sharing, Target};
use crate::engine::Transport as _;
use crate::engine::handler::Handler;

struct Connection {
    stream: Stream,
    is_connected: bool,
    is_readable: bool,
    is_writable: bool,
}

/// Drives the lines of a backplane.
pub(super) struct Link {
    /// For servers that speak TLS.
    tls: Option<Client>,
    /// By the numbers of their lines.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    /// What the operator was told since all was well.
    said: Vec<String>,
}

/// Finds out where servers are. Names are resolved here, once and before anybody is served, since that blocks: where a
/// name comes to stand for other addresses, it takes a restart.
///
/// # Errors
/// Where none of the names can be resolved.
fn resolve(places: &[Place]) -> io::Result<Vec<Server>> {
    let (mut servers, mut failed) = (Vec::new(), None);
    for place in places {
        let Place::Tcp(host, port) = place else {
            servers.push(Server::named(place.clone()));
            continue;
        };
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(addrs) => servers.extend(addrs.map(|addr| Server { place: place.clone(), addr: Some(addr) })),
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("backplane: `{host}`: {error}"));
                if let Some(error) = failed.replace(error) {
                    warn!("{error}");
                }
            }
        }
    }
    match failed {
        Some(error) if servers.is_empty() => Err(error),
        Some(error) => {
            warn!("{error}");
            Ok(servers)
        }
        None => Ok(servers),
    }
}

impl Link {
    /// Bytes read from a line in one turn; the connections of this node wait meanwhile.
    const READ_BUDGET: usize = 1 << 20;

    /// Remarks that are not repeated while something is wrong.
    const SAID: usize = 64;

    fn new(tls: Option<Client>) -> Self {
        Self { tls, connections: Vec::new(), buffer: vec![0; 64 << 10], said: Vec::new() }
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
                match self.connect(line, backplane.server(line), registry) {
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

    fn connect(
        &mut self,
        line: Line,
        server: Option<&Server>,
        registry: &Registry,
    ) -> io::Result<Connection> {
        let unknown = || io::Error::new(ErrorKind::AddrNotAvailable, "its name has no address");
        let server = server.ok_or_else(unknown)?;
        let socket = match &server.place {
            Place::Tcp(..) => Socket::Tcp(TcpStream::connect(server.addr.ok_or_else(unknown)?)?),
            Place::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        let mut stream = match &self.tls {
            Some(tls) => tls.wrap(socket, &server.place)?,
            None => Stream::Plain(socket),
        };
        let token: Token = Source::Link(line).into();
        stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, is_connected: false, is_readable: false, is_writable: false })
    }

    /// Tells the operator, and nothing twice while it is the same trouble.
    fn remark(&mut self, backplane: &mut Sharing) {
        let Some(remark) = backplane.take_remark() else { return };
        let is_well = remark.ends_with(": connected");
        if self.said.last() == Some(&remark) || (!is_well && self.said.contains(&remark)) {
            return;
        }
        match is_well {
            true => info!("{remark}"),
            false => warn!("{remark}"),
        }
        if is_well || self.said.len() >= Self::SAID {
            self.said.clear();
        }
        self.said.push(remark);
    }
}

impl<H: Handler> Reactor<H> {
    /// Shares the rooms with other nodes through this backplane.
    ///
    /// # Errors
    /// Where its names cannot be resolved, or it could not be known by its certificate.
    pub fn share(&mut self, target: Target) -> io::Result<()> {
        if let Some(why) = target.contradiction() {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("the backplane: {why}")));
        }
        self.link = Some(Link::new(target.url.trust.as_ref().map(Client::new).transpose()?));
        let seeds = resolve(&target.url.places)?;
        let mut sharing = Sharing::new(target, &self.limits, Link::random());
        sharing.set_seeds(seeds);
        self.engine.share(sharing);
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

impl<H: Handler> Reactor<H> {
    /// Tells others that this node leaves, as long as they take it in time.
    pub(super) fn leave(&mut self, events: &mut Events) {
        let until = Instant::now() + self.limits.backplane_reply_deadline;
        if let Some((backplane, now_ms)) = self.engine.backplane(Instant::now()) {
            backplane.leave(now_ms);
        }
        loop {
            let now = Instant::now();
            self.tell_others(now);
            let Some((backplane, _)) = self.engine.backplane(now) else { return };
            let is_said = backplane.lines().all(|line| backplane.output(line).is_empty());
            if is_said || now >= until || self.poll.poll(events, Some(until - now)).is_err() {
                return;
            }
            if let Some(link) = &mut self.link {
                let ready = events.iter().filter_map(|event| match Source::from(event.token()) {
                    Source::Link(line) => Some((line, event)),
                    _ => None,
                });
                ready.for_each(|(line, event)| link.mark(line, event));
            }
        }
    }
}

impl Connection {
    /// Whether the connection has come about.
    fn finish(&mut self) -> io::Result<bool> {
        if !self.is_writable {
            return Ok(false);
        }
        let (error, peer) = match self.stream.socket() {
            Socket::Tcp(tcp) => (tcp.take_error()?, tcp.peer_addr().map(drop)),
            Socket::Unix(unix) => (unix.take_error()?, unix.peer_addr().map(drop)),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => {
                if let Socket::Tcp(tcp) = self.stream.socket() {
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
        match connection.stream.read(buffer) {
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
    // What a session has encrypted before goes first, and its greeting before there is anything else.
    connection.stream.resume()?;
    let mut written = 0;
    while connection.is_writable && written < output.len() {
        match connection.stream.write(&output[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.is_writable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.drain(..written);
    Ok(())
}
