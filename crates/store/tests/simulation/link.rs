//! A Network Connection: bytes on their way in both directions, and who has noticed its end.

use midge_codec::ProtocolVersion;
use midge_core::{ConnectionId, Timestamp};

use crate::client::Client;

pub(crate) struct Link {
    pub(crate) version: ProtocolVersion,
    /// Whose it is.
    pub(crate) client: usize,
    pub(crate) worker: usize,
    pub(crate) id: ConnectionId,
    pub(crate) to_broker: Vec<u8>,
    pub(crate) from_broker: Vec<u8>,
    /// Whether the broker reads it.
    pub(crate) is_read: bool,
    /// The broker has closed it, or has noticed its end.
    pub(crate) is_closed: bool,
    /// When the broker noticed it, or last forgot that it had.
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
            is_read: true,
            is_closed: false,
            heard_at: None,
        }
    }

    /// Whether the broker has closed it and left nothing unread.
    pub(crate) fn has_read_all(&self) -> bool {
        self.is_closed && self.to_broker.is_empty()
    }
}
