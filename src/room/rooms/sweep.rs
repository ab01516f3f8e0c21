//! Which rooms go, and when: the deserted at once, those only kept for later when their time has come.

use std::collections::HashMap;

use slab::Slab;

use super::super::lane::KEPT;
use super::Rooms;
use super::memory::Held;
use super::shared::Change;

impl Rooms {
    pub(super) fn free_if_deserted(&mut self, key: usize) {
        // A room with news stands in the queue of the walk; it is freed when its turn comes.
        if self.rooms.get(key).is_some_and(|room| room.is_deserted(self.now_ms)) {
            self.free(key);
        }
    }

    fn free(&mut self, key: usize) {
        self.set_crowded(key, false);
        let mut room = self.rooms.remove(key);
        self.recharge(room.charged, Held::default());
        self.ledger.forget(room.standing);
        self.names.remove(&room.name);
        self.order.remove(&room.name);
        self.note(|| Change::Closed(room.name.clone()));
        self.released.extend(room.waiting());
        self.woken.extend(room.listeners);
        if self.rooms.is_empty() && self.rooms.capacity() > KEPT {
            // A storm of rooms must not leave its memory behind.
            (self.rooms, self.names) = (Slab::new(), HashMap::new());
        }
    }

    /// Frees a room that is only kept for who may come back: somebody is here now. Looks at a few, so that a room that
    /// cannot be had costs little.
    pub(super) fn evict(&mut self) {
        // Not a limit of anything: it keeps a join that is refused as short as any other. Fewer would find no room among
        // some that are in use, and more would find one only where nearly all are; the next search goes on from here.
        const LOOKED_AT: usize = 256;
        for _ in 0..LOOKED_AT.min(self.rooms.capacity()) {
            let key = self.next_swept();
            let room = self.rooms.get(key);
            if room.is_some_and(|room| room.is_unused() && !room.log.has_history()) {
                return self.free(key);
            }
        }
    }

    /// The next slot to be looked at, of all in a circle.
    pub(super) fn next_swept(&mut self) -> usize {
        self.swept = if self.swept + 1 >= self.rooms.capacity() { 0 } else { self.swept + 1 };
        self.swept
    }

    /// Looks through up to `count` rooms for history and keys that are too old, and goes on from there the next time.
    pub fn sweep(&mut self, count: usize) {
        let (oldest_ms, keys_max) = (self.oldest_key_ms(), self.limits.idempotency_keys_max);
        for _ in 0..count.min(self.rooms.capacity()) {
            let key = self.next_swept();
            if let Some(room) = self.rooms.get_mut(key) {
                room.log.age(self.now_ms);
                room.trim();
                room.keys.take_if(|keys| keys.forget(keys_max, oldest_ms));
                self.charge(key);
                self.free_if_deserted(key);
            }
        }
    }
}
