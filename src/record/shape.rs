//! Where a frame begins and ends, in either direction and whatever rule it breaks, RFC 6455 §5.2.

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// What the frame is for.
    pub opcode: u8,
    /// The mask; zeros where there is none.
    pub mask: [u8; 4],
    /// Bytes of payload.
    pub len: u64,
}

impl Shape {
    /// The longest header.
    pub const BYTES_MAX: usize = 14;

    /// Reads a header that is all of `bytes`; `None` while more of it is to come.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[first, second, ref rest @ ..] = bytes else { return None };
        let len_len = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        let (len, mask) = rest.get(..len_len + mask_len)?.split_at(len_len);
        let len = match len {
            [] => u64::from(second & 0x7f),
            len => len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let mask = mask.first_chunk().copied().unwrap_or_default();
        Some(Self { fin: first & 0x80 != 0, opcode: first & 0x0f, mask, len })
    }
}
