//! What becomes of walks when a worker is gone: nothing more comes from its tree, and nobody waits
//! for it. What it has retained is missing until it is there again.

use crate::base::identity::WorkerId;
use crate::retained::Retained;
use crate::retained::walking::Part;

impl Retained {
    /// Takes a worker that is gone out of all walks, its own ones and those of this worker over its
    /// tree.
    pub(crate) fn forget_worker(&mut self, gone: WorkerId) {
        for walk in self.walks.end_all(gone) {
            self.tree.end_walk(walk);
        }
        self.late.retain(|pull| pull.from != gone);
        self.traffic.early.retain(|pull| pull.from != gone);
        let mut changed = Vec::new();
        for (session, request) in self.requests.iter_mut() {
            for part in &mut request.parts {
                if let Part::Of { worker, walk, asked, .. } = part
                    && *worker == gone
                {
                    // The messages that have come are delivered.
                    (*walk, *asked) = (None, false);
                    changed.push(session);
                }
            }
        }
        changed.sort_unstable();
        changed.into_iter().for_each(|session| self.requests.wake(session));
        let mut tickets: Vec<_> = self.first.keys().copied().collect();
        tickets.sort_unstable();
        for ticket in tickets {
            let arrived = self.note_first(gone, ticket);
            self.arrived.extend(arrived);
        }
        self.traffic.forget(gone);
        self.late.extend(std::mem::take(&mut self.traffic.early));
    }
}
