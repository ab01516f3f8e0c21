//! The bytes of one read, taken from the front and handed out without copying.

/// What has been read and not yet consumed.
///
/// Pieces are lent for as long as the buffer they lie in, so that a message that arrived whole is unmasked and
/// handed to the handler where it lies.
pub struct Input<'i> {
    bytes: &'i mut [u8],
}

impl<'i> Input<'i> {
    /// The bytes of one read.
    pub fn new(bytes: &'i mut [u8]) -> Self {
        Self { bytes }
    }

    /// What is left, without taking it.
    pub fn peek(&self) -> &[u8] {
        self.bytes
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes up to `len` bytes from the front.
    pub fn take(&mut self, len: usize) -> &'i mut [u8] {
        let bytes = std::mem::take(&mut self.bytes);
        let (taken, rest) = bytes.split_at_mut(len.min(bytes.len()));
        self.bytes = rest;
        taken
    }

    /// Takes whatever is left.
    pub fn take_all(&mut self) -> &'i mut [u8] {
        std::mem::take(&mut self.bytes)
    }
}
