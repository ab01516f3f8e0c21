//! The naive model: everything that was ever published, and who is where, in plain vectors.

use std::collections::BTreeMap;

use fanline::{ConnId, Join, Joined, NotPublished, Presence, Published, Start};

use crate::hall::{KEEP, Post, is_kept};

/// Keys that a room remembers, and for how long.
pub const KEYS_MAX: usize = 8;
pub const KEYS_MS: u64 = 20_000;

#[derive(Debug)]
pub struct Item {
    pub post: Post,
    pub is_notice: bool,
    /// The membership that published it.
    pub author: Option<u64>,
    pub time_ms: u64,
}

impl Item {
    /// The length of its frame.
    fn len(&self) -> usize {
        self.post.text.len() + if self.post.text.len() < 126 { 2 } else { 4 }
    }
}

/// One life of a room.
#[derive(Debug)]
pub struct Life {
    pub epoch: u64,
    pub items: Vec<Item>,
    keys: Vec<(String, u64, u64)>,
    left_ms: u64,
}

pub struct Member {
    pub id: ConnId,
    pub room: String,
    pub number: u64,
    presence: Presence,
}

#[derive(Default)]
pub struct Model {
    pub lives: Vec<Life>,
    pub members: Vec<Member>,
    /// Requests that wait, and for which room.
    pub polls: BTreeMap<ConnId, String>,
    latest: BTreeMap<String, usize>,
    joins: u64,
}

impl Model {
    pub fn count(&self, room: &str) -> usize {
        self.members.iter().filter(|member| member.room == room).count()
    }

    pub fn users(&self, room: &str) -> BTreeMap<String, u32> {
        let mut users = BTreeMap::new();
        for member in self.members.iter().filter(|member| member.room == room) {
            if let Presence::Listed(user) | Presence::Announced(user) = &member.presence {
                *users.entry(user.to_string()).or_default() += 1;
            }
        }
        users
    }

    pub fn is_heard(&self, room: &str) -> bool {
        is_kept(room) || self.count(room) > 0
    }

    /// The latest life of a room; a new one begins only where nobody can miss the old one.
    pub fn life(&mut self, room: &str, epoch: u64, now_ms: u64) -> usize {
        let old = self.latest.get(room).copied();
        if let Some(old) = old.filter(|old| self.lives[*old].epoch == epoch) {
            return old;
        }
        if let Some(old) = old.map(|old| &self.lives[old]) {
            let is_past =
                now_ms >= old.left_ms + KEEP.age.as_millis() as u64 && history(old, room, now_ms) == 0;
            let is_awaited = self.count(room) > 0 || self.polls.values().any(|awaited| awaited == room);
            assert!(epoch > old.epoch && !is_awaited && (is_past || !is_kept(room)), "{room} is needed");
        }
        self.lives.push(Life { epoch, items: Vec::new(), keys: Vec::new(), left_ms: 0 });
        self.latest.insert(room.to_owned(), self.lives.len() - 1);
        self.lives.len() - 1
    }

    /// Where one begins who starts like this, and whether nothing is missing.
    pub fn place(&self, life: usize, room: &str, start: Start, now_ms: u64) -> (usize, bool) {
        let life = &self.lives[life];
        let (head, kept) = (life.items.len(), history(life, room, now_ms));
        match start {
            Start::Now => (head, true),
            Start::Last(count) => (head - count.min(kept), true),
            Start::Since { position, or_last } => {
                let from = position.offset as usize;
                let is_whole = position.epoch == life.epoch && from <= head && from >= head - kept;
                if is_whole { (from, true) } else { (head - or_last.min(kept), false) }
            }
        }
    }

    /// As [`Model::place`], for one who stays; where only the newest matters, it gets no more than that.
    pub fn entry(&self, life: usize, room: &str, start: Start, now_ms: u64) -> (usize, bool) {
        let (from, whole) = self.place(life, room, start, now_ms);
        let newest = self.lives[life].items.len().saturating_sub(1);
        match room.starts_with('l') && from < newest {
            true => (newest, whole && !matches!(start, Start::Since { .. })),
            false => (from, whole),
        }
    }

