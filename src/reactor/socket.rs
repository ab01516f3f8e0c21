//! A socket as the engine's transport: TCP or Unix, perhaps with TLS over it, perhaps behind a PROXY header.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::proxied::Proxied;
use super::recorded::Recorded;
use super::tls::TlsStream;
use crate::engine::Transport;
use crate::proxy::forwarded::Announced;
use crate::proxy::networks::Hop;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Of a peer with an address.
    Tcp(TcpStream),
    /// Of a process on this machine.
    Unix(UnixStream),
}

impl Socket {
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Socket::Unix(unix) => unix.shutdown(Shutdown::Write),
        }
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(tcp) => tcp.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    pub(super) fn hop(&self) -> Hop {
        match self {
            Socket::Tcp(_) => self.peer_addr().into(),
            Socket::Unix(_) => Hop::Unix,
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(tcp) => tcp,
            Socket::Unix(unix) => unix,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(tcp) => tcp.read(buffer),
            Socket::Unix(unix) => unix.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(tcp) => tcp.write(bytes),
            Socket::Unix(unix) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(tcp) => tcp.flush(),
            Socket::Unix(unix) => unix.flush(),
        }
    }
}

/// What connects the server to a peer.
pub enum Stream {
    /// As it is.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream>),
    /// Either of them, once a PROXY header has come.
    Proxied(Box<Proxied>),
    /// Any of them, and what it gives and takes is recorded.
    Recorded(Box<Recorded>),
}

impl Stream {
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.socket(),
            Stream::Proxied(proxied) => proxied.stream().socket(),
            Stream::Recorded(recorded) => recorded.stream().socket(),
        }
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.socket_mut(),
            Stream::Proxied(proxied) => proxied.stream_mut().socket_mut(),
            Stream::Recorded(recorded) => recorded.stream_mut().socket_mut(),
        }
    }
}

impl Transport for Stream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.shutdown_write(),
            Stream::Tls(tls) => tls.shutdown_write(),
            Stream::Proxied(proxied) => proxied.stream_mut().shutdown_write(),
            Stream::Recorded(recorded) => recorded.shutdown_write(),
        }
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Recorded(recorded) => recorded.peer_addr(),
            _ => self.socket().peer_addr(),
        }
    }

    fn hop(&self) -> Hop {
        match self {
            Stream::Recorded(recorded) => recorded.hop(),
            _ => self.socket().hop(),
        }
    }

    fn announced(&self) -> Announced {
        match self {
            Stream::Plain(_) | Stream::Tls(_) => Announced::Nothing,
            Stream::Proxied(proxied) => proxied.announced(),
            Stream::Recorded(recorded) => recorded.announced(),
        }
    }

    fn held(&self) -> usize {
        match self {
            Stream::Plain(_) => 0,
            Stream::Tls(tls) => tls.held(),
            Stream::Proxied(proxied) => proxied.held(),
            Stream::Recorded(recorded) => recorded.held(),
        }
    }

    fn resume(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.resume(),
            Stream::Proxied(proxied) => proxied.stream_mut().resume(),
            Stream::Recorded(recorded) => recorded.resume(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
            Stream::Proxied(proxied) => proxied.read(buffer),
            Stream::Recorded(recorded) => recorded.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
            Stream::Proxied(proxied) => proxied.stream_mut().write(bytes),
            Stream::Recorded(recorded) => recorded.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(tls) => tls.flush(),
            Stream::Proxied(proxied) => proxied.stream_mut().flush(),
            Stream::Recorded(recorded) => recorded.stream_mut().flush(),
        }
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket_mut().source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket_mut().source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket_mut().source().deregister(registry)
    }
}
