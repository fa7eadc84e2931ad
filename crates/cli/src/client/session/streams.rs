//! The bytes of the streams of a Network Connection: one, or with QUIC several.
//!
//! What a packet means is the session's business; here is only what belongs to one stream alone.

use std::collections::HashMap;

/// The stream that the CONNECT goes on.
pub(crate) const CONTROL: usize = 0;

/// One stream.
#[derive(Debug, Default)]
pub(super) struct StreamBytes {
    pub(super) inbound: Vec<u8>,
    pub(super) inbound_start: usize,
    pub(super) outbound: Vec<u8>,
    outbound_start: usize,
    pub(super) topic_aliases: HashMap<u16, String>,
}

impl StreamBytes {
    /// Takes bytes that were received.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        if self.inbound_start > 0 && self.inbound_start * 2 >= self.inbound.len() {
            self.inbound.drain(..self.inbound_start);
            self.inbound_start = 0;
        }
        self.inbound.extend_from_slice(bytes);
    }

    /// The bytes to be sent next.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.outbound[self.outbound_start..]
    }

    /// Takes note that the first `length` bytes of [`Self::unsent`] were sent.
    pub(super) fn note_sent(&mut self, length: usize) {
        self.outbound_start += length;
        if self.outbound_start == self.outbound.len() {
            self.outbound.clear();
            self.outbound_start = 0;
        }
    }

    /// Drops the packets that were not sent. Does nothing in the middle of a packet.
    pub(super) fn discard_unsent(&mut self) {
        if self.outbound_start == 0 {
            self.outbound.clear();
        }
    }
}
