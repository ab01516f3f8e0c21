//! The press: compresses a publication once, for all members that read it compressed.

use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::ws::deflate::Deflater;
use crate::ws::extension::DeflateParams;
use crate::ws::frame::{header_len, split_server_frame, write_frame};

/// What compressing a publication borrows: the compressor of the loop, its bounds, and who counts.
pub struct Press<'p> {
    deflater: &'p mut Deflater,
    limits: &'p Limits,
    metrics: &'p Metrics,
}

impl<'p> Press<'p> {
    /// A press for what is published now.
    pub fn new(deflater: &'p mut Deflater, limits: &'p Limits, metrics: &'p Metrics) -> Self {
        Self { deflater, limits, metrics }
    }

    /// The same message in a compressed frame that any member can inflate who agreed to [`DeflateParams::SHARED`];
    /// `None` where that would not be shorter, or is not worth the time.
    pub(super) fn compress(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (opcode, payload) = split_server_frame(frame)?;
        let limits = self.limits;
        if !limits.deflates(payload.len()) {
            return None;
        }
        let compressed = self.deflater.deflate(DeflateParams::SHARED, payload).map(|compressed| {
            self.metrics.publications_deflated.add(1);
            self.metrics.deflated_bytes_before.add(payload.len() as u64);
            self.metrics.deflated_bytes_after.add(compressed.len() as u64);
            let mut out = Vec::with_capacity(header_len(compressed.len()) + compressed.len());
            write_frame(&mut out, opcode, true, compressed);
            out
        });
        self.deflater.trim(limits.outbound_bytes_low);
        compressed
    }
}
