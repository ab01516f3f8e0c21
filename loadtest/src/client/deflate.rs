//! Both directions of permessage-deflate on the client's side, RFC 7692 §7.2.

use zlib_rs::{Deflate, DeflateFlush, Status};

use super::Broken;
use super::inflate::Window;

/// §7.2.1: the tail that a sender removes and a receiver appends.
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Compresses messages as the client of a connection.
pub(crate) struct Deflater {
    inner: Deflate,
    fresh_each_time: bool,
}

impl Deflater {
    /// A compressor with a window of `bits` (9 to 15).
    pub(crate) fn new(level: i32, bits: u8) -> Deflater {
        Deflater { inner: Deflate::new(level, false, bits), fresh_each_time: false }
    }

    /// The same compressor with `client_no_context_takeover`.
    pub(crate) fn without_takeover(mut self) -> Deflater {
        self.fresh_each_time = true;
        self
    }

    /// The payload of a compressed message, its tail removed.
    pub(crate) fn message(&mut self, data: &[u8]) -> Vec<u8> {
        if self.fresh_each_time {
            self.inner.reset();
        }
        let mut out = Vec::new();
        self.run(data, DeflateFlush::SyncFlush, &mut out);
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        // §7.2.3.6: nothing to flush gives no block at all, and a payload needs one.
        if out.is_empty() { vec![0x00] } else { out }
    }

    /// Compresses a part of a message and flushes, tail and all.
    pub(crate) fn part(&mut self, data: &[u8], flush: DeflateFlush) -> Vec<u8> {
        let mut out = Vec::new();
        self.run(data, flush, &mut out);
        out
    }

    fn run(&mut self, mut data: &[u8], flush: DeflateFlush, out: &mut Vec<u8>) {
        let mut chunk = [0; 16 * 1024];
        loop {
            let (read, written) = (self.inner.total_in(), self.inner.total_out());
            let status = self.inner.compress(data, &mut chunk, flush);
            data = &data[(self.inner.total_in() - read) as usize..];
            let count = (self.inner.total_out() - written) as usize;
            out.extend_from_slice(&chunk[..count]);
            if count < chunk.len() || status != Ok(Status::Ok) {
                break;
            }
        }
    }
}

/// Decompresses the server's messages.
pub(crate) struct Inflater {
    window: Window,
    bits: u8,
    fresh_each_time: bool,
}

impl Inflater {
    /// A decompressor with a window of `bits` (8 to 15).
    pub(crate) fn new(bits: u8, fresh_each_time: bool) -> Inflater {
        Inflater { window: Window::new(bits), bits, fresh_each_time }
    }

    /// The message in a compressed payload.
    ///
    /// # Errors
    ///
    /// In words, when the bytes are no deflate stream or refer beyond the window.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, Broken> {
        if self.fresh_each_time {
            self.window = Window::new(self.bits);
        }
        let data = [payload, &TAIL].concat();
        let inflated = self.window.inflate(&data);
        inflated.map_err(|flaw| Broken(format!("the server's compressed message does not inflate: {flaw}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_2_3_1_the_hello_of_the_rfc_inflates() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = Inflater::new(15, false);
        assert_eq!(inflater.message(&hello).unwrap(), b"Hello");
        assert_eq!(inflater.message(&[0xf2, 0x00, 0x11, 0x00, 0x00]).unwrap(), b"Hello");
    }

    #[test]
    fn what_is_deflated_inflates_again() {
        for bits in 9..=15 {
            let mut deflater = Deflater::new(6, bits);
            let mut inflater = Inflater::new(bits, false);
            for length in [0, 1, 125, 70_000] {
                let data: Vec<u8> =
                    (0..length).map(|index: u32| (index.wrapping_mul(index) >> 7) as u8).collect();
                assert_eq!(inflater.message(&deflater.message(&data)).unwrap(), data);
            }
        }
    }

    #[test]
    fn a_final_block_ends_the_stream_and_not_the_connection() {
        let mut inflater = Inflater::new(15, false);
        for _ in 0..2 {
            assert_eq!(
                inflater.message(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]).unwrap(),
                b"Hello"
            );
        }
    }

    #[test]
    fn a_reference_beyond_the_window_is_seen() {
        let block: Vec<u8> = (0..8192).map(|_| fastrand::u8(..)).collect();
        let payload = Deflater::new(9, 15).message(&[block.as_slice(), &block].concat());
        assert!(Inflater::new(15, false).message(&payload).is_ok());
        assert!(Inflater::new(9, false).message(&payload).is_err());
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Inflater::new(15, false).message(&[0x07]).is_err());
    }
}
