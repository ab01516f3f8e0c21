//! All rooms: join, leave, publish, and whose turn the walk is.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;

use super::lane::Pending;
use super::log::{Log, Position};
use super::members::{Member, Members, Step};
use crate::id::ConnId;
use crate::limits::Limits;
use crate::ws::message::Message;

/// One connection's place in one room; it is valid until that connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    room: u32,
    slot: u32,
}

/// Why a room cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The name is empty or longer than `room_name_bytes_max`.
    Name,
    /// There are `rooms_max` rooms already.
    TooManyRooms,
    /// This connection is in `rooms_per_connection_max` rooms already.
    TooManyMemberships,
    /// The connection is closing.
    Closed,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::Name => "the room's name is empty or too long",
            JoinError::TooManyRooms => "there are too many rooms",
            JoinError::TooManyMemberships => "the connection is in too many rooms",
            JoinError::Closed => "the connection is closing",
        })
    }
}

impl std::error::Error for JoinError {}

/// A publication that has been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it stands.
    pub position: Position,
    /// Whether the walk has fallen so far behind that the publisher had better wait.
    pub crowded: bool,
}

/// The rooms that have members.
pub struct Rooms {
    rooms: Slab<Room>,
    names: HashMap<Arc<str>, usize>,
    /// Rooms with news, the one whose turn it is in front.
    active: VecDeque<usize>,
    /// How many rooms are crowded: nearly always none, and then nobody has to be asked about his.
    crowded: usize,
    /// Publishers that waited for a crowded room and need not any more.
    released: Vec<ConnId>,
    next_epoch: u64,
    limits: Limits,
}

struct Room {
    name: Arc<str>,
    log: Log,
    members: Members,
    active: bool,
    /// The walk has half a log's length still to do: who publishes here had better wait.
    crowded: bool,
    waiting: Vec<ConnId>,
}

impl Room {
    /// Bytes that members who keep up have not been sent yet.
    fn backlog(&self) -> u64 {
        self.log.head().since(self.members.walked())
    }

    /// Whether the walk has something to do for a member: news, unless its socket takes no more, or the bad news that
    /// the log's tail has passed it.
    fn is_due(&self, member: &Member) -> bool {
        let has_news = member.cursor != self.log.head();
        has_news && (!member.lagging || member.cursor < self.log.raw().tail())
    }

    /// What everybody has been sent is not kept, unless somebody's cursor lags.
    fn trim(&mut self) {
        if !self.members.any_lagging() {
            self.log.trim_to(self.members.walked());
        }
    }
}

