//! What one peer sends, with what it says replaced by fillers: the HTTP in front, then the frames of a WebSocket.
//!
//! It follows the stream as far as it has to know where words are, in pieces as they come, and changes no length. Kept are
//! methods, paths, the names of headers, and the query values and headers that decide how the server goes on. What is no
//! request is somebody's words from its first byte that does not fit, and so is all after it.

use super::filler::{Chain, Filler};
use super::frames::Frames;
use super::word::Word;
use crate::ws::extension::is_token_byte;

/// The headers whose values stay.
const KEPT: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-none-match",
    "last-event-id",
    "origin",
    "range",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
];

/// The methods that stay.
const METHODS: &[&[u8]] =
    &[b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];

/// What a request line ends with.
const VERSIONS: &[&[u8]] = &[b"HTTP/1.1\r", b"HTTP/1.0\r"];

/// The subprotocol that stays; tokens are shown in others.
const PROTOCOLS: &[&[u8]] = &[b"fanline.v1"];

/// The names of query values that stay; those of [`ROOMS`] and [`NUMBERS`] with their values.
const NAMES: &[&[u8]] = &[b"after", b"prefix", b"last", b"limit", b"since", b"wait", b"token"];

/// The query values that stay: the names of rooms, and numbers, which say where a reader starts and how much it wants.
const ROOMS: &[&[u8]] = &[b"after", b"prefix"];
const NUMBERS: &[&[u8]] = &[b"last", b"limit", b"since", b"wait"];

/// How far a peer's stream has come.
pub struct Hidden {
    filler: Filler,
    place: Place,
    chain: Chain,
    head: Head,
    /// The line that is being read; as much of it as matters.
    line: Vec<u8>,
    /// The word that is being read, where some words stay.
    word: Word,
    /// Digits of a `%41` that are to come.
    escape: u8,
    frames: Option<Box<Frames>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the method of a request, then in its target, up to the query.
    Method,
    Target,
    /// In the name of a query value, then in the value, which stays or not.
    QueryName,
    Query(Stays),
    /// After the target.
    Version,
    /// In the name of a header, then in its value, which stays or not, or is a list of subprotocols.
    Name,
    Value(bool),
    Protocols,
    /// In a body of so many bytes, which is a text or not.
    Body(u64, bool),
    /// In the line with a chunk's length, then in what else it says, in a chunk, behind it, or in the trailers.
    Size(bool),
    Extension(bool),
    Chunk(u64, bool),
    ChunkEnd(bool),
    Trailer,
    Frames,
    /// In what is no request.
    Nonsense,
}

/// What stays of a query value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    All,
    Digits,
    Nothing,
}

/// What the head says about what follows it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    length: u64,
    is_chunked: bool,
    is_text: bool,
    is_upgrade: bool,
    is_json: bool,
}

impl Hidden {
    /// The longest line of which anything is remembered.
    const LINE_MAX: usize = 512;

    /// A stream from its beginning.
    pub fn new(filler: Filler) -> Self {
        let chain = filler.begin();
        let (place, head, word) = (Place::Method, Head::default(), Word::default());
        Self { filler, place, chain, head, line: Vec::new(), word, escape: 0, frames: None }
    }

    /// Replaces what is to be replaced in the next bytes of the stream.
    pub fn replace(&mut self, bytes: &mut [u8]) {
        for at in 0..bytes.len() {
            let next = bytes.get(at + 1).copied();
            bytes[at] = match (&mut self.frames, self.place) {
                (Some(frames), Place::Frames) => frames.replace(bytes[at], next, &self.filler),
                _ => self.http(bytes[at]),
            };
        }
    }

    /// Is told what the server sends: where it does not agree to a WebSocket, what follows is HTTP.
    pub fn answered(&mut self, bytes: &[u8]) {
        let is_new = self.frames.as_ref().is_some_and(|frames| frames.is_new());
        if is_new && bytes.starts_with(b"HTTP/1.1 ") && !bytes.starts_with(b"HTTP/1.1 1") {
            self.frames = None;
            self.begin_request();
        }
    }

