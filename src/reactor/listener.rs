//! A listening socket.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

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
    origin: Origin,
    acceptor: Acceptor,
}

/// Where a listening socket comes from, and so who else may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was bound here.
    Bound,
    /// Whoever started the process has passed it, and keeps it.
    Passed,
    /// It was the last process's.
    Inherited,
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
    /// Takes over a socket that listens already, in this process or, at the same time, in another.
    pub(super) fn adopt(
        socket: &std::net::TcpListener,
        listen: Listen,
        origin: Origin,
        limits: &Limits,
    ) -> io::Result<Self> {
        let socket = socket.try_clone()?;
        prepare(&SockRef::from(&socket), limits)?;
        // A process that was about to close it may have made it deaf; where it has not, there is nothing to remove.
        SockRef::from(&socket).detach_filter().unwrap_or_default();
        let socket = Listening::Tcp(TcpListener::from_std(socket));
        Ok(Self { socket, listen, origin, acceptor: Acceptor::default() })
    }

    /// Listens. Where the port is chosen here, [`Listener::listen`] has it; a file is made with the permissions `mode`.
    pub(super) fn bind(mut listen: Listen, mode: u32, limits: &Limits, reuse_port: bool) -> io::Result<Self> {
        let refused = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", listen.address))
        };
        let backlog = i32::try_from(limits.accept_backlog).unwrap_or(i32::MAX);
        let socket = match &listen.address {
            Address::Tcp(addr) => {
                Listening::Tcp(bind_tcp(*addr, backlog, limits, reuse_port).map_err(refused)?)
            }
            Address::Unix(path) => {
                let (listener, file) = unix::bind(path, mode, backlog).map_err(refused)?;
                Listening::Unix(listener, file)
            }
        };
        if let Listening::Tcp(tcp) = &socket {
            listen.address = Address::Tcp(tcp.local_addr()?);
        }
        Ok(Self { socket, listen, origin: Origin::Bound, acceptor: Acceptor::default() })
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

    /// Is announced no more. A poller goes on to announce a socket that is closed here as long as another process has it.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        let deregistered = match &mut self.socket {
            Listening::Tcp(tcp) => registry.deregister(tcp),
            Listening::Unix(unix, _) => registry.deregister(unix),
        };
        deregistered.unwrap_or_default();
    }

    /// Whether who waits at it goes on to wait when it is closed here.
    pub(super) fn is_passed(&self) -> bool {
        self.origin == Origin::Passed
    }

    pub(super) fn mark_ready(&mut self) {
        self.acceptor.mark_ready();
    }

    /// Whether it takes in nobody for a while, after an error.
    pub(super) fn is_pausing(&self) -> bool {
        self.acceptor.is_pausing()
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

    /// The socket, where it is one that another process can take over: a Unix socket is bound to its file.
    pub(super) fn tcp_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Listening::Tcp(tcp) => Some(tcp.as_fd()),
            Listening::Unix(..) => None,
        }
    }

    /// Lets new handshakes go to the other listeners of this port; those that have begun still end here.
    ///
    /// The kernel goes on to choose this socket as long as it is open, and closing it resets who has not been accepted.
    /// So it is made deaf to SYNs first, which are sent again after a second, when it has been closed. That is the
    /// socket's own, whoever else has it: only one that was bound here is made deaf.
    pub(super) fn divert(&self) -> io::Result<()> {
        // Of a TCP header, which is what such a filter is shown, byte 13 has the flags (RFC 9293 §3.1).
        const FLAGS: u32 = 13;
        const SYN: u32 = 0x02;
        let (load_byte, jump_if_set, answer) = (0x30, 0x45, 0x06);
        let Listening::Tcp(tcp) = &self.socket else { return Ok(()) };
        if self.origin != Origin::Bound {
            return Ok(());
        }
        SockRef::from(tcp).attach_filter(&[
            SockFilter::new(load_byte, 0, 0, FLAGS),
            SockFilter::new(jump_if_set, 0, 1, SYN),
            SockFilter::new(answer, 0, 0, 0),
            SockFilter::new(answer, 0, 0, u32::MAX),
        ])
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

fn bind_tcp(addr: SocketAddr, backlog: i32, limits: &Limits, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    prepare(&SockRef::from(&socket), limits)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What a listening socket and those accepted at it have alike.
fn prepare(socket: &SockRef<'_>, limits: &Limits) -> io::Result<()> {
    // Accepted sockets inherit both: one call here instead of one for each of them.
    socket.set_tcp_nodelay(true)?;
    if !limits.unacknowledged_deadline.is_zero() {
        socket.set_tcp_user_timeout(Some(limits.unacknowledged_deadline))?;
    }
    socket.set_nonblocking(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_11_of_part_2_accepted_sockets_give_up_on_what_nobody_acknowledges() {
        let limits = Limits { unacknowledged_deadline: Duration::from_secs(7), ..Limits::default() };
        let address = Address::try_from("127.0.0.1:0").unwrap();
        let listen = Listen::plain(address);
        let mut listener = Listener::bind(listen, 0, &limits, false).unwrap();
        let _client = std::net::TcpStream::connect(listener.listen().address.to_string()).unwrap();
        let Accepted::Stream(Connected::Tcp(stream)) = listener.accept(Instant::now(), Duration::ZERO) else {
            panic!("nobody was accepted")
        };
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert!(socket.tcp_nodelay().unwrap());
    }
}
