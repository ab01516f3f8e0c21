//! A TCP connection with one hard deadline and a buffer of what was read ahead.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Broken;

/// The pause between two pieces, long enough for a server nearby to read the first alone.
const BETWEEN_PIECES: Duration = Duration::from_micros(400);

const READ_AT_ONCE: usize = 64 * 1024;

/// How bytes are cut into TCP segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// In one write.
    Whole,
    /// A byte per write.
    Bytewise,
    /// In two writes, cut at this offset.
    Cut(usize),
    /// In writes of this many bytes.
    Chunks(usize),
}

impl Feed {
    fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Feed::Whole => vec![bytes],
            Feed::Bytewise => bytes.chunks(1).collect(),
            Feed::Cut(offset) => {
                let (before, after) = bytes.split_at(offset.min(bytes.len()));
                vec![before, after]
            }
            Feed::Chunks(size) => bytes.chunks(size).collect(),
        }
    }
}

/// A connection to the server under test.
pub(crate) struct Wire {
    stream: TcpStream,
    deadline: Instant,
    unread: Vec<u8>,
    ended: bool,
}

impl Wire {
    /// Connects; everything on this connection happens before `deadline`.
    pub(crate) fn connect(address: SocketAddr, deadline: Instant) -> Result<Wire, Broken> {
        let connected = TcpStream::connect_timeout(&address, remaining(deadline));
        let stream = connected.map_err(|error| Broken(format!("cannot connect: {error}")))?;
        stream.set_nodelay(true).map_err(|error| Broken(format!("no TCP_NODELAY: {error}")))?;
        Ok(Wire { stream, deadline, unread: Vec::new(), ended: false })
    }

    /// Brings the deadline nearer, or moves it out again for the next stage.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// When this connection gives up.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Writes bytes, cut as `feed` says.
    ///
    /// A peer that has closed is no error here: what it said before is still to be read.
    pub(crate) fn send(&mut self, bytes: &[u8], feed: Feed) -> Result<(), Broken> {
        for (index, piece) in feed.pieces(bytes).into_iter().enumerate() {
            if index > 0 {
                thread::sleep(BETWEEN_PIECES);
            }
            if !self.send_piece(piece)? {
                break;
            }
        }
        Ok(())
    }

    fn send_piece(&mut self, piece: &[u8]) -> Result<bool, Broken> {
        let timed = self.stream.set_write_timeout(Some(remaining(self.deadline)));
        match timed.and_then(|()| self.stream.write_all(piece)) {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Broken::new("the server reads no more")),
                _ => Ok(false),
            },
        }
    }

    /// Writes bytes on a thread of its own, so that the caller can read meanwhile; a peer that reads
    /// no more ends the thread at the deadline.
    pub(crate) fn send_aside(&self, bytes: Vec<u8>, feed: Feed) -> Result<(), Broken> {
        let cloned = self.stream.try_clone().map_err(|error| Broken(format!("no second handle: {error}")));
        let mut wire = Wire { stream: cloned?, deadline: self.deadline, unread: Vec::new(), ended: false };
        // What the writer meets, the reader sees too.
        thread::spawn(move || wire.send(&bytes, feed));
        Ok(())
    }

    /// Ends our direction with a FIN.
    pub(crate) fn finish_sending(&mut self) {
        // It fails only when the peer is gone, which the next read tells.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// What has been read and not been taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes `count` bytes off the front.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        self.unread.drain(..count).collect()
    }

    /// Waits for more bytes; `false` is the end of the stream, by FIN or by reset.
    pub(crate) fn fill(&mut self, awaited: &str) -> Result<bool, Broken> {
        if self.ended {
            return Ok(false);
        }
        let mut chunk = [0; READ_AT_ONCE];
        let timed = self.stream.set_read_timeout(Some(remaining(self.deadline)));
        match timed.and_then(|()| self.stream.read(&mut chunk)) {
            Ok(0) => self.ended = true,
            Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    return Err(Broken(format!("no {awaited} in time")));
                }
                ErrorKind::Interrupted => {}
                _ => self.ended = true,
            },
        }
        Ok(!self.ended)
    }
}

/// A timeout for the socket, which must not be zero.
fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feed_sends_the_same_bytes() {
        for feed in [Feed::Whole, Feed::Bytewise, Feed::Cut(2), Feed::Cut(9), Feed::Chunks(3)] {
            assert_eq!(feed.pieces(b"abcdefg").concat(), b"abcdefg", "{feed:?}");
        }
        assert_eq!(Feed::Cut(2).pieces(b"abc"), [b"ab".as_slice(), b"c"]);
    }
}
