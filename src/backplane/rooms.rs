//! The rooms that this node shares: subscribed first, then read, then followed; and read again where something is missing.

use std::sync::Arc;

use bytes::Bytes;

use super::line::{Expected, Line, Purpose};
use super::news::subscribe;
use super::resp::Reply;
use super::shard::Shard;
use super::{Backplane, Event, Kind};
use crate::id::ConnId;
use crate::planted::{Fault, is_planted};
use crate::room::lineage::Lineage;
use crate::room::log::Keep;
use crate::room::position::Position;

/// A room as this node shares it.
#[derive(Debug)]
pub(super) struct Entry {
    keep: Keep,
    pub(super) slot: u16,
    /// The shard whose news it is to be in, and whether that has confirmed it.
    pub(super) listens_at: Option<usize>,
    pub(super) is_subscribed: bool,
    /// The last publication that this node has, and what was said of it; none before the room has been read.
    head: Option<(Position, Bytes)>,
    /// The last publication that has been announced and not appended.
    announced: Option<Position>,
    /// Something may be missing, and whether it stands in the queue for that.
    pub(super) wants_read: bool,
    pub(super) is_queued: bool,
    /// The number of the reading, while there is one, and the shard that counts it.
    reading: Option<(u64, usize)>,
    is_ready: bool,
    touched_ms: u64,
}

impl Entry {
    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// It is not in a shard's news any more.
    pub(super) fn unsubscribe(&mut self, shard: usize) {
        if self.listens_at == Some(shard) {
            self.listens_at = None;
            self.is_subscribed = false;
        }
    }
}

/// What was said of a publication when it was published.
struct Stamp {
    time_ms: u64,
    kind: Kind,
    node: u64,
    conn: Option<ConnId>,
}

impl Stamp {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let time_ms = words.next()?.parse().ok()?;
        let kind = match words.next()? {
            "t" => Kind::Text,
            "b" => Kind::Binary,
            "n" => Kind::Notice,
            _ => return None,
        };
        let node = u64::from_str_radix(words.next()?, 16).ok()?;
        let conn = words.next()?;
        let conn = u64::from_str_radix(conn, 16).ok().map(ConnId::from_bits);
        Some(Self { time_ms, kind, node, conn })
    }
}

impl Backplane {
    /// Rooms read at a time. It bounds nothing that an operator would set: the others are read behind them.
    const READING: usize = 256;

    /// Begins to share a room, of which so much is kept here.
    pub fn open(&mut self, room: Arc<str>, keep: Keep, now_ms: u64) {
        let slot = self.slot_of(&room);
        let listens_at = self.owner_of(slot).filter(|owner| self.shards[*owner][Purpose::News].is_up());
        let entry = Entry {
            keep,
            slot,
            listens_at,
            is_subscribed: false,
            head: None,
            announced: None,
            wants_read: false,
            is_queued: false,
            reading: None,
            is_ready: false,
            touched_ms: now_ms,
        };
        let channel = self.channel(&room);
        self.look_again(&room, now_ms);
        self.rooms.insert(room, entry);
        if let Some(shard) = listens_at {
            let is_cluster = self.cluster.is_some();
            subscribe(self.output(Line::news(shard)), [channel].iter(), is_cluster);
        }
    }

    /// Shares a room no longer.
    pub fn close(&mut self, room: &str) {
        if let Some(shard) = self.rooms.remove(room).and_then(|entry| entry.listens_at) {
            self.listen_no_longer(shard, room);
        }
    }

