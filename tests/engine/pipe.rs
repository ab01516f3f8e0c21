//! A transport in memory, and the peer at its other end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use fanline::engine::Transport;
use fanline::proxy::forwarded::Announced;

/// What lies between the engine and a peer.
#[derive(Debug, Default)]
pub struct Pipe {
    /// Bytes the engine has yet to read.
    pub to_engine: VecDeque<u8>,
    /// Whether the peer has closed its side.
    pub ended: bool,
    /// Bytes the peer has received.
    pub to_peer: Vec<u8>,
    /// How many more bytes the engine may write before it would block.
    pub window: usize,
    /// How many bytes one read gives at the most.
    pub read_max: usize,
    /// How many bytes more it takes and keeps itself when the window is shut, as an encrypting transport does.
    pub swallows: usize,
    /// Those bytes.
    pub kept: Vec<u8>,
    /// Whether the engine has shut down its side.
    pub shut: bool,
    /// Whether the engine has let go of the transport.
    pub dropped: bool,
    /// How many writes there were.
    pub writes: usize,
    /// Where the peer connects from, if it is not the address that most have.
    pub from: Option<IpAddr>,
    /// What its proxy says of it.
    pub announced: Announced,
}

/// The engine's end.
pub struct EngineEnd(pub Rc<RefCell<Pipe>>);

impl Drop for EngineEnd {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

impl Read for EngineEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let len = buffer.len().min(pipe.to_engine.len()).min(pipe.read_max);
        if len == 0 {
            return if pipe.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        for (to, from) in buffer.iter_mut().zip(pipe.to_engine.drain(..len)) {
            *to = from;
        }
        Ok(len)
    }
}

impl Write for EngineEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        assert!(!pipe.shut, "a write after the end of the outgoing side");
        if pipe.window == 0 || !pipe.kept.is_empty() {
            let len = bytes.len().min(pipe.swallows.saturating_sub(pipe.kept.len()));
            if len == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            pipe.kept.extend_from_slice(&bytes[..len]);
            return Ok(len);
        }
        let len = bytes.len().min(pipe.window);
        if len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        pipe.window -= len;
        pipe.writes += 1;
        pipe.to_peer.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for EngineEnd {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shut = true;
        Ok(())
    }

    fn held(&self) -> usize {
        self.0.borrow().kept.len()
    }

    fn resume(&mut self) -> io::Result<()> {
        let mut pipe = self.0.borrow_mut();
        let len = pipe.kept.len().min(pipe.window);
        pipe.window -= len;
        let kept: Vec<u8> = pipe.kept.drain(..len).collect();
        pipe.to_peer.extend(kept);
        Ok(())
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some((self.0.borrow().from.unwrap_or([192, 0, 2, 1].into()), 1234).into())
    }

    fn announced(&self) -> Announced {
        self.0.borrow().announced
    }
}