    fn http(&mut self, byte: u8) -> u8 {
        match self.place {
            // RFC 9112 §2.2: empty lines may stand before a request.
            Place::Method if matches!(byte, b'\r' | b'\n') && self.line.is_empty() => {}
            Place::Method => match byte {
                b' ' => self.go(Place::Target),
                _ if is_token_byte(byte) => {
                    self.keep(byte);
                    let filled = self.chain.text(byte);
                    return if self.word.goes_on(byte, METHODS) { byte } else { filled };
                }
                _ => return self.give_up(byte),
            },
            Place::Target => match byte {
                b'?' => self.go(Place::QueryName),
                b' ' => self.go(Place::Version),
                b'\n' => self.go(Place::Name),
                b'/' | b'*' | b'h' | b'H' if self.line.is_empty() => self.keep(byte),
                _ if self.line.is_empty() => return self.give_up(byte),
                _ => {}
            },
            Place::QueryName => match byte {
                b'=' if self.word.is_one_of(ROOMS) => self.go(Place::Query(Stays::All)),
                b'=' if self.word.is_one_of(NUMBERS) => self.go(Place::Query(Stays::Digits)),
                b'=' => self.go(Place::Query(Stays::Nothing)),
                b'&' => self.go(Place::QueryName),
                b' ' => self.go(Place::Version),
                b'\n' => self.go(Place::Name),
                _ => {
                    let filled = self.in_query(byte);
                    return if self.word.goes_on(byte, NAMES) { byte } else { filled };
                }
            },
            Place::Query(stays) => match byte {
                b'&' => self.go(Place::QueryName),
                b' ' => self.go(Place::Version),
                b'\n' => self.go(Place::Name),
                b'0'..=b'9' if stays == Stays::Digits => {}
                // A position is often written as `7%3A1`.
                b'%' | b'A' | b'a' if stays == Stays::Digits => {}
                _ if stays == Stays::All => {}
                _ => return self.in_query(byte),
            },
            Place::Version if byte == b'\n' => self.go(Place::Name),
            Place::Version if self.word.goes_on(byte, VERSIONS) => {}
            Place::Version => return self.give_up(byte),
            Place::Name => match byte {
                b':' => {
                    let name = String::from_utf8_lossy(&self.line).to_ascii_lowercase();
                    self.keep(byte);
                    self.chain = self.filler.begin();
                    self.word = Word::default();
                    self.place = match name.as_str() {
                        "sec-websocket-protocol" => Place::Protocols,
                        name => Place::Value(KEPT.contains(&name)),
                    };
                }
                b'\n' => self.end_header_line(),
                b'\r' => self.keep(byte),
                _ if is_token_byte(byte) && !self.line.ends_with(b"\r") => self.keep(byte),
                // No name has this, so it is said by somebody, such as the rest of a value that was folded.
                _ => {
                    self.keep(byte);
                    self.chain = self.filler.begin();
                    self.place = Place::Value(false);
                    return self.chain.text(byte);
                }
            },
            Place::Protocols if matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n') => {
                self.head.is_json |= self.word.is_one_of(PROTOCOLS);
                self.chain = self.filler.begin();
                self.word = Word::default();
                if byte == b'\n' {
                    self.end_header_line();
                }
            }
            Place::Protocols => return protocol(&mut self.word, &mut self.chain, byte),
            Place::Value(_) if byte == b'\n' => self.end_header_line(),
            Place::Value(true) if self.line.ends_with(b"\r") => {
                self.place = Place::Value(false);
                return self.chain.text(byte);
            }
            Place::Value(true) => self.keep(byte),
            // A value begins behind the blanks, however many there are.
            Place::Value(false) if matches!(byte, b' ' | b'\t' | b'\r') => {}
            Place::Value(false) => return self.chain.text(byte),
            Place::Body(left, is_text) => {
                let filled = if is_text { self.chain.text(byte) } else { self.chain.binary(byte) };
                self.place = Place::Body(left - 1, is_text);
                if left == 1 {
                    self.begin_request();
                }
                return filled;
            }
            Place::Size(is_text) | Place::Extension(is_text) if byte == b'\n' => {
                let digits = self.line.iter().take_while(|byte| byte.is_ascii_hexdigit());
                let size = digits.fold(0u64, |size, digit| {
                    size.wrapping_mul(16) + u64::from((*digit as char).to_digit(16).unwrap_or_default())
                });
                self.go(if size == 0 { Place::Trailer } else { Place::Chunk(size, is_text) });
            }
            Place::Size(_) if byte.is_ascii_hexdigit() || byte == b'\r' => self.keep(byte),
            Place::Size(is_text) => {
                self.place = Place::Extension(is_text);
                return if matches!(byte, b';' | b' ' | b'\t') { byte } else { b'x' };
            }
            // Nobody reads it, and the body goes on behind it.
            Place::Extension(_) if byte != b'\r' => return b'x',
            Place::Extension(_) => {}
            Place::Chunk(left, is_text) => {
                let filled = if is_text { self.chain.text(byte) } else { self.chain.binary(byte) };
                self.place =
                    if left == 1 { Place::ChunkEnd(is_text) } else { Place::Chunk(left - 1, is_text) };
                return filled;
            }
            Place::ChunkEnd(is_text) if byte == b'\n' => self.go(Place::Size(is_text)),
            Place::ChunkEnd(_) => {}
            Place::Trailer if byte == b'\n' && self.line.is_empty() => self.begin_request(),
            Place::Trailer if byte == b'\n' => self.line.clear(),
            Place::Trailer if byte == b'\r' => {}
            Place::Trailer => {
                self.keep(byte);
                return self.chain.text(byte);
            }
            // There are none without a head.
            Place::Frames => return self.chain.binary(byte),
            Place::Nonsense => return self.chain.text(byte),
        }
        byte
    }

    /// What is written as `%41` becomes another such.
    fn in_query(&mut self, byte: u8) -> u8 {
        let digit = (byte as char).to_digit(16).filter(|_| self.escape > 0);
        self.escape = if byte == b'%' { 2 } else { self.escape.saturating_sub(1) };
        match digit {
            Some(digit) => self.chain.hex(byte, digit as u8, 0..=0xf),
            None => self.chain.text(byte),
        }
    }

    /// From here on it is no request, and the server says so.
    fn give_up(&mut self, byte: u8) -> u8 {
        self.go(Place::Nonsense);
        self.chain.text(byte)
    }

    fn keep(&mut self, byte: u8) {
        if self.line.len() < Self::LINE_MAX {
            self.line.push(byte);
        }
    }

    fn go(&mut self, place: Place) {
        self.place = place;
        self.line.clear();
        (self.word, self.escape) = (Word::default(), 0);
        if !matches!(place, Place::Size(_) | Place::Chunk(..)) {
            self.chain = self.filler.begin();
        }
    }

    fn end_header_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.iter().all(|byte| *byte == b'\r') {
            return self.end_head();
        }
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        self.place = Place::Name;
        let Some((name, value)) = line.split_once(':') else { return };
        let value = value.trim();
        match name {
            "content-length" => self.head.length = value.parse().unwrap_or_default(),
            "transfer-encoding" => self.head.is_chunked = value.contains("chunked"),
            "content-type" => {
                self.head.is_text =
                    ["text/", "json", "xml", "urlencoded"].iter().any(|is| value.contains(is));
            }
            "upgrade" => self.head.is_upgrade |= value.contains("websocket"),
            _ => {}
        }
    }

    fn end_head(&mut self) {
        let head = self.head;
        self.chain = self.filler.begin();
        match head {
            Head { is_upgrade: true, .. } => {
                self.frames = Some(Box::new(Frames::new(&self.filler, head.is_json)));
                self.go(Place::Frames);
            }
            Head { is_chunked: true, .. } => self.go(Place::Size(head.is_text)),
            Head { length: 0, .. } => self.begin_request(),
            Head { length, .. } => self.go(Place::Body(length, head.is_text)),
        }
    }

    fn begin_request(&mut self) {
        self.head = Head::default();
        self.go(Place::Method);
    }
}

