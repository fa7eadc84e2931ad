//! The in-memory index of everything that is alive and where it is stored: owners, their queues,
//! kept messages, and how much of each segment is needed. It never reads or writes a file; the
//! engine and the replay tell it what they have appended or found.

mod holdings;
mod replay;
mod rounds;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::ops::Range;

use hashbrown::HashMap;
use midge_codec::PacketIdentifier;
use midge_core::{Kept, Owner, Round, Timestamp};

use crate::clock::Mark;
use crate::queue::{Entry, Flags, Places, Queue};
use crate::record::BootRound;
use crate::record::detached::NOT_ENDED;
use crate::record::enqueue::EnqueueHead;
pub(crate) use holdings::{Held, Holdings, SegmentUse};
pub(crate) use rounds::Rounds;
pub(crate) use subscriptions::SubscriptionLog;

pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Everything that is alive.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) owners: Map<Owner, Box<OwnerEntry>>,
    pub(crate) kept: Map<u64, KeptEntry>,
    pub(crate) holdings: Holdings,
    pub(crate) rounds: Rounds,
    /// One more than the largest number of a Session, shared subscription or kept message so far.
    pub(crate) next_number: u64,
    /// The mark that was written last: what the clocks showed then.
    pub(crate) mark: Option<Mark>,
    /// How many messages wait, over all owners.
    pub(crate) queued: u64,
    /// Sessions whose subscriptions are to be written as one record; some may have ended.
    pub(crate) to_fold: Vec<u64>,
}

/// A Session or a shared subscription.
#[derive(Debug, Default)]
pub(crate) struct OwnerEntry {
    /// The record that describes the owner; absent if it was not found or is damaged.
    pub(crate) head: Option<Held>,
    pub(crate) detached: Option<Detachment>,
    pub(crate) will_gone: bool,
    /// Records about its subscriptions are damaged: the owner must not come back with some of them
    /// missing.
    pub(crate) is_broken: bool,
    pub(crate) subscriptions: SubscriptionLog,
    /// QoS 2 Packet Identifiers that wait for their PUBREL, oldest first.
    pub(crate) awaiting_release: Vec<PacketIdentifier>,
    pub(crate) queue: Option<Box<Queue>>,
}

/// When the Network Connection of a Session ended, and up to where messages were sent by then. For
/// a connection that lasts: up to where they may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detachment {
    pub(crate) at: Timestamp,
    pub(crate) sent_before: u64,
}

impl Detachment {
    /// Returns when the Network Connection ended, if it has.
    pub(crate) fn ended_at(self) -> Option<Timestamp> {
        Some(self.at).filter(|at| *at != NOT_ENDED)
    }
}

