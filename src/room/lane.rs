//! A lane: a log in one wire encoding, as contiguous bytes that are ready to send.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::ws::frame::{Opcode, frame_boundary, header_len, write_frame};

/// A place in a lane: how many bytes of it lie before. It always stands where a frame begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// Bytes from an earlier place to this one.
    pub fn since(self, earlier: Cursor) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    fn after(self, len: usize) -> Self {
        Cursor(self.0 + len as u64)
    }
}

/// What a lane holds for a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Pending<'l> {
    /// Nothing that it has not had.
    CaughtUp,
    /// Whole frames that lie side by side: one `send`.
    Frames(&'l [u8]),
    /// The place itself is gone: the tail has passed it.
    Passed,
}

/// Frames in chunks; none lies across two of them.
#[derive(Debug)]
pub struct Lane {
    /// Full chunks and long frames, oldest first: they can be shared, not changed.
    sealed: VecDeque<Chunk>,
    /// The frames since then.
    open: BytesMut,
    open_start: Cursor,
    head: Cursor,
    len: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Chunk {
    start: Cursor,
    frames: Bytes,
}

impl Chunk {
    fn end(&self) -> Cursor {
        self.start.after(self.frames.len())
    }
}

impl Lane {
    /// Bytes in a chunk, and so the most that one `send` carries of short frames.
    const CHUNK: usize = 64 << 10;

    /// Bytes from which a frame gets a chunk of its own, to be shared instead of copied for a slow member.
    const LONG: usize = 16 << 10;

    /// An empty lane that holds about `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        let (sealed, open) = (VecDeque::new(), BytesMut::new());
        Self { sealed, open, open_start: Cursor(0), head: Cursor(0), len: 0, bytes_max }
    }

    /// The place after the last frame, where a new member starts.
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// The first place still held.
    pub fn tail(&self) -> Cursor {
        self.sealed.front().map_or(self.open_start, |chunk| chunk.start)
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a frame; where more than `bytes_max` would be held, the oldest chunks go first, as far as they lie
    /// before `walked`.
    ///
    /// So only members behind that place can lose anything, and what is held stays below `bytes_max` plus what lies
    /// after it, up to a chunk.
    pub fn append(&mut self, opcode: Opcode, payload: &[u8], walked: Cursor) {
        let frame_len = header_len(payload.len()) + payload.len();
        while self.len > 0 && self.len + frame_len > self.bytes_max && self.oldest_end() <= walked {
            self.drop_oldest();
        }
        let is_long = frame_len >= Self::LONG;
        // A lane that holds little has small chunks: a chunk goes as a whole.
        let chunk = Self::CHUNK.min(self.bytes_max / 8);
        if is_long || self.open.len() + frame_len > chunk {
            self.seal();
        }
        self.open.reserve(frame_len);
        write_frame(&mut self.open, opcode, false, payload);
        self.head = self.head.after(frame_len);
        self.len += frame_len;
        if is_long {
            self.seal();
        }
    }

    fn oldest_end(&self) -> Cursor {
        self.sealed.front().map_or(self.head, Chunk::end)
    }

    fn drop_oldest(&mut self) {
        match self.sealed.pop_front() {
            Some(oldest) => self.len -= oldest.frames.len(),
            None => self.clear_open(),
        }
    }

    fn clear_open(&mut self) {
        self.len -= self.open.len();
        self.open = BytesMut::new();
        self.open_start = self.head;
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let frames = std::mem::take(&mut self.open).freeze();
            self.sealed.push_back(Chunk { start: self.open_start, frames });
        }
        self.open_start = self.head;
    }

