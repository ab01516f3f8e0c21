//! A TCP socket as the engine's transport.

use std::io;
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

use crate::engine::Transport;

impl Transport for TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        TcpStream::peer_addr(self).ok()
    }
}
