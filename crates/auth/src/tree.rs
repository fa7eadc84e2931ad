//! A tree of the patterns of many statements, each for a class of Clients, and how those that match
//! are found.
//!
//! A search visits each node at most once and does not recurse. So it costs as many steps as there
//! are nodes on matching paths, whatever the number of patterns, and as many comparisons at each of
//! them as the Client has classes. Levels with variables that stand in the same place are found by
//! the texts around their variables.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::pattern::{Pattern, PatternKind, PatternLevel, Piece, Values, are_level};

/// What a statement is about, besides the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) allows: bool,
    /// [`PUBLISH`], [`SUBSCRIBE`], [`RECEIVE`].
    pub(crate) actions: u8,
    /// As the bits of a `QosSet`.
    pub(crate) qos: u8,
    /// Bit 0: without RETAIN, bit 1: with it.
    pub(crate) retain: u8,
}

pub(crate) const PUBLISH: u8 = 1;
pub(crate) const SUBSCRIBE: u8 = 2;
pub(crate) const RECEIVE: u8 = 4;

/// A statement that a pattern ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The Clients that the statement is about.
    pub(crate) class: u32,
    pub(crate) statement: u32,
    pub(crate) terms: Terms,
}

/// What is asked: one bit of each of [`Terms`], or all where it does not matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) action: u8,
    pub(crate) qos: u8,
    pub(crate) retain: u8,
}

/// The first statement that denies and the first one that allows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) denies: Option<u32>,
    pub(crate) allows: Option<u32>,
}

/// Patterns begin here, except for exact ones.
const ROOT: u32 = 0;
/// Exact patterns begin here.
const EXACT_ROOT: u32 = 1;

/// A tree of levels. What the nodes have stands in lists, one behind the other: that of a node ends
/// where the next one's begins.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Box<[Node]>,
    /// For each node sorted by class.
    ends: Box<[End]>,
    /// The same, for patterns that end with `#`.
    multi_ends: Box<[End]>,
    /// Levels with variables. For each node sorted by [`Around`].
    mixed: Box<[Mixed]>,
    /// The first ones in `mixed` of a node with the same texts around.
    mixed_by_texts: HashTable<u32>,
    /// Children by parent and text.
    literals: HashTable<u32>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Node {
    text: Box<str>,
    parent: u32,
    single: Option<NonZeroU32>,
    has_literals: bool,
    ends_from: u32,
    multi_ends_from: u32,
    mixed_from: u32,
}

/// A level with variables.
#[derive(Debug)]
struct Mixed {
    pieces: Box<[Piece]>,
    /// The node that it leads to, and the one that it leads away from.
    child: u32,
    parent: u32,
    /// For the first one with texts of these lengths around: where those with others begin.
    longer_from: u32,
}

/// A [`Tree`] that grows.
#[derive(Debug)]
pub(crate) struct TreeBuilder {
    nodes: Vec<GrowingNode>,
    literals: HashTable<u32>,
    hasher: FixedState,
    mixed: HashMap<(u32, Box<[Piece]>), u32>,
}

/// A [`Node`] while the tree grows.
#[derive(Debug, Default)]
struct GrowingNode {
    text: Box<str>,
    parent: u32,
    single: Option<NonZeroU32>,
    has_literals: bool,
    ends: Vec<End>,
    multi_ends: Vec<End>,
    mixed: Vec<(Box<[Piece]>, u32)>,
}

/// The texts before the first and behind the last variable of a level: their lengths, and what they
/// are.
type Around<'a> = ((usize, usize), (&'a [u8], &'a [u8]));

/// A question about one Client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) asked: Asked,
    /// The classes that the Client belongs to, sorted.
    pub(crate) classes: &'a [u32],
    pub(crate) values: &'a Values,
}

impl Terms {
    /// Returns whether everything that `other` is about, this is about.
    fn include(self, other: Self) -> bool {
        let covers = |own: u8, other: u8| own & other == other;
        self.allows == other.allows
            && covers(self.actions, other.actions)
            && covers(self.qos, other.qos)
            && covers(self.retain, other.retain)
    }
}

impl Found {
    fn note(&mut self, end: End, asked: Asked) {
        let Terms { allows, actions, qos, retain } = end.terms;
        if actions & asked.action == 0 || qos & asked.qos == 0 || retain & asked.retain == 0 {
            return;
        }
        let first = if allows { &mut self.allows } else { &mut self.denies };
        *first = Some(first.map_or(end.statement, |it| it.min(end.statement)));
    }

    /// Notes those of `ends` that are about the Client. Both `ends` and its classes are sorted, and
    /// either may be much longer than the other.
    fn note_all(&mut self, ends: &[End], question: Question<'_>) {
        if ends.len() < FEW_MAX {
            let is_about = |end: &&End| question.classes.binary_search(&end.class).is_ok();
            ends.iter().filter(is_about).for_each(|end| self.note(*end, question.asked));
            return;
        }
        let mut rest = ends;
        for class in question.classes {
            rest = &rest[rest.partition_point(|end| end.class < *class)..];
            let own = rest.iter().take_while(|end| end.class == *class);
            own.for_each(|end| self.note(*end, question.asked));
        }
    }
}

