//! What connections have to write, and the buffers that it lies in. Each connection is on the list
//! of those to be written to at most once a turn.

use crate::base::identity::ConnectionId;
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::connection::Connection;
use crate::connection::output::BufferPool;

impl Clients {
    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// Gives back the buffers that nothing is in, and the room of Sessions and connections that
    /// have gone.
    pub(crate) fn give_back(&mut self) {
        self.pool.clear();
        self.sessions.shrink_to_fit();
        self.connections.shrink_to_fit();
    }

    /// Notes that the list of connections to be written to is taken: from now on they are put on
    /// the next one.
    pub(crate) fn begin_flush(&mut self, flush: &[ConnectionId]) {
        for id in flush {
            if let Some(connection) = self.connections.get_mut(id.slot()) {
                connection.begin_flush();
            }
        }
    }

    /// Copies what connections still need of the bytes that they share in this turn.
    pub(crate) fn end_flush(&mut self) {
        let holders = self.pool.turn.take_holders();
        for id in &holders {
            if let Some(connection) = self.connections.get_mut(id.slot()) {
                connection.output_mut().keep_part(&mut self.pool);
            }
        }
        self.pool.turn.clear(holders);
    }
}

/// Puts the connection on the list of those to be written to, at most once a turn.
#[inline]
pub(crate) fn want_flush(connection: &mut Connection, turn: &mut Turn) {
    if connection.want_flush() {
        turn.fx.flush.push(connection.id());
    }
}
