//! Applies each [`StoreOp`]: appends a record to the journal and changes the index, or does nothing
//! if the operation is void. A void operation is not written, so replay never meets it.

use std::borrow::Cow;

use midge_core::{Enqueue, Kept, Message, Owner, StoreOp};

use crate::engine::Engine;
use crate::index::{Detachment, Held, Holdings, KeptEntry};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places, Queue};
use crate::record::{
    BootRound, Detached, EnqueueHead, Run, await_release, confirm, detached, ended, enqueue,
    finished, group, keep, message, released, run, session, subscribed, taken, unkeep,
    unsubscribed, will_gone,
};

impl Engine {
    /// Applies operations in order. Those that say the same of messages that follow each other are
    /// applied together, with one record.
    pub(crate) fn apply_ops(&mut self, ops: &[StoreOp]) {
        let mut rest = ops;
        while let Some((op, behind)) = rest.split_first() {
            rest = match op {
                StoreOp::Finished { .. } | StoreOp::Taken { .. } => {
                    let (run, behind) = cut_run(rest, op);
                    match op {
                        StoreOp::Taken { .. } => self.apply_taken(run),
                        _ => self.apply_finished(run),
                    }
                    behind
                }
                _ => {
                    self.apply_op(op);
                    behind
                }
            };
        }
    }

    pub(crate) fn apply_op(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Enqueue(enqueue) => self.apply_enqueue(enqueue),
            StoreOp::Finished { owner, sequence } => {
                self.apply_finished(Run { owner: *owner, first: *sequence, count: 1 });
            }
            StoreOp::Taken { owner, sequence } => {
                self.apply_taken(Run { owner: *owner, first: *sequence, count: 1 });
            }
            StoreOp::AwaitRelease { session, packet_id } => {
                if self.index.await_release(*session, *packet_id) {
                    self.append(await_release::TAG, |out| {
                        await_release::encode(*session, *packet_id, out);
                    });
                }
            }
            StoreOp::Released { session, packet_id } => {
                if self.index.release(*session, *packet_id) {
                    self.append(released::TAG, |out| released::encode(*session, *packet_id, out));
                }
            }
            StoreOp::Confirm(round) => {
                let round = self.index.boot_round(*round);
                self.append(confirm::TAG, |out| confirm::encode(&round, out));
                self.index.confirm(round.round);
            }
            StoreOp::Keep { number, what, message } => self.apply_keep(*number, *what, message),
            StoreOp::Unkeep { number } => {
                if self.index.unkeep(*number) {
                    self.append(unkeep::TAG, |out| unkeep::encode(*number, out));
                }
            }
            StoreOp::Ended(owner) => {
                if self.index.end(*owner) {
                    self.append(ended::TAG, |out| ended::encode(*owner, out));
                }
            }
            StoreOp::Session(_)
            | StoreOp::Detached { .. }
            | StoreOp::SentAhead { .. }
            | StoreOp::WillGone { .. }
            | StoreOp::Subscribed { .. }
            | StoreOp::Unsubscribed { .. }
            | StoreOp::Group(_) => self.apply_to_owner(op),
        }
    }

    /// Applies the operations that come with connections and subscriptions.
    fn apply_to_owner(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Session(record) => {
                let head = self.append(session::TAG, |out| session::encode(record, out));
                self.index.set_head(Owner::Session(record.number), head);
            }
            StoreOp::Group(record) => {
                let head = self.append(group::TAG, |out| group::encode(record, out));
                self.index.set_head(Owner::Group(record.number), head);
            }
            StoreOp::Detached { session, at, sent_before } => {
                let (session, at, sent_before) = (*session, *at, *sent_before);
                if let Some(entry) = self.index.owners.get_mut(&Owner::Session(session)) {
                    entry.detached = Some(Detachment { at, sent_before });
                    let record = Detached { session, at, sent_before };
                    self.append(detached::TAG, |out| record.encode(out));
                }
            }
            StoreOp::SentAhead { session, sent_before } => {
                let (session, at, sent_before) = (*session, detached::NOT_ENDED, *sent_before);
                self.apply_to_owner(&StoreOp::Detached { session, at, sent_before });
            }
            StoreOp::WillGone { session } => {
                if let Some(entry) = self.index.owners.get_mut(&Owner::Session(*session)) {
                    entry.will_gone = true;
                    self.append(will_gone::TAG, |out| will_gone::encode(*session, out));
                }
            }
            StoreOp::Subscribed { session, subscription }
                if self.index.knows(Owner::Session(*session)) =>
            {
                let record = self.append(subscribed::TAG, |out| {
                    subscribed::encode(*session, subscription, out);
                });
                self.index.log_subscription(*session, record);
            }
            StoreOp::Unsubscribed { session, filter } => {
                let known = self.index.owners.get(&Owner::Session(*session));
                if known.is_some_and(|entry| !entry.subscriptions.is_empty()) {
                    let record = self.append(unsubscribed::TAG, |out| {
                        unsubscribed::encode(*session, filter, out);
                    });
                    self.index.log_subscription(*session, record);
                }
            }
            _ => {}
        }
    }

    fn apply_finished(&mut self, run: Run) {
        self.apply_run(run, Queue::finish, finished::TAG, run::TAG_FINISHED);
    }

    fn apply_taken(&mut self, run: Run) {
        self.apply_run(run, Queue::take, taken::TAG, run::TAG_TAKEN);
    }

    /// Applies `end` to the messages of a run. The tags are those of the records for one message
    /// and for several.
    fn apply_run(
        &mut self,
        run: Run,
        end: impl Fn(&mut Queue, u64) -> Option<Entry>,
        single: u8,
        several: u8,
    ) {
        let mut sequences = run.sequences();
        while !sequences.is_empty() {
            let first = sequences.start;
            match self.index.end_in_order(run.owner, sequences.clone(), &end) {
                // It is void: it is not there, or was ended before.
                0 => sequences.start += 1,
                1 => {
                    self.append(single, |out| finished::encode(run.owner, first, out));
                    sequences.start += 1;
                }
                count => {
                    self.append(several, |out| Run { first, count, ..run }.encode(out));
                    sequences.start += count;
                }
            }
        }
    }

    fn apply_enqueue(&mut self, op: &Enqueue) {
        let Self { index, writer, .. } = self;
        let Some(owner) = index.owners.get_mut(&op.owner) else {
            return;
        };
        let queue = owner.queue.get_or_insert_default();
        if op.sequence < queue.next() || op.sequence == u64::MAX {
            return;
        }
        let delivery = &op.delivery;
        let round = op.round.filter(|round| !index.rounds.is_confirmed(*round));
        let head = EnqueueHead {
            owner: op.owner,
            sequence: op.sequence,
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: Cow::Borrowed(&delivery.identifiers),
            group: delivery.group,
            round: round.map(|round| BootRound { boot: index.rounds.boot(), round }),
        };
        let size = delivery.message.size() as u32;
        let shared = stored_place(&delivery.message, &index.holdings);
        let tag = if shared.is_some() { enqueue::TAG_SHARED } else { enqueue::TAG };
        let record = writer.append(tag, |out| {
            enqueue::encode_head(&head, out);
            encode_message(&delivery.message, shared, out);
        });
        let places = places_of(record, shared, &delivery.message);
        let flags = Flags::default()
            .with(Flags::FROM_GROUP, delivery.group.is_some())
            .with(Flags::PROVISIONAL, round.is_some());
        let entry = Entry { sequence: op.sequence, places: Some(places), size, flags };
        queue.push(entry);
        index.queued += 1;
        index.holdings.hold_new_message(places, size, record.bytes);
        if let Some(round) = round {
            index.rounds.add(round, op.owner, op.sequence);
        }
    }

    fn apply_keep(&mut self, number: u64, what: Kept, message: &Message) {
        let shared = stored_place(message, &self.index.holdings);
        let tag = if shared.is_some() { keep::TAG_SHARED } else { keep::TAG };
        let record = self.append(tag, |out| {
            keep::encode_head(number, what, out);
            encode_message(message, shared, out);
        });
        let places = places_of(record, shared, message);
        let kept = KeptEntry { what, places, size: message.size() as u32 };
        self.index.keep(number, kept, record.bytes);
    }

    pub(crate) fn append(&mut self, tag: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Held {
        self.writer.append(tag, encode)
    }
}

