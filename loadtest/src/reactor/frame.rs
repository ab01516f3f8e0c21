//! Frames as a client sees them, RFC 6455 §5: masked once on the way out, read piece by piece on the way in.

use std::mem;

use crate::client::frame::Frame;

/// What a frame is for, §5.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opcode {
    /// A message goes on.
    Continuation,
    /// A message of UTF-8.
    Text,
    /// A message of bytes.
    Binary,
    /// The end.
    Close,
    /// A question whether anybody is there.
    Ping,
    /// The answer to it.
    Pong,
}

impl Opcode {
    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn of(number: u8) -> Option<Self> {
        let all = [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong];
        all.into_iter().find(|opcode| opcode.number() == number)
    }
}

/// A client's frame that is masked when it is made, so that sending it many times costs nothing more.
pub(crate) struct Premasked {
    bytes: Vec<u8>,
    key: [u8; 4],
    payload_at: usize,
}

impl Premasked {
    /// A whole message in one frame.
    pub(crate) fn new(opcode: Opcode, payload: &[u8]) -> Self {
        let key: [u8; 4] = std::array::from_fn(|_| fastrand::u8(..));
        let bytes = Frame::new(opcode.number(), payload).mask(key).encode();
        let payload_at = bytes.len() - payload.len();
        Self { bytes, key, payload_at }
    }

    /// The payload as it is, behind a head that says how long it is: a request with its body, say.
    pub(crate) fn plain(head: &[u8], payload: &[u8]) -> Self {
        Self { bytes: [head, payload].concat(), key: [0; 4], payload_at: head.len() }
    }

    /// Writes `piece` over the payload from `at` on.
    ///
    /// # Panics
    /// When the piece goes beyond the payload.
    pub(crate) fn stamp(&mut self, at: usize, piece: &[u8]) {
        let place = &mut self.bytes[self.payload_at + at..][..piece.len()];
        for (index, (masked, plain)) in place.iter_mut().zip(piece).enumerate() {
            *masked = plain ^ self.key[(at + index) % 4];
        }
    }

    /// The frame as it goes over the wire.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a server's frames say: whole messages and control frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message<'a> {
    /// A message of UTF-8 (which is not checked here).
    Text(&'a [u8]),
    /// A message of bytes.
    Binary(&'a [u8]),
    /// The server asks.
    Ping(&'a [u8]),
    /// The server answers.
    Pong(&'a [u8]),
    /// The server ends the connection.
    Close(&'a [u8]),
}

/// What no server may send, in words.
pub(crate) type Fault = &'static str;

/// Takes a server's bytes as they come and gives out what they say. Between frames it holds no memory.
#[derive(Default)]
pub(crate) struct FrameReader {
    partial: Vec<u8>,
    /// The kind and the beginning of a fragmented message.
    begun: Option<(Opcode, Vec<u8>)>,
}

struct Layout {
    header: usize,
    total: usize,
}

impl FrameReader {
    /// Takes the next bytes, however they are cut.
    ///
    /// # Errors
    /// The first thing in them that no server may send.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut sink: impl FnMut(Message<'_>)) -> Result<(), Fault> {
        while !bytes.is_empty() && !self.partial.is_empty() {
            let layout = measure(&self.partial)?;
            let wanted = layout.as_ref().map_or_else(|| header_length(&self.partial), |layout| layout.total);
            let (piece, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(piece);
            bytes = rest;
            if let Some(layout) = measure(&self.partial)?.filter(|layout| layout.total == self.partial.len())
            {
                let frame = mem::take(&mut self.partial);
                self.frame(&frame, &layout, &mut sink)?;
            }
        }
        while !bytes.is_empty() {
            match measure(bytes)? {
                Some(layout) if layout.total <= bytes.len() => {
                    let (frame, rest) = bytes.split_at(layout.total);
                    self.frame(frame, &layout, &mut sink)?;
                    bytes = rest;
                }
                _ => {
                    self.partial.extend_from_slice(bytes);
                    break;
                }
            }
        }
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &[u8],
        layout: &Layout,
        sink: &mut impl FnMut(Message<'_>),
    ) -> Result<(), Fault> {
        let (last, payload) = (frame[0] & 0x80 != 0, &frame[layout.header..]);
        let opcode = Opcode::of(frame[0] & 0x0f).ok_or("a reserved opcode")?;
        match (opcode, last, self.begun.take()) {
            (Opcode::Text, true, None) => sink(Message::Text(payload)),
            (Opcode::Binary, true, None) => sink(Message::Binary(payload)),
            (Opcode::Text | Opcode::Binary, false, None) => self.begun = Some((opcode, payload.to_vec())),
            (Opcode::Text | Opcode::Binary, _, Some(_)) => return Err("a message inside a message"),
            (Opcode::Continuation, _, None) => return Err("a continuation of nothing"),
            (Opcode::Continuation, last, Some((opcode, mut message))) => {
                message.extend_from_slice(payload);
                match (last, opcode) {
                    (true, Opcode::Text) => sink(Message::Text(&message)),
                    (true, _) => sink(Message::Binary(&message)),
                    (false, _) => self.begun = Some((opcode, message)),
                }
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, false, _) => {
                return Err("a control frame in pieces");
            }
            (control, true, begun) => {
                self.begun = begun;
                sink(match control {
                    Opcode::Close => Message::Close(payload),
                    Opcode::Ping => Message::Ping(payload),
                    _ => Message::Pong(payload),
                });
            }
        }
        Ok(())
    }
}

/// How long the header is, as far as can be known; at least as long as what there is of it.
fn header_length(bytes: &[u8]) -> usize {
    match bytes.get(1).map(|second| second & 0x7f) {
        None | Some(0..126) => 2,
        Some(126) => 4,
        Some(_) => 10,
    }
}

/// The lengths of a frame whose header is there.
fn measure(bytes: &[u8]) -> Result<Option<Layout>, Fault> {
    if bytes.first().is_some_and(|first| first & 0x70 != 0) {
        return Err("a reserved bit");
    }
    if bytes.get(1).is_some_and(|second| second & 0x80 != 0) {
        return Err("a masked frame");
    }
    let header = header_length(bytes);
    let Some(head) = bytes.get(..header) else { return Ok(None) };
    let payload = match header {
        2 => usize::from(head[1]),
        _ => head[2..]
            .iter()
            .try_fold(0_usize, |length, &byte| Some(length.checked_mul(256)? + usize::from(byte)))
            .ok_or("a length of 64 bits")?,
    };
    let total = payload.checked_add(header).ok_or("a length of 64 bits")?;
    Ok(Some(Layout { header, total }))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
