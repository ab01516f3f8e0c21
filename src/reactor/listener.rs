//! A listening socket.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::http::response::{Refusal, Response};
use crate::limits::Limits;

/// Where to listen, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub addr: SocketAddr,
    /// Whether its connections speak TLS.
    pub is_tls: bool,
}

/// A listener and whether somebody may be waiting at it.
pub(super) struct Listener {
    socket: TcpListener,
    is_tls: bool,
    /// An edge has announced connections, and no accept has found the end of them.
    ready: bool,
    /// When to try again after an error that passes with time.
    retry_at: Option<Instant>,
}

/// What one accept gave.
pub(super) enum Accepted {
    Stream(TcpStream),
    /// That one is lost; the next may do better.
    Failed,
    /// There is no descriptor for it; it still waits.
    NoDescriptor,
    Nothing,
}

impl Listener {
    /// errno(3): the process, or the system, has as many open files as it may have.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;

    pub(super) fn bind(Listen { addr, is_tls }: Listen, limits: &Limits) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit both: one call here instead of one for each of them.
        socket.set_tcp_nodelay(true)?;
        if !limits.unacknowledged_deadline.is_zero() {
            socket.set_tcp_user_timeout(Some(limits.unacknowledged_deadline))?;
        }
        socket.set_nonblocking(true)?;
        let refused =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"));
        socket.bind(&addr.into()).map_err(refused)?;
        socket.listen(i32::try_from(limits.accept_backlog).unwrap_or(i32::MAX)).map_err(refused)?;
        Ok(Self { socket: TcpListener::from_std(socket.into()), is_tls, ready: true, retry_at: None })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn mark_ready(&mut self) {
        self.ready = true;
    }

    /// Whether accepting is worth a try without another event.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.retry_at.is_none()
    }

    /// How long until the next try after an error.
    pub(super) fn sleep(&self, now: Instant) -> Option<Duration> {
        self.retry_at.map(|at| at.saturating_duration_since(now))
    }

    pub(super) fn accept(&mut self, now: Instant, pause: Duration) -> Accepted {
        if self.retry_at.is_some_and(|at| at > now) || !self.ready {
            return Accepted::Nothing;
        }
        self.retry_at = None;
        match self.socket.accept() {
            Ok((stream, _)) => Accepted::Stream(stream),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.ready = false;
                    Accepted::Nothing
                }
                // Errors of the one connection, which accept(2) passes on; the others are waiting behind it.
                ErrorKind::Interrupted
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::TimedOut => Accepted::Failed,
                // The listener stays ready, and no edge will say so again.
                _ => {
                    self.retry_at = Some(now + pause);
                    match error.raw_os_error() {
                        Some(Self::EMFILE | Self::ENFILE) => Accepted::NoDescriptor,
                        Some(_) | None => Accepted::Failed,
                    }
                }
            },
        }
    }

    /// Tells the one that waits longest that it cannot be served, with a descriptor that has just been freed for it;
    /// says whether that could be done.
    pub(super) fn turn_away(&mut self) -> bool {
        let Ok((mut stream, _)) = self.socket.accept() else { return false };
        self.retry_at = None;
        if !self.is_tls {
            let mut answer = Vec::new();
            Response::from(Refusal::Unavailable("too many open files")).write(&mut answer, false, true);
            // It is a new socket: this much fits. Whoever does not read it has gone.
            stream.write_all(&answer).and_then(|()| stream.shutdown(Shutdown::Write)).unwrap_or_default();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_11_of_part_2_accepted_sockets_give_up_on_what_nobody_acknowledges() {
        let limits = Limits { unacknowledged_deadline: Duration::from_secs(7), ..Limits::default() };
        let listen = Listen { addr: "127.0.0.1:0".parse().unwrap(), is_tls: false };
        let mut listener = Listener::bind(listen, &limits).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Accepted::Stream(stream) = listener.accept(Instant::now(), Duration::ZERO) else {
            panic!("nobody was accepted")
        };
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert!(socket.tcp_nodelay().unwrap());
    }
}
