//! The content of a checkpoint: sections, each with its own checksum, which is seeded with the
//! number of the checkpoint, and a last section that vouches for all of them.

use midge_codec::PacketIdentifier;
use midge_core::{Kept, Owner, Round, Timestamp, WorkerId};

use crate::index::{Detachment, Held, Index, KeptEntry, OwnerEntry, SubscriptionLog};
use crate::location::Location;
use crate::queue::{Block, Places, Queue};
use crate::record::BadRecord;
use crate::record::bytes::{Reader, put_varint};
use crate::record::{mark, owner};

/// The first bytes of a checkpoint.
pub(crate) const MAGIC: &[u8; 8] = b"MIDGECKP";
/// Version 2 added what the clocks showed to the general section.
const VERSION: u32 = 2;
/// Magic, version and checksum.
pub(crate) const HEADER_BYTES: usize = 16;
/// Sections grow until they are about this large.
const SECTION_BYTES: usize = 256 << 10;

/// No segment holds more than this, in bytes or in weight. Calculations with values up to it do not
/// overflow.
const HELD_MAX: u64 = 1 << 36;

const GENERAL: u8 = 1;
const OWNERS: u8 = 2;
const KEPT: u8 = 3;
const ROUNDS: u8 = 4;
const SEGMENTS: u8 = 5;
/// The section that vouches for all others.
pub(crate) const END: u8 = 6;

const HEAD: u8 = 1;
const DETACHED: u8 = 1 << 1;
const WILL_GONE: u8 = 1 << 2;
const BROKEN: u8 = 1 << 3;
const QUEUE: u8 = 1 << 4;

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

/// Writes sections one after the other.
struct Sections {
    out: Vec<u8>,
    number: u64,
    /// Where the current section begins.
    start: usize,
    count: u32,
    /// The checksums of all sections, one after the other.
    checksums: Vec<u8>,
}

/// Encodes checkpoint `number`: the index, and where replay has to go on from it.
pub(crate) fn encode(number: u64, position: Location, index: &Index) -> Vec<u8> {
    let mut sections = Sections::new(number);
    sections.write(GENERAL, |out| {
        out.extend_from_slice(&position.to_u64().to_le_bytes());
        put_varint(out, index.rounds.boot());
        put_varint(out, index.next_number);
        if let Some(mark) = &index.mark {
            mark::encode(mark, out);
        }
    });
    sections.write_all(OWNERS, index.owners.iter(), |(owner, entry), out| {
        encode_owner(*owner, entry, out);
    });
    sections.write_all(KEPT, index.kept.iter(), |(number, kept), out| {
        encode_kept(*number, kept, out);
    });
    sections.write(ROUNDS, |out| encode_rounds(index, out));
    sections.write_all(SEGMENTS, index.holdings.iter(), |(segment, held), out| {
        put_varint(out, u64::from(segment));
        put_varint(out, held.held_bytes);
        put_varint(out, held.held_weight);
        out.push(u8::from(held.damaged));
    });
    sections.end()
}

/// Decodes checkpoint `number`. If any of it is damaged, nothing of it is used.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Result<Loaded, NotUsable> {
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
    let mut reader = Reader::new(rest);
    let mut checksums = Vec::new();
    let mut count = 0;
    let mut index = Index::new();
    let mut position = None;
    loop {
        let (kind, body, checksum) = read_section(number, &mut reader)?;
        let mut body = Reader::new(body);
        match kind {
            GENERAL => position = Some(decode_general(&mut body, &mut index)?),
            OWNERS => decode_all(&mut body, &mut index, decode_owner)?,
            KEPT => decode_all(&mut body, &mut index, decode_kept)?,
            ROUNDS => decode_rounds(&mut body, &mut index)?,
            SEGMENTS => decode_all(&mut body, &mut index, decode_segment)?,
            END => {
                let whole = (body.fixed_u32()?, body.fixed_u32()?);
                if whole != (count, crc32c::crc32c(&checksums)) {
                    return Err(NotUsable::Damaged("a section is missing"));
                }
                body.finish()?;
                reader.finish()?;
                break;
            }
            _ => return Err(NotUsable::Damaged("a section is of an unknown kind")),
        }
        body.finish()?;
        checksums.extend_from_slice(&checksum.to_le_bytes());
        count += 1;
    }
    let position = position.ok_or(NotUsable::Damaged("a section is missing"))?;
    let is_behind = |segment| segment > position.segment();
    if index.holdings.iter().any(|(segment, held)| held.live > 0 && is_behind(segment)) {
        return Err(NotUsable::Damaged("it needs what comes behind it"));
    }
    Ok(Loaded { index, position })
}

