//! The table in which a level tree finds the children of nodes that have several.
//!
//! Open addressing with linear probing over eight-byte entries that hold their hash: a look-up in a
//! tree of millions touches one cache line here and one of the node it finds, and growing does not
//! touch the nodes at all.

use crate::tree::level_tree::{NONE, NodeIndex};

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    node: NodeIndex,
}

const VACANT: Entry = Entry { hash: 0, node: NONE };

#[derive(Debug, Default)]
pub(crate) struct ChildTable {
    /// Their number is a power of two (or 0), and at most two thirds of them are taken.
    entries: Vec<Entry>,
    taken: usize,
}

impl ChildTable {
    /// Returns the node with this hash for which `is_it` is true, or `NONE`.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(NodeIndex) -> bool) -> NodeIndex {
        if self.entries.is_empty() {
            return NONE;
        }
        let mask = self.entries.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.entries[at];
            if entry.node == NONE || (entry.hash == hash && is_it(entry.node)) {
                return entry.node;
            }
            at = (at + 1) & mask;
        }
    }

    /// Makes room for this many nodes more.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        let needed = ((self.taken + nodes) * 3 / 2 + 1).next_power_of_two();
        if needed > self.entries.len() {
            self.resize(needed);
        }
    }

    /// Adds a node that is not in the table yet.
    pub(crate) fn insert(&mut self, hash: u32, node: NodeIndex) {
        if (self.taken + 1) * 3 > self.entries.len() * 2 {
            self.grow();
        }
        self.taken += 1;
        self.place(Entry { hash, node });
    }

    /// Takes a node out and closes the gap, so that no look-up ever passes over dead entries.
    pub(crate) fn remove(&mut self, hash: u32, node: NodeIndex) {
        let Some(mut gap) = self.position(hash, node) else {
            return;
        };
        self.taken -= 1;
        let mask = self.entries.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.node == NONE {
                break;
            }
            let home = entry.hash as usize & mask;
            // The entry may move to the gap unless the gap is before the place where its search
            // begins.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.entries[gap] = entry;
                gap = at;
            }
        }
        self.entries[gap] = VACANT;
    }

    fn position(&self, hash: u32, node: NodeIndex) -> Option<usize> {
        let mask = self.entries.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        while self.entries[at].node != NONE {
            if self.entries[at].node == node {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn place(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut at = entry.hash as usize & mask;
        while self.entries[at].node != NONE {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    /// Gives back what the table has become too large for.
    pub(crate) fn shrink(&mut self) {
        let needed = match self.taken {
            0 => 0,
            taken => (taken * 2).next_power_of_two().max(16),
        };
        if needed * 2 < self.entries.len() {
            self.resize(needed);
        }
    }

    fn grow(&mut self) {
        self.resize((self.entries.len() * 2).max(16));
    }

    fn resize(&mut self, length: usize) {
        let old = std::mem::replace(&mut self.entries, vec![VACANT; length]);
        for entry in old.into_iter().filter(|entry| entry.node != NONE) {
            self.place(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::ChildTable;
    use crate::tree::level_tree::NONE;

    proptest! {
        /// Few hashes, so that entries crowd and wrap around.
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((0_u32..40, any::<bool>()), 0..300)) {
            let hash = |node: u32| (node % 5).wrapping_sub(2);
            let (mut table, mut set) = (ChildTable::default(), BTreeSet::new());
            for (node, is_wanted) in steps {
                if node == 7 {
                    table.reserve(20);
                }
                match (is_wanted, set.contains(&node)) {
                    (true, false) => {
                        set.insert(node);
                        table.insert(hash(node), node);
                    }
                    (false, _) => {
                        set.remove(&node);
                        table.remove(hash(node), node);
                    }
                    _ => (),
                }
                for other in 0..40 {
                    let found = table.find(hash(other), |candidate| candidate == other);
                    prop_assert_eq!(found != NONE, set.contains(&other));
                }
                prop_assert_eq!(table.taken, set.len());
            }
        }
    }
}
