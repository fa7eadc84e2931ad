//! Reads the content of a checkpoint. Sections are checked and decoded by several threads and taken
//! in the order in which they stand in the file, so what comes of it is the same with any number of
//! threads.

use std::num::NonZeroUsize;

use midge_codec::PacketIdentifier;
use midge_core::{Kept, Owner, Round, Timestamp, WorkerId};

use super::content::{
    BROKEN, DETACHED, END, GENERAL, HEAD, HEADER_BYTES, HELD_MAX, KEPT, MAGIC, OWNERS, QUEUE,
    ROUNDS, SEGMENTS, VERSION, WILL_GONE, section_checksum,
};
use crate::index::{Detachment, Held, Holdings, Index, KeptEntry, OwnerEntry, SubscriptionLog};
use crate::location::Location;
use crate::queue::{Places, Queue};
use crate::record::bytes::Reader;
use crate::record::{BadRecord, mark, owner};
use crate::side_by_side::in_order;

/// A checkpoint that was read.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    /// Where replay goes on.
    pub(crate) position: Location,
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotUsable {
    Newer(u32),
    Damaged(&'static str),
}

impl From<BadRecord> for NotUsable {
    fn from(bad: BadRecord) -> Self {
        Self::Damaged(bad.0)
    }
}

/// A section as it stands in the file.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    checksum: u32,
}

/// A section that checks.
enum Checked<'a> {
    Owners(Owners),
    Kept(KeptMessages),
    /// One that is read when it is its turn.
    Other(u8, Reader<'a>),
}

/// The owners of one section, and what they hold.
#[derive(Default)]
struct Owners {
    entries: Vec<(Owner, Box<OwnerEntry>)>,
    queued: u64,
    held: Holdings,
}

/// The kept messages of one section, and what they hold.
#[derive(Default)]
struct KeptMessages {
    entries: Vec<(u64, KeptEntry)>,
    held: Holdings,
}

/// What was taken from the sections so far.
struct Loading {
    index: Index,
    position: Option<Location>,
    /// How many sections of owners there are, and of kept messages.
    owners_sections: usize,
    kept_sections: usize,
}

/// Decodes checkpoint `number`. If any of it is damaged, nothing of it is used.
pub(crate) fn decode(
    number: u64,
    bytes: &[u8],
    readers: NonZeroUsize,
) -> Result<Loaded, NotUsable> {
    let mut reader = Reader::new(check_header(bytes)?);
    let mut sections = Vec::new();
    let end = loop {
        match read_section(&mut reader) {
            Ok(section) if section.kind == END => break Ok(section),
            Ok(section) => sections.push(section),
            Err(bad) => break Err(bad),
        }
    };
    let count = |kind| sections.iter().filter(|section| section.kind == kind).count();
    let mut loading = Loading {
        index: Index::new(),
        position: None,
        owners_sections: count(OWNERS),
        kept_sections: count(KEPT),
    };
    in_order(
        &sections,
        readers,
        |section| section.check(number),
        |checked: Result<_, NotUsable>| loading.take(checked?),
    )?;
    check_end(number, end?, &sections)?;
    reader.finish()?;
    loading.finish()
}

/// Returns what follows the header.
fn check_header(bytes: &[u8]) -> Result<&[u8], NotUsable> {
    let (header, rest) =
        bytes.split_at_checked(HEADER_BYTES).ok_or(NotUsable::Damaged("it is too short"))?;
    if &header[..8] != MAGIC {
        return Err(NotUsable::Damaged("it does not begin as a checkpoint does"));
    }
    let mut reader = Reader::new(&header[8..]);
    let version = reader.fixed_u32()?;
    if reader.fixed_u32()? != crc32c::crc32c(&header[..12]) {
        return Err(NotUsable::Damaged("its header is damaged"));
    }
    if version > VERSION {
        return Err(NotUsable::Newer(version));
    }
    Ok(rest)
}

pub(super) fn read_section<'a>(reader: &mut Reader<'a>) -> Result<Section<'a>, BadRecord> {
    let kind = reader.byte()?;
    let len = reader.fixed_u32()?;
    let checksum = reader.fixed_u32()?;
    Ok(Section { kind, body: reader.take(len as usize)?, checksum })
}

