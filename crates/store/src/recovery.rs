//! Opens a store from its files: the newest sound checkpoint, the journal behind it, and what both
//! tell the broker. Damage costs only what it hits and is reported; it never stops a start.

use std::sync::Arc;

use hashbrown::HashMap;
use midge_core::{
    GroupRecord, Owner, Recovered, RecoveredQueue, RecoveredSession, SessionRecord,
    SubscriptionRecord, Timestamp, counted,
};

use crate::checkpoint::{self, Checkpoints, Found, Kept};
use crate::clock::{Reading, moment_of};
use crate::disk::Disk;
use crate::engine::{Engine, Files, Options, reserve_bytes};
use crate::error::{OpenError, StoreError};
use crate::fetching::incomprehensible;
use crate::index::{Detachment, Held, Index, OwnerEntry};
use crate::journal::{Journal, JournalOptions};
use crate::location::Location;
use crate::quarantine::quarantine_name;
use crate::queue::{Flags, Queue};
use crate::record::{
    BadRecord, Body, Record, boot, decode, ended, group, session, subscribed, subscription_image,
    unkeep, unsubscribed,
};
use crate::report::{Damage, DamageKind, Report};
use crate::reserve::Reserve;
use crate::segment::FRAME_BYTES;
use crate::writer::Writer;

/// A store that was opened, with what it has kept.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub engine: Engine,
    /// What the store has kept, except the messages of queues, which are to be fetched.
    pub recovered: Recovered,
    /// What was found at opening that is not as it was written.
    pub report: Report,
    /// The moment of the store's time when it was opened. Its time goes on from there like a clock
    /// that nobody sets and that also counts time in suspension.
    pub now: Timestamp,
}

/// What is known of the time when a store is opened.
struct OpeningTime {
    now: Timestamp,
    lived_until: Timestamp,
}

/// How long after its last mark a broker may have lived: twice the time between two marks of a
/// living broker.
const ALIVE_MS_MAX: u64 = 2 * Engine::BEAT_MS;

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    options: Options,
    reading: Reading,
) -> Result<Opened, OpenError> {
    let now = Timestamp::from_millis(reading.wall_ms);
    let mut found = checkpoint::find(&*disk)?;
    let newest = found.newest.take();
    let (mut index, position, kept) = match newest {
        Some((number, bytes, loaded)) => {
            let kept = Kept { number, bytes, position: Some(loaded.position) };
            (loaded.index, Some(loaded.position), Some(kept))
        }
        None => (Index::new(), None, None),
    };
    if let Some(position) = position {
        note_dead_segments(&mut index, position.segment());
    }
    let (journal, mut report) = replay(&disk, options, position, now, &mut index)?;
    // A store without marks comes from an older version. A new checkpoint makes that version refuse
    // what it would not understand.
    let is_older = index.mark.is_none() && index.rounds.boot() > 0;
    // Before anything is acknowledged there has to be a checkpoint: it shows if a segment is
    // missing that is needed.
    let needs_checkpoint = kept.is_none() || !found.damaged.is_empty() || is_older;
    let checkpoints = settle_checkpoints(&*disk, found, kept, now, &mut report)?;
    let reserve = Reserve::open(&*disk, reserve_bytes(&options));
    let reserve = reserve.map_err(|error| OpenError::io("reserve", error))?;
    let files = Files { disk, writer: Writer::new(journal), checkpoints, reserve };
    let mut engine = Engine::new(files, options, now, index);
    engine.note_missing_segments(&mut report);
    let time = engine.begin_run(reading);
    let mut recovered = engine.recover(&mut report);
    recovered.lived_until = Some(time.lived_until);
    engine.writer.flush().map_err(not_writable)?;
    if needs_checkpoint {
        engine.write_checkpoint_at_once().or_else(only_if_fatal).map_err(not_writable)?;
    }
    report.damage.extend(engine.take_damage());
    Ok(Opened { engine, recovered, report, now: time.now })
}

