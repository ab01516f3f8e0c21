//! One deadline per connection, found lazily: a hashed wheel of ticks.

use std::time::{Duration, Instant};

use crate::id::ConnId;

/// Milliseconds from one instant to a later one, in 64 bits: a division in 128 bits is a function.
pub fn ms_between(start: Instant, now: Instant) -> u64 {
    let since = now.saturating_duration_since(start);
    since.as_secs() * 1000 + u64::from(since.subsec_millis())
}

/// Time since the loop began, in steps of [`Tick::STEP`]; 32 bits last for six years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u32);

impl Tick {
    /// How long a tick is: no deadline is more exact than this.
    pub const STEP: Duration = Duration::from_millis(50);

    /// After every other tick.
    pub const NEVER: Tick = Tick(u32::MAX);

    /// The tick at `now`, for a loop that began at `start`.
    pub fn at(start: Instant, now: Instant) -> Self {
        Self::at_ms(ms_between(start, now))
    }

    /// The tick so many milliseconds after the loop began.
    pub fn at_ms(ms: u64) -> Self {
        Tick((ms / Self::STEP.as_millis() as u64) as u32)
    }

    /// The first tick that is at least `duration` after this one.
    pub fn after(self, duration: Duration) -> Self {
        let ticks = duration.as_millis().div_ceil(Self::STEP.as_millis()) + 1;
        Tick(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)))
    }

    /// From this tick to a later one.
    pub fn until(self, later: Tick) -> Duration {
        Self::STEP * later.0.saturating_sub(self.0)
    }

    fn start_of(self, start: Instant) -> Instant {
        start + Self::STEP * self.0
    }
}

/// Which connections are to be looked at when.
///
/// An entry only says that a connection may be due: whoever is woken compares the entry with what the connection has
/// on file, and files it again if it lives longer. So activity costs nothing here, and neither does a turn in which
/// nothing is due.
#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Vec<(ConnId, Tick)>>,
    /// The next tick to be looked at.
    next: Tick,
    /// No bucket before this tick holds anything.
    wake: Tick,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { buckets: vec![Vec::new(); Self::BUCKETS], next: Tick::default(), wake: Tick::NEVER }
    }
}

impl Wheel {
    /// At 50 ms a tick, one round takes 51 seconds: most deadlines are met in the round they are filed in.
    const BUCKETS: usize = 1024;

    /// Files a connection under a tick; one that is past is met at the next chance.
    pub fn file(&mut self, id: ConnId, due: Tick) {
        let tick = due.max(self.next);
        self.bucket(tick).push((id, due));
        self.wake = self.wake.min(tick);
    }

    /// Moves on to `now` and hands out the entries that have become due, each with the tick it was filed under.
    pub fn expire(&mut self, now: Tick, due: &mut Vec<(ConnId, Tick)>) {
        if now < self.wake {
            return;
        }
        let rounds = (now.0 + 1).saturating_sub(self.next.0).min(Self::BUCKETS as u32);
        for tick in now.0 + 1 - rounds..=now.0 {
            let bucket = self.bucket(Tick(tick));
            due.extend(bucket.extract_if(.., |(_, filed)| *filed <= now));
            if bucket.is_empty() {
                // A burst of connections must not leave its memory behind in every bucket.
                *bucket = Vec::new();
            }
        }
        self.next = self.next.max(Tick(now.0 + 1));
        self.wake = self.next_filled();
    }

    /// How long to sleep at the most; `None` where nothing is filed. It may be too short, never too long.
    pub fn sleep(&self, start: Instant, now: Instant) -> Option<Duration> {
        let wake = Some(self.wake).filter(|wake| *wake != Tick::NEVER)?;
        Some(wake.start_of(start).saturating_duration_since(now))
    }

    /// The first tick ahead whose bucket holds anything, be it for this round or a later one.
    fn next_filled(&self) -> Tick {
        let mut ahead = (0..Self::BUCKETS as u32).map(|ahead| Tick(self.next.0.saturating_add(ahead)));
        ahead.find(|tick| !self.buckets[tick.0 as usize % Self::BUCKETS].is_empty()).unwrap_or(Tick::NEVER)
    }

    fn bucket(&mut self, tick: Tick) -> &mut Vec<(ConnId, Tick)> {
        &mut self.buckets[tick.0 as usize % Self::BUCKETS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_met_once_at_its_tick_whatever_the_strides() {
        for stride in [1, 2, 7, 1000, 1024, 5000] {
            let mut wheel = Wheel::default();
            let ticks: Vec<u32> = (0..500).map(|i: u32| i.wrapping_mul(2_654_435_761) % 4000).collect();
            for (i, tick) in ticks.iter().enumerate() {
                wheel.file(ConnId::new(i, 0), Tick(*tick));
            }
            let (mut due, mut now) = (Vec::new(), 0);
            let mut met = vec![None; ticks.len()];
            while now < 6000 {
                wheel.expire(Tick(now), &mut due);
                for (id, filed) in due.drain(..) {
                    assert_eq!(filed, Tick(ticks[id.slot()]));
                    assert_eq!(met[id.slot()].replace(now), None);
                }
                now += stride;
            }
            for (tick, met) in ticks.iter().zip(met) {
                assert_eq!(met, Some(tick.div_ceil(stride) * stride), "filed at {tick}, stride {stride}");
            }
            assert_eq!(wheel.sleep(Instant::now(), Instant::now()), None);
        }
    }

    #[test]
    fn what_is_filed_in_the_past_is_met_next() {
        let (mut wheel, mut due) = (Wheel::default(), Vec::new());
        wheel.file(ConnId::new(1, 0), Tick(50));
        wheel.expire(Tick(100), &mut due);
        due.clear();
        wheel.file(ConnId::new(0, 0), Tick(3));
        wheel.expire(Tick(100), &mut due);
        assert!(due.is_empty(), "this tick is over");
        wheel.expire(Tick(101), &mut due);
        assert_eq!(due, [(ConnId::new(0, 0), Tick(3))]);
    }

    #[test]
    fn sleep_ends_where_the_next_bucket_begins() {
        let (mut wheel, start) = (Wheel::default(), Instant::now());
        assert_eq!(wheel.sleep(start, start), None);
        wheel.file(ConnId::new(0, 0), Tick(10));
        assert_eq!(wheel.sleep(start, start), Some(Tick::STEP * 10));
        assert_eq!(wheel.sleep(start, start + Tick::STEP * 20), Some(Duration::ZERO));
    }
}
