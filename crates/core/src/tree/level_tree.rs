//! A tree of topic levels in one arena: the base of the subscription tree and the retained tree.
//!
//! An only child is found through its parent; the children of all nodes that have several are found
//! through one hash table keyed by (parent, level). So a node costs nothing for children that it
//! does not have, and a look-up costs at most one probe, and none for most levels of a large tree.
//! Nothing here recurses: a topic of 65,535 levels costs time, not stack (S07).

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::tree::child_table::ChildTable;

/// The index of a node in its arena.
pub(crate) type NodeIndex = u32;

/// The root: the parent of all first levels. It always exists.
pub(crate) const ROOT: NodeIndex = 0;

/// No node.
pub(crate) const NONE: NodeIndex = u32::MAX;

/// A level of a topic. Most are short and live inside the node.
#[derive(Debug)]
enum Level {
    Inline { length: u8, bytes: [u8; 22] },
    Heap(Box<str>),
}

/// Begins at a cache line: the nodes of a large tree are visited one at a time, in scattered
/// places.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Node<T> {
    value: T,
    level: Level,
    parent: NodeIndex,
    first_child: NodeIndex,
    next_sibling: NodeIndex,
    previous_sibling: NodeIndex,
}

/// The arena. `T` is what a node holds besides its place; [`Vacant`] says when it holds nothing.
#[derive(Debug)]
pub(crate) struct LevelTree<T> {
    nodes: Vec<Node<T>>,
    free: Vec<NodeIndex>,
    /// The children of nodes that have several.
    children: ChildTable,
    hasher: FixedState,
}

/// A value that can be empty: a leaf with an empty value is taken out of the tree.
pub(crate) trait Vacant: Default {
    fn is_vacant(&self) -> bool;
}

impl<T: Vacant> LevelTree<T> {
    pub(crate) fn new(seed: u64) -> Self {
        let root = Node::new("", NONE);
        let hasher = FixedState::with_seed(seed);
        Self { nodes: vec![root], free: Vec::new(), children: ChildTable::default(), hasher }
    }

    #[inline]
    pub(crate) fn value(&self, node: NodeIndex) -> &T {
        &self.nodes[node as usize].value
    }

    #[inline]
    pub(crate) fn value_mut(&mut self, node: NodeIndex) -> &mut T {
        &mut self.nodes[node as usize].value
    }

    pub(crate) fn level(&self, node: NodeIndex) -> &str {
        self.nodes[node as usize].level.as_str()
    }

    pub(crate) fn parent(&self, node: NodeIndex) -> NodeIndex {
        self.nodes[node as usize].parent
    }

    pub(crate) fn first_child(&self, node: NodeIndex) -> NodeIndex {
        self.nodes[node as usize].first_child
    }

    pub(crate) fn next_sibling(&self, node: NodeIndex) -> NodeIndex {
        self.nodes[node as usize].next_sibling
    }

    /// Returns the hash of a level, which serves for any number of parents.
    #[inline]
    pub(crate) fn hash_level(&self, level: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(level);
        hasher.finish()
    }

    /// Returns the child of `parent` called `level`, or `NONE`. The hash is asked for only if there
    /// are several children.
    #[inline]
    pub(crate) fn child(
        &self,
        parent: NodeIndex,
        level: &[u8],
        level_hash: impl FnOnce() -> u64,
    ) -> NodeIndex {
        let first = self.first_child(parent);
        if first == NONE {
            return NONE;
        }
        let node = &self.nodes[first as usize];
        if node.level.as_bytes() == level {
            return first;
        }
        if node.next_sibling == NONE {
            return NONE;
        }
        self.children.find(child_hash(parent, level_hash()), |candidate| {
            let node = &self.nodes[candidate as usize];
            node.parent == parent && node.level.as_bytes() == level
        })
    }

    /// Returns the node at the end of `path`, or `NONE`.
    pub(crate) fn find(&self, path: &str) -> NodeIndex {
        let mut node = ROOT;
        for level in levels(path) {
            node = self.child(node, level, || self.hash_level(level));
            if node == NONE {
                return NONE;
            }
        }
        node
    }

    /// Returns the child of `parent` called `level`; makes it if it does not exist.
    pub(crate) fn child_or_insert(&mut self, parent: NodeIndex, level: &str) -> NodeIndex {
        match self.child(parent, level.as_bytes(), || self.hash_level(level.as_bytes())) {
            NONE => self.insert_child(parent, level),
            child => child,
        }
    }

    /// Takes out `node` and then its ancestors, as long as they have neither a value nor children.
    /// `on_remove` gets the parent's value and the index of each node that goes.
    pub(crate) fn prune(&mut self, node: NodeIndex, mut on_remove: impl FnMut(&mut T, NodeIndex)) {
        let mut node = node;
        while self.is_in_use(node) && self.is_empty_leaf(node) {
            let parent = self.parent(node);
            self.remove_leaf(node);
            on_remove(&mut self.nodes[parent as usize].value, node);
            node = parent;
        }
    }

    /// The whole path down to `node`.
    #[cfg(test)]
    pub(crate) fn path(&self, node: NodeIndex) -> String {
        let mut levels = Vec::new();
        let mut at = node;
        while at != ROOT {
            levels.push(self.level(at));
            at = self.parent(at);
        }
        levels.reverse();
        levels.join("/")
    }

