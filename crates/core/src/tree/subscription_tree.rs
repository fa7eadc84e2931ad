//! The subscription tree: from a Topic Name to everything that wants it.
//!
//! One walk finds the local subscribers, the workers that have subscribers of their own and the
//! shared subscriptions. Its cost grows with the levels of the topic and the wildcard branches that
//! lie on its way, never with the number of subscriptions.

use std::num::NonZeroU32;

use midge_codec::{QoS, SubscriptionOptions};
use slab::Slab;

use crate::base::identity::{GroupId, SessionSlot, WorkerId};
use crate::base::worker_set::WorkerSet;
use crate::tree::keyed_list::{Keyed, KeyedList};
use crate::tree::level_tree::{LevelTree, NONE, NodeIndex, ROOT, Vacant, first_level_len, levels};

/// One Session's subscription to one filter, as small as it gets: a fan-out walks over thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionSlot,
    pub(crate) identifier: Option<NonZeroU32>,
    pub(crate) options: PackedOptions,
    pub(crate) filler: Filler,
}

/// Tells the compiler that a byte of [`Subscriber`] is free, so that "nobody, one or many" is no
/// larger than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Filler {
    #[default]
    Empty,
}

/// Subscription Options in the bits that they have on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedOptions(u8);

/// What a filter's last level holds. A node of the tree with this value is one cache line: what
/// only few nodes have is kept elsewhere, under a number.
#[derive(Debug)]
pub(crate) struct FilterNode {
    plus: NodeIndex,
    hash: NodeIndex,
    others: OthersHere,
    local: SubscriberList,
}

/// Nobody, one, or many subscribers of one filter; many are a [`KeyedList`], by its number.
#[derive(Clone, Copy, Debug, Default)]
enum SubscriberList {
    #[default]
    None,
    One(Subscriber),
    Many(u32),
}

/// Nobody (0), one bit for each other worker with subscribers, or the number of the node's
/// [`Others`], with a bit that says so. Most nodes need none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OthersHere(u32);

/// Who else wants what a filter matches.
#[derive(Debug, Default)]
struct Others {
    /// Other workers with subscribers to this filter.
    remote: WorkerSet,
    shared: Option<Box<KeyedList<GroupId>>>,
}

/// The tree of one worker.
#[derive(Debug)]
pub(crate) struct SubscriptionTree {
    tree: LevelTree<FilterNode>,
    sets: Slab<KeyedList<Subscriber>>,
    others: Slab<Others>,
    subscriptions: usize,
}

/// Working memory of a match, kept by the caller so that matching allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct MatchScratch {
    frontier: Vec<NodeIndex>,
    next: Vec<NodeIndex>,
    matched: Vec<NodeIndex>,
    /// How many nodes the walk has looked at, whether they matched or not.
    visited: usize,
}

impl MatchScratch {
    /// The nodes of all filters that match.
    #[inline]
    pub(crate) fn matched(&self) -> &[NodeIndex] {
        &self.matched
    }

    /// How many nodes were visited to find them.
    #[inline]
    pub(crate) fn visited(&self) -> usize {
        self.visited
    }
}

impl SubscriptionTree {
    pub(crate) fn new(seed: u64) -> Self {
        let (sets, others) = (Slab::new(), Slab::new());
        Self { tree: LevelTree::new(seed), sets, others, subscriptions: 0 }
    }

    /// Makes room for this many filters more, and for as many `of_others` as may come.
    pub(crate) fn reserve(&mut self, filters: usize, of_others: usize) {
        self.tree.reserve_nodes(filters + of_others);
        self.tree.reserve(filters);
    }

    /// Adds a local subscriber or replaces what the Session had for this filter. Returns true if it
    /// is the first local one: other workers have to be told.
    pub(crate) fn insert(&mut self, filter: &str, subscriber: Subscriber) -> bool {
        let node = self.node_or_insert(filter);
        let was_empty = matches!(self.tree.value(node).local, SubscriberList::None);
        self.subscriptions += usize::from(self.insert_local(node, subscriber));
        was_empty
    }

