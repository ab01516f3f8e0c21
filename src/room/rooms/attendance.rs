//! Users that come and go: who is told of it, and how long one who has gone may take to come back.

use std::sync::Arc;

use super::super::presence::{Census, Shift, notice};
use super::Rooms;
use super::shared::Change;
use crate::ws::message::Message;

impl Rooms {
    /// A user has one connection more, or less.
    pub(super) fn attend(&mut self, key: usize, shift: Option<Shift>) {
        let Some(Shift { user, has_come, connections, is_announced, was_until_ms }) = shift else { return };
        if self.lists_together {
            // All nodes together decide whether that is news.
            let room = &mut self.rooms[key];
            if connections == 0
                && let Some(roll) = &mut room.roll
            {
                roll.release(&user, None);
            }
            let room = room.name.clone();
            self.note(|| Change::Seated { room, user, connections, is_announced });
            return;
        }
        if let Some(until_ms) = was_until_ms {
            self.leaving.remove(&(until_ms, key, user));
        } else if connections == 0 {
            self.let_go(key, user);
        } else if connections == 1 && has_come && is_announced {
            self.announce(key, notice("join", &user));
        }
    }

    /// A user has no connection any more: it goes, or may come back for a while.
    fn let_go(&mut self, key: usize, user: Arc<str>) {
        let grace = self.limits.presence_grace;
        if grace.is_zero() {
            return self.release_user(key, &user, None);
        }
        let until_ms = self.now_ms + grace.as_millis() as u64;
        if let Some(roll) = &mut self.rooms[key].roll {
            roll.keep(&user, until_ms);
            self.leaving.insert((until_ms, key, user));
        }
        while self.leaving.len() > self.limits.presence_leaving_max {
            self.release_first();
        }
    }

    fn release_first(&mut self) {
        if let Some((until_ms, key, user)) = self.leaving.pop_first() {
            self.release_user(key, &user, Some(until_ms));
        }
    }

    fn release_user(&mut self, key: usize, user: &str, until_ms: Option<u64>) {
        // A room that has gone has nobody to be told.
        let Some(roll) = self.rooms.get_mut(key).and_then(|room| room.roll.as_mut()) else { return };
        if let Some(notice) = roll.release(user, until_ms) {
            self.announce(key, notice);
        }
        self.charge(key);
    }

    /// Users that have not come back in time have gone.
    pub fn release_users(&mut self) {
        while self.leaving.first().is_some_and(|(until_ms, ..)| *until_ms <= self.now_ms) {
            self.release_first();
        }
    }

    /// Milliseconds until the next user has not come back in time.
    pub fn release_in_ms(&self, now_ms: u64) -> Option<u64> {
        self.leaving.first().map(|(until_ms, ..)| until_ms.saturating_sub(now_ms))
    }

    /// Publishes what the server itself has to say.
    fn announce(&mut self, key: usize, notice: String) {
        if self.changes.is_some() {
            let name = self.rooms[key].name.clone();
            self.note(|| Change::Announced(name, notice));
        } else {
            // Where nobody is left to be told, or the walk is far behind, nothing is lost that presence does not say.
            let _ = self.append(key, Message::Text(&notice), true, None, None);
        }
    }

    /// Notes what is known of a room beyond this node.
    pub fn set_census(&mut self, name: &str, census: Census) {
        if let Some(key) = self.names.get(name) {
            self.rooms[*key].census = census;
        }
    }
}
