//! Which worker owns the Session of a Client Identifier.
//!
//! Asked at CONNECT only, never for a message. A connection that came to another worker is handed
//! over to the owner, so a Session never has two.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use midge_core::WorkerId;

type Shard = HashMap<Box<str>, Entry, foldhash::fast::FixedState>;

/// A Client Identifier belongs to its owner as long as there is a Session or a CONNECT that may
/// become one: another worker must not make a second Session of it meanwhile.
#[derive(Debug)]
struct Entry {
    owner: WorkerId,
    /// CONNECT packets that are not decided about yet.
    claims: u32,
    has_session: bool,
}

/// The directory of one node.
#[derive(Debug)]
pub(crate) struct Directory {
    shards: [Mutex<Shard>; Self::SHARDS],
    seed: u64,
}

impl Directory {
    const SHARDS: usize = 16;

    pub(crate) fn new(seed: u64) -> Self {
        let shards = std::array::from_fn(|_| {
            Mutex::new(Shard::with_hasher(foldhash::fast::FixedState::with_seed(seed)))
        });
        Self { shards, seed }
    }

    /// The owner of this Client Identifier: who has it already, else `worker`. If it is `worker`,
    /// one more CONNECT of it is on its way there, to be settled by [`Directory::settle`].
    pub(crate) fn claim(&self, client_id: &str, worker: WorkerId) -> WorkerId {
        let mut shard = self.shard(client_id);
        let entry = shard.entry_ref(client_id).or_insert(Entry::of(worker));
        entry.claims += u32::from(entry.owner == worker);
        entry.owner
    }

    /// The CONNECT of an earlier claim was decided about; says whether there is a Session now.
    pub(crate) fn settle(&self, client_id: &str, worker: WorkerId, has_session: bool) {
        self.change(client_id, worker, |entry| {
            entry.claims = entry.claims.saturating_sub(1);
            entry.has_session |= has_session;
        });
    }

    /// The worker has made a Session of this Client Identifier, which nobody has claimed.
    pub(crate) fn note_session(&self, client_id: &str, worker: WorkerId) {
        let mut shard = self.shard(client_id);
        let entry = shard.entry_ref(client_id).or_insert(Entry::of(worker));
        entry.has_session |= entry.owner == worker;
    }

    /// The worker has no Session of this Client Identifier any more.
    pub(crate) fn release(&self, client_id: &str, worker: WorkerId) {
        self.change(client_id, worker, |entry| entry.has_session = false);
    }

    /// Changes an entry of `worker`; one that nothing keeps any more goes.
    fn change(&self, client_id: &str, worker: WorkerId, change: impl FnOnce(&mut Entry)) {
        let mut shard = self.shard(client_id);
        let Some(entry) = shard.get_mut(client_id).filter(|entry| entry.owner == worker) else {
            return;
        };
        change(entry);
        if entry.claims == 0 && !entry.has_session {
            shard.remove(client_id);
        }
    }

    fn shard(&self, client_id: &str) -> MutexGuard<'_, Shard> {
        use std::hash::BuildHasher;
        let hash = foldhash::fast::FixedState::with_seed(!self.seed).hash_one(client_id);
        let index = (hash % Self::SHARDS as u64) as usize;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn of(owner: WorkerId) -> Self {
        Self { owner, claims: 0, has_session: false }
    }
}

#[cfg(test)]
mod tests {
    use midge_core::WorkerId;

    use super::Directory;

    #[test]
    fn the_first_to_claim_owns_until_its_session_ends() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert_eq!(directory.claim("client", one), one);
        assert_eq!(directory.claim("client", two), one);
        directory.settle("client", one, true);
        directory.release("client", two);
        assert_eq!(directory.claim("client", two), one);
        directory.release("client", one);
        assert_eq!(directory.claim("client", two), two);
    }

    #[test]
    fn a_refused_connect_takes_nothing_from_another_one() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        directory.claim("client", one);
        directory.claim("client", one);
        directory.settle("client", one, false);
        assert_eq!(directory.claim("client", two), one, "the other CONNECT is under way");
        directory.settle("client", one, false);
        assert_eq!(directory.claim("client", two), two);
    }

    #[test]
    fn a_session_that_ends_leaves_a_connect_its_owner() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        directory.note_session("client", one);
        directory.claim("client", one);
        directory.release("client", one);
        assert_eq!(directory.claim("client", two), one);
    }
}