    /// What a Session has for this filter, if it is a subscriber.
    pub(crate) fn subscriber(&self, filter: &str, session: SessionSlot) -> Option<Subscriber> {
        let node = Some(self.tree.find(filter)).filter(|&node| node != NONE)?;
        self.subscribers(node).iter().find(|it| it.session == session).copied()
    }

    /// Removes a local subscriber. Returns true if it was the last local one of this filter.
    pub(crate) fn remove(&mut self, filter: &str, session: SessionSlot) -> bool {
        let node = self.tree.find(filter);
        if node == NONE || !self.remove_local(node, session) {
            return false;
        }
        self.subscriptions -= 1;
        let was_last = matches!(self.tree.value(node).local, SubscriberList::None);
        self.prune(node);
        was_last
    }

    /// Notes whether another worker has subscribers to this filter.
    pub(crate) fn set_remote(&mut self, filter: &str, worker: WorkerId, wanted: bool) {
        if wanted {
            let node = self.node_or_insert(filter);
            let remote = self.remote_workers(node).union(WorkerSet::one(worker));
            return self.set_remote_workers(node, remote);
        }
        let node = self.tree.find(filter);
        if node != NONE {
            let remote = self.remote_workers(node).without(worker);
            self.set_remote_workers(node, remote);
            self.prune(node);
        }
    }

    /// Notes that a shared subscription exists for this filter.
    pub(crate) fn add_group(&mut self, filter: &str, group: GroupId) {
        let node = self.node_or_insert(filter);
        self.others_mut(node).shared.get_or_insert_default().insert(group);
    }

    /// Forgets a shared subscription.
    pub(crate) fn remove_group(&mut self, filter: &str, group: GroupId) {
        let node = self.tree.find(filter);
        if node == NONE {
            return;
        }
        let groups = &mut self.others_mut(node).shared;
        if let Some(list) = groups {
            list.remove(group);
            if list.list().is_empty() {
                *groups = None;
            }
        }
        let remote = self.remote_workers(node);
        self.set_remote_workers(node, remote);
        self.prune(node);
    }

    /// Puts all filter nodes that match `topic` into `scratch.matched`.
    pub(crate) fn match_topic_name(&self, topic: &str, scratch: &mut MatchScratch) {
        scratch.matched.clear();
        scratch.visited = 0;
        scratch.frontier.clear();
        scratch.frontier.push(ROOT);
        // Server topics are not matched by a filter that begins with a wildcard [MQTT-4.7.2-1].
        let mut wildcards_apply = !topic.starts_with('$');
        let mut at = 0;
        for level in levels(topic) {
            at += level.len() + 1;
            let rest = topic.as_bytes().get(at..);
            let mut level_hash = None;
            let mut hash_level = || *level_hash.get_or_insert_with(|| self.tree.hash_level(level));
            scratch.visited += scratch.frontier.len();
            scratch.next.clear();
            for &node in &scratch.frontier {
                let value = self.tree.value(node);
                if wildcards_apply {
                    push_node(&mut scratch.matched, value.hash);
                    let (next, matched) = (&mut scratch.next, &mut scratch.matched);
                    scratch.visited += self.step(value.plus, rest, next, matched);
                }
                let child = self.tree.child(node, level, &mut hash_level);
                let (next, matched) = (&mut scratch.next, &mut scratch.matched);
                scratch.visited += self.step(child, rest, next, matched);
            }
            std::mem::swap(&mut scratch.frontier, &mut scratch.next);
            if scratch.frontier.is_empty() {
                return;
            }
            wildcards_apply = true;
        }
        scratch.visited += scratch.frontier.len();
        for &node in &scratch.frontier {
            let value = self.tree.value(node);
            push_node(&mut scratch.matched, value.hash); // `a/#` matches `a` [MQTT-4.7.1-2]
            if !value.is_end_of_no_filter() {
                scratch.matched.push(node);
            }
        }
    }

