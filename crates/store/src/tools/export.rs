//! Writes everything that a store keeps as lines of JSON, in an order that depends only on what is
//! kept. Whatever cannot be read is left out and reported.
//!
//! Messages are read one after the other. Besides the index, memory holds the names of Sessions and
//! shared subscriptions, and a few bytes for each message that several owners wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::{error, fmt};

use midge_core::{Kept, Owner, Timestamp};

use super::check::name_of;
use super::inspection::{Inspection, Records};
use super::line::{
    AwaitingRelease, Content, Delayed, Detached, End, Group, Header, Line, NumberedMessage, Queued,
    Retained, Session, Subscription, Taken, VERSION, Will, list, owner_fields,
};
use super::progress::{Counter, Progress};
use super::user::User;
use crate::clock::{Mark, wall_of};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::{Detachment, Index, KeptEntry, OwnerEntry};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places, Queue};
use crate::record::Body;
use crate::report::{Damage, DamageKind, Report};

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines that were written.
    pub lines: u64,
    /// Bytes that are not as they were written, as far as they were looked at.
    pub damage: Report,
    /// What is not in the export because it cannot be read.
    pub lost: Report,
}

/// Why there is no export.
#[derive(Debug)]
pub enum ExportError {
    /// The store cannot be read.
    Open(OpenError),
    /// The export cannot be written.
    Write(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Write(error) => write!(f, "cannot write the export: {error}"),
        }
    }
}

impl error::Error for ExportError {}

impl From<OpenError> for ExportError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl Exported {
    /// Returns whether everything that was kept is in the export.
    pub fn is_whole(&self) -> bool {
        let lost = &self.lost;
        self.damage.is_sound() && lost.damage.is_empty() && lost.damage_unlisted == 0
    }
}

/// Exports the store on this disk without writing to the disk.
///
/// # Errors
///
/// There is no store, it has a newer version, the file system refuses, or `out` does.
pub fn export(
    disk: Arc<dyn Disk>,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(Progress),
) -> Result<Exported, ExportError> {
    let mut store = Inspection::open(disk)?;
    let damage = std::mem::take(&mut store.report);
    let owners = store.owners();
    let Inspection { index, mut records, .. } = store;
    let mark = index.mark;
    let total = index.queued + index.kept.len() as u64;
    let replaced = match damage.is_sound() {
        true => BTreeSet::new(),
        false => replaced_messages(&index, &mut records),
    };
    let mut exporter = Exporter {
        out,
        lines: 0,
        shared: shared_messages(&index),
        messages: 0,
        clients: BTreeMap::new(),
        groups: BTreeMap::new(),
        mark,
        records: &mut records,
        record: Vec::new(),
        lost: Report::default(),
        counter: Counter::new(tell, "exporting messages", Some(total), 1 << 10),
    };
    let next_number = index.next_number;
    exporter.write(&Line::Header(Header { version: VERSION, next_number }))?;
    for owner in owners {
        if let Some(entry) = index.owners.get(&owner) {
            exporter.owner(owner, entry)?;
        }
    }
    exporter.all_kept(&index, &replaced)?;
    let lines = exporter.lines + 1;
    exporter.write(&Line::End(End { lines }))?;
    let Exporter { out, lost, .. } = exporter;
    out.flush()?;
    Ok(Exported { lines, damage, lost })
}

/// Returns the places of messages that a record other than their own refers to.
fn shared_messages(index: &Index) -> BTreeMap<Location, Option<u64>> {
    let mut shared = BTreeMap::new();
    let mut note = |places: Option<Places>| {
        if let Some(Places { record, message }) = places
            && record != message
        {
            shared.insert(message, None);
        }
    };
    for queue in index.owners.values().filter_map(|entry| entry.queue.as_deref()) {
        queue.for_each(|entry| note(entry.places));
    }
    index.kept.values().for_each(|kept| note(Some(kept.places)));
    shared
}

struct Exporter<'a> {
    out: &'a mut dyn Write,
    lines: u64,
    /// The places of messages that several records refer to, with the number of each message once
    /// it is written.
    shared: BTreeMap<Location, Option<u64>>,
    /// How many messages were written.
    messages: u64,
    /// The numbers of the Sessions by their Client Identifiers so far.
    clients: BTreeMap<Box<str>, u64>,
    /// The numbers of the shared subscriptions by ShareName and filter so far.
    groups: BTreeMap<(Box<str>, Box<str>), u64>,
    /// Converts the store's moments to times of day, because others will read the export.
    mark: Option<Mark>,
    records: &'a mut Records,
    record: Vec<u8>,
    lost: Report,
    counter: Counter<'a>,
}

