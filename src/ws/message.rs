//! Messages, whole and in the making: reassembly of fragments, RFC 6455 §5.4.

use std::borrow::Cow;

use super::session::Workbench;
use super::utf8::Utf8Stream;
use super::violation::Violation;
use crate::spare::Spares;

/// A text or binary message, borrowed from wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload, whichever kind it is.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The text, or `None` for a binary message.
    pub fn as_text(&self) -> Option<&'a str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// Payload length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Message::Binary(bytes)
    }
}

/// A message that owns its payload, to travel between threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedMessage {
    /// UTF-8 text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl OwnedMessage {
    /// The message, lent.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => OwnedMessage::Text(text.to_owned()),
            Message::Binary(bytes) => OwnedMessage::Binary(bytes.to_owned()),
        }
    }
}

impl From<&str> for OwnedMessage {
    fn from(text: &str) -> Self {
        OwnedMessage::Text(text.to_owned())
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        OwnedMessage::Text(text)
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        OwnedMessage::Binary(bytes)
    }
}

/// A message as it was received: still in the receive buffer, or reassembled into one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received<'i> {
    /// UTF-8 text.
    Text(Cow<'i, str>),
    /// Any bytes.
    Binary(Cow<'i, [u8]>),
}

impl Received<'_> {
    /// The message, lent.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Received::Text(text) => Message::Text(text),
            Received::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// Gives the buffer back that the message was put together in, if it was.
    pub fn give_back(self, spares: &mut Spares) {
        match self {
            Received::Text(Cow::Owned(text)) => spares.give(text.into_bytes()),
            Received::Binary(Cow::Owned(bytes)) => spares.give(bytes),
            Received::Text(Cow::Borrowed(_)) | Received::Binary(Cow::Borrowed(_)) => {}
        }
    }
}

/// A message of which something is still to come.
#[derive(Debug)]
pub(super) enum Assembly {
    Text {
        text: String,
        utf8: Utf8Stream,
    },
    Binary(Vec<u8>),
    /// Compressed payloads are collected as they are and inflated once, when the message is whole.
    Deflated {
        is_text: bool,
        bytes: Vec<u8>,
    },
}

impl Assembly {
    pub(super) fn new(is_text: bool, compressed: bool) -> Self {
        match (is_text, compressed) {
            (is_text, true) => Assembly::Deflated { is_text, bytes: Vec::new() },
            (true, false) => Assembly::Text { text: String::new(), utf8: Utf8Stream::default() },
            (false, false) => Assembly::Binary(Vec::new()),
        }
    }

    /// Bytes collected so far.
    pub(super) fn len(&self) -> usize {
        match self {
            Assembly::Text { text, utf8 } => text.len() + utf8.carried(),
            Assembly::Binary(bytes) | Assembly::Deflated { bytes, .. } => bytes.len(),
        }
    }

    /// Bytes of memory taken up by them, and by those that are to come.
    pub(super) fn held(&self) -> usize {
        match self {
            Assembly::Text { text, .. } => text.capacity(),
            Assembly::Binary(bytes) | Assembly::Deflated { bytes, .. } => bytes.capacity(),
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        match self {
            Assembly::Deflated { .. } => true,
            Assembly::Text { .. } | Assembly::Binary(_) => false,
        }
    }

    /// Appends unmasked payload; `to_come` more bytes of its frame are known to follow.
    ///
    /// Room is made for at most as much again as has already arrived: a header alone reserves nothing.
    pub(super) fn push(&mut self, piece: &[u8], to_come: u64, spares: &mut Spares) -> Result<(), Violation> {
        let arrived = self.len() + piece.len();
        let to_come = usize::try_from(to_come).unwrap_or(usize::MAX);
        let room = piece.len() + to_come.min(arrived);
        let in_all = arrived.saturating_add(to_come);
        match self {
            Assembly::Text { text, utf8 } => {
                spares.reserve_text(text, room, in_all);
                utf8.append(piece, text).map_err(|_| Violation::InvalidUtf8)
            }
            Assembly::Binary(bytes) | Assembly::Deflated { bytes, .. } => {
                spares.reserve(bytes, room, in_all);
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The message, now that its last fragment has arrived.
    pub(super) fn finish(self, bench: &mut Workbench<'_>) -> Result<Received<'static>, Violation> {
        match self {
            Assembly::Text { text, utf8 } if utf8.is_complete() => Ok(Received::Text(text.into())),
            Assembly::Text { .. } => Err(Violation::InvalidUtf8),
            Assembly::Binary(bytes) => Ok(Received::Binary(bytes.into())),
            Assembly::Deflated { is_text: false, bytes } => {
                let inflated = bench.inflater.inflate(&bytes, bench.message_bytes_max)?;
                bench.spares.give(bytes);
                Ok(Received::Binary(inflated.into()))
            }
            // Validating while copying is several times faster than the standard library's check in place.
            Assembly::Deflated { is_text: true, bytes } => {
                let inflated = bench.inflater.inflate(&bytes, bench.message_bytes_max)?;
                bench.spares.give(bytes);
                let mut text = Assembly::new(true, false);
                text.push(&inflated, 0, bench.spares)?;
                bench.spares.give(inflated);
                text.finish(bench)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_the_making_takes_up_at_most_twice_what_has_arrived() {
        const PIECE: usize = 64 << 10;
        for to_come in [16 << 20, 0] {
            let mut spares = Spares::new(0);
            let mut message = Assembly::new(false, false);
            for arrived in (1..100).map(|pieces| pieces * PIECE) {
                message.push(&[0; PIECE], to_come, &mut spares).unwrap();
                assert_eq!(message.len(), arrived);
                assert!(message.held() <= 2 * arrived + (16 << 10), "{} for {arrived}", message.held());
            }
        }
    }

    #[test]
    fn a_long_message_is_put_together_in_one_buffer_that_served_the_one_before() {
        const PIECE: usize = 64 << 10;
        let mut spares = Spares::new(8 << 20);
        let mut copies = 0;
        for round in 0..3 {
            let mut message = Assembly::new(false, false);
            let (mut held, mut grown) = (0, 0);
            for to_come in (0..16).rev().map(|pieces| pieces * PIECE as u64) {
                message.push(&[0; PIECE], to_come, &mut spares).unwrap();
                grown += usize::from(message.held() != held);
                held = message.held();
            }
            copies = grown;
            assert!(round == 0 || copies == 1, "{copies} buffers in round {round}");
            let Assembly::Binary(bytes) = message else { panic!("it is binary") };
            assert_eq!(bytes.len(), 1 << 20);
            spares.give(bytes);
        }
        assert_eq!(copies, 1);
    }
}
