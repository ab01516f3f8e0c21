//! A histogram of times with a fixed size: buckets lie in octaves, 32 to each, so none is wider than a 32nd of its value.

use std::time::Duration;

use super::snapshot::Quantiles;

/// How often which time was seen, from 64 ns to 18 minutes; a longer one counts as that.
///
/// To record one is a shift and an addition, and nothing is ever allocated for it: sums and quantiles are worked out
/// when somebody asks.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64; Self::BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; Self::BUCKETS]) }
    }
}

impl Histogram {
    /// Buckets for each octave: the middle of one is within 1.6 % of whatever fell into it.
    const OCTAVE: u64 = 32;

    /// Times are counted in units of 64 ns: shorter ones are of no interest, and this much fewer buckets are needed.
    const UNIT_BITS: u32 = 6;

    /// The longest time told apart, in units: 2⁴⁰ ns.
    const LONGEST: u64 = (1 << 34) - 1;

    const BUCKETS: usize = 29 * Self::OCTAVE as usize + Self::OCTAVE as usize;

    /// The bucket of a time in nanoseconds.
    #[inline]
    fn bucket(ns: u64) -> usize {
        let units = (ns >> Self::UNIT_BITS).min(Self::LONGEST);
        let shift = (units | Self::OCTAVE).ilog2() - Self::OCTAVE.ilog2();
        // Above the first octave the leading bit of what is left is always set, and so counts the octave on by one.
        (u64::from(shift) * Self::OCTAVE + (units >> shift)) as usize
    }

    /// The shortest time that falls into a bucket, in nanoseconds.
    fn floor(bucket: usize) -> u64 {
        let (octave, rest) = (bucket as u64 / Self::OCTAVE, bucket as u64 % Self::OCTAVE);
        let units = match octave {
            0 => rest,
            octave => (Self::OCTAVE + rest) << (octave - 1),
        };
        units << Self::UNIT_BITS
    }

    fn middle(bucket: usize) -> u64 {
        Self::floor(bucket).midpoint(Self::floor(bucket + 1))
    }

    /// Counts a time, `count` times.
    #[inline]
    pub fn record(&mut self, ns: u64, count: u64) {
        self.add(Self::bucket(ns), count);
    }

    /// Counts times of which none is longer than the one before; `ends` are the first and the last of them. Where these fall
    /// into the same bucket, or into two that lie side by side, so do those in between, and half of all are counted in each:
    /// nobody looks at each of many, and none is counted further from where it fell than in the bucket beside.
    #[inline]
    pub fn record_falling(&mut self, ends: [u64; 2], times: impl ExactSizeIterator<Item = u64>) {
        let count = times.len() as u64;
        let [first, last] = ends.map(Self::bucket);
        if first == last {
            self.add(first, count);
        } else if first == last + 1 {
            self.add(first, count - count / 2);
            self.add(last, count / 2);
        } else {
            times.for_each(|ns| self.record(ns, 1));
        }
    }

    /// Counts something that fell into a bucket, `count` times.
    #[inline]
    fn add(&mut self, bucket: usize, count: u64) {
        if let Some(counted) = self.counts.get_mut(bucket) {
            *counted += count;
        }
    }

    /// The buckets that have counted something, the lowest first. An octave without any is passed over as a whole: that
    /// is nearly all of them, and whoever asks looks at every account of the ledger.
    fn counted(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        const LEN: usize = Histogram::OCTAVE as usize;
        let octaves = self.counts.as_chunks::<LEN>().0.iter().enumerate();
        let octaves = octaves.filter(|(_, counts)| **counts != [0; LEN]);
        let buckets = octaves.flat_map(|(octave, counts)| {
            counts.iter().enumerate().map(move |(at, count)| (octave * LEN + at, *count))
        });
        buckets.filter(|(_, count)| *count > 0)
    }

    /// Adds everything that another one has counted.
    pub fn merge(&mut self, other: &Histogram) {
        other.counted().for_each(|(bucket, count)| self.add(bucket, count));
    }

