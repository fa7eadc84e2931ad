//! Looks at a store as a broker would find it at its start, and changes nothing: the same
//! checkpoint, the same replay, and the records that the index refers to.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use midge_core::{GroupRecord, Kept, Owner, SessionRecord, SubscriptionRecord};

use crate::block_cache::BlockCache;
use crate::checkpoint;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::fetching::incomprehensible;
use crate::index::{Index, KeptEntry, SubscriptionLog};
use crate::location::Location;
use crate::queue::Places;
use crate::record::{
    BadRecord, Body, EnqueueHead, Record, StoredMessage, decode, decode_message, group, session,
};
use crate::recovery::Folded;
use crate::replay::replay;
use crate::report::{Damage, DamageKind, Report};
use crate::segment::FRAME_BYTES;
use crate::segment::segment_name;
use crate::survey::Survey;

/// A store that is only looked at.
pub(crate) struct Inspection {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) index: Index,
    pub(crate) records: Records,
    /// Where replay began.
    pub(crate) position: Option<Location>,
    /// The numbers of checkpoints that count, oldest first.
    pub(crate) checkpoints: Vec<u64>,
    /// The damage that was found.
    pub(crate) report: Report,
}

/// Reads the records of the journal.
pub(crate) struct Records {
    disk: Arc<dyn Disk>,
    /// The lengths of the files of all segments in use.
    pub(crate) lengths: BTreeMap<u32, u64>,
    cache: BlockCache,
}

impl Inspection {
    /// Looks at the store on this disk.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let mut found = checkpoint::find(&*disk, NonZeroUsize::MIN)?;
        let mut checkpoints: Vec<u64> = found.older.iter().map(|(number, _)| *number).collect();
        let (mut index, position) = match found.newest.take() {
            Some((number, _, loaded)) => {
                checkpoints.push(number);
                (loaded.index, Some(loaded.position))
            }
            None => (Index::new(), None),
        };
        let mut survey = Survey::of(&*disk, position)?;
        if survey.highest == 0 && found.next_number == 1 {
            return Err(OpenError::NoStore);
        }
        let mut report = std::mem::take(&mut survey.report);
        let mut bad_records = Vec::new();
        let mut visit = |at: Location, tag: u8, body: &[u8]| {
            let bytes = (FRAME_BYTES + body.len()) as u64;
            match decode(tag, body) {
                Ok(record) => index.replay(at, u32::try_from(bytes).unwrap_or(u32::MAX), record),
                Err(bad) => bad_records.push(incomprehensible(at, bad)),
            }
        };
        replay(&*disk, &survey.chain, position, &mut report, &mut visit)?;
        bad_records.into_iter().for_each(|damage| report.note_passed_by(damage));
        for (number, what) in found.damaged {
            report.note(damaged_checkpoint(number, what, position.is_some()));
        }
        let mut lengths = survey.older;
        lengths.extend(survey.chain.iter().map(|link| (link.number, link.length)));
        // Messages that wait for a confirmation will never get it: the next start drops them.
        index.begin_boot(index.rounds.boot().saturating_add(1));
        let records = Records { disk: Arc::clone(&disk), lengths, cache: BlockCache::default() };
        Ok(Self { disk, index, records, position, checkpoints, report })
    }

    /// Returns all owners: shared subscriptions, then Sessions, by their numbers.
    pub(crate) fn owners(&self) -> Vec<Owner> {
        let mut owners: Vec<Owner> = self.index.owners.keys().copied().collect();
        owners.sort_unstable_by_key(|owner| match owner {
            Owner::Group(number) => (0, *number),
            Owner::Session(number) => (1, *number),
        });
        owners
    }
}

fn damaged_checkpoint(number: u64, what: &str, has_other: bool) -> Damage {
    let meaning = if has_other {
        "the checkpoint before it and the journal since then say the same"
    } else {
        "the whole journal has to be read instead: messages that had come to their end may come \
         again"
    };
    Damage {
        file: checkpoint::name(number),
        offset: 0,
        kind: DamageKind::BadCheckpoint,
        detail: format!("{what}; {meaning}"),
    }
}

