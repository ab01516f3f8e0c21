//! Numbers and bytes as they stand in a recording: numbers in groups of seven bits, the lowest first.

/// Appends a number.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes after their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a number from the front; `None` where there is none.
pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..10 {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes bytes after their length from the front; `None` where there are not so many.
pub(super) fn take_bytes<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let len = usize::try_from(take(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_are_read_as_they_were_written() {
        let numbers = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX];
        let mut out = Vec::new();
        for number in numbers {
            put(&mut out, number);
        }
        put_bytes(&mut out, b"bytes");
        let mut from = &out[..];
        for number in numbers {
            assert_eq!(take(&mut from), Some(number));
        }
        assert_eq!(take_bytes(&mut from), Some(&b"bytes"[..]));
        assert_eq!((take(&mut from), take_bytes(&mut from)), (None, None));
        assert_eq!(take(&mut &[0xff; 11][..]), None, "longer than any number");
        assert_eq!(take_bytes(&mut &[5, 1, 2][..]), None, "fewer bytes than it says");
    }
}