    /// Goes on to a node with the `rest` of the topic behind the node's level: it is `next`, or, if
    /// it stands for the rest of its filter, has matched or not. Returns how many nodes that took.
    #[inline]
    fn step(
        &self,
        node: NodeIndex,
        rest: Option<&[u8]>,
        next: &mut Vec<NodeIndex>,
        matched: &mut Vec<NodeIndex>,
    ) -> usize {
        if node == NONE {
            return 0;
        }
        let Some(filter) = self.tree.rest(node) else {
            next.push(node);
            return 0;
        };
        if matches_rest(filter, rest) {
            matched.push(node);
        }
        1
    }

    /// The local subscribers of a matched node.
    #[inline]
    pub(crate) fn subscribers(&self, node: NodeIndex) -> &[Subscriber] {
        match &self.tree.value(node).local {
            SubscriberList::None => &[],
            SubscriberList::One(one) => std::slice::from_ref(one),
            SubscriberList::Many(number) => self.sets[*number as usize].list(),
        }
    }

    /// The other workers that have subscribers at a matched node.
    #[inline]
    pub(crate) fn remote_workers(&self, node: NodeIndex) -> WorkerSet {
        let others = self.tree.value(node).others;
        match others.number() {
            None => WorkerSet::of_packed(others.0),
            Some(number) => self.others[number].remote,
        }
    }

    /// The shared subscriptions of a matched node.
    #[inline]
    pub(crate) fn groups(&self, node: NodeIndex) -> &[GroupId] {
        match self.tree.value(node).others.number() {
            None => &[],
            Some(number) => self.others[number].shared.as_ref().map_or(&[], |groups| groups.list()),
        }
    }

    /// Gives back the room of subscriptions that have gone.
    pub(crate) fn give_back(&mut self) {
        self.tree.give_back();
        self.sets.shrink_to_fit();
        self.others.shrink_to_fit();
    }

    /// How many local subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.subscriptions
    }

    /// Adds a subscriber to a node. Returns true if its Session was not among the subscribers
    /// before.
    fn insert_local(&mut self, node: NodeIndex, subscriber: Subscriber) -> bool {
        let list = &mut self.tree.value_mut(node).local;
        match list {
            SubscriberList::None => *list = SubscriberList::One(subscriber),
            SubscriberList::One(one) if one.session == subscriber.session => {
                *one = subscriber;
                return false;
            }
            SubscriberList::One(one) => {
                let set = KeyedList::of([*one, subscriber]);
                *list = SubscriberList::Many(self.sets.insert(set) as u32);
            }
            SubscriberList::Many(number) => return self.sets[*number as usize].insert(subscriber),
        }
        true
    }

    /// Removes a subscriber from a node. Returns true if the Session was among the subscribers.
    fn remove_local(&mut self, node: NodeIndex, session: SessionSlot) -> bool {
        let list = &mut self.tree.value_mut(node).local;
        match *list {
            SubscriberList::One(one) if one.session == session => *list = SubscriberList::None,
            SubscriberList::Many(number) => {
                let set = &mut self.sets[number as usize];
                let removed = set.remove(session);
                if let [one] = *set.list() {
                    *list = SubscriberList::One(one);
                    self.sets.remove(number as usize);
                }
                return removed;
            }
            _ => return false,
        }
        true
    }

    fn others_mut(&mut self, node: NodeIndex) -> &mut Others {
        let here = &mut self.tree.value_mut(node).others;
        let number = here.number().unwrap_or_else(|| {
            let others = Others { remote: WorkerSet::of_packed(here.0), shared: None };
            let number = self.others.insert(others);
            *here = OthersHere(number as u32 | OthersHere::IS_NUMBER);
            number
        });
        &mut self.others[number]
    }

    /// Sets the other workers with subscribers, where the node itself has room for them if it can.
    fn set_remote_workers(&mut self, node: NodeIndex, remote: WorkerSet) {
        let here = &mut self.tree.value_mut(node).others;
        let number = here.number();
        let has_groups = number.is_some_and(|number| self.others[number].shared.is_some());
        let Some(packed) = remote.packed().filter(|_| !has_groups) else {
            self.others_mut(node).remote = remote;
            return;
        };
        *here = OthersHere(packed);
        if let Some(number) = number {
            self.others.remove(number);
        }
    }

    fn node_or_insert(&mut self, filter: &str) -> NodeIndex {
        self.tree.insert(filter, |parent, level, child| match level {
            "+" => parent.plus = child,
            "#" => parent.hash = child,
            _ => (),
        })
    }

    fn prune(&mut self, node: NodeIndex) {
        self.tree.prune(node, |parent, removed| {
            if parent.plus == removed {
                parent.plus = NONE;
            }
            if parent.hash == removed {
                parent.hash = NONE;
            }
        });
    }
}

