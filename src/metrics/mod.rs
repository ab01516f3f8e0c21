//! What a server counts. One thread writes; any thread may read.

pub mod memory;

use std::sync::atomic::{AtomicU64, Ordering};

use memory::Memory;

/// A number that only the loop changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        // There is one writer, so a load and a store do without a locked instruction.
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the server started.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: Counter,)*
            /// The memory in use, by what it is used for.
            pub memory: Memory,
        }

        impl Metrics {
            /// Every count with its name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

metrics! {
    /// TCP connections accepted.
    accepted,
    /// WebSocket connections opened.
    opened,
    /// WebSocket connections ended, in whatever way.
    ended,
    /// Of those, ended because the peer broke the protocol.
    violations,
    /// Of those, ended without a Close frame from either side.
    lost,
    /// Of those, ended because they held the most when memory was short.
    shed,
    /// Publications of which the backplane did not say in time that they were published.
    publications_failed,
    /// Queues of a Channels layer that were full, and were not sent what was published.
    queues_full,
    /// Rooms whose history was lost, so that their members were told.
    rooms_reset,
    /// Publications that slow members were not sent, by the rule of their room.
    skipped,
    /// Members closed because their room's log had moved past them.
    passed,
    /// Plain HTTP requests answered by the handler.
    requests,
    /// Requests refused with 400.
    refused_400,
    /// Requests refused with 403.
    refused_403,
    /// Requests refused with 404.
    refused_404,
    /// Requests refused with 405.
    refused_405,
    /// Requests refused with 426.
    refused_426,
    /// Requests refused with 431.
    refused_431,
    /// Requests refused with 503.
    refused_503,
    /// Requests refused with another status.
    refused_other,
    /// Messages received.
    messages,
    /// Messages sent to one connection alone.
    replies,
    /// Messages refused to the handler because too much was waiting for the connection.
    replies_refused,
    /// Messages published to rooms.
    publications,
    /// Publications that had been published before with the same key, and were not again.
    publications_repeated,
    /// Messages not published, for want of members or because their room was a whole log behind.
    publications_unheard,
    /// Publications that were compressed, each once for all members that read them so, and are shorter for it.
    publications_deflated,
    /// Bytes of those before they were compressed.
    deflated_bytes_before,
    /// Bytes of those after.
    deflated_bytes_after,
    /// Bytes received.
    bytes_in,
    /// Turns of the loop.
    turns,
    /// Errors of `accept`.
    accept_errors,
    /// Connections dropped at a listener for proxies: from somebody who is none, or without a good PROXY header.
    proxies_refused,
}

impl Metrics {
    pub(crate) fn refused(&self, status: u16) {
        let counter = match status {
            400 => &self.refused_400,
            403 => &self.refused_403,
            404 => &self.refused_404,
            405 => &self.refused_405,
            426 => &self.refused_426,
            431 => &self.refused_431,
            503 => &self.refused_503,
            _ => &self.refused_other,
        };
        counter.add(1);
    }
}
