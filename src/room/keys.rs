//! Keys that make a repeated publication harmless: what came with the same key before is not published again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::position::Position;

/// The latest keys of one room and what they were given.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<Arc<str>, (u64, Position)>,
    order: VecDeque<(u64, Arc<str>)>,
    /// The keys' lengths together.
    len: usize,
}

impl Keys {
    /// Where the publication stands that came with this key, unless that was before `oldest_ms`.
    pub(crate) fn find(&self, key: &str, oldest_ms: u64) -> Option<Position> {
        self.known.get(key).filter(|(time_ms, _)| *time_ms >= oldest_ms).map(|(_, position)| *position)
    }

    /// Bytes of memory taken up, about.
    pub(super) fn held(&self) -> usize {
        self.len + self.order.capacity() * 24 + self.known.capacity() * 48
    }

    /// When each key came, the key, and the offset it was given; the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str, u64)> {
        let known = |key: &str| self.known.get(key).map_or(0, |(_, position)| position.offset);
        self.order.iter().map(move |(time_ms, key)| (*time_ms, &**key, known(key)))
    }

    /// Remembers a key; of more than `max`, and of those older than `oldest_ms`, the oldest are forgotten.
    pub(crate) fn remember(
        &mut self,
        key: &str,
        position: Position,
        now_ms: u64,
        max: usize,
        oldest_ms: u64,
    ) {
        self.forget(max.saturating_sub(1), oldest_ms);
        if max > 0 {
            let key: Arc<str> = key.into();
            self.len += key.len();
            self.order.push_back((now_ms, key.clone()));
            self.known.insert(key, (now_ms, position));
        }
    }

    /// Forgets the oldest of more than `max`, and those older than `oldest_ms`; says whether none are left.
    pub(super) fn forget(&mut self, max: usize, oldest_ms: u64) -> bool {
        let is_out = |(time_ms, _): &(u64, Arc<str>), len: usize| len > max || *time_ms < oldest_ms;
        while self.order.front().is_some_and(|oldest| is_out(oldest, self.order.len())) {
            if let Some((_, key)) = self.order.pop_front() {
                self.known.remove(&key);
                self.len -= key.len();
            }
        }
        if self.order.len() < self.order.capacity() / 4 {
            self.order.shrink_to(self.order.len() * 2);
            self.known.shrink_to(self.order.len() * 2);
        }
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_keys_are_forgotten_by_count_and_by_age() {
        let mut keys = Keys::default();
        let at = |offset| Position { epoch: 1, offset };
        for offset in 1..=5 {
            keys.remember(&format!("k{offset}"), at(offset), offset * 100, 3, 0);
        }
        assert_eq!((keys.find("k2", 0), keys.find("k3", 0)), (None, Some(at(3))));
        keys.remember("k6", at(6), 600, 3, 450);
        assert_eq!((keys.find("k4", 0), keys.find("k5", 450)), (None, Some(at(5))));
        assert_eq!(keys.find("k6", 601), None);
        assert_eq!(keys.known.len(), keys.order.len());
        assert_eq!(keys.len, 2 * keys.order.len());
    }
}
