//! A tree of topic levels in one arena: the base of the subscription tree and the retained tree.
//!
//! An only child is found through its parent; the children of all nodes that have several are found
//! through one hash table keyed by (parent, level). So a node costs nothing for children that it
//! does not have, and a look-up costs at most one probe, and none for most levels of a large tree.
//!
//! A leaf may stand for the rest of its path ([`LevelTree::insert`]): most topics and filters of a
//! large tree have levels that no other one shares, and one node is enough for them.
//! Nothing here recurses: a topic of 65,535 levels costs time, not stack.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::tree::child_table::ChildTable;

/// The index of a node in its arena.
pub(crate) type NodeIndex = u32;

/// The root: the parent of all first levels. It always exists.
pub(crate) const ROOT: NodeIndex = 0;

/// No node.
pub(crate) const NONE: NodeIndex = u32::MAX;

/// A level of a topic, with the rest of the path behind it if the node stands for all of it. Most
/// are short and live inside the node.
#[derive(Debug)]
enum Level {
    Inline { level_len: u8, length: u8, bytes: [u8; 21] },
    Heap { level_len: u16, text: Box<str> },
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
    /// Less than this is not given back.
    const SPARE_BYTES_MIN: usize = 256 * 1024;

    pub(crate) fn new(seed: u64) -> Self {
        let root = Node::new("", NONE);
        let hasher = FixedState::with_seed(seed);
        Self { nodes: vec![root], free: Vec::new(), children: ChildTable::default(), hasher }
    }

    /// Makes room for this many nodes more.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        self.reserve_nodes(nodes);
        self.children.reserve(nodes);
    }

    /// Makes room for this many nodes more, which may not all come: it takes no memory before.
    pub(crate) fn reserve_nodes(&mut self, nodes: usize) {
        self.nodes.reserve_exact(nodes.saturating_sub(self.free.len()));
    }

    #[inline]
    pub(crate) fn value(&self, node: NodeIndex) -> &T {
        &self.nodes[node as usize].value
    }

    #[inline]
    pub(crate) fn value_mut(&mut self, node: NodeIndex) -> &mut T {
        &mut self.nodes[node as usize].value
    }

    /// The node's own level.
    pub(crate) fn level(&self, node: NodeIndex) -> &str {
        let (level, _) = self.nodes[node as usize].level.parts();
        std::str::from_utf8(level).unwrap_or_default()
    }

    /// The levels behind the node's own one that it stands for, too. It has no children then.
    #[inline]
    pub(crate) fn rest(&self, node: NodeIndex) -> Option<&[u8]> {
        self.nodes[node as usize].level.parts().1
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
        if node.level.is(level) {
            return first;
        }
        if node.next_sibling == NONE {
            return NONE;
        }
        self.children.find(child_hash(parent, level_hash()), |candidate| {
            let node = &self.nodes[candidate as usize];
            node.parent == parent && node.level.is(level)
        })
    }

    /// Returns the node at the end of `path`, or `NONE`.
    pub(crate) fn find(&self, path: &str) -> NodeIndex {
        let (mut node, mut at) = (ROOT, 0);
        for level in levels(path) {
            node = self.child(node, level, || self.hash_level(level));
            if node == NONE {
                return NONE;
            }
            at += level.len() + 1;
            if let Some(rest) = self.rest(node) {
                let is_it = path.as_bytes().get(at..) == Some(rest);
                return if is_it { node } else { NONE };
            }
        }
        node
    }

    /// Returns the node at the end of `path`; makes it if it does not exist. Levels that no other
    /// path shares are one node. `on_link` gets the value of each node that gets a child, with the
    /// child's own level and the child.
    pub(crate) fn insert(
        &mut self,
        path: &str,
        mut on_link: impl FnMut(&mut T, &str, NodeIndex),
    ) -> NodeIndex {
        let (mut node, mut path) = (ROOT, path);
        loop {
            let level = &path[..first_level_len(path.as_bytes())];
            let behind = path.get(level.len() + 1..);
            let child = self.child(node, level.as_bytes(), || self.hash_level(level.as_bytes()));
            if child == NONE {
                let leaf = self.insert_child(node, path);
                on_link(self.value_mut(node), level, leaf);
                return leaf;
            }
            if self.rest(child) == behind.map(str::as_bytes) {
                return child;
            }
            self.split(child, &mut on_link);
            match behind {
                Some(behind) => (node, path) = (child, behind),
                None => return child,
            }
        }
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
            levels.push(self.nodes[at as usize].level.as_str());
            at = self.parent(at);
        }
        levels.reverse();
        levels.join("/")
    }

    /// Gives back the room of nodes that have gone, as far as no other node lies behind it. For
    /// times when memory is short: it may look at all nodes.
    pub(crate) fn give_back(&mut self) {
        let spare = self.nodes.capacity() - self.nodes.len() + self.free.len();
        if spare * size_of::<Node<T>>() < Self::SPARE_BYTES_MIN {
            return;
        }
        let last = (1..self.nodes.len()).rev().find(|&index| self.is_in_use(index as NodeIndex));
        let length = last.unwrap_or(0) + 1;
        self.nodes.truncate(length);
        self.free.retain(|&index| (index as usize) < length);
        self.nodes.shrink_to_fit();
        self.free.shrink_to_fit();
        self.children.shrink();
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

    /// Lets a node stand for its own level only, if there are more: a child gets those, and the
    /// value.
    fn split(&mut self, node: NodeIndex, on_link: &mut impl FnMut(&mut T, &str, NodeIndex)) {
        let upper = &mut self.nodes[node as usize];
        let (_, Some(_)) = upper.level.parts() else {
            return;
        };
        let text = std::mem::replace(&mut upper.level, Level::new(""));
        let (level, rest) = text.as_str().split_once('/').unwrap_or_default();
        upper.level = Level::new(level);
        let value = std::mem::take(&mut upper.value);
        let child = self.place(Node { value, ..Node::new(rest, node) });
        self.nodes[node as usize].first_child = child;
        let first = rest.split('/').next().unwrap_or_default();
        on_link(&mut self.nodes[node as usize].value, first, child);
    }

    fn hash_of(&self, node: NodeIndex) -> u32 {
        let (level, _) = self.nodes[node as usize].level.parts();
        child_hash(self.parent(node), self.hash_level(level))
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
        let level_len = first_level_len(text.as_bytes());
        let mut bytes = [0; 21];
        match bytes.get_mut(..text.len()) {
            Some(inline) => {
                inline.copy_from_slice(text.as_bytes());
                Self::Inline { level_len: level_len as u8, length: text.len() as u8, bytes }
            }
            None => Self::Heap { level_len: level_len as u16, text: text.into() },
        }
    }

    /// The first level, and what is behind it.
    #[inline]
    fn parts(&self) -> (&[u8], Option<&[u8]>) {
        let (level_len, text) = match self {
            Self::Inline { level_len, length, bytes } => {
                (usize::from(*level_len), &bytes[..usize::from(*length)])
            }
            Self::Heap { level_len, text } => (usize::from(*level_len), text.as_bytes()),
        };
        (&text[..level_len], text.get(level_len + 1..))
    }

    /// Whether the first level is this one.
    #[inline]
    fn is(&self, level: &[u8]) -> bool {
        match self {
            Self::Inline { level_len, bytes, .. } => bytes[..usize::from(*level_len)] == *level,
            Self::Heap { level_len, text } => text.as_bytes()[..usize::from(*level_len)] == *level,
        }
    }

    #[inline]
    fn as_str(&self) -> &str {
        match self {
            Self::Inline { length, bytes, .. } => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default()
            }
            Self::Heap { text, .. } => text,
        }
    }
}

