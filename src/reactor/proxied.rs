//! A connection that begins with a PROXY header, before TLS where there is any.
//!
//! Nothing of it reaches the engine before the header is there, so the deadline for a head is the header's, too.

use std::io::{self, ErrorKind, Read};

use super::socket::Stream;
use crate::engine::Transport;
use crate::proxy::forwarded::Announced;
use crate::proxy::header::Preface;

/// A stream whose first bytes are a proxy's.
pub struct Proxied {
    stream: Stream,
    announced: Announced,
    /// What has come of the header; then what came with its last bytes, until it is read.
    kept: Vec<u8>,
    bytes_max: usize,
}

impl Proxied {
    /// Bytes read at a time while the header is awaited: most headers are shorter, and what else comes with it fits any
    /// receive buffer.
    const PIECE: usize = 256;

    /// A stream on which a header of at most `bytes_max` bytes is to come.
    pub(super) fn new(stream: Stream, bytes_max: usize) -> Self {
        Self { stream, announced: Announced::Awaited, kept: Vec::new(), bytes_max }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(super) fn announced(&self) -> Announced {
        self.announced
    }

    /// Bytes of memory taken up.
    pub(super) fn held(&self) -> usize {
        size_of::<Self>() + self.kept.capacity() + self.stream.held()
    }

    /// Reads until the header is whole.
    fn read_header(&mut self) -> io::Result<()> {
        loop {
            let mut piece = [0; Self::PIECE];
            match self.stream.socket_mut().read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.kept.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            match Preface::parse(&self.kept, self.bytes_max) {
                Preface::Partial => {}
                Preface::Header { len, client } => {
                    self.kept.drain(..len);
                    if self.kept.is_empty() {
                        self.kept = Vec::new();
                    }
                    self.announced = client.map_or(Announced::Nobody, Announced::Client);
                    return Ok(());
                }
                Preface::Invalid => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

impl Read for Proxied {
    /// As of any stream, a short read means that the socket has been read to its end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.announced == Announced::Awaited {
            self.read_header()?;
        }
        if self.kept.is_empty() {
            return self.stream.read(buffer);
        }
        if let Stream::Tls(tls) = &mut self.stream {
            tls.feed(std::mem::take(&mut self.kept));
            return self.stream.read(buffer);
        }
        let len = self.kept.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.kept[..len]);
        self.kept.drain(..len);
        if !self.kept.is_empty() {
            return Ok(len);
        }
        self.kept = Vec::new();
        // An error, or the end, is met again by the next read.
        Ok(len + self.stream.read(&mut buffer[len..]).unwrap_or(0))
    }
}
