//! Makes the checksums of changed files right again, so that fuzzing reaches the code behind them.
//! It does so only where the structure of segments and checkpoints can be followed; the rest stays
//! as it is.

use std::collections::BTreeMap;

use crate::checkpoint::content;
use crate::segment::{
    CrcSeed, END_BYTES, FRAME_BYTES, HEADER_BYTES, MAGIC, TAG_BEGIN, TAG_END, add_crc, body_range,
    encode_end, segment_number,
};

/// Makes the checksums right in the files of a data directory, which are given by name.
pub(super) fn reseal(files: &mut BTreeMap<String, Vec<u8>>) {
    let mut commit = Commit::default();
    for (name, bytes) in files {
        let checkpoint = name.strip_prefix("checkpoint-");
        if let Some(number) = segment_number(name) {
            reseal_segment(number, bytes, &mut commit);
        } else if let Some(Ok(number)) = checkpoint.map(|hex| u64::from_str_radix(hex, 16)) {
            reseal_checkpoint(number, bytes);
        }
    }
}

/// What the End of the commit has to say. A commit may go on in the next segment.
#[derive(Default)]
struct Commit {
    records: u32,
    crc: u32,
}

fn reseal_segment(number: u32, bytes: &mut [u8], commit: &mut Commit) {
    if bytes.len() >= HEADER_BYTES && bytes.starts_with(&MAGIC) {
        seal(bytes, 0..60, 60);
    }
    let seed = CrcSeed::of_segment(number);
    let mut at = HEADER_BYTES;
    while let Some(body) = body_range(bytes, at) {
        let tag = bytes[body.start - 1];
        if tag == 0 {
            break;
        }
        if tag == TAG_END && body.len() == END_BYTES {
            bytes[body.clone()].copy_from_slice(&encode_end(commit.records, commit.crc));
        }
        let crc = seed.crc(at as u32, body.len() as u32, &bytes[body.start - 1..body.end]);
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        match tag {
            TAG_BEGIN => *commit = Commit { records: 0, crc: add_crc(0, crc) },
            _ => {
                commit.records = commit.records.wrapping_add(1);
                commit.crc = add_crc(commit.crc, crc);
            }
        }
        at = body.end;
    }
}

fn reseal_checkpoint(number: u64, bytes: &mut [u8]) {
    if bytes.len() < content::HEADER_BYTES || !bytes.starts_with(content::MAGIC) {
        return;
    }
    seal(bytes, 0..12, 12);
    let mut checksums = Vec::new();
    let mut rest = &mut bytes[content::HEADER_BYTES..];
    // A section has as many bytes before its body as a frame.
    while let Some((head, behind)) = rest.split_first_chunk_mut::<FRAME_BYTES>() {
        let (kind, length) = (head[0], [head[1], head[2], head[3], head[4]]);
        let length = u32::from_le_bytes(length);
        let Some((body, behind)) = behind.split_at_mut_checked(length as usize) else {
            return;
        };
        if kind == content::END && body.len() == 8 {
            let count = checksums.len() as u32 / 4;
            body[..4].copy_from_slice(&count.to_le_bytes());
            body[4..].copy_from_slice(&crc32c::crc32c(&checksums).to_le_bytes());
        }
        let checksum = content::section_checksum(number, kind, length, body).to_le_bytes();
        head[5..].copy_from_slice(&checksum);
        checksums.extend_from_slice(&checksum);
        rest = behind;
    }
}

/// Writes the checksum of `range` to `at`.
fn seal(bytes: &mut [u8], range: std::ops::Range<usize>, at: usize) {
    let crc = crc32c::crc32c(&bytes[range]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}
