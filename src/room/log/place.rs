//! Where readers begin, and what positions of earlier epochs are worth.

use super::super::encoding::Wire;
use super::super::lane::{Cursor, Lane};
use super::super::lineage::Lineage;
use super::super::position::Start;
use super::Log;
use crate::planted::{Fault, is_planted};

impl Log {
    /// Says of which earlier epochs this one has a part.
    pub fn set_lineage(&mut self, lineage: Lineage) {
        self.lineage = lineage;
    }

    /// Goes on under another epoch, which has all that there is here; who reads may not know, so it is said each time.
    pub fn rename(&mut self, epoch: u64, lineage: Lineage) {
        (self.epoch, self.lineage, self.is_renamed) = (epoch, lineage, true);
    }

    /// Where somebody begins who starts like this, and whether nothing of what was asked for is missing.
    pub fn place(&self, start: Start, wire: impl Into<Wire>) -> (Cursor, bool) {
        let tail = self.lane(wire.into()).map_or(self.floor, Lane::tail).max(self.floor);
        let last = |count: usize| {
            let cursor = Cursor::after(self.head().offset().saturating_sub(count as u64));
            cursor.max(tail)
        };
        match start {
            Start::Now => (self.head(), true),
            Start::Last(count) => (last(count), true),
            Start::Since { position, or_last } => {
                let cursor = Cursor::after(position.offset);
                let is_known = position.epoch == self.epoch || self.lineage.has(position);
                match is_known && cursor >= tail && cursor <= self.head() {
                    true if is_planted(Fault::ResumeRepeatsOne) => (last(1).min(cursor), true),
                    true => (cursor, true),
                    false => (last(or_last), false),
                }
            }
        }
    }
}