/// The next byte of the name of a subprotocol; of those that are not known a client may make what it wants.
fn protocol(word: &mut Word, chain: &mut Chain, byte: u8) -> u8 {
    let filled = chain.text(byte);
    if word.goes_on(byte, PROTOCOLS) { byte } else { filled }
}

impl Filler {
    /// The name of a subprotocol as it stands in a recording.
    pub fn protocol(&self, name: &str) -> String {
        let (mut word, mut chain) = (Word::default(), self.begin());
        let bytes = name.bytes().map(|byte| protocol(&mut word, &mut chain, byte)).collect();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::mask::Mask;

    /// A stream with its words replaced, in pieces of this size.
    fn hidden(filler: &Filler, stream: &[u8], size: usize) -> Vec<u8> {
        let (mut hidden, mut bytes) = (Hidden::new(filler.clone()), stream.to_vec());
        bytes.chunks_mut(size).for_each(|piece| hidden.replace(piece));
        bytes
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 9, 8, 7, 6];
        let mut masked = payload.to_vec();
        Mask::new([9, 8, 7, 6]).apply(&mut masked);
        frame.extend(masked);
        frame
    }

    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let mut payload = frame[6..].to_vec();
        Mask::new([9, 8, 7, 6]).apply(&mut payload);
        payload
    }

    #[test]
    fn words_in_requests_are_replaced_and_what_decides_stays() {
        let filler = Filler::default();
        let stream = "GET /rooms/lobby/messages?last=5&token=Sesame&since=1:2 HTTP/1.1\r\nHost: x\r\n\
                      Authorization: Bearer Sesame\r\nCookie: session=Sesame\r\n\r\n\
                      POST /rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\
                      Content-Length: 6\r\n\r\nSesamePOST / HTTP/1.1\r\nHost: x\r\n\
                      Transfer-Encoding: chunked\r\n\r\n6;x=1\r\nSesame\r\n0\r\n\r\nGET /end HTTP/1.1\r\nHost: x\r\n\r\n";
        let want = hidden(&filler, stream.as_bytes(), stream.len());
        let text = String::from_utf8_lossy(&want);
        assert!(!text.contains("Sesame"), "{text}");
        assert_eq!(want.len(), stream.len());
        for kept in ["?last=5&token=", "&since=1:2 HTTP/1.1\r\nHost: x", "Content-Length: 6\r\n", "6;xxx\r\n"]
        {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        assert!(text.ends_with("GET /end HTTP/1.1\r\nHost: x\r\n\r\n"), "{text}");
        for size in 1..40 {
            assert_eq!(hidden(&filler, stream.as_bytes(), size), want, "in pieces of {size}");
        }
    }

    #[test]
    fn words_where_nobody_looks_for_them_are_replaced_too() {
        let rows = [
            // Written as escapes, or where a name stands.
            ("GET /?token=%53%65%73%61%6d%65 HTTP/1.1\r\n\r\n", "%53%65%73%61%6d%65"),
            ("GET /chat/x?Sesame HTTP/1.1\r\n\r\n", "Sesame"),
            // A browser shows a token as a subprotocol.
            ("GET / HTTP/1.1\r\nSec-WebSocket-Protocol: fanline.v1, bearer.Sesame\r\n\r\n", "Sesame"),
            // A folded value, and a line that has no name.
            ("GET / HTTP/1.1\r\nAuthorization: Bearer\r\n Sesame\r\n\r\n", "Sesame"),
            ("GET / HTTP/1.1\r\nAuthorization Bearer Sesame\r\n\r\n", "Sesame"),
            ("GET / HTTP/1.1\r\nHost: x\rSesame: Sesame\r\n\r\n", "Sesame: "),
            // A body without its length, lines that are no requests, and all after them.
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\nSesame open\r\n", "Sesame"),
            ("open Sesame\r\nSesame: x\r\n\r\nGET /Sesame HTTP/1.1\r\n", "Sesame"),
            ("{\"Sesame\":\"Sesame\"}\r\n", "Sesame"),
            ("GET / HTTP/1.1 Sesame\r\n\r\n", "Sesame"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=Sesame\r\ny\r\n", "Sesame"),
        ];
        for (stream, word) in rows {
            let filler = Filler::default();
            let want = hidden(&filler, stream.as_bytes(), stream.len());
            let text = String::from_utf8_lossy(&want);
            assert!(!text.contains(word) && !text.contains("Sesame"), "{stream:?} becomes {text:?}");
            assert_eq!(want.len(), stream.len());
            for size in 1..stream.len() {
                assert_eq!(hidden(&filler, stream.as_bytes(), size), want, "{stream:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_subprotocol_that_is_configured_and_one_that_is_offered_have_the_same_filler() {
        let filler = Filler::default();
        let stream = "GET /%41 HTTP/1.1\r\nSec-WebSocket-Protocol: superchat,chat , fanline.v1\r\n\r\n";
        let text = String::from_utf8(hidden(&filler, stream.as_bytes(), 7)).unwrap();
        let names = [filler.protocol("superchat"), filler.protocol("chat")];
        let want = format!(
            "GET /%41 HTTP/1.1\r\nSec-WebSocket-Protocol: {},{} , fanline.v1\r\n",
            names[0], names[1]
        );
        assert!(text.starts_with(&want), "{text}");
        assert_ne!(names, ["superchat", "chat"]);
        assert_eq!(filler.protocol("fanline.v1"), "fanline.v1");
    }

    #[test]
    fn json_is_known_as_json_however_long_the_token_is_that_is_shown_beside_it() {
        let filler = Filler::default();
        let head = format!(
            "GET /chat/x HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: bearer.{}, fanline.v1\r\n\r\n",
            "x".repeat(2000)
        );
        let stream = [head.as_bytes(), &frame(0x81, br#"{"text":"hi"}"#)].concat();
        let filled = unmasked(&hidden(&filler, &stream, stream.len())[head.len()..]);
        assert!(filled.starts_with(br#"{"text":""#), "{}", String::from_utf8_lossy(&filled));
    }

    #[test]
    fn messages_are_replaced_under_their_masks_and_a_fragmented_one_as_one() {
        let filler = Filler::default();
        let head = b"GET /chat/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let frames = [
            frame(0x81, "exit".as_bytes()),
            frame(0x01, "ex".as_bytes()),
            frame(0x89, "ping".as_bytes()),
            frame(0x80, "it".as_bytes()),
            frame(0x82, &[0, 1, 200, b'w']),
            frame(0x88, b"\x03\xe8words"),
        ];
        let stream = [&head[..], &frames.concat()].concat();
        let want = hidden(&filler, &stream, stream.len());
        assert_eq!(want[..head.len()], head[..]);
        for size in 1..20 {
            assert_eq!(hidden(&filler, &stream, size), want, "in pieces of {size}");
        }
        let mut rest = &want[head.len()..];
        let payloads: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| {
                let (one, later) = rest.split_at(frame.len());
                rest = later;
                assert_eq!(one[..6], frame[..6]);
                unmasked(one)
            })
            .collect();
        assert_eq!(payloads[0], filler.text("exit").as_bytes());
        assert_eq!([&payloads[1][..], &payloads[3]].concat(), payloads[0]);
        assert_ne!(payloads[2], b"ping");
        assert_eq!(payloads[5][..2], *b"\x03\xe8");
        assert_ne!(payloads[5][2..], *b"words");
    }
}