impl Sections {
    fn new(number: u64) -> Self {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        Self { out, number, start: 0, count: 0, checksums: Vec::new() }
    }

    fn begin(&mut self, kind: u8) {
        self.start = self.out.len();
        self.out.push(kind);
        self.out.extend_from_slice(&[0; 8]);
    }

    fn body_len(&self) -> usize {
        self.out.len() - self.start - 9
    }

    fn finish(&mut self) {
        let len = self.body_len() as u32;
        let (head, body) = self.out[self.start..].split_at_mut(9);
        head[1..5].copy_from_slice(&len.to_le_bytes());
        let checksum = section_checksum(self.number, head[0], len, body);
        head[5..9].copy_from_slice(&checksum.to_le_bytes());
        self.checksums.extend_from_slice(&checksum.to_le_bytes());
        self.count += 1;
    }

    fn write(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) {
        self.begin(kind);
        encode(&mut self.out);
        self.finish();
    }

    fn write_all<T>(
        &mut self,
        kind: u8,
        items: impl Iterator<Item = T>,
        encode: impl Fn(T, &mut Vec<u8>),
    ) {
        self.begin(kind);
        for item in items {
            if self.body_len() >= SECTION_BYTES {
                self.finish();
                self.begin(kind);
            }
            encode(item, &mut self.out);
        }
        self.finish();
    }

    fn end(mut self) -> Vec<u8> {
        let (count, checksum) = (self.count, crc32c::crc32c(&self.checksums));
        self.write(END, |out| {
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(&checksum.to_le_bytes());
        });
        self.out
    }
}

/// Returns the checksum of a section of checkpoint `number`.
pub(crate) fn section_checksum(number: u64, kind: u8, len: u32, body: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&number.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &[kind]);
    let seed = crc32c::crc32c_append(seed, &len.to_le_bytes());
    crc32c::crc32c_append(seed, body)
}

fn read_section<'a>(
    number: u64,
    reader: &mut Reader<'a>,
) -> Result<(u8, &'a [u8], u32), NotUsable> {
    let kind = reader.byte()?;
    let len = reader.fixed_u32()?;
    let checksum = reader.fixed_u32()?;
    let body = reader.take(len as usize)?;
    if section_checksum(number, kind, len, body) != checksum {
        return Err(NotUsable::Damaged("a section is damaged"));
    }
    Ok((kind, body, checksum))
}