    /// Nodes in use, the root not counted.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len() - 1
    }

    /// Whether the node is part of the tree: the root and free slots have no parent.
    fn is_in_use(&self, node: NodeIndex) -> bool {
        self.parent(node) != NONE
    }

    fn is_empty_leaf(&self, node: NodeIndex) -> bool {
        let node = &self.nodes[node as usize];
        node.first_child == NONE && node.value.is_vacant()
    }

    fn insert_child(&mut self, parent: NodeIndex, level: &str) -> NodeIndex {
        let next = self.first_child(parent);
        let mut node = Node::new(level, parent);
        node.next_sibling = next;
        let index = self.place(node);
        self.nodes[parent as usize].first_child = index;
        if next != NONE {
            if self.next_sibling(next) == NONE {
                self.children.insert(self.hash_of(next), next); // an only child no longer
            }
            self.nodes[next as usize].previous_sibling = index;
            self.children.insert(self.hash_of(index), index);
        }
        index
    }

    fn hash_of(&self, node: NodeIndex) -> u32 {
        child_hash(self.parent(node), self.hash_level(self.level(node).as_bytes()))
    }

    fn place(&mut self, node: Node<T>) -> NodeIndex {
        match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as NodeIndex
            }
        }
    }

    fn remove_leaf(&mut self, index: NodeIndex) {
        let node = &self.nodes[index as usize];
        let (parent, next, previous) = (node.parent, node.next_sibling, node.previous_sibling);
        if (next, previous) != (NONE, NONE) {
            self.children.remove(self.hash_of(index), index);
        }
        if next != NONE {
            self.nodes[next as usize].previous_sibling = previous;
        }
        match previous {
            NONE => self.nodes[parent as usize].first_child = next,
            sibling => self.nodes[sibling as usize].next_sibling = next,
        }
        let first = self.first_child(parent);
        if first != NONE && self.next_sibling(first) == NONE {
            self.children.remove(self.hash_of(first), first); // an only child now
        }
        self.nodes[index as usize] = Node::new("", NONE);
        self.free.push(index);
    }
}

impl<T: Default> Node<T> {
    fn new(level: &str, parent: NodeIndex) -> Self {
        Self {
            value: T::default(),
            level: Level::new(level),
            parent,
            first_child: NONE,
            next_sibling: NONE,
            previous_sibling: NONE,
        }
    }
}

impl Level {
    fn new(text: &str) -> Self {
        let mut bytes = [0; 22];
        match bytes.get_mut(..text.len()) {
            Some(inline) => {
                inline.copy_from_slice(text.as_bytes());
                Self::Inline { length: text.len() as u8, bytes }
            }
            None => Self::Heap(text.into()),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Heap(text) => text.as_bytes(),
        }
    }

    #[inline]
    fn as_str(&self) -> &str {
        match self {
            Self::Inline { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Heap(text) => text,
        }
    }
}

/// Returns the levels of a topic or filter. They are short: looking at each byte costs less than a
/// search that is made for long texts.
#[inline]
pub(crate) fn levels(path: &str) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|&byte| byte == b'/')
}

#[inline]
fn child_hash(parent: NodeIndex, level_hash: u64) -> u32 {
    ((level_hash ^ u64::from(parent)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::{LevelTree, NONE, ROOT, Vacant};

    impl Vacant for u32 {
        fn is_vacant(&self) -> bool {
            *self == 0
        }
    }

    fn insert(tree: &mut LevelTree<u32>, path: &str, value: u32) -> u32 {
        let node = path.split('/').fold(ROOT, |node, level| tree.child_or_insert(node, level));
        *tree.value_mut(node) = value;
        node
    }

    #[test]
    fn a_path_is_found_again() {
        let mut tree = LevelTree::new(1);
        let paths = ["a/b/c", "", "/", "a//", "a/a level that is longer than a node holds/x"];
        for (value, path) in (1..).zip(paths) {
            insert(&mut tree, path, value);
        }
        for (value, path) in (1..).zip(paths) {
            let node = tree.find(path);
            assert_eq!((*tree.value(node), tree.path(node)), (value, path.to_string()));
        }
        assert_eq!(tree.find("a/b/d"), NONE);
    }

    #[test]
    fn pruning_leaves_what_still_holds_something() {
        let mut tree = LevelTree::new(1);
        let upper = insert(&mut tree, "a/b", 7);
        let lower = insert(&mut tree, "a/b/c/d", 8);
        *tree.value_mut(lower) = 0;
        let mut removed = 0;
        tree.prune(lower, |_, _| removed += 1);
        assert_eq!((removed, tree.len()), (2, 2));
        *tree.value_mut(upper) = 0;
        tree.prune(upper, |_, _| ());
        assert_eq!(tree.len(), 0);
        insert(&mut tree, "x", 1);
        assert_eq!(tree.nodes.len(), 5, "slots are used again");
    }

    #[test]
    fn s07_deep_topic_does_not_recurse() {
        let mut tree = LevelTree::new(1);
        let deep = "/".repeat(65_535);
        let node = insert(&mut tree, &deep, 1);
        assert_eq!(tree.path(node), deep);
        *tree.value_mut(node) = 0;
        tree.prune(node, |_, _| ());
        assert_eq!(tree.len(), 0);
    }
}
