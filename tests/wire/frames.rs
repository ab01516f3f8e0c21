//! Frames written and read without the library's help, RFC 6455 §5.2, so that a mistake in it is not made twice.

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

pub const RSV1: u8 = 0x40;
pub const RSV2: u8 = 0x20;
pub const RSV3: u8 = 0x10;

/// The masking key of the examples in §5.7.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame in the making; right in every way unless told otherwise.
#[derive(Clone)]
pub struct Frame {
    first: u8,
    key: Option<[u8; 4]>,
    length: Length,
    payload: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Length {
    Minimal,
    In16(u16),
    In64(u64),
}

/// A final, masked, empty frame.
pub fn frame(opcode: u8) -> Frame {
    Frame { first: 0x80 | opcode, key: Some(KEY), length: Length::Minimal, payload: Vec::new() }
}

impl Frame {
    pub fn fin(mut self, fin: bool) -> Self {
        self.first = if fin { self.first | 0x80 } else { self.first & 0x7f };
        self
    }

    pub fn rsv(mut self, bits: u8) -> Self {
        self.first |= bits;
        self
    }

    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    pub fn masked(mut self, key: [u8; 4]) -> Self {
        self.key = Some(key);
        self
    }

    pub fn unmasked(mut self) -> Self {
        self.key = None;
        self
    }

    /// Says this length in 16 bits, whatever the payload's is.
    pub fn claims_16(mut self, len: u16) -> Self {
        self.length = Length::In16(len);
        self
    }

    /// Says this length in 64 bits, whatever the payload's is.
    pub fn claims_64(mut self, len: u64) -> Self {
        self.length = Length::In64(len);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![self.first];
        put_length(&mut out, if self.key.is_some() { 0x80 } else { 0 }, self.length, self.payload.len());
        let key = self.key.unwrap_or_default();
        if self.key.is_some() {
            out.extend(key);
        }
        out.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
        out
    }
}

fn put_length(out: &mut Vec<u8>, mask_bit: u8, length: Length, len: usize) {
    let length = match (length, len) {
        (Length::Minimal, 0..=125) => return out.push(mask_bit | len as u8),
        (Length::Minimal, 126..=0xffff) => Length::In16(len as u16),
        (Length::Minimal, _) => Length::In64(len as u64),
        (claimed, _) => claimed,
    };
    match length {
        Length::In64(len) => {
            out.push(mask_bit | 127);
            out.extend(len.to_be_bytes());
        }
        Length::In16(len) => {
            out.push(mask_bit | 126);
            out.extend(len.to_be_bytes());
        }
        Length::Minimal => unreachable!("made definite above"),
    }
}

pub fn text(text: &str) -> Vec<u8> {
    frame(TEXT).payload(text).bytes()
}

pub fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(BINARY).payload(payload).bytes()
}

pub fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(PING).payload(payload).bytes()
}

pub fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(PONG).payload(payload).bytes()
}

pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE).payload(close_payload(code, reason)).bytes()
}

pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A server's frame: final, and not masked (§5.1).
pub fn server(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode).unmasked().payload(payload).bytes()
}

pub fn server_close(code: u16, reason: &str) -> Vec<u8> {
    server(CLOSE, close_payload(code, reason))
}

/// A server's frame, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// FIN and the reserved bits.
    pub bits: u8,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// Reads what a server sent, and panics where it may not be sent so: masked, cut short, or a length not minimal.
pub fn read_server(mut bytes: &[u8]) -> Vec<Got> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = read_one(bytes);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn read_one(bytes: &[u8]) -> (Got, &[u8]) {
    assert_eq!(bytes[1] & 0x80, 0, "§5.1: a server must not mask");
    let (len, at) = match bytes[1] {
        126 => (u64::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()), 10),
        len => (u64::from(len), 2),
    };
    let least = if len < 126 {
        2
    } else if len < 65_536 {
        4
    } else {
        10
    };
    assert_eq!(at, least, "§5.2: the minimal number of bytes for {len}");
    let end = at + len as usize;
    let got = Got { bits: bytes[0] & 0xf0, opcode: bytes[0] & 0x0f, payload: bytes[at..end].to_vec() };
    (got, &bytes[end..])
}

#[test]
fn s5_7_the_builders_write_the_examples_of_the_rfc() {
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(text("Hello"), masked);
    assert_eq!(server(TEXT, "Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(server(BINARY, [0; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(server(BINARY, [0; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
}
