//! What the messages of a load say: whose they are, which one, and bytes that follow from that.
//!
//! Every byte is ASCII, so that a message may go as text as well as binary. In front stands the name (the sender in 4 digits
//! of 6 bits, the number in 7), then a body that is the same for all, then, where there is room, a seal of 4 digits that
//! follows from the name: a body under a foreign name shows as altered.

use crate::reactor::{Opcode, Premasked};

const SENDER_DIGITS: usize = 4;

const NUMBER_DIGITS: usize = 7;

const SEAL_DIGITS: usize = 4;

/// The shortest message: the name alone.
pub(crate) const SIZE_MIN: usize = SENDER_DIGITS + NUMBER_DIGITS;

/// The messages of one size.
pub(crate) struct Pattern {
    body: Vec<u8>,
    /// Where the body ends and the seal begins.
    sealed_at: usize,
}

impl Pattern {
    /// Messages of `size` bytes, at least [`SIZE_MIN`].
    pub(crate) fn new(size: usize) -> Self {
        let size = size.max(SIZE_MIN);
        let body = (0..size).map(|at| digit((at as u64).wrapping_mul(0x9e37_79b9) >> 11)).collect();
        let sealed_at = if size >= SIZE_MIN + SEAL_DIGITS { size - SEAL_DIGITS } else { size };
        Self { body, sealed_at }
    }

    /// A frame of such a message, still without a name.
    pub(crate) fn frame(&self, opcode: Opcode) -> Premasked {
        Premasked::new(opcode, &self.body)
    }

    /// Such a message, still without a name, behind a head of other bytes.
    pub(crate) fn behind(&self, head: &[u8]) -> Premasked {
        Premasked::plain(head, &self.body)
    }

    /// Makes a frame message `number` of a sender.
    pub(crate) fn stamp(&self, frame: &mut Premasked, sender: usize, number: u64) {
        frame.stamp(0, &name(sender, number));
        if self.sealed_at < self.body.len() {
            frame.stamp(self.sealed_at, &seal(sender, number));
        }
    }

    /// Whose message this is, and which, unless anything in it is not as it was sent.
    pub(crate) fn read(&self, bytes: &[u8]) -> Option<(usize, u64)> {
        if bytes.len() != self.body.len() {
            return None;
        }
        let (sender, number) =
            (number_in(&bytes[..SENDER_DIGITS])?, number_in(&bytes[SENDER_DIGITS..SIZE_MIN])?);
        let sender = usize::try_from(sender).ok()?;
        let is_sealed = self.sealed_at == bytes.len() || bytes[self.sealed_at..] == seal(sender, number);
        let is_whole = bytes[SIZE_MIN..self.sealed_at] == self.body[SIZE_MIN..self.sealed_at];
        (is_sealed && is_whole).then_some((sender, number))
    }
}

fn digit(value: u64) -> u8 {
    0x40 | (value & 0x3f) as u8
}

fn digits<const N: usize>(value: u64) -> [u8; N] {
    std::array::from_fn(|at| digit(value >> (6 * at)))
}

fn name(sender: usize, number: u64) -> [u8; SIZE_MIN] {
    let mut name = [0; SIZE_MIN];
    name[..SENDER_DIGITS].copy_from_slice(&digits::<SENDER_DIGITS>(sender as u64));
    name[SENDER_DIGITS..].copy_from_slice(&digits::<NUMBER_DIGITS>(number));
    name
}

fn seal(sender: usize, number: u64) -> [u8; SEAL_DIGITS] {
    digits((number ^ (sender as u64) << 40).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40)
}

fn number_in(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| (byte & 0xc0 == 0x40).then(|| sum << 6 | u64::from(byte & 0x3f));
    digits.iter().rev().try_fold(0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(frame: &Premasked, size: usize) -> Vec<u8> {
        let bytes = frame.as_bytes();
        let at = bytes.len() - size;
        let key: [u8; 4] = bytes[at - 4..at].try_into().expect("four bytes");
        bytes[at..].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_every_changed_byte_shows() {
        for size in [SIZE_MIN, 14, 15, 32, 125, 300] {
            let pattern = Pattern::new(size);
            let mut frame = pattern.frame(Opcode::Text);
            for (sender, number) in [(0, 0), (63, 4_095), (9_999, 123_456_789)] {
                pattern.stamp(&mut frame, sender, number);
                let message = plain(&frame, size);
                assert!(message.is_ascii() && pattern.read(&message) == Some((sender, number)));
                for at in 0..size {
                    let mut altered = message.clone();
                    altered[at] ^= 1;
                    assert_ne!(pattern.read(&altered), Some((sender, number)), "{size} B, byte {at}");
                }
                assert_eq!(pattern.read(&message[1..]), None);
            }
        }
    }
}
