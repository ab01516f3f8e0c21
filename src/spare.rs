//! Long buffers between two uses: what one long message needed serves the next, whichever connection it comes on.
//!
//! An allocator gives memory of that size back to the kernel at once, and every page of it is then a fault again.

/// Emptied long buffers, at most so many bytes of them.
#[derive(Debug, Default)]
pub struct Spares {
    kept: Vec<Vec<u8>>,
    /// The sum of their capacities.
    bytes: usize,
    bytes_max: usize,
    /// Whether one was taken or given since the last [`Spares::age`].
    in_use: bool,
}

impl Spares {
    /// Capacity from which a buffer is a long one; a shorter one costs the allocator next to nothing.
    pub const LONG: usize = 32 << 10;

    /// Long buffers come in multiples of this, so that those for similar messages fit each other.
    const STEP: usize = 16 << 10;

    /// No buffers yet, and never more than `bytes_max` bytes of them.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Makes room in `buffer` for `more` bytes, if that makes it a long one in one that was kept; it is known to become
    /// `in_all` bytes long, so that one may be taken that fits all of them.
    pub fn reserve(&mut self, buffer: &mut Vec<u8>, more: usize, in_all: usize) {
        let len = buffer.len() + more;
        if len <= buffer.capacity() {
            return;
        }
        if len < Self::LONG {
            return buffer.reserve(more);
        }
        let mut longer = self.take(len.max(buffer.len().saturating_mul(2)), in_all);
        longer.extend_from_slice(buffer);
        self.give(std::mem::replace(buffer, longer));
    }

    /// As [`Spares::reserve`], for text.
    pub fn reserve_text(&mut self, text: &mut String, more: usize, in_all: usize) {
        let len = text.len() + more;
        if len <= text.capacity() {
            return;
        }
        if len < Self::LONG {
            return text.reserve(more);
        }
        // Nothing is no invalid text, so that this is the buffer taken.
        let longer = self.take(len.max(text.len().saturating_mul(2)), in_all);
        let mut longer = String::from_utf8(longer).unwrap_or_default();
        longer.push_str(text);
        self.give(std::mem::replace(text, longer).into_bytes());
    }

    /// An empty buffer of at least `len` bytes, one that was kept if there is such a one that is not much longer than
    /// that or than what is expected.
    fn take(&mut self, len: usize, expected: usize) -> Vec<u8> {
        self.in_use = true;
        let fitting = len..=len.max(expected).saturating_mul(2).saturating_add(Self::STEP);
        match self.kept.iter().rposition(|kept| fitting.contains(&kept.capacity())) {
            Some(at) => {
                let buffer = self.kept.swap_remove(at);
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(len.next_multiple_of(Self::STEP)),
        }
    }

    /// Keeps an emptied buffer, if it is a long one and there is room for it.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity >= Self::LONG && self.bytes + capacity <= self.bytes_max {
            self.in_use = true;
            self.bytes += capacity;
            buffer.clear();
            self.kept.push(buffer);
        }
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.kept = Vec::new();
        self.bytes = 0;
    }

    /// Lets go of what nobody has used since the last call.
    pub fn age(&mut self) {
        if !std::mem::take(&mut self.in_use) {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_buffer_serves_again_and_a_short_one_is_not_kept() {
        let mut spares = Spares::new(1 << 20);
        let mut buffer = Vec::new();
        spares.reserve(&mut buffer, 100_000, 0);
        let (place, capacity) = (buffer.as_ptr(), buffer.capacity());
        assert!(capacity >= 100_000);
        buffer.extend_from_slice(&[7; 100_000]);
        spares.give(buffer);
        assert_eq!(spares.bytes(), capacity);
        let mut again = vec![1, 2, 3];
        spares.reserve(&mut again, 99_000, 0);
        assert_eq!((again.as_ptr(), again.as_slice(), spares.bytes()), (place, &[1, 2, 3][..], 0));
        spares.give(Vec::with_capacity(Spares::LONG - 1));
        assert_eq!(spares.bytes(), 0);
    }

    #[test]
    fn a_buffer_much_longer_than_needed_stays_for_a_longer_need() {
        let mut spares = Spares::new(10 << 20);
        spares.give(Vec::with_capacity(8 << 20));
        let mut buffer = Vec::new();
        spares.reserve(&mut buffer, 40_000, 0);
        assert!(buffer.capacity() < 100_000, "{}", buffer.capacity());
        assert_eq!(spares.bytes(), 8 << 20);
        spares.reserve(&mut buffer, 5 << 20, 0);
        assert_eq!(buffer.capacity(), 8 << 20);
    }

    #[test]
    fn never_more_is_kept_than_the_bound() {
        let mut spares = Spares::new(100_000);
        for _ in 0..10 {
            spares.give(Vec::with_capacity(40_000));
            assert!(spares.bytes() <= 100_000);
        }
        assert_eq!(spares.bytes(), 80_000);
    }

    #[test]
    fn what_nobody_uses_is_let_go_at_the_second_look() {
        let mut spares = Spares::new(100_000);
        spares.give(Vec::with_capacity(40_000));
        spares.age();
        assert_eq!(spares.bytes(), 40_000);
        spares.age();
        assert_eq!(spares.bytes(), 0);
    }
}
