//! A listening socket.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::accept::{Accepted, Acceptor};
use super::address::{Address, Listen};
use super::socket::Socket as Connected;
use super::unix::{self, SocketFile};
use crate::http::response::{Refusal, Response};
use crate::limits::Limits;

/// A listener and whether somebody may be waiting at it.
pub(super) struct Listener {
    socket: Listening,
    listen: Listen,
    acceptor: Acceptor,
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

impl Listener {
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
        Ok(Self { socket, listen, acceptor: Acceptor::default() })
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
        self.acceptor.mark_ready();
    }

    /// Whether accepting is worth a try without another event.
    pub(super) fn is_ready(&self) -> bool {
        self.acceptor.is_ready()
    }

    /// How long until the next try after an error.
    pub(super) fn sleep(&self, now: Instant) -> Option<Duration> {
        self.acceptor.sleep(now)
    }

    pub(super) fn accept(&mut self, now: Instant, pause: Duration) -> Accepted<Connected> {
        self.acceptor.accept(now, pause, || self.socket.accept())
    }

    /// Tells the one that waits longest that it cannot be served, with a descriptor that has just been freed for it;
    /// says whether that could be done.
    pub(super) fn turn_away(&mut self) -> bool {
        let Some(mut stream) = self.acceptor.turn_away(|| self.socket.accept()) else { return false };
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
