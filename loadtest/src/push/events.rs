//! Server-sent events as a browser reads them, HTML §9.2.6: lines, joined to events at empty lines.

use super::http::head_in;
use crate::client::Broken;
use crate::reactor::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Takes a server's bytes as they come and gives out the messages in its events.
#[derive(Default)]
pub(super) struct EventReader {
    partial: Vec<u8>,
    /// The response has begun with an event, if without a message.
    pub(super) is_open: bool,
    has_head: bool,
}

impl EventReader {
    /// Takes the next bytes, however they are cut.
    ///
    /// # Errors
    /// What is no stream of events, or says that something is missing.
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Message<'_>)) -> Result<(), Broken> {
        self.partial.extend_from_slice(bytes);
        let mut rest = &self.partial[..];
        if !self.has_head {
            let Some((response, head)) = head_in(rest)? else { return Ok(()) };
            let kind = response.field("content-type").unwrap_or_default();
            if response.status != 200 || !kind.starts_with("text/event-stream") {
                return Err(Broken(format!("answered {} with {kind:?} instead of events", response.status)));
            }
            self.has_head = true;
            rest = &rest[head..];
        }
        while let Some(end) = rest.windows(2).position(|window| window == b"\n\n") {
            read_event(&rest[..end], &mut sink)?;
            self.is_open = true;
            rest = &rest[end + 2..];
        }
        let read = self.partial.len() - rest.len();
        self.partial.drain(..read);
        Ok(())
    }
}

/// The lines of one event, without the empty one that ends it.
fn read_event(lines: &[u8], sink: &mut impl FnMut(Message<'_>)) -> Result<(), Broken> {
    let (mut kind, mut data) = (&b"message"[..], None::<Vec<u8>>);
    for line in lines.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => kind = value,
            b"data" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            // A comment, or what a browser keeps for itself: where it stands, when to come back.
            _ => {}
        }
    }
    let Some(data) = data else { return Ok(()) };
    let decode = |data: &[u8]| STANDARD.decode(data).map_err(|_| Broken::new("base64 that is none"));
    match kind {
        b"message" => sink(Message::Text(&data)),
        b"text-base64" => sink(Message::Text(&decode(&data)?)),
        b"binary" => sink(Message::Binary(&decode(&data)?)),
        b"reset" => return Err(Broken::new("events from which something is missing")),
        _ => {}
    }
    Ok(())
}
