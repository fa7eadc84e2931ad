//! How much memory this worker holds, and for whom. The numbers are estimates: each counts every
//! kind of thing that grows with what peers send, and what several hold together as if each had it
//! alone. This module must never change anything.

use crate::connection::admission::Admission;
use crate::connection::{Connection, PendingConnect, PendingWill, Phase};
use crate::core::Core;
use crate::session::Session;

impl Core {
    /// About how many bytes a Session, a connection, a subscription, a retained message and a
    /// message in the store take besides their contents.
    const SESSION_BYTES: usize = 600;
    const CONNECTION_BYTES: usize = 700;
    const SUBSCRIPTION_BYTES: usize = 400;
    const RETAINED_BYTES: usize = 400;
    const STORED_BYTES: usize = 64;

    /// Returns about how many bytes of memory this worker holds. Looks at all Sessions.
    pub fn held_bytes(&self) -> usize {
        let clients = &self.ground.clients;
        let sessions = clients.sessions.iter();
        let connections = clients.connections.iter();
        let (retained, retained_bytes) = self.router.retained.usage();
        let parts = [
            sessions.map(|(_, it)| Self::SESSION_BYTES + it.held_bytes()).sum(),
            connections.map(|(_, it)| Self::CONNECTION_BYTES + it.held_bytes()).sum(),
            self.ground.tree.len() * Self::SUBSCRIPTION_BYTES,
            usize::try_from(retained_bytes).unwrap_or(usize::MAX),
            usize::try_from(retained).unwrap_or(usize::MAX) * Self::RETAINED_BYTES,
            self.router.delayed.bytes(),
            self.router.backlog.bytes(),
            clients.pool.turn.held_bytes(),
            self.subscriptions.slices.bytes(),
            self.remains.bytes(),
            self.releases.bytes(),
        ];
        parts.into_iter().fold(0, usize::saturating_add)
    }

    /// Returns about how many bytes become free by themselves: those of Sessions that have ended.
    pub(crate) fn bytes_becoming_free(&self) -> usize {
        self.remains.bytes() + self.remains.subscriptions() * Self::SUBSCRIPTION_BYTES
    }

    /// Returns about how many bytes become free if this Session is given up: all of its bytes or,
    /// if it is in the store, those that are in memory only because its Client is connected.
    pub(crate) fn bytes_to_give_up(&self, session: &Session) -> usize {
        let outgoing = session.outgoing.as_ref().map_or(0, |outgoing| outgoing.bytes_in_memory());
        let connection =
            session.network_connection().map_or(0, |id| self.ground.clients.connection_bytes(id));
        let rest = if session.number == 0 {
            let filters = session.subscriptions.keys();
            let filters = filters.map(|filter| filter.len() + Self::SUBSCRIPTION_BYTES);
            session.will_bytes() + filters.sum::<usize>()
        } else {
            0
        };
        outgoing + connection + rest
    }
}

impl Session {
    fn held_bytes(&self) -> usize {
        let outgoing = self.outgoing.as_ref();
        let stored = outgoing.map_or(0, |outgoing| outgoing.stored_messages());
        let queued = outgoing.map_or(0, |outgoing| outgoing.bytes_in_memory());
        queued + stored * Core::STORED_BYTES + self.will_bytes() + self.identity.client_id.len()
    }

    fn will_bytes(&self) -> usize {
        self.will.as_ref().map_or(0, |will| will.message.size())
    }
}

impl Connection {
    /// Counts what waits to be written, the topic aliases of both directions, and what is kept
    /// until the CONNECT is answered.
    pub(crate) fn held_bytes(&self) -> usize {
        let incoming = self.incoming_aliases_bytes();
        let outgoing = self.outgoing_aliases.as_ref().map_or(0, |aliases| aliases.bytes());
        self.output.held_bytes() + incoming + outgoing + self.phase.held_bytes()
    }
}

impl Phase {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Authenticating(pending) => pending.held_bytes(),
            Self::Accepted(admission) => admission.held_bytes(),
            _ => 0,
        }
    }
}

impl PendingConnect {
    fn held_bytes(&self) -> usize {
        let will = |it: &PendingWill| it.topic.len() + it.properties.len() + it.payload.len();
        self.client_id.len() + self.will.as_ref().map_or(0, will)
    }
}

impl Admission {
    fn held_bytes(&self) -> usize {
        self.connack.len() + self.earlier.as_ref().map_or(0, |earlier| earlier.will.message.size())
    }
}
