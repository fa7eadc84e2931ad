//! Moves live records out of segments that are mostly dead, in small commits of their own between
//! those of the workers. A copy means the same as its original. Records that turn out to be damaged
//! are reported and left behind, and their segment is kept for a human.

use std::ops::ControlFlow;

use hashbrown::HashMap;
use midge_core::{Owner, SubscriptionRecord};

use crate::engine::{Buffers, Engine, soften};
use crate::error::StoreError;
use crate::fetching::incomprehensible;
use crate::index::{Held, KeptEntry, SegmentUse};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places};
use crate::record::{
    BadRecord, Body, Detached, Record, StoredMessage, await_release, decode, decode_message,
    detached, enqueue, group, keep, session, subscription_image, unkeep, will_gone,
};
use crate::report::Damage;
use crate::writer::Writer;

/// A slice of the work ends after this many bytes were copied.
const SLICE_BYTES: u64 = 256 << 10;
/// A slice of the work also ends after this many queue entries were looked at.
const SLICE_ENTRIES: usize = 20_000;
/// How many entries of a queue are moved before its owner is looked up again.
const ENTRIES_AT_ONCE: usize = 256;
/// How many Sessions are folded at once.
const FOLDS_AT_ONCE: usize = 64;

/// The segment that is being emptied.
pub(crate) struct Compaction {
    segment: u32,
    /// What may have something in the segment; the last item is next.
    work: Vec<Work>,
    /// The new places of messages that were in the segment, by their old ones.
    moved: HashMap<Location, Location, foldhash::fast::FixedState>,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// The head and the subscriptions, then the queue.
    Owner(Owner),
    /// The queue from this sequence on.
    Queue(Owner, u64),
    Kept(u64),
}

/// A record that cannot be copied.
type Unreadable = (Location, Damage);

impl Engine {
    /// Continues emptying a segment. Returns whether one was being emptied.
    pub(crate) fn continue_compaction(&mut self) -> Result<bool, StoreError> {
        let Some(mut compaction) = self.compaction.take() else {
            return Ok(false);
        };
        let before = self.writer.appended();
        let mut looked_at = 0;
        while looked_at < SLICE_ENTRIES && self.writer.appended() - before < SLICE_BYTES {
            let Some(work) = compaction.work.pop() else {
                break;
            };
            looked_at += self.move_one(&mut compaction, work);
        }
        self.writer.end_commit();
        if compaction.work.is_empty() {
            let left = self.index.holdings.get(compaction.segment).live;
            debug_assert_eq!(left, 0, "something is left in segment {}", compaction.segment);
        } else {
            self.compaction = Some(compaction);
        }
        soften(self.writer.journal.write())?;
        Ok(true)
    }

    pub(crate) fn start_compaction_if_due(&mut self) -> bool {
        if !self.has_garbage() {
            return false;
        }
        let Some(segment) = self.choose_segment() else {
            return false;
        };
        self.start_compaction(segment);
        true
    }

    /// Begins to empty this segment: lists everything that may have something in it.
    pub(crate) fn start_compaction(&mut self, segment: u32) {
        self.index.holdings.get_mut(segment).leaving = true;
        let index = &self.index;
        let owners = index.owners.iter().filter(|(_, entry)| entry.may_be_in(segment));
        let mut work: Vec<Work> = owners.map(|(owner, _)| Work::Owner(*owner)).collect();
        let kept = index.kept.iter().filter(|(_, kept)| is_in(kept.places, segment));
        work.extend(kept.map(|(number, _)| Work::Kept(*number)));
        self.compaction = Some(Compaction { segment, work, moved: HashMap::default() });
    }

