//! The recording while it is played: what comes next, and where the engine does something else.

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;

use super::watch::{Watch, harmless};
use crate::record::{Call, Entry, Failure, Input, Other, Reader, RecordingError};

/// Where what is played differs from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The turn, from 1; what is done before a turn begins counts with it.
    pub turn: u64,
    /// The connection, from 1, where it is about one.
    pub conn: Option<u64>,
    /// What was recorded.
    pub recorded: String,
    /// What is done now.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "differs in turn {}", self.turn)?;
        if let Some(conn) = self.conn {
            write!(f, " at connection {conn}")?;
        }
        write!(f, "\n  recorded: {}\n  replayed: {}", self.recorded, self.replayed)
    }
}

/// A recording and how far it has been played.
pub(super) struct Script {
    reader: Reader<Box<dyn BufRead + Send>>,
    next: Option<Entry<'static>>,
    /// Turns that have begun, and the time since the start in nanoseconds.
    pub(super) turns: u64,
    pub(super) at_ns: u64,
    pub(super) conns: u64,
    /// Nothing is compared any more: the end has come, or a difference.
    pub(super) is_over: bool,
    pub(super) difference: Option<Difference>,
    pub(super) broken: Option<RecordingError>,
    pub(super) end: Option<String>,
    pub(super) watch: Option<Watch>,
}

impl Script {
    pub(super) fn new(reader: Reader<Box<dyn BufRead + Send>>, watch: Option<Watch>) -> Self {
        let (next, difference, broken, end) = (None, None, None, None);
        Self { reader, next, turns: 0, at_ns: 0, conns: 0, is_over: false, difference, broken, end, watch }
    }

    /// What comes next; `None` where it is over.
    fn peek(&mut self) -> Option<&Entry<'static>> {
        if self.next.is_none() && !self.is_over {
            match self.reader.read_entry() {
                Ok(Some(entry)) => self.next = Some(entry),
                // Whoever made it did not come to its end.
                Ok(None) => {
                    self.broken = Some(RecordingError::Cut(self.reader.at()));
                    self.is_over = true;
                }
                Err(error) => {
                    self.broken = Some(error);
                    self.is_over = true;
                }
            }
        }
        self.next.as_ref().filter(|_| !self.is_over)
    }

    /// What whoever drives the engine does next; `None` where it is over.
    pub(super) fn input(&mut self) -> Option<Input> {
        match self.peek()?.clone() {
            Entry::Input(input) => {
                self.next = None;
                Some(input)
            }
            Entry::Other(Other::End(why)) => {
                (self.end, self.is_over) = (Some(why.into_owned()), true);
                None
            }
            entry => {
                self.differ(conn_of(&entry), describe(&entry), "nothing more in this turn".to_owned());
                None
            }
        }
    }

    /// What came of a call of a connection; `None` where it was another, or where it is over.
    pub(super) fn call(
        &mut self,
        conn: u64,
        is_it: impl FnOnce(&Call<'_>) -> bool,
        did: impl FnOnce() -> String,
    ) -> Option<Call<'static>> {
        let is_same = match self.peek()? {
            Entry::Call(number, call) => *number == conn && is_it(call),
            Entry::Input(_) | Entry::Other(_) => false,
        };
        match self.next.take() {
            Some(Entry::Call(_, call)) if is_same => Some(call),
            Some(entry) => {
                let recorded = match conn_of(&entry) {
                    Some(other) if other != conn => format!("connection {other}: {}", describe(&entry)),
                    _ => describe(&entry),
                };
                self.differ(Some(conn), recorded, did());
                None
            }
            None => None,
        }
    }

    /// A call that is only recorded where it changes something.
    pub(super) fn change(
        &mut self,
        conn: u64,
        is_it: impl FnOnce(&Call<'_>) -> bool,
    ) -> Option<Call<'static>> {
        match self.peek()? {
            Entry::Call(number, call) if *number == conn && is_it(call) => {}
            _ => return None,
        }
        match self.next.take() {
            Some(Entry::Call(_, call)) => Some(call),
            _ => None,
        }
    }

    /// What the application was answered.
    pub(super) fn answer(&mut self) -> Option<Vec<u8>> {
        match self.peek()?.clone() {
            Entry::Other(Other::Answer(bytes)) => {
                self.next = None;
                Some(bytes.into_owned())
            }
            entry => {
                let did = "the application asks who somebody is, or for an id".to_owned();
                self.differ(conn_of(&entry), describe(&entry), did);
                None
            }
        }
    }

    /// The configuration that was read anew, if it could be used.
    pub(super) fn settings(&mut self) -> Option<(bool, Cow<'static, str>)> {
        match self.peek()? {
            Entry::Other(Other::Settings(..)) => {}
            _ => return None,
        }
        match self.next.take() {
            Some(Entry::Other(Other::Settings(has_gate, text))) => Some((has_gate, text)),
            _ => None,
        }
    }

    /// What came last can be no part of a recording.
    pub(super) fn break_off(&mut self) {
        self.broken = Some(RecordingError::Damaged(self.reader.at()));
        self.is_over = true;
    }

    /// Notes the first difference, after which nothing is compared.
    pub(super) fn differ(&mut self, conn: Option<u64>, recorded: String, replayed: String) {
        if !self.is_over {
            self.difference = Some(Difference { turn: self.turns.max(1), conn, recorded, replayed });
            self.is_over = true;
        }
    }
}