/// Returns the levels of a topic or filter. They are short: looking at each byte costs less than a
/// search that is made for long texts.
#[inline]
pub(crate) fn levels(path: &(impl AsRef<[u8]> + ?Sized)) -> impl Iterator<Item = &[u8]> {
    path.as_ref().split(|&byte| byte == b'/')
}

/// Returns the length of the first level in bytes.
#[inline]
pub(crate) fn first_level_len(path: &[u8]) -> usize {
    path.iter().position(|&byte| byte == b'/').unwrap_or(path.len())
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
    fn the_room_of_what_has_gone_is_given_back() {
        const COUNT: u32 = 20_000;
        let bytes_of = |tree: &LevelTree<u32>| {
            tree.nodes.capacity() * size_of::<super::Node<u32>>() + tree.free.capacity() * 4
        };
        let mut tree = LevelTree::new(1);
        let path = |number: u32| format!("{}/{number}", number % 7);
        (1..=COUNT).for_each(|number| _ = insert(&mut tree, &path(number), number));
        let full = bytes_of(&tree);
        let remove = |tree: &mut LevelTree<u32>, number| {
            let node = tree.find(&path(number));
            *tree.value_mut(node) = 0;
            tree.prune(node, |_, _| ());
        };
        // One that came late keeps the room before it.
        (1..COUNT).for_each(|number| remove(&mut tree, number));
        tree.give_back();
        assert_eq!((tree.len(), *tree.value(tree.find(&path(COUNT)))), (2, COUNT));
        remove(&mut tree, COUNT);
        tree.give_back();
        assert!(bytes_of(&tree) < full / 1_000, "{} of {full} bytes", bytes_of(&tree));
        // It is as good as new.
        (1..=COUNT).for_each(|number| _ = insert(&mut tree, &path(number), number));
        assert!((1..=COUNT).all(|number| *tree.value(tree.find(&path(number))) == number));
    }

    #[test]
    fn levels_that_nobody_shares_are_one_node() {
        let mut tree = LevelTree::<u32>::new(1);
        let mut links = Vec::new();
        let mut insert = |tree: &mut LevelTree<u32>, path: &str, value| {
            let node = tree.insert(path, |_, level, child| links.push((level.to_owned(), child)));
            *tree.value_mut(node) = value;
            node
        };
        let first = insert(&mut tree, "a/b/c/d", 1);
        assert_eq!((tree.len(), tree.rest(first)), (1, Some(&b"b/c/d"[..])));
        assert_eq!(insert(&mut tree, "a/b/c/d", 1), first);
        let long = "a/b/a level that is longer than a node holds/and one more";
        for (value, path) in (2..).zip(["a", "a/b/c/d/e", "a/b/x", long, "a/", "a//", "/"]) {
            insert(&mut tree, path, value);
        }
        let paths = ["a/b/c/d", "a", "a/b/c/d/e", "a/b/x", long, "a/", "a//", "/"];
        for (value, path) in (1..).zip(paths) {
            let node = tree.find(path);
            assert_eq!((*tree.value(node), tree.path(node)), (value, path.to_string()));
        }
        for path in ["a/b/c", "a/b/a level that is longer than a node holds", "b", "a/b/c/d/e/f"] {
            assert!(tree.find(path) == NONE || *tree.value(tree.find(path)) == 0, "{path}");
        }
        assert_eq!(links.len(), tree.len(), "each node was linked once");
        for path in paths {
            let node = tree.find(path);
            *tree.value_mut(node) = 0;
            tree.prune(node, |_, _| ());
        }
        assert_eq!(tree.len(), 0);
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