    /// Returns the sealed segment with the smallest share of live bytes, if emptying it is worth
    /// the work and there is room for what is alive in it.
    fn choose_segment(&self) -> Option<u32> {
        let journal = &self.writer.journal;
        let segment_bytes = self.options.segment_bytes;
        let room = if journal.is_short() {
            segment_bytes.saturating_sub(u64::from(journal.end().offset())) / 2
        } else {
            u64::MAX
        };
        let share = |held: &SegmentUse| {
            let size = held.held_bytes.max(segment_bytes);
            (u128::from(held.bytes_alive()) << 20) / u128::from(size.max(1))
        };
        let current = journal.current_segment();
        let segments = journal.segments().into_iter().filter(|segment| *segment < current);
        segments
            .map(|segment| (segment, self.index.holdings.get(segment)))
            .filter(|(_, held)| held.live > 0 && !held.leaving)
            .filter(|(_, held)| held.bytes_alive() + held.bytes_alive() / 4 < room)
            .min_by_key(|(_, held)| share(held))
            .filter(|(_, held)| share(held) < (3 << 20) / 4)
            .map(|(segment, _)| segment)
    }

    /// Does a piece of work. Returns how many entries of queues it has looked at, or 1.
    fn move_one(&mut self, compaction: &mut Compaction, work: Work) -> usize {
        match work {
            Work::Owner(owner) => {
                self.move_head(compaction.segment, owner);
                if let Owner::Session(number) = owner
                    && let Some(entry) = self.index.owners.get(&owner)
                    && entry.subscriptions.is_in(compaction.segment)
                {
                    self.fold(number, true);
                }
                compaction.work.push(Work::Queue(owner, 0));
                1
            }
            Work::Queue(owner, from) => self.move_queue(compaction, owner, from),
            Work::Kept(number) => {
                self.move_kept(compaction, number);
                1
            }
        }
    }

    /// Copies the record of an owner if it is in this segment. Behind the copy, writes again what
    /// is known of a Session's end, which the copy would undo, and which Packet Identifiers wait
    /// for their PUBREL.
    fn move_head(&mut self, segment: u32, owner: Owner) {
        let Some(entry) = self.index.owners.get(&owner) else {
            return;
        };
        let Some(head) = entry.head.filter(|head| head.place.segment() == segment) else {
            return;
        };
        let tag = match self.writer.journal.read(head.place, &mut self.buffers.record) {
            Ok(tag) if matches!(tag, session::TAG | group::TAG) => tag,
            Ok(_) => {
                let bad = BadRecord("it is not the record of a Session or shared subscription");
                return self.lose_head(owner, head, incomprehensible(head.place, bad));
            }
            Err(damage) => return self.lose_head(owner, head, damage),
        };
        let Self { writer, index, buffers: Buffers { record, .. }, .. } = self;
        let moved = writer.append(tag, |out| out.extend_from_slice(record));
        index.move_head(owner, moved);
        if let (Owner::Session(session), Some(entry)) = (owner, index.owners.get(&owner)) {
            if let Some(detachment) = entry.detached {
                let (at, sent_before) = (detachment.at, detachment.sent_before);
                let record = Detached { session, at, sent_before };
                writer.append(detached::TAG, |out| record.encode(out));
            }
            if entry.will_gone {
                let encode = |out: &mut Vec<u8>| will_gone::encode(session, out);
                writer.append(will_gone::TAG, encode);
            }
            for packet_id in &entry.awaiting_release {
                let encode = |out: &mut Vec<u8>| await_release::encode(session, *packet_id, out);
                writer.append(await_release::TAG, encode);
            }
        }
    }

    fn lose_head(&mut self, owner: Owner, head: Held, damage: Damage) {
        if let Some(entry) = self.index.owners.get_mut(&owner) {
            entry.head = None;
        }
        self.index.holdings.release(head);
        self.note_damaged_record(head.place, damage);
    }

    /// Takes some Sessions that have many records about few subscriptions, and writes the
    /// subscriptions of each as one record. Returns whether there were any.
    pub(crate) fn fold_subscriptions(&mut self) -> bool {
        let some = self.index.to_fold.len().min(FOLDS_AT_ONCE);
        let sessions: Vec<u64> = self.index.to_fold.drain(..some).collect();
        for session in &sessions {
            self.fold(*session, false);
        }
        self.writer.end_commit();
        !sessions.is_empty()
    }

