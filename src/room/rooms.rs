//! All rooms: join, leave, publish, and who waits for news.

mod attendance;
mod handover;
mod ledger;
pub mod memory;
pub mod shared;
mod standing;
mod sweep;
mod walk;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use memory::Held;
use shared::Change;
use slab::Slab;

use super::join::{Join, JoinError, Joined, Membership};
use super::keys::Keys;
use super::log::{Keep, Lag, Log};
use super::long::Tally;
use super::position::Position;
use super::presence::{Census, Presence, Roll};
use super::press::Press;
use super::publish::{NotPublished, Post, Published};
use super::room::Room;
use crate::id::ConnId;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::ws::extension::DeflateParams;
use crate::ws::message::Message;
use handover::Hold;

/// What is known of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name.
    pub name: Arc<str>,
    /// How many connections are members.
    pub members: usize,
    /// How many users are listed.
    pub users: usize,
    /// The position of the latest publication.
    pub position: Position,
    /// How many publications are kept.
    pub history: u64,
    /// How many publications slow members were not sent.
    pub skipped: u64,
    /// What other nodes have said of it, where there are others; at most two thirds of `presence_lease` ago.
    pub census: Census,
    /// How many members take no more for now, or are behind for another reason.
    pub lagging: usize,
    /// Bytes that those who keep up are still to be sent.
    pub backlog: u64,
    /// Bytes that the log holds, in all encodings.
    pub log_bytes: usize,
}

/// The rooms that have members, or history.
pub struct Rooms {
    rooms: Slab<Room>,
    names: HashMap<Arc<str>, usize>,
    /// The names in their order, for those who list them page by page.
    order: BTreeSet<Arc<str>>,
    /// Rooms with news, the one whose turn it is in front.
    active: VecDeque<usize>,
    /// How many rooms are crowded: nearly always none, and then nobody has to be asked about his.
    crowded: usize,
    /// Publishers that waited for a crowded room and need not any more.
    released: VecDeque<ConnId>,
    /// Requests that waited for a publication that has come, or long enough; the first to be told in front.
    woken: VecDeque<ConnId>,
    /// Users without connections that may still come back: until when, in which room, and who.
    leaving: BTreeSet<(u64, usize, Arc<str>)>,
    /// Publishers that wait until it is known which process publishes.
    frozen: Vec<ConnId>,
    hold: Hold,
    next_epoch: u64,
    now_ms: u64,
    /// Where the search for history that is too old stands.
    swept: usize,
    held: Held,
    /// What has become of rooms that other nodes have to do with; `None` where there are no others.
    changes: Option<Vec<Change>>,
    /// All nodes together list who is in the rooms.
    lists_together: bool,
    /// Long publications, those that only slow members still have, too.
    tally: Tally,
    ledger: Ledger,
    limits: Limits,
}

impl Rooms {
    /// No rooms yet; their epochs count up from `first_epoch`.
    pub fn new(limits: &Limits, first_epoch: u64) -> Self {
        Self {
            rooms: Slab::new(),
            names: HashMap::new(),
            order: BTreeSet::new(),
            active: VecDeque::new(),
            crowded: 0,
            released: VecDeque::new(),
            woken: VecDeque::new(),
            leaving: BTreeSet::new(),
            frozen: Vec::new(),
            hold: Hold::Ours,
            next_epoch: first_epoch,
            now_ms: 0,
            swept: 0,
            held: Held::default(),
            changes: None,
            lists_together: false,
            tally: Tally::default(),
            ledger: Ledger::new(limits),
            limits: limits.clone(),
        }
    }