impl OthersHere {
    /// Set: the other bits are a number.
    const IS_NUMBER: u32 = 1 << 31;

    #[inline]
    fn number(self) -> Option<usize> {
        (self.0 & Self::IS_NUMBER != 0).then_some((self.0 & !Self::IS_NUMBER) as usize)
    }
}

impl FilterNode {
    fn is_end_of_no_filter(&self) -> bool {
        self.others == OthersHere::default() && matches!(self.local, SubscriberList::None)
    }
}

impl Default for FilterNode {
    fn default() -> Self {
        Self { plus: NONE, hash: NONE, others: OthersHere::default(), local: SubscriberList::None }
    }
}

impl Vacant for FilterNode {
    fn is_vacant(&self) -> bool {
        self.is_end_of_no_filter()
    }
}

impl Keyed for Subscriber {
    type Key = SessionSlot;

    fn key(&self) -> SessionSlot {
        self.session
    }
}

impl Keyed for GroupId {
    type Key = Self;

    fn key(&self) -> Self {
        *self
    }
}

impl PackedOptions {
    pub(crate) fn to_byte(self) -> u8 {
        self.0
    }

    pub(crate) fn qos(self) -> QoS {
        QoS::from_bits(self.0 & 0b11).unwrap_or(QoS::ExactlyOnce)
    }

    pub(crate) fn no_local(self) -> bool {
        self.0 & 0b100 != 0
    }

    pub(crate) fn retain_as_published(self) -> bool {
        self.0 & 0b1000 != 0
    }
}

impl From<SubscriptionOptions> for PackedOptions {
    fn from(options: SubscriptionOptions) -> Self {
        Self(options.to_byte())
    }
}

/// Whether the rest of a filter matches the rest of a topic. Both are absent if nothing is left.
fn matches_rest(filter: &[u8], topic: Option<&[u8]>) -> bool {
    let (mut filter, mut topic) = (Some(filter), topic);
    while let Some((level, behind)) = filter.map(first_level) {
        if level == b"#" {
            return true; // `a/#` matches `a`, too [MQTT-4.7.1-2]
        }
        let Some((name, name_behind)) = topic.map(first_level) else {
            return false;
        };
        if level != b"+" && level != name {
            return false;
        }
        (filter, topic) = (behind, name_behind);
    }
    topic.is_none()
}

/// The first level, and what is behind it.
fn first_level(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    let length = first_level_len(path);
    (&path[..length], path.get(length + 1..))
}

