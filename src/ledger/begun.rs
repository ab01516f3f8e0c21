//! Deliveries that have begun and not ended: their last byte is still to leave.

use super::{AccountId, Ledger, Times};

/// Publications that a socket has begun to take, or that wait where only their own connection's bytes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    account: AccountId,
    /// How many they are.
    pub count: u32,
    began_ns: u64,
    /// Of the first of them.
    times: Times,
}

impl Begun {
    /// When the first of them was appended, or whom it is for came after that.
    pub fn since_ns(&self) -> u64 {
        self.times.appended_ns
    }
}

impl Ledger {
    /// A visit, which begins now, hands over so many publications to what waits for their connection alone.
    pub fn begun(&self, account: AccountId, count: u64, times: Times) -> Begun {
        Begun { account, count: count as u32, began_ns: self.now_ns, times }
    }

    /// The last byte of these has left.
    pub fn completed(&mut self, begun: Begun) {
        let count = u64::from(begun.count);
        self.outcomes.sent += count;
        if !self.is_on {
            return;
        }
        let now_ns = self.read_clock();
        let index = usize::from(begun.account.index);
        // A room that was busy may have lost its account meanwhile, whose counts its class has then.
        let heir = self.accounts.get(index).filter(|account| account.life != begun.account.life);
        let index = heir.map_or(index, |account| usize::from(account.heir));
        if let Some(account) = self.accounts.get_mut(index) {
            account.send.record(now_ns.saturating_sub(begun.began_ns), count);
            account.waiting.record(begun.began_ns.saturating_sub(begun.times.appended_ns), count);
            account.total.record(now_ns.saturating_sub(begun.times.read_ns), count);
        }
    }
}
