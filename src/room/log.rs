//! The log of a room: publications in one order, each with its offset, in as many encodings as somebody reads.

mod place;
mod times;

use std::collections::VecDeque;
use std::time::Duration;

use super::encoding::{Encoding, Publication, Wire};
use super::lane::{Cursor, Lane, Pending, shrink};
use super::lineage::Lineage;
use super::long::{Rest, Tally};
use super::position::Position;
use super::press::Press;
use crate::planted::{Fault, is_planted};
use crate::ws::frame::{Opcode, header_len, write_frame};
use crate::ws::message::Message;

/// How much of what was published is kept for those who come later. Nothing, unless said otherwise.
///
/// A publication is history as long as it is within all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The latest so many publications.
    pub messages: usize,
    /// The latest so many bytes of frames.
    pub bytes: usize,
    /// Those not older than this.
    pub age: Duration,
}

impl Keep {
    /// Whether nothing is kept.
    pub fn is_nothing(&self) -> bool {
        self.messages == 0 || self.bytes == 0 || self.age.is_zero()
    }
}

/// What happens to a member that is so slow that the log cannot wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// Its connection is closed with 1013: nobody is left believing that nothing is missing.
    #[default]
    Close,
    /// It goes on with the oldest that is still held, and is told how many it was not sent.
    Skip,
    /// It goes on with the newest, as soon as its socket takes bytes again; what it was not sent is out of date.
    Latest,
}

/// When a publication was appended, in milliseconds since 1970 and by the loop's own clock, and whether the server itself
/// is its author.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) time_ms: u64,
    appended_ns: u64,
    /// How long before that its bytes were read, and how often 2³² ns more: a turn that has hung takes that long.
    ingest_ns: u32,
    ingest_more: u16,
    is_notice: bool,
}

/// What was published and somebody still has to be sent, or may yet ask for.
#[derive(Debug)]
pub struct Log {
    epoch: u64,
    lineage: Lineage,
    /// The epoch is not the one in which some readers have begun.
    is_renamed: bool,
    /// The frames as most members get them; a server's frame is header plus unmasked payload, so this is the store.
    raw: Lane,
    /// The same in other forms, each while somebody reads it; mostly none.
    further: Vec<Further>,
    /// One for each publication that some lane holds.
    pub(super) stamps: VecDeque<Stamp>,
    keep: Keep,
    /// What comes after this is history.
    floor: Cursor,
    bytes_max: usize,
    tally: Tally,
}

/// A lane besides the raw one.
#[derive(Debug)]
struct Further {
    wire: Wire,
    lane: Lane,
    readers: usize,
}

impl Log {
    /// An empty log that holds about `bytes_max` for slow members.
    pub fn new(epoch: u64, bytes_max: usize) -> Self {
        Self::resume(epoch, 0, bytes_max, Tally::default())
    }

    /// A log that goes on after `offset` and knows nothing of what came before; its long publications count in `tally`.
    pub fn resume(epoch: u64, offset: u64, bytes_max: usize, tally: Tally) -> Self {
        Self {
            epoch,
            lineage: Lineage::default(),
            is_renamed: false,
            raw: Lane::new(bytes_max, Cursor::after(offset), tally.clone()),
            further: Vec::new(),
            stamps: VecDeque::new(),
            keep: Keep::default(),
            floor: Cursor::after(offset),
            bytes_max,
            tally,
        }
    }

    /// Says how much history is kept from now on.
    pub fn set_keep(&mut self, keep: Keep) {
        if self.keep != keep {
            self.keep = keep;
            let bytes_max = self.lane_bytes_max();
            self.lanes_mut().for_each(|lane| lane.set_bytes_max(bytes_max));
        }
    }

    /// What each lane holds: enough for slow members, and for what is kept.
    fn lane_bytes_max(&self) -> usize {
        self.bytes_max.max(self.keep.bytes)
    }

    /// Appends a publication, once and ready to send. Where the log is full, the oldest go, but none after `walked`.
    ///
    /// A notice is one whose author is the server. Without a press it is not compressed.
    pub fn append(
        &mut self,
        message: Message<'_>,
        is_notice: bool,
        walked: Cursor,
        now_ms: u64,
        press: Option<&mut Press<'_>>,
    ) -> Position {
        let opcode = match message {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        };
        let payload = message.as_bytes();
        let len = header_len(payload.len()) + payload.len();
        self.raw.append(len, walked, |out| write_frame(out, opcode, false, payload));
        self.stamps.push_back(Stamp {
            time_ms: now_ms,
            appended_ns: 0,
            ingest_ns: 0,
            ingest_more: 0,
            is_notice,
        });
        let position = self.position();
        if !self.further.is_empty() {
            let in_full = self.is_renamed;
            let publication = Publication { position, in_full, time_ms: now_ms, is_notice, message };
            self.append_further(&publication, walked, press);
        }
        self.drop_stamps();
        self.age(now_ms);
        position
    }

