//! The retained messages of the topics that this worker is home to, found by walking a tree.
//!
//! A walk visits only nodes under the filter's prefix and can be paused after any message, so its
//! caller bounds what it costs in one turn. Nodes that become empty during a walk stay until it is
//! over, so a walk never loses its place. If they become many, all go except those that some walk
//! stands on.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::base::budget::{Allowance, NodeBudget};
use crate::base::message::Message;
use crate::base::time::Timestamp;
use crate::tree::level_tree::{LevelTree, NONE, NodeIndex, ROOT, Vacant};

/// The error when there is no room for a retained message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetainedFull;

/// What became of a message that was to be kept.
#[derive(Debug)]
pub(crate) struct Change {
    /// Where the topic's message is or was.
    pub(crate) node: NodeIndex,
    pub(crate) replaced: Option<Message>,
    pub(crate) is_kept: bool,
    /// The number that the store knows the replaced message by, if it does.
    pub(crate) number: Option<NonZeroU64>,
}

#[derive(Debug, Default)]
struct RetainedNode {
    message: Option<Message>,
    /// The number that the store knows the message by, if it does.
    number: Option<NonZeroU64>,
    /// Set while empty nodes are removed, if a walk stands here.
    is_pinned: bool,
}

#[derive(Debug)]
pub(crate) struct RetainedTree {
    tree: LevelTree<RetainedNode>,
    messages: u64,
    bytes: u64,
    /// What all workers of the node together may keep. `budget` counts what they do keep.
    allowance: Allowance,
    budget: Arc<NodeBudget>,
    /// Whether messages may become more, and larger.
    is_growing: bool,
    walks: usize,
    emptied: Vec<NodeIndex>,
    /// How many emptied nodes are too many.
    emptied_max: usize,
}

/// A walk over all retained messages that match one filter.
#[derive(Debug)]
pub(crate) struct RetainedWalk {
    filter: Box<str>,
    /// Nodes still to be visited, each with the filter level that its children have to match.
    stack: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    node: NodeIndex,
    /// Byte offset in the filter of the level that comes next.
    rest: usize,
    kind: StepKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepKind {
    /// The node was reached by the filter's levels so far.
    Reached,
    /// The node and its following siblings all match (`+` or `#`).
    Siblings { whole_subtree: bool },
}

impl RetainedTree {
    /// Up to this many emptied nodes stay until the walks end.
    const EMPTIED_MIN: usize = 4096;

    pub(crate) fn new(seed: u64, allowance: Allowance, budget: Arc<NodeBudget>) -> Self {
        Self {
            tree: LevelTree::new(seed),
            messages: 0,
            bytes: 0,
            allowance,
            budget,
            is_growing: true,
            walks: 0,
            emptied: Vec::new(),
            emptied_max: Self::EMPTIED_MIN,
        }
    }

    /// Makes room for this many messages more.
    pub(crate) fn reserve(&mut self, messages: usize) {
        self.tree.reserve(messages);
    }

    /// Gives back the room of what is gone.
    pub(crate) fn give_back(&mut self) {
        self.tree.give_back();
    }

    /// Sets whether it may grow: if not, messages are refused unless they replace others.
    pub(crate) fn set_growing(&mut self, is_growing: bool) {
        self.is_growing = is_growing;
    }

