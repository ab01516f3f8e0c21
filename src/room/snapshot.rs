//! Rooms as bytes, for the process that takes over: positions, history, and the keys of publications that may be tried
//! again. Members are not in it; they come by themselves.
//!
//! All numbers are big-endian. A snapshot begins with `MAGIC`, whose last byte is the version, and the number of rooms,
//! and ends with `END`; whatever does not fit that is refused as a whole.

use std::fmt;
use std::time::Duration;

use super::join::JoinError;
use super::keys::Keys;
use super::lane::Cursor;
use super::log::{Keep, Lag, Log};
use crate::ws::message::Message;

const MAGIC: &[u8; 8] = b"fanroom\x01";
const END: &[u8; 4] = b"end.";

/// Why rooms cannot be handed over, or taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// It is none, or of another version.
    Foreign,
    /// Something in it is missing, too much, or not what it says it is.
    Torn,
    /// Even without history it is longer than `takeover_bytes_max`.
    TooLong,
    /// A room in it cannot be made here, or is there already.
    Room(JoinError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Foreign => f.write_str("these are no rooms as this version writes them"),
            SnapshotError::Torn => f.write_str("the rooms are incomplete"),
            SnapshotError::TooLong => f.write_str("the rooms are longer than takeover_bytes_max"),
            SnapshotError::Room(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// One room in a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shot<'s> {
    pub(super) name: &'s str,
    pub(super) epoch: u64,
    /// The offset of the last publication before the history.
    pub(super) base: u64,
    pub(super) keep: Keep,
    pub(super) lag: Lag,
    /// When each key came, the offset it was given, and the key; the oldest first.
    pub(super) keys: Vec<(u64, u64, &'s str)>,
    /// When each publication came, whether the server is its author, and what it is.
    pub(super) history: Vec<(u64, bool, Message<'s>)>,
}

/// A snapshot in the making.
pub(super) struct Writer {
    out: Vec<u8>,
    bytes_max: usize,
}

impl Writer {
    pub(super) fn new(rooms: usize, bytes_max: usize) -> Self {
        let mut writer = Self { out: MAGIC.to_vec(), bytes_max };
        writer.number(rooms as u64);
        writer
    }

    fn number(&mut self, number: u64) {
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Adds a room, with its history where that leaves `reserved` bytes for those that follow.
    pub(super) fn room(&mut self, name: &str, log: &Log, lag: Lag, keys: Option<&Keys>, reserved: usize) {
        let (position, keep) = (log.position(), log.keep());
        let history_bytes: usize = log.history(Cursor::default()).map(|entry| entry.message.len() + 17).sum();
        let all_bytes = self.out.len() + Self::least(name, keys) + history_bytes + reserved;
        let count = if all_bytes <= self.bytes_max { log.history_len() } else { 0 };
        self.bytes(name.as_bytes());
        self.number(position.epoch);
        self.number(position.offset - count);
        self.number(keep.messages as u64);
        self.number(keep.bytes as u64);
        self.number(keep.age.as_millis() as u64);
        self.out.push(match lag {
            Lag::Close => 0,
            Lag::Skip => 1,
            Lag::Latest => 2,
        });
        self.number(keys.map_or(0, |keys| keys.iter().count() as u64));
        for (time_ms, key, offset) in keys.into_iter().flat_map(Keys::iter) {
            self.number(time_ms);
            self.number(offset);
            self.bytes(key.as_bytes());
        }
        self.number(count);
        for entry in log.history(Cursor::default()).take(count as usize) {
            self.number(entry.time_ms);
            self.out.push(match entry.message {
                Message::Text(_) if entry.is_notice => 2,
                Message::Binary(_) => 1,
                Message::Text(_) => 0,
            });
            self.bytes(entry.message.as_bytes());
        }
    }

    /// What a room takes besides its name, keys and history: eight numbers, the length of the name among them, and a byte.
    const FIXED: usize = 8 * 8 + 1;

    fn keys_len(keys: Option<&Keys>) -> usize {
        keys.into_iter().flat_map(Keys::iter).map(|(_, key, _)| key.len() + 24).sum()
    }

    /// What a room takes without history.
    pub(super) fn least(name: &str, keys: Option<&Keys>) -> usize {
        Self::FIXED + name.len() + Self::keys_len(keys)
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, SnapshotError> {
        self.out.extend_from_slice(END);
        if self.out.len() > self.bytes_max { Err(SnapshotError::TooLong) } else { Ok(self.out) }
    }
}

/// Reads a whole snapshot.
///
/// # Errors
/// [`SnapshotError::Foreign`] or [`SnapshotError::Torn`].
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Shot<'_>>, SnapshotError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Foreign)?;
    let mut reader = Reader { rest };
    let mut rooms = Vec::new();
    for _ in 0..reader.number()? {
        rooms.push(reader.room()?);
    }
    if reader.rest == END { Ok(rooms) } else { Err(SnapshotError::Torn) }
}

struct Reader<'s> {
    rest: &'s [u8],
}

impl<'s> Reader<'s> {
    fn take(&mut self, len: usize) -> Result<&'s [u8], SnapshotError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SnapshotError::Torn)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, SnapshotError> {
        let bytes = self.take(8)?.try_into().map_err(|_| SnapshotError::Torn)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn byte(&mut self) -> Result<u8, SnapshotError> {
        self.take(1).map(|byte| byte[0])
    }

    fn bytes(&mut self) -> Result<&'s [u8], SnapshotError> {
        let len = self.number()?;
        self.take(usize::try_from(len).map_err(|_| SnapshotError::Torn)?)
    }

    fn text(&mut self) -> Result<&'s str, SnapshotError> {
        simdutf8::basic::from_utf8(self.bytes()?).map_err(|_| SnapshotError::Torn)
    }

    fn room(&mut self) -> Result<Shot<'s>, SnapshotError> {
        let name = self.text()?;
        let (epoch, base) = (self.number()?, self.number()?);
        let keep = Keep {
            messages: self.number()? as usize,
            bytes: self.number()? as usize,
            age: Duration::from_millis(self.number()?),
        };
        let lag = match self.byte()? {
            0 => Lag::Close,
            1 => Lag::Skip,
            2 => Lag::Latest,
            _ => return Err(SnapshotError::Torn),
        };
        let (mut keys, mut history) = (Vec::new(), Vec::new());
        for _ in 0..self.number()? {
            keys.push((self.number()?, self.number()?, self.text()?));
        }
        for _ in 0..self.number()? {
            let time_ms = self.number()?;
            let entry = match self.byte()? {
                0 => (time_ms, false, Message::Text(self.text()?)),
                1 => (time_ms, false, Message::Binary(self.bytes()?)),
                2 => (time_ms, true, Message::Text(self.text()?)),
                _ => return Err(SnapshotError::Torn),
            };
            history.push(entry);
        }
        // Offsets go on from here: there have to be some left.
        let last = base.checked_add(history.len() as u64).filter(|last| *last < 1 << 62);
        last.map(|_| Shot { name, epoch, base, keep, lag, keys, history }).ok_or(SnapshotError::Torn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::long::Tally;
    use super::*;

    fn snapshot(bytes_max: usize) -> Result<Vec<u8>, SnapshotError> {
        let mut log = Log::resume(7, 40, 1 << 20, Tally::default());
        log.set_keep(Keep { messages: 3, bytes: 1 << 10, age: Duration::from_secs(60) });
        for message in [Message::Text("gone"), Message::Text("房"), Message::Binary(&[0, 255])] {
            log.append(message, false, log.head(), 1_000, None);
        }
        log.append(Message::Text(r#"{"join":"a"}"#), true, log.head(), 2_000, None);
        let mut keys = Keys::default();
        keys.remember("k", super::super::position::Position { epoch: 7, offset: 42 }, 1_000, 10, 0);
        let mut writer = Writer::new(2, bytes_max);
        let reserved = Writer::least("b", None) + 4;
        writer.room("a", &log, Lag::Skip, Some(&keys), reserved);
        writer.room("b", &Log::new(8, 1 << 20), Lag::Latest, None, 4);
        writer.finish()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = snapshot(1 << 20).unwrap();
        let shots = read(&bytes).unwrap();
        assert_eq!((shots[0].name, shots[0].epoch, shots[0].base, shots[0].lag), ("a", 7, 41, Lag::Skip));
        assert_eq!(shots[0].keep, Keep { messages: 3, bytes: 1 << 10, age: Duration::from_secs(60) });
        assert_eq!(shots[0].keys, [(1_000, 42, "k")]);
        let history = [
            (1_000, false, Message::Text("房")),
            (1_000, false, Message::Binary(&[0, 255])),
            (2_000, true, Message::Text(r#"{"join":"a"}"#)),
        ];
        assert_eq!(shots[0].history, history);
        assert_eq!((shots[1].name, shots[1].base, shots[1].history.len()), ("b", 0, 0));
    }

    #[test]
    fn a_room_whose_history_is_too_long_goes_without_it_and_none_goes_without_its_position() {
        let whole = snapshot(1 << 20).unwrap().len();
        assert_eq!(snapshot(whole).unwrap().len(), whole);
        let less = snapshot(whole - 1).unwrap();
        let shots = read(&less).unwrap();
        assert_eq!((shots[0].base, shots[0].history.len(), shots[0].keys.len(), shots.len()), (44, 0, 1, 2));
        assert_eq!(snapshot(less.len()).unwrap(), less);
        assert_eq!(snapshot(less.len() - 1), Err(SnapshotError::TooLong));
    }

    #[test]
    fn what_is_cut_glued_or_bent_is_refused_or_at_least_read_without_harm() {
        let bytes = snapshot(1 << 20).unwrap();
        assert_eq!(read(b""), Err(SnapshotError::Foreign));
        for len in MAGIC.len()..bytes.len() {
            assert_eq!(read(&bytes[..len]), Err(SnapshotError::Torn), "{len}");
        }
        assert_eq!(read(&[&bytes[..], b"."].concat()), Err(SnapshotError::Torn));
        for at in 0..bytes.len() {
            for bent in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = bent;
                drop(read(&bytes));
            }
        }
        let mut next_version = bytes.clone();
        next_version[MAGIC.len() - 1] += 1;
        assert_eq!(read(&next_version), Err(SnapshotError::Foreign));
    }
}
