//! Compression of whole messages, RFC 7692 §7.2, without a window between messages.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::extension::DeflateParams;
use super::violation::Violation;
use crate::limits::Limits;

/// What a sender cuts off the end of a compressed message (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty last block: it ends the stream, so that a message cut short inside a block is told from a whole one.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// One decompressor for all connections; made when the first compressed message arrives.
#[derive(Default)]
pub struct Inflater {
    stream: Option<Inflate>,
    /// How many times longer a message may become, once it is longer than `ratio_free`; 0 for any.
    ratio_max: usize,
    ratio_free: usize,
}

impl Inflater {
    /// What a decompressor takes, measured.
    const STREAM_BYTES: usize = 47 << 10;

    /// A decompressor that bounds how many times longer a message may become; the default bounds only its length.
    pub fn new(limits: &Limits) -> Self {
        let mut inflater = Self::default();
        inflater.set_limits(limits);
        inflater
    }

    /// Bounds from now on how many times longer a message may become.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.ratio_max = limits.inflate_ratio_max;
        self.ratio_free = limits.read_budget;
    }

    /// Bytes of memory taken up, about.
    pub fn held(&self) -> usize {
        if self.stream.is_some() { Self::STREAM_BYTES } else { 0 }
    }

    /// Inflates one message, whose tail is still cut off.
    ///
    /// # Errors
    /// [`Violation::MessageTooBig`] as soon as there are more than `bytes_max` bytes, however few were sent, or more than
    /// the ratio allows;
    /// [`Violation::DeflateCorrupt`] for anything that is not a sequence of whole deflate blocks.
    pub fn inflate(&mut self, compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Violation> {
        if compressed.is_empty() {
            return Ok(Vec::new());
        }
        let bytes_max = match self.ratio_max {
            0 => bytes_max,
            ratio_max => bytes_max.min(compressed.len().saturating_mul(ratio_max).max(self.ratio_free)),
        };
        let stream = self.stream.get_or_insert_with(|| Inflate::new(false, 15));
        stream.reset(false);
        // Half as much again is a good first guess for short messages; long ones double from there.
        let guess = (compressed.len() + compressed.len() / 2 + 64).min(bytes_max.saturating_add(1));
        let mut out = Bounded { bytes: vec![0; guess], filled: 0, bytes_max };
        let mut ended = false;
        for part in [compressed, &TAIL, &LAST_BLOCK] {
            ended = inflate_part(stream, part, &mut out)?;
        }
        match ended {
            true => Ok(out.finish()),
            false => Err(Violation::DeflateCorrupt),
        }
    }
}

/// Feeds one part and says whether the last block ended exactly where the part did.
fn inflate_part(stream: &mut Inflate, mut part: &[u8], out: &mut Bounded) -> Result<bool, Violation> {
    loop {
        let (total_in, total_out) = (stream.total_in(), stream.total_out());
        let status = stream
            .decompress(part, out.spare(), InflateFlush::SyncFlush)
            .map_err(|_| Violation::DeflateCorrupt)?;
        let (consumed, produced) = (stream.total_in() - total_in, stream.total_out() - total_out);
        part = &part[consumed as usize..];
        out.advance(produced as usize)?;
        match status {
            Status::StreamEnd if part.is_empty() => return Ok(true),
            // RFC 7692 §7.2.3.4: after a block with BFINAL the message goes on with a new stream.
            Status::StreamEnd => stream.reset(false),
            Status::Ok | Status::BufError if part.is_empty() && !out.spare_is_empty() => return Ok(false),
            Status::Ok | Status::BufError if out.spare_is_empty() => out.grow(),
            Status::Ok => {}
            Status::BufError => return Err(Violation::DeflateCorrupt),
        }
    }
}

/// Output that stops at `bytes_max` while it grows.
struct Bounded {
    bytes: Vec<u8>,
    filled: usize,
    bytes_max: usize,
}

impl Bounded {
    fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    fn spare_is_empty(&self) -> bool {
        self.filled == self.bytes.len()
    }

    fn advance(&mut self, produced: usize) -> Result<(), Violation> {
        self.filled += produced;
        if self.filled > self.bytes_max { Err(Violation::MessageTooBig) } else { Ok(()) }
    }

