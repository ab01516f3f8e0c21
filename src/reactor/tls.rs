//! TLS on a socket: rustls without blocking, and certificates that can be changed while the server runs.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Connection, ServerConfig, ServerConnection};

use super::socket::Socket;

/// Where a certificate and its key lie, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug)]
pub struct TlsError(pub(super) String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        io::Error::new(ErrorKind::InvalidInput, error.0)
    }
}

/// The certificate in use, and how to notice that there is a new one.
pub(super) struct Identity {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    /// When the files were changed last, as far as they have been looked at.
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Identity {
    /// How often the files are looked at, at most; only while somebody connects.
    const LOOK: Duration = Duration::from_secs(1);

    pub(super) fn load(files: TlsFiles, now: Instant) -> Result<Self, TlsError> {
        let changed = stamps(&files);
        let config = Arc::new(configure(&files)?);
        Ok(Self { files, config, changed, looked: now })
    }

    /// Takes the files as they are now. What cannot be used changes nothing.
    pub(super) fn reload(&mut self) -> Result<(), TlsError> {
        self.changed = stamps(&self.files);
        self.config = Arc::new(configure(&self.files)?);
        Ok(())
    }

    /// Takes the files anew if they have changed; `None` where they have not.
    pub(super) fn reload_if_changed(&mut self, now: Instant) -> Option<Result<(), TlsError>> {
        if now.saturating_duration_since(self.looked) < Self::LOOK {
            return None;
        }
        self.looked = now;
        (stamps(&self.files) != self.changed).then(|| self.reload())
    }

    /// A TLS session on a connection that has just been accepted.
    pub(super) fn wrap(&self, socket: Socket) -> Result<TlsStream, TlsError> {
        let tls = ServerConnection::new(self.config.clone()).map_err(|error| TlsError(error.to_string()))?;
        Ok(TlsStream::new(socket, tls.into()))
    }
}

fn stamps(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.cert, &files.key].map(|path| path.metadata().and_then(|data| data.modified()).ok())
}

/// TLS 1.2 and 1.3; sessions are resumed by tickets, whose keys only this process knows.
fn configure(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let in_file = |path: &Path, why: &dyn fmt::Display| TlsError(format!("{}: {why}", path.display()));
    let certs = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| in_file(&files.cert, &error))?;
    if certs.is_empty() {
        return Err(in_file(&files.cert, &"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| in_file(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |error: rustls::Error| in_file(&files.cert, &error);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(unusable)?;
    Ok(config)
}

/// A socket with TLS on it. Idle, it holds what rustls holds of a session.
pub struct TlsStream {
    socket: Socket,
    tls: Connection,
    /// What was read from the socket and not yet taken by the session.
    unread: Vec<u8>,
    /// The outgoing side ends once everything has left.
    is_closing: bool,
}

impl TlsStream {
    /// Bytes that may wait, encrypted, for the socket.
    const BUFFER: usize = 64 << 10;

    /// Bytes read from the socket at a time: about the longest record.
    const READ: usize = 16 << 10;

    /// What a session that is open and idle takes beside itself, measured.
    const SESSION: usize = 6 << 10;

    /// A session that has not begun, as a server or as a client.
    pub(super) fn new(socket: Socket, mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(Self::BUFFER));
        Self { socket, tls, unread: Vec::new(), is_closing: false }
    }

    /// Bytes of memory taken up, about: how much of its buffer waits to be sent a session does not say.
    pub(super) fn held(&self) -> usize {
        let waiting = if self.tls.wants_write() { Self::BUFFER } else { 0 };
        size_of::<Self>() + Self::SESSION + self.unread.capacity() + waiting
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Takes what has been read from the socket before the session began.
    pub(super) fn feed(&mut self, bytes: Vec<u8>) {
        self.unread = bytes;
    }

    /// Sends what the session has ready, as far as the socket takes it.
    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self.is_closing {
            true => self.socket.shutdown_write(),
            false => Ok(()),
        }
    }

    /// Gives the session more of what has come; says whether there was more.
    fn pull(&mut self) -> io::Result<Pulled> {
        if self.unread.is_empty() {
            let mut bytes = [0; Self::READ];
            match self.socket.read(&mut bytes) {
                Ok(0) => return Ok(Pulled::End),
                Ok(len) => self.unread.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Pulled::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Pulled::Some),
                Err(error) => return Err(error),
            }
        }
        let mut rest = self.unread.as_slice();
        let taken = self.tls.read_tls(&mut rest)?;
        self.unread.drain(..taken);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        if let Err(error) = self.tls.process_new_packets() {
            // The alert that says why; the connection is lost in any case.
            self.push().unwrap_or_default();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        self.push()?;
        Ok(Pulled::Some)
    }

    /// Sends what waits; for a socket that takes bytes again.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if self.tls.wants_write() { self.push() } else { Ok(()) }
    }

    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.is_closing = true;
        self.push()
    }
}

enum Pulled {
    Some,
    Nothing,
    End,
}

impl Read for TlsStream {
    /// Fills the buffer as far as there is anything: a short read means that the socket has been read to its end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            match self.tls.reader().read(&mut buffer[filled..]) {
                // The peer has said that it sends no more.
                Ok(0) => return Ok(filled),
                Ok(len) => {
                    filled += len;
                    if filled == buffer.len() {
                        return Ok(filled);
                    }
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
            match self.pull() {
                Ok(Pulled::Some) => {}
                Ok(Pulled::Nothing | Pulled::End) if filled > 0 => return Ok(filled),
                Ok(Pulled::Nothing) => return Err(ErrorKind::WouldBlock.into()),
                // Without a word of farewell: what came may be cut short, and the engine takes an end for a loss.
                Ok(Pulled::End) => return Ok(0),
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for TlsStream {
    /// Encrypts and sends until everything is sent or the socket takes no more: a short write means that there will be
    /// an event when it does again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.resume()?;
        let mut taken = 0;
        while taken < bytes.len() && !self.tls.wants_write() {
            let more = self.tls.writer().write(&bytes[taken..])?;
            taken += more;
            self.push()?;
            if more == 0 {
                break;
            }
        }
        if taken == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}