    pub(crate) fn set_allowance(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// Keeps the message as the one of its topic [MQTT-3.3.1-5]; an empty payload removes what was
    /// there and keeps nothing [MQTT-3.3.1-6] [MQTT-3.3.1-7]. Fails if there is no room.
    pub(crate) fn set(&mut self, message: Message) -> Result<Change, RetainedFull> {
        if message.payload().is_empty() {
            return Ok(self.remove(message.topic()));
        }
        let replaced = self.get(message.topic()).map_or((0, 0), |old| (1, old.size() as i64));
        let grows = (1 - replaced.0, message.size() as i64 - replaced.1);
        let allowance = if self.is_growing { self.allowance } else { Allowance::NONE };
        match self.budget.retained.change(grows.0, grows.1, allowance) {
            true => Ok(self.insert(message)),
            false => Err(RetainedFull),
        }
    }

    /// Keeps the message as the one of its topic, whatever the limits say.
    pub(crate) fn put(&mut self, message: Message) -> Change {
        if message.payload().is_empty() {
            return self.remove(message.topic());
        }
        if let Some(old) = self.get(message.topic()) {
            self.budget.retained.give_back(1, old.size() as u64);
        }
        self.budget.retained.add(1, message.size() as u64);
        self.insert(message)
    }

    /// Puts a message that is counted already into its place.
    fn insert(&mut self, message: Message) -> Change {
        let size = message.size() as u64;
        let levels = message.topic().split('/');
        let node = levels.fold(ROOT, |node, level| self.tree.child_or_insert(node, level));
        let value = self.tree.value_mut(node);
        let (replaced, number) = (value.message.replace(message), value.number);
        let old_size = replaced.as_ref().map_or(0, |old| old.size() as u64);
        self.messages += u64::from(replaced.is_none());
        self.bytes = self.bytes + size - old_size;
        Change { node, replaced, is_kept: true, number }
    }

    pub(crate) fn get(&self, topic: &str) -> Option<&Message> {
        match self.tree.find(topic) {
            NONE => None,
            node => self.tree.value(node).message.as_ref(),
        }
    }

    fn remove(&mut self, topic: &str) -> Change {
        let node = self.tree.find(topic);
        let taken = if node == NONE { None } else { self.take(node) };
        let (replaced, number) = taken.map_or((None, None), |(old, number)| (Some(old), number));
        Change { node, replaced, is_kept: false, number }
    }

    fn take(&mut self, node: NodeIndex) -> Option<(Message, Option<NonZeroU64>)> {
        let value = self.tree.value_mut(node);
        let (message, number) = (value.message.take()?, value.number.take());
        self.messages -= 1;
        self.bytes -= message.size() as u64;
        self.budget.retained.give_back(1, message.size() as u64);
        if self.walks == 0 {
            self.tree.prune(node, |_, _| ());
        } else {
            self.emptied.push(node);
        }
        Some((message, number))
    }

    /// Notes the number that the store knows the message at `node` by, if it does.
    pub(crate) fn set_number(&mut self, node: NodeIndex, number: Option<NonZeroU64>) {
        self.tree.value_mut(node).number = number;
    }

    /// Removes the message at `node` if its expiry interval has passed; returns the number that the
    /// store knows it by, if it does.
    pub(crate) fn remove_expired(&mut self, node: NodeIndex, now: Timestamp) -> Option<NonZeroU64> {
        let message = &self.tree.value(node).message;
        match message.as_ref().is_some_and(|message| message.attributes().has_expired(now)) {
            true => self.take(node).and_then(|(_, number)| number),
            false => None,
        }
    }

    /// Messages and bytes kept.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.messages, self.bytes)
    }

    /// Begins a walk; it has to be given back to [`RetainedTree::end_walk`].
    pub(crate) fn begin_walk(&mut self, filter: &str) -> RetainedWalk {
        self.walks += 1;
        let start = Step { node: ROOT, rest: 0, kind: StepKind::Reached };
        RetainedWalk { filter: filter.into(), stack: vec![start] }
    }

    /// Ends a walk, whether it is done or not.
    pub(crate) fn end_walk(&mut self, walk: RetainedWalk) {
        drop(walk);
        self.walks -= 1;
        if self.walks == 0 {
            for node in std::mem::take(&mut self.emptied) {
                self.tree.prune(node, |_, _| ());
            }
        }
    }

    /// Whether more nodes have emptied than may wait for the walks to end: a Client that does not
    /// take its messages keeps a walk for as long as it likes.
    pub(crate) fn has_many_emptied(&self) -> bool {
        self.emptied.len() > self.emptied_max
    }

    /// Removes the emptied nodes except those that one of `walks` needs. `walks` has to yield all
    /// walks that there are.
    pub(crate) fn prune_around<'w>(&mut self, walks: impl Iterator<Item = &'w RetainedWalk>) {
        let steps = walks.flat_map(|walk| &walk.stack);
        let pinned: Vec<_> = steps.map(|step| step.node).collect();
        self.pin(&pinned, true);
        for node in std::mem::take(&mut self.emptied) {
            self.tree.prune(node, |_, _| ());
        }
        self.pin(&pinned, false);
        self.emptied.extend(pinned.iter().filter(|&&node| self.tree.value(node).is_vacant()));
        self.emptied_max = (self.emptied.len() * 2).max(Self::EMPTIED_MIN);
    }