    /// One byte past the bound is room enough to see that it is passed.
    fn grow(&mut self) {
        let len = (self.bytes.len() * 2).min(self.bytes_max.saturating_add(1));
        self.bytes.resize(len, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        self.bytes
    }
}

/// One compressor for each window size in use; all connections share them.
pub struct Deflater {
    streams: [Option<Deflate>; 7],
    level: i32,
    out: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { streams: Default::default(), level: 3, out: Vec::new() }
    }
}

impl Deflater {
    /// What one compressor takes, measured.
    const STREAM_BYTES: usize = 380 << 10;

    /// Compresses one message and cuts the tail off; `None` where that would not make it shorter.
    ///
    /// The result is lent until the next call.
    pub fn deflate(&mut self, params: DeflateParams, payload: &[u8]) -> Option<&[u8]> {
        let bits = params.server_max_window_bits.clamp(9, 15);
        let level = self.level;
        let stream =
            self.streams[usize::from(bits - 9)].get_or_insert_with(|| Deflate::new(level, false, bits));
        stream.reset();
        // As long as the payload is as much as is worth having; the tail comes on top.
        self.out.resize(payload.len() + TAIL.len(), 0);
        stream.compress(payload, &mut self.out, DeflateFlush::SyncFlush).ok()?;
        let len = stream.total_out() as usize;
        let whole = stream.total_in() as usize == payload.len() && self.out[..len].ends_with(&TAIL);
        let compressed = whole.then(|| &self.out[..len - TAIL.len()]);
        compressed.filter(|compressed| !compressed.is_empty() && compressed.len() < payload.len())
    }

    /// Bytes of memory taken up, about: what a compressor of this library takes whatever its window.
    pub fn held(&self) -> usize {
        self.streams.iter().flatten().count() * Self::STREAM_BYTES + self.out.capacity()
    }

    /// Gives back what the last long message left behind.
    pub fn trim(&mut self, bytes_max: usize) {
        if self.out.capacity() > bytes_max {
            self.out = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::extension::negotiate_deflate;
    use super::*;

    fn params(offer: &str) -> DeflateParams {
        negotiate_deflate([offer.as_bytes()].into_iter()).unwrap().unwrap()
    }

    #[test]
    fn rfc7692_s7_2_3_the_examples_of_the_rfc() {
        let mut inflater = Inflater::default();
        let rows: &[(&[u8], &[u8])] = &[
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
            (&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00], b""),
            (&[], b""),
        ];
        for (compressed, plain) in rows {
            assert_eq!(inflater.inflate(compressed, 100).as_deref(), Ok(*plain), "{compressed:x?}");
        }
    }

    #[test]
    fn rfc7692_s6_2_what_is_no_whole_deflate_stream_is_corrupt() {
        let mut inflater = Inflater::default();
        let rows: [&[u8]; 5] =
            [&[0xff], &[0xf2, 0x48, 0xcd], &[0x06], b"plain text", &[0x00, 0x05, 0x00, 0x00, 0x00]];
        for corrupt in rows {
            assert_eq!(inflater.inflate(corrupt, 100), Err(Violation::DeflateCorrupt), "{corrupt:x?}");
        }
    }

    #[test]
    fn messages_of_many_sizes_and_every_window_come_back() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        for bits in 9..=15 {
            let params = params(&format!("permessage-deflate; server_max_window_bits={bits}"));
            for len in [129, 1000, 70_000, 1_000_000] {
                let plain: Vec<u8> = (0..len).map(|i: usize| (i / 7 % 97) as u8).collect();
                let compressed = deflater.deflate(params, &plain).unwrap().to_vec();
                assert!(compressed.len() < plain.len());
                assert_eq!(inflater.inflate(&compressed, len).unwrap(), plain, "{len} bytes, window {bits}");
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut deflater = Deflater::default();
        let noise: Vec<u8> = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(deflater.deflate(params("permessage-deflate"), &noise), None);
        assert_eq!(deflater.deflate(params("permessage-deflate"), b""), None);
    }

    #[test]
    fn a_long_message_does_not_leave_its_length_behind() {
        let mut deflater = Deflater::default();
        deflater.deflate(params("permessage-deflate"), &vec![7; 1000]).unwrap();
        deflater.trim(10_000);
        assert!(deflater.out.capacity() >= 1000, "a short one's buffer is kept for the next");
        deflater.deflate(params("permessage-deflate"), &vec![7; 1_000_000]).unwrap();
        deflater.trim(10_000);
        assert_eq!(deflater.out.capacity(), 0);
    }

    #[test]
    fn row_16_of_part_2_a_bomb_of_1000_to_1_is_stopped_at_the_first_byte_past_the_limit() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        const LEN: usize = 4 << 20;
        let bomb = deflater.deflate(params("permessage-deflate"), &vec![0; LEN]).unwrap().to_vec();
        assert!(bomb.len() * 1000 < LEN, "{} bytes", bomb.len());
        for bytes_max in [0, 1, 63, 64, 65, 1000, 65_535, 65_536, 1 << 20, LEN - 1] {
            assert_eq!(inflater.inflate(&bomb, bytes_max), Err(Violation::MessageTooBig), "{bytes_max}");
            let inflated = inflater.stream.as_ref().unwrap().total_out();
            assert_eq!(inflated, bytes_max as u64 + 1, "nothing further was inflated");
        }
        assert_eq!(inflater.inflate(&bomb, LEN).map(|plain| plain.len()), Ok(LEN));
    }

    #[test]
    fn row_16_of_part_2_a_ratio_bounds_what_is_longer_than_a_turn_may_read() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        inflater.set_limits(&Limits { inflate_ratio_max: 100, read_budget: 10_000, ..Limits::default() });
        let mut bomb = |len| deflater.deflate(params("permessage-deflate"), &vec![0; len]).unwrap().to_vec();
        let short = bomb(10_000);
        assert!(short.len() * 100 < 10_000);
        assert_eq!(inflater.inflate(&short, 1 << 20).map(|plain| plain.len()), Ok(10_000));
        assert_eq!(inflater.inflate(&bomb(10_001), 1 << 20), Err(Violation::MessageTooBig));
        // Empty blocks before it make a message longer that was too short for what it becomes.
        let zeros = bomb(100_000);
        let padded = |blocks| [[0x00, 0x00, 0x00, 0xff, 0xff].repeat(blocks), zeros.clone()].concat();
        let lens: Vec<usize> = (170..190).map(|blocks| padded(blocks).len()).collect();
        assert!(lens[0] < 1000 && lens[19] >= 1000);
        for (blocks, len) in (170..).zip(lens) {
            assert_eq!(inflater.inflate(&padded(blocks), 1 << 20).is_ok(), len >= 1000, "{len} bytes");
        }
        let lines = (0..20_000u32).map(|i| format!("{{\"id\":{i},\"price\":{}}}", i * i % 9973));
        let text = lines.collect::<String>().into_bytes();
        let compressed = deflater.deflate(params("permessage-deflate"), &text).unwrap().to_vec();
        assert!(compressed.len() * 5 < text.len() * 2, "an ordinary ratio is far below the bound");
        assert_eq!(inflater.inflate(&compressed, 1 << 20), Ok(text));
    }

