//! When publications were read and appended, for the ledger of their deliveries.

use super::super::lane::Cursor;
use super::Log;
use crate::ledger::Times;

impl Log {
    /// Notes the times of the latest publication.
    pub fn note_times(&mut self, times: Times) {
        if let Some(stamp) = self.stamps.back_mut() {
            stamp.appended_ns = times.appended_ns;
            let ingest_ns = times.appended_ns.saturating_sub(times.read_ns).min((1 << 48) - 1);
            (stamp.ingest_ns, stamp.ingest_more) = (ingest_ns as u32, (ingest_ns >> 32) as u16);
        }
    }

    /// The times of so many publications after `cursor`, of those that some lane holds.
    #[inline]
    pub fn times(
        &self,
        cursor: Cursor,
        count: u64,
    ) -> impl DoubleEndedIterator<Item = Times> + ExactSizeIterator + Clone {
        let len = self.stamps.len();
        let from = (cursor.offset().saturating_sub(self.first_stamp()) as usize).min(len);
        let stamps = self.stamps.range(from..(from + count as usize).min(len));
        stamps.map(|stamp| Times {
            read_ns: stamp.appended_ns - (u64::from(stamp.ingest_more) << 32 | u64::from(stamp.ingest_ns)),
            appended_ns: stamp.appended_ns,
        })
    }
}
