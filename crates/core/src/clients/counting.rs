//! How many Sessions the node has, for its limit, and how many Network Connections and Clients this
//! worker has. Only this module changes the node's count. A Session that a newer one of its Client
//! replaces is not counted any more: the newer one takes over its count.

use std::sync::Arc;

use crate::base::budget::Allowance;
use crate::base::identity::{ConnectionId, Identity, SessionSlot};
use crate::clients::Clients;
use crate::session::Session;

impl Clients {
    /// Counts a Session for a Client that is admitted now, unless the limit forbids it. If the
    /// Client has a Session, which may end, that one's count is taken over. The count is nobody's
    /// until [`Clients::accept`].
    #[must_use]
    pub(crate) fn count_accepted(&mut self, client_id: &str) -> bool {
        if let Some(slot) = self.session_by_client_id(client_id) {
            self.session_mut(slot).set_counted(false);
            return true;
        }
        let count_max = u64::from(self.limits().sessions_max);
        self.budget.sessions.change(1, 0, Allowance { count_max, bytes_max: u64::MAX })
    }

    /// Gives a Session, counted already, to a Network Connection whose CONNACK has not left yet.
    pub(crate) fn accept(&mut self, slot: SessionSlot, id: ConnectionId) {
        let session = self.session_mut(slot);
        session.accept(id);
        session.set_counted(true);
    }

    /// Counts a Session regardless of the limit.
    pub(crate) fn count_in(&mut self, slot: SessionSlot) {
        self.budget.sessions.add(1, 0);
        self.session_mut(slot).set_counted(true);
    }

    /// Counts off a Session that has ended.
    pub(super) fn count_off(&self, session: &Session) {
        self.budget.sessions.give_back(u64::from(session.is_counted()), 0);
    }

    /// Attaches a Session to its connection: its Client is there from now on.
    pub(crate) fn attach(&mut self, slot: SessionSlot, id: ConnectionId) {
        self.sessions[slot as usize].attach(id);
        let is_local = self.connections[id.slot()].is_local();
        self.attached += 1;
        self.locals += usize::from(is_local);
    }

    /// Detaches a Session from its connection. Returns who was there: nobody, if the CONNACK had
    /// not left.
    pub(crate) fn detach(&mut self, slot: SessionSlot, is_local: bool) -> Option<Arc<Identity>> {
        self.note_window(slot);
        let client = self.sessions[slot as usize].detach();
        self.attached -= usize::from(client.is_some());
        self.locals -= usize::from(client.is_some() && is_local);
        client
    }

    /// Counts a Network Connection that this worker has from now on.
    pub(crate) fn count_connection_in(&mut self) {
        self.network_connections += 1;
    }

    /// Counts off a Network Connection that is closed, or that another worker goes on with.
    pub(crate) fn count_connection_off(&mut self) {
        self.network_connections -= 1;
    }

    /// How many Network Connections this worker has.
    pub(crate) fn network_connections(&self) -> usize {
        self.network_connections
    }

    /// How many Clients are connected, and how many subscribers inside the process there are.
    pub(crate) fn present(&self) -> (usize, usize) {
        (self.attached - self.locals, self.locals)
    }
}
