//! One publication in each of its encodings: a frame, JSON in a frame, a server-sent event.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::position::Position;
use crate::ws::frame::{Opcode, split_server_frame, write_frame};
use crate::ws::message::Message;

/// How a reader gets publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// The message itself, as a text or binary frame.
    #[default]
    Raw,
    /// A text frame with a JSON object that also says the offset and the time.
    Json,
    /// A server-sent event whose id is the position (HTML §9.2).
    Events,
}

/// What a lane holds: publications in one encoding, in frames that are compressed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// The encoding.
    pub encoding: Encoding,
    /// Whether the frames are compressed (RFC 7692 §6), as far as that makes them shorter.
    pub is_compressed: bool,
}

impl Wire {
    /// The frames as most members get them.
    pub const RAW: Self = Self { encoding: Encoding::Raw, is_compressed: false };
}

impl From<Encoding> for Wire {
    fn from(encoding: Encoding) -> Self {
        Self { encoding, is_compressed: false }
    }
}

/// One publication as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Where it stands.
    pub position: Position,
    /// Whether JSON says all of the position: its reader may have begun in another epoch.
    pub in_full: bool,
    /// When it was published, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whether the server itself is the author: the message is then a JSON object that says what happened.
    pub is_notice: bool,
    /// What was published.
    pub message: Message<'a>,
}

impl Publication<'_> {
    /// The JSON object that the publication is to a reader who asked for JSON, by WebSocket or by HTTP.
    ///
    /// Text is `"text"`, bytes are `"base64"`, and a notice is `"notice"`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.message.len() * 4 / 3);
        let (offset, time) = (self.position.offset, self.time_ms);
        let kind = if self.is_notice { "notice" } else { "message" };
        // Writing to memory does not fail.
        write!(out, r#"{{"type":"{kind}","offset":{offset},"time":{time},"#).unwrap_or_default();
        if self.in_full {
            write!(out, r#""position":"{}","#, self.position).unwrap_or_default();
        }
        match self.message {
            Message::Text(text) if self.is_notice => {
                out.extend_from_slice(b"\"notice\":");
                out.extend_from_slice(text.as_bytes());
            }
            Message::Text(text) => {
                out.extend_from_slice(b"\"text\":");
                serde_json::to_writer(&mut out, text).unwrap_or_default();
            }
            Message::Binary(bytes) => {
                out.extend_from_slice(b"\"base64\":\"");
                out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                out.push(b'"');
            }
        }
        out.push(b'}');
        out
    }

    /// The event. A reader joins its lines with LF, so a text that has a CR travels as `text-base64`; and so does a long
    /// one with so many lines that what stands before each would make it longer than that.
    fn to_event(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.message.len() * 4 / 3);
        writeln!(out, "id: {}", self.position).unwrap_or_default();
        let (event, text) = match self.message {
            Message::Text(text) if self.is_notice => ("event: notice\n", text.to_owned()),
            Message::Text(text) if text.contains('\r') || is_mostly_ends(text) => {
                ("event: text-base64\n", STANDARD.encode(text))
            }
            Message::Text(text) => ("", text.to_owned()),
            Message::Binary(bytes) => ("event: binary\n", STANDARD.encode(bytes)),
        };
        out.extend_from_slice(event.as_bytes());
        for line in text.split('\n') {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        out.push(b'\n');
        out
    }
}

/// Whether a text is long, and longer as lines of an event than in base64.
fn is_mostly_ends(text: &str) -> bool {
    const LONG: usize = 16 << 10;
    let ends = || text.bytes().filter(|byte| *byte == b'\n').count();
    text.len() >= LONG && ends() * "data: ".len() > text.len() / 3
}

