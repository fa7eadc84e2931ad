//! Buffers that streams work with, lent by the thread that drives them.

/// One thread's buffers, so that an idle stream owns none. They keep nothing between two calls.
#[derive(Debug)]
pub struct Scratch {
    /// Bytes read from a socket, before the layers have taken them.
    pub(crate) raw: Box<[u8]>,
    /// Bytes to be sealed.
    pub(crate) plain: Vec<u8>,
    /// Bytes to be written to a socket.
    pub(crate) sealed: Vec<u8>,
    /// How many bytes layers have taken from sockets.
    pub(crate) taken: usize,
}

impl Scratch {
    /// Bytes read from a socket at a time, in addition to what a layer has kept of an earlier read.
    pub(crate) const READ_BYTES: usize = 64 * 1024;
    /// The most bytes that a layer keeps.
    pub(crate) const KEPT_BYTES_MAX: usize = 64 * 1024;
    /// The most bytes that are sealed at a time.
    pub(crate) const SEAL_BYTES: usize = 64 * 1024;

    /// Returns empty buffers.
    pub fn new() -> Self {
        let raw = vec![0; Self::READ_BYTES + Self::KEPT_BYTES_MAX].into_boxed_slice();
        Self { raw, plain: Vec::new(), sealed: Vec::new(), taken: 0 }
    }

    /// Returns how many bytes were taken from sockets below layers since the last call. The reader
    /// may get far fewer.
    pub fn take_count(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