    #[test]
    fn row_16_of_part_2_a_bomb_of_many_streams_is_stopped_exactly_at_the_limit() {
        // A block with BFINAL ends a stream, and the message goes on with the next one.
        let mut stream = vec![0; 100];
        let mut deflate = Deflate::new(9, false, 15);
        deflate.compress(&[0; 5000], &mut stream, DeflateFlush::Finish).unwrap();
        stream.truncate(deflate.total_out() as usize);
        let bomb = [stream.repeat(100), vec![0]].concat();
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&bomb, 500_000).map(|plain| plain.len()), Ok(500_000));
        for bytes_max in [0, 4999, 5000, 5001, 250_000, 499_999] {
            assert_eq!(inflater.inflate(&bomb, bytes_max), Err(Violation::MessageTooBig), "{bytes_max}");
        }
    }

    #[test]
    fn row_16_of_part_2_what_inflates_to_nothing_takes_no_longer_than_its_bytes() {
        // A megabyte of empty blocks, which ends as a sender ends a message.
        let empty = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(200_000);
        let message = [&empty[..], &[0x00]].concat();
        assert_eq!(Inflater::default().inflate(&message, 0).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn s10_4_a_bomb_is_stopped_exactly_at_the_limit() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        let bomb = deflater.deflate(params("permessage-deflate"), &vec![0; 1 << 20]).unwrap().to_vec();
        assert!(bomb.len() < 2000);
        assert_eq!(inflater.inflate(&bomb, 1 << 20).map(|plain| plain.len()), Ok(1 << 20));
        assert_eq!(inflater.inflate(&bomb, (1 << 20) - 1), Err(Violation::MessageTooBig));
        assert_eq!(inflater.inflate(&bomb, 0), Err(Violation::MessageTooBig));
    }
}
