//! The log of a room: publications in one order, each with its offset.

use super::lane::{Cursor, Lane, Pending};
use crate::ws::frame::Opcode;
use crate::ws::message::Message;

/// Where a publication stands: offsets count from 1 within an epoch and never repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Names one life of the room's log.
    pub epoch: u64,
    /// The number of the publication in it.
    pub offset: u64,
}

/// What was published and somebody still has to be sent.
#[derive(Debug)]
pub struct Log {
    position: Position,
    /// The frames as every member gets them; a server's frame is header plus unmasked payload, so this is the store.
    raw: Lane,
}

impl Log {
    /// An empty log.
    pub fn new(epoch: u64, bytes_max: usize) -> Self {
        Self { position: Position { epoch, offset: 0 }, raw: Lane::new(bytes_max) }
    }

    /// Appends a publication, once and ready to send. Where the log is full, the oldest go, but none after `walked`.
    pub fn append(&mut self, message: Message<'_>, walked: Cursor) -> Position {
        let opcode = match message {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        };
        self.raw.append(opcode, message.as_bytes(), walked);
        self.position.offset += 1;
        self.position
    }

    /// The position of the latest publication; offset 0 before the first.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The raw lane.
    pub fn raw(&self) -> &Lane {
        &self.raw
    }

    /// The place after the latest publication.
    pub fn head(&self) -> Cursor {
        self.raw.head()
    }

    /// What is to be sent next to the one who is at `cursor`.
    pub fn pending(&self, cursor: Cursor) -> Pending<'_> {
        self.raw.pending(cursor)
    }

    /// Lets go of what lies before `cursor`.
    pub fn trim_to(&mut self, cursor: Cursor) {
        self.raw.trim_to(cursor);
    }
}
