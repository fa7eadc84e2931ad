//! A Network Connection: the bytes on their way in both directions, and who has noticed its end.

use std::collections::VecDeque;

use midge_codec::ProtocolVersion;
use midge_core::{ConnectionId, Timestamp};

use crate::client::Client;

pub(crate) struct Link {
    pub(crate) version: ProtocolVersion,
    /// The Client to which it belongs.
    pub(crate) client: usize,
    pub(crate) worker: usize,
    pub(crate) id: ConnectionId,
    pub(crate) to_broker: Vec<u8>,
    pub(crate) from_broker: Vec<u8>,
    /// How many of these bytes were sent at which time.
    sent: VecDeque<(usize, Timestamp)>,
    /// Whether the broker reads from it.
    pub(crate) is_read: bool,
    /// Whether the broker has closed it, or has noticed its end.
    pub(crate) is_closed: bool,
    /// Whether it is between two workers.
    pub(crate) is_moving: bool,
    /// When the broker noticed its end, or last forgot that it had.
    pub(crate) heard_at: Option<Timestamp>,
}

impl Link {
    pub(crate) fn new(client: &Client, worker: usize, id: ConnectionId) -> Self {
        Self {
            version: client.plan.version,
            client: client.index,
            worker,
            id,
            to_broker: Vec::new(),
            from_broker: Vec::new(),
            sent: VecDeque::new(),
            is_read: true,
            is_closed: false,
            is_moving: false,
            heard_at: None,
        }
    }

    pub(crate) fn put_from_broker(&mut self, bytes: &[u8], now: Timestamp) {
        self.from_broker.extend_from_slice(bytes);
        self.sent.push_back((bytes.len(), now));
    }

    /// Notes that this many bytes are read; returns when the first of them was sent.
    pub(crate) fn note_read(&mut self, bytes: usize) -> Timestamp {
        let sent_at = self.sent.front().map_or_else(Timestamp::default, |(_, at)| *at);
        let mut left = bytes;
        while let Some((count, _)) = self.sent.front_mut() {
            if *count > left {
                *count -= left;
                break;
            }
            left -= *count;
            self.sent.pop_front();
        }
        sent_at
    }

    /// Loses what was on its way to the Client, as the Network Connection is gone.
    pub(crate) fn lose_from_broker(&mut self) {
        self.from_broker.clear();
        self.sent.clear();
    }

    /// Returns whether the broker has closed it and left nothing unread.
    pub(crate) fn has_read_all(&self) -> bool {
        self.is_closed && self.to_broker.is_empty()
    }
}