    /// A publication has been announced: it is the next one, an old one, or there is something missing before it.
    pub(super) fn hear_announced(&mut self, shard: usize, room: &Arc<str>, said: &Reply, now_ms: u64) {
        let Some(news) = said.bytes().and_then(announcement) else { return };
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| entry.listens_at == Some(shard)) else {
            return;
        };
        // As long as it is not known that what this node has is what Redis has, nothing is put behind it.
        let is_sure = entry.reading.is_none() && !entry.wants_read;
        let is_next = |head: Position| {
            let is_next = head.offset + 1 == news.position.offset
                || is_planted(Fault::OldNewsAppended) && head.offset >= news.position.offset;
            head.epoch == news.position.epoch && is_next && is_sure
        };
        match &entry.head {
            Some((head, _)) if is_next(*head) => {
                self.append(room, news.position, news.stamp, news.payload);
            }
            Some((head, _)) if head.epoch == news.position.epoch && head.offset >= news.position.offset => {}
            Some(_) | None => {
                entry.announced = Some(news.position);
                if entry.reading.is_none() {
                    self.want(room);
                    self.read_rooms(shard, now_ms);
                }
            }
        }
    }

    fn append(&mut self, room: &Arc<str>, position: Position, stamp: Bytes, payload: Bytes) {
        let Some(entry) = self.rooms.get_mut(room) else { return };
        let said = std::str::from_utf8(&stamp).ok().and_then(Stamp::read);
        // A stamp that somebody else wrote has its place in the order all the same.
        let said = said.unwrap_or(Stamp { time_ms: 0, kind: Kind::Binary, node: 0, conn: None });
        let author = said.conn.filter(|_| said.node == self.node || is_planted(Fault::ForeignAuthorTaken));
        // What is remembered must not keep the whole page that it came with.
        entry.head = Some((position, Bytes::copy_from_slice(&stamp)));
        let (time_ms, kind, room) = (said.time_ms, said.kind, room.clone());
        self.events.push_back(Event::Append { room, time_ms, kind, author, payload });
    }

    /// What was being read is read again when there is a line for it.
    pub(super) fn stop_reading(&mut self, shard: usize) {
        let reading = |(room, entry): (&Arc<str>, &mut Entry)| {
            entry.reading.take_if(|(_, at)| *at == shard).map(|_| room.clone())
        };
        let mut rooms: Vec<Arc<str>> = self.rooms.iter_mut().filter_map(reading).collect();
        rooms.sort_unstable();
        self.shards[shard].reading = 0;
        rooms.iter().for_each(|room| self.want(room));
    }

    /// Whether nothing is known of what there is in a room.
    pub(super) fn is_unread(&self, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|entry| entry.head.is_none())
    }

    /// A page will not come: whoever was asked for it, it has its turn again.
    pub(super) fn lose_page(&mut self, shard: usize, (room, number): (&Arc<str>, u64)) {
        let reading = &mut self.shards[shard].reading;
        *reading = reading.saturating_sub(1);
        let entry = self.rooms.get_mut(room);
        if entry.is_some_and(|entry| entry.reading.take_if(|(reading, _)| *reading == number).is_some()) {
            self.want(room);
        }
    }

    /// Notes that something may be missing in a room.
    pub(super) fn want(&mut self, room: &Arc<str>) {
        let owner = self.shard_of(room);
        let Some(entry) = self.rooms.get_mut(room) else { return };
        entry.wants_read = true;
        let Some(shard) = owner else { return };
        let unread = &mut self.shards[shard].unread;
        if !std::mem::replace(&mut entry.is_queued, true) {
            unread.push_back(room.clone());
        }
        if unread.len() > 2 * self.rooms.len() + 64 {
            // Rooms that come and go while nothing can be read leave their names behind.
            let cluster = self.cluster.as_ref();
            let is_here =
                |entry: &Entry| cluster.is_none_or(|cluster| cluster.owner(entry.slot) == Some(shard));
            let queued = self.rooms.iter().filter(|(_, entry)| entry.is_queued && is_here(entry));
            *unread = queued.map(|(room, _)| room.clone()).collect();
        }
    }

    /// Reads rooms in which something may be missing; not so many at once that the last one would wait for its answer
    /// for too long.
    pub(super) fn read_rooms(&mut self, shard: usize, now_ms: u64) {
        while self.shards[shard].reading < Self::READING
            && self.shards[shard][Purpose::Commands].is_up()
            && let Some(room) = self.shards[shard].unread.pop_front()
        {
            self.read_room(shard, &room, now_ms);
        }
    }

    fn read_room(&mut self, shard: usize, room: &Arc<str>, now_ms: u64) {
        let Some(entry) = self.rooms.get_mut(room) else { return };
        entry.is_queued = false;
        // One that is not subscribed is read when it is, and one that is being read, when it has been.
        if !entry.is_subscribed || entry.reading.is_some() || !entry.wants_read {
            return;
        }
        self.shards[shard].reading += 1;
        self.readings += 1;
        let reading = self.readings;
        entry.wants_read = false;
        entry.reading = Some((reading, shard));
        entry.announced = None;
        entry.touched_ms = now_ms;
        let (epoch, offset, stamp) = match &entry.head {
            Some((head, stamp)) => (head.epoch.to_string(), head.offset.to_string(), stamp.clone()),
            None => (String::new(), "0".to_owned(), Bytes::new()),
        };
        let keep = entry.keep;
        let numbers = [
            keep.messages.to_string(),
            self.limits.page_entries_max.to_string(),
            self.limits.page_bytes_max.max(1).to_string(),
            self.room_age(keep).to_string(),
            self.reign_at(room),
        ];
        let (state, log, sha) = (self.key("state", room), self.key("log", room), self.read.sha.clone());
        let mut parts: Vec<&[u8]> =
            ["EVALSHA", &sha, "2", &state, &log, &epoch, &offset].map(str::as_bytes).into();
        parts.push(&stamp);
        parts.extend(numbers.iter().map(String::as_bytes));
        self.ask_about(room, Expected::Read(room.clone(), reading, shard), &parts, now_ms);
    }

    /// Takes a page of a room's publications.
    pub(super) fn hear_page(
        &mut self,
        shard: usize,
        (room, number): (&Arc<str>, u64),
        reply: &Reply,
        now_ms: u64,
    ) -> Result<(), String> {
        let reading = &mut self.shards[shard].reading;
        *reading = reading.saturating_sub(1);
        let is_this = |entry: &&mut Entry| entry.reading.is_some_and(|(reading, _)| reading == number);
        let Some(entry) = self.rooms.get_mut(room).filter(is_this) else {
            self.read_rooms(shard, now_ms);
            return Ok(());
        };
        entry.reading = None;
        if let Reply::Error(error) = reply {
            // It is tried again with the next canary.
            self.want(room);
            self.say(&String::from_utf8_lossy(error));
            return Ok(());
        }
        let unread = || "a room cannot be read".to_owned();
        let [epoch, offset, entries, rest @ ..] = reply.list() else { return Err(unread()) };
        let is_listed = rest.first().and_then(Reply::number) == Some(1);
        let lineage = rest.get(1).and_then(Reply::text).map(Lineage::read).unwrap_or_default();
        let number_of = |reply: &Reply| reply.number().filter(is_offset).ok_or_else(unread);
        let (epoch, latest) = (epoch.number().ok_or_else(unread)?, number_of(offset)?);
        let entries = entries.list();
        let first = match entries.first() {
            Some(first) => number_of(first)?,
            None => latest + 1,
        };
        let is_here = |head: Position| head.epoch == epoch || lineage.has(head);
        let follows = |head: Position| is_here(head) && head.offset + 1 == first;
        if let Some((head, _)) = entry.head.as_mut().filter(|(head, _)| follows(*head)) {
            if std::mem::replace(&mut head.epoch, epoch) != epoch && !is_planted(Fault::EpochNotTold) {
                self.events.push_back(Event::Renamed(room.clone(), epoch, lineage.clone()));
            }
        } else {
            let position = Position { epoch, offset: first.saturating_sub(1) };
            let is_told = entry.head.is_none() || !is_planted(Fault::LossNotTold);
            entry.head = Some((position, Bytes::new()));
            if is_told {
                self.events.push_back(Event::Begin(room.clone(), position, lineage.clone()));
            }
        }
        let mut last = first.saturating_sub(1);
        for entry in entries.chunks_exact(3) {
            let [offset, stamp, payload] = entry else { continue };
            let (Some(offset), Some(stamp), Some(payload)) =
                (offset.number().filter(is_offset), stamp.bytes(), payload.bytes())
            else {
                return Err(unread());
            };
            if offset != last + 1 {
                // Somebody has taken entries out of the middle: it goes on behind the hole, and says so.
                let position = Position { epoch, offset: offset.saturating_sub(1) };
                self.events.push_back(Event::Begin(room.clone(), position, lineage.clone()));
            }
            last = offset;
            self.append(room, Position { epoch, offset }, stamp.clone(), payload.clone());
            if is_planted(Fault::PageTwice) {
                self.append(room, Position { epoch, offset }, stamp.clone(), payload.clone());
            }
        }
        let Some(entry) = self.rooms.get_mut(room) else { return Ok(()) };
        let is_ahead = |announced: Position| announced.epoch != epoch || announced.offset > last;
        let has_more = last < latest && !entries.is_empty();
        let is_forgotten = is_planted(Fault::NewsForgottenWhileReading);
        entry.wants_read |= has_more || entry.announced.is_some_and(is_ahead) && !is_forgotten;
        if entry.wants_read {
            self.want(room);
        } else if !entry.is_ready {
            entry.is_ready = true;
            self.events.push_back(Event::Ready(room.clone()));
            if is_listed {
                self.watch(room, now_ms);
            }
        }
        self.read_rooms(shard, now_ms);
        Ok(())
    }

    /// Keeps Redis from forgetting rooms that are open here.
    pub(super) fn touch_rooms(&mut self, now_ms: u64) {
        /// Rooms touched at a time, and the pause before the next: a hundred thousand have a quarter of their age for it.
        const TOUCHED: usize = 512;
        const PAUSE_MS: u64 = 1_000;
        if !self.serving().all(Shard::is_up) || now_ms < self.touch_due_ms {
            return;
        }
        let pause = self.limits.backplane_room_age.as_millis() as u64 / 4;
        let is_due = |entry: &Entry| entry.is_ready && entry.touched_ms + pause <= now_ms;
        let due = self.rooms.iter().filter(|(_, entry)| is_due(entry)).take(TOUCHED);
        let mut due: Vec<(Arc<str>, Keep)> = due.map(|(room, entry)| (room.clone(), entry.keep)).collect();
        due.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // Where there are no more of them, all rooms are not looked through again for a while: there is time.
        let rest_ms = if due.len() < TOUCHED { pause / 16 } else { 0 };
        self.touch_due_ms = now_ms + rest_ms.max(PAUSE_MS);
        for (room, keep) in due {
            let age = self.room_age(keep).to_string();
            for key in [self.key("state", &room), self.key("log", &room)] {
                let parts = [&b"PEXPIRE"[..], key.as_bytes(), age.as_bytes()];
                self.ask_about(&room, Expected::Nothing, &parts, now_ms);
            }
            if let Some(entry) = self.rooms.get_mut(&room) {
                entry.touched_ms = now_ms;
            }
        }
    }
}

/// Offsets go on from where they are: there have to be some left.
fn is_offset(offset: &u64) -> bool {
    *offset < 1 << 62
}

/// A publication as it is announced.
struct Announcement {
    position: Position,
    stamp: Bytes,
    payload: Bytes,
}

/// Reads `epoch offset stamp`, a line, and the payload after it.
fn announcement(said: &Bytes) -> Option<Announcement> {
    let line_end = said.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&said[..line_end]).ok()?;
    let (epoch, rest) = line.split_once(' ')?;
    let (offset, stamp) = rest.split_once(' ')?;
    let position = Position { epoch: epoch.parse().ok()?, offset: offset.parse().ok().filter(is_offset)? };
    let stamp = Bytes::copy_from_slice(stamp.as_bytes());
    Some(Announcement { position, stamp, payload: said.slice(line_end + 1..) })
}
