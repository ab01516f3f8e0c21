//! A plain inflater, RFC 1951: slow, independent of any library, and exact about the window.
//!
//! Libraries give out 32 KiB of history whatever window was agreed, and so cannot tell whether a
//! server keeps to a smaller one.

/// Why bytes are no deflate stream, in words.
pub(crate) type Flaw = &'static str;

const CODE_BITS_MAX: usize = 15;
const WINDOW_BYTES_MAX: usize = 1 << 15;

const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_EXTRA: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
/// §3.2.7: the order in which a dynamic block gives the lengths of its code length codes.
const CODE_LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Reads the bits of a byte string from the low end, §3.1.1.
struct Bits<'a> {
    bytes: &'a [u8],
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn take(&mut self, wanted: u32) -> Result<usize, Flaw> {
        while self.count < wanted {
            let (first, rest) = self.bytes.split_first().ok_or("the data ends inside a block")?;
            self.bytes = rest;
            self.held |= u32::from(*first) << self.count;
            self.count += 8;
        }
        let value = self.held & ((1 << wanted) - 1);
        self.held >>= wanted;
        self.count -= wanted;
        Ok(value as usize)
    }

    fn skip_to_byte(&mut self) {
        (self.held, self.count) = (0, 0);
    }
}

/// A canonical Huffman code, §3.2.2: how many codes each length has, and the symbols in their order.
struct Code {
    counts: [u16; CODE_BITS_MAX + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Code, Flaw> {
        let mut counts = [0_u16; CODE_BITS_MAX + 1];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        let mut free = 1_i32;
        for &count in &counts[1..] {
            free = free * 2 - i32::from(count);
            if free < 0 {
                return Err("more codes than their lengths allow");
            }
        }
        let mut symbols: Vec<u16> =
            (0..lengths.len() as u16).filter(|&at| lengths[usize::from(at)] > 0).collect();
        symbols.sort_by_key(|&at| lengths[usize::from(at)]);
        Ok(Code { counts, symbols })
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, Flaw> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &self.counts[1..] {
            let count = usize::from(count);
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(usize::from(self.symbols[index + code - first]));
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("a code that stands for nothing")
    }
}

/// What has come out, and how far back a reference may reach.
pub(crate) struct Window {
    bytes: Vec<u8>,
    reach: usize,
}

impl Window {
    /// An empty window of `bits`, 8 to 15.
    pub(crate) fn new(bits: u8) -> Window {
        Window { bytes: Vec::new(), reach: 1 << bits }
    }

    /// Inflates whole blocks until the data ends, and gives what they hold.
    ///
    /// # Errors
    ///
    /// If a block is malformed or unfinished, or refers further back than the window reaches.
    pub(crate) fn inflate(&mut self, data: &[u8]) -> Result<Vec<u8>, Flaw> {
        let old = self.bytes.len().saturating_sub(WINDOW_BYTES_MAX);
        self.bytes.drain(..old);
        let start = self.bytes.len();
        let mut bits = Bits { bytes: data, held: 0, count: 0 };
        while !bits.bytes.is_empty() {
            if self.block(&mut bits)? {
                // RFC 7692 §7.2.3.4: after a final block the data goes on at the next byte.
                bits.skip_to_byte();
            }
        }
        Ok(self.bytes[start..].to_vec())
    }

    /// §3.2.3: one block; whether it was the final one.
    fn block(&mut self, bits: &mut Bits<'_>) -> Result<bool, Flaw> {
        let is_final = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => self.stored(bits)?,
            1 => self.coded(bits, &fixed_lengths()?, &Code::new(&[5; 30])?)?,
            2 => {
                let (lengths, distances) = dynamic_codes(bits)?;
                self.coded(bits, &lengths, &distances)?;
            }
            _ => return Err("a block of the reserved type"),
        }
        Ok(is_final)
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Result<(), Flaw> {
        bits.skip_to_byte();
        let [a, b, c, d, rest @ ..] = bits.bytes else { return Err("a stored block without its length") };
        let length = u16::from_le_bytes([*a, *b]);
        if length != !u16::from_le_bytes([*c, *d]) {
            return Err("a stored block whose lengths disagree");
        }
        let (data, rest) = rest.split_at_checked(usize::from(length)).ok_or("a stored block cut short")?;
        self.bytes.extend_from_slice(data);
        bits.bytes = rest;
        Ok(())
    }

    fn coded(&mut self, bits: &mut Bits<'_>, lengths: &Code, distances: &Code) -> Result<(), Flaw> {
        loop {
            match lengths.symbol(bits)? {
                literal @ 0..256 => self.bytes.push(literal as u8),
                256 => return Ok(()),
                symbol @ 257..286 => self.copy(bits, symbol - 257, distances)?,
                _ => return Err("a length that is not defined"),
            }
        }
    }

    fn copy(&mut self, bits: &mut Bits<'_>, length: usize, distances: &Code) -> Result<(), Flaw> {
        let length = usize::from(LENGTH_BASE[length]) + bits.take(u32::from(LENGTH_EXTRA[length]))?;
        let symbol = distances.symbol(bits)?;
        let base = DISTANCE_BASE.get(symbol).ok_or("a distance that is not defined")?;
        let distance = usize::from(*base) + bits.take(u32::from(DISTANCE_EXTRA[symbol]))?;
        if distance > self.bytes.len() {
            return Err("a reference before the beginning");
        }
        if distance > self.reach {
            return Err("a reference beyond the window that was agreed");
        }
        for _ in 0..length {
            self.bytes.push(self.bytes[self.bytes.len() - distance]);
        }
        Ok(())
    }
}

/// §3.2.6: the code of a block that brings none.
fn fixed_lengths() -> Result<Code, Flaw> {
    let mut lengths = [8; 288];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    Code::new(&lengths)
}

/// §3.2.7: the two codes at the head of a dynamic block.
fn dynamic_codes(bits: &mut Bits<'_>) -> Result<(Code, Code), Flaw> {
    let literals = bits.take(5)? + 257;
    let distances = bits.take(5)? + 1;
    let given = bits.take(4)? + 4;
    let mut lengths = [0; 19];
    for &place in &CODE_LENGTH_ORDER[..given] {
        lengths[place] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (value, times) = match code.symbol(bits)? {
            16 => (*lengths.last().ok_or("a repetition of nothing")?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    if lengths.len() > literals + distances {
        return Err("more code lengths than announced");
    }
    Ok((Code::new(&lengths[..literals])?, Code::new(&lengths[literals..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_blocks_are_named() {
        let flaws: [(&[u8], Flaw); 4] = [
            (&[0x06], "a block of the reserved type"),
            (&[0x00, 0x05, 0x00, 0x00, 0x00], "a stored block whose lengths disagree"),
            (&[0x02, 0x21, 0x00, 0x00], "a reference before the beginning"),
            (&[0xf2, 0x48], "the data ends inside a block"),
        ];
        for (data, flaw) in flaws {
            assert_eq!(Window::new(15).inflate(data).unwrap_err(), flaw);
        }
    }

    #[test]
    fn a_stored_block_is_copied() {
        assert_eq!(Window::new(8).inflate(&[0x00, 0x02, 0x00, 0xfd, 0xff, b'h', b'i']).unwrap(), b"hi");
    }
}
