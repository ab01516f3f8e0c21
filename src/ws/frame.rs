//! The frame: its header on the wire in both directions, RFC 6455 §5.2.

use bytes::BufMut;

use super::mask::Mask;
use super::violation::Violation;
use crate::input::Input;

/// What a frame is for, RFC 6455 §11.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of the message begun before.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// The closing handshake.
    Close,
    /// A question that a Pong answers.
    Ping,
    /// The answer to a Ping, or a sign of life unasked.
    Pong,
}

impl Opcode {
    fn parse(nibble: u8) -> Result<Self, Violation> {
        match nibble {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xa => Ok(Opcode::Pong),
            _ => Err(Violation::ReservedOpcode),
        }
    }

    fn nibble(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    /// Whether frames of this kind may stand between the fragments of a message (§5.5).
    pub fn is_control(self) -> bool {
        match self {
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
        }
    }
}

/// The header of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// RSV1, which permessage-deflate sets on the first frame of a compressed message (RFC 7692 §6).
    pub compressed: bool,
    /// What the frame is for.
    pub opcode: Opcode,
    /// The mask at the start of the payload.
    pub mask: Mask,
    /// Payload bytes that follow the header, below 2^63.
    pub len: u64,
}

impl FrameHeader {
    /// The longest header: two bytes, a 64-bit length and a masking key.
    pub const BYTES_MAX: usize = 14;

    /// Reads a header from the front of `bytes`, with its length; `None` while more bytes are needed.
    ///
    /// # Errors
    /// The first violation the bytes seen so far amount to, even where the header is not complete.
    #[inline(always)]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x30 != 0 {
            return Err(Violation::ReservedBits);
        }
        let (fin, compressed, opcode) = (first & 0x80 != 0, first & 0x40 != 0, Opcode::parse(first & 0x0f)?);
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::UnmaskedFrame);
        }
        if opcode.is_control() && second & 0x7f > 125 {
            return Err(Violation::ControlTooLong);
        }
        let Some((len, key_at)) = parse_len(second & 0x7f, &bytes[2..])? else { return Ok(None) };
        let Some(key) = bytes[2 + key_at..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Self { fin, compressed, opcode, mask: Mask::new(*key), len }, 2 + key_at + 4)))
    }
}

/// The payload length and how many of `bytes` told it.
fn parse_len(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        126 => match bytes.first_chunk::<2>().map(|len| u16::from_be_bytes(*len)) {
            None => Ok(None),
            Some(0..=125) => Err(Violation::LengthNotMinimal),
            Some(len) => Ok(Some((u64::from(len), 2))),
        },
        127 if bytes.first().is_some_and(|high| high & 0x80 != 0) => Err(Violation::LengthTooLarge),
        127 => match bytes.first_chunk::<8>().map(|len| u64::from_be_bytes(*len)) {
            None => Ok(None),
            Some(0..=0xffff) => Err(Violation::LengthNotMinimal),
            Some(len) => Ok(Some((len, 8))),
        },
        len => Ok(Some((u64::from(len), 0))),
    }
}

/// Collects a header that arrives in pieces; holds nothing between frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderReader {
    bytes: [u8; FrameHeader::BYTES_MAX],
    len: u8,
}

impl HeaderReader {
    /// Takes a header from the front of `input`, or keeps what there is of it.
    #[inline]
    pub(super) fn read(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, Violation> {
        if self.len == 0
            && let Some((header, len)) = FrameHeader::parse(input.peek())?
        {
            input.take(len);
            return Ok(Some(header));
        }
        self.read_kept(input)
    }

    #[cold]
    fn read_kept(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, Violation> {
        let kept = usize::from(self.len);
        let more = input.len().min(FrameHeader::BYTES_MAX - kept);
        self.bytes[kept..kept + more].copy_from_slice(&input.peek()[..more]);
        match FrameHeader::parse(&self.bytes[..kept + more])? {
            Some((header, len)) => {
                input.take(len - kept);
                self.len = 0;
                Ok(Some(header))
            }
            None => {
                input.take(more);
                self.len = (kept + more) as u8;
                Ok(None)
            }
        }
    }
}

/// Appends a server's frame: whole, and never masked (§5.1).
#[inline]
pub fn write_frame(out: &mut impl BufMut, opcode: Opcode, compressed: bool, payload: &[u8]) {
    let first = 0x80 | if compressed { 0x40 } else { 0 } | opcode.nibble();
    match payload.len() {
        len @ 0..=125 => out.put_slice(&[first, len as u8]),
        len @ 126..=0xffff => {
            let [high, low] = (len as u16).to_be_bytes();
            out.put_slice(&[first, 126, high, low]);
        }
        len => {
            out.put_slice(&[first, 127]);
            out.put_u64(len as u64);
        }
    }
    out.put_slice(payload);
}

/// How long a server's header is before a payload of `len` bytes.
pub fn header_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Where the server's frame that holds byte `at` ends; `frames` begins with a frame and holds whole ones.
///
/// A byte that begins a frame belongs to none that came before: cutting there breaks nothing, so it is its own end.
pub fn frame_boundary(frames: &[u8], at: usize) -> usize {
    let mut boundary = 0;
    while boundary < at {
        boundary += server_frame_len(&frames[boundary..]);
    }
    boundary
}

/// The kind and the payload of a server's frame that is whole.
pub fn split_server_frame(frame: &[u8]) -> Option<(Opcode, &[u8])> {
    let first = *frame.first()?;
    let header = match *frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    Some((Opcode::parse(first & 0x0f).ok()?, frame.get(header..)?))
}

fn server_frame_len(frame: &[u8]) -> usize {
    match frame[1] {
        126 => 4 + usize::from(u16::from_be_bytes([frame[2], frame[3]])),
        127 => {
            let len = frame[2..].first_chunk::<8>().map_or(0, |len| u64::from_be_bytes(*len));
            10 + len as usize
        }
        len => 2 + usize::from(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_2_own_lengths_are_minimal_and_boundaries_are_found_again() {
        let lens = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];
        let mut out = Vec::new();
        let mut ends = vec![0];
        for len in lens {
            write_frame(&mut out, Opcode::Binary, false, &vec![7; len]);
            ends.push(out.len());
            assert_eq!(ends[ends.len() - 1] - ends[ends.len() - 2], header_len(len) + len);
        }
        for at in 0..=out.len() {
            let want = *ends.iter().find(|end| **end >= at).unwrap();
            assert_eq!(frame_boundary(&out, at), want, "at {at}");
        }
    }
}