fn only_if_fatal(error: StoreError) -> Result<(), StoreError> {
    if error == StoreError::Full { Ok(()) } else { Err(error) }
}

fn not_writable(error: StoreError) -> OpenError {
    let kind = match error {
        StoreError::Full => std::io::ErrorKind::StorageFull,
        StoreError::Fatal(_) => std::io::ErrorKind::Other,
    };
    OpenError::io("journal", std::io::Error::new(kind, error))
}

/// Notes in which segments nothing was held, as of the checkpoint.
fn note_dead_segments(index: &mut Index, end: u32) {
    let dead = index.holdings.iter().filter(|(segment, held)| *segment < end && held.live == 0);
    index.holdings.dead_before = dead.map(|(segment, _)| segment).collect();
}

fn replay(
    disk: &Arc<dyn Disk>,
    options: Options,
    position: Option<Location>,
    now: Timestamp,
    index: &mut Index,
) -> Result<(Journal, Report), OpenError> {
    let Options { segment_bytes, bytes_max, .. } = options;
    let options = JournalOptions { segment_bytes, bytes_max };
    let mut bad_records = Vec::new();
    let mut visit = |at: Location, tag: u8, body: &[u8]| {
        let bytes = (FRAME_BYTES + body.len()) as u64;
        match decode(tag, body).and_then(|record| looking_back(at, record)) {
            Ok(record) => index.replay(at, u32::try_from(bytes).unwrap_or(u32::MAX), record),
            Err(bad) => bad_records.push(incomprehensible(at, bad)),
        }
    };
    let opened = Journal::open(Arc::clone(disk), options, position, now, &mut visit);
    let (journal, mut report) = opened?;
    bad_records.into_iter().for_each(|damage| report.note_passed_by(damage));
    Ok((journal, report))
}

