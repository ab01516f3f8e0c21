//! The checksum of what a connection was sent: of the bytes, or of what they have in common with their fillers.
//!
//! Where the bytes are not kept, the kinds of characters count, the headers of frames as they are, and of binary messages
//! the length alone.

use super::filler::KINDS;
use super::shape::Shape;

/// A running checksum.
#[derive(Clone, Debug)]
pub struct Sum {
    state: u64,
    /// Bytes that do not fill a word yet.
    kept: u64,
    count: u64,
    /// Where the bytes are not kept: where in the stream it is.
    place: Option<Place>,
}

/// A place in what a server sends.
#[derive(Clone, Debug)]
enum Place {
    Http,
    /// In a frame's header.
    Header(Vec<u8>, bool),
    /// In a payload of which so much is left; whether it is of a binary message.
    Payload(u64, bool, bool),
}

impl Sum {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The sum of nothing.
    pub fn new(has_bodies: bool) -> Self {
        let place = (!has_bodies).then_some(Place::Http);
        Self { state: 0, kept: 0, count: 0, place }
    }

    /// Adds what one write took.
    pub fn add(&mut self, bytes: &[u8]) {
        match self.place.take() {
            None => self.add_exactly(bytes),
            Some(place) => self.place = Some(self.add_kinds(place, bytes)),
        }
    }

    fn add_exactly(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.count.is_multiple_of(8)
                && let Some((word, rest)) = bytes.split_first_chunk::<8>()
            {
                self.mix(u64::from_le_bytes(*word));
                self.count += 8;
                bytes = rest;
                continue;
            }
            self.add_byte(byte);
            bytes = rest;
        }
    }

    fn add_byte(&mut self, byte: u8) {
        self.kept = self.kept >> 8 | u64::from(byte) << 56;
        self.count += 1;
        if self.count.is_multiple_of(8) {
            self.mix(self.kept);
        }
    }

    fn add_kinds(&mut self, mut place: Place, bytes: &[u8]) -> Place {
        let mut bytes = bytes;
        if matches!(place, Place::Http) {
            let is_upgrade = bytes.starts_with(b"HTTP/1.1 101 ");
            let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").filter(|_| is_upgrade);
            let (http, frames) = bytes.split_at(end.map_or(bytes.len(), |end| end + 4));
            http.iter().for_each(|byte| self.add_byte(kind(*byte)));
            if end.is_none() {
                return place;
            }
            (place, bytes) = (Place::Header(Vec::new(), false), frames);
        }
        for &byte in bytes {
            place = match place {
                Place::Header(mut header, was_binary) => {
                    self.add_byte(byte);
                    header.push(byte);
                    match Shape::read(&header) {
                        None => Place::Header(header, was_binary),
                        // A fragment is as the one before it, and control frames may stand between.
                        Some(shape) => {
                            let is_binary = match shape.opcode {
                                0 => was_binary,
                                1 | 8 => false,
                                _ => true,
                            };
                            let goes_on = if shape.opcode < 8 { is_binary } else { was_binary };
                            match shape.len {
                                0 => Place::Header(Vec::new(), goes_on),
                                len => Place::Payload(len, is_binary, goes_on),
                            }
                        }
                    }
                }
                Place::Payload(left, is_binary, goes_on) => {
                    self.add_byte(if is_binary { 0 } else { kind(byte) });
                    match left {
                        1 => Place::Header(Vec::new(), goes_on),
                        left => Place::Payload(left - 1, is_binary, goes_on),
                    }
                }
                Place::Http => place,
            };
        }
        place
    }

    /// The sum so far.
    pub fn value(&self) -> u32 {
        let (mut state, word) = (self.state, self.kept);
        if !self.count.is_multiple_of(8) {
            state = Self::mixed(state, word >> (64 - 8 * (self.count % 8)));
        }
        (Self::mixed(state, self.count) >> 32) as u32
    }

    fn mix(&mut self, word: u64) {
        self.state = Self::mixed(self.state, word);
    }

    fn mixed(state: u64, word: u64) -> u64 {
        let product = u128::from(state ^ word).wrapping_mul(u128::from(Self::FACTOR));
        (product as u64 ^ (product >> 64) as u64).wrapping_add(Self::FACTOR)
    }
}

fn kind(byte: u8) -> u8 {
    KINDS[usize::from(byte)] as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_make_no_difference_and_every_byte_does() {
        let bytes: Vec<u8> = (0..100u8).map(|i| i.wrapping_mul(37)).collect();
        let sum = |bytes: &[u8]| {
            let mut sum = Sum::new(true);
            sum.add(bytes);
            sum.value()
        };
        for size in 1..30 {
            let mut pieces = Sum::new(true);
            bytes.chunks(size).for_each(|piece| pieces.add(piece));
            assert_eq!(pieces.value(), sum(&bytes), "{size}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(sum(&other), sum(&bytes), "{at}");
            assert_ne!(sum(&bytes[..at]), sum(&bytes), "{at}");
        }
    }

    #[test]
    fn without_the_bytes_a_filler_counts_like_what_it_stands_for_and_nothing_else_does() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
        let sum = |frames: &[&[u8]], size: usize| {
            let mut sum = Sum::new(false);
            sum.add(head.as_bytes());
            frames.concat().chunks(size).for_each(|piece| sum.add(piece));
            sum.value()
        };
        let want = sum(&[b"\x81\x05hello", b"\x82\x03\x00A\xff", b"\x8a\x01?"], 100);
        for size in 1..12 {
            assert_eq!(sum(&[b"\x81\x05hello", b"\x82\x03\x00A\xff", b"\x8a\x01?"], size), want);
            assert_eq!(sum(&[b"\x81\x05x7-Zq", b"\x82\x03xyz", b"\x8a\x01a"], size), want);
        }
        for other in [&b"\x81\x05hell "[..], b"\x81\x04hell", b"\x82\x05hello"] {
            assert_ne!(sum(&[other, b"\x82\x03\x00A\xff", b"\x8a\x01?"], 100), want);
        }
    }
}
