//! Buffers that streams work with, lent by whoever drives them.

/// One thread's buffers: an idle stream owns none. Nothing is kept in them between two calls.
#[derive(Debug)]
pub struct Scratch {
    /// What is read of a socket, before the layers have taken it.
    pub(crate) raw: Box<[u8]>,
    /// What is to be sealed.
    pub(crate) plain: Vec<u8>,
    /// What is to be written to a socket.
    pub(crate) sealed: Vec<u8>,
    /// Bytes that layers have taken of sockets.
    pub(crate) taken: usize,
}

impl Scratch {
    /// Bytes read of a socket at a time, behind what a layer has kept of an earlier read.
    pub(crate) const READ_BYTES: usize = 64 * 1024;
    /// A layer keeps at most so much.
    pub(crate) const KEPT_BYTES_MAX: usize = 64 * 1024;
    /// Bytes that are sealed at a time.
    pub(crate) const SEAL_BYTES: usize = 64 * 1024;

    /// Empty buffers.
    pub fn new() -> Self {
        let raw = vec![0; Self::READ_BYTES + Self::KEPT_BYTES_MAX].into_boxed_slice();
        Self { raw, plain: Vec::new(), sealed: Vec::new(), taken: 0 }
    }

    /// Bytes that were taken of sockets below layers since the last call: what a reader gets of
    /// them may be much less.
    pub fn take_count(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