    fn pin(&mut self, nodes: &[NodeIndex], is_pinned: bool) {
        for &node in nodes {
            self.tree.value_mut(node).is_pinned = is_pinned;
        }
    }

    /// Returns the next message of a walk, visiting at most `*budget` nodes; `None` if the walk is
    /// at its end or the budget is used up (see [`RetainedWalk::is_done`]).
    pub(crate) fn walk(&self, walk: &mut RetainedWalk, budget: &mut usize) -> Option<Message> {
        while *budget > 0 {
            let step = walk.stack.pop()?;
            *budget -= 1;
            if let Some(message) = self.visit(walk, step) {
                return Some(message);
            }
        }
        None
    }

    fn visit(&self, walk: &mut RetainedWalk, step: Step) -> Option<Message> {
        let Step { node, rest, kind } = step;
        let StepKind::Siblings { whole_subtree } = kind else {
            return self.descend(walk, node, rest);
        };
        let next = self.tree.next_sibling(node);
        if next != NONE {
            walk.stack.push(Step { node: next, ..step });
        }
        if self.tree.parent(node) == ROOT && self.tree.level(node).starts_with('$') {
            return None; // [MQTT-4.7.2-1]
        }
        if whole_subtree {
            self.push_children(walk, node, rest, true);
            return self.tree.value(node).message.clone();
        }
        self.descend(walk, node, rest)
    }

    /// Goes on from a node that the filter's levels up to `rest` led to.
    fn descend(&self, walk: &mut RetainedWalk, node: NodeIndex, rest: usize) -> Option<Message> {
        let Some(remaining) = walk.filter.get(rest..) else {
            return self.tree.value(node).message.clone();
        };
        let level = remaining.split('/').next().unwrap_or_default();
        let after = rest + level.len() + 1;
        match level {
            "#" => {
                self.push_children(walk, node, after, true);
                return self.tree.value(node).message.clone(); // the parent level matches too
            }
            "+" => self.push_children(walk, node, after, false),
            _ => {
                let level = level.as_bytes();
                let child = self.tree.child(node, level, || self.tree.hash_level(level));
                if child != NONE {
                    walk.stack.push(Step { node: child, rest: after, kind: StepKind::Reached });
                }
            }
        }
        None
    }

    fn push_children(&self, walk: &mut RetainedWalk, node: NodeIndex, rest: usize, whole: bool) {
        let child = self.tree.first_child(node);
        if child != NONE {
            let kind = StepKind::Siblings { whole_subtree: whole };
            walk.stack.push(Step { node: child, rest, kind });
        }
    }
}

impl RetainedWalk {
    pub(crate) fn is_done(&self) -> bool {
        self.stack.is_empty()
    }
}

