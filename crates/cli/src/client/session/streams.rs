//! The bytes of the streams of a Network Connection: one, or with QUIC several.
//!
//! The session knows what packets mean; this module has only what belongs to one stream alone.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::Publication;

/// The stream that carries the CONNECT.
pub(crate) const CONTROL: usize = 0;

/// One stream.
#[derive(Debug, Default)]
pub(super) struct StreamBytes {
    pub(super) inbound: Vec<u8>,
    pub(super) inbound_start: usize,
    pub(super) outbound: Vec<u8>,
    outbound_start: usize,
    /// How many bytes have left `outbound` since the connection began.
    sent: u64,
    /// The QoS 0 messages in `outbound`, each with the position of its end.
    unsent_messages: VecDeque<(u64, Publication)>,
    /// What the Server's topic aliases stand for.
    pub(super) topic_aliases: HashMap<u16, String>,
    /// What our own topic aliases stand for.
    pub(super) own_topic_aliases: HashMap<u16, Rc<str>>,
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

    /// Returns the bytes to be sent next.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.outbound[self.outbound_start..]
    }

    /// Takes note that the first `length` bytes of [`Self::unsent`] were sent.
    pub(super) fn note_sent(&mut self, length: usize) {
        self.outbound_start += length;
        self.sent += length as u64;
        while self.unsent_messages.front().is_some_and(|(end, _)| *end <= self.sent) {
            self.unsent_messages.pop_front();
        }
        if self.outbound_start == self.outbound.len() {
            self.outbound.clear();
            self.outbound_start = 0;
        }
    }

    /// Takes note that `outbound` ends with a QoS 0 message.
    pub(super) fn note_message(&mut self, publication: &Publication) {
        let end = self.sent + self.unsent().len() as u64;
        self.unsent_messages.push_back((end, publication.clone()));
    }

    /// Takes the QoS 0 messages that the Server cannot have in full.
    pub(super) fn take_unsent_messages(&mut self) -> impl Iterator<Item = Publication> {
        std::mem::take(&mut self.unsent_messages).into_iter().map(|(_, publication)| publication)
    }

    /// Drops the packets that were not sent. Does nothing in the middle of a packet.
    pub(super) fn discard_unsent(&mut self) {
        if self.outbound_start == 0 {
            self.outbound.clear();
            self.unsent_messages.clear();
        }
    }
}
