//! What the memory in use is used for.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a part of the memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The table of connections.
    Connections,
    /// Heads, bodies and messages of which something is still to come.
    Incoming,
    /// What waits for one connection alone.
    Outgoing,
    /// Publications, in every encoding that somebody reads.
    Logs,
    /// Rooms beside their logs: members, who is present, keys of publications.
    Rooms,
    /// TLS sessions.
    Tls,
    /// Compressors and the decompressor.
    Compression,
    /// Long buffers kept for the next long message.
    Spare,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 8] = [
        Class::Connections,
        Class::Incoming,
        Class::Outgoing,
        Class::Logs,
        Class::Rooms,
        Class::Tls,
        Class::Compression,
        Class::Spare,
    ];

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Class::Connections => "connections",
            Class::Incoming => "incoming",
            Class::Outgoing => "outgoing",
            Class::Logs => "logs",
            Class::Rooms => "rooms",
            Class::Tls => "tls",
            Class::Compression => "compression",
            Class::Spare => "spare",
        }
    }
}

/// Bytes in use, by class. One thread writes; any thread may read.
///
/// It is what the server has asked the allocator for, without the allocator's own overhead and the kernel's buffers.
#[derive(Debug, Default)]
pub struct Memory {
    classes: [AtomicUsize; Class::ALL.len()],
    total: AtomicUsize,
}

impl Memory {
    /// Bytes used for this.
    pub fn get(&self, class: Class) -> usize {
        self.classes[class as usize].load(Ordering::Relaxed)
    }

    /// Bytes used for everything.
    #[inline]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Something that took `before` bytes takes `now`.
    #[inline]
    pub(crate) fn shift(&self, class: Class, before: usize, now: usize) {
        if before != now {
            // There is one writer, so a load and a store do without a locked instruction.
            let shifted = |bytes: usize| bytes.wrapping_sub(before).wrapping_add(now);
            let gauge = &self.classes[class as usize];
            gauge.store(shifted(gauge.load(Ordering::Relaxed)), Ordering::Relaxed);
            self.total.store(shifted(self.total()), Ordering::Relaxed);
        }
    }

    /// Everything of a class takes so many bytes.
    #[inline]
    pub(crate) fn set(&self, class: Class, bytes: usize) {
        self.shift(class, self.get(class), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_of_the_classes() {
        let memory = Memory::default();
        for (at, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, at, "{}", class.name());
            memory.set(class, 100 << at);
            memory.shift(class, 50, 0);
        }
        let sum: usize = Class::ALL.into_iter().map(|class| memory.get(class)).sum();
        assert_eq!((memory.total(), sum), (25_500 - 400, 25_500 - 400));
        Class::ALL.into_iter().for_each(|class| memory.set(class, 0));
        assert_eq!(memory.total(), 0);
    }
}
