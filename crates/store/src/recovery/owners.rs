//! Reads the records of Sessions and shared subscriptions at a start, in the order in which they
//! stand in the journal, by several threads.

use std::num::NonZeroUsize;

use midge_core::{
    GroupRecord, Owner, RecoveredQueue, RecoveredSession, RecoveredSessions, SessionRecord,
    SubscriptionRecord,
};

use super::folding::Folded;
use crate::fetching::incomprehensible;
use crate::index::{Detachment, Held, Index, OwnerEntry};
use crate::journal::Journal;
use crate::location::Location;
use crate::queue::{Flags, Queue};
use crate::record::{BadRecord, group, session};
use crate::record_reader::RecordReader;
use crate::report::{Damage, DamageKind};
use crate::side_by_side::{parts, side_by_side};

/// All owners that can be read, and those that cannot.
#[derive(Default)]
pub(super) struct Owners {
    pub(super) sessions: RecoveredSessions,
    pub(super) groups: Vec<(GroupRecord, RecoveredQueue)>,
    /// In the order of their records.
    pub(super) lost: Vec<(Owner, Damage)>,
}

/// An owner whose record is known.
struct Known<'a> {
    head: Location,
    owner: Owner,
    entry: &'a OwnerEntry,
}

/// What the records of some owners say.
#[derive(Default)]
struct Part<'a> {
    sessions: RecoveredSessions,
    groups: Vec<(GroupRecord, RecoveredQueue)>,
    /// Sessions with records about subscriptions that stand far from their own.
    unfinished: Vec<Unfinished<'a>>,
    lost: Vec<(Location, Owner, Damage)>,
}

struct Unfinished<'a> {
    head: Location,
    entry: &'a OwnerEntry,
    session: Box<RecoveredSession>,
}

/// A record about the subscriptions of a Session.
#[derive(Clone, Copy)]
struct Needed {
    place: Location,
    /// Which of the unfinished Sessions it is, and which of its records.
    session: usize,
    nth: usize,
}

/// A record about the subscriptions of a Session that was read: its tag and body.
struct Read {
    needed: Needed,
    record: Result<(u8, Box<[u8]>), Damage>,
}

/// Returns the owners that have lost records, in the order of their numbers.
pub(super) fn without_records(index: &Index) -> Vec<(Owner, Damage)> {
    let is_lost = |entry: &OwnerEntry| entry.head.is_none() || entry.is_broken;
    let lost = index.owners.iter().filter(|(_, entry)| is_lost(entry));
    let mut lost: Vec<_> = lost.map(|(owner, _)| *owner).collect();
    lost.sort_unstable();
    let damage = |owner| Damage {
        file: "journal".into(),
        offset: 0,
        kind: DamageKind::BadRecord,
        detail: format!("{owner:?} has lost records; it is dropped"),
    };
    lost.into_iter().map(|owner| (owner, damage(owner))).collect()
}

/// Reads all others.
pub(super) fn read(index: &Index, journal: &Journal, readers: NonZeroUsize) -> Owners {
    let mut known = Vec::with_capacity(index.owners.len());
    known.extend(index.owners.iter().filter_map(|(&owner, entry)| match entry.head {
        Some(Held { place: head, .. }) if !entry.is_broken => Some(Known { head, owner, entry }),
        _ => None,
    }));
    known.sort_unstable_by_key(|known| known.head);
    let found = side_by_side(&parts(&known, readers), |known| read_part(known, journal.reader()));
    drop(known);
    let mut owners = Owners::default();
    let (mut unfinished, mut lost) = (Vec::new(), Vec::new());
    owners.sessions.reserve_exact(found.iter().map(|part| part.sessions.len()).sum());
    for part in found {
        owners.sessions.extend(part.sessions);
        owners.groups.extend(part.groups);
        unfinished.extend(part.unfinished);
        lost.extend(part.lost);
    }
    finish(unfinished, journal, readers, &mut owners, &mut lost);
    lost.sort_by_key(|(head, _, _)| *head);
    owners.lost = lost.into_iter().map(|(_, owner, damage)| (owner, damage)).collect();
    owners
}

fn read_part<'a>(known: &[Known<'a>], mut reader: RecordReader<'_>) -> Part<'a> {
    let mut part = Part::default();
    part.sessions.reserve_exact(known.len());
    for one in known {
        let read = match one.owner {
            Owner::Session(number) => part.read_session(number, one, &mut reader),
            Owner::Group(number) => part.read_group(number, one, &mut reader),
        };
        if let Err(damage) = read {
            part.lost.push((one.head, one.owner, damage));
        }
    }
    part
}

