//! Which worker owns the Session of a Client Identifier.
//!
//! Asked at CONNECT only, never for a message. A connection that came to another worker is handed
//! over to the owner, so a Session never has two.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use midge_core::WorkerId;

type Shard = HashMap<Box<str>, WorkerId, foldhash::fast::FixedState>;

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

    /// The owner of this Client Identifier: who has it already, else `worker` from now on.
    pub(crate) fn owner_or_claim(&self, client_id: &str, worker: WorkerId) -> WorkerId {
        match self.shard(client_id).entry_ref(client_id) {
            EntryRef::Occupied(entry) => *entry.get(),
            EntryRef::Vacant(entry) => *entry.insert(worker),
        }
    }

    /// The worker has no Session of this Client Identifier any more.
    pub(crate) fn release(&self, client_id: &str, worker: WorkerId) {
        let mut shard = self.shard(client_id);
        if shard.get(client_id) == Some(&worker) {
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

#[cfg(test)]
mod tests {
    use midge_core::WorkerId;

    use super::Directory;

    #[test]
    fn the_first_to_claim_owns_until_it_releases() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert_eq!(directory.owner_or_claim("client", one), one);
        assert_eq!(directory.owner_or_claim("client", two), one);
        directory.release("client", two);
        assert_eq!(directory.owner_or_claim("client", two), one);
        directory.release("client", one);
        assert_eq!(directory.owner_or_claim("client", two), two);
    }
}
