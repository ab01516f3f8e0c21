//! A lane: a log in one wire encoding, as contiguous bytes that are ready to send.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::long::{Rest, Tally};
use crate::planted::{Fault, is_planted};

/// A place in a log: the offset of the last publication before it; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// The place after the publication with this offset.
    pub fn after(offset: u64) -> Self {
        Cursor(offset)
    }

    /// The offset of the last publication before this place.
    pub fn offset(self) -> u64 {
        self.0
    }

    /// Publications from an earlier place to this one.
    pub fn since(self, earlier: Cursor) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a lane holds for a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Pending<'l> {
    /// Nothing that it has not had.
    CaughtUp,
    /// Whole publications that lie side by side: one `send`.
    Frames(&'l [u8]),
    /// What came next is gone: the tail has passed it.
    Passed,
}

/// Encoded publications in chunks; none lies across two of them.
///
/// Bytes are counted from the lane's beginning and never repeat.
#[derive(Debug)]
pub struct Lane {
    /// Full chunks and long publications, oldest first: they can be shared, not changed.
    sealed: VecDeque<Chunk>,
    /// What those take up together, and how much of that counts in `tally`.
    sealed_held: usize,
    sealed_tallied: usize,
    /// The publications since then.
    open: BytesMut,
    open_start: u64,
    /// Where each publication ends that is held.
    ends: VecDeque<u64>,
    /// The place after the last of them.
    head: Cursor,
    /// The place before the first of them, as a cursor and in bytes.
    tail: Cursor,
    tail_byte: u64,
    bytes_max: usize,
    tally: Tally,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    /// The place after its last publication.
    last: Cursor,
    bytes: Bytes,
    /// Memory taken up.
    held: usize,
    /// There as long as this is, and only where a publication has it for itself.
    alone: Option<Arc<()>>,
}

impl Lane {
    /// Bytes in a chunk, and so the most that one `send` carries of short publications.
    const CHUNK: usize = 64 << 10;

    /// Bytes from which a publication gets a chunk of its own, to be shared instead of copied for a slow member.
    const LONG: usize = 16 << 10;

    /// An empty lane that holds about `bytes_max` of what is published after `tail`. What readers may go on to hold when
    /// the lane does not, counts in `tally`.
    pub fn new(bytes_max: usize, tail: Cursor, tally: Tally) -> Self {
        Self {
            sealed: VecDeque::new(),
            sealed_held: 0,
            sealed_tallied: 0,
            open: BytesMut::new(),
            open_start: 0,
            ends: VecDeque::new(),
            head: tail,
            tail,
            tail_byte: 0,
            bytes_max,
            tally,
        }
    }

    /// Changes how much is held.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The place after the last publication, where a new member starts.
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// The first place still held.
    pub fn tail(&self) -> Cursor {
        self.tail
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        (self.head_byte() - self.tail_byte) as usize
    }

    /// Bytes of memory taken up.
    pub fn allocated(&self) -> usize {
        let tables = self.sealed.capacity() * size_of::<Chunk>() + self.ends.capacity() * size_of::<u64>();
        self.sealed_held + self.open.capacity() + tables
    }