    fn fold(&mut self, session: u64, always: bool) {
        let owner = Owner::Session(session);
        let read = self.read_subscriptions(session);
        let Some(entry) = self.index.owners.get_mut(&owner) else {
            return;
        };
        let subscriptions: &[SubscriptionRecord] = match &read {
            Ok(subscriptions) => subscriptions,
            // The Session cannot come back with some of its subscriptions missing.
            Err(_) => &[],
        };
        let count = subscriptions.len() as u64;
        let is_worth_it = entry.subscriptions.look(count);
        if let Err(damage) = read {
            entry.is_broken = true;
            let records = entry.subscriptions.records();
            let places: Vec<u32> = records.map(|record| record.place.segment()).collect();
            for segment in places {
                self.index.holdings.get_mut(segment).damaged = true;
            }
            self.note_damage(damage);
            self.write_subscriptions(session, &[]);
        } else if is_worth_it || always {
            self.write_subscriptions(session, subscriptions);
        }
    }

    fn write_subscriptions(&mut self, session: u64, subscriptions: &[SubscriptionRecord]) {
        let image = self.append(subscription_image::TAG, |out| {
            subscription_image::encode(session, subscriptions, out);
        });
        self.index.replace_subscriptions(session, image, subscriptions.len() as u64);
    }

    /// Moves some entries of a queue and puts the rest back as work. Returns how many entries it
    /// has looked at, at least 1.
    fn move_queue(&mut self, compaction: &mut Compaction, owner: Owner, from: u64) -> usize {
        let entry = self.index.owners.get_mut(&owner);
        let Some(queue) = entry.and_then(|entry| entry.queue.as_deref_mut()) else {
            return 1;
        };
        let mut looked_at = 0;
        let mut chosen = Vec::new();
        let mut next = from;
        let end = queue.visit_from(from, |entry| {
            if looked_at == SLICE_ENTRIES || chosen.len() == ENTRIES_AT_ONCE {
                return ControlFlow::Break(());
            }
            looked_at += 1;
            next = entry.sequence + 1;
            if entry.places.is_some_and(|places| is_in(places, compaction.segment)) {
                chosen.push(entry);
            }
            ControlFlow::Continue(())
        });
        for entry in &chosen {
            if let Err((place, damage)) = self.move_entry(compaction, owner, entry) {
                self.index.lose_message(owner, entry.sequence);
                self.note_damaged_record(place, damage);
            }
        }
        if end.is_break() {
            compaction.work.push(Work::Queue(owner, next));
        } else if let Some(entry) = self.index.owners.get_mut(&owner)
            && let Some(queue) = entry.queue.as_deref_mut()
        {
            queue.tighten_segments();
        }
        looked_at.max(1)
    }

    fn move_entry(
        &mut self,
        compaction: &mut Compaction,
        owner: Owner,
        entry: &Entry,
    ) -> Result<(), Unreadable> {
        let Some(places) = entry.places else {
            return Ok(());
        };
        let Self { writer, index, buffers: Buffers { record, message }, .. } = self;
        let at = places.record;
        let tag = writer.journal.read(at, record).map_err(|damage| (at, damage))?;
        let bad = |bad| (at, incomprehensible(at, bad));
        let Record::Enqueue(mut head, body) = decode(tag, record).map_err(bad)? else {
            return Err(bad(BadRecord("it is no message of a queue")));
        };
        if (head.owner, head.sequence) != (owner, entry.sequence) {
            return Err(bad(BadRecord("it is a message of another queue")));
        }
        places.check(&body).map_err(bad)?;
        if !entry.flags.has(Flags::PROVISIONAL) {
            head.round = None;
        }
        let target = compaction.target(places.message, &body, writer, message)?;
        let size = target.message_size(&body);
        let tag = target.tag(enqueue::TAG, enqueue::TAG_SHARED);
        let copy = writer.append(tag, |out| {
            enqueue::encode_head(&head, out);
            target.encode(size, out);
        });
        let moved = compaction.note(places.message, &target, copy.place);
        index.move_entry(&head, moved, size, copy.bytes);
        Ok(())
    }