/// Cuts a run off the operations that begin with `first`, one that finishes a message or takes it.
/// Returns the run, and what is behind it.
fn cut_run<'a>(ops: &'a [StoreOp], first: &StoreOp) -> (Run, &'a [StoreOp]) {
    let kind = std::mem::discriminant(first);
    let named = |op: &StoreOp| match op {
        StoreOp::Finished { owner, sequence } | StoreOp::Taken { owner, sequence } => {
            Some((*owner, *sequence))
        }
        _ => None,
    };
    let (owner, first) = named(first).unwrap_or((Owner::Session(0), 0));
    let follows = |(op, distance): &(&StoreOp, u64)| {
        let sequence = first.checked_add(*distance);
        std::mem::discriminant(*op) == kind && named(op) == sequence.map(|it| (owner, it))
    };
    let run = ops.iter().zip(0..Run::COUNT_MAX).take_while(follows);
    let count = run.count();
    (Run { owner, first, count: count as u64 }, &ops[count..])
}

/// Returns where the message stands already, if a new record may refer to that place.
fn stored_place(message: &Message, holdings: &Holdings) -> Option<Location> {
    let place = Location::from_u64(message.stored_at().get()?.get())?;
    holdings.may_refer_to(place).then_some(place)
}

fn encode_message(message: &Message, shared: Option<Location>, out: &mut Vec<u8>) {
    match shared {
        Some(place) => enqueue::encode_place(place, message.size() as u32, out),
        None => message::encode(message, out),
    }
}

/// Returns where record and message are. Notes the place in the message if the record has it for
/// the first time.
fn places_of(record: Held, shared: Option<Location>, message: &Message) -> Places {
    let record = record.place;
    if shared.is_none() {
        message.stored_at().set(record.to_non_zero());
    }
    Places { record, message: shared.unwrap_or(record) }
}