impl Encoding {
    /// The publication as bytes that are ready to send.
    pub fn encode(self, publication: &Publication<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Encoding::Raw => match publication.message {
                Message::Text(text) => write_frame(&mut out, Opcode::Text, false, text.as_bytes()),
                Message::Binary(bytes) => write_frame(&mut out, Opcode::Binary, false, bytes),
            },
            Encoding::Json => write_frame(&mut out, Opcode::Text, false, &publication.to_json()),
            Encoding::Events => out = publication.to_event(),
        }
        out
    }

    /// What the server itself has to say to one reader alone, a JSON object, as that one reads publications. It is none
    /// itself, so it has neither an offset nor a time.
    pub fn encode_notice(self, notice: &str) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Encoding::Raw => write_frame(&mut out, Opcode::Text, false, notice.as_bytes()),
            Encoding::Json => {
                let object = format!("{{\"type\":\"notice\",\"notice\":{notice}}}");
                write_frame(&mut out, Opcode::Text, false, object.as_bytes());
            }
            Encoding::Events => out = format!("event: notice\ndata: {notice}\n\n").into_bytes(),
        }
        out
    }

    /// The message in a frame that was written for the raw lane.
    pub(super) fn decode(frame: &[u8]) -> Option<Message<'_>> {
        let (opcode, payload) = split_server_frame(frame)?;
        match opcode {
            Opcode::Text => simdutf8::basic::from_utf8(payload).ok().map(Message::Text),
            Opcode::Binary => Some(Message::Binary(payload)),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(message: Message<'_>, is_notice: bool) -> Publication<'_> {
        let position = Position { epoch: 3, offset: 4 };
        Publication { position, in_full: false, time_ms: 5, is_notice, message }
    }

    #[test]
    fn a_publication_in_json() {
        let rows = [
            (
                publication(Message::Text("a\"\n房"), false),
                r#"{"type":"message","offset":4,"time":5,"text":"a\"\n房"}"#,
            ),
            (
                publication(Message::Binary(&[0, 255]), false),
                r#"{"type":"message","offset":4,"time":5,"base64":"AP8="}"#,
            ),
            (
                publication(Message::Text(r#"{"join":"a"}"#), true),
                r#"{"type":"notice","offset":4,"time":5,"notice":{"join":"a"}}"#,
            ),
        ];
        for (publication, want) in rows {
            assert_eq!(String::from_utf8(publication.to_json()).unwrap(), want);
        }
        let in_full = Publication { in_full: true, ..publication(Message::Text("a"), false) };
        let want = r#"{"type":"message","offset":4,"time":5,"position":"3:4","text":"a"}"#;
        assert_eq!(String::from_utf8(in_full.to_json()).unwrap(), want, "to who may know another epoch");
    }

    #[test]
    fn row_54_a_publication_as_an_event() {
        let rows = [
            (publication(Message::Text("one\ntwo\n"), false), "id: 3:4\ndata: one\ndata: two\ndata: \n\n"),
            (publication(Message::Text(""), false), "id: 3:4\ndata: \n\n"),
            (publication(Message::Text("a\r\nb"), false), "id: 3:4\nevent: text-base64\ndata: YQ0KYg==\n\n"),
            (publication(Message::Binary(&[0, 255]), false), "id: 3:4\nevent: binary\ndata: AP8=\n\n"),
            (publication(Message::Text("{}"), true), "id: 3:4\nevent: notice\ndata: {}\n\n"),
        ];
        for (publication, want) in rows {
            assert_eq!(String::from_utf8(Encoding::Events.encode(&publication)).unwrap(), want);
        }
    }

    #[test]
    fn row_54_a_long_text_of_many_lines_makes_no_event_much_longer_than_itself() {
        for len in [1, 1000, 16 << 10, 1 << 20] {
            for text in ["\n".repeat(len), "x\n".repeat(len / 2), "a line of a poem\n".repeat(len / 17)] {
                let event = Encoding::Events.encode(&publication(Message::Text(&text), false));
                assert!(
                    event.len() <= text.len() * 4 / 3 + (6 * (16 << 10)) + 100,
                    "{} for {len}",
                    event.len()
                );
            }
        }
    }

    #[test]
    fn a_notice_to_one_reader_in_each_encoding() {
        let rows: [(Encoding, &[u8], &str); 3] = [
            (Encoding::Raw, &[0x81, 13], r#"{"skipped":7}"#),
            (Encoding::Json, &[0x81, 40], r#"{"type":"notice","notice":{"skipped":7}}"#),
            (Encoding::Events, b"event: notice\n", "data: {\"skipped\":7}\n\n"),
        ];
        for (encoding, begin, rest) in rows {
            let want = [begin, rest.as_bytes()].concat();
            assert_eq!(encoding.encode_notice(r#"{"skipped":7}"#), want, "{encoding:?}");
        }
    }

    #[test]
    fn what_is_in_a_frame_comes_out_again() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(len);
            for message in [Message::Text(&text), Message::Binary(text.as_bytes())] {
                let frame = Encoding::Raw.encode(&publication(message, false));
                assert_eq!(Encoding::decode(&frame), Some(message));
            }
        }
    }
}