/// Checks that the sections before the last one are those that it vouches for.
fn check_end(number: u64, end: Section<'_>, sections: &[Section<'_>]) -> Result<(), NotUsable> {
    let mut body = end.checked_body(number)?;
    let whole = (body.fixed_u32()?, body.fixed_u32()?);
    let checksums = sections.iter().fold(0, |checksums, section| {
        crc32c::crc32c_append(checksums, &section.checksum.to_le_bytes())
    });
    if whole != (sections.len() as u32, checksums) {
        return Err(NotUsable::Damaged("a section is missing"));
    }
    Ok(body.finish()?)
}

impl<'a> Section<'a> {
    fn checked_body(&self, number: u64) -> Result<Reader<'a>, NotUsable> {
        let len = self.body.len() as u32;
        if section_checksum(number, self.kind, len, self.body) != self.checksum {
            return Err(NotUsable::Damaged("a section is damaged"));
        }
        Ok(Reader::new(self.body))
    }

    fn check(&self, number: u64) -> Result<Checked<'a>, NotUsable> {
        let mut body = self.checked_body(number)?;
        Ok(match self.kind {
            OWNERS => {
                let mut owners = Owners::default();
                while body.remaining() > 0 {
                    owners.decode_one(&mut body)?;
                }
                Checked::Owners(owners)
            }
            KEPT => {
                let mut kept = KeptMessages::default();
                while body.remaining() > 0 {
                    kept.decode_one(&mut body)?;
                }
                Checked::Kept(kept)
            }
            kind => Checked::Other(kind, body),
        })
    }
}

impl Loading {
    /// Takes the next section.
    fn take(&mut self, section: Checked<'_>) -> Result<(), NotUsable> {
        match section {
            Checked::Owners(owners) => self.take_owners(owners),
            Checked::Kept(kept) => {
                self.take_kept(kept);
                Ok(())
            }
            Checked::Other(kind, body) => self.take_other(kind, body),
        }
    }

    fn take_owners(&mut self, owners: Owners) -> Result<(), NotUsable> {
        let Owners { entries, queued, held } = owners;
        let index = &mut self.index;
        if index.owners.is_empty() {
            // Sections are about as long as each other, and one with a long queue has few owners.
            index.owners.reserve(entries.len() * self.owners_sections);
        }
        index.holdings.hold_all(&held);
        index.queued += queued;
        for (owner, entry) in entries {
            let (Owner::Session(number) | Owner::Group(number)) = owner;
            index.use_number(number);
            if index.owners.insert(owner, entry).is_some() {
                return Err(NotUsable::Damaged("an owner comes twice"));
            }
        }
        Ok(())
    }

    fn take_kept(&mut self, kept: KeptMessages) {
        let index = &mut self.index;
        if index.kept.is_empty() {
            index.kept.reserve(kept.entries.len() * self.kept_sections);
        }
        index.holdings.hold_all(&kept.held);
        for (number, entry) in kept.entries {
            index.insert_kept(number, entry);
        }
    }

    fn take_other(&mut self, kind: u8, mut body: Reader<'_>) -> Result<(), NotUsable> {
        match kind {
            GENERAL => self.position = Some(decode_general(&mut body, &mut self.index)?),
            ROUNDS => decode_rounds(&mut body, &mut self.index)?,
            SEGMENTS => {
                while body.remaining() > 0 {
                    decode_segment(&mut body, &mut self.index)?;
                }
            }
            _ => return Err(NotUsable::Damaged("a section is of an unknown kind")),
        }
        Ok(body.finish()?)
    }

    fn finish(self) -> Result<Loaded, NotUsable> {
        let Self { index, position, .. } = self;
        let position = position.ok_or(NotUsable::Damaged("a section is missing"))?;
        let is_behind = |segment| segment > position.segment();
        if index.holdings.iter().any(|(segment, held)| held.live > 0 && is_behind(segment)) {
            return Err(NotUsable::Damaged("it needs what comes behind it"));
        }
        Ok(Loaded { index, position })
    }
}

