//! Frames as a client writes them and as it reads a server's, RFC 6455 §5.2.

use super::Broken;

/// §5.2: a further part of a fragmented message.
pub(crate) const CONTINUATION: u8 = 0x0;
/// §5.6: a text message.
pub(crate) const TEXT: u8 = 0x1;
/// §5.6: a binary message.
pub(crate) const BINARY: u8 = 0x2;
/// §5.5.1: a Close frame.
pub(crate) const CLOSE: u8 = 0x8;
/// §5.5.2: a Ping frame.
pub(crate) const PING: u8 = 0x9;
/// §5.5.3: a Pong frame.
pub(crate) const PONG: u8 = 0xA;

/// The reserved bit that RFC 7692 uses for a compressed message.
pub(crate) const RSV1: u8 = 0x40;
/// A reserved bit without a meaning.
pub(crate) const RSV2: u8 = 0x20;
/// A reserved bit without a meaning.
pub(crate) const RSV3: u8 = 0x10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// How a frame writes its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// In the fewest bytes, as §5.2 demands.
    Minimal,
    /// In 7 + 16 bits, also when 7 would do.
    Sixteen,
    /// In 7 + 64 bits, also when less would do.
    SixtyFour,
}

/// A frame to send, legal unless one of its methods made it otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    fin: bool,
    rsv: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    length: Length,
    announced: Option<u64>,
    payload: Vec<u8>,
}