    /// Someone joins: its membership, the life, and where it starts, which has to be what it was told.
    pub fn join(
        &mut self,
        id: ConnId,
        room: &str,
        join: &Join,
        joined: &Joined,
        now_ms: u64,
    ) -> (u64, usize) {
        let life = self.life(room, joined.position.epoch, now_ms);
        let (mut from, whole) = self.entry(life, room, join.start, now_ms);
        let is_behind = from < self.lives[life].items.len();
        self.joins += 1;
        let presence = join.presence.clone();
        self.members.push(Member {
            id,
            room: room.to_owned(),
            number: self.joins,
            presence: presence.clone(),
        });
        self.notice("join", room, &presence, 1, now_ms);
        if !is_behind {
            from = self.lives[life].items.len();
        }
        let got = (joined.position.offset as usize, joined.recovered, joined.is_behind);
        assert_eq!(got, (from, whole, is_behind), "{room}: where it starts, whether whole, whether behind");
        (self.joins, life)
    }

    /// Someone leaves one room, or all.
    pub fn leave(&mut self, id: ConnId, room: Option<&str>, now_ms: u64) {
        let goes = |member: &Member| member.id == id && room.is_none_or(|room| member.room == room);
        while let Some(at) = self.members.iter().position(goes) {
            let gone = self.members.remove(at);
            let life = self.latest[&gone.room];
            self.lives[life].left_ms = now_ms;
            self.notice("leave", &gone.room, &gone.presence, 0, now_ms);
        }
    }

    /// The first connection of a user is announced, and the last.
    fn notice(&mut self, what: &str, room: &str, presence: &Presence, count: u32, now_ms: u64) {
        let Presence::Announced(user) = presence else { return };
        let is_told = self.users(room).get(&**user).copied().unwrap_or(0) == count && self.is_heard(room);
        if is_told {
            let post = Post { text: format!(r#"{{"{what}":"{user}"}}"#), is_binary: false };
            let items = &mut self.lives[self.latest[room]].items;
            items.push(Item { post, is_notice: true, author: None, time_ms: now_ms });
        }
    }

    /// Something is published, or is not; the result has to be the right one.
    pub fn publish(
        &mut self,
        id: Option<ConnId>,
        post: &Post,
        result: Result<Published, NotPublished>,
        now_ms: u64,
    ) {
        let room = post.room();
        let Ok(published) = result else {
            return assert!(
                result == Err(NotPublished::Unheard) && !self.is_heard(room),
                "{result:?} {room}"
            );
        };
        let life = self.life(room, published.position.epoch, now_ms);
        let author = self.members.iter().find(|member| Some(member.id) == id && member.room == room);
        let author = author.map(|member| member.number);
        let Life { items, keys, .. } = &mut self.lives[life];
        let known = post.key().and_then(|key| {
            let (_, offset, time_ms) = keys.iter().rev().take(KEYS_MAX).find(|(known, ..)| known == key)?;
            (time_ms + KEYS_MS >= now_ms).then_some(*offset)
        });
        let want = known.unwrap_or(items.len() as u64 + 1);
        assert_eq!((published.position.offset, published.repeated), (want, known.is_some()), "{post:?}");
        if known.is_none() {
            keys.extend(post.key().map(|key| (key.to_owned(), want, now_ms)));
            items.push(Item { post: post.clone(), is_notice: false, author, time_ms: now_ms });
        }
    }
}

/// How many of the latest are history.
fn history(life: &Life, room: &str, now_ms: u64) -> usize {
    let mut bytes = 0;
    let is_kept_still = |item: &&Item| {
        bytes += item.len();
        bytes <= KEEP.bytes && item.time_ms + KEEP.age.as_millis() as u64 >= now_ms
    };
    let kept = life.items.iter().rev().take(KEEP.messages).take_while(is_kept_still).count();
    if is_kept(room) { kept } else { 0 }
}
