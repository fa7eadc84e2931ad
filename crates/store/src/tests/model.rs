//! What a store should have kept, in maps and lists.

use std::collections::{BTreeMap, BTreeSet};

use midge_codec::PacketIdentifier;
use midge_core::{
    GroupRecord, Kept, Owner, RecoveredQueue, Round, SessionRecord, StoreOp, SubscriptionRecord,
    Timestamp,
};

use crate::testing::plain;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) groups: BTreeMap<u64, (GroupRecord, Queue)>,
    pub(super) kept: BTreeMap<u64, (Kept, String)>,
    pub(super) next_number: u64,
    confirmed: BTreeSet<(usize, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    record: SessionRecord,
    detached: Option<(Timestamp, u64)>,
    subscriptions: Vec<SubscriptionRecord>,
    pub(super) awaiting_release: Vec<PacketIdentifier>,
    pub(super) queue: Queue,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) entries: BTreeMap<u64, Entry>,
    pub(super) next: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    text: String,
    size: u64,
    from_group: bool,
    taken: bool,
    round: Option<Round>,
}

impl Model {
    pub(super) fn queue_mut(&mut self, owner: Owner) -> Option<&mut Queue> {
        match owner {
            Owner::Session(number) => self.sessions.get_mut(&number).map(|one| &mut one.queue),
            Owner::Group(number) => self.groups.get_mut(&number).map(|(_, queue)| queue),
        }
    }

    fn queue(&self, owner: Owner) -> Option<&Queue> {
        match owner {
            Owner::Session(number) => self.sessions.get(&number).map(|one| &one.queue),
            Owner::Group(number) => self.groups.get(&number).map(|(_, queue)| queue),
        }
    }

    pub(super) fn owners(&self) -> Vec<Owner> {
        let sessions = self.sessions.keys().map(|number| Owner::Session(*number));
        sessions.chain(self.groups.keys().map(|number| Owner::Group(*number))).collect()
    }

