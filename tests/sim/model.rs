//! The naive model: what was published to which life of a room, in plain vectors, and who must be sent what of it.

use std::collections::BTreeMap;
use std::time::Duration;

use fanline::{Encoding, Joined, Keep, Position, Start};

/// What rooms keep whose name begins with a `k`; the others keep nothing.
pub const KEEP: Keep = Keep { messages: 20, bytes: 3000, age: Duration::from_secs(600) };

#[derive(Debug)]
pub struct Item {
    pub text: String,
    pub is_binary: bool,
    /// The membership that published it.
    pub author: Option<u64>,
    pub time_ms: u64,
}

/// One life of a room.
#[derive(Debug)]
pub struct Life {
    pub room: String,
    pub items: Vec<Item>,
}

#[derive(Debug, Default)]
pub struct Model {
    /// By epoch.
    pub lives: BTreeMap<u64, Life>,
    /// The server has so little memory that it may shorten history, and end whoever holds much.
    pub is_tight: bool,
    /// Bytes that a room holds for slow members.
    pub log_max: usize,
}

impl Model {
    /// The life of this epoch, which is the room's latest: one that has ended never comes back.
    pub fn life(&mut self, room: &str, epoch: u64) -> &mut Life {
        let later = self.lives.range(epoch + 1..).find(|(_, life)| life.room == room);
        assert!(later.is_none(), "{room} goes back to epoch {epoch} from {later:?}");
        let new = || Life { room: room.to_owned(), items: Vec::new() };
        let life = self.lives.entry(epoch).or_insert_with(new);
        assert_eq!(life.room, room, "epoch {epoch} is of one room");
        life
    }

    /// What is published gets the next offset.
    pub fn publish(&mut self, room: &str, position: Position, item: Item) {
        let items = &mut self.life(room, position.epoch).items;
        assert_eq!(position.offset, items.len() as u64 + 1, "{item:?} in {room}");
        items.push(item);
    }

    pub fn len(&self, epoch: u64) -> usize {
        self.lives[&epoch].items.len()
    }

    /// Where one starts who comes now, and whether nothing is missing of what it asked for.
    pub fn place(&mut self, room: &str, epoch: u64, start: Start, now_ms: u64) -> (usize, bool) {
        let items = &self.life(room, epoch).items;
        let (head, kept) = (items.len(), kept(items, room, now_ms));
        match start {
            Start::Now => (head, true),
            Start::Last(count) => (head - count.min(kept), true),
            Start::Since { position, or_last } => {
                let from = position.offset as usize;
                let is_whole = position.epoch == epoch && from <= head && head - from <= kept;
                if is_whole { (from, true) } else { (head - or_last.min(kept), false) }
            }
        }
    }

    /// As [`Model::place`], for one who stays: where only the newest matters, it begins there, or at the end.
    pub fn join(&mut self, room: &str, epoch: u64, start: Start, now_ms: u64) -> Joined {
        let (mut from, mut recovered) = self.place(room, epoch, start, now_ms);
        let head = self.len(epoch);
        if room.starts_with('l') && from + 1 < head {
            recovered &= !matches!(start, Start::Since { .. });
            from = head - 1;
        }
        Joined { position: Position { epoch, offset: from as u64 }, recovered, is_behind: from < head }
    }
}

/// What somebody was told where it starts: exactly that, or where memory is short, that something is missing.
pub fn is_right(got: Joined, want: Joined, is_tight: bool) -> bool {
    let is_cut = is_tight && !got.recovered && got.position.epoch == want.position.epoch;
    let is_later = got.position.offset >= want.position.offset && is_tight && got.recovered;
    got == want || is_cut || is_later
}

/// How many of the latest are history.
fn kept(items: &[Item], room: &str, now_ms: u64) -> usize {
    let mut bytes = 0;
    let is_kept = |item: &&Item| {
        bytes += item.text.len() + if item.text.len() < 126 { 2 } else { 4 };
        bytes <= KEEP.bytes && item.time_ms + KEEP.age.as_millis() as u64 >= now_ms
    };
    let kept = items.iter().rev().take(KEEP.messages).take_while(is_kept).count();
    if room.starts_with('k') { kept } else { 0 }
}

/// What one membership reads of one life of a room.
#[derive(Debug)]
pub struct Reading {
    pub room: String,
    pub epoch: u64,
    /// The membership.
    pub number: u64,
    /// How many it has been sent, or is not to be sent.
    pub cursor: usize,
    pub encoding: Encoding,
    pub is_quiet: bool,
    /// It has been told that it is a member.
    pub has_begun: bool,
    /// Where it left.
    pub end: Option<usize>,
}

impl Reading {
    /// What it has to be sent next, and its index.
    pub fn next<'m>(&self, model: &'m Model) -> Option<(usize, &'m Item)> {
        let items = &model.lives[&self.epoch].items;
        let is_own = |item: &Item| self.is_quiet && item.author == Some(self.number);
        let end = self.end.unwrap_or(items.len());
        (self.cursor..end).map(|at| (at, &items[at])).find(|(_, item)| !is_own(item))
    }

    /// Bytes that it has not been sent, in the longest encoding.
    pub fn lag(&self, model: &Model) -> usize {
        let items = &model.lives[&self.epoch].items;
        items[self.cursor.min(items.len())..].iter().map(|item| item.text.len() * 4 / 3 + 80).sum()
    }
}
