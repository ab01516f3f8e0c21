//! An inflater of the tests' own, RFC 1951 in its plainest form, that tells how far back a stream reaches.

/// A stream's bytes, and the longest distance it refers back over.
pub struct Inflated {
    pub bytes: Vec<u8>,
    pub reach: usize,
}

const LENGTH: [(usize, u32); 29] = {
    let mut table = [(0, 0); 29];
    let (mut code, mut base) = (0, 3);
    while code < 28 {
        let extra = if code < 8 { 0 } else { code as u32 / 4 - 1 };
        table[code] = (base, extra);
        base += 1 << extra;
        code += 1;
    }
    table[28] = (258, 0);
    table
};

const DISTANCE: [(usize, u32); 30] = {
    let mut table = [(0, 0); 30];
    let (mut code, mut base) = (0, 1);
    while code < 30 {
        let extra = if code < 4 { 0 } else { code as u32 / 2 - 1 };
        table[code] = (base, extra);
        base += 1 << extra;
        code += 1;
    }
    table
};

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, i| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << i
        })
    }
}

/// A canonical Huffman code: how many codes of each length, and the symbols in their order (§3.2.2).
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|len| counts[*len] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }

    fn read(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code");
    }
}

/// Inflates a message whose tail has been put back; it ends with the empty stored block (RFC 7692 §7.2.2).
pub fn inflate(stream: &[u8]) -> Inflated {
    let (mut bits, mut out) = (Bits { bytes: stream, at: 0 }, Inflated { bytes: Vec::new(), reach: 0 });
    while bits.at < stream.len() * 8 {
        let _is_final = bits.take(1);
        match bits.take(2) {
            0 => stored(&mut bits, &mut out),
            1 => {
                let lengths: Vec<usize> = (0..288).map(fixed_length).collect();
                coded(&mut bits, &mut out, &Code::new(&lengths), &Code::new(&[5; 30]));
            }
            2 => {
                let (literals, distances) = dynamic(&mut bits);
                coded(&mut bits, &mut out, &literals, &distances);
            }
            _ => panic!("a reserved block type"),
        }
    }
    out
}

fn stored(bits: &mut Bits<'_>, out: &mut Inflated) {
    bits.at = bits.at.next_multiple_of(8);
    let (len, inverse) = (bits.take(16), bits.take(16));
    assert_eq!(len ^ inverse, 0xffff);
    out.bytes.extend((0..len).map(|_| bits.take(8) as u8));
}

fn fixed_length(symbol: usize) -> usize {
    match symbol {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

fn dynamic(bits: &mut Bits<'_>) -> (Code, Code) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut code_lengths = [0; 19];
    ORDER[..count].iter().for_each(|symbol| code_lengths[*symbol] = bits.take(3));
    let code = Code::new(&code_lengths);
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.read(bits) {
            16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]))
}

fn coded(bits: &mut Bits<'_>, out: &mut Inflated, literals: &Code, distances: &Code) {
    loop {
        match literals.read(bits) {
            256 => return,
            byte @ 0..=255 => out.bytes.push(byte as u8),
            symbol => {
                let (base, extra) = LENGTH[symbol - 257];
                let length = base + bits.take(extra);
                let (base, extra) = DISTANCE[distances.read(bits)];
                let distance = base + bits.take(extra);
                out.reach = out.reach.max(distance);
                for _ in 0..length {
                    out.bytes.push(out.bytes[out.bytes.len() - distance]);
                }
            }
        }
    }
}

#[test]
fn rfc7692_s7_2_3_the_examples_inflate() {
    let tail = [0x00, 0x00, 0xff, 0xff];
    let compressed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflate(&[&compressed[..], &tail].concat()).bytes, b"Hello");
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    assert_eq!(inflate(&[&stored[..], &tail].concat()).bytes, b"Hello");
}