    /// Bytes among those that count in the tally, too.
    pub fn tallied(&self) -> usize {
        self.sealed_tallied
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes between a place that is held and the head; all that are held where it is not.
    pub fn bytes_after(&self, cursor: Cursor) -> u64 {
        self.head_byte() - self.byte_at(cursor).unwrap_or(self.tail_byte)
    }

    fn head_byte(&self) -> u64 {
        self.open_start + self.open.len() as u64
    }

    /// The byte at which the publication after `cursor` begins.
    #[inline]
    fn byte_at(&self, cursor: Cursor) -> Option<u64> {
        match cursor.0.checked_sub(self.tail.0)? {
            0 => Some(self.tail_byte),
            count => self.ends.get(count as usize - 1).copied(),
        }
    }

    /// Appends a publication of `len` bytes, as `write` writes it; where more than `bytes_max` would be held, the
    /// oldest chunks go first, as far as they lie before `walked`.
    ///
    /// So only members behind that place can lose anything, and what is held stays below `bytes_max` plus what lies
    /// after it, up to a chunk.
    pub fn append(&mut self, len: usize, walked: Cursor, write: impl FnOnce(&mut BytesMut)) {
        while !self.is_empty() && self.len() + len > self.bytes_max && self.oldest_last() <= walked {
            self.drop_oldest();
        }
        let is_long = len >= Self::LONG;
        // A lane that holds little has small chunks: a chunk goes as a whole.
        let chunk = Self::CHUNK.min(self.bytes_max / 8);
        if is_long || self.open.len() + len > chunk {
            self.seal();
        }
        self.make_room(len, chunk);
        write(&mut self.open);
        self.ends.push_back(self.head_byte());
        self.head = Cursor(self.head.0 + 1);
        if is_long {
            self.seal();
        }
    }

    /// Makes room for `len` bytes more; as long as those do not need it, for no more than a chunk.
    fn make_room(&mut self, len: usize, chunk: usize) {
        let needed = self.open.len() + len;
        if needed > self.open.capacity() {
            let doubled = (2 * self.open.capacity()).min(chunk);
            let mut larger = BytesMut::with_capacity(needed.max(doubled));
            larger.extend_from_slice(&self.open);
            self.open = larger;
        }
    }

    fn oldest_last(&self) -> Cursor {
        self.sealed.front().map_or(self.head(), |chunk| chunk.last)
    }

    fn drop_oldest(&mut self) {
        match self.sealed.pop_front() {
            Some(oldest) => {
                self.ends.drain(..oldest.last.since(self.tail) as usize);
                self.tail = oldest.last;
                self.tail_byte = oldest.start + oldest.bytes.len() as u64;
                self.sealed_held -= oldest.held;
                self.sealed_tallied -= if oldest.alone.is_some() { oldest.held } else { 0 };
                shrink(&mut self.ends);
                shrink(&mut self.sealed);
            }
            None => self.clear_open(),
        }
    }

    /// Everything goes; nothing is sealed.
    fn clear_open(&mut self) {
        self.tail = self.head();
        self.tail_byte = self.head_byte();
        self.open = BytesMut::new();
        self.open_start = self.tail_byte;
        self.ends.clear();
        shrink(&mut self.ends);
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let (start, last) = (self.open_start, self.head());
            let is_shared = self.ends.len().checked_sub(2).is_some_and(|before| self.ends[before] > start);
            let open = std::mem::take(&mut self.open);
            let held = open.capacity();
            let bytes = if is_shared { open.freeze() } else { self.tally.share(open) };
            self.open_start += bytes.len() as u64;
            self.sealed_held += held;
            self.sealed_tallied += if is_shared { 0 } else { held };
            let alone = (!is_shared).then(Arc::default);
            self.sealed.push_back(Chunk { start, last, bytes, held, alone });
        }
    }