    /// Appends to the other lanes, and lets go of those that nobody reads any more.
    fn append_further(
        &mut self,
        publication: &Publication<'_>,
        walked: Cursor,
        mut press: Option<&mut Press<'_>>,
    ) {
        self.further.retain(|further| further.readers > 0);
        for Further { wire, lane, .. } in &mut self.further {
            let plain = wire.encoding.encode(publication);
            let compressed = match &mut press {
                Some(press) if wire.is_compressed => press.compress(&plain),
                Some(_) | None => None,
            };
            let bytes = compressed.unwrap_or(plain);
            lane.append(bytes.len(), walked, |out| out.extend_from_slice(&bytes));
        }
    }

    /// The position of the latest publication; offset 0 before the first.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.head().offset() }
    }

    /// The place after the latest publication.
    #[inline]
    pub fn head(&self) -> Cursor {
        self.raw.head()
    }

    /// Bytes held in all encodings.
    pub fn held(&self) -> usize {
        self.raw.len() + self.further.iter().map(|further| further.lane.len()).sum::<usize>()
    }

    /// Bytes of memory taken up.
    pub fn allocated(&self) -> usize {
        let further = self.further.iter().map(|further| further.lane.allocated());
        further.fold(self.raw.allocated(), |sum, lane| sum + lane)
            + self.further.capacity() * size_of::<Further>()
            + self.stamps.capacity() * size_of::<Stamp>()
    }

    /// Bytes among those that count in the tally, too.
    pub fn tallied(&self) -> usize {
        let further = self.further.iter().map(|further| further.lane.tallied());
        further.fold(self.raw.tallied(), |sum, lane| sum + lane)
    }

    /// Bytes between a place and the head, in the encoding that has the most.
    pub fn bytes_after(&self, cursor: Cursor) -> u64 {
        // A short message is many times as long as JSON or as an event.
        let further = self.further.iter().map(|further| further.lane.bytes_after(cursor));
        further.fold(self.raw.bytes_after(cursor), u64::max)
    }

    /// What is to be sent next to the one who is at `cursor`.
    #[inline]
    pub fn pending(&self, wire: Wire, cursor: Cursor) -> Pending<'_> {
        self.lane(wire).map_or(Pending::CaughtUp, |lane| lane.pending(cursor))
    }

    /// As [`Lane::pending_before`].
    pub fn pending_before(&self, wire: Wire, cursor: Cursor, offset: u64) -> Pending<'_> {
        self.lane(wire).map_or(Pending::CaughtUp, |lane| lane.pending_before(cursor, offset))
    }

    /// As [`Lane::advance`].
    #[inline]
    pub fn advance(&self, wire: Wire, cursor: Cursor, sent: usize) -> (Cursor, Option<Rest>) {
        self.lane(wire).map_or((cursor, None), |lane| lane.advance(cursor, sent))
    }

    /// Whether the tail has passed the one who is at `cursor`.
    pub fn has_passed(&self, wire: Wire, cursor: Cursor) -> bool {
        self.lane(wire).is_some_and(|lane| cursor < lane.tail())
    }

    /// The first place held in a lane.
    pub fn tail(&self, wire: Wire) -> Cursor {
        self.lane(wire).map_or(self.head(), Lane::tail)
    }

    #[inline]
    fn lane(&self, wire: Wire) -> Option<&Lane> {
        if wire == Wire::RAW {
            return Some(&self.raw);
        }
        self.further.iter().find(|further| further.wire == wire).map(|further| &further.lane)
    }

    fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        let further = self.further.iter_mut().map(|further| &mut further.lane);
        std::iter::once(&mut self.raw).chain(further)
    }

    /// Takes in a reader of a lane, which is made with what is history, if there is none: what is held besides, for slow
    /// members of other lanes, nobody will read in this one, and it may be long.
    ///
    /// What was published before stands in a lane of compressed frames as it is: so each publication is compressed at
    /// most once, when it comes, however often readers come and go.
    pub fn open_lane(&mut self, wire: Wire) {
        if wire == Wire::RAW {
            return;
        }
        if let Some(further) = self.further.iter_mut().find(|further| further.wire == wire) {
            further.readers += 1;
            return;
        }
        let short = u64::from(is_planted(Fault::LateLaneOneShort) && self.has_history());
        let tail = Cursor::after(self.floor.max(self.raw.tail()).offset() + short);
        let mut lane = Lane::new(self.lane_bytes_max(), tail, self.tally.clone());
        for publication in self.publications(tail) {
            let bytes = wire.encoding.encode(&publication);
            lane.append(bytes.len(), Cursor::default(), |out| out.extend_from_slice(&bytes));
        }
        self.further.push(Further { wire, lane, readers: 1 });
    }

    /// Takes a reader out of a lane; the last one's lane goes when something is published.
    pub fn close_lane(&mut self, wire: Wire) {
        if let Some(further) = self.further.iter_mut().find(|further| further.wire == wire) {
            further.readers = further.readers.saturating_sub(1);
        }
    }

    /// What is history, oldest first, from a place on.
    pub fn history(&self, from: Cursor) -> impl Iterator<Item = Publication<'_>> {
        self.publications(from.max(self.floor))
    }

    fn publications(&self, from: Cursor) -> impl Iterator<Item = Publication<'_>> {
        let first = from.max(self.raw.tail());
        (first.offset()..self.head().offset()).filter_map(move |before| {
            let frame = self.raw.publication(Cursor::after(before))?;
            let stamp = self.stamps.get((before - self.first_stamp()) as usize)?;
            let position = Position { epoch: self.epoch, offset: before + 1 };
            Some(Publication {
                position,
                in_full: self.is_renamed,
                time_ms: stamp.time_ms,
                is_notice: stamp.is_notice,
                message: Encoding::decode(frame)?,
            })
        })
    }

    /// How much history is kept.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// Whether there is any history.
    pub fn has_history(&self) -> bool {
        self.floor < self.head()
    }

    /// How many publications are history.
    pub fn history_len(&self) -> u64 {
        self.head().since(self.floor)
    }

    /// What is past any of its bounds is not history any more.
    pub fn age(&mut self, now_ms: u64) {
        let head = self.head();
        if self.keep.is_nothing() {
            self.floor = head;
            return;
        }
        let by_count = Cursor::after(head.offset().saturating_sub(self.keep.messages as u64));
        self.floor = self.floor.max(by_count).max(self.raw.tail());
        let oldest_ms = now_ms.saturating_sub(self.keep.age.as_millis() as u64);
        while self.floor < head && self.is_past(oldest_ms) {
            self.floor = Cursor::after(self.floor.offset() + 1);
        }
    }

    /// Forgets half of the history, the older one.
    pub fn shorten(&mut self) {
        self.floor = Cursor::after(self.floor.offset() + self.history_len().div_ceil(2));
    }

    /// Forgets all history.
    pub fn forget(&mut self) {
        self.floor = self.head();
    }

    /// Whether the oldest of the history is too old, or too far back in bytes.
    fn is_past(&self, oldest_ms: u64) -> bool {
        let at = self.floor.offset() - self.first_stamp();
        let is_old = self.stamps.get(at as usize).is_some_and(|stamp| stamp.time_ms < oldest_ms);
        is_old || self.raw.bytes_after(self.floor) > self.keep.bytes as u64
    }

    /// Lets go of what lies before `cursor` and is not history.
    pub fn trim_to(&mut self, cursor: Cursor) {
        let cursor = cursor.min(self.floor);
        self.lanes_mut().for_each(|lane| lane.trim_to(cursor));
        self.drop_stamps();
    }

    /// The place before the publication that the first stamp is of.
    pub(super) fn first_stamp(&self) -> u64 {
        self.head().offset() - self.stamps.len() as u64
    }

    fn drop_stamps(&mut self) {
        let further = self.further.iter().map(|further| further.lane.tail());
        let held = self.head().since(further.fold(self.raw.tail(), Cursor::min)) as usize;
        self.stamps.drain(..self.stamps.len().saturating_sub(held));
        shrink(&mut self.stamps);
    }
}