/// A message that waits for no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptEntry {
    pub(crate) what: Kept,
    pub(crate) places: Places,
    pub(crate) size: u32,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            owners: Map::default(),
            kept: Map::default(),
            holdings: Holdings::default(),
            rounds: Rounds::default(),
            next_number: 0,
            mark: None,
            queued: 0,
            to_fold: Vec::new(),
        }
    }

    pub(crate) fn knows(&self, owner: Owner) -> bool {
        self.owners.contains_key(&owner)
    }

    /// Notes the record that describes a Session or shared subscription. Resets what was known of
    /// the owner's end.
    pub(crate) fn set_head(&mut self, owner: Owner, head: Held) {
        self.use_number(match owner {
            Owner::Session(number) => number,
            Owner::Group(number) => number,
        });
        let entry = self.owners.entry(owner).or_default();
        if let Some(old) = entry.head.replace(head) {
            self.holdings.release(old);
        }
        self.holdings.hold_new(head);
        entry.detached = None;
        entry.will_gone = false;
    }

    /// Notes the new place of an owner's record, which was copied unchanged.
    pub(crate) fn move_head(&mut self, owner: Owner, head: Held) {
        let Some(entry) = self.owners.get_mut(&owner) else {
            return;
        };
        if let Some(old) = entry.head.replace(head) {
            self.holdings.release(old);
        }
        self.holdings.hold_new(head);
    }

    pub(crate) fn use_number(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// Notes a record about a subscription of a Session that was appended or found.
    pub(crate) fn log_subscription(&mut self, session: u64, record: Held) {
        let Some(entry) = self.owners.get_mut(&Owner::Session(session)) else {
            return;
        };
        self.holdings.hold_new(record);
        if entry.subscriptions.push(record) {
            self.to_fold.push(session);
        }
    }

    /// Notes a record with all `count` subscriptions of a Session that was appended or found. It
    /// replaces the records before it.
    pub(crate) fn replace_subscriptions(&mut self, session: u64, image: Held, count: u64) {
        let Some(entry) = self.owners.get_mut(&Owner::Session(session)) else {
            return;
        };
        for old in entry.subscriptions.replace(image, count) {
            self.holdings.release(old);
        }
        self.holdings.hold_new(image);
    }

    /// Notes a Packet Identifier that waits for its PUBREL. Returns whether it was not awaited
    /// before.
    pub(crate) fn await_release(&mut self, session: u64, packet_id: PacketIdentifier) -> bool {
        let Some(entry) = self.owners.get_mut(&Owner::Session(session)) else {
            return false;
        };
        let new = !entry.awaiting_release.contains(&packet_id);
        if new {
            entry.awaiting_release.push(packet_id);
        }
        new
    }

    /// Notes that a PUBREL has come. Returns whether it was awaited.
    pub(crate) fn release(&mut self, session: u64, packet_id: PacketIdentifier) -> bool {
        let Some(entry) = self.owners.get_mut(&Owner::Session(session)) else {
            return false;
        };
        let awaiting = &mut entry.awaiting_release;
        let Some(index) = awaiting.iter().position(|awaited| *awaited == packet_id) else {
            return false;
        };
        awaiting.remove(index);
        if awaiting.is_empty() {
            *awaiting = Vec::new();
        }
        true
    }

    /// Notes a message that is kept; `bytes` is the size of its record in the journal.
    pub(crate) fn keep(&mut self, number: u64, kept: KeptEntry, bytes: u32) {
        self.holdings.hold_new_message(kept.places, kept.size, bytes);
        self.insert_kept(number, kept);
    }

    /// Notes a kept message whose places are held already.
    pub(crate) fn insert_kept(&mut self, number: u64, kept: KeptEntry) {
        self.use_number(number);
        if let Some(old) = self.kept.insert(number, kept) {
            self.holdings.release_message(old.places, old.size);
        }
    }

    /// Forgets a kept message. Returns whether it was kept.
    pub(crate) fn unkeep(&mut self, number: u64) -> bool {
        let Some(old) = self.kept.remove(&number) else {
            return false;
        };
        self.holdings.release_message(old.places, old.size);
        true
    }

    /// Finishes a message. Returns whether it was there and not finished.
    pub(crate) fn finish(&mut self, owner: Owner, sequence: u64) -> bool {
        self.end_in_order(owner, sequence..sequence.saturating_add(1), Queue::finish) > 0
    }

    /// Marks a message as taken. Returns whether it was there, neither taken nor finished.
    pub(crate) fn take(&mut self, owner: Owner, sequence: u64) -> bool {
        self.end_in_order(owner, sequence..sequence.saturating_add(1), Queue::take) > 0
    }

    /// Finishes these messages, or takes them, as `end` says, up to the first one for which that
    /// is void. Returns how many that were.
    pub(crate) fn end_in_order(
        &mut self,
        owner: Owner,
        sequences: Range<u64>,
        end: impl Fn(&mut Queue, u64) -> Option<Entry>,
    ) -> u64 {
        let Self { owners, holdings, queued, .. } = self;
        let queue = owners.get_mut(&owner).and_then(|entry| entry.queue.as_deref_mut());
        let Some(queue) = queue else {
            return 0;
        };
        let ended = sequences.map_while(|sequence| end(queue, sequence));
        let count = |count, entry: Entry| {
            // The entry gives up its places, and it does not count as waiting any more.
            holdings.release_entry(&entry);
            *queued -= u64::from(!entry.flags.has(Flags::TAKEN));
            count + 1
        };
        ended.fold(0, count)
    }

    /// Notes that the message of a queue entry is damaged. The entry keeps its place in the queue
    /// without a message.
    pub(crate) fn lose_message(&mut self, owner: Owner, sequence: u64) {
        let queue = self.owners.get_mut(&owner).and_then(|entry| entry.queue.as_deref_mut());
        let lost = queue.and_then(|queue| queue.update(sequence, |entry| entry.places = None));
        if let Some(Entry { places: Some(places), size, .. }) = lost {
            self.holdings.release_message(places, size);
        }
    }

    /// Notes the new places of a queue entry's record and perhaps of its message; `bytes` is the
    /// size of the new record in the journal.
    ///
    /// `size` is that of the message. It, and whether the message came by a shared subscription,
    /// are what the record says: the entry may come from a checkpoint that says otherwise.
    pub(crate) fn move_entry(&mut self, head: &EnqueueHead<'_>, to: Places, size: u32, bytes: u32) {
        let queue = self.owners.get_mut(&head.owner).and_then(|entry| entry.queue.as_deref_mut());
        let moved = queue.and_then(|queue| {
            queue.update(head.sequence, |entry| {
                (entry.places, entry.size) = (Some(to), size);
                entry.flags.set(Flags::FROM_GROUP, head.group.is_some());
            })
        });
        if let Some(moved) = moved {
            self.holdings.hold_new_message(to, size, bytes);
            if let Some(from) = moved.places {
                self.holdings.release_message(from, moved.size);
            }
        }
    }

    /// Forgets an owner with everything it holds. Returns whether it was known.
    pub(crate) fn end(&mut self, owner: Owner) -> bool {
        let Some(entry) = self.owners.remove(&owner) else {
            return false;
        };
        let entry = *entry;
        for held in entry.head.into_iter().chain(entry.subscriptions.records()) {
            self.holdings.release(held);
        }
        if let Some(queue) = entry.queue {
            self.queued -= queue.waiting().messages;
            queue.for_each(|entry| self.holdings.release_entry(&entry));
        }
        true
    }

    /// Confirms a round: the messages kept on its behalf count from now on.
    pub(crate) fn confirm(&mut self, round: Round) {
        for (owner, sequence) in self.rounds.confirm(round) {
            let owner = self.owners.get_mut(&owner);
            if let Some(queue) = owner.and_then(|entry| entry.queue.as_deref_mut()) {
                queue.update(sequence, |entry| entry.flags.set(Flags::PROVISIONAL, false));
            }
        }
    }

    /// Begins a new life of the process: messages that were not confirmed do not count any more.
    /// Returns how many those were.
    pub(crate) fn begin_boot(&mut self, boot: u64) -> u64 {
        let mut dropped = 0;
        for (owner, sequence) in self.rounds.begin(boot) {
            let queue = self.owners.get(&owner).and_then(|entry| entry.queue.as_deref());
            let entry = queue.and_then(|queue| queue.get(sequence));
            if entry.is_some_and(|entry| entry.flags.has(Flags::PROVISIONAL)) {
                dropped += u64::from(self.finish(owner, sequence));
            }
        }
        dropped
    }

    /// Returns the round as records name it.
    pub(crate) fn boot_round(&self, round: Round) -> BootRound {
        BootRound { boot: self.rounds.boot(), round }
    }

    /// Releases what an entry holds and stops counting it as waiting.
    fn forget_entry(&mut self, entry: &Entry) {
        self.holdings.release_entry(entry);
        if !entry.flags.has(Flags::TAKEN) {
            self.queued -= 1;
        }
    }
}

impl OwnerEntry {
    /// Returns the queue; creates it for the first message.
    pub(crate) fn queue_mut(&mut self) -> &mut Queue {
        self.queue.get_or_insert_default()
    }

    /// Returns whether the owner may have something in this segment.
    pub(crate) fn may_be_in(&self, segment: u32) -> bool {
        self.head.is_some_and(|head| head.place.segment() == segment)
            || self.subscriptions.is_in(segment)
            || self.queue.as_ref().is_some_and(|queue| queue.may_be_in(segment))
    }
}