    pub(super) fn apply(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Session(record) => self.session(record),
            StoreOp::Detached { session, at, sent_before } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.detached = Some((*at, *sent_before));
                }
            }
            StoreOp::WillGone { session } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.record.will = None;
                }
            }
            StoreOp::Subscribed { session, subscription } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.subscriptions.retain(|one| one.filter != subscription.filter);
                    session.subscriptions.push(subscription.clone());
                }
            }
            StoreOp::Unsubscribed { session, filter } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.subscriptions.retain(|one| one.filter != *filter);
                }
            }
            StoreOp::Group(record) => {
                self.next_number = self.next_number.max(record.number + 1);
                let group = self.groups.entry(record.number);
                group.or_insert_with(|| (record.clone(), Queue::default())).0 = record.clone();
            }
            StoreOp::Keep { number, what, message } => {
                self.next_number = self.next_number.max(number + 1);
                self.kept.insert(*number, (*what, plain::message(message)));
            }
            StoreOp::Unkeep { number } => {
                self.kept.remove(number);
            }
            StoreOp::Ended(Owner::Session(number)) => {
                self.sessions.remove(number);
            }
            StoreOp::Ended(Owner::Group(number)) => {
                self.groups.remove(number);
            }
            _ => self.apply_to_queue(op),
        }
    }

    fn session(&mut self, record: &SessionRecord) {
        self.next_number = self.next_number.max(record.number + 1);
        let known = self.sessions.entry(record.number).or_insert_with(|| Session {
            record: record.clone(),
            detached: None,
            subscriptions: Vec::new(),
            awaiting_release: Vec::new(),
            queue: Queue::default(),
        });
        known.record = record.clone();
        known.detached = None;
    }

    fn apply_to_queue(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Enqueue(enqueue) => {
                let confirmed = &self.confirmed;
                let is_open =
                    |round: &Round| !confirmed.contains(&(round.worker.index(), round.number));
                let round = enqueue.round.filter(is_open);
                let Some(queue) = self.queue_mut(enqueue.owner) else { return };
                if enqueue.sequence < queue.next {
                    return;
                }
                queue.next = enqueue.sequence + 1;
                let entry = Entry {
                    text: plain::delivery(&enqueue.delivery),
                    size: enqueue.delivery.message.size() as u64,
                    from_group: enqueue.delivery.group.is_some(),
                    taken: false,
                    round,
                };
                queue.entries.insert(enqueue.sequence, entry);
            }
            StoreOp::Taken { owner, sequence } => {
                let queue = self.queue_mut(*owner);
                if let Some(entry) = queue.and_then(|queue| queue.entries.get_mut(sequence)) {
                    entry.taken = true;
                }
            }
            StoreOp::Finished { owner, sequence } => {
                if let Some(queue) = self.queue_mut(*owner) {
                    queue.entries.remove(sequence);
                }
            }
            StoreOp::AwaitRelease { session, packet_id } => {
                if let Some(session) = self.sessions.get_mut(session)
                    && !session.awaiting_release.contains(packet_id)
                {
                    session.awaiting_release.push(*packet_id);
                }
            }
            StoreOp::Released { session, packet_id } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.awaiting_release.retain(|one| one != packet_id);
                }
            }
            StoreOp::Confirm(round) => {
                self.confirmed.insert((round.worker.index(), round.number));
                for owner in self.owners() {
                    let entries = self.queue_mut(owner).map(|queue| &mut queue.entries);
                    for entry in entries.into_iter().flatten().map(|(_, entry)| entry) {
                        entry.round = entry.round.filter(|open| open != round);
                    }
                }
            }
            _ => unreachable!("the operation is handled elsewhere"),
        }
    }

    /// Begins a new life of the process.
    pub(super) fn begin_boot(&mut self) {
        self.confirmed.clear();
        for owner in self.owners() {
            if let Some(queue) = self.queue_mut(owner) {
                queue.entries.retain(|_, entry| entry.round.is_none());
            }
        }
    }

    /// Returns what a start has to find, in lines.
    pub(super) fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("next number {}", self.next_number)];
        for (number, session) in &self.sessions {
            let queue = session.queue.recovered(session.detached.map(|(_, sent)| sent));
            let detached = session.detached.map(|(at, _)| at);
            lines.push(plain::session(&session.record, detached));
            lines.extend(plain::subscriptions(&session.subscriptions));
            lines.push(format!("{:?}", session.awaiting_release));
            lines.push(plain::queue(&queue));
            lines.extend(self.messages(Owner::Session(*number)));
        }
        for (number, (record, queue)) in &self.groups {
            lines.push(format!("{record:?}"));
            lines.push(plain::queue(&queue.recovered(None)));
            lines.extend(self.messages(Owner::Group(*number)));
        }
        for (number, (what, message)) in &self.kept {
            lines.push(format!("kept {number} {what:?} {message}"));
        }
        lines
    }

    /// Returns what fetching has to find, in lines.
    pub(super) fn messages(&self, owner: Owner) -> Vec<String> {
        let entries = self.queue(owner).map(|queue| &queue.entries);
        let waiting = entries.into_iter().flatten().filter(|(_, entry)| !entry.taken);
        waiting.map(|(sequence, entry)| format!("{owner:?} {sequence} {}", entry.text)).collect()
    }
}

impl Queue {
    fn recovered(&self, sent_before: Option<u64>) -> RecoveredQueue {
        let waiting = || self.entries.values().filter(|entry| !entry.taken);
        let taken = self.entries.iter().filter(|(_, entry)| entry.taken);
        RecoveredQueue {
            first: self.entries.keys().next().copied().unwrap_or(self.next),
            next: self.next,
            messages: waiting().count() as u64,
            bytes: waiting().map(|entry| entry.size).sum(),
            taken: taken.map(|(sequence, _)| *sequence).collect(),
            sent_before: sent_before.unwrap_or(u64::MAX),
            of_groups: waiting().filter(|entry| entry.from_group).count() as u64,
        }
    }
}
