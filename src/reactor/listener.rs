//! A listening socket.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::address::{Address, Listen};
use super::socket::Socket as Connected;
use super::unix::{self, SocketFile};
use crate::http::response::{Refusal, Response};
use crate::limits::Limits;

/// A listener and whether somebody may be waiting at it.
pub(super) struct Listener {
    socket: Listening,
    listen: Listen,
    /// An edge has announced connections, and no accept has found the end of them.
    ready: bool,
    /// When to try again after an error that passes with time.
    retry_at: Option<Instant>,
}

/// A socket that listens.
enum Listening {
    Tcp(TcpListener),
    /// With the file that goes when it does.
    Unix(UnixListener, #[expect(dead_code, reason = "it is held to be dropped")] SocketFile),
}

impl Listening {
    fn accept(&self) -> io::Result<Connected> {
        match self {
            Listening::Tcp(tcp) => tcp.accept().map(|(stream, _)| Connected::Tcp(stream)),
            Listening::Unix(unix, _) => unix.accept().map(|(stream, _)| Connected::Unix(stream)),
        }
    }
}

/// What one accept gave.
pub(super) enum Accepted {
    Stream(Connected),
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

    /// Listens. Where the port is chosen here, [`Listener::listen`] has it; a file is made with the permissions `mode`.
    pub(super) fn bind(mut listen: Listen, mode: u32, limits: &Limits) -> io::Result<Self> {
        let refused = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", listen.address))
        };
        let backlog = i32::try_from(limits.accept_backlog).unwrap_or(i32::MAX);
        let socket = match &listen.address {
            Address::Tcp(addr) => Listening::Tcp(bind_tcp(*addr, backlog, limits).map_err(refused)?),
            Address::Unix(path) => {
                let (listener, file) = unix::bind(path, mode, backlog).map_err(refused)?;
                Listening::Unix(listener, file)
            }
        };
        if let Listening::Tcp(tcp) = &socket {
            listen.address = Address::Tcp(tcp.local_addr()?);
        }
        Ok(Self { socket, listen, ready: true, retry_at: None })
    }

    /// Where it listens, and for what.
    pub(super) fn listen(&self) -> &Listen {
        &self.listen
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Listening::Tcp(tcp) => registry.register(tcp, token, Interest::READABLE),
            Listening::Unix(unix, _) => registry.register(unix, token, Interest::READABLE),
        }
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
            Ok(stream) => Accepted::Stream(stream),
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
        let Ok(mut stream) = self.socket.accept() else { return false };
        self.retry_at = None;
        if !self.listen.is_tls {
            let mut answer = Vec::new();
            Response::from(Refusal::Unavailable("too many open files")).write(&mut answer, false, true);
            // It is a new socket: this much fits. Whoever does not read it has gone.
            stream.write_all(&answer).and_then(|()| stream.shutdown_write()).unwrap_or_default();
        }
        true
    }
}

fn bind_tcp(addr: SocketAddr, backlog: i32, limits: &Limits) -> io::Result<TcpListener> {
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
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_11_of_part_2_accepted_sockets_give_up_on_what_nobody_acknowledges() {
        let limits = Limits { unacknowledged_deadline: Duration::from_secs(7), ..Limits::default() };
        let address = Address::try_from("127.0.0.1:0").unwrap();
        let listen = Listen { address, is_tls: false, is_proxied: false };
        let mut listener = Listener::bind(listen, 0, &limits).unwrap();
        let _client = std::net::TcpStream::connect(listener.listen().address.to_string()).unwrap();
        let Accepted::Stream(Connected::Tcp(stream)) = listener.accept(Instant::now(), Duration::ZERO) else {
            panic!("nobody was accepted")
        };
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert!(socket.tcp_nodelay().unwrap());
    }
}