    /// What has been counted since this one was like `earlier`.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut since = self.clone();
        for (bucket, before) in earlier.counted() {
            since.counts[bucket] = since.counts[bucket].saturating_sub(before);
        }
        since
    }

    /// How many times have been counted.
    pub fn count(&self) -> u64 {
        self.counted().map(|(_, count)| count).sum()
    }

    /// The sum of all of them in seconds, within 1.6 %.
    pub fn sum(&self) -> f64 {
        self.counted().map(|(bucket, count)| Self::middle(bucket) as f64 * count as f64).sum::<f64>() / 1e9
    }

    /// How many were no longer than each of these times, which rise; the edges are within 3 % of what is asked for.
    pub fn below<const N: usize>(&self, bounds: [Duration; N]) -> [u64; N] {
        let (mut below, mut seen, mut bucket) = ([0; N], 0, 0);
        for (count, bound) in below.iter_mut().zip(bounds) {
            let end = Self::bucket(bound.as_nanos() as u64);
            while bucket < end {
                seen += self.counts[bucket];
                bucket += 1;
            }
            *count = seen;
        }
        below
    }

    /// The time that this part of all, from 0 to 1, was no longer than, within 1.6 %.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = self.counted().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        reached.map_or(Duration::ZERO, |(bucket, _)| Duration::from_nanos(Self::middle(bucket)))
    }

    /// What one wants to know of it.
    pub fn quantiles(&self) -> Quantiles {
        let count = self.count();
        let highest = self.counted().next_back();
        Quantiles {
            count,
            mean: if count == 0 {
                Duration::ZERO
            } else {
                Duration::from_secs_f64(self.sum() / count as f64)
            },
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: highest.map_or(Duration::ZERO, |(bucket, _)| Duration::from_nanos(Self::floor(bucket + 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_whose_middle_is_within_two_percent_of_it() {
        let mut ns = 0;
        while ns < 1 << 40 {
            let bucket = Histogram::bucket(ns);
            assert!(Histogram::floor(bucket) <= ns && ns < Histogram::floor(bucket + 1), "{ns}");
            let error = Histogram::middle(bucket).abs_diff(ns) as f64 / ns.max(4096) as f64;
            assert!(error <= 0.016, "{ns}: {error}");
            ns += 1 + ns / 100;
        }
        assert_eq!(Histogram::bucket(u64::MAX), Histogram::BUCKETS - 1);
        assert_eq!(Histogram::bucket((1 << 40) - 1), Histogram::BUCKETS - 1);
    }

    #[test]
    fn times_counted_together_fall_where_they_would_alone_or_into_the_bucket_beside() {
        for step in [0, 1, 10, 63, 64, 200, 1_000, 5_000, 40_000] {
            for shortest in [0, 50, 900, 20_000, 1_000_000, 77_000_000] {
                for count in [1, 2, 3, 8, 129] {
                    let times: Vec<u64> = (0..count).rev().map(|n| shortest + n * step).collect();
                    let mut together = Histogram::default();
                    together.record_falling([times[0], shortest], times.iter().copied());
                    assert_eq!(together.count(), count);
                    let counted = (0..Histogram::BUCKETS)
                        .rev()
                        .flat_map(|bucket| std::iter::repeat_n(bucket, together.counts[bucket] as usize));
                    for (ns, bucket) in times.into_iter().zip(counted) {
                        assert!(
                            bucket.abs_diff(Histogram::bucket(ns)) <= 1,
                            "{ns} of {count} by {step}: {bucket}"
                        );
                    }
                    let ends = [shortest + (count - 1) * step, shortest].map(Histogram::bucket);
                    assert!(
                        ends.into_iter().all(|end| together.counts[end] > 0),
                        "{shortest} {count} by {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn quantiles_sums_and_edges_of_a_thousand_known_times() {
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
        let mut histogram = Histogram::default();
        (1..=1000u64).for_each(|ms| histogram.record(ms * 1_000_000, 1));
        let near = |got: Duration, ms: f64| (got.as_secs_f64() * 1000.0 / ms - 1.0).abs() <= 0.032;
        let quantiles = histogram.quantiles();
        assert!(near(quantiles.p50, 500.0) && near(quantiles.p99, 990.0), "{quantiles:?}");
        assert!(near(quantiles.mean, 500.5) && quantiles.max >= Duration::from_secs(1), "{quantiles:?}");
        let [few, half, all] = histogram.below([10, 500, 1100].map(Duration::from_millis));
        assert!(few.abs_diff(10) <= 1 && half.abs_diff(500) <= 16 && all == 1000, "{few} {half} {all}");
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!((twice.count(), twice.since(&histogram).count()), (2000, 1000));
    }
}