    /// Bounds from now on; the logs there are keep their length.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = limits.clone();
    }

    /// Says what time it is, in milliseconds since 1970.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    fn get(&self, name: &str) -> Option<&Room> {
        self.rooms.get(*self.names.get(name)?)
    }

    /// How many members a room has.
    pub fn members(&self, name: &str) -> usize {
        self.get(name).map_or(0, |room| room.members.len())
    }

    /// What is known of a room; `None` where there is none of this name.
    pub fn info(&self, name: &str) -> Option<RoomInfo> {
        // One that is being opened has no position that means anything.
        self.get(name).filter(|room| !room.is_opening).map(Room::info)
    }

    /// The names of rooms in their order: those that begin with `prefix` and come after `after`.
    pub fn names<'r>(&'r self, prefix: &'r str, after: &'r str) -> impl Iterator<Item = &'r Arc<str>> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = if after >= prefix && !after.is_empty() { Excluded(after) } else { Included(prefix) };
        self.order.range::<str, _>((from, Unbounded)).take_while(move |name| name.starts_with(prefix))
    }

    /// The users of a room, on this node.
    pub fn roll(&self, name: &str) -> Option<&Roll> {
        self.get(name)?.roll.as_deref()
    }

    /// The log of a room, brought up to date.
    pub fn log(&mut self, name: &str) -> Option<&Log> {
        let key = *self.names.get(name)?;
        let room = &mut self.rooms[key];
        room.log.age(self.now_ms);
        Some(&room.log)
    }

    /// The name of the room of a membership.
    pub fn name(&self, membership: Membership) -> Option<Arc<str>> {
        self.rooms.get(membership.room as usize).map(|room| room.name.clone())
    }

    /// Whether a membership is in the room of this name.
    pub fn is_in(&self, membership: Membership, name: &str) -> bool {
        self.names.get(name) == Some(&(membership.room as usize))
    }

    /// Bytes held in all logs.
    pub fn log_bytes(&self) -> usize {
        self.rooms.iter().map(|(_, room)| room.log.held()).sum()
    }

    /// Makes `conn` a member, with what was agreed with it on compression. Joining twice is the caller's to prevent.
    ///
    /// # Errors
    /// [`JoinError`], for the name or the number of rooms.
    pub fn join(
        &mut self,
        name: &str,
        conn: ConnId,
        join: &Join,
        deflate: Option<DeflateParams>,
    ) -> Result<(Membership, Joined), JoinError> {
        let key = self.open(name, None)?;
        let room = &mut self.rooms[key];
        if room.is_opening {
            return Err(JoinError::Opening);
        }
        room.log.age(self.now_ms);
        let (slot, mut joined) = room.enter(conn, join, join.wire(deflate), &mut self.ledger);
        let shift = match join.presence {
            Presence::Hidden => None,
            Presence::Listed(_) | Presence::Announced(_) => {
                room.roll.get_or_insert_default().enter(slot, join.presence.clone())
            }
        };
        self.attend(key, shift);
        if !joined.is_behind {
            // Of its own coming it need not be told.
            let room = &mut self.rooms[key];
            self.ledger.owe(0, room.owed(slot));
            joined.position = room.catch_up(slot);
        }
        self.charge(key);
        Ok((Membership { room: key as u32, slot: slot as u32 }, joined))
    }

    /// Finds a room, or makes it, and says how much history it keeps from now on.
    ///
    /// # Errors
    /// [`JoinError`], for the name or the number of rooms.
    pub fn keep(&mut self, name: &str, keep: Keep) -> Result<(), JoinError> {
        self.open(name, Some(keep)).map(drop)
    }

    /// Says what happens to slow members of a room, if there is one of this name.
    pub fn set_lag(&mut self, name: &str, lag: Lag) {
        if let Some(key) = self.names.get(name) {
            self.rooms[*key].lag = lag;
        }
    }

    fn open(&mut self, name: &str, keep: Option<Keep>) -> Result<usize, JoinError> {
        let key = match self.names.get(name) {
            Some(key) => *key,
            None => self.make(name)?,
        };
        if let Some(keep) = keep {
            self.rooms[key].log.set_keep(keep);
        }
        Ok(key)
    }

    fn make(&mut self, name: &str) -> Result<usize, JoinError> {
        if name.is_empty() || name.len() > self.limits.room_name_bytes_max {
            return Err(JoinError::Name);
        }
        if self.rooms.len() >= self.limits.rooms_max {
            self.evict();
        }
        if self.rooms.len() >= self.limits.rooms_max {
            return Err(JoinError::TooManyRooms);
        }
        let name: Arc<str> = name.into();
        let log = Log::resume(self.next_epoch, 0, self.limits.room_log_bytes_max, self.tally.clone());
        self.next_epoch += 1;
        let mut room = Room::new(name.clone(), log);
        room.is_opening = self.changes.is_some();
        room.left_ms = self.now_ms;
        self.note(|| Change::Opened(name.clone()));
        let key = self.rooms.insert(room);
        self.order.insert(name.clone());
        self.names.insert(name, key);
        self.charge(key);
        Ok(key)
    }

    /// Ends a membership; the room goes with its last member, unless it has history.
    pub fn leave(&mut self, membership: Membership) {
        let key = membership.room as usize;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let owed = room.owed(membership.slot as usize);
        if !room.go(membership.slot as usize) {
            return;
        }
        room.left_ms = self.now_ms;
        let shift = room.roll.as_mut().and_then(|roll| roll.go(membership.slot as usize));
        self.end_with_member(owed);
        self.attend(key, shift);
        self.charge(key);
        self.free_if_deserted(key);
    }

    /// Appends a message to a room's log for all its members, and for those who come while it is history.
    ///
    /// # Errors
    /// [`NotPublished`] where nobody would receive it, or too much is on its way already.
    pub fn publish(
        &mut self,
        name: &str,
        message: Message<'_>,
        post: Post<'_>,
        press: &mut Press<'_>,
    ) -> Result<Published, NotPublished> {
        let Some(key) = self.names.get(name).copied() else {
            // Whoever would hear it may be where the rooms are now.
            return Err(if self.is_held() { NotPublished::Moving } else { NotPublished::Unheard });
        };
        if let Some(position) = post.key.and_then(|known| self.find_known(key, known)) {
            return Ok(Published { position, crowded: self.rooms[key].crowded, repeated: true });
        }
        let author = post.memberships.iter().find(|author| author.room as usize == key);
        let position =
            match self.append(key, message, false, author.map(|author| author.slot as usize), Some(press)) {
                Ok(position) => position,
                Err(error) => {
                    // A room that was made for this alone must not stay: anybody could fill `rooms_max` with them.
                    self.free_if_deserted(key);
                    return Err(error);
                }
            };
        if let Some(new) = post.key {
            let oldest_ms = self.oldest_key_ms();
            let keys = self.rooms[key].keys.get_or_insert_with(|| Box::new(Keys::default()));
            keys.remember(new, position, self.now_ms, self.limits.idempotency_keys_max, oldest_ms);
        }
        self.charge(key);
        Ok(Published { position, crowded: self.rooms[key].crowded, repeated: false })
    }

    /// Where the publication stands that came to a room with the same idempotency key before.
    fn find_known(&self, key: usize, known: &str) -> Option<Position> {
        self.rooms[key].keys.as_ref()?.find(known, self.oldest_key_ms())
    }

    /// An idempotency key that came before this is not known any more.
    fn oldest_key_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.limits.idempotency_age.as_millis() as u64)
    }

    fn append(
        &mut self,
        key: usize,
        message: Message<'_>,
        is_notice: bool,
        author: Option<usize>,
        press: Option<&mut Press<'_>>,
    ) -> Result<Position, NotPublished> {
        if self.is_held() {
            return Err(NotPublished::Moving);
        }
        let room = &mut self.rooms[key];
        let is_heard =
            !room.members.is_empty() || !room.log.keep().is_nothing() || !room.listeners.is_empty();
        if !is_heard {
            return Err(NotPublished::Unheard);
        }
        if room.backlog() > self.limits.room_log_bytes_max as u64 {
            return Err(NotPublished::Behind);
        }
        Ok(self.put(key, message, (is_notice, author), self.now_ms, press))
    }

    /// Remembers a request that waits for the next publication in a room, which is made for it if need be.
    ///
    /// # Errors
    /// [`JoinError`], for the name or the number of rooms.
    pub fn listen(&mut self, name: &str, conn: ConnId) -> Result<(), JoinError> {
        let key = self.open(name, None)?;
        self.rooms[key].listeners.insert(conn);
        Ok(())
    }

    /// Forgets a request that does not wait any longer.
    pub fn unlisten(&mut self, name: &str, conn: ConnId) {
        if let Some(key) = self.names.get(name).copied() {
            self.rooms[key].listeners.remove(&conn);
            self.rooms[key].left_ms = self.now_ms;
            self.free_if_deserted(key);
        }
    }

    /// Says that a request has waited for as long as it may.
    pub fn wake(&mut self, conn: ConnId) {
        self.woken.push_back(conn);
    }

    /// Whether there are requests that need not wait any longer.
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// The next of the requests that need not wait any longer.
    pub fn pop_woken(&mut self) -> Option<ConnId> {
        self.woken.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::lane::Pending;
    use super::super::position::Start;
    use super::*;
    use crate::metrics::Metrics;
    use crate::ws::deflate::Deflater;

    fn conn(i: usize) -> ConnId {
        ConnId::new(i, 0)
    }

    fn join(rooms: &mut Rooms, name: &str, i: usize) -> Result<Membership, JoinError> {
        rooms.join(name, conn(i), &Join::default(), None).map(|(membership, _)| membership)
    }

    fn publish(rooms: &mut Rooms, name: &str, message: Message<'_>) -> Result<Published, NotPublished> {
        let (mut deflater, limits, metrics) = (Deflater::default(), Limits::default(), Metrics::default());
        let mut press = Press::new(&mut deflater, &limits, &metrics);
        rooms.publish(name, message, Post::default(), &mut press)
    }

    fn rooms() -> Rooms {
        Rooms::new(
            &Limits { room_log_bytes_max: 1000, room_name_bytes_max: 8, rooms_max: 2, ..Limits::default() },
            7,
        )
    }

    /// Walks until nobody is left to visit, and says who was sent how many bytes.
    fn walk(rooms: &mut Rooms) -> Vec<(ConnId, usize)> {
        let mut sent = Vec::new();
        while let Some((conn, membership)) = rooms.next_visit(&mut 10_000) {
            let mut visit = rooms.visit(membership).unwrap();
            while let Pending::Frames(frames) = visit.pending() {
                sent.push((conn, frames.len()));
                visit.advance(frames.len());
            }
        }
        sent.sort();
        sent
    }

    #[test]
    fn row_40_every_member_gets_every_publication_once_and_the_log_is_let_go() {
        let mut rooms = rooms();
        for i in 0..3 {
            join(&mut rooms, "a", i).unwrap();
        }
        let first = publish(&mut rooms, "a", Message::Text("hello")).unwrap();
        assert_eq!(first.position, Position { epoch: 7, offset: 1 });
        assert_eq!(publish(&mut rooms, "a", Message::Text("again")).unwrap().position.offset, 2);
        assert_eq!(walk(&mut rooms), [(conn(0), 14), (conn(1), 14), (conn(2), 14)]);
        assert_eq!((rooms.log_bytes(), rooms.has_news()), (0, false));
        assert_eq!(publish(&mut rooms, "b", Message::Text("nobody")), Err(NotPublished::Unheard));
    }

    #[test]
    fn row_41_a_room_goes_with_its_last_member_also_in_the_middle_of_a_walk() {
        let mut rooms = rooms();
        let a = join(&mut rooms, "a", 0).unwrap();
        publish(&mut rooms, "a", Message::Text("news")).unwrap();
        rooms.leave(a);
        rooms.leave(a);
        assert_eq!(walk(&mut rooms), []);
        assert!(rooms.is_empty());
        let again = join(&mut rooms, "a", 1).unwrap();
        assert_eq!(
            publish(&mut rooms, "a", Message::Text("x")).unwrap().position,
            Position { epoch: 8, offset: 1 }
        );
        rooms.leave(again);
        walk(&mut rooms);
        assert!(rooms.is_empty());
    }

    #[test]
    fn a_lagging_member_keeps_the_log_until_the_tail_passes_it() {
        let mut rooms = rooms();
        let slow = join(&mut rooms, "a", 0).unwrap();
        join(&mut rooms, "a", 1).unwrap();
        rooms.set_lagging(slow, true);
        for _ in 0..5 {
            publish(&mut rooms, "a", Message::Binary(&[0; 98])).unwrap();
            assert_eq!(walk(&mut rooms), [(conn(1), 100)]);
        }
        assert_eq!(rooms.log_bytes(), 500);
        let mut visit = rooms.visit(slow).unwrap();
        assert_eq!(visit.advance(50).unwrap().bytes.len(), 50, "the rest of the first frame");
        while let Pending::Frames(frames) = visit.pending() {
            visit.advance(frames.len());
        }
        rooms.set_lagging(slow, false);
        assert_eq!(rooms.log_bytes(), 0);
        rooms.set_lagging(slow, true);
        for _ in 0..20 {
            publish(&mut rooms, "a", Message::Binary(&[0; 98])).unwrap();
            walk(&mut rooms);
        }
        assert_eq!(rooms.visit(slow).unwrap().pending(), Pending::Passed);
        assert!(rooms.log_bytes() <= 1000);
    }

    #[test]
    fn when_a_member_came_is_known_until_it_has_caught_up_and_no_longer() {
        let mut rooms = rooms();
        rooms.keep("a", Keep { messages: 5, bytes: 1000, age: Duration::from_secs(60) }).unwrap();
        publish(&mut rooms, "a", Message::Text("old")).unwrap();
        rooms.ledger_mut().begin_turn(7);
        let last = Join { start: Start::Last(1), ..Join::default() };
        let (late, joined) = rooms.join("a", conn(0), &last, None).unwrap();
        let came_ns = |rooms: &Rooms| rooms.rooms[late.room as usize].came_ns(late.slot as usize);
        assert_eq!((joined.is_behind, came_ns(&rooms)), (true, 7));
        let mut visit = rooms.visit(late).unwrap();
        let Pending::Frames(frames) = visit.pending() else { panic!("it is sent what is old") };
        visit.advance(frames.len());
        rooms.set_lagging(late, false);
        assert_eq!(came_ns(&rooms), 0);
    }

    #[test]
    fn a_publisher_waits_while_the_walk_is_behind() {
        let mut rooms = rooms();
        join(&mut rooms, "a", 0).unwrap();
        while !publish(&mut rooms, "a", Message::Binary(&[0; 98])).unwrap().crowded {}
        assert_eq!(rooms.log_bytes(), 600);
        rooms.wait_for("a", conn(9), true);
        assert_eq!(rooms.pop_released(), None);
        walk(&mut rooms);
        assert_eq!(rooms.pop_released(), Some(conn(9)));
        rooms.wait_for("gone", conn(8), false);
        assert_eq!(rooms.pop_released(), Some(conn(8)));
    }

    #[test]
    fn a_publisher_that_does_not_wait_costs_those_who_keep_up_nothing() {
        let mut rooms = rooms();
        let member = join(&mut rooms, "a", 0).unwrap();
        let taken = (0..50).filter(|_| publish(&mut rooms, "a", Message::Binary(&[0; 98])).is_ok()).count();
        assert_eq!(taken, 11, "a log's length, and one more");
        assert_eq!(rooms.crowded_among(&[member]).as_deref(), Some("a"));
        let sent: usize = walk(&mut rooms).iter().map(|(_, bytes)| bytes).sum();
        assert_eq!((sent, rooms.crowded_among(&[member])), (1100, None));
        publish(&mut rooms, "a", Message::Binary(&[0; 5000])).unwrap();
        rooms.leave(member);
        walk(&mut rooms);
        assert_eq!(rooms.crowded, 0);
    }

    #[test]
    fn what_nobody_hears_leaves_no_room_behind() {
        let mut rooms = rooms();
        rooms.keep("a", Keep::default()).unwrap();
        assert_eq!(publish(&mut rooms, "a", Message::Text("hello")), Err(NotPublished::Unheard));
        assert!(rooms.is_empty());
    }

    #[test]
    fn a_publisher_waits_for_the_longest_encoding_that_somebody_reads() {
        let mut rooms = rooms();
        let json = Join { encoding: super::super::encoding::Encoding::Json, ..Join::default() };
        rooms.join("a", conn(0), &json, None).unwrap();
        while publish(&mut rooms, "a", Message::Text("")).is_ok() {}
        assert!(rooms.log_bytes() < 1200, "{} bytes", rooms.log_bytes());
        walk(&mut rooms);
        assert!(publish(&mut rooms, "a", Message::Text("")).is_ok());
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let mut rooms = rooms();
        assert_eq!(join(&mut rooms, "", 0), Err(JoinError::Name));
        assert_eq!(join(&mut rooms, "ninechars", 0), Err(JoinError::Name));
        join(&mut rooms, "a", 0).unwrap();
        join(&mut rooms, "b", 0).unwrap();
        assert_eq!(join(&mut rooms, "c", 0), Err(JoinError::TooManyRooms));
        assert!(join(&mut rooms, "a", 1).is_ok());
    }

    #[test]
    fn a_room_kept_for_who_may_come_back_makes_room_for_who_is_here() {
        let mut rooms = rooms();
        let keep = Keep { messages: 5, bytes: 1000, age: Duration::from_secs(60) };
        for name in ["a", "b"] {
            rooms.keep(name, keep).unwrap();
        }
        let member = join(&mut rooms, "a", 0).unwrap();
        assert!(join(&mut rooms, "c", 1).is_ok(), "nobody is in b, and nothing was said there");
        rooms.leave(member);
        publish(&mut rooms, "a", Message::Text("kept")).unwrap();
        assert_eq!(join(&mut rooms, "d", 2), Err(JoinError::TooManyRooms), "a has something to keep");
    }
}