impl Rooms {
    /// No rooms yet; their epochs count up from `first_epoch`.
    pub fn new(limits: &Limits, first_epoch: u64) -> Self {
        Self {
            rooms: Slab::new(),
            names: HashMap::new(),
            active: VecDeque::new(),
            crowded: 0,
            released: Vec::new(),
            next_epoch: first_epoch,
            limits: limits.clone(),
        }
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// How many members a room has.
    pub fn members(&self, name: &str) -> usize {
        self.names.get(name).map_or(0, |key| self.rooms[*key].members.len())
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
        self.rooms.iter().map(|(_, room)| room.log.raw().len()).sum()
    }

    /// Makes `conn` a member; it is sent what is published from now on. Joining twice is the caller's to prevent.
    ///
    /// # Errors
    /// [`JoinError`], for the name or the number of rooms.
    pub fn join(&mut self, name: &str, conn: ConnId) -> Result<Membership, JoinError> {
        let key = match self.names.get(name) {
            Some(key) => *key,
            None => self.open_room(name)?,
        };
        let room = &mut self.rooms[key];
        let slot = room.members.insert(conn, room.log.head());
        Ok(Membership { room: key as u32, slot: slot as u32 })
    }

    fn open_room(&mut self, name: &str) -> Result<usize, JoinError> {
        if name.is_empty() || name.len() > self.limits.room_name_bytes_max {
            return Err(JoinError::Name);
        }
        if self.rooms.len() >= self.limits.rooms_max {
            return Err(JoinError::TooManyRooms);
        }
        let name: Arc<str> = name.into();
        let log = Log::new(self.next_epoch, self.limits.room_log_bytes_max);
        self.next_epoch += 1;
        let room = Room {
            name: name.clone(),
            log,
            members: Members::default(),
            active: false,
            crowded: false,
            waiting: Vec::new(),
        };
        let key = self.rooms.insert(room);
        self.names.insert(name, key);
        Ok(key)
    }

    /// Ends a membership; the room goes with its last member.
    pub fn leave(&mut self, membership: Membership) {
        let key = membership.room as usize;
        let Some(room) = self.rooms.get_mut(key) else { return };
        if room.members.remove(membership.slot as usize).is_none() {
            return;
        }
        room.trim();
        // A room with news stands in the queue of the walk; it is freed when its turn comes.
        if room.members.is_empty() && !room.active {
            self.free(key);
        }
    }

    fn free(&mut self, key: usize) {
        self.set_crowded(key, false);
        let mut room = self.rooms.remove(key);
        self.names.remove(&room.name);
        self.released.append(&mut room.waiting);
    }

    /// Appends a message to a room's log for all its members.
    ///
    /// `None` where nobody is there to receive it, or where the walk is a whole log's length behind.
    pub fn publish(&mut self, name: &str, message: Message<'_>) -> Option<Published> {
        let key = *self.names.get(name)?;
        let room = &mut self.rooms[key];
        if room.members.is_empty() || room.backlog() > self.limits.room_log_bytes_max as u64 {
            return None;
        }
        let position = room.log.append(message, room.members.walked());
        if !room.active {
            room.active = true;
            room.members.begin_circle(room.log.head());
            self.active.push_back(key);
        }
        let crowded = self.is_behind(key);
        self.set_crowded(key, crowded);
        Some(Published { position, crowded })
    }

    /// Whether the walk has half a log's length still to do in a room.
    fn is_behind(&self, key: usize) -> bool {
        self.rooms[key].backlog() > self.limits.room_log_bytes_max as u64 / 2
    }

    fn set_crowded(&mut self, key: usize, crowded: bool) {
        let room = &mut self.rooms[key];
        self.crowded = self.crowded + usize::from(crowded) - usize::from(room.crowded);
        room.crowded = crowded;
    }

    /// Whether a publication to this room had better wait.
    pub fn is_crowded(&self, name: &str) -> bool {
        self.crowded > 0 && self.names.get(name).is_some_and(|key| self.rooms[*key].crowded)
    }

    /// The first crowded room among these: its members had better wait, for what they send is likely for it.
    pub fn crowded_among(&self, memberships: &[Membership]) -> Option<Arc<str>> {
        if self.crowded == 0 {
            return None;
        }
        let mut rooms = memberships.iter().filter_map(|membership| self.rooms.get(membership.room as usize));
        rooms.find(|room| room.crowded).map(|room| room.name.clone())
    }

    /// Remembers a publisher that waits for a room while it is crowded.
    pub fn wait_for(&mut self, name: &str, conn: ConnId) {
        match self.names.get(name) {
            Some(key) if self.rooms[*key].crowded => self.rooms[*key].waiting.push(conn),
            Some(_) | None => self.released.push(conn),
        }
    }

    /// A publisher that need not wait any longer.
    pub fn pop_released(&mut self) -> Option<ConnId> {
        self.released.pop()
    }

    /// Whether some room has news for members that keep up.
    pub fn has_news(&self) -> bool {
        !self.active.is_empty()
    }

    /// The next member to be sent to; each slot looked at takes one of `steps`.
    pub fn next_visit(&mut self, steps: &mut usize) -> Option<(ConnId, Membership)> {
        while let Some(&key) = self.active.front() {
            let room = &mut self.rooms[key];
            *steps = steps.checked_sub(1)?;
            match room.members.step() {
                Step::Slot(slot) => {
                    if let Some(member) = room.members.get(slot)
                        && room.is_due(member)
                    {
                        return Some((member.conn, Membership { room: key as u32, slot: slot as u32 }));
                    }
                }
                Step::Closed => self.close_circle(key),
            }
        }
        None
    }

    /// All who keep up have what was there when the circle began: go round again for what has come since, or rest.
    fn close_circle(&mut self, key: usize) {
        let room = &mut self.rooms[key];
        room.trim();
        let crowded = self.is_behind(key);
        self.set_crowded(key, crowded);
        let room = &mut self.rooms[key];
        if !crowded {
            self.released.append(&mut room.waiting);
        }
        if room.members.is_empty() {
            self.active.pop_front();
            self.free(key);
        } else if room.backlog() == 0 {
            room.active = false;
            self.active.pop_front();
        } else {
            room.members.begin_circle(room.log.head());
        }
    }

    /// Gives the next room its turn.
    pub fn rotate(&mut self) {
        if !self.active.is_empty() {
            self.active.rotate_left(1);
        }
    }

    /// A member and what its room has for it; `None` where it has left.
    pub fn visit(&mut self, membership: Membership) -> Option<Visit<'_>> {
        let room = self.rooms.get_mut(membership.room as usize)?;
        Some(Visit { log: &room.log, member: room.members.get_mut(membership.slot as usize)? })
    }

    /// Says that a member's socket takes no more, or that the member has caught up since.
    ///
    /// Until it has, the walk passes it by and the log is kept for it.
    pub fn set_lagging(&mut self, membership: Membership, lagging: bool) {
        if let Some(room) = self.rooms.get_mut(membership.room as usize) {
            room.members.set_lagging(membership.slot as usize, lagging);
            room.trim();
        }
    }
}

/// One member's place in the log: what it has not been sent, and how far it has come.
pub struct Visit<'r> {
    log: &'r Log,
    member: &'r mut Member,
}

