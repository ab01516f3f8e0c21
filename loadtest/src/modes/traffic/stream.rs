//! The messages of one sender, and who has got which.

use crate::measure::{Arrival, Sequence};
use crate::reactor::PeerId;
use std::collections::VecDeque;
use std::time::Instant;

/// One sender's messages.
pub(super) struct Stream {
    /// Who sends them.
    pub(super) sender: PeerId,
    receivers: Vec<Sequence>,
    /// Messages from the first that has not come to all on.
    pending: VecDeque<Pending>,
    /// The number of the first of them.
    base: u64,
}

struct Pending {
    planned: Instant,
    /// Receivers that have not got it.
    remaining: u32,
}

/// What an arrival is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// It had not come yet.
    Right {
        /// When it was to be sent.
        planned: Instant,
        /// A later one came before it.
        overtaken: bool,
        /// It and all before it have now come to everybody.
        completes: bool,
    },
    /// It came a second time.
    Again,
    /// There is no such message.
    NeverSent,
}

impl Stream {
    pub(super) fn new(sender: PeerId, receivers: usize) -> Self {
        Self { sender, receivers: vec![Sequence::default(); receivers], pending: VecDeque::new(), base: 0 }
    }

    /// The number of the next message, planned for this time.
    pub(super) fn plan(&mut self, planned: Instant) -> u64 {
        self.pending.push_back(Pending { planned, remaining: self.receivers.len() as u32 });
        self.sent() - 1
    }

    fn sent(&self) -> u64 {
        self.base + self.pending.len() as u64
    }

    /// Messages since the first that has not come to all.
    pub(super) fn under_way(&self) -> usize {
        self.pending.len()
    }

    /// Message `number` came to a receiver.
    pub(super) fn take(&mut self, receiver: usize, number: u64) -> Came {
        if number >= self.sent() {
            return Came::NeverSent;
        }
        let arrival = self.receivers[receiver].take(number);
        let index = number.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        let pending = index.and_then(|index| self.pending.get_mut(index));
        match (arrival, pending) {
            // What has come to all has come to this one too.
            (Arrival::Again, _) | (_, None) => Came::Again,
            (Arrival::Newest | Arrival::Overtaken, Some(pending)) => {
                pending.remaining -= 1;
                let planned = pending.planned;
                Came::Right { planned, overtaken: arrival == Arrival::Overtaken, completes: self.advance() }
            }
        }
    }

    fn advance(&mut self) -> bool {
        let before = self.base;
        while self.pending.front().is_some_and(|pending| pending.remaining == 0) {
            self.pending.pop_front();
            self.base += 1;
        }
        self.base > before
    }

    /// What has not come, summed over the receivers.
    pub(super) fn lost(&self) -> u64 {
        self.receivers.iter().map(|receiver| receiver.behind(self.sent())).sum()
    }
}
