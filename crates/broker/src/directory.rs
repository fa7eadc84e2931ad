//! Which worker owns the Session of a Client Identifier.
//!
//! The directory is asked at CONNECT and for requests about a Client, never for a message. A
//! connection that came to another worker is handed over to the owner, so a Session never has two
//! owners.

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
    /// Whether the Session is on its way to another worker. Until it is there, every CONNECT waits.
    is_moving: bool,
}

/// To whom a CONNECT with some Client Identifier belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// To the worker that has asked, which has a claim now.
    Own,
    Other(WorkerId),
    /// To nobody yet: it has to be asked again when the Session has moved. It was at this worker.
    Moving(WorkerId),
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

    /// Says who owns this Client Identifier: the present owner if there is one, otherwise `worker`,
    /// which then becomes the owner. [`Ownership::Own`] is a claim, to be given back by
    /// [`Directory::end_claim`].
    pub(crate) fn owner_or_claim(&self, client_id: &str, worker: WorkerId) -> Ownership {
        match self.shard(client_id).entry_ref(client_id) {
            EntryRef::Occupied(mut entry) => {
                let owner = entry.get_mut();
                if owner.is_moving {
                    return Ownership::Moving(owner.worker);
                }
                if owner.worker != worker {
                    return Ownership::Other(owner.worker);
                }
                owner.claims += 1;
            }
            EntryRef::Vacant(entry) => {
                entry.insert(Owner { worker, claims: 1, is_moving: false });
            }
        }
        Ownership::Own
    }

    /// Lets every CONNECT with this Client Identifier wait from now on, because the Session is to
    /// move. Returns false if a CONNECT is being decided, or `worker` is not the owner.
    pub(crate) fn begin_move(&self, client_id: &str, worker: WorkerId) -> bool {
        let mut shard = self.shard(client_id);
        let owner = shard.get_mut(client_id);
        let owner = owner.filter(|it| it.worker == worker && it.claims == 0 && !it.is_moving);
        owner.map(|owner| owner.is_moving = true).is_some()
    }

    /// Makes `worker` the owner of a Session that has moved there, or that stays there after all.
    pub(crate) fn end_move(&self, client_id: &str, worker: WorkerId, has_session: bool) {
        let mut shard = self.shard(client_id);
        let owner = shard.get_mut(client_id).filter(|owner| owner.is_moving);
        if let Some(owner) = owner {
            (owner.worker, owner.is_moving) = (worker, false);
            if !has_session {
                shard.remove(client_id);
            }
        }
    }

    /// Whether the Session of this Client Identifier is on its way to another worker.
    pub(crate) fn is_moving(&self, client_id: &str) -> bool {
        self.shard(client_id).get(client_id).is_some_and(|owner| owner.is_moving)
    }

    /// The worker that owns the Session of this Client Identifier. While the Session moves, that is
    /// the worker where it was.
    pub(crate) fn owner(&self, client_id: &str) -> Option<WorkerId> {
        self.shard(client_id).get(client_id).map(|owner| owner.worker)
    }

    /// Makes the worker the owner of this Client Identifier, because the store has kept a Session
    /// of it.
    pub(crate) fn own(&self, client_id: &str, worker: WorkerId) {
        let owner = Owner { worker, claims: 0, is_moving: false };
        self.shard(client_id).entry_ref(client_id).or_insert(owner);
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
    pub(crate) fn disown(&self, client_id: &str, worker: WorkerId) {
        let mut shard = self.shard(client_id);
        let owner = shard.get(client_id);
        let is_free = |it: &Owner| it.worker == worker && it.claims == 0 && !it.is_moving;
        if owner.is_some_and(is_free) {
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
    use super::Ownership::{Moving, Other, Own};

    #[test]
    fn the_first_to_claim_owns_until_its_session_ends() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert_eq!(directory.owner_or_claim("client", one), Own);
        directory.end_claim("client", one, true);
        assert_eq!(directory.owner_or_claim("client", two), Other(one));
        directory.disown("client", two);
        assert_eq!(directory.owner_or_claim("client", two), Other(one));
        directory.disown("client", one);
        assert_eq!(directory.owner_or_claim("client", two), Own);
    }

    #[test]
    fn every_claim_keeps_the_owner() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert_eq!(directory.owner_or_claim("client", one), Own);
        assert_eq!(directory.owner_or_claim("client", one), Own);
        directory.end_claim("client", one, false);
        directory.disown("client", one);
        assert_eq!(directory.owner_or_claim("client", two), Other(one));
        directory.end_claim("client", one, false);
        assert_eq!(directory.owner_or_claim("client", two), Own);
    }

    #[test]
    fn what_the_store_has_kept_is_its_workers() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        directory.own("client", one);
        assert_eq!(directory.owner_or_claim("client", two), Other(one));
        directory.disown("client", one);
        assert!(directory.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn every_connect_waits_while_a_session_moves() {
        let (one, two) = (WorkerId::new(1), WorkerId::new(2));
        let directory = Directory::new(7);
        assert!(!directory.begin_move("client", one), "nobody has it");
        directory.owner_or_claim("client", one);
        assert!(!directory.begin_move("client", one), "a CONNECT is being decided");
        directory.end_claim("client", one, true);
        assert!(!directory.begin_move("client", two), "another one has it");
        assert!(directory.begin_move("client", one) && !directory.begin_move("client", one));
        let asked = [one, two].map(|worker| directory.owner_or_claim("client", worker));
        assert_eq!((asked, directory.is_moving("client")), ([Moving(one); 2], true));
        assert_eq!(directory.owner("client"), Some(one));
        directory.disown("client", one);
        directory.end_move("client", two, true);
        assert_eq!(directory.owner_or_claim("client", one), Other(two));
        assert_eq!((directory.owner("client"), directory.owner("other")), (Some(two), None));
        assert!(directory.begin_move("client", two));
        directory.end_move("client", two, false);
        assert_eq!(directory.owner_or_claim("client", one), Own, "it has ended meanwhile");
    }
}
