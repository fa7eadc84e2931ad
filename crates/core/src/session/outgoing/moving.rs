//! What becomes of a queue whose Session goes to another worker.

use super::Outgoing;
use crate::boundary::store_records::Round;

impl Outgoing {
    /// Forgets what only the present worker could understand: its requests to the store, and the
    /// streams of the Network Connection.
    pub(crate) fn leave_worker(&mut self) {
        self.stored.fetch = None;
        self.stored.expiry.give_up_sweep();
        self.forget_streams();
    }

    /// The rounds that messages in memory wait for.
    pub(crate) fn holds(&self) -> impl Iterator<Item = Round> {
        self.queue.iter().filter_map(|waiting| waiting.hold)
    }
}
