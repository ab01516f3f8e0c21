//! An open WebSocket connection: messages out of frames, every rule for a server checked on the way.

use std::time::{Duration, Instant};

use super::deflate::Inflater;
use super::frame::{BINARY, CLOSE, CONTINUATION, Frame, Header, PING, PONG, RSV1, TEXT};
use super::wire::{Feed, Wire};
use super::{Broken, excerpt};

/// What a server said next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A whole message.
    Message(Message),
    /// A Pong's payload.
    Pong(Vec<u8>),
    /// A Close with its code, if it had one, and its reason.
    Close(Option<u16>, String),
    /// The end of the TCP connection.
    End,
}

/// A message, reassembled and inflated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Text or binary.
    pub(crate) opcode: u8,
    /// Whether it came compressed.
    pub(crate) compressed: bool,
    /// What it says.
    pub(crate) payload: Vec<u8>,
}

/// A connection after its 101.
pub(crate) struct Socket {
    wire: Wire,
    inflater: Option<Inflater>,
    started: Option<Message>,
}

impl Socket {
    /// A connection whose handshake is done; with an inflater, RSV1 is allowed.
    pub(crate) fn new(wire: Wire, inflater: Option<Inflater>) -> Socket {
        Socket { wire, inflater, started: None }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8], feed: Feed) -> Result<(), Broken> {
        self.wire.send(bytes, feed)
    }

    /// Sends a frame in one write.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<(), Broken> {
        self.wire.send(&frame.encode(), Feed::Whole)
    }

    /// Sends bytes on a thread of its own while the caller reads.
    pub(crate) fn send_aside(&self, bytes: Vec<u8>, feed: Feed) -> Result<(), Broken> {
        self.wire.send_aside(bytes, feed)
    }

    /// Ends our direction with a FIN.
    pub(crate) fn finish_sending(&mut self) {
        self.wire.finish_sending();
    }

    /// Runs `ask` with the deadline brought in to `within` from now.
    pub(crate) fn within<T>(&mut self, within: Duration, ask: impl FnOnce(&mut Socket) -> T) -> T {
        let before = self.wire.deadline();
        self.wire.set_deadline(before.min(Instant::now() + within));
        let answer = ask(self);
        self.wire.set_deadline(before);
        answer
    }

    /// Whether nothing arrives, not even the end, within this time.
    pub(crate) fn is_silent(&mut self, within: Duration) -> bool {
        self.within(within, |socket| socket.wire.unread().is_empty() && socket.wire.fill("word").is_err())
    }

    /// Waits for what the server says next; its Pings are answered here.
    pub(crate) fn hear(&mut self) -> Result<Heard, Broken> {
        loop {
            let Some((header, payload)) = self.frame()? else { return Ok(Heard::End) };
            match header.opcode {
                PING => self.send(&Frame::pong(payload))?,
                PONG => return Ok(Heard::Pong(payload)),
                CLOSE => return close_of(&payload),
                _ => {
                    self.gather(header, &payload)?;
                    if header.fin {
                        return self.finish_message();
                    }
                }
            }
        }
    }

    /// Reads one frame as it stands; `None` is the end of the connection.
    pub(crate) fn frame(&mut self) -> Result<Option<(Header, Vec<u8>)>, Broken> {
        loop {
            if let Some(header) = Header::parse(self.wire.unread())? {
                let size = header.size + usize::try_from(header.length).unwrap_or(usize::MAX - header.size);
                if self.wire.unread().len() >= size {
                    let frame = self.wire.take(size);
                    return Ok(Some((header, frame[header.size..].to_vec())));
                }
            }
            if !self.wire.fill("frame")? {
                // A reset may cut a frame short; what matters here is that the connection ended.
                return Ok(None);
            }
        }
    }

    fn gather(&mut self, header: Header, payload: &[u8]) -> Result<(), Broken> {
        let compressed = header.rsv == RSV1;
        let allowed = self.inflater.is_some() && header.opcode != CONTINUATION;
        if header.rsv != 0 && !(compressed && allowed) {
            return Err(Broken(format!("the server set reserved bits {:#04x} (§5.2)", header.rsv)));
        }
        match (&mut self.started, header.opcode) {
            (Some(message), CONTINUATION) => message.payload.extend_from_slice(payload),
            (None, opcode @ (TEXT | BINARY)) => {
                self.started = Some(Message { opcode, compressed, payload: payload.to_vec() });
            }
            (started, opcode) => {
                let open = if started.is_some() { "an unfinished" } else { "no" };
                return Err(Broken(format!(
                    "the server sent opcode {opcode} with {open} message before it (§5.4)"
                )));
            }
        }
        Ok(())
    }

    fn finish_message(&mut self) -> Result<Heard, Broken> {
        let Some(mut message) = self.started.take() else {
            return Err(Broken::new("the server ended a message that it never began (§5.4)"));
        };
        if let (true, Some(inflater)) = (message.compressed, &mut self.inflater) {
            message.payload = inflater.message(&message.payload)?;
        }
        if message.opcode == TEXT && std::str::from_utf8(&message.payload).is_err() {
            return Err(Broken(format!(
                "the server sent text that is no UTF-8: {} (§8.1)",
                excerpt(&message.payload)
            )));
        }
        Ok(Heard::Message(message))
    }
}

/// §5.5.1: nothing, or two bytes of code and a UTF-8 reason; never a code that is only for local use.
fn close_of(payload: &[u8]) -> Result<Heard, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(Heard::Close(None, String::new())),
        [_] => return Err(Broken::new("the server's Close has a body of one byte (§5.5.1)")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if matches!(code, 0..1000 | 1004 | 1005 | 1006 | 1015 | 5000..) {
        return Err(Broken(format!("the server sent close code {code}, which is never sent (§7.4)")));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Heard::Close(Some(code), reason.to_owned())),
        Err(_) => Err(Broken::new("the server's close reason is no UTF-8 (§5.5.1)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_5_1_a_close_body_is_read_strictly() {
        assert_eq!(close_of(b"").unwrap(), Heard::Close(None, String::new()));
        assert_eq!(close_of(b"\x03\xe8bye").unwrap(), Heard::Close(Some(1000), "bye".to_owned()));
        for body in [b"\x03".as_slice(), b"\x03\xed", b"\x03\xe8\xff", b"\x00\x00", b"\xff\xff"] {
            assert!(close_of(body).is_err(), "{body:?}");
        }
    }
}
