//! Reads everything that a store has: each frame of each segment, each checkpoint, and each record
//! that is referred to. Reports what is damaged and what is lost by that, and changes nothing.
//!
//! Damage and loss are separate lists: bytes that nobody needs any more may be damaged without a
//! loss, and one damaged record may be a loss for several owners.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use midge_core::{Kept, Owner, counted};

use super::inspection::{Inspection, Records};
use super::progress::{Counter, Progress};
use crate::checkpoint;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::fetching::incomprehensible;
use crate::index::{Index, KeptEntry, OwnerEntry};
use crate::location::Location;
use crate::quarantine::original_name;
use crate::queue::{Entry, Flags};
use crate::real_disk::LOCK_NAME;
use crate::record::decode;
use crate::replay::Segment;
use crate::report::{Damage, DamageKind, Report};
use crate::segment::{HEADER_BYTES, TAG_BEGIN, TAG_END, segment_name};
use crate::survey::{Link, Survey, read_segment};

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bytes that are not as they were written.
    pub damage: Report,
    /// What was kept and cannot be read any more; each thing is listed once at most.
    pub lost: Report,
    /// What is there and can be read.
    pub content: Content,
}

/// How much a store has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Sessions.
    pub sessions: u64,
    /// Will Messages that are still to be published.
    pub wills: u64,
    /// Subscriptions of all Sessions.
    pub subscriptions: u64,
    /// Packet Identifiers of QoS 2 that wait for their PUBREL.
    pub awaiting_release: u64,
    /// Shared subscriptions.
    pub groups: u64,
    /// Messages that wait for an owner.
    pub queued_messages: u64,
    /// Their bytes: topics, properties and payloads.
    pub queued_bytes: u64,
    /// Messages that Clients have taken over (PUBREC) and not completed.
    pub taken_messages: u64,
    /// Retained messages.
    pub retained_messages: u64,
    /// Delayed messages.
    pub delayed_messages: u64,
    /// Segments of the journal that are in use.
    pub segments: u64,
    /// Checkpoints that can be used.
    pub checkpoints: u64,
    /// Bytes of all files.
    pub bytes_on_disk: u64,
    /// About how many of them are needed.
    pub bytes_alive: u64,
    /// Files that were set aside as damaged; the store does not read them.
    pub set_aside: Vec<String>,
}

impl Checked {
    /// Returns whether everything is as it was written, apart from traces of an interruption, and
    /// nothing is lost.
    pub fn is_sound(&self) -> bool {
        self.damage.is_sound() && self.lost.damage.is_empty() && self.lost.damage_unlisted == 0
    }
}

/// Checks the store on this disk without writing to the disk.
///
/// # Errors
///
/// There is no store, it has a newer version, or the file system refuses. Damage is no error.
pub fn check(disk: Arc<dyn Disk>, tell: &mut dyn FnMut(Progress)) -> Result<Checked, OpenError> {
    let mut store = Inspection::open(disk)?;
    let mut checked = Checked { damage: std::mem::take(&mut store.report), ..Checked::default() };
    count_files(&store, &mut checked.content)?;
    check_checkpoints(&mut store, &mut checked)?;
    check_older_segments(&store, &mut checked.damage, tell)?;
    note_missing_segments(&store, &mut checked.damage);
    let Inspection { index, records, .. } = &mut store;
    let mut readers = Readers {
        records,
        lost: Report::default(),
        content: &mut checked.content,
        record: Vec::new(),
        message: Vec::new(),
    };
    let all = index.queued + index.kept.len() as u64 + index.owners.len() as u64;
    let mut counter = Counter::new(tell, "reading what is kept", Some(all), 1 << 10);
    readers.owners(index, &mut counter);
    readers.all_kept(index, &mut counter);
    checked.lost = readers.lost;
    Ok(checked)
}

fn count_files(store: &Inspection, content: &mut Content) -> Result<(), OpenError> {
    let failed = |name: &str, error: io::Error| OpenError::io(name, error);
    for name in store.disk.list().map_err(|error| failed("data directory", error))? {
        if name == LOCK_NAME {
            continue;
        }
        let length = store.disk.open(&name).and_then(|file| file.len());
        content.bytes_on_disk += length.map_err(|error| failed(&name, error))?;
        if original_name(&name).is_some() {
            content.set_aside.push(name);
        }
    }
    content.segments = store.records.lengths.len() as u64;
    content.bytes_alive = store.index.holdings.bytes_alive();
    Ok(())
}