fn decode_all(
    body: &mut Reader<'_>,
    index: &mut Index,
    decode: impl Fn(&mut Reader<'_>, &mut Index) -> Result<(), BadRecord>,
) -> Result<(), BadRecord> {
    while body.remaining() > 0 {
        decode(body, index)?;
    }
    Ok(())
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

fn encode_owner(owner: Owner, entry: &OwnerEntry, out: &mut Vec<u8>) {
    owner::encode(owner, out);
    let flags = [
        (HEAD, entry.head.is_some()),
        (DETACHED, entry.detached.is_some()),
        (WILL_GONE, entry.will_gone),
        (BROKEN, entry.is_broken),
        (QUEUE, entry.queue.is_some()),
    ];
    out.push(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag).sum());
    if let Some(head) = entry.head {
        encode_held(head, out);
    }
    if let Some(Detachment { at, sent_before }) = entry.detached {
        put_varint(out, at.as_millis());
        put_varint(out, sent_before);
    }
    put_varint(out, entry.subscriptions.weight());
    put_varint(out, entry.subscriptions.records().len() as u64);
    for record in entry.subscriptions.records() {
        encode_held(record, out);
    }
    put_varint(out, entry.awaiting_release.len() as u64);
    for packet_id in &entry.awaiting_release {
        put_varint(out, u64::from(packet_id.get()));
    }
    if let Some(queue) = &entry.queue {
        let blocks = queue.to_blocks();
        put_varint(out, queue.next());
        put_varint(out, blocks.len() as u64);
        for block in &blocks {
            block.encode(out);
        }
    }
}

fn decode_owner(body: &mut Reader<'_>, index: &mut Index) -> Result<(), BadRecord> {
    let owner = owner::decode(body)?;
    let (Owner::Session(number) | Owner::Group(number)) = owner;
    index.use_number(number);
    let flags = body.byte()?;
    let mut entry = OwnerEntry {
        will_gone: flags & WILL_GONE != 0,
        is_broken: flags & BROKEN != 0,
        ..OwnerEntry::default()
    };
    if flags & HEAD != 0 {
        let head = decode_held(body)?;
        index.holdings.hold(head);
        entry.head = Some(head);
    }
    if flags & DETACHED != 0 {
        let at = Timestamp::from_millis(body.varint()?);
        entry.detached = Some(Detachment { at, sent_before: body.varint()? });
    }
    let weight = body.varint()?;
    let mut records = Vec::new();
    for _ in 0..body.varint()? {
        let record = decode_held(body)?;
        index.holdings.hold(record);
        records.push(record);
    }
    entry.subscriptions = SubscriptionLog::from_parts(records, weight);
    for _ in 0..body.varint()? {
        entry.awaiting_release.push(packet_id(body)?);
    }
    if flags & QUEUE != 0 {
        let queue = decode_queue(body)?;
        index.queued += queue.waiting().messages;
        queue.for_each(|waiting| index.holdings.hold_entry(&waiting));
        entry.queue = Some(Box::new(queue));
    }
    match index.owners.insert(owner, entry) {
        None => Ok(()),
        Some(_) => Err(BadRecord("an owner comes twice")),
    }
}

fn decode_queue(body: &mut Reader<'_>) -> Result<Queue, BadRecord> {
    let next = body.varint()?;
    let mut blocks = Vec::new();
    for _ in 0..body.varint()? {
        blocks.push(Block::decode(body)?);
    }
    Queue::from_blocks(blocks, next)
}

fn encode_kept(number: u64, kept: &KeptEntry, out: &mut Vec<u8>) {
    put_varint(out, number);
    match kept.what {
        Kept::Retained => out.push(0),
        Kept::Delayed(at) => {
            out.push(1);
            put_varint(out, at.as_millis());
        }
    }
    out.extend_from_slice(&kept.places.record.to_u64().to_le_bytes());
    out.extend_from_slice(&kept.places.message.to_u64().to_le_bytes());
    put_varint(out, u64::from(kept.size));
}

fn decode_kept(body: &mut Reader<'_>, index: &mut Index) -> Result<(), BadRecord> {
    let number = body.varint()?;
    let what = match body.byte()? {
        0 => Kept::Retained,
        1 => Kept::Delayed(Timestamp::from_millis(body.varint()?)),
        _ => return Err(BadRecord("the reason to keep it is unknown")),
    };
    let places = Places { record: place(body)?, message: place(body)? };
    index.load_kept(number, KeptEntry { what, places, size: body.varint_u32()? });
    Ok(())
}

fn encode_rounds(index: &Index, out: &mut Vec<u8>) {
    let provisional = index.rounds.provisional();
    put_varint(out, provisional.len() as u64);
    for (round, entries) in provisional {
        encode_round(*round, out);
        put_varint(out, entries.len() as u64);
        for (owner, sequence) in entries {
            owner::encode(*owner, out);
            put_varint(out, *sequence);
        }
    }
    for round in index.rounds.confirmed() {
        encode_round(round, out);
    }
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

fn encode_round(round: Round, out: &mut Vec<u8>) {
    out.push(round.worker.index() as u8);
    put_varint(out, round.number);
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

fn encode_held(held: Held, out: &mut Vec<u8>) {
    out.extend_from_slice(&held.place.to_u64().to_le_bytes());
    put_varint(out, u64::from(held.bytes));
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

#[cfg(test)]
pub(super) mod tests {
    use super::{HEADER_BYTES, Reader, Sections, read_section};

    /// Returns all sections of a checkpoint except the last one.
    pub(in crate::checkpoint) fn split(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut reader = Reader::new(&bytes[HEADER_BYTES..]);
        let mut sections = Vec::new();
        while let Ok((kind, body, _)) = read_section(4, &mut reader) {
            sections.push((kind, body.to_vec()));
        }
        sections.pop();
        sections
    }

    /// Makes a checkpoint of these sections, with sound checksums.
    pub(in crate::checkpoint) fn join(number: u64, parts: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut sections = Sections::new(number);
        for (kind, body) in parts {
            sections.write(*kind, |out| out.extend_from_slice(body));
        }
        sections.end()
    }
}