impl Vacant for RetainedNode {
    fn is_vacant(&self) -> bool {
        self.message.is_none() && !self.is_pinned
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_codec::{QoS, TopicFilter, TopicName};
    use proptest::prelude::*;

    use super::{RetainedFull, RetainedTree};
    use crate::base::budget::Allowance;
    use crate::base::durability::Durability;
    use crate::base::identity::Identity;
    use crate::base::message::{Attributes, Message, Publication};

    fn message(topic: &str, payload: &str) -> Message {
        let attributes = Attributes {
            qos: QoS::AtMostOnce,
            retain: true,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let publisher = Arc::new(Identity::new("p".into(), None));
        Publication::new(topic, &[], payload.as_bytes(), attributes, &publisher).share()
    }

    fn new_tree(seed: u64, count_max: u64, bytes_max: u64) -> RetainedTree {
        RetainedTree::new(seed, Allowance { count_max, bytes_max }, Arc::default())
    }

    fn matching(tree: &mut RetainedTree, filter: &str) -> Vec<String> {
        let mut walk = tree.begin_walk(filter);
        let mut topics = Vec::new();
        while !walk.is_done() {
            let mut budget = 3;
            topics.extend(tree.walk(&mut walk, &mut budget).map(|found| found.topic().to_string()));
        }
        tree.end_walk(walk);
        topics.sort_unstable();
        topics
    }

    #[test]
    fn an_empty_payload_removes() {
        let mut tree = new_tree(1, 10, 1000);
        tree.set(message("a", "1")).unwrap();
        tree.set(message("a", "2")).unwrap();
        assert_eq!(tree.get("a").unwrap().payload(), b"2");
        assert_eq!(tree.usage(), (1, 2));
        tree.set(message("a", "")).unwrap();
        assert_eq!((tree.usage(), tree.tree.len()), ((0, 0), 0));
    }

    #[test]
    fn limits_hold_but_replacing_is_possible() {
        let mut tree = new_tree(1, 2, 8);
        tree.set(message("a", "111")).unwrap();
        tree.set(message("b", "1")).unwrap();
        assert_eq!(tree.set(message("c", "1")).unwrap_err(), RetainedFull);
        tree.set(message("a", "22")).unwrap();
        assert_eq!(tree.set(message("b", "55555")).unwrap_err(), RetainedFull);
        assert_eq!(tree.usage(), (2, 5));
    }

    #[test]
    fn a_walk_keeps_its_place_while_messages_go() {
        let mut tree = new_tree(1, 100, 1000);
        for name in ["a/1", "a/2", "a/3", "a/4"] {
            tree.set(message(name, "x")).unwrap();
        }
        let mut walk = tree.begin_walk("a/+");
        let first = tree.walk(&mut walk, &mut 10).unwrap();
        for name in ["a/1", "a/2", "a/3", "a/4"] {
            if first.topic() != name && name != "a/1" {
                tree.remove(name);
            }
        }
        let mut rest = Vec::new();
        while let Some(found) = tree.walk(&mut walk, &mut 100) {
            rest.push(found.topic().to_string());
        }
        tree.end_walk(walk);
        assert_eq!(rest, ["a/1"]);
        assert_eq!(tree.tree.len(), 3, "a, a/1 and the first one found");
    }

    #[test]
    fn a_walk_that_stands_still_does_not_make_the_tree_grow() {
        let mut tree = new_tree(1, 100_000, 100_000_000);
        for name in ["a/1", "a/2/x", "a/3"] {
            tree.set(message(name, "x")).unwrap();
        }
        let mut walk = tree.begin_walk("a/#");
        let first = tree.walk(&mut walk, &mut 10).unwrap();
        for number in 0..20_000 {
            let topic = format!("b/{number}/c");
            tree.set(message(&topic, "x")).unwrap();
            tree.set(message(&topic, "")).unwrap();
            if tree.has_many_emptied() {
                tree.prune_around([&walk].into_iter());
            }
        }
        assert!(tree.tree.len() < 20_000, "{} nodes", tree.tree.len());
        tree.set(message("a/2/x", "")).unwrap();
        tree.prune_around([&walk].into_iter());
        let mut found = vec![first.topic().to_string()];
        while let Some(next) = tree.walk(&mut walk, &mut 100) {
            found.push(next.topic().to_string());
        }
        found.sort();
        assert_eq!(found, ["a/1", "a/3"]);
        tree.end_walk(walk);
        assert_eq!(tree.tree.len(), 3, "a, a/1 and a/3");
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(
            topics in prop::collection::btree_set("(\\$?[ab]?)(/[ab]?){0,3}", 0..30),
            filter in "(\\$?[ab+]?)(/[ab+]?){0,3}(/#)?|#",
        ) {
            prop_assume!(TopicFilter::parse(&filter).is_ok());
            let parsed = TopicFilter::parse(&filter).unwrap();
            let mut tree = new_tree(3, 1000, 100_000);
            let topics: Vec<_> = topics.into_iter().filter(|topic| !topic.is_empty()).collect();
            for topic in &topics {
                tree.set(message(topic, "x")).unwrap();
            }
            let expected: Vec<_> = topics.into_iter()
                .filter(|topic| parsed.matches(TopicName::new(topic).unwrap()))
                .collect();
            prop_assert_eq!(matching(&mut tree, &filter), expected);
        }
    }
}
