//! `$exclusive/filter`: a subscription that only one Session of the node can have at a time.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::identity::SessionId;
use crate::boundary::peer_messages::Peer;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::subscribe::Subscriptions;

/// The exclusive subscriptions whose home is this worker, and who has them.
#[derive(Debug)]
pub(crate) struct Exclusive {
    owners: HashMap<Box<str>, SessionId, foldhash::fast::FixedState>,
}

impl Exclusive {
    pub(crate) fn new(seed: u64) -> Self {
        Self { owners: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)) }
    }

    /// Claims the filter for `session`. True if the filter belongs to it now.
    pub(crate) fn claim(&mut self, filter: &str, session: SessionId) -> bool {
        *self.owners.entry_ref(filter).or_insert(session) == session
    }

    pub(crate) fn free(&mut self, filter: &str, session: SessionId) {
        if self.owners.get(filter) == Some(&session) {
            self.owners.remove(filter);
        }
    }
}

impl Subscriptions {
    pub(crate) fn free_exclusive(
        &mut self,
        ground: &mut Ground,
        filter: &str,
        session: SessionId,
        turn: &mut Turn,
    ) {
        let home = ground.home_of(filter);
        if home == ground.config.worker {
            self.exclusive.free(filter, session);
        } else {
            let filter = Arc::from(filter);
            turn.fx.send(home, Peer::ExclusiveRelease { filter, session }.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exclusive;
    use crate::base::identity::{SessionId, WorkerId};

    #[test]
    fn the_first_one_has_it_until_it_lets_go() {
        let session = |slot| SessionId { worker: WorkerId::new(0), slot, generation: 1 };
        let mut exclusive = Exclusive::new(1);
        assert!(exclusive.claim("a", session(1)));
        assert!(exclusive.claim("a", session(1)));
        assert!(!exclusive.claim("a", session(2)));
        exclusive.free("a", session(2));
        assert!(!exclusive.claim("a", session(2)));
        exclusive.free("a", session(1));
        assert!(exclusive.claim("a", session(2)));
    }
}