#[cfg(test)]
mod tests {
    use super::super::position::Start;
    use super::*;

    fn log(messages: usize, bytes: usize, age_s: u64) -> Log {
        let mut log = Log::new(7, 1 << 20);
        log.set_keep(Keep { messages, bytes, age: Duration::from_secs(age_s) });
        log
    }

    fn publish(log: &mut Log, count: usize, now_ms: u64) {
        for _ in 0..count {
            let text = format!("m{}", log.position().offset + 1);
            log.append(Message::Text(&text), false, log.head(), now_ms, None);
            log.trim_to(log.head());
        }
    }

    #[test]
    fn a_position_of_an_earlier_epoch_is_a_place_as_far_as_that_is_a_part_of_this_one() {
        let mut log = log(10, 1000, 60);
        publish(&mut log, 3, 0);
        log.rename(8, Lineage::read("7:3"));
        publish(&mut log, 2, 0);
        let since = |epoch, offset| Start::Since { position: Position { epoch, offset }, or_last: 0 };
        let rows = [
            ((7, 2), true),
            ((7, 3), true),
            ((7, 4), false),
            ((8, 2), true),
            ((8, 5), true),
            ((6, 1), false),
        ];
        for ((epoch, offset), want) in rows {
            let (cursor, recovered) = log.place(since(epoch, offset), Encoding::Raw);
            assert_eq!(
                (cursor.offset(), recovered),
                (if want { offset } else { 5 }, want),
                "{epoch}:{offset}"
            );
        }
        let in_full: Vec<bool> =
            log.history(Cursor::default()).map(|publication| publication.in_full).collect();
        assert_eq!(in_full, [true; 5], "who reads them may know the epoch before");
        assert_eq!(log.position(), Position { epoch: 8, offset: 5 });
    }