fn conn_of(entry: &Entry<'_>) -> Option<u64> {
    match entry {
        Entry::Call(conn, _) => Some(*conn),
        Entry::Input(_) | Entry::Other(_) => None,
    }
}

/// An entry in words.
fn describe(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Call(_, call) => describe_call(call),
        Entry::Input(input) => match input {
            Input::Wake(_) => "the turn is over".to_owned(),
            Input::Connect(..) => "somebody comes".to_owned(),
            Input::Ready(..) => "a connection is ready".to_owned(),
            Input::Turn => "the turn begins".to_owned(),
            Input::Drain | Input::Stop | Input::DropAll | Input::Deaf => "the server ends".to_owned(),
            Input::Reload => "the configuration is read".to_owned(),
        },
        Entry::Other(Other::Answer(_)) => "the application asks who somebody is, or for an id".to_owned(),
        Entry::Other(Other::Settings(..)) => "the configuration is another".to_owned(),
        Entry::Other(Other::End(why)) => format!("the end: {}", harmless(why)),
    }
}

fn describe_call(call: &Call<'_>) -> String {
    let failed = |what: &str, why: Failure| match why {
        Failure::WouldBlock => format!("{what}, not now"),
        Failure::Interrupted => format!("{what}, interrupted"),
        Failure::Broken => format!("{what}, which fails"),
    };
    match call {
        Call::Read(bytes) if bytes.is_empty() => "a read to the end".to_owned(),
        Call::Read(bytes) => format!("a read of {} bytes", bytes.len()),
        Call::NotRead(why) => failed("a read", *why),
        Call::Write(offered, taken, sum) if offered == taken => {
            format!("a write of {offered} bytes, checksum {sum:08x}")
        }
        Call::Write(offered, taken, sum) => {
            format!("a write of {offered} bytes, of which {taken} are taken, checksum {sum:08x}")
        }
        Call::NotWritten(offered, why) => failed(&format!("a write of {offered} bytes"), *why),
        Call::Shut(_) => "its side is ended".to_owned(),
        Call::NotResumed => "what was held back cannot be sent".to_owned(),
        Call::Held(bytes) => format!("it takes up {bytes} bytes"),
        Call::Announced(_) => "its PROXY header has come".to_owned(),
        Call::Gone => "it is let go".to_owned(),
    }
}
