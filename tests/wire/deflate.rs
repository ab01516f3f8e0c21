//! The client's side of permessage-deflate, RFC 7692 §7.2: a fresh window for every message.

use zlib_rs::{Deflate, DeflateFlush};

use crate::frames::{Frame, RSV1, frame};

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Compresses a message with a window of 2^`bits`, and cuts the tail off.
pub fn deflate(payload: &[u8], bits: u8) -> Vec<u8> {
    let mut stream = Deflate::new(9, false, bits);
    let mut out = vec![0; payload.len() + payload.len() / 100 + 64];
    stream.compress(payload, &mut out, DeflateFlush::SyncFlush).unwrap();
    assert_eq!(stream.total_in() as usize, payload.len());
    out.truncate(stream.total_out() as usize);
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

/// Inflates a message that begins with nothing in its window; panics where it reaches back over more than 2^`bits`.
pub fn inflate(compressed: &[u8], bits: u8) -> Vec<u8> {
    let inflated = crate::inflate::inflate(&[compressed, &TAIL].concat());
    assert!(inflated.reach <= 1 << bits, "reaches back over {}, with 2^{bits} agreed", inflated.reach);
    inflated.bytes
}

/// One stored block, written by hand (RFC 1951 §3.2.4), and the empty one that stands before the tail.
pub fn stored(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    [&[0x00][..], &len.to_le_bytes(), &(!len).to_le_bytes(), payload, &[0x00]].concat()
}

/// A final frame with RSV1 set.
pub fn compressed(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    frame(opcode).rsv(RSV1).payload(payload)
}

/// Bytes that do not shrink.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Text that shrinks, and whose second half repeats the first from half its length away.
pub fn twice_noise(len: usize) -> String {
    let noise: String = noise(len / 2).into_iter().map(|byte| char::from(b'a' + (byte & 15))).collect();
    noise.repeat(2)
}

#[test]
#[should_panic = "reaches back over 1000"]
fn rfc7692_s7_1_2_1_a_window_that_is_too_large_is_noticed() {
    inflate(&deflate(twice_noise(2000).as_bytes(), 15), 9);
}