    fn move_kept(&mut self, compaction: &mut Compaction, number: u64) {
        let Some(kept) = self.index.kept.get(&number).copied() else {
            return;
        };
        if !is_in(kept.places, compaction.segment) {
            return;
        }
        if let Err((place, damage)) = self.copy_kept(compaction, number, kept.places) {
            self.index.unkeep(number);
            self.append(unkeep::TAG, |out| {
                unkeep::encode(number, out);
            });
            self.note_damaged_record(place, damage);
        }
    }

    fn copy_kept(
        &mut self,
        compaction: &mut Compaction,
        number: u64,
        places: Places,
    ) -> Result<(), Unreadable> {
        let Self { writer, index, buffers: Buffers { record, message }, .. } = self;
        let at = places.record;
        let tag = writer.journal.read(at, record).map_err(|damage| (at, damage))?;
        let bad = |bad| (at, incomprehensible(at, bad));
        let (what, body) = match decode(tag, record).map_err(bad)? {
            Record::Keep(found, what, body) if found == number => (what, body),
            _ => return Err(bad(BadRecord("it is not the kept message that was expected"))),
        };
        places.check(&body).map_err(bad)?;
        let target = compaction.target(places.message, &body, writer, message)?;
        let size = target.message_size(&body);
        let tag = target.tag(keep::TAG, keep::TAG_SHARED);
        let copy = writer.append(tag, |out| {
            keep::encode_head(number, what, out);
            target.encode(size, out);
        });
        let places = compaction.note(places.message, &target, copy.place);
        index.keep(number, KeptEntry { what, places, size }, copy.bytes);
        Ok(())
    }
}

/// Where a copied record has its message.
enum Target<'a> {
    Inline(StoredMessage<'a>),
    At(Location),
}

impl Compaction {
    /// Decides where a copy has its message. A message that moves stands in the first copy that
    /// needs it; the others refer to that copy.
    fn target<'a>(
        &self,
        message: Location,
        body: &Body<'a>,
        writer: &mut Writer,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Target<'a>, Unreadable> {
        if let Some(moved) = self.moved.get(&message) {
            return Ok(Target::At(*moved));
        }
        if let Body::Inline(stored) = body {
            return Ok(Target::Inline(*stored));
        }
        if message.segment() != self.segment {
            return Ok(Target::At(message));
        }
        let tag = writer.journal.read(message, buffer).map_err(|damage| (message, damage))?;
        let stored = decode_message(tag, buffer);
        let stored = stored.map_err(|bad| (message, incomprehensible(message, bad)))?;
        Ok(Target::Inline(stored))
    }

    /// Notes a copy that was made; returns its places.
    fn note(&mut self, message: Location, target: &Target<'_>, copy: Location) -> Places {
        match target {
            Target::At(message) => Places { record: copy, message: *message },
            Target::Inline(_) => {
                self.moved.insert(message, copy);
                Places::inline(copy)
            }
        }
    }
}

impl Target<'_> {
    fn tag(&self, inline: u8, shared: u8) -> u8 {
        match self {
            Self::Inline(_) => inline,
            Self::At(_) => shared,
        }
    }

    /// Returns the size of the message as the copy will say it. What is known from elsewhere, such
    /// as a checkpoint, may be something else.
    fn message_size(&self, body: &Body<'_>) -> u32 {
        match self {
            Self::Inline(message) => message.size() as u32,
            Self::At(_) => body.message_size(),
        }
    }

    fn encode(&self, size: u32, out: &mut Vec<u8>) {
        match self {
            Self::Inline(message) => out.extend_from_slice(message.encoded),
            Self::At(place) => enqueue::encode_place(*place, size, out),
        }
    }
}

fn is_in(places: Places, segment: u32) -> bool {
    places.record.segment() == segment || places.message.segment() == segment
}