impl Frame {
    /// A final, masked frame of any opcode.
    pub(crate) fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
        let mask = fastrand::u32(..).to_ne_bytes();
        Frame {
            fin: true,
            rsv: 0,
            opcode,
            mask: Some(mask),
            length: Length::Minimal,
            announced: None,
            payload: payload.into(),
        }
    }

    /// A whole text message.
    pub(crate) fn text(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(TEXT, payload)
    }

    /// A whole binary message.
    pub(crate) fn binary(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(BINARY, payload)
    }

    /// The last part of a fragmented message.
    pub(crate) fn continuation(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(CONTINUATION, payload)
    }

    /// A Ping.
    pub(crate) fn ping(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(PING, payload)
    }

    /// A Pong.
    pub(crate) fn pong(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(PONG, payload)
    }

    /// A Close with a code and a reason.
    pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_ref());
        Frame::new(CLOSE, payload)
    }

    /// The same frame with FIN = 0.
    pub(crate) fn more(mut self) -> Frame {
        self.fin = false;
        self
    }

    /// The same frame with these reserved bits.
    pub(crate) fn rsv(mut self, bits: u8) -> Frame {
        self.rsv = bits;
        self
    }

    /// The same frame with MASK = 0.
    pub(crate) fn unmasked(mut self) -> Frame {
        self.mask = None;
        self
    }

    /// The same frame under this masking key.
    pub(crate) fn mask(mut self, key: [u8; 4]) -> Frame {
        self.mask = Some(key);
        self
    }

    /// The same frame with its length in 16 bits.
    pub(crate) fn length16(mut self) -> Frame {
        self.length = Length::Sixteen;
        self
    }

    /// The same frame with its length in 64 bits.
    pub(crate) fn length64(mut self) -> Frame {
        self.length = Length::SixtyFour;
        self
    }

    /// The same frame, whose header announces `length` bytes whatever the payload has.
    pub(crate) fn announcing(mut self, length: u64) -> Frame {
        self.announced = Some(length);
        self
    }

    /// The bytes on the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + 14);
        out.push(if self.fin { FIN } else { 0 } | self.rsv | self.opcode);
        self.encode_length(&mut out);
        let Some(key) = self.mask else {
            out.extend_from_slice(&self.payload);
            return out;
        };
        out.extend_from_slice(&key);
        out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    fn encode_length(&self, out: &mut Vec<u8>) {
        let length = self.announced.unwrap_or(self.payload.len() as u64);
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match (self.length, length) {
            (Length::Minimal, 0..=125) => out.push(masked | length as u8),
            (Length::Minimal, 126..=0xFFFF) | (Length::Sixteen, _) => {
                out.push(masked | 126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            (Length::Minimal | Length::SixtyFour, _) => {
                out.push(masked | 127);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
    }
}

/// Several frames glued together.
pub(crate) fn glue<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<u8> {
    frames.into_iter().flat_map(Frame::encode).collect()
}

/// A frame's first bytes as a server wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whether this is the message's last frame.
    pub(crate) fin: bool,
    /// The reserved bits, in place.
    pub(crate) rsv: u8,
    /// What kind of frame it is.
    pub(crate) opcode: u8,
    /// Bytes of payload.
    pub(crate) length: u64,
    /// Bytes of header: 2, 4 or 10.
    pub(crate) size: usize,
}

impl Header {
    /// Reads a header, or `None` while bytes are missing.
    ///
    /// # Errors
    ///
    /// In words, when a server must not send such a frame: masked (§5.1), a length that is not
    /// minimal (§5.2), an unknown opcode, a fragmented or oversized control frame (§5.5).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Broken> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (length, size) = match (second & 0x7F, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 2),
        };
        let header = Header { fin: first & FIN != 0, rsv: first & 0x70, opcode: first & 0x0F, length, size };
        if second & MASKED != 0 {
            return Err(Broken::new("the server masked a frame (§5.1)"));
        }
        header.check()
    }

    fn check(self) -> Result<Option<Header>, Broken> {
        let minimal = match self.length {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        if self.size != minimal {
            return Err(Broken(format!(
                "the server wrote length {} in {} bytes (§5.2)",
                self.length, self.size
            )));
        }
        match self.opcode {
            CONTINUATION | TEXT | BINARY => Ok(Some(self)),
            CLOSE | PING | PONG if self.fin && self.length <= 125 && self.rsv == 0 => Ok(Some(self)),
            CLOSE | PING | PONG => {
                Err(Broken(format!("the server sent a bad control frame: {self:?} (§5.5)")))
            }
            opcode => Err(Broken(format!("the server sent reserved opcode {opcode:#x} (§5.2)"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_7_the_masked_hello_of_the_rfc_is_written_byte_for_byte() {
        let frame = Frame::text("Hello").mask([0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(frame.encode(), [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn lengths_are_minimal_unless_asked_otherwise() {
        for (length, size) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            let bytes = Frame::binary(vec![0; length]).unmasked().encode();
            assert_eq!(bytes.len(), length + size);
            assert_eq!(Header::parse(&bytes).unwrap().unwrap().length, length as u64);
        }
        assert_eq!(Frame::text("").unmasked().length16().encode(), [0x81, 126, 0, 0]);
        assert_eq!(Frame::text("").unmasked().length64().encode()[1], 127);
        assert_eq!(Frame::text("").unmasked().announcing(1 << 20).encode()[1..4], [127, 0, 0]);
    }

    #[test]
    fn a_header_waits_for_its_last_byte() {
        let bytes = Frame::binary(vec![0; 70_000]).unmasked().encode();
        for cut in 0..10 {
            assert_eq!(Header::parse(&bytes[..cut]).unwrap(), None);
        }
        assert_eq!(Header::parse(&bytes[..10]).unwrap().unwrap().size, 10);
    }

    #[test]
    fn what_a_server_must_not_send_is_named() {
        let bad = [
            Frame::text("x"),
            Frame::text("x").unmasked().length16(),
            Frame::text("x").unmasked().length64(),
            Frame::new(3, "").unmasked(),
            Frame::ping("").unmasked().more(),
            Frame::ping(vec![0; 126]).unmasked(),
            Frame::pong("").unmasked().rsv(RSV1),
        ];
        for frame in bad {
            assert!(Header::parse(&frame.encode()).is_err(), "{frame:?}");
        }
    }
}
