//! What becomes of a Session that goes from one worker to another: it keeps its name and everything
//! that its Client may know of, and leaves behind what only its worker could understand.

use crate::base::identity::SessionId;
use crate::session::Session;

impl Session {
    /// Its name, if it is not that of its slot: another worker has made the Session.
    #[inline]
    pub(crate) fn name(&self) -> Option<SessionId> {
        self.name.as_deref().copied()
    }

    /// Prepares it to leave its worker, which knows it by this name.
    pub(crate) fn leave_worker(&mut self, name: SessionId) {
        self.name = Some(Box::new(name));
        (self.attached, self.accepted, self.matched) = (None, None, (0, 0));
        // Their rounds are over: whoever repeats such a message is told that it was taken.
        let received = self.awaiting_release.iter_mut().flat_map(|it| it.values_mut());
        received.for_each(|received| received.ticket = None);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.leave_worker();
        }
    }

    /// Takes a slot of another worker, in which it has this generation.
    pub(crate) fn take_place(&mut self, generation: u32) {
        self.generation = generation;
    }
}
