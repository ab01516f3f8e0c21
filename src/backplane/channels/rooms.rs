//! The rooms that are open here as members of their groups, and what comes to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rmpv::ValueRef;

use super::super::Kind;
use super::super::line::{Expected, Purpose};
use super::super::resp::Reply;
use super::{Dialect, Event, Layer, Step, UNIQUE, dict};
use crate::id::ConnId;
use crate::room::keys::Keys;
use crate::room::lineage::Lineage;
use crate::room::position::Position;

/// A room that is open here.
#[derive(Debug)]
pub(super) struct Entry {
    /// Tells this opening from earlier ones, and names the channel.
    pub(super) opening: u64,
    /// `None` where the room's name does not do: such a room is never open.
    pub(super) group: Option<String>,
    pub(super) dialect: Arc<Dialect>,
    /// Where the last message stands that has come.
    pub(super) head: Position,
    /// What has come back with a key.
    pub(super) keys: Keys,
    is_ready: bool,
    /// Joining has failed, as where memory is short.
    wants_join: bool,
    joined_ms: u64,
}

impl Layer {
    /// The number of the channel on which the node hears itself.
    const CANARY: u64 = 0;

    /// The field in which a canary has when it was sent.
    pub(super) const SENT: &str = "sent";

    /// Says how a room is spoken of; before it is opened, or from now on.
    pub fn speak(&mut self, room: &str, dialect: &Arc<Dialect>) {
        match self.rooms.get_mut(room) {
            Some(entry) => entry.dialect = dialect.clone(),
            None => drop(self.dialects.insert(room.into(), dialect.clone())),
        }
    }

    /// Opens a room, unless it is open already.
    pub fn open(&mut self, room: Arc<str>, now_ms: u64) {
        if self.rooms.contains_key(&room) {
            return;
        }
        self.openings += 1;
        let dialect = self.dialects.remove(&room).unwrap_or_default();
        let head = self.beginning();
        let entry = Entry {
            opening: self.openings,
            group: dialect.group_of(&room),
            dialect,
            head,
            keys: Keys::default(),
            is_ready: false,
            wants_join: false,
            joined_ms: now_ms,
        };
        self.channels.insert(entry.opening, room.clone());
        self.rooms.insert(room.clone(), entry);
        self.events.push_back(Event::Begin(room.clone(), head, Lineage::default()));
        self.join(&room, now_ms);
    }

    /// Where a room begins that is opened now. Nobody else counts from there; 53 bits are exact in JavaScript, too.
    pub(super) fn beginning(&self) -> Position {
        Position { epoch: (self.node >> 11).wrapping_add(self.openings).max(1), offset: 0 }
    }

    /// Closes a room: its channel leaves the group.
    pub fn close(&mut self, room: &str, now_ms: u64) {
        let Some(entry) = self.rooms.remove(room) else { return };
        self.channels.remove(&entry.opening);
        // Where Redis is away, the channel leaves by itself after a time, and what comes to it until then is nobody's.
        if let Some(group) = entry.group.filter(|_| self.is_answered()) {
            let (key, channel) = (self.group_key(&group), self.channel_of(entry.opening));
            let parts = [&b"ZREM"[..], key.as_bytes(), channel.as_bytes()];
            self.commands().ask(Expected::Nothing, &parts, now_ms);
        }
    }

