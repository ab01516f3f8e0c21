//! RESP2, the protocol of Redis: commands are written by hand, replies are read by the crate that knows how.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use resp_rs::ParseError;
use resp_rs::resp2::{Frame, parse_frame};

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// A line, a string, or a number as it is written.
    Text(Bytes),
    /// What went wrong; its first word says what kind of thing.
    Error(Bytes),
    /// Several replies in one.
    List(Vec<Reply>),
    /// Nothing.
    Nil,
}

impl Reply {
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Reply::Text(bytes) => Some(bytes),
            Reply::Error(_) | Reply::List(_) | Reply::Nil => None,
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }

    pub(super) fn list(&self) -> &[Reply] {
        match self {
            Reply::List(list) => list,
            Reply::Text(_) | Reply::Error(_) | Reply::Nil => &[],
        }
    }
}

impl From<Frame> for Reply {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::SimpleString(bytes) | Frame::BulkString(Some(bytes)) => Reply::Text(bytes),
            Frame::Error(bytes) => Reply::Error(bytes),
            Frame::Integer(number) => Reply::Text(number.to_string().into()),
            Frame::Array(Some(list)) => Reply::List(list.into_iter().map(Reply::from).collect()),
            Frame::BulkString(None) | Frame::Array(None) => Reply::Nil,
        }
    }
}

/// What has come that is no reply, and never becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

/// Replies as their bytes come in.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    input: BytesMut,
}

impl Decoder {
    /// Bytes of a reply that is not whole yet.
    pub(super) fn len(&self) -> usize {
        self.input.len()
    }

    /// Takes bytes; the replies that are whole now.
    ///
    /// # Errors
    /// [`Garbled`].
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Reply>, Garbled> {
        self.input.extend_from_slice(bytes);
        let mut rest = self.input.split().freeze();
        let mut replies = Vec::new();
        while !rest.is_empty() {
            match parse_frame(rest.clone()) {
                Ok((frame, after)) => {
                    replies.push(frame.into());
                    rest = after;
                }
                Err(ParseError::Incomplete) => break,
                Err(_) => return Err(Garbled),
            }
        }
        // A long reply that comes in many pieces is not copied with each of them.
        self.input = rest.try_into_mut().unwrap_or_else(|rest| BytesMut::from(&rest[..]));
        Ok(replies)
    }
}

/// Writes a command.
pub(super) fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    // Writing to memory does not fail.
    write!(out, "*{}\r\n", parts.len()).unwrap_or_default();
    parts.iter().for_each(|part| word(out, part));
}

/// Writes one word of a command.
pub(super) fn word(out: &mut Vec<u8>, part: &[u8]) {
    write!(out, "${}\r\n", part.len()).unwrap_or_default();
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_whole_in_whatever_pieces_their_bytes_come() {
        let wire = b"+OK\r\n:42\r\n-OOM no\r\n*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\na\r\n\r\n$-1\r\n";
        let text = |text: &'static str| Reply::Text(text.into());
        let want = vec![
            text("OK"),
            text("42"),
            Reply::Error("OOM no".into()),
            Reply::List(vec![text("message"), text("ch"), text("a\r\n")]),
            Reply::Nil,
        ];
        for size in 1..=wire.len() {
            let mut decoder = Decoder::default();
            let got: Vec<Reply> =
                wire.chunks(size).flat_map(|chunk| decoder.receive(chunk).unwrap()).collect();
            assert_eq!((got, decoder.len()), (want.clone(), 0), "pieces of {size}");
        }
        assert_eq!(Decoder::default().receive(b"HTTP/1.1 400\r\n"), Err(Garbled));
    }

    #[test]
    fn a_command_is_a_list_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"k", "房".as_bytes()]);
        assert_eq!(out, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n房\r\n".as_bytes());
    }
}
