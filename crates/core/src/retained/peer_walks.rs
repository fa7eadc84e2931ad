//! The walks over this worker's retained messages that other workers have begun. A walk belongs to
//! the worker that began it, and its name is never given to another walk.

use std::collections::BTreeMap;

use crate::base::identity::WorkerId;
use crate::boundary::peer_messages::WalkId;
use crate::tree::retained_tree::RetainedWalk;

/// The walks on behalf of other workers.
#[derive(Debug, Default)]
pub(crate) struct PeerWalks {
    walks: BTreeMap<WalkId, (WorkerId, RetainedWalk)>,
    last: WalkId,
}

impl PeerWalks {
    /// Adds a walk that a worker has begun; returns its name.
    pub(crate) fn begin(&mut self, by: WorkerId, walk: RetainedWalk) -> WalkId {
        self.last += 1;
        self.walks.insert(self.last, (by, walk));
        self.last
    }

    /// The walk of this name, if it is this worker's and has not ended.
    pub(crate) fn get_mut(&mut self, by: WorkerId, id: WalkId) -> Option<&mut RetainedWalk> {
        let (owner, walk) = self.walks.get_mut(&id)?;
        (*owner == by).then_some(walk)
    }

    /// Takes out a walk that ends.
    pub(crate) fn end(&mut self, by: WorkerId, id: WalkId) -> Option<RetainedWalk> {
        self.get_mut(by, id)?;
        self.walks.remove(&id).map(|(_, walk)| walk)
    }

    /// Takes out all walks of a worker that is gone.
    pub(crate) fn end_all(&mut self, gone: WorkerId) -> Vec<RetainedWalk> {
        let own = self.walks.iter().filter(|(_, (owner, _))| *owner == gone);
        let ids: Vec<_> = own.map(|(&id, _)| id).collect();
        ids.into_iter().filter_map(|id| self.end(gone, id)).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RetainedWalk> {
        self.walks.values().map(|(_, walk)| walk)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::PeerWalks;
    use crate::base::budget::{Allowance, NodeBudget};
    use crate::base::identity::WorkerId;
    use crate::tree::retained_tree::RetainedTree;

    #[test]
    fn a_walk_that_has_ended_is_never_another_one() {
        let allowance = Allowance { count_max: 1, bytes_max: 1 };
        let mut tree = RetainedTree::new(1, allowance, Arc::new(NodeBudget::default()));
        let [one, two] = [1, 2].map(WorkerId::new);
        let mut walks = PeerWalks::default();
        let first = walks.begin(one, tree.begin_walk("a"));
        assert!(walks.get_mut(one, first).is_some());
        assert!(walks.get_mut(two, first).is_none() && walks.end(two, first).is_none());
        assert!(walks.end(one, first).is_some());
        let second = walks.begin(one, tree.begin_walk("b"));
        assert!(second != first && walks.get_mut(one, first).is_none());
        let other = walks.begin(two, tree.begin_walk("c"));
        assert_eq!(walks.end_all(one).len(), 1);
        assert!(walks.get_mut(one, second).is_none() && walks.get_mut(two, other).is_some());
    }
}