/// Counts the sound checkpoints and notes the damaged ones. The newest was read already; the others
/// are there in case it cannot be read.
fn check_checkpoints(store: &mut Inspection, checked: &mut Checked) -> Result<(), OpenError> {
    let newest = store.checkpoints.last().copied();
    for number in &store.checkpoints {
        let damaged = match newest {
            Some(newest) if newest == *number => None,
            _ => checkpoint::damage_of(&*store.disk, *number)?,
        };
        match damaged {
            None => checked.content.checkpoints += 1,
            Some(what) => checked.damage.note(Damage {
                file: checkpoint::name(*number),
                offset: 0,
                kind: DamageKind::BadCheckpoint,
                detail: format!("{what}; it is only needed if the newer one is damaged, too"),
            }),
        }
    }
    Ok(())
}

/// Checks everything before the place where replay begins, which a start does not look at.
fn check_older_segments(
    store: &Inspection,
    report: &mut Report,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), OpenError> {
    let Some(position) = store.position else {
        return Ok(());
    };
    let mut links = Survey::of(&*store.disk, None)?.chain;
    links.retain(|link| link.number <= position.segment());
    for link in links.iter_mut().filter(|link| link.number == position.segment()) {
        link.end = Some(position.offset());
    }
    let bytes = |link: &Link| link.end.map_or(link.length, u64::from);
    let total = links.iter().map(bytes).sum();
    let mut counter = Counter::new(tell, "reading the journal", Some(total), 8 << 20);
    let mut buffer = Vec::new();
    for link in &links {
        read_segment(&*store.disk, link.number, link.end, &mut buffer)?;
        check_frames(link, &buffer, report);
        counter.add(bytes(link));
    }
    Ok(())
}

/// Checks all frames up to the end of the segment, or as far as it is known to have been synced.
fn check_frames(link: &Link, bytes: &[u8], report: &mut Report) {
    let segment = Segment::new(link, bytes, false);
    let end = link.end.map(|end| end as usize);
    let mut at = HEADER_BYTES;
    while end.is_none_or(|end| at < end) {
        if let Some(frame) = segment.frame(at) {
            let body = &bytes[frame.body.clone()];
            if !matches!(frame.tag, TAG_BEGIN | TAG_END)
                && let Err(bad) = decode(frame.tag, body)
                && let Some(at) = Location::new(link.number, at as u32)
            {
                report.note(incomprehensible(at, bad));
            }
            at = frame.body.end;
            continue;
        }
        if end.is_none() && !segment.was_synced(at) {
            if !segment.is_blank(at) {
                // The segment behind it is gone, so it is unknown where its records ended.
                report.note(Damage {
                    file: segment_name(link.number),
                    offset: at as u64,
                    kind: DamageKind::TornTail,
                    detail: "what follows does not check; it may never have counted".to_owned(),
                });
            }
            break;
        }
        let next = segment.behind(at).unwrap_or(end.unwrap_or(bytes.len()));
        report.note(Damage {
            file: segment_name(link.number),
            offset: at as u64,
            kind: DamageKind::BadRecord,
            detail: format!("{} not as written", counted(next - at, "byte")),
        });
        at = next;
    }
}

fn note_missing_segments(store: &Inspection, report: &mut Report) {
    let held: BTreeSet<(u32, u64)> =
        store.index.holdings.iter().map(|(segment, held)| (segment, held.live)).collect();
    for (segment, live) in held {
        let name = segment_name(segment);
        let is_known = |damage: &Damage| {
            damage.file == name
                && matches!(damage.kind, DamageKind::MissingSegment | DamageKind::BadSegmentHeader)
        };
        if live > 0
            && !store.records.lengths.contains_key(&segment)
            && !report.damage.iter().any(is_known)
        {
            let records = counted(live, "needed record");
            report.note(Damage {
                file: name,
                offset: 0,
                kind: DamageKind::MissingSegment,
                detail: format!("the file is not there, and {records} with it"),
            });
        }
    }
}

/// Follows references to records.
struct Readers<'a> {
    records: &'a mut Records,
    lost: Report,
    content: &'a mut Content,
    record: Vec<u8>,
    message: Vec<u8>,
}

