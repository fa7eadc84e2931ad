//! One stream of a Network Connection, and how far it is.

use crate::client::connection::Connection;

/// One stream of a connection.
pub(super) struct Channel {
    pub(super) connection: Connection,
    /// Whether there may be bytes to read. Readiness is reported only once, until it is used up.
    pub(super) readable: bool,
    pub(super) is_finished: bool,
    pub(super) has_ended: bool,
}

impl Channel {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, readable: false, is_finished: false, has_ended: false }
    }
}