    /// What is to be sent next to the one who is at `cursor`.
    pub fn pending(&self, cursor: Cursor) -> Pending<'_> {
        if cursor == self.head {
            return Pending::CaughtUp;
        }
        // Nearly every member is at the end.
        if cursor >= self.open_start {
            return Pending::Frames(&self.open[cursor.since(self.open_start) as usize..]);
        }
        match self.sealed_at(cursor) {
            Some(chunk) => Pending::Frames(&chunk.frames[cursor.since(chunk.start) as usize..]),
            None => Pending::Passed,
        }
    }

    /// Where `cursor` is after `sent` bytes of what was pending, and the rest of the frame that the end of those cut.
    pub fn advance(&self, cursor: Cursor, sent: usize) -> (Cursor, Option<Bytes>) {
        // Nearly always, everything up to the end was sent.
        if cursor.after(sent) == self.head {
            return (self.head, None);
        }
        let Pending::Frames(pending) = self.pending(cursor) else { return (cursor, None) };
        let boundary = if sent < pending.len() { frame_boundary(pending, sent) } else { pending.len() };
        let rest =
            (sent < boundary).then(|| match self.sealed_at(cursor).filter(|_| cursor < self.open_start) {
                Some(chunk) => chunk.frames.slice_ref(&pending[sent..boundary]),
                None => Bytes::copy_from_slice(&pending[sent..boundary]),
            });
        (cursor.after(boundary), rest)
    }

    /// Lets go of the chunks that lie wholly before `cursor`.
    pub fn trim_to(&mut self, cursor: Cursor) {
        while self.sealed.front().is_some_and(|oldest| oldest.end() <= cursor) {
            self.drop_oldest();
        }
        if self.sealed.is_empty() && cursor >= self.head && !self.open.is_empty() {
            self.clear_open();
        }
    }

    fn sealed_at(&self, cursor: Cursor) -> Option<&Chunk> {
        let after = self.sealed.partition_point(|chunk| chunk.start <= cursor);
        self.sealed.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lane: &Lane, mut cursor: Cursor, step: usize) -> (Vec<u8>, usize) {
        let (mut got, mut sends) = (Vec::new(), 0);
        while let Pending::Frames(frames) = lane.pending(cursor) {
            let sent = frames.len().min(step);
            got.extend_from_slice(&frames[..sent]);
            let (next, rest) = lane.advance(cursor, sent);
            got.extend_from_slice(&rest.unwrap_or_default());
            assert!(next > cursor);
            (cursor, sends) = (next, sends + 1);
        }
        assert_eq!(lane.pending(cursor), Pending::CaughtUp);
        (got, sends)
    }

    #[test]
    fn what_lies_side_by_side_is_one_send_and_any_cut_is_made_good() {
        let mut lane = Lane::new(usize::MAX);
        let start = lane.head();
        let mut want = BytesMut::new();
        for len in [0, 5, 125, 126, 20_000, 3, 66_000, 7] {
            lane.append(Opcode::Binary, &vec![1; len], start);
            write_frame(&mut want, Opcode::Binary, false, &vec![1; len]);
        }
        assert_eq!(drain(&lane, start, usize::MAX), (want.to_vec(), 5));
        for step in [1, 2, 3, 7, 100, 19_999, 65_999] {
            assert_eq!(drain(&lane, start, step).0, want, "{step} bytes at a time");
        }
    }

    #[test]
    fn the_oldest_goes_first_and_a_cursor_it_took_along_is_told() {
        let mut lane = Lane::new(50_000);
        let start = lane.head();
        for _ in 0..10 {
            lane.append(Opcode::Binary, &[0; 20_000], lane.head());
            assert!(lane.len() <= 50_000);
        }
        assert_eq!(lane.pending(start), Pending::Passed);
        assert_eq!(drain(&lane, lane.tail(), usize::MAX).1, 2);
        lane.append(Opcode::Binary, &[0; 100_000], lane.head());
        assert_eq!(lane.len(), 100_010);
        lane.trim_to(lane.head());
        assert!(lane.is_empty());
        assert_eq!(lane.pending(lane.head()), Pending::CaughtUp);
        assert_eq!(lane.pending(start), Pending::Passed);
    }

    #[test]
    fn what_those_who_keep_up_have_not_been_sent_never_goes() {
        let mut lane = Lane::new(1000);
        let start = lane.head();
        for _ in 0..30 {
            lane.append(Opcode::Binary, &[0; 98], start);
        }
        assert_eq!((lane.tail(), lane.len()), (start, 3000));
        let walked = drain_to(&lane, start, 1500);
        lane.append(Opcode::Binary, &[0; 98], walked);
        assert!(lane.tail() <= walked && lane.len() <= 1700, "{} bytes", lane.len());
    }

    /// The place after the frame that byte `len` lies in.
    fn drain_to(lane: &Lane, mut cursor: Cursor, len: u64) -> Cursor {
        while cursor.0 < len {
            cursor = lane.advance(cursor, 1).0;
        }
        cursor
    }
}