impl<'a> Part<'a> {
    fn read_session(
        &mut self,
        number: u64,
        &Known { head, entry, .. }: &Known<'a>,
        reader: &mut RecordReader<'_>,
    ) -> Result<(), Damage> {
        let (tag, body) = reader.read(head)?;
        let record = session::decode(body).map_err(|bad| incomprehensible(head, bad))?;
        if (tag, record.number) != (session::TAG, number) {
            return Err(incomprehensible(head, BadRecord("it is another record")));
        }
        let mut session = Box::new(recovered_session(entry, record));
        if entry.subscriptions.records().all(|record| reader.is_near(record.place)) {
            session.subscriptions = read_subscriptions(number, entry, reader)?;
            self.sessions.push(session);
        } else {
            self.unfinished.push(Unfinished { head, entry, session });
        }
        Ok(())
    }

    fn read_group(
        &mut self,
        number: u64,
        &Known { head, entry, .. }: &Known<'_>,
        reader: &mut RecordReader<'_>,
    ) -> Result<(), Damage> {
        let (tag, body) = reader.read(head)?;
        let record = group::decode(body).map_err(|bad| incomprehensible(head, bad))?;
        if (tag, record.number) != (group::TAG, number) {
            return Err(incomprehensible(head, BadRecord("it is another record")));
        }
        self.groups.push((record, recovered_queue(entry)));
        Ok(())
    }
}

/// Reads the subscriptions of a Session, in the order in which they were made.
fn read_subscriptions(
    number: u64,
    entry: &OwnerEntry,
    reader: &mut RecordReader<'_>,
) -> Result<Vec<SubscriptionRecord>, Damage> {
    let mut folded = Folded::default();
    for Held { place, .. } in entry.subscriptions.records() {
        let (tag, body) = reader.read(place)?;
        folded.read(number, tag, body).map_err(|bad| incomprehensible(place, bad))?;
    }
    Ok(folded.into_subscriptions())
}

/// Reads the subscriptions of Sessions that have them far from their own records.
fn finish(
    unfinished: Vec<Unfinished<'_>>,
    journal: &Journal,
    readers: NonZeroUsize,
    owners: &mut Owners,
    lost: &mut Vec<(Location, Owner, Damage)>,
) {
    let mut needed = Vec::new();
    for (session, Unfinished { entry, .. }) in unfinished.iter().enumerate() {
        let records = entry.subscriptions.records().enumerate();
        needed.extend(records.map(|(nth, held)| Needed { place: held.place, session, nth }));
    }
    needed.sort_unstable_by_key(|needed| needed.place);
    let read = side_by_side(&parts(&needed, readers), |needed| {
        let mut reader = journal.reader();
        let read = needed.iter().map(|&needed| {
            let record = reader.read(needed.place).map(|(tag, body)| (tag, body.into()));
            Read { needed, record }
        });
        read.collect::<Vec<_>>()
    });
    let mut read: Vec<Read> = read.into_iter().flatten().collect();
    read.sort_unstable_by_key(|read| (read.needed.session, read.needed.nth));
    let mut read = read.into_iter().peekable();
    for (index, Unfinished { head, mut session, .. }) in unfinished.into_iter().enumerate() {
        let number = session.record.number;
        let mut folded = Ok(Folded::default());
        while let Some(next) = read.next_if(|read| read.needed.session == index) {
            folded = folded.and_then(|folded| fold(folded, number, next));
        }
        match folded {
            Ok(folded) => {
                session.subscriptions = folded.into_subscriptions();
                owners.sessions.push(session);
            }
            Err(damage) => lost.push((head, Owner::Session(number), damage)),
        }
    }
}

fn fold(mut folded: Folded, number: u64, read: Read) -> Result<Folded, Damage> {
    let (tag, body) = read.record?;
    let place = read.needed.place;
    folded.read(number, tag, &body).map_err(|bad| incomprehensible(place, bad))?;
    Ok(folded)
}

fn recovered_session(entry: &OwnerEntry, mut record: SessionRecord) -> RecoveredSession {
    if entry.will_gone {
        record.will = None;
    }
    RecoveredSession {
        record,
        detached_at: entry.detached.and_then(Detachment::ended_at),
        subscriptions: Vec::new(),
        awaiting_release: entry.awaiting_release.clone(),
        queue: recovered_queue(entry),
    }
}

/// Describes the queue of an owner for the broker.
pub(crate) fn recovered_queue(entry: &OwnerEntry) -> RecoveredQueue {
    let empty = Queue::default();
    let queue = entry.queue.as_deref().unwrap_or(&empty);
    let waiting = queue.waiting();
    let mut taken = Vec::new();
    if queue.len() > waiting.messages {
        queue.for_each(|entry| {
            if entry.flags.has(Flags::TAKEN) {
                taken.push(entry.sequence);
            }
        });
    }
    RecoveredQueue {
        first: queue.first(),
        next: queue.next(),
        messages: waiting.messages,
        bytes: waiting.bytes,
        taken,
        sent_before: entry.detached.map_or(u64::MAX, |detachment| detachment.sent_before),
        of_groups: waiting.of_groups,
    }
}