#[inline]
fn push_node(nodes: &mut Vec<NodeIndex>, node: NodeIndex) {
    if node != NONE {
        nodes.push(node);
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::{SubscriptionOptions, TopicFilter, TopicName};
    use proptest::prelude::*;

    use super::{Filler, MatchScratch, Subscriber, SubscriptionTree};
    use crate::base::identity::{GroupId, WorkerId};
    use crate::base::worker_set::WorkerSet;

    fn subscriber(session: u32) -> Subscriber {
        let options = SubscriptionOptions::default().into();
        Subscriber { session, identifier: None, options, filler: Filler::Empty }
    }

    #[test]
    fn a_node_is_one_cache_line() {
        assert_eq!(size_of::<crate::tree::level_tree::Node<super::FilterNode>>(), 64);
    }

    fn matching_sessions(tree: &SubscriptionTree, topic: &str) -> Vec<u32> {
        let mut scratch = MatchScratch::default();
        tree.match_topic_name(topic, &mut scratch);
        let lists = scratch.matched.iter().map(|&node| tree.subscribers(node));
        let mut sessions: Vec<_> = lists.flatten().map(|entry| entry.session).collect();
        sessions.sort_unstable();
        sessions
    }

    #[test]
    fn first_and_last_subscriber_are_told() {
        let mut tree = SubscriptionTree::new(1);
        assert!(tree.insert("a/+", subscriber(1)));
        assert!(!tree.insert("a/+", subscriber(2)));
        assert!(!tree.insert("a/+", subscriber(2)), "replaced, not added");
        assert_eq!(tree.len(), 2);
        assert!(!tree.remove("a/+", 1));
        assert!(!tree.remove("a/+", 1), "was not there any more");
        assert!(tree.remove("a/+", 2));
        assert_eq!((tree.len(), tree.tree.len()), (0, 0));
    }

    #[test]
    fn many_subscribers_come_and_go() {
        let mut tree = SubscriptionTree::new(1);
        for session in 0..1000 {
            tree.insert("news", subscriber(session));
        }
        for session in (0..1000).filter(|session| session % 3 != 0) {
            tree.remove("news", session);
        }
        let expected: Vec<_> = (0..1000).filter(|session| session % 3 == 0).collect();
        assert_eq!(matching_sessions(&tree, "news"), expected);
    }

    #[test]
    fn other_workers_and_groups_are_found_by_the_same_walk() {
        let mut tree = SubscriptionTree::new(1);
        let group = GroupId { home: WorkerId::new(1), number: 4 };
        tree.set_remote("a/#", WorkerId::new(3), true);
        tree.add_group("a/+", group);
        let mut scratch = MatchScratch::default();
        tree.match_topic_name("a/b", &mut scratch);
        let remote = scratch.matched.iter().map(|&node| tree.remote_workers(node));
        let remote = remote.fold(WorkerSet::EMPTY, WorkerSet::union);
        let groups: Vec<_> = scratch.matched.iter().flat_map(|&node| tree.groups(node)).collect();
        assert_eq!((remote, groups), (WorkerSet::one(WorkerId::new(3)), vec![&group]));
        tree.set_remote("a/#", WorkerId::new(3), false);
        tree.remove_group("a/+", group);
        assert_eq!(tree.tree.len(), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(
            filters in prop::collection::vec("(\\$?[ab+]?)(/[ab+]?){0,3}(/#)?|#", 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            topics in prop::collection::vec("(\\$?[ab]?)(/[ab]?){0,4}", 1..10),
        ) {
            let mut kept: Vec<(u32, String)> = (0..).zip(filters)
                .filter(|(_, filter)| TopicFilter::parse(filter).is_ok())
                .collect();
            let mut tree = SubscriptionTree::new(9);
            for (session, filter) in &kept {
                tree.insert(filter, subscriber(*session));
            }
            for index in removed {
                if !kept.is_empty() {
                    let (session, filter) = kept.swap_remove(index.index(kept.len()));
                    tree.remove(&filter, session);
                }
            }
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                let name = TopicName::new(topic).unwrap();
                let mut expected: Vec<_> = kept.iter()
                    .filter(|(_, filter)| TopicFilter::parse(filter).unwrap().matches(name))
                    .map(|(session, _)| *session)
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(matching_sessions(&tree, topic), expected);
            }
        }
    }
}