impl Owners {
    fn decode_one(&mut self, body: &mut Reader<'_>) -> Result<(), BadRecord> {
        let owner = owner::decode(body)?;
        let flags = body.byte()?;
        let mut entry = Box::new(OwnerEntry {
            will_gone: flags & WILL_GONE != 0,
            is_broken: flags & BROKEN != 0,
            ..OwnerEntry::default()
        });
        if flags & HEAD != 0 {
            let head = decode_held(body)?;
            self.held.hold(head);
            entry.head = Some(head);
        }
        if flags & DETACHED != 0 {
            let at = Timestamp::from_millis(body.varint()?);
            entry.detached = Some(Detachment { at, sent_before: body.varint()? });
        }
        let weight = body.varint()?;
        let count = body.varint()?;
        let mut records = Vec::with_capacity(room_for(count, HELD_BYTES_MIN, body));
        for _ in 0..count {
            let record = decode_held(body)?;
            self.held.hold(record);
            records.push(record);
        }
        entry.subscriptions = SubscriptionLog::from_parts(records, weight);
        let count = body.varint()?;
        entry.awaiting_release.reserve_exact(room_for(count, 1, body));
        for _ in 0..count {
            entry.awaiting_release.push(packet_id(body)?);
        }
        if flags & QUEUE != 0 {
            let (next, count) = (body.varint()?, body.varint()?);
            let queue = Queue::decode(next, count, body, |waiting| self.held.hold_entry(waiting))?;
            self.queued += queue.waiting().messages;
            entry.queue = Some(Box::new(queue));
        }
        self.entries.push((owner, entry));
        Ok(())
    }
}

/// A record that is held takes no fewer bytes.
const HELD_BYTES_MIN: usize = 9;

/// Returns for how many things to make room, if as many are said to come and each takes no fewer
/// bytes than this.
fn room_for(count: u64, bytes_min: usize, body: &Reader<'_>) -> usize {
    (count as usize).min(body.remaining() / bytes_min)
}

impl KeptMessages {
    fn decode_one(&mut self, body: &mut Reader<'_>) -> Result<(), BadRecord> {
        let number = body.varint()?;
        let what = match body.byte()? {
            0 => Kept::Retained,
            1 => Kept::Delayed(Timestamp::from_millis(body.varint()?)),
            _ => return Err(BadRecord("the reason to keep it is unknown")),
        };
        let places = Places { record: place(body)?, message: place(body)? };
        let kept = KeptEntry { what, places, size: body.varint_u32()? };
        self.held.hold_message(places, kept.size);
        self.entries.push((number, kept));
        Ok(())
    }
}

fn decode_general(body: &mut Reader<'_>, index: &mut Index) -> Result<Location, BadRecord> {
    let position = place(body)?;
    index.begin_boot(body.varint()?);
    index.next_number = index.next_number.max(body.varint()?);
    if body.remaining() > 0 {
        index.mark = Some(mark::decode_from(body)?);
    }
    Ok(position)
}

fn decode_rounds(body: &mut Reader<'_>, index: &mut Index) -> Result<(), BadRecord> {
    for _ in 0..body.varint()? {
        let round = decode_round(body)?;
        for _ in 0..body.varint()? {
            let owner = owner::decode(body)?;
            index.rounds.add(round, owner, body.varint()?);
        }
    }
    while body.remaining() > 0 {
        let round = decode_round(body)?;
        index.rounds.confirm(round);
    }
    Ok(())
}

fn decode_round(body: &mut Reader<'_>) -> Result<Round, BadRecord> {
    let index = usize::from(body.byte()?);
    if index >= WorkerId::MAX_WORKERS {
        return Err(BadRecord("there is no such worker"));
    }
    Ok(Round { worker: WorkerId::new(index), number: body.varint()? })
}

fn decode_segment(body: &mut Reader<'_>, index: &mut Index) -> Result<(), BadRecord> {
    let held = index.holdings.get_mut(body.varint_u32()?);
    held.held_bytes = body.varint()?;
    held.held_weight = body.varint()?;
    held.damaged = body.byte()? != 0;
    if held.held_bytes.max(held.held_weight) > HELD_MAX {
        return Err(BadRecord("a segment has more than fits into one"));
    }
    Ok(())
}

fn decode_held(body: &mut Reader<'_>) -> Result<Held, BadRecord> {
    Ok(Held { place: place(body)?, bytes: body.varint_u32()? })
}

fn place(body: &mut Reader<'_>) -> Result<Location, BadRecord> {
    Location::from_u64(body.fixed_u64()?).ok_or(BadRecord("a place in the journal is 0"))
}

fn packet_id(body: &mut Reader<'_>) -> Result<PacketIdentifier, BadRecord> {
    let value = u16::try_from(body.varint_u32()?).ok().and_then(PacketIdentifier::new);
    value.ok_or(BadRecord("there is no such Packet Identifier"))
}
