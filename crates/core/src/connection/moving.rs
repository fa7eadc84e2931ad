//! What becomes of a Network Connection that goes from one worker to another with its Session. What
//! its peer has been told, and what is still to be written, stays as it is.

use std::sync::Arc;

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::connection::output::BufferPool;
use crate::connection::{Connection, Offer, Phase};

impl Connection {
    /// Prepares it to leave its worker.
    pub(crate) fn leave_worker(&mut self, pool: &mut BufferPool) {
        debug_assert_eq!(self.held, 0, "acknowledgements are held back for it");
        self.output.keep_part(pool);
        (self.flush_wanted, self.is_paused) = (false, false);
    }

    /// Takes a place at another worker, with its Session. No CONNECT of that worker is older.
    pub(crate) fn take_place(&mut self, id: ConnectionId, offer: Arc<Offer>, session: SessionSlot) {
        (self.id, self.offer) = (id, offer);
        self.phase = Phase::Connected { session, reauthenticating: false, connect_number: None };
    }

    /// Whether it never goes to another worker: it has data streams, or is none of a Client.
    pub(crate) fn has_to_stay(&self) -> bool {
        self.data_streams.is_some() || self.is_local
    }

    /// Whether its Client is connected and does not authenticate anew.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Connected { reauthenticating: false, .. })
    }
}
