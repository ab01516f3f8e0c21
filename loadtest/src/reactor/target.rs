//! The server to connect to: where it is, and the one request that opens every connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mio::net::TcpStream;
use rustix::io::Errno;
use sha1::{Digest, Sha1};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The receive buffer of a slow reader: the kernel makes the least of it that it can.
const NARROW_BYTES: usize = 4 * 1024;

/// The longest segment of a slow reader.
const NARROW_SEGMENT: u32 = 536;

/// A route of a server, with the handshake that opens it.
///
/// All connections of a run share one key: it saves hashing on this side, and a server cannot tell.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    /// The whole head of the request.
    pub(crate) request: Vec<u8>,
    accept: String,
    /// Whether the kernel keeps as little as it can of what is not read.
    is_narrow: bool,
}

impl Target {
    /// Parses `ws://host[:port]/path` and resolves the host.
    ///
    /// # Errors
    /// In words, when it is no such address or the host has none.
    pub(crate) fn new(url: &str) -> Result<Rc<Self>, String> {
        Self::with_fields(url, "")
    }

    /// The same with more header fields, each with the end of its line.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub(crate) fn with_fields(url: &str, fields: &str) -> Result<Rc<Self>, String> {
        let (authority, path) = split(url)?;
        let address = resolve(authority).map_err(|error| format!("{url}: {error}"))?;
        let key = STANDARD.encode(std::array::from_fn::<u8, 16, _>(|_| fastrand::u8(..)));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
        );
        Ok(Rc::new(Self {
            address,
            request: request.into_bytes(),
            accept: accept_for(&key),
            is_narrow: false,
        }))
    }

    /// The same server, for connections on which the workload itself says and reads every byte.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub(crate) fn plain(url: &str) -> Result<Rc<Self>, String> {
        let address = resolve(split(url)?.0).map_err(|error| format!("{url}: {error}"))?;
        Ok(Rc::new(Self { address, request: Vec::new(), accept: String::new(), is_narrow: false }))
    }

    /// The same server, for slow readers: the kernel keeps so little for them that whoever sends is soon held up.
    pub(crate) fn narrow(self: Rc<Self>) -> Rc<Self> {
        Rc::new(Self { is_narrow: true, ..Rc::unwrap_or_clone(self) })
    }

    /// Begins a connection.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        if !self.is_narrow {
            return TcpStream::connect(self.address);
        }
        // Window and segments are agreed on in the first packet. A sender's buffer is a number of segments, and those of the
        // loopback interface are long.
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(NARROW_BYTES)?;
        socket.set_tcp_mss(NARROW_SEGMENT)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
            Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// Whether connections are open as soon as TCP is connected.
    pub(super) fn is_plain(&self) -> bool {
        self.request.is_empty()
    }

    /// Whether a response head opens the connection.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, head: &[u8]) -> Result<(), String> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        response.parse(head).map_err(|error| format!("the response head is malformed: {error}"))?;
        match response.code {
            Some(101) => {}
            code => return Err(format!("answered {} instead of 101", code.unwrap_or_default())),
        }
        let accept =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
        match accept {
            Some(header) if header.value.trim_ascii() == self.accept.as_bytes() => Ok(()),
            _ => Err("the accept value does not fit the key".to_owned()),
        }
    }
}

/// The host with its port, and the path, of `ws://host[:port]/path`.
///
/// # Errors
/// In words, when it is no such address.
pub(crate) fn split(url: &str) -> Result<(&str, &str), String> {
    let rest = url.strip_prefix("ws://").ok_or_else(|| format!("{url}: an address begins with ws://"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

fn resolve(authority: &str) -> std::io::Result<SocketAddr> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let mut found =
        if has_port { authority.to_socket_addrs() } else { format!("{authority}:80").to_socket_addrs() }?;
    found.next().ok_or_else(|| std::io::Error::other("the host has no address"))
}

/// RFC 6455 §4.2.2, step 5.4.
pub(crate) fn accept_for(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_3_the_accept_value_of_the_sample_key() {
        assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_address_has_host_port_and_path() {
        let target = Target::new("ws://127.0.0.1:4000/chat/a?b=c").expect("an address");
        assert_eq!(target.address, SocketAddr::from(([127, 0, 0, 1], 4000)));
        let head = String::from_utf8(target.request.clone()).expect("text");
        assert!(head.starts_with("GET /chat/a?b=c HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n"), "{head}");
        assert_eq!(Target::new("ws://127.0.0.1").expect("an address").address.port(), 80);
        assert!(Target::new("http://127.0.0.1/").is_err());
    }

    #[test]
    fn a_head_must_be_101_and_fit_the_key() {
        let target = Target::new("ws://127.0.0.1:4000/").expect("an address");
        let head = |status: &str, accept: &str| {
            target.check(format!("HTTP/1.1 {status}\r\nsec-websocket-accept: {accept}\r\n\r\n").as_bytes())
        };
        assert_eq!(head("101 Switching Protocols", &target.accept), Ok(()));
        assert!(head("101 Switching Protocols", "AAAA").is_err());
        assert_eq!(head("503 Busy", &target.accept), Err("answered 503 instead of 101".to_owned()));
    }
}
