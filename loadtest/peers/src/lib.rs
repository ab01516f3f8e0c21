//! What the Rust peers share: where they listen, and the little of RFC 6455 that `bare` and `threads` need.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The GUID of §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The largest header a client's frame can have: two bytes, a length of eight, a key of four.
pub const HEADER_MAX: usize = 14;

/// The address behind `--listen`, or a free port of 127.0.0.1.
///
/// # Errors
/// When what is there is no address.
pub fn listen_address() -> io::Result<SocketAddr> {
    let mut arguments = std::env::args().skip(1);
    let given = match arguments.next().as_deref() {
        Some("--listen") => arguments.next(),
        Some(other) => Some(other.to_owned()),
        None => None,
    };
    given.as_deref().unwrap_or("127.0.0.1:0").parse().map_err(io::Error::other)
}

/// Takes all the files this process may have, then says where it listens, as the harness expects it.
///
/// # Errors
/// When nobody reads it.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    println!("listening on http://{address}");
    io::stdout().flush()
}

/// The room that a path names, or `None` for the echo.
pub fn room_of(path: &str) -> Option<&str> {
    path.strip_prefix("/chat/")
}

/// A request head: its path, and the answer that makes a WebSocket of the connection (§4.2.2).
///
/// `None` when it asks for something else.
pub fn upgrade(head: &str) -> Option<(&str, String)> {
    let mut lines = head.split("\r\n");
    let path = lines.next()?.strip_prefix("GET ")?.split(' ').next()?;
    let key = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Some((path, answer))
}

/// The header of a client's frame, §5.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// Bytes of payload.
    pub length: usize,
    /// The mask.
    pub key: [u8; 4],
    /// Bytes of the header itself.
    pub size: usize,
}

impl Header {
    /// The header at the front of these bytes, if it is whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, key_at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let key = bytes.get(key_at..key_at + 4)?.try_into().ok()?;
        Some(Self { first, length, key, size: key_at + 4 })
    }

    /// Appends the header that a server writes before the same payload.
    pub fn answer(&self, first: u8, out: &mut Vec<u8>) {
        out.push(first);
        match self.length {
            0..126 => out.push(self.length as u8),
            126..65_536 => {
                out.push(126);
                out.extend_from_slice(&(self.length as u16).to_be_bytes());
            }
            _ => {
                out.push(127);
                out.extend_from_slice(&(self.length as u64).to_be_bytes());
            }
        }
    }

    /// The first byte of what answers this frame: a Pong for a Ping, otherwise the same again.
    pub fn answering(&self) -> u8 {
        if self.first == 0x89 { 0x8a } else { self.first }
    }
}

/// Appends masked bytes without their mask, which stands at `phase` of its four bytes.
pub fn unmask_onto(out: &mut Vec<u8>, masked: &[u8], key: [u8; 4], phase: usize) {
    let start = out.len();
    out.extend_from_slice(masked);
    let turned: [u8; 4] = std::array::from_fn(|at| key[(phase + at) % 4]);
    let wide = u64::from_ne_bytes(std::array::from_fn(|at| turned[at % 4]));
    let (eights, rest) = out[start..].as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(turned.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_3_the_sample_handshake() {
        let head = "GET /chat/a HTTP/1.1\r\nHost: x\r\nsec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (path, answer) = upgrade(head).expect("an upgrade");
        assert_eq!(room_of(path), Some("a"));
        assert!(answer.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert_eq!(upgrade("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), None);
    }

    #[test]
    fn headers_of_every_length_are_read_and_answered() {
        for (length, size) in [(5, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut frame = Vec::new();
            Header { first: 0x82, length, key: [0; 4], size: 0 }.answer(0x82, &mut frame);
            frame[1] |= 0x80;
            frame.extend_from_slice(&[1, 2, 3, 4]);
            let header = Header { first: 0x82, length, key: [1, 2, 3, 4], size };
            assert_eq!(Header::parse(&frame), Some(header));
            assert_eq!(Header::parse(&frame[..size - 1]), None);
        }
    }

    #[test]
    fn the_mask_goes_on_where_it_stopped() {
        let (key, masked) = ([1, 2, 3, 4], [9_u8; 29]);
        let plain: Vec<u8> = masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for cut in 0..masked.len() {
            let mut out = Vec::new();
            unmask_onto(&mut out, &masked[..cut], key, 0);
            unmask_onto(&mut out, &masked[cut..], key, cut);
            assert_eq!(out, plain, "cut at {cut}");
        }
    }
}
