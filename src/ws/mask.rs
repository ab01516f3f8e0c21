//! Masking of client payloads, RFC 6455 §5.3.

use crate::planted::{Fault, is_planted};

/// The key of one frame and how far into it the payload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The next four octets of the key, the first of them lowest.
    key: u32,
}

impl Mask {
    /// The mask at the start of a payload.
    pub fn new(key: [u8; 4]) -> Self {
        Self { key: u32::from_le_bytes(key) }
    }

    /// Masks or unmasks the next piece of the payload in place, whatever its length and alignment.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let key = u64::from(self.key) << 32 | u64::from(self.key);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_le_bytes(*word) ^ key).to_le_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(key.to_le_bytes()) {
            *byte ^= key;
        }
        // §5.3: octet i of the payload meets octet i mod 4 of the key; words of 8 do not move the phase.
        if !is_planted(Fault::MaskPhaseLost) {
            self.key = self.key.rotate_right(8 * (rest.len() % 4) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What RFC 6455 §5.3 says, octet by octet.
    fn mask_bytewise(key: [u8; 4], bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[i % 4];
        }
    }

    #[test]
    fn s5_3_every_length_and_every_cut_equals_the_bytewise_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..67 {
            let mut plain: Vec<u8> = (0..len).collect();
            let whole = plain.clone();
            mask_bytewise(key, &mut plain);
            for cut in 0..=whole.len() {
                let mut pieces = whole.clone();
                let mut mask = Mask::new(key);
                let (a, b) = pieces.split_at_mut(cut);
                mask.apply(a);
                mask.apply(b);
                assert_eq!(pieces, plain, "length {len} cut at {cut}");
            }
        }
    }
}