    /// What is to be sent next to the one who is at `cursor`.
    #[inline]
    pub fn pending(&self, cursor: Cursor) -> Pending<'_> {
        if cursor >= self.head() {
            return Pending::CaughtUp;
        }
        let Some(byte) = self.byte_at(cursor) else { return Pending::Passed };
        // Nearly every member is at the end.
        match byte.checked_sub(self.open_start) {
            Some(at) => Pending::Frames(&self.open[at as usize..]),
            None => self.sealed_at(byte).map_or(Pending::Passed, |chunk| {
                Pending::Frames(&chunk.bytes[(byte - chunk.start) as usize..])
            }),
        }
    }

    /// As [`Lane::pending`], but nothing of the publication with this offset, or of what comes after it.
    pub fn pending_before(&self, cursor: Cursor, offset: u64) -> Pending<'_> {
        let pending = self.pending(cursor);
        let Pending::Frames(frames) = pending else { return pending };
        match (self.byte_at(cursor), self.byte_at(Cursor(offset.saturating_sub(1)))) {
            (Some(from), Some(to)) if to <= from => Pending::CaughtUp,
            (Some(from), Some(to)) => Pending::Frames(&frames[..frames.len().min((to - from) as usize)]),
            (_, _) => pending,
        }
    }

    /// The one publication after `cursor`.
    pub fn publication(&self, cursor: Cursor) -> Option<&[u8]> {
        let Pending::Frames(frames) = self.pending(cursor) else { return None };
        let len = self.ends.get(cursor.since(self.tail) as usize)? - self.byte_at(cursor)?;
        Some(&frames[..len as usize])
    }

    /// Where `cursor` is after `sent` bytes of what was pending, and the rest of the publication that the end of those
    /// cut: nothing may come between the two.
    #[inline]
    pub fn advance(&self, cursor: Cursor, sent: usize) -> (Cursor, Option<Rest>) {
        let Some(byte) = self.byte_at(cursor).map(|byte| byte + sent as u64) else { return (cursor, None) };
        // Nearly always, everything up to the end was sent.
        if byte == self.head_byte() {
            return (self.head, None);
        }
        if sent == 0 {
            return (cursor, None);
        }
        self.cut(byte)
    }

    /// The place after the publication that `byte` lies in or ends, and what of it lies behind that.
    fn cut(&self, byte: u64) -> (Cursor, Option<Rest>) {
        let at = self.ends.partition_point(|end| *end < byte);
        let Some(end) = self.ends.get(at).copied() else { return (self.head(), None) };
        let rest = (byte < end).then(|| match self.sealed_at(byte).filter(|_| byte < self.open_start) {
            Some(chunk) => {
                let rest = (byte - chunk.start) as usize..(end - chunk.start) as usize;
                // A part of a chunk keeps all of it: worth it only for what has a chunk of its own.
                match &chunk.alone {
                    None => Rest::copy(&chunk.bytes[rest]),
                    Some(log) => {
                        let (bytes, log) = (chunk.bytes.slice(rest), Arc::downgrade(log));
                        Rest { bytes, shared: chunk.held, log }
                    }
                }
            }
            None => {
                let open = (byte - self.open_start) as usize..(end - self.open_start) as usize;
                Rest::copy(&self.open[open])
            }
        });
        let skipped = u64::from(is_planted(Fault::CursorSkipsOne) && rest.is_some());
        (Cursor((self.tail.0 + at as u64 + 1 + skipped).min(self.head.0)), rest)
    }

    /// Lets go of the chunks that lie wholly before `cursor`.
    pub fn trim_to(&mut self, cursor: Cursor) {
        while self.sealed.front().is_some_and(|oldest| oldest.last <= cursor) {
            self.drop_oldest();
        }
        if self.sealed.is_empty() && cursor >= self.head() && !self.is_empty() {
            self.clear_open();
        }
    }

    /// The sealed chunk in which a byte lies.
    fn sealed_at(&self, byte: u64) -> Option<&Chunk> {
        let after = self.sealed.partition_point(|chunk| chunk.start <= byte);
        self.sealed.get(after.checked_sub(1)?)
    }
}

/// Entries of a table for which there is room whether they are used or not.
pub(super) const KEPT: usize = 1024;