/// Fewer are looked at one by one.
const FEW_MAX: usize = 8;

impl Tree {
    /// Finds the statements whose patterns match a topic, or cover a Topic Filter.
    pub(crate) fn find(&self, name: &str, question: Question<'_>) -> Found {
        let mut found = Found::default();
        self.search(ROOT, name, question, &mut found);
        if self.has_exact() {
            self.search(EXACT_ROOT, name, question, &mut found);
        }
        found
    }

    fn has_exact(&self) -> bool {
        let [root, next] = [EXACT_ROOT, EXACT_ROOT + 1].map(|it| &self.nodes[it as usize]);
        root.has_literals || root.mixed_from < next.mixed_from
    }

    fn search(&self, root: u32, name: &str, question: Question<'_>, found: &mut Found) {
        // Nodes, and where in `name` the level behind each of them begins.
        let mut open = SmallVec::<[(u32, u32); 16]>::new();
        open.push((root, 0));
        while let Some((number, offset)) = open.pop() {
            let (node, next) = (&self.nodes[number as usize], &self.nodes[number as usize + 1]);
            let is_reserved = offset == 0 && name.starts_with('$');
            if !is_reserved {
                let range = node.multi_ends_from as usize..next.multi_ends_from as usize;
                found.note_all(&self.multi_ends[range], question);
            }
            let Some(rest) = name.get(offset as usize..) else {
                let range = node.ends_from as usize..next.ends_from as usize;
                found.note_all(&self.ends[range], question);
                continue;
            };
            let level = rest.find('/').map_or(rest, |end| &rest[..end]);
            // One more than the length of the name behind its last level.
            let behind = offset + level.len() as u32 + 1;
            if node.has_literals
                && let Some(child) = self.literal(number, level)
            {
                open.push((child, behind));
            }
            if let Some(child) = node.single.filter(|_| !is_reserved && level != "#") {
                open.push((child.get(), behind));
            }
            let range = node.mixed_from..next.mixed_from;
            self.for_each_candidate(range, level, |mixed| {
                if are_level(&mixed.pieces, level, offset == 0, question.values) {
                    open.push((mixed.child, behind));
                }
            });
        }
    }

    /// Calls `visit` with those of `mixed` that begin and end as `level` does; with all if they are
    /// few.
    fn for_each_candidate(&self, range: Range<u32>, level: &str, mut visit: impl FnMut(&Mixed)) {
        let mixed = &self.mixed[range.start as usize..range.end as usize];
        if mixed.len() < FEW_MAX {
            return mixed.iter().for_each(visit);
        }
        let (level, mut next) = (level.as_bytes(), range.start);
        while next < range.end {
            let first = &self.mixed[next as usize];
            next = first.longer_from;
            let (before, behind) = around(&first.pieces).0;
            // A value has at least one character.
            if before + behind >= level.len() {
                continue;
            }
            let texts = (&level[..before], &level[level.len() - behind..]);
            let has_texts = |it: &Mixed| it.parent == first.parent && around(&it.pieces).1 == texts;
            let hash = hash_texts(&self.hasher, first.parent, texts);
            let found = self.mixed_by_texts.find(hash, |it| has_texts(&self.mixed[*it as usize]));
            let candidates = found.map_or(&[][..], |from| &self.mixed[*from as usize..]);
            candidates.iter().take_while(|it| has_texts(it)).for_each(&mut visit);
        }
    }

    fn literal(&self, parent: u32, text: &str) -> Option<u32> {
        let is_child = |child: &u32| {
            let child = &self.nodes[*child as usize];
            child.parent == parent && *child.text == *text
        };
        self.literals.find(hash(&self.hasher, parent, text), is_child).copied()
    }
}

fn around(pieces: &[Piece]) -> Around<'_> {
    let [first, last] = [pieces.first(), pieces.last()].map(|it| it.map_or("", Piece::text));
    ((first.len(), last.len()), (first.as_bytes(), last.as_bytes()))
}

fn hash(hasher: &FixedState, parent: u32, text: &str) -> u64 {
    // An odd number that spreads neighbouring parents over all bits.
    hasher.hash_one(text.as_bytes()) ^ u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn hash_texts(hasher: &FixedState, parent: u32, (before, behind): (&[u8], &[u8])) -> u64 {
    let texts = hasher.hash_one(before).rotate_left(1) ^ hasher.hash_one(behind);
    texts ^ u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self {
            nodes: vec![GrowingNode::default(), GrowingNode::default()],
            literals: HashTable::new(),
            hasher: FixedState::default(),
            mixed: HashMap::new(),
        }
    }
}

