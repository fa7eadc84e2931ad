//! Which worker owns the Session of a Client Identifier.
//!
//! The directory is asked only at CONNECT, never for a message. A connection that came to another
//! worker is handed over to the owner, so a Session never has two owners.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use midge_core::WorkerId;

type Shard = HashMap<Box<str>, Owner, foldhash::fast::FixedState>;

#[derive(Debug)]
struct Owner {
    worker: WorkerId,
    /// CONNECT packets at the owner that are not decided yet. While there is one, the owner stays,
    /// so that none of them can make a second Session elsewhere.
    claims: u32,
}

/// The directory of one node. An entry stays while its worker has a Session of this Client
/// Identifier, or a CONNECT that may make one.
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

    /// Returns the owner of this Client Identifier: the present owner if there is one, otherwise
    /// `worker`, which then becomes the owner. A result of `worker` is a claim, to be given back by
    /// [`Directory::end_claim`].
    pub(crate) fn owner_or_claim(&self, client_id: &str, worker: WorkerId) -> WorkerId {
        match self.shard(client_id).entry_ref(client_id) {
            EntryRef::Occupied(mut entry) => {
                let owner = entry.get_mut();
                owner.claims += u32::from(owner.worker == worker);
                owner.worker
            }
            EntryRef::Vacant(entry) => entry.insert(Owner { worker, claims: 1 }).worker,
        }
    }

    /// Makes the worker the owner of this Client Identifier, because the store has kept a Session
    /// of it.
    pub(crate) fn own(&self, client_id: &str, worker: WorkerId) {
        self.shard(client_id).entry_ref(client_id).or_insert(Owner { worker, claims: 0 });
    }

    /// Ends a claim, because the CONNECT at the owner is decided or its connection is gone.
    pub(crate) fn end_claim(&self, client_id: &str, worker: WorkerId, has_session: bool) {
        let mut shard = self.shard(client_id);
        if let Some(owner) = shard.get_mut(client_id)
            && owner.worker == worker
        {
            owner.claims = owner.claims.saturating_sub(1);
            if owner.claims == 0 && !has_session {
                shard.remove(client_id);
            }
        }
    }

    /// Ends the ownership of a worker that has no Session of this Client Identifier any more.
    pub(crate) fn release(&self, client_id: &str, worker: WorkerId) {
        let mut shard = self.shard(client_id);
        let owner = shard.get(client_id);
        if owner.is_some_and(|owner| owner.worker == worker && owner.claims == 0) {
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
    fn the_first_to_claim_owns_until_its_session_ends() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert_eq!(directory.owner_or_claim("client", one), one);
        directory.end_claim("client", one, true);
        assert_eq!(directory.owner_or_claim("client", two), one);
        directory.release("client", two);
        assert_eq!(directory.owner_or_claim("client", two), one);
        directory.release("client", one);
        assert_eq!(directory.owner_or_claim("client", two), two);
    }

    #[test]
    fn every_claim_keeps_the_owner() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert_eq!(directory.owner_or_claim("client", one), one);
        assert_eq!(directory.owner_or_claim("client", one), one);
        directory.end_claim("client", one, false);
        directory.release("client", one);
        assert_eq!(directory.owner_or_claim("client", two), one);
        directory.end_claim("client", one, false);
        assert_eq!(directory.owner_or_claim("client", two), two);
    }

    #[test]
    fn what_the_store_has_kept_is_its_workers() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        directory.own("client", one);
        assert_eq!(directory.owner_or_claim("client", two), one);
        directory.release("client", one);
        assert!(directory.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
