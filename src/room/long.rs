//! Long publications: shared by a log and by those whose sockets have cut them, and counted as long as anybody has them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};

/// Bytes of memory that long publications take up, those that no log holds any more, too.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicUsize>);

impl Tally {
    /// Bytes of memory taken up.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Shares a buffer, and counts it until the last part of it has gone.
    pub(super) fn share(&self, buffer: BytesMut) -> Bytes {
        self.0.fetch_add(buffer.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Counted { buffer, tally: self.clone() })
    }
}

struct Counted {
    buffer: BytesMut,
    tally: Tally,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.buffer.capacity(), Ordering::Relaxed);
    }
}

/// What is left of a publication of which a socket took the beginning.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// The bytes.
    pub bytes: Bytes,
    /// Memory that they keep from going and that is counted by a [`Tally`]; none where they are a copy.
    pub shared: usize,
    /// Leads somewhere as long as a log holds them, too.
    pub(super) log: Weak<()>,
}

impl Rest {
    /// Bytes that nobody else has.
    pub fn copy(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), ..Self::default() }
    }

    /// Bytes of memory that no log holds any more, and whoever has this rest still does.
    pub fn left_behind(&self) -> usize {
        if self.log.strong_count() == 0 { self.shared } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_publication_counts_until_its_last_part_has_gone() {
        let tally = Tally::default();
        let whole = tally.share(BytesMut::zeroed(100_000));
        let (rest, other) = (whole.slice(99_999..), tally.share(BytesMut::zeroed(50_000)));
        drop(whole);
        assert_eq!(tally.bytes(), 150_000);
        drop(rest);
        assert_eq!(tally.bytes(), 50_000);
        drop(other);
        assert_eq!(tally.bytes(), 0);
    }
}