/// Refuses a record whose message would not stand before it: what stands there is something else.
fn looking_back(at: Location, record: Record<'_>) -> Result<Record<'_>, BadRecord> {
    match &record {
        Record::Enqueue(_, Body::At { message, .. })
        | Record::Keep(_, _, Body::At { message, .. })
            if *message >= at =>
        {
            Err(BadRecord("its message would stand behind it"))
        }
        _ => Ok(record),
    }
}

/// Sets damaged checkpoints aside and removes what was never finished.
fn settle_checkpoints(
    disk: &dyn Disk,
    found: Found,
    newest: Option<Kept>,
    now: Timestamp,
    report: &mut Report,
) -> Result<Checkpoints, OpenError> {
    let io = |name: &str, result: std::io::Result<()>| {
        result.map_err(|error| OpenError::io(name, error))
    };
    for (number, what) in &found.damaged {
        let file = checkpoint::name(*number);
        let new_name = quarantine_name(&file, "bad-checkpoint", now);
        io(&file, disk.rename(&file, &new_name))?;
        report.quarantined.push(new_name);
        let instead = if newest.is_some() {
            "the one before and the journal since then say the same"
        } else {
            "the whole journal was read instead: messages that had come to their end may come again"
        };
        report.damage.push(Damage {
            file,
            offset: 0,
            kind: DamageKind::BadCheckpoint,
            detail: format!("{what}; {instead}"),
        });
    }
    for file in &found.unfinished {
        io(file, disk.remove(file))?;
    }
    let mut kept = Vec::new();
    for (place, (number, bytes)) in found.older.into_iter().rev().enumerate() {
        if place == 0 {
            kept.push(Kept { number, bytes, position: None });
        } else {
            let file = checkpoint::name(number);
            io(&file, disk.remove(&file))?;
        }
    }
    io(".", disk.sync_directory())?;
    kept.extend(newest);
    Ok(Checkpoints::new(kept, found.next_number))
}

/// Sessions, shared subscriptions and kept messages whose records cannot be read.
#[derive(Default)]
struct Lost {
    owners: Vec<Owner>,
    kept: Vec<u64>,
}

impl Engine {
    /// Notes the segments that the index refers to and the journal does not have.
    fn note_missing_segments(&mut self, report: &mut Report) {
        let present = self.writer.journal.segments();
        let known: Vec<u32> = self.index.holdings.iter().map(|(segment, _)| segment).collect();
        for segment in known {
            if present.binary_search(&segment).is_ok() {
                continue;
            }
            let live = self.index.holdings.get(segment).live;
            if live == 0 {
                self.index.holdings.forget(segment);
                continue;
            }
            self.index.holdings.get_mut(segment).leaving = true;
            report.damage.push(Damage {
                file: format!("journal-{segment:016x}"),
                offset: 0,
                kind: DamageKind::MissingSegment,
                detail: format!("lost with it: {}", counted(live, "needed record")),
            });
        }
    }

    /// Collects everything that the broker needs to know. What cannot be read is dropped for good.
    fn recover(&mut self, report: &mut Report) -> Recovered {
        let mut lost = Lost::default();
        let mut recovered = Recovered { next_number: self.index.next_number, ..Default::default() };
        for (owner, head) in self.heads(&mut lost, report) {
            match self.recover_owner(owner, head, &mut recovered) {
                Ok(()) => {}
                Err(damage) => {
                    report.damage.push(damage);
                    lost.owners.push(owner);
                }
            }
        }
        self.recover_kept(&mut recovered, &mut lost, report);
        recovered.sessions.sort_unstable_by_key(|session| session.record.number);
        recovered.groups.sort_unstable_by_key(|(group, _)| group.number);
        recovered.kept.sort_unstable_by_key(|(number, _, _)| *number);
        for owner in lost.owners {
            self.index.end(owner);
            self.append(ended::TAG, |out| ended::encode(owner, out));
        }
        for number in lost.kept {
            self.index.unkeep(number);
            self.append(unkeep::TAG, |out| unkeep::encode(number, out));
        }
        self.writer.end_commit();
        recovered
    }

    /// Returns where the records of all owners are, in the order of the files. Owners that have
    /// lost records are noted as lost.
    fn heads(&self, lost: &mut Lost, report: &mut Report) -> Vec<(Owner, Location)> {
        let mut heads = Vec::with_capacity(self.index.owners.len());
        for (owner, entry) in &self.index.owners {
            match entry.head {
                Some(Held { place, .. }) if !entry.is_broken => heads.push((*owner, place)),
                _ => {
                    lost.owners.push(*owner);
                    report.damage.push(Damage {
                        file: "journal".into(),
                        offset: 0,
                        kind: DamageKind::BadRecord,
                        detail: format!("{owner:?} has lost records; it is dropped"),
                    });
                }
            }
        }
        lost.owners.sort_unstable_by_key(|owner| match owner {
            Owner::Session(number) => (0, *number),
            Owner::Group(number) => (1, *number),
        });
        heads.sort_unstable_by_key(|(_, place)| *place);
        heads
    }

    fn recover_owner(
        &mut self,
        owner: Owner,
        head: Location,
        recovered: &mut Recovered,
    ) -> Result<(), Damage> {
        match owner {
            Owner::Session(number) => {
                let record = self.read_session(number, head)?;
                let subscriptions = self.read_subscriptions(number)?;
                if let Some(entry) = self.index.owners.get(&owner) {
                    recovered.sessions.push(recovered_session(entry, record, subscriptions));
                }
            }
            Owner::Group(number) => {
                let record = self.read_group(number, head)?;
                if let Some(entry) = self.index.owners.get(&owner) {
                    recovered.groups.push((record, recovered_queue(entry)));
                }
            }
        }
        Ok(())
    }

    fn read_session(&mut self, number: u64, at: Location) -> Result<SessionRecord, Damage> {
        let body = &mut self.buffers.record;
        let tag = self.writer.journal.read(at, body)?;
        let record = session::decode(body).map_err(|bad| incomprehensible(at, bad))?;
        if (tag, record.number) != (session::TAG, number) {
            return Err(incomprehensible(at, BadRecord("it is another record")));
        }
        Ok(record)
    }

    fn read_group(&mut self, number: u64, at: Location) -> Result<GroupRecord, Damage> {
        let body = &mut self.buffers.record;
        let tag = self.writer.journal.read(at, body)?;
        let record = group::decode(body).map_err(|bad| incomprehensible(at, bad))?;
        if (tag, record.number) != (group::TAG, number) {
            return Err(incomprehensible(at, BadRecord("it is another record")));
        }
        Ok(record)
    }

    /// Reads the subscriptions of a Session, in the order in which they were made.
    pub(crate) fn read_subscriptions(
        &mut self,
        number: u64,
    ) -> Result<Vec<SubscriptionRecord>, Damage> {
        let Some(entry) = self.index.owners.get(&Owner::Session(number)) else {
            return Ok(Vec::new());
        };
        let mut folded = Folded::default();
        for record in entry.subscriptions.records() {
            let (at, body) = (record.place, &mut self.buffers.record);
            let tag = self.writer.journal.read(at, body)?;
            folded.read(number, tag, body).map_err(|bad| incomprehensible(at, bad))?;
        }
        Ok(folded.into_subscriptions())
    }

    fn recover_kept(&mut self, recovered: &mut Recovered, lost: &mut Lost, report: &mut Report) {
        let mut all: Vec<_> =
            self.index.kept.iter().map(|(number, kept)| (*number, *kept)).collect();
        all.sort_unstable_by_key(|(_, kept)| kept.places.record);
        for (number, kept) in all {
            match self.read_kept(number, &kept) {
                Ok((what, message)) => recovered.kept.push((number, what, message)),
                Err((_, damage)) => {
                    report.damage.push(damage);
                    lost.kept.push(number);
                }
            }
        }
    }

    /// Writes the first records of a run. Messages that earlier runs kept without a confirmation
    /// are dropped for good. What is known of how long the last run may have lived stays as it is
    /// until [`Engine::take_over`]: a start that is cut off before that has told nobody what it
    /// found.
    fn begin_run(&mut self, reading: Reading) -> OpeningTime {
        let number = self.index.rounds.boot().saturating_add(1);
        self.index.begin_boot(number);
        self.append(boot::TAG, |out| boot::encode(number, out));
        let last = self.index.mark.map(|mark| mark.at);
        let now = moment_of(self.index.mark.as_ref(), &reading, self.latest_detachment());
        if last.is_none() {
            self.write_mark(now, reading);
        }
        let lived_until = last.map_or(now, |at| now.min(at + ALIVE_MS_MAX));
        OpeningTime { now, lived_until }
    }

    /// Finishes taking over from the run before: puts on the device everything that the broker has
    /// applied because of it, such as since when Sessions are without a Network Connection, and
    /// behind that a mark that this run is alive.
    ///
    /// # Errors
    ///
    /// If it cannot be written. A full device is no error: it is written when there is room.
    pub fn take_over(&mut self, now: Timestamp, reading: Reading) -> Result<(), OpenError> {
        self.mark(now, reading, true);
        self.writer.flush().or_else(only_if_fatal).map_err(not_writable)
    }

    fn latest_detachment(&self) -> Option<Timestamp> {
        let owners = self.index.owners.values();
        owners.filter_map(|entry| entry.detached?.ended_at()).max()
    }
}

/// The subscriptions that result from the records about them, read one after the other.
#[derive(Default)]
pub(crate) struct Folded {
    list: Vec<Option<SubscriptionRecord>>,
    /// Where each filter is in the list, if that is long: short ones are searched.
    places: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
}

/// Lists of subscriptions up to this length are searched.
const SEARCHED_MAX: usize = 8;

impl Folded {
    pub(crate) fn read(&mut self, number: u64, tag: u8, body: &[u8]) -> Result<(), BadRecord> {
        let session = match tag {
            subscribed::TAG => {
                let (session, subscription) = subscribed::decode(body)?;
                self.add(subscription);
                session
            }
            unsubscribed::TAG => {
                let (session, filter) = unsubscribed::decode(body)?;
                if let Some(place) = self.place(filter) {
                    self.list[place] = None;
                    self.places.remove(filter);
                }
                session
            }
            subscription_image::TAG => {
                let (session, subscriptions) = subscription_image::decode(body)?;
                *self = Self::default();
                subscriptions.into_iter().for_each(|subscription| self.add(subscription));
                session
            }
            _ => return Err(BadRecord("it is no record about subscriptions")),
        };
        if session == number { Ok(()) } else { Err(BadRecord("it is about another Session")) }
    }

    /// Returns the subscriptions that are left, in the order in which they were made.
    pub(crate) fn into_subscriptions(self) -> Vec<SubscriptionRecord> {
        self.list.into_iter().flatten().collect()
    }

    fn add(&mut self, subscription: SubscriptionRecord) {
        if let Some(place) = self.place(&subscription.filter) {
            self.list[place] = Some(subscription);
            return;
        }
        if self.list.len() > SEARCHED_MAX {
            self.places.insert(subscription.filter.clone(), self.list.len());
        }
        self.list.push(Some(subscription));
        if self.list.len() == SEARCHED_MAX + 1 {
            let filters = self.list.iter().map(|it| it.as_ref().map(|it| it.filter.clone()));
            let places = filters.enumerate().filter_map(|(place, filter)| Some((filter?, place)));
            self.places = places.collect();
        }
    }

    fn place(&self, filter: &str) -> Option<usize> {
        if self.list.len() > SEARCHED_MAX {
            return self.places.get(filter).copied();
        }
        self.list.iter().position(|it| it.as_ref().is_some_and(|it| &*it.filter == filter))
    }
}

fn recovered_session(
    entry: &OwnerEntry,
    mut record: SessionRecord,
    subscriptions: Vec<SubscriptionRecord>,
) -> RecoveredSession {
    if entry.will_gone {
        record.will = None;
    }
    RecoveredSession {
        record,
        detached_at: entry.detached.and_then(Detachment::ended_at),
        subscriptions,
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
    queue.for_each(|entry| {
        if entry.flags.has(Flags::TAKEN) {
            taken.push(entry.sequence);
        }
    });
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

#[cfg(test)]
mod tests {
    use super::{Folded, SEARCHED_MAX};
    use crate::record::{subscribed, unsubscribed};
    use crate::testing::samples::subscription;

    #[test]
    fn few_and_many_subscriptions_are_folded_alike() {
        for count in [1, SEARCHED_MAX, SEARCHED_MAX + 1, 5 * SEARCHED_MAX] {
            let filters: Vec<_> = (0..count).map(|number| format!("filter/{number}")).collect();
            let mut folded = Folded::default();
            let mut body = Vec::new();
            let mut subscribe = |folded: &mut Folded, filter: &str| {
                body.clear();
                subscribed::encode(1, &subscription(filter), &mut body);
                folded.read(1, subscribed::TAG, &body).unwrap();
            };
            filters.iter().for_each(|filter| subscribe(&mut folded, filter));
            filters.iter().for_each(|filter| subscribe(&mut folded, filter));
            let mut gone = Vec::new();
            unsubscribed::encode(1, &filters[0], &mut gone);
            folded.read(1, unsubscribed::TAG, &gone).unwrap();
            folded.read(1, unsubscribed::TAG, &gone).unwrap();
            subscribe(&mut folded, "one more");
            let left = folded.into_subscriptions();
            let left: Vec<_> = left.iter().map(|subscription| &*subscription.filter).collect();
            let expected = filters[1..].iter().map(String::as_str).chain(["one more"]);
            assert_eq!(left, expected.collect::<Vec<_>>(), "{count}");
        }
    }
}
