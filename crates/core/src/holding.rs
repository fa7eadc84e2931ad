//! How much memory this worker holds, and for whom. The numbers are estimates: each counts every
//! kind of thing that grows with what peers send, and what several hold together as if each had it
//! alone. This module must never change anything.

use crate::core::Core;
use crate::session::Session;
use crate::session::outgoing::Outgoing;

impl Core {
    /// About how many bytes a Session, a connection, a subscription and a retained message take
    /// besides their contents.
    const SESSION_BYTES: usize = 600;
    const CONNECTION_BYTES: usize = 700;
    const SUBSCRIPTION_BYTES: usize = 350;
    const RETAINED_BYTES: usize = 400;

    /// Returns about how many bytes of memory this worker holds. Looks at all Sessions.
    pub fn held_bytes(&self) -> usize {
        let clients = &self.ground.clients;
        let sessions = clients.all_sessions();
        let connections = clients.all_connections();
        let (retained, retained_bytes) = self.router.retained.usage();
        let parts = [
            sessions.map(|(_, it)| Self::SESSION_BYTES + it.held_bytes()).sum(),
            connections.map(|it| Self::CONNECTION_BYTES + it.held_bytes()).sum(),
            self.ground.tree.len() * Self::SUBSCRIPTION_BYTES,
            usize::try_from(retained_bytes).unwrap_or(usize::MAX),
            usize::try_from(retained).unwrap_or(usize::MAX) * Self::RETAINED_BYTES,
            self.router.shared.groups.held_bytes(),
            self.router.delayed.bytes(),
            self.router.put_off.bytes(),
            clients.pool().turn.held_bytes(),
            self.subscriptions.slices.bytes(),
            self.remains.bytes(),
            self.releases.bytes(),
            clients.crossings.put_by_usage().1,
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
        let outgoing = session.outgoing().map_or(0, Outgoing::bytes_in_memory);
        let connection =
            session.attached_or_accepted().map_or(0, |id| self.ground.clients.connection_bytes(id));
        let rest = if session.is_stored() {
            0
        } else {
            let filters = session.subscriptions().filters();
            let filters = filters.map(|filter| filter.len() + Self::SUBSCRIPTION_BYTES);
            session.will_bytes() + filters.sum::<usize>()
        };
        outgoing + connection + rest
    }
}