impl Records {
    /// Reads a record into `body`; returns its tag.
    pub(crate) fn read(&mut self, at: Location, body: &mut Vec<u8>) -> Result<u8, Damage> {
        match self.lengths.get(&at.segment()) {
            Some(length) => self.cache.read(&*self.disk, at, *length, body),
            None => Err(Damage {
                file: segment_name(at.segment()),
                offset: u64::from(at.offset()),
                kind: DamageKind::MissingSegment,
                detail: "the segment of the record is not there".to_owned(),
            }),
        }
    }

    pub(crate) fn session(
        &mut self,
        number: u64,
        at: Location,
        body: &mut Vec<u8>,
    ) -> Result<SessionRecord, Damage> {
        let record = self.head(session::TAG, at, body, session::decode)?;
        if record.number == number { Ok(record) } else { Err(another_record(at)) }
    }

    pub(crate) fn group(
        &mut self,
        number: u64,
        at: Location,
        body: &mut Vec<u8>,
    ) -> Result<GroupRecord, Damage> {
        let record = self.head(group::TAG, at, body, group::decode)?;
        if record.number == number { Ok(record) } else { Err(another_record(at)) }
    }

    /// Reads the record that describes an owner.
    fn head<R>(
        &mut self,
        tag: u8,
        at: Location,
        body: &mut Vec<u8>,
        decode: fn(&[u8]) -> Result<R, BadRecord>,
    ) -> Result<R, Damage> {
        let found = self.read(at, body)?;
        let record = decode(body).map_err(|bad| incomprehensible(at, bad))?;
        if found == tag { Ok(record) } else { Err(another_record(at)) }
    }

    /// Reads the subscriptions of a Session, in the order in which they were made.
    pub(crate) fn subscriptions(
        &mut self,
        number: u64,
        log: &SubscriptionLog,
        body: &mut Vec<u8>,
    ) -> Result<Vec<SubscriptionRecord>, Damage> {
        let mut folded = Folded::default();
        for record in log.records() {
            let tag = self.read(record.place, body)?;
            let read = folded.read(number, tag, body);
            read.map_err(|bad| incomprehensible(record.place, bad))?;
        }
        Ok(folded.into_subscriptions())
    }

    /// Reads the record of a queue entry; the message itself may be in another record.
    pub(crate) fn entry<'a>(
        &mut self,
        owner: Owner,
        sequence: u64,
        at: Location,
        body: &'a mut Vec<u8>,
    ) -> Result<(EnqueueHead<'a>, Body<'a>), Damage> {
        let tag = self.read(at, body)?;
        let bad = |bad| incomprehensible(at, bad);
        let Record::Enqueue(head, message) = decode(tag, body).map_err(bad)? else {
            return Err(bad(BadRecord("it is no message of a queue")));
        };
        if (head.owner, head.sequence) != (owner, sequence) {
            return Err(bad(BadRecord("it is a message of another queue")));
        }
        Ok((head, message))
    }

    /// Reads the record of a message that waits for no owner; the message itself may be in another
    /// record.
    pub(crate) fn kept<'a>(
        &mut self,
        number: u64,
        kept: &KeptEntry,
        body: &'a mut Vec<u8>,
    ) -> Result<(Kept, Body<'a>), Damage> {
        let at = kept.places.record;
        let tag = self.read(at, body)?;
        let bad = |bad| incomprehensible(at, bad);
        match decode(tag, body).map_err(bad)? {
            Record::Keep(found, what, message) if found == number => Ok((what, message)),
            _ => Err(bad(BadRecord("it is not the kept message that was expected"))),
        }
    }

    /// Returns the message of a record, wherever it is.
    pub(crate) fn message<'a>(
        &mut self,
        places: Places,
        body: Body<'a>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<StoredMessage<'a>, Damage> {
        let at = match body {
            Body::Inline(message) => return Ok(message),
            Body::At { message, .. } => message,
        };
        if at != places.message {
            let bad = BadRecord("it refers to another message than it should");
            return Err(incomprehensible(places.record, bad));
        }
        let tag = self.read(at, buffer)?;
        decode_message(tag, buffer).map_err(|bad| incomprehensible(at, bad))
    }
}

fn another_record(at: Location) -> Damage {
    incomprehensible(at, BadRecord("it is another record"))
}