impl TreeBuilder {
    /// Adds a statement to the end of a pattern.
    pub(crate) fn insert(&mut self, pattern: &Pattern, end: End) {
        let mut at = if pattern.kind == PatternKind::Exact { EXACT_ROOT } else { ROOT };
        let mut is_multi = false;
        for level in &pattern.levels {
            match level {
                PatternLevel::Literal(text) => at = self.literal_child(at, text),
                PatternLevel::Single => at = self.single_child(at),
                PatternLevel::Mixed(pieces) => at = self.mixed_child(at, pieces),
                PatternLevel::Multi => is_multi = true,
            }
        }
        let node = &mut self.nodes[at as usize];
        let ends = if is_multi { &mut node.multi_ends } else { &mut node.ends };
        ends.push(end);
    }

    fn add_node(&mut self, parent: u32, text: Box<str>) -> u32 {
        self.nodes.push(GrowingNode { text, parent, ..GrowingNode::default() });
        self.nodes.len() as u32 - 1
    }

    fn literal_child(&mut self, parent: u32, text: &str) -> u32 {
        let hash_of = |nodes: &[GrowingNode], child: u32| {
            let child = &nodes[child as usize];
            hash(&self.hasher, child.parent, &child.text)
        };
        let hash = hash(&self.hasher, parent, text);
        let is_child = |child: &u32| {
            let child = &self.nodes[*child as usize];
            child.parent == parent && *child.text == *text
        };
        if let Some(child) = self.literals.find(hash, is_child) {
            return *child;
        }
        let child = self.nodes.len() as u32;
        self.literals.insert_unique(hash, child, |child| hash_of(&self.nodes, *child));
        self.nodes[parent as usize].has_literals = true;
        self.add_node(parent, text.into())
    }

    fn single_child(&mut self, parent: u32) -> u32 {
        if let Some(child) = self.nodes[parent as usize].single {
            return child.get();
        }
        let child = self.add_node(parent, "".into());
        self.nodes[parent as usize].single = NonZeroU32::new(child);
        child
    }

    fn mixed_child(&mut self, parent: u32, pieces: &[Piece]) -> u32 {
        let key = (parent, Box::from(pieces));
        if let Some(child) = self.mixed.get(&key) {
            return *child;
        }
        let child = self.add_node(parent, "".into());
        self.nodes[parent as usize].mixed.push((pieces.into(), child));
        self.mixed.insert(key, child);
        child
    }

    pub(crate) fn build(mut self) -> Tree {
        // The last one only says where the lists of the one before end.
        self.nodes.push(GrowingNode::default());
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let (mut ends, mut multi_ends, mut mixed) = (Vec::new(), Vec::new(), Vec::new());
        for node in self.nodes {
            nodes.push(Node {
                text: node.text,
                parent: node.parent,
                single: node.single,
                has_literals: node.has_literals,
                ends_from: ends.len() as u32,
                multi_ends_from: multi_ends.len() as u32,
                mixed_from: mixed.len() as u32,
            });
            append_needed(node.ends, &mut ends);
            append_needed(node.multi_ends, &mut multi_ends);
            append_mixed(node.mixed, nodes.len() as u32 - 1, &mut mixed);
        }
        Tree {
            nodes: nodes.into(),
            ends: ends.into(),
            multi_ends: multi_ends.into(),
            mixed_by_texts: index_texts(&mixed, &self.hasher),
            mixed: mixed.into(),
            literals: self.literals,
            hasher: self.hasher,
        }
    }
}

/// Sorts the ends of a node and appends them to `all`, without those of which an earlier one of the
/// same class says as much.
fn append_needed(mut ends: Vec<End>, all: &mut Vec<End>) {
    ends.sort_unstable_by_key(|end| (end.class, end.statement));
    let mut of_class_from = all.len();
    for end in ends {
        if all.get(of_class_from).is_some_and(|it| it.class != end.class) {
            of_class_from = all.len();
        }
        if !all[of_class_from..].iter().any(|it| it.terms.include(end.terms)) {
            all.push(end);
        }
    }
}

/// Appends the levels with variables of a node to `all`.
fn append_mixed(mut mixed: Vec<(Box<[Piece]>, u32)>, parent: u32, all: &mut Vec<Mixed>) {
    mixed.sort_by(|one, other| around(&one.0).cmp(&around(&other.0)));
    let mut of_lengths_from = all.len();
    for (pieces, child) in mixed {
        let lengths = around(&pieces).0;
        if all.get(of_lengths_from).is_some_and(|it| around(&it.pieces).0 != lengths) {
            of_lengths_from = all.len();
        }
        let longer_from = all.len() as u32 + 1;
        all.push(Mixed { pieces, child, parent, longer_from });
        all[of_lengths_from].longer_from = longer_from;
    }
}

fn index_texts(mixed: &[Mixed], hasher: &FixedState) -> HashTable<u32> {
    let mut table = HashTable::new();
    let hash = |it: &Mixed| hash_texts(hasher, it.parent, around(&it.pieces).1);
    let mut last = None;
    for (it, number) in mixed.iter().zip(0..) {
        let key = (it.parent, around(&it.pieces));
        if last != Some(key) {
            table.insert_unique(hash(it), number, |it: &u32| hash(&mixed[*it as usize]));
        }
        last = Some(key);
    }
    table
}
