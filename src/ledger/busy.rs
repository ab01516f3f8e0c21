//! Which rooms are the busiest: a bounded sketch of all, and an account of its own for each of the first few.

use std::sync::Arc;
use std::time::Duration;

use super::snapshot::{Lately, Stages};
use super::{Account, AccountId, Ledger, Mark, Standing};

/// Rooms that may be among the busiest, as the space-saving algorithm has them (Metwally and others, 2005): a room that is
/// not there takes the place of the least busy one, and its count, so that no room is ever thought less busy than it is.
#[derive(Debug)]
pub struct Busy {
    entries: Vec<Entry>,
    rooms_max: usize,
    /// Publications in rooms that are not there: every so many of them one takes a place.
    missed: u32,
}

#[derive(Debug)]
struct Entry {
    /// The room's; none once it has been freed.
    key: Option<u32>,
    class: u16,
    /// Deliveries lately: older ones count less and less.
    count: f64,
    /// While it is among the busiest.
    account: Option<AccountId>,
}

/// One of the busiest rooms, by its key.
#[derive(Clone, Debug)]
pub struct BusyTimes {
    /// The room's key.
    pub key: u32,
    /// The name of its class.
    pub class: Arc<str>,
    /// Deliveries per second lately, about.
    pub rate: f64,
    /// Since it came to be among the busiest.
    pub stages: Stages,
}

impl Busy {
    /// No place.
    pub(super) const NOWHERE: u16 = u16::MAX;

    /// Places for each account there may be: a room has to be found before it is known to be busy.
    const PLACES: usize = 4;

    /// Of so many publications in rooms without a place one is looked at, and counts for all: to find the place that
    /// is to be given up takes a look at each.
    const SAMPLED: u32 = 8;

    /// What was a delivery counts for 1/e of one after so many seconds.
    const MEMORY_S: f64 = 8.0;

    pub(super) fn new(rooms_max: usize) -> Self {
        let rooms_max = rooms_max.min(usize::from(Self::NOWHERE) / Self::PLACES / 2);
        Self { entries: Vec::new(), rooms_max, missed: 0 }
    }

    /// Counts deliveries of a room; returns the key of the one whose place it takes.
    pub(super) fn published(&mut self, standing: &mut Standing, key: u32, members: u64) -> Option<u32> {
        if let Some(entry) = self.entries.get_mut(usize::from(standing.entry)) {
            entry.count += members as f64;
            return None;
        }
        if self.entries.len() < self.rooms_max * Self::PLACES {
            standing.entry = self.entries.len() as u16;
            let (class, count) = (standing.class, members as f64);
            self.entries.push(Entry { key: Some(key), class, count, account: None });
            return None;
        }
        self.missed = self.missed.wrapping_add(1);
        if !self.missed.is_multiple_of(Self::SAMPLED) {
            return None;
        }
        let places = self.entries.iter_mut().enumerate().filter(|(_, entry)| entry.account.is_none());
        let (at, least) = places.min_by(|(_, a), (_, b)| a.count.total_cmp(&b.count))?;
        standing.entry = at as u16;
        let replaced = least.key.replace(key);
        least.class = standing.class;
        least.count += members as f64 * f64::from(Self::SAMPLED);
        replaced
    }

    /// The accounts of busy rooms, each with its class.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (u16, AccountId)> {
        self.entries.iter().filter_map(|entry| Some((entry.class, entry.account?)))
    }

    /// The busiest places now; who has an account keeps it until others are clearly busier.
    fn busiest(&self) -> Vec<usize> {
        let weight = |at: &usize| {
            let entry = &self.entries[*at];
            entry.count * if entry.account.is_some() { 1.5 } else { 1.0 }
        };
        let mut places: Vec<usize> =
            (0..self.entries.len()).filter(|at| self.entries[*at].key.is_some()).collect();
        places.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        places.truncate(self.rooms_max);
        places
    }
}

impl Ledger {
    /// Says of which class a room is. Past `ledger_classes_max` it is of none.
    pub fn classify(&mut self, standing: &mut Standing, name: &str) {
        let known = self.classes.iter().position(|class| *class.name == *name);
        let class = match known {
            Some(known) => known,
            None if self.classes.len() <= self.classes_max => {
                let account = self.open();
                self.classes.push(super::Class { name: name.into(), account });
                self.classes.len() - 1
            }
            None => 0,
        };
        if usize::from(standing.class) == class {
            return;
        }
        let is_in_class = standing.account == self.classes[usize::from(standing.class)].account;
        standing.class = class as u16;
        if is_in_class {
            standing.account = self.classes[class].account;
        }
        if let Some(entry) = self.busy.entries.get_mut(usize::from(standing.entry)) {
            entry.class = class as u16;
        }
    }

