//! A slice that is filled from its front.

/// Room for decrypted bytes, lent by the reader.
#[derive(Debug)]
pub(crate) struct Plain<'b> {
    bytes: &'b mut [u8],
    filled: usize,
}

impl<'b> Plain<'b> {
    pub(crate) fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, filled: 0 }
    }

    /// Returns how many bytes still fit.
    pub(crate) fn room(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    ///
    /// If there is no room for them.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.filled..][..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Returns how many bytes are filled.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }
}