impl Exporter<'_> {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        self.out.write_all(b"\n")?;
        self.lines += 1;
        Ok(())
    }

    fn lose(&mut self, what: &str, damage: Damage) {
        let detail = format!("{what} is not in the export: {}", damage.detail);
        self.lost.note(Damage { detail, ..damage });
    }

    fn owner(&mut self, owner: Owner, entry: &OwnerEntry) -> io::Result<()> {
        let empty = Queue::default();
        let queue = entry.queue.as_deref().unwrap_or(&empty);
        let lines = match owner {
            Owner::Group(number) => self.group(number, entry, queue.next()),
            Owner::Session(number) => self.session(number, entry, queue.next()),
        };
        match lines {
            Ok(lines) => {
                lines.iter().try_for_each(|line| self.write(line))?;
                self.queue(owner, queue)
            }
            Err(damage) => {
                self.lose(&format!("{} with its messages", name_of(owner)), damage);
                Ok(())
            }
        }
    }

    fn group(
        &mut self,
        number: u64,
        entry: &OwnerEntry,
        next_sequence: u64,
    ) -> Result<Vec<Line>, Damage> {
        let record = self.records.group(number, head(entry)?, &mut self.record)?;
        let (name, filter) = (record.name, record.filter);
        let supersedes = self.groups.insert((name.clone(), filter.clone()), number);
        Ok(vec![Line::Group(Group { number, name, filter, next_sequence, supersedes })])
    }

    fn session(
        &mut self,
        number: u64,
        entry: &OwnerEntry,
        next_sequence: u64,
    ) -> Result<Vec<Line>, Damage> {
        let Self { records, record: buffer, clients, .. } = self;
        let record = records.session(number, head(entry)?, buffer)?;
        let subscriptions = records.subscriptions(number, &entry.subscriptions, buffer)?;
        let will = record.will.filter(|_| !entry.will_gone).map(|will| Will {
            delay_seconds: will.delay_seconds,
            expiry_seconds: will.expiry_seconds,
            content: Content::of_message(&will.message),
        });
        let supersedes = clients.insert(record.client_id.clone(), number);
        let sent_before = entry.detached.map(|detachment| detachment.sent_before);
        let sent_before = sent_before.filter(|before| *before != u64::MAX);
        let ended_at = entry.detached.and_then(Detachment::ended_at);
        let ended_at = ended_at.map(|at| wall_of(self.mark.as_ref(), at).as_millis());
        let detached = ended_at.map(|at_ms| Detached { at_ms, sent_before });
        let mut lines = vec![Line::Session(Box::new(Session {
            number,
            client_id: record.client_id,
            user_name: record.user_name,
            user: record.facts.as_deref().map(User::of),
            expiry_seconds: record.expiry_seconds,
            window: record.window,
            next_sequence,
            supersedes,
            sent_ahead: sent_before.filter(|_| detached.is_none()),
            detached,
            will,
        }))];
        let of = |record| Line::Subscription(Subscription::of(number, record));
        lines.extend(subscriptions.iter().map(of));
        lines.extend(entry.awaiting_release.iter().map(|packet_id| {
            let packet_id = packet_id.get();
            Line::AwaitingRelease(AwaitingRelease { session: number, packet_id })
        }));
        Ok(lines)
    }

    fn queue(&mut self, owner: Owner, queue: &Queue) -> io::Result<()> {
        let mut result = Ok(());
        let _ = queue.visit_from(0, |entry| {
            result = self.entry(owner, &entry);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        result
    }

    fn entry(&mut self, owner: Owner, entry: &Entry) -> io::Result<()> {
        let sequence = entry.sequence;
        if entry.flags.has(Flags::TAKEN) {
            let (session, group) = owner_fields(owner);
            return self.write(&Line::Taken(Taken { session, group, sequence }));
        }
        self.counter.add(1);
        match self.read_entry(owner, entry) {
            Ok((message, queued)) => {
                message.map_or(Ok(()), |message| self.write(&message))?;
                self.write(&Line::Queued(queued))
            }
            Err(damage) => {
                self.lose(&format!("message {sequence} for {}", name_of(owner)), damage);
                Ok(())
            }
        }
    }

    /// Returns the line of a queue entry, and the line of its message if there was none yet.
    fn read_entry(
        &mut self,
        owner: Owner,
        entry: &Entry,
    ) -> Result<(Option<Line>, Queued), Damage> {
        let places = entry.places.ok_or_else(|| lost("it was found to be damaged before"))?;
        let Self { records, record, shared, messages, mark, .. } = self;
        let (head, body) = records.entry(owner, entry.sequence, places.record, record)?;
        let (session, group) = owner_fields(owner);
        let mut queued = Queued {
            session,
            group,
            sequence: entry.sequence,
            message: 0,
            qos: head.qos as u8,
            retain: head.retain,
            identifiers: list(&head.identifiers),
            from_group: head.group,
        };
        let (number, line) = message_line(records, shared, messages, mark.as_ref(), places, body)?;
        queued.message = number;
        Ok((line, queued))
    }

    fn all_kept(&mut self, index: &Index, replaced: &BTreeSet<u64>) -> io::Result<()> {
        for (number, kept) in by_number(index) {
            self.counter.add(1);
            if replaced.contains(number) {
                let what = format!("a retained message ({number})");
                self.lose(&what, lost("its topic has a newer one"));
                continue;
            }
            match self.read_kept(*number, kept) {
                Ok((message, line)) => {
                    message.map_or(Ok(()), |message| self.write(&message))?;
                    self.write(&line)?;
                }
                Err(damage) => {
                    let what = match kept.what {
                        Kept::Retained => "a retained message",
                        Kept::Delayed(_) => "a delayed message",
                    };
                    self.lose(&format!("{what} ({number})"), damage);
                }
            }
        }
        Ok(())
    }

    fn read_kept(&mut self, number: u64, kept: &KeptEntry) -> Result<(Option<Line>, Line), Damage> {
        let Self { records, record, shared, messages, mark, .. } = self;
        let mark = mark.as_ref();
        let (what, body) = records.kept(number, kept, record)?;
        let (message, line) = message_line(records, shared, messages, mark, kept.places, body)?;
        let kept = match what {
            Kept::Retained => Line::Retained(Retained { number, message }),
            Kept::Delayed(at) => {
                let at_ms = wall_of(mark, at).as_millis();
                Line::Delayed(Delayed { number, at_ms, message })
            }
        };
        Ok((line, kept))
    }
}

fn by_number(index: &Index) -> Vec<(&u64, &KeptEntry)> {
    let mut all: Vec<_> = index.kept.iter().collect();
    all.sort_unstable_by_key(|(number, _)| **number);
    all
}

/// Returns the retained messages that a newer one of their topic has replaced. Only damage leaves
/// them: the record about their end cannot be read.
fn replaced_messages(index: &Index, records: &mut Records) -> BTreeSet<u64> {
    let (mut newest, mut replaced) = (BTreeMap::new(), BTreeSet::new());
    let (mut record, mut buffer) = (Vec::new(), Vec::new());
    for (number, kept) in by_number(index) {
        let Ok((Kept::Retained, body)) = records.kept(*number, kept, &mut record) else {
            continue;
        };
        if let Ok(message) = records.message(kept.places, body, &mut buffer) {
            replaced.extend(newest.insert(Box::<str>::from(message.topic), *number));
        }
    }
    replaced
}

/// Returns the number of a message, and its line if there was none yet.
fn message_line(
    records: &mut Records,
    shared: &mut BTreeMap<Location, Option<u64>>,
    messages: &mut u64,
    mark: Option<&Mark>,
    places: Places,
    body: Body<'_>,
) -> Result<(u64, Option<Line>), Damage> {
    if let Some(Some(number)) = shared.get(&places.message) {
        return Ok((*number, None));
    }
    let mut buffer = Vec::new();
    let mut content = Content::of(&records.message(places, body, &mut buffer)?);
    content.expires_at_ms =
        content.expires_at_ms.map(|at| wall_of(mark, Timestamp::from_millis(at)).as_millis());
    *messages += 1;
    let number = *messages;
    if let Some(place) = shared.get_mut(&places.message) {
        *place = Some(number);
    }
    Ok((number, Some(Line::Message(Box::new(NumberedMessage { number, content })))))
}

fn head(entry: &OwnerEntry) -> Result<Location, Damage> {
    let head = entry.head.filter(|_| !entry.is_broken);
    head.map(|head| head.place).ok_or_else(|| lost("a record about it was damaged"))
}

fn lost(detail: &str) -> Damage {
    Damage {
        file: "journal".to_owned(),
        offset: 0,
        kind: DamageKind::BadRecord,
        detail: detail.to_owned(),
    }
}
