//! What stands in a recording for what people said: as long, of the same kinds of characters, and without its sense.
//!
//! A letter stays a letter, a digit a digit, and what a character is escaped to in JSON is as long as before, so that the
//! server does the same with it. Which letter it becomes depends on all before it in the same text and on a key that is
//! never written down: equal texts stay equal, different ones different, and neither can be read.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::ops::RangeInclusive;

/// The kinds of bytes that fillers keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Letters, digits, and the other characters of base64, in both of its alphabets.
    Word,
    /// The rest of ASCII.
    Other,
    /// All that is not ASCII.
    High,
}

/// The kind of each byte.
pub(super) const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::High; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let is_word = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
        kinds[byte as usize] = if is_word { Kind::Word } else { Kind::Other };
        byte += 1;
    }
    kinds
};

/// Makes fillers, all with the same key.
#[derive(Clone, Default)]
pub struct Filler(RandomState);

impl Filler {
    /// Begins a text.
    pub(super) fn begin(&self) -> Chain {
        Chain { hasher: self.0.build_hasher(), stream: 0, at: 0, lead: 0, to_come: 0 }
    }

    /// The filler for a text.
    pub fn text(&self, text: &str) -> String {
        let mut chain = self.begin();
        let bytes: Vec<u8> = text.bytes().map(|byte| chain.text(byte)).collect();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// A place in a text that is replaced byte by byte.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// All before, under the key.
    hasher: DefaultHasher,
    stream: u64,
    at: u32,
    /// Of a character of several bytes: the first, and how many are to come.
    lead: u8,
    to_come: u8,
}

impl Chain {
    /// From here on one number serves eight bytes: a common beginning of this length says little.
    const SINGLY: u32 = 64;

    /// The next number, which depends on all bytes before.
    fn next(&mut self, byte: u8) -> u8 {
        if self.at < Self::SINGLY || self.at.is_multiple_of(8) {
            self.stream = self.hasher.finish();
        }
        let number = (self.stream >> (8 * (self.at % 8))) as u8;
        self.at = self.at.wrapping_add(1);
        self.hasher.write_u8(byte);
        number
    }

    /// Replaces a byte of a text. Punctuation, spaces and control characters stay: they may mean something.
    pub(super) fn text(&mut self, byte: u8) -> u8 {
        let number = self.next(byte);
        match byte {
            b'a'..=b'z' => turn(byte, b'a', 26, number),
            b'A'..=b'Z' => turn(byte, b'A', 26, number),
            b'0'..=b'9' => turn(byte, b'0', 10, number),
            0x80..=0xbf if self.to_come > 0 => {
                self.to_come -= 1;
                // RFC 3629 §4: after these the second byte cannot be any.
                let is_bound = matches!(self.lead, 0xe0 | 0xed | 0xf0 | 0xf4 | 0xc2);
                self.lead = 0;
                if is_bound { byte } else { turn(byte, 0x80, 64, number) }
            }
            0xc2..=0xdf => self.lead_of(byte, 1),
            0xe0..=0xef => self.lead_of(byte, 2),
            0xf0..=0xf4 => self.lead_of(byte, 3),
            _ => byte,
        }
    }

    fn lead_of(&mut self, byte: u8, to_come: u8) -> u8 {
        (self.lead, self.to_come) = (byte, to_come);
        byte
    }

    /// Replaces a digit to the base of 16, which is worth this much, by another one in this range.
    pub(super) fn hex(&mut self, byte: u8, digit: u8, range: RangeInclusive<u8>) -> u8 {
        let number = self.next(byte);
        let (first, count) = (*range.start(), range.end() - range.start() + 1);
        match (turn(digit, first, count, number), byte.is_ascii_uppercase()) {
            (digit @ 0..10, _) => b'0' + digit,
            (digit, true) => b'A' + digit - 10,
            (digit, false) => b'a' + digit - 10,
        }
    }

    /// Replaces any byte by any other.
    pub(super) fn binary(&mut self, byte: u8) -> u8 {
        let number = self.next(byte);
        byte.wrapping_add(number)
    }
}

fn turn(byte: u8, first: u8, count: u8, number: u8) -> u8 {
    first + ((u16::from(byte - first) + u16::from(number)) % u16::from(count)) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_filler_is_a_text_as_long_of_the_same_kinds_and_another_for_another_text(one: String, other: String) {
            let filler = Filler::default();
            let filled = filler.text(&one);
            prop_assert_eq!(filled.len(), one.len());
            for (was, is) in one.chars().zip(filled.chars()) {
                prop_assert_eq!(was.len_utf8(), is.len_utf8());
                let stays = !was.is_ascii_alphanumeric() && was.is_ascii();
                prop_assert!(!stays || was == is);
            }
            prop_assert_eq!(&filler.text(&one), &filled);
            prop_assert_eq!(filler.text(&other) == filled, one == other);
        }
    }
}