/// Gives back what a table took up when there was more in it.
pub(super) fn shrink<E>(table: &mut VecDeque<E>) {
    if table.capacity() > KEPT && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(lane: &mut Lane, len: usize, walked: Cursor) {
        lane.append(len, walked, |out| out.resize(out.len() + len, b'x'));
    }

    fn drain(lane: &Lane, mut cursor: Cursor, step: usize) -> (usize, usize) {
        let (mut got, mut sends) = (0, 0);
        while let Pending::Frames(frames) = lane.pending(cursor) {
            let sent = frames.len().min(step);
            let (next, rest) = lane.advance(cursor, sent);
            got += sent + rest.map_or(0, |rest| rest.bytes.len());
            assert!(next > cursor);
            (cursor, sends) = (next, sends + 1);
        }
        assert_eq!(lane.pending(cursor), Pending::CaughtUp);
        (got, sends)
    }

    #[test]
    fn the_rest_of_a_short_publication_keeps_no_other_in_memory() {
        let mut lane = Lane::new(usize::MAX, Cursor::default(), Tally::default());
        for len in [1000, 1000, 20_000, 1000, 70_000] {
            append(&mut lane, len, Cursor::default());
        }
        let chunks: Vec<_> =
            lane.sealed.iter().map(|chunk| (chunk.bytes.len(), chunk.alone.is_none())).collect();
        assert_eq!(chunks, [(2000, true), (20_000, false), (1000, false), (70_000, false)]);
        for (before, lies_in_its_chunk) in [(0, false), (1, false), (2, true), (3, true), (4, true)] {
            let cursor = Cursor::after(before);
            let rest = lane.advance(cursor, 10).1.unwrap();
            let chunk = lane.sealed_at(lane.byte_at(cursor).unwrap()).unwrap().bytes.as_ptr_range();
            assert_eq!(chunk.contains(&rest.bytes.as_ptr()), lies_in_its_chunk, "{before}");
        }
    }

    #[test]
    fn what_lies_side_by_side_is_one_send_and_any_cut_is_made_good() {
        let mut lane = Lane::new(usize::MAX, Cursor::default(), Tally::default());
        let lens = [2, 7, 127, 130, 20_004, 5, 66_010, 9];
        let mut want = Vec::new();
        for (i, len) in (1u8..).zip(lens) {
            lane.append(len, Cursor::default(), |out| out.resize(out.len() + len, i));
            want.extend(vec![i; len]);
        }
        assert_eq!(lane.head(), Cursor(8));
        assert_eq!(drain(&lane, Cursor(0), usize::MAX), (want.len(), 5));
        for step in [1, 2, 3, 7, 100, 19_999, 65_999] {
            let (mut got, mut cursor) = (Vec::new(), Cursor(0));
            while let Pending::Frames(frames) = lane.pending(cursor) {
                let sent = frames.len().min(step);
                got.extend_from_slice(&frames[..sent]);
                let (next, rest) = lane.advance(cursor, sent);
                got.extend_from_slice(&rest.map(|rest| rest.bytes).unwrap_or_default());
                cursor = next;
            }
            assert_eq!(got, want, "{step} bytes at a time");
        }
        for (i, len) in (0..).zip(lens) {
            assert_eq!(lane.publication(Cursor(i)), Some(&vec![i as u8 + 1; len][..]));
        }
        assert_eq!(lane.publication(Cursor(8)), None);
    }

    #[test]
    fn the_oldest_goes_first_and_a_cursor_it_took_along_is_told() {
        let mut lane = Lane::new(50_000, Cursor(40), Tally::default());
        for _ in 0..10 {
            let head = lane.head();
            append(&mut lane, 20_000, head);
            assert!(lane.len() <= 50_000);
        }
        assert_eq!((lane.head(), lane.tail()), (Cursor(50), Cursor(48)));
        assert_eq!(lane.pending(Cursor(40)), Pending::Passed);
        assert_eq!(drain(&lane, lane.tail(), usize::MAX).1, 2);
        let head = lane.head();
        append(&mut lane, 100_000, head);
        assert_eq!(lane.len(), 100_000);
        lane.trim_to(lane.head());
        assert!(lane.is_empty());
        assert_eq!(lane.pending(lane.head()), Pending::CaughtUp);
        assert_eq!(lane.pending(Cursor(40)), Pending::Passed);
    }

    #[test]
    fn what_those_who_keep_up_have_not_been_sent_never_goes() {
        let mut lane = Lane::new(1000, Cursor::default(), Tally::default());
        for _ in 0..30 {
            append(&mut lane, 100, Cursor::default());
        }
        assert_eq!((lane.tail(), lane.len()), (Cursor(0), 3000));
        append(&mut lane, 100, Cursor(15));
        assert!(lane.tail() <= Cursor(15) && lane.len() <= 1700, "{} bytes", lane.len());
        assert_eq!(lane.bytes_after(Cursor(15)), 1600);
    }

    #[test]
    fn an_empty_lane_holds_no_memory_for_what_has_gone() {
        let mut lane = Lane::new(usize::MAX, Cursor::default(), Tally::default());
        for _ in 0..10_000 {
            append(&mut lane, 10, Cursor::default());
        }
        lane.trim_to(lane.head());
        assert!(lane.ends.capacity() <= KEPT && lane.open.capacity() == 0);
        append(&mut lane, 10, Cursor::default());
        assert_eq!((lane.head(), lane.len()), (Cursor(10_001), 10));
    }
}