    /// A room has lost its place to another.
    pub fn displace(&self, standing: &mut Standing) {
        standing.entry = Busy::NOWHERE;
    }

    /// A room goes; what it was sent counts with its class.
    pub fn forget(&mut self, standing: Standing) {
        let Some(entry) = self.busy.entries.get_mut(usize::from(standing.entry)) else { return };
        (entry.key, entry.count) = (None, 0.0);
        let (class, account) = (entry.class, entry.account.take());
        if let Some(account) = account {
            self.close(account, class);
        }
    }

    fn open(&mut self) -> AccountId {
        if !self.is_on {
            return AccountId::default();
        }
        if let Some(id) = self.closed.pop() {
            return id;
        }
        self.accounts.push(Account::default());
        AccountId { index: (self.accounts.len() - 1) as u16, life: 0 }
    }

    /// What an account has counted goes to its class.
    fn close(&mut self, id: AccountId, class: u16) {
        let Some(account) = self.accounts.get_mut(usize::from(id.index)) else { return };
        let life = id.life.wrapping_add(1);
        let heir = self.classes.get(usize::from(class)).map_or(0, |class| class.account.index);
        let account = std::mem::replace(account, Account { life, heir, ..Account::default() });
        self.closed.push(AccountId { life, ..id });
        if let Some(class) = self.accounts.get_mut(usize::from(heir)) {
            class.merge(&account);
        }
    }

    /// Whether a while is over.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.is_on && self.now_ns >= self.mark.at_ns + Self::WHILE_NS
    }

    /// A while is over: says what it was like, and works out which rooms are the busiest now. Returns the rooms, by their
    /// keys, whose deliveries are counted elsewhere from now on.
    pub fn turn_page(&mut self) -> Vec<(u32, AccountId)> {
        let all = self.all();
        let span_ns = self.now_ns - self.mark.at_ns;
        let stages = all.since(&self.mark.all).stages();
        let span = Duration::from_nanos(span_ns);
        let (until, outcomes) = (Duration::from_nanos(self.now_ns), self.outcomes.since(&self.mark.outcomes));
        self.lately = Lately { span, until, stages, outcomes };
        self.mark = Mark { at_ns: self.now_ns, all, outcomes: self.outcomes };
        let kept = (-(span_ns as f64 / 1e9) / Busy::MEMORY_S).exp();
        self.busy.entries.iter_mut().for_each(|entry| entry.count *= kept);
        self.promote()
    }

    fn promote(&mut self) -> Vec<(u32, AccountId)> {
        let busiest = self.busy.busiest();
        let mut moved = Vec::new();
        for at in (0..self.busy.entries.len()).filter(|at| !busiest.contains(at)) {
            let entry = &mut self.busy.entries[at];
            let class = entry.class;
            if let Some(account) = entry.account.take() {
                let back = self.classes[usize::from(class)].account;
                moved.extend(entry.key.map(|key| (key, back)));
                self.close(account, class);
            }
        }
        for at in busiest {
            if self.busy.entries[at].account.is_none() {
                let account = self.open();
                self.busy.entries[at].account = Some(account);
                moved.extend(self.busy.entries[at].key.map(|key| (key, account)));
            }
        }
        moved
    }

    /// The busiest rooms, the busiest first.
    pub fn busiest(&self) -> Vec<BusyTimes> {
        let entries = self.busy.busiest().into_iter().map(|at| &self.busy.entries[at]);
        let times = entries.filter_map(|entry| {
            let account = self.accounts.get(usize::from(entry.account?.index))?;
            Some(BusyTimes {
                key: entry.key?,
                class: self.classes.get(usize::from(entry.class))?.name.clone(),
                rate: entry.count / Busy::MEMORY_S,
                stages: account.stages(),
            })
        });
        let mut times: Vec<BusyTimes> = times.collect();
        times.sort_by(|a, b| b.rate.total_cmp(&a.rate));
        times
    }
}

impl Standing {
    /// Where its deliveries are counted from now on.
    pub fn move_to(&mut self, account: AccountId) {
        self.account = account;
    }
}