impl<'r> Visit<'r> {
    /// What is to be sent next.
    pub fn pending(&self) -> Pending<'r> {
        self.log.pending(self.member.cursor)
    }

    /// Moves the cursor past `sent` bytes of what was pending, and returns the rest of the frame that they cut, if any.
    pub fn advance(&mut self, sent: usize) -> Option<Bytes> {
        let (cursor, rest) = self.log.raw().advance(self.member.cursor, sent);
        self.member.cursor = cursor;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(i: usize) -> ConnId {
        ConnId::new(i, 0)
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
            rooms.join("a", conn(i)).unwrap();
        }
        let first = rooms.publish("a", Message::Text("hello")).unwrap();
        assert_eq!(first.position, Position { epoch: 7, offset: 1 });
        assert_eq!(rooms.publish("a", Message::Text("again")).unwrap().position.offset, 2);
        assert_eq!(walk(&mut rooms), [(conn(0), 14), (conn(1), 14), (conn(2), 14)]);
        assert_eq!((rooms.log_bytes(), rooms.has_news()), (0, false));
        assert_eq!(rooms.publish("b", Message::Text("nobody")), None);
    }

    #[test]
    fn row_41_a_room_goes_with_its_last_member_also_in_the_middle_of_a_walk() {
        let mut rooms = rooms();
        let a = rooms.join("a", conn(0)).unwrap();
        rooms.publish("a", Message::Text("news"));
        rooms.leave(a);
        rooms.leave(a);
        assert_eq!(walk(&mut rooms), []);
        assert!(rooms.is_empty());
        let again = rooms.join("a", conn(1)).unwrap();
        assert_eq!(
            rooms.publish("a", Message::Text("x")).unwrap().position,
            Position { epoch: 8, offset: 1 }
        );
        rooms.leave(again);
        walk(&mut rooms);
        assert!(rooms.is_empty());
    }

    #[test]
    fn a_lagging_member_keeps_the_log_until_the_tail_passes_it() {
        let mut rooms = rooms();
        let slow = rooms.join("a", conn(0)).unwrap();
        rooms.join("a", conn(1)).unwrap();
        rooms.set_lagging(slow, true);
        for _ in 0..5 {
            rooms.publish("a", Message::Binary(&[0; 98]));
            assert_eq!(walk(&mut rooms), [(conn(1), 100)]);
        }
        assert_eq!(rooms.log_bytes(), 500);
        let mut visit = rooms.visit(slow).unwrap();
        assert_eq!(visit.advance(50).unwrap().len(), 50, "the rest of the first frame");
        while let Pending::Frames(frames) = visit.pending() {
            visit.advance(frames.len());
        }
        rooms.set_lagging(slow, false);
        assert_eq!(rooms.log_bytes(), 0);
        rooms.set_lagging(slow, true);
        for _ in 0..20 {
            rooms.publish("a", Message::Binary(&[0; 98]));
            walk(&mut rooms);
        }
        assert_eq!(rooms.visit(slow).unwrap().pending(), Pending::Passed);
        assert!(rooms.log_bytes() <= 1000);
    }

    #[test]
    fn a_publisher_waits_while_the_walk_is_behind() {
        let mut rooms = rooms();
        rooms.join("a", conn(0)).unwrap();
        while !rooms.publish("a", Message::Binary(&[0; 98])).unwrap().crowded {}
        assert_eq!(rooms.log_bytes(), 600);
        rooms.wait_for("a", conn(9));
        assert_eq!(rooms.pop_released(), None);
        walk(&mut rooms);
        assert_eq!(rooms.pop_released(), Some(conn(9)));
        rooms.wait_for("gone", conn(8));
        assert_eq!(rooms.pop_released(), Some(conn(8)));
    }

    #[test]
    fn a_publisher_that_does_not_wait_costs_those_who_keep_up_nothing() {
        let mut rooms = rooms();
        let member = rooms.join("a", conn(0)).unwrap();
        let taken = (0..50).filter(|_| rooms.publish("a", Message::Binary(&[0; 98])).is_some()).count();
        assert_eq!(taken, 11, "a log's length, and one more");
        assert_eq!(rooms.crowded_among(&[member]).as_deref(), Some("a"));
        let sent: usize = walk(&mut rooms).iter().map(|(_, bytes)| bytes).sum();
        assert_eq!((sent, rooms.crowded_among(&[member])), (1100, None));
        rooms.publish("a", Message::Binary(&[0; 5000])).unwrap();
        rooms.leave(member);
        walk(&mut rooms);
        assert_eq!(rooms.crowded, 0);
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let mut rooms = rooms();
        assert_eq!(rooms.join("", conn(0)), Err(JoinError::Name));
        assert_eq!(rooms.join("ninechars", conn(0)), Err(JoinError::Name));
        rooms.join("a", conn(0)).unwrap();
        rooms.join("b", conn(0)).unwrap();
        assert_eq!(rooms.join("c", conn(0)), Err(JoinError::TooManyRooms));
        assert!(rooms.join("a", conn(1)).is_ok());
    }
}
