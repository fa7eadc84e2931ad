//! Opens a store from its files: the newest sound checkpoint, the journal behind it, and what both
//! tell the broker. Damage costs only what it hits and is reported; it never stops a start.

mod folding;
mod kept;
mod owners;

use std::sync::Arc;

use midge_core::{Owner, Recovered, SubscriptionRecord, Timestamp, counted};

use crate::checkpoint::{self, CheckpointFile, Checkpoints, Found};
use crate::clock::{Reading, moment_of};
use crate::disk::Disk;
use crate::engine::{Engine, Files, Options, reserve_bytes};
use crate::error::{OpenError, StoreError};
use crate::fetching::incomprehensible;
use crate::index::Index;
use crate::journal::{Journal, JournalOptions};
use crate::location::Location;
use crate::quarantine::quarantine_name;
use crate::record::{BadRecord, Body, Record, boot, decode, ended, unkeep};
use crate::report::{Damage, DamageKind, Report};
use crate::reserve::Reserve;
use crate::segment::FRAME_BYTES;
use crate::writer::Writer;
pub(crate) use folding::Folded;
#[cfg(any(test, feature = "testing"))]
pub(crate) use owners::recovered_queue;

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
    let mut found = checkpoint::find(&*disk, options.readers)?;
    let newest = found.newest.take();
    let (mut index, position, kept) = match newest {
        Some((number, bytes, loaded)) => {
            let kept = CheckpointFile { number, bytes, position: Some(loaded.position) };
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
    let time = engine.begin_boot(reading);
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
    newest: Option<CheckpointFile>,
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
            kept.push(CheckpointFile { number, bytes, position: None });
        } else {
            let file = checkpoint::name(number);
            io(&file, disk.remove(&file))?;
        }
    }
    io(".", disk.sync_directory())?;
    kept.extend(newest);
    Ok(Checkpoints::new(kept, found.next_number))
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
        let Self { index, writer, options, .. } = self;
        let owners = owners::read(index, &writer.journal, options.readers);
        let kept = kept::read(index, &writer.journal, options.readers);
        let lost_owners = owners::without_records(index).into_iter().chain(owners.lost);
        let (lost_owners, damage): (Vec<_>, Vec<_>) = lost_owners.unzip();
        report.damage.extend(damage);
        let (lost_numbers, damage): (Vec<_>, Vec<_>) = kept.lost.into_iter().unzip();
        report.damage.extend(damage);
        let next_number = index.next_number;
        for owner in lost_owners {
            self.index.end(owner);
            self.append(ended::TAG, |out| ended::encode(owner, out));
        }
        for number in lost_numbers {
            self.index.unkeep(number);
            self.append(unkeep::TAG, |out| unkeep::encode(number, out));
        }
        self.writer.end_commit();
        let (mut sessions, mut groups, mut kept) = (owners.sessions, owners.groups, kept.messages);
        sort_by_number(&mut sessions, |session| session.record.number);
        sort_by_number(&mut groups, |(group, _)| group.number);
        sort_by_number(&mut kept, |(number, _, _)| *number);
        Recovered { sessions, groups, kept, next_number, lived_until: None }
    }

    /// Writes the first records of a run. Messages that earlier runs kept without a confirmation
    /// are dropped for good. What is known of how long the last run may have lived stays as it is
    /// until [`Engine::finish_start`]: a start that is cut off before that has told nobody what it
    /// found.
    fn begin_boot(&mut self, reading: Reading) -> OpeningTime {
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
    pub fn finish_start(&mut self, now: Timestamp, reading: Reading) -> Result<(), OpenError> {
        self.mark(now, reading, true);
        self.writer.flush().or_else(only_if_fatal).map_err(not_writable)
    }

    fn latest_detachment(&self) -> Option<Timestamp> {
        let owners = self.index.owners.values();
        owners.filter_map(|entry| entry.detached?.ended_at()).max()
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
}

/// Sorts by numbers, which may be far from the things that have them.
fn sort_by_number<T>(things: &mut [T], number: impl Fn(&T) -> u64) {
    if !things.is_sorted_by_key(&number) {
        things.sort_by_cached_key(number);
    }
}
