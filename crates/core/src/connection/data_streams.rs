//! Which data streams a Network Connection has, and which messages go on which of them.

use std::num::NonZeroU32;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use midge_codec::SubscriptionOptions;

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::tree::subscription_tree::{Filler, MatchScratch, Subscriber, SubscriptionTree};

/// The data streams of a control stream.
#[derive(Debug)]
pub(crate) struct DataStreams {
    /// In the order in which they were opened.
    open: Vec<ConnectionId>,
    /// Which stream gets what: the `session` of a subscriber here is the slot of a stream.
    tree: SubscriptionTree,
    scratch: MatchScratch,
    /// The filter that is matched, and the stream, by the subscription's name in the Session.
    routes: HashMap<Box<str>, (Box<str>, ConnectionId), foldhash::fast::FixedState>,
    /// How many subscriptions have the same filter and stream: `$share/g/a` and `a` are two.
    uses: HashMap<(Box<str>, SessionSlot), u32, foldhash::fast::FixedState>,
    /// Streams found to be waiting in a search of the queue; kept for the allocation.
    held_back: Vec<NonZeroU32>,
}

impl DataStreams {
    /// Messages in flight on all streams together, at most. It is small because they are counted to
    /// find how many each stream has.
    pub(crate) const WINDOW: u16 = 512;

    /// A Network Connection without data streams yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            open: Vec::new(),
            tree: SubscriptionTree::new(seed),
            scratch: MatchScratch::default(),
            routes: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            uses: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(!seed)),
            held_back: Vec::new(),
        }
    }

    /// Adds a stream that was opened.
    pub(crate) fn add(&mut self, stream: ConnectionId) {
        self.open.push(stream);
    }

    /// Returns the open streams, in the order in which they were opened.
    pub(crate) fn open(&self) -> &[ConnectionId] {
        &self.open
    }

    /// Whether some messages go on data streams.
    pub(crate) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Takes the list in which a search of the queue notes the streams that it finds waiting.
    pub(crate) fn take_held_back(&mut self) -> Vec<NonZeroU32> {
        std::mem::take(&mut self.held_back)
    }

    /// Puts that list back after the search.
    pub(crate) fn keep_held_back(&mut self, held_back: Vec<NonZeroU32>) {
        self.held_back = held_back;
    }

    /// Returns the stream for messages of this topic: if several match, the one that was opened
    /// last. `None`: the control stream.
    pub(crate) fn stream_of(&mut self, topic: &str) -> Option<ConnectionId> {
        self.tree.match_topic_name(topic, &mut self.scratch);
        let nodes = self.scratch.matched().iter();
        let slots = nodes.flat_map(|&node| self.tree.subscribers(node)).map(|it| it.session);
        let index = |slot| self.open.iter().position(|stream| stream.slot == slot);
        slots.filter_map(index).max().map(|index| self.open[index])
    }

    /// Routes the messages of this subscription to this stream from now on.
    pub(crate) fn note(&mut self, key: &str, filter: &str, stream: ConnectionId) {
        self.forget(key);
        let subscriber = Subscriber {
            session: stream.slot,
            identifier: None,
            options: SubscriptionOptions::default().into(),
            filler: Filler::Empty,
        };
        self.tree.insert(filter, subscriber);
        *self.uses.entry((filter.into(), stream.slot)).or_insert(0) += 1;
        self.routes.insert(key.into(), (filter.into(), stream));
    }

    /// Routes the messages of this subscription to the control stream.
    pub(crate) fn forget(&mut self, key: &str) {
        let Some((filter, stream)) = self.routes.remove(key) else {
            return;
        };
        let Entry::Occupied(mut uses) = self.uses.entry((filter, stream.slot)) else {
            return;
        };
        *uses.get_mut() -= 1;
        if *uses.get() == 0 {
            let ((filter, slot), _) = uses.remove_entry();
            self.tree.remove(&filter, slot);
        }
    }

    /// Takes away a stream that has ended, with everything that was routed to it.
    pub(crate) fn close(&mut self, stream: ConnectionId) {
        let keys: Vec<_> = self.routes.iter().filter(|(_, route)| route.1 == stream).collect();
        let keys: Vec<Box<str>> = keys.into_iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.forget(&key);
        }
        self.open.retain(|&other| other != stream);
    }
}