    /// Leaves all groups, and takes its queue along, so that nobody sends to a node that is gone.
    pub fn leave(&mut self, now_ms: u64) {
        let rooms: Vec<Arc<str>> = self.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| self.close(room, now_ms));
        if self.is_answered() {
            let group = self.group_key(&self.own_group());
            let [queue, in_flight, line] = self.queue_keys();
            let keys = [&group, &queue, &in_flight, &line].map(|key| key.as_bytes());
            let parts = [&[&b"DEL"[..]], &keys[..]].concat();
            self.commands().ask(Expected::Nothing, &parts, now_ms);
        }
    }

    /// Joins the group of a room, or stays in it.
    pub(super) fn join(&mut self, room: &Arc<str>, now_ms: u64) {
        if !self.is_answered() {
            return;
        }
        let Some(entry) = self.rooms.get_mut(room) else { return };
        (entry.joined_ms, entry.wants_join) = (now_ms, false);
        let opening = entry.opening;
        if let Some(group) = entry.group.clone() {
            self.join_group(&group, opening, Expected::Layer(Step::Joined(room.clone(), opening)), now_ms);
        }
    }

    fn join_group(&mut self, group: &str, opening: u64, expected: Expected, now_ms: u64) {
        let (key, channel, now) = (self.group_key(group), self.channel_of(opening), Self::seconds(now_ms));
        let expiry = self.limits.channels_group_expiry.as_secs().max(1).to_string();
        let commands = self.commands();
        let parts = [&b"ZADD"[..], key.as_bytes(), now.as_bytes(), channel.as_bytes()];
        commands.ask(expected, &parts, now_ms);
        let parts = [&b"EXPIRE"[..], key.as_bytes(), expiry.as_bytes()];
        commands.ask(Expected::Nothing, &parts, now_ms);
    }

    /// Joins all groups, and last the one in which the node is alone.
    pub(super) fn join_all(&mut self, now_ms: u64) {
        let rooms: Vec<Arc<str>> = self.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| self.join(room, now_ms));
        self.join_own(now_ms);
    }

    fn join_own(&mut self, now_ms: u64) {
        self.joined_ms = now_ms;
        self.join_group(&self.own_group(), Self::CANARY, Expected::Nothing, now_ms);
    }

    /// The group in which this node is alone.
    pub(super) fn own_group(&self) -> String {
        format!("fanline.{:016x}", self.node)
    }

    /// Renews what would leave, long before it does.
    pub(super) fn renew_some(&mut self, now_ms: u64) {
        /// Rooms renewed at a time, and the pause before the next.
        const RENEWED: usize = 512;
        const PAUSE_MS: u64 = 1_000;
        if !self.is_answered() || now_ms < self.touch_due_ms {
            return;
        }
        self.touch_due_ms = now_ms + PAUSE_MS;
        let pause = self.limits.channels_group_expiry.as_millis() as u64 / 4;
        let is_due = |entry: &Entry| entry.wants_join || entry.joined_ms + pause <= now_ms;
        let due = self.rooms.iter().filter(|(_, entry)| is_due(entry)).take(RENEWED);
        let due: Vec<Arc<str>> = due.map(|(room, _)| room.clone()).collect();
        due.iter().for_each(|room| self.join(room, now_ms));
        if self.joined_ms + pause <= now_ms {
            self.join_own(now_ms);
        }
    }

    pub(super) fn hear_joined(&mut self, room: &Arc<str>, opening: u64, reply: &Reply) {
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| entry.opening == opening) else { return };
        if let Reply::Error(error) = reply {
            entry.wants_join = true;
            let why = String::from_utf8_lossy(error).into_owned();
            return self.say(&why);
        }
        if !std::mem::replace(&mut entry.is_ready, true) {
            self.events.push_back(Event::Ready(room.clone()));
        }
    }

    /// The queue, what is in flight, and the number of the line that takes.
    fn queue_keys(&self) -> [String; 3] {
        let queue = self.key(&self.queue());
        let (in_flight, line) = (format!("{queue}$inflight"), format!("{queue}$line"));
        [queue, in_flight, line]
    }

    /// Waits for a message and takes what is there then. The second command is read by Redis when the first has been
    /// answered, so that one question brings everything.
    pub(super) fn take(&mut self, is_again: bool, now_ms: u64) {
        let [queue, in_flight, line] = self.queue_keys();
        let (limits, sha) = (&self.limits, self.take.sha.clone());
        // Well before the line would be given up.
        let patience = Self::seconds((limits.backplane_reply_deadline.as_millis() as u64 / 2).max(1));
        // A reply that is too long would end each line on which what is in flight is asked for again.
        let page_bytes = limits.page_bytes_max.min(limits.backplane_reply_bytes_max / 2).max(1);
        let numbers = [
            limits.page_entries_max.to_string(),
            page_bytes.to_string(),
            limits.channels_message_bytes_max.to_string(),
            limits.channels_expiry.as_secs().max(1).to_string(),
            self.taking.to_string(),
        ];
        if !is_again {
            let parts = [&b"BZPOPMIN"[..], queue.as_bytes(), patience.as_bytes()];
            self.redis[Purpose::News].ask(Expected::Layer(Step::Oldest), &parts, now_ms);
        }
        let is_heard = if is_again { "0" } else { "1" };
        let mut parts: Vec<&[u8]> =
            ["EVALSHA", &sha, "3", &queue, &in_flight, &line, is_heard].map(str::as_bytes).into();
        parts.extend(numbers.iter().map(String::as_bytes));
        self.redis[Purpose::News].ask(Expected::Layer(Step::More { is_again }), &parts, now_ms);
    }

    /// Takes what was there; after a line was lost, without what had been heard before.
    pub(super) fn hear_more(&mut self, is_again: bool, reply: &Reply, now_ms: u64) {
        let before = std::mem::take(&mut self.heard);
        for message in reply.list() {
            let unique = message.bytes().and_then(|bytes| bytes.first_chunk::<UNIQUE>());
            self.heard.extend(unique);
            if !is_again || !unique.is_some_and(|unique| before.contains(unique)) {
                self.hear_message(message, now_ms);
            }
        }
        self.take(false, now_ms);
    }

    /// Takes one message.
    pub(super) fn hear_message(&mut self, message: &Reply, now_ms: u64) {
        let bytes = message.bytes().filter(|bytes| bytes.len() <= self.limits.channels_message_bytes_max);
        let Some((unique, dict)) = bytes.and_then(|bytes| bytes.split_first_chunk::<UNIQUE>()) else {
            return self.say("a message that is too long, or too short, was not taken");
        };
        let Some(fields) = dict::read(dict) else {
            return self.say("a message was not understood: only MessagePack without encryption is");
        };
        let number = self.number_of(unique);
        let openings = dict::channels(&fields).into_iter().filter_map(|channel| self.opening_of(channel));
        // A group has nobody twice; what else may be in Redis is not worth more memory than it takes there.
        let openings: BTreeSet<u64> = openings.collect();
        let mut said: Option<(Arc<Dialect>, Kind, Bytes)> = None;
        for opening in openings {
            if opening == Self::CANARY {
                let sent_ms = dict::field(&fields, Self::SENT).and_then(ValueRef::as_u64);
                self.redis.hear_canary(sent_ms.map_or(now_ms, |sent_ms| sent_ms.min(now_ms)));
                continue;
            }
            let Some(room) = self.channels.get(&opening).cloned() else { continue };
            let Some(dialect) = self.rooms.get(&room).map(|entry| entry.dialect.clone()) else { continue };
            let (kind, payload) = match &said {
                Some((spoken, kind, payload)) if *spoken == dialect => (*kind, payload.clone()),
                Some(_) | None => {
                    let (kind, payload) = dialect.message(&fields);
                    let payload = Bytes::from(payload);
                    said = Some((dialect, kind, payload.clone()));
                    (kind, payload)
                }
            };
            self.append(&room, (kind, payload), number, now_ms);
        }
        if let Some(number) = number {
            self.forget(number);
        }
    }

    fn append(&mut self, room: &Arc<str>, (kind, payload): (Kind, Bytes), number: Option<u64>, now_ms: u64) {
        let own = number.and_then(|number| self.pending.get(&number)).and_then(|own| own.conn);
        let position = self.put(room, kind, payload, own, now_ms);
        if let (Some(number), Some(position)) = (number, position) {
            self.came_back(number, (room, position), now_ms);
        }
    }

    /// Appends to a room that is open, and says where it stands there.
    pub(super) fn put(
        &mut self,
        room: &Arc<str>,
        kind: Kind,
        payload: Bytes,
        author: Option<ConnId>,
        now_ms: u64,
    ) -> Option<Position> {
        let entry = self.rooms.get_mut(room)?;
        entry.head.offset += 1;
        let room = room.clone();
        self.events.push_back(Event::Append { room, time_ms: now_ms, kind, author, payload });
        Some(entry.head)
    }
}