    fn kept(log: &Log) -> Vec<u64> {
        log.history(Cursor::default()).map(|publication| publication.position.offset).collect()
    }

    #[test]
    fn row_43_history_is_bounded_by_count_by_bytes_and_by_age() {
        let mut by_count = log(3, 1000, 60);
        publish(&mut by_count, 10, 0);
        assert_eq!(kept(&by_count), [8, 9, 10]);
        // Each frame of `m1` to `m9` takes four bytes.
        let mut by_bytes = log(100, 12, 60);
        publish(&mut by_bytes, 9, 0);
        assert_eq!(kept(&by_bytes), [7, 8, 9]);
        let mut by_age = log(100, 1000, 60);
        publish(&mut by_age, 2, 1_000);
        publish(&mut by_age, 2, 50_000);
        by_age.age(61_001);
        assert_eq!(kept(&by_age), [3, 4]);
        by_age.age(200_000);
        assert!(!by_age.has_history());
        by_age.trim_to(by_age.head());
        assert_eq!(by_age.held(), 0);
        assert_eq!(by_age.position(), Position { epoch: 7, offset: 4 });
    }

    #[test]
    fn a_start_is_where_it_was_asked_for_or_is_said_to_be_missed() {
        let mut log = log(3, 1000, 60);
        publish(&mut log, 10, 0);
        let since = |epoch, offset, or_last| Start::Since { position: Position { epoch, offset }, or_last };
        let rows = [
            (Start::Now, 10, true),
            (Start::Last(2), 8, true),
            (Start::Last(0), 10, true),
            (Start::Last(50), 7, true),
            (since(7, 10, 0), 10, true),
            (since(7, 7, 0), 7, true),
            (since(7, 6, 0), 10, false),
            (since(7, 6, 2), 8, false),
            (since(7, 11, 0), 10, false),
            (since(6, 9, 0), 10, false),
        ];
        for (start, offset, whole) in rows {
            assert_eq!(log.place(start, Encoding::Raw), (Cursor::after(offset), whole), "{start:?}");
        }
    }

    #[test]
    fn a_lane_opened_late_has_nothing_of_what_is_held_for_slow_members_of_others() {
        for kept in [0, 3] {
            let mut log = log(kept, 1000, 60);
            for _ in 0..100 {
                log.append(Message::Text("for one who is slow"), false, Cursor::default(), 0, None);
            }
            for encoding in [Encoding::Json, Encoding::Raw] {
                let (wire, held) = (Wire { encoding, is_compressed: true }, log.held());
                log.open_lane(wire);
                assert_eq!(log.place(Start::Last(50), wire).0, Cursor::after(100 - kept as u64));
                assert!(log.held() - held <= kept * 100, "{} bytes more", log.held() - held);
            }
        }
    }

    #[test]
    fn a_lane_opened_late_has_what_the_first_one_has() {
        let mut log = log(3, 1000, 60);
        publish(&mut log, 10, 1_234);
        let json = Wire::from(Encoding::Json);
        log.open_lane(json);
        let (cursor, _) = log.place(Start::Last(50), json);
        let Pending::Frames(frames) = log.pending(json, cursor) else { panic!("nothing") };
        assert_eq!(frames.iter().filter(|byte| **byte == b'{').count(), 3);
        log.close_lane(json);
        publish(&mut log, 1, 1_234);
        assert_eq!(log.pending(json, cursor), Pending::CaughtUp);
    }
}