impl Readers<'_> {
    fn owners(&mut self, index: &Index, counter: &mut Counter<'_>) {
        let mut owners: Vec<_> = index.owners.iter().collect();
        owners.sort_unstable_by_key(|(_, entry)| entry.head.map(|head| head.place));
        for (owner, entry) in owners {
            counter.add(1);
            match self.owner(*owner, entry) {
                Ok(()) => self.queue(*owner, entry, counter),
                Err(lost) => {
                    let waiting = entry.queue.as_ref().map_or(0, |queue| queue.waiting().messages);
                    let detail = format!(
                        "{} is lost, with {} in its queue: {}",
                        name_of(*owner),
                        counted(waiting, "message"),
                        lost.detail
                    );
                    self.lost.note(Damage { detail, ..lost });
                    counter.add(waiting);
                }
            }
        }
    }

    fn owner(&mut self, owner: Owner, entry: &OwnerEntry) -> Result<(), Damage> {
        let head = entry.head.filter(|_| !entry.is_broken).ok_or_else(|| Damage {
            file: "journal".to_owned(),
            offset: 0,
            kind: DamageKind::BadRecord,
            detail: "a record about it was damaged".to_owned(),
        })?;
        match owner {
            Owner::Group(number) => {
                self.records.group(number, head.place, &mut self.record)?;
                self.content.groups += 1;
            }
            Owner::Session(number) => {
                let session = self.records.session(number, head.place, &mut self.record)?;
                let log = &entry.subscriptions;
                let subscriptions = self.records.subscriptions(number, log, &mut self.record)?;
                self.content.sessions += 1;
                self.content.wills += u64::from(session.will.is_some() && !entry.will_gone);
                self.content.subscriptions += subscriptions.len() as u64;
                self.content.awaiting_release += entry.awaiting_release.len() as u64;
            }
        }
        Ok(())
    }

    fn queue(&mut self, owner: Owner, entry: &OwnerEntry, counter: &mut Counter<'_>) {
        let Some(queue) = entry.queue.as_deref() else {
            return;
        };
        queue.for_each(|entry| {
            if entry.flags.has(Flags::TAKEN) {
                self.content.taken_messages += 1;
                return;
            }
            counter.add(1);
            match self.entry(owner, &entry) {
                Ok(()) => {
                    self.content.queued_messages += 1;
                    self.content.queued_bytes += u64::from(entry.size);
                }
                Err(lost) => {
                    let (name, sequence) = (name_of(owner), entry.sequence);
                    let detail = format!("message {sequence} for {name} is lost: {}", lost.detail);
                    self.lost.note(Damage { detail, ..lost });
                }
            }
        });
    }

    fn entry(&mut self, owner: Owner, entry: &Entry) -> Result<(), Damage> {
        let Self { records, record, message, .. } = self;
        let places = entry.places.ok_or_else(|| Damage {
            file: "journal".to_owned(),
            offset: 0,
            kind: DamageKind::BadRecord,
            detail: "it was found to be damaged before".to_owned(),
        })?;
        let (_, body) = records.entry(owner, entry.sequence, places.record, record)?;
        records.message(places, body, message).map(|_| ())
    }

    fn all_kept(&mut self, index: &Index, counter: &mut Counter<'_>) {
        let mut all: Vec<_> = index.kept.iter().collect();
        all.sort_unstable_by_key(|(_, kept)| kept.places.record);
        for (number, kept) in all {
            counter.add(1);
            match self.kept(*number, kept) {
                Ok(Kept::Retained) => self.content.retained_messages += 1,
                Ok(Kept::Delayed(_)) => self.content.delayed_messages += 1,
                Err(lost) => {
                    let what = match kept.what {
                        Kept::Retained => "a retained message",
                        Kept::Delayed(_) => "a delayed message",
                    };
                    let detail = format!("{what} ({number}) is lost: {}", lost.detail);
                    self.lost.note(Damage { detail, ..lost });
                }
            }
        }
    }

    fn kept(&mut self, number: u64, kept: &KeptEntry) -> Result<Kept, Damage> {
        let Self { records, record, message, .. } = self;
        let (what, body) = records.kept(number, kept, record)?;
        records.message(kept.places, body, message)?;
        Ok(what)
    }
}

/// Returns what an owner is called in messages.
pub(crate) fn name_of(owner: Owner) -> String {
    match owner {
        Owner::Session(number) => format!("Session {number}"),
        Owner::Group(number) => format!("shared subscription {number}"),
    }
}
