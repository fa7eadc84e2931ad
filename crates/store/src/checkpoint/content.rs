//! The bytes of a checkpoint: sections, each with its own checksum, which is seeded with the
//! number of the checkpoint, and a last section that vouches for all of them.

use midge_core::{Kept, Owner, Round};

use crate::index::{Detachment, Held, Index, KeptEntry, OwnerEntry};
use crate::location::Location;
use crate::record::bytes::put_varint;
use crate::record::{mark, owner};

/// The first bytes of a checkpoint.
pub(crate) const MAGIC: &[u8; 8] = b"MIDGECKP";
/// Version 2 added what the clocks showed to the general section.
pub(super) const VERSION: u32 = 2;
/// Magic, version and checksum.
pub(crate) const HEADER_BYTES: usize = 16;
/// Sections grow until they are about this large.
const SECTION_BYTES: usize = 256 << 10;

/// No segment holds more than this, in bytes or in weight. Calculations with values up to it do not
/// overflow.
pub(super) const HELD_MAX: u64 = 1 << 36;

pub(super) const GENERAL: u8 = 1;
pub(super) const OWNERS: u8 = 2;
pub(super) const KEPT: u8 = 3;
pub(super) const ROUNDS: u8 = 4;
pub(super) const SEGMENTS: u8 = 5;
/// The section that vouches for all others.
pub(crate) const END: u8 = 6;

pub(super) const HEAD: u8 = 1;
pub(super) const DETACHED: u8 = 1 << 1;
pub(super) const WILL_GONE: u8 = 1 << 2;
pub(super) const BROKEN: u8 = 1 << 3;
pub(super) const QUEUE: u8 = 1 << 4;

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

fn encode_round(round: Round, out: &mut Vec<u8>) {
    out.push(round.worker.index() as u8);
    put_varint(out, round.number);
}

fn encode_held(held: Held, out: &mut Vec<u8>) {
    out.extend_from_slice(&held.place.to_u64().to_le_bytes());
    put_varint(out, u64::from(held.bytes));
}

#[cfg(test)]
pub(super) mod tests {
    use super::{HEADER_BYTES, Sections};
    use crate::checkpoint::decoding::read_section;
    use crate::record::bytes::Reader;

    /// Returns all sections of a checkpoint except the last one.
    pub(in crate::checkpoint) fn split(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut reader = Reader::new(&bytes[HEADER_BYTES..]);
        let mut sections = Vec::new();
        while let Ok(section) = read_section(&mut reader) {
            sections.push((section.kind, section.body.to_vec()));
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
