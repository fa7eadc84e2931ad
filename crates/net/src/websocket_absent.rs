//! Placeholders for WebSocket in a build without it: types that have no values.

use std::convert::Infallible;
use std::io::IoSlice;
use std::sync::Arc;

use crate::listen::WebSocketOptions;

/// This build has no WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocketSession(Infallible);

/// What a read has brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WebSocketProgress {
    pub(crate) count: usize,
    pub(crate) has_ended: bool,
}

impl WebSocketSession {
    /// # Panics
    ///
    /// Always: a listener that needs it is refused before it is bound.
    pub(crate) fn server(_options: Arc<WebSocketOptions>) -> Self {
        unreachable!("no listener of this build has WebSocket")
    }

    pub(crate) fn receive(
        &mut self,
        _bytes: &mut [u8],
        _out: &mut Vec<u8>,
    ) -> Result<WebSocketProgress, Infallible> {
        match self.0 {}
    }

    pub(crate) fn seal(&mut self, _slices: &[IoSlice<'_>], _length: usize, _out: &mut Vec<u8>) {
        match self.0 {}
    }

    pub(crate) fn answer_late(&mut self, _out: &mut Vec<u8>) {
        match self.0 {}
    }

    pub(crate) fn close(&mut self, _out: &mut Vec<u8>) {
        match self.0 {}
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        match self.0 {}
    }
}
