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
#[derive(Debug, Default)]
pub struct Lane {
    chunks: VecDeque<Chunk>,
    head: Cursor,
    len: usize,
}

#[derive(Debug)]
struct Chunk {
    start: Cursor,
    frames: Frames,
}

#[derive(Debug)]
enum Frames {
    /// The last chunk, while it has room.
    Open(BytesMut),
    /// A full chunk, or one long frame: it can be shared, not changed.
    Sealed(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match &self.frames {
            Frames::Open(bytes) => bytes,
            Frames::Sealed(bytes) => bytes,
        }
    }

    fn end(&self) -> Cursor {
        self.start.after(self.bytes().len())
    }
}

impl Lane {
    /// Bytes in a chunk, and so the most that one `send` carries of short frames.
    const CHUNK: usize = 64 << 10;

    /// Bytes from which a frame gets a chunk of its own, to be shared instead of copied for a slow member.
    const LONG: usize = 16 << 10;

    /// The place after the last frame, where a new member starts.
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// The first place still held.
    pub fn tail(&self) -> Cursor {
        self.chunks.front().map_or(self.head, |chunk| chunk.start)
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a frame; the oldest chunks go first where more than `bytes_max` would be held.
    ///
    /// The newest frame is kept whatever its length, so what is held stays below `bytes_max` or is one frame.
    pub fn append(&mut self, opcode: Opcode, payload: &[u8], bytes_max: usize) {
        let frame_len = header_len(payload.len()) + payload.len();
        while self.len + frame_len > bytes_max
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.len -= oldest.bytes().len();
        }
        let frames = self.open_chunk(frame_len);
        write_frame(frames, opcode, false, payload);
        if frame_len >= Self::LONG {
            self.seal();
        }
        self.head = self.head.after(frame_len);
        self.len += frame_len;
    }

    /// The chunk that takes the next frame.
    fn open_chunk(&mut self, frame_len: usize) -> &mut BytesMut {
        let fits = match self.chunks.back().map(|chunk| &chunk.frames) {
            Some(Frames::Open(bytes)) => frame_len < Self::LONG && bytes.len() + frame_len <= Self::CHUNK,
            Some(Frames::Sealed(_)) | None => false,
        };
        if !fits {
            self.seal();
            self.chunks.push_back(Chunk { start: self.head, frames: Frames::Open(BytesMut::new()) });
        }
        match self.chunks.back_mut().map(|chunk| &mut chunk.frames) {
            Some(Frames::Open(bytes)) => bytes,
            Some(Frames::Sealed(_)) | None => unreachable!("an open chunk was just found or pushed"),
        }
    }

    fn seal(&mut self) {
        if let Some(chunk) = self.chunks.back_mut()
            && let Frames::Open(bytes) = &mut chunk.frames
        {
            chunk.frames = Frames::Sealed(bytes.split().freeze());
        }
    }

    /// What is to be sent next to the one who is at `cursor`.
    pub fn pending(&self, cursor: Cursor) -> Pending<'_> {
        if cursor == self.head {
            return Pending::CaughtUp;
        }
        match self.chunk_at(cursor) {
            Some(chunk) => Pending::Frames(&chunk.bytes()[cursor.since(chunk.start) as usize..]),
            None => Pending::Passed,
        }
    }

    /// Where `cursor` is after `sent` bytes of what was pending, and the rest of the frame that the end of those cut.
    pub fn advance(&self, cursor: Cursor, sent: usize) -> (Cursor, Bytes) {
        let Some(chunk) = self.chunk_at(cursor) else { return (cursor, Bytes::new()) };
        let from = cursor.since(chunk.start) as usize;
        let pending = &chunk.bytes()[from..];
        if sent >= pending.len() {
            return (chunk.end(), Bytes::new());
        }
        let boundary = frame_boundary(pending, sent);
        let rest = match &chunk.frames {
            Frames::Sealed(bytes) => bytes.slice(from + sent..from + boundary),
            Frames::Open(_) => Bytes::copy_from_slice(&pending[sent..boundary]),
        };
        (cursor.after(boundary), rest)
    }

    /// Lets go of the chunks that lie wholly before `cursor`.
    pub fn trim_to(&mut self, cursor: Cursor) {
        while let Some(oldest) = self.chunks.pop_front_if(|oldest| oldest.end() <= cursor) {
            self.len -= oldest.bytes().len();
        }
    }

    fn chunk_at(&self, cursor: Cursor) -> Option<&Chunk> {
        // Nearly every member is at the end.
        if let Some(last) = self.chunks.back()
            && last.start <= cursor
        {
            return Some(last);
        }
        let after = self.chunks.partition_point(|chunk| chunk.start <= cursor);
        self.chunks.get(after.checked_sub(1)?)
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
            got.extend_from_slice(&rest);
            assert!(next > cursor);
            (cursor, sends) = (next, sends + 1);
        }
        assert_eq!(lane.pending(cursor), Pending::CaughtUp);
        (got, sends)
    }

    #[test]
    fn what_lies_side_by_side_is_one_send_and_any_cut_is_made_good() {
        let mut lane = Lane::default();
        let start = lane.head();
        let mut want = BytesMut::new();
        for len in [0, 5, 125, 126, 20_000, 3, 66_000, 7] {
            lane.append(Opcode::Binary, &vec![1; len], usize::MAX);
            write_frame(&mut want, Opcode::Binary, false, &vec![1; len]);
        }
        assert_eq!(drain(&lane, start, usize::MAX), (want.to_vec(), 5));
        for step in [1, 2, 3, 7, 100, 19_999, 65_999] {
            assert_eq!(drain(&lane, start, step).0, want, "{step} bytes at a time");
        }
    }

    #[test]
    fn the_oldest_goes_first_and_a_cursor_it_took_along_is_told() {
        let mut lane = Lane::default();
        let start = lane.head();
        for _ in 0..10 {
            lane.append(Opcode::Binary, &[0; 20_000], 50_000);
            assert!(lane.len() <= 50_000);
        }
        assert_eq!(lane.pending(start), Pending::Passed);
        assert_eq!(drain(&lane, lane.tail(), usize::MAX).1, 2);
        lane.append(Opcode::Binary, &[0; 100_000], 50_000);
        assert_eq!(lane.len(), 100_010);
        lane.trim_to(lane.head());
        assert!(lane.is_empty());
        assert_eq!(lane.pending(lane.head()), Pending::CaughtUp);
        assert_eq!(lane.pending(start), Pending::Passed);
    }
}
