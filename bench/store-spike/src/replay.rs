//! Reading the journal at open: complete commits in order, and telling a torn tail from damage.
//!
//! It must not panic and not allocate beyond a file's size, whatever the bytes are.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::candidate::Outcome;
use crate::journal::{BEGIN, END, MAGIC, location, segment_path};

/// Bytes of a segment's header.
pub const HEADER: usize = 64;

type Visit<'a> = &'a mut dyn FnMut(u64, u8, &[u8]);

/// Visits the records from `from` on; returns the segments and where the journal ended.
pub fn run(
    dir: &Path,
    from: u64,
    known_end: u64,
    damage: &mut Vec<String>,
    visit: Visit<'_>,
) -> Outcome<(BTreeMap<u32, File>, u64)> {
    let files = open_segments(dir)?;
    let numbers: Vec<u32> = files.keys().copied().collect();
    let mut end = 0;
    for (nth, &segment) in numbers.iter().enumerate() {
        if nth > 0 && numbers[nth - 1] + 1 != segment {
            damage.push(format!("segments before {segment} are missing"));
        }
        if segment < (from >> 32) as u32 {
            continue;
        }
        let mut bytes = std::fs::read(segment_path(dir, segment))?;
        if !header_fits(&bytes, segment) {
            damage.push(format!("segment {segment}: header"));
        }
        let start =
            if segment == (from >> 32) as u32 { (from & 0xffff_ffff) as usize } else { HEADER };
        let next = numbers.get(nth + 1).map(|&next| previous_end(dir, next)).transpose()?;
        if let Some(Some(promised)) = next {
            // What is behind it was cut by an earlier open and must never come back.
            bytes.truncate(promised as usize);
        }
        let hint = Hint { followed: next.is_some(), known_end };
        let stop = replay_segment(&bytes, segment, start, &hint, damage, visit);
        if let Some(Some(expected)) = next
            && expected != stop as u64
        {
            damage.push(format!("segment {segment} ends at {stop}, {expected} was promised"));
        }
        end = location(segment, stop);
    }
    if end < known_end {
        damage.push(format!("the journal ends at {end:x} and had reached {known_end:x}"));
    }
    Ok((files, end))
}

struct Hint {
    /// There is a later segment, so that this one was finished and synced.
    followed: bool,
    known_end: u64,
}

fn open_segments(dir: &Path) -> Outcome<BTreeMap<u32, File>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("journal-"));
        let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if let Some(number) = number {
            let file = OpenOptions::new().read(true).write(true).open(entry.path())?;
            files.insert(number, file);
        }
    }
    Ok(files)
}

fn header_fits(bytes: &[u8], segment: u32) -> bool {
    bytes.len() >= HEADER
        && bytes[..8] == *b"MIDGEJNL"
        && crc32c::crc32c(&bytes[..60]).to_le_bytes() == bytes[60..64]
        && segment.to_le_bytes() == bytes[16..20]
}

fn previous_end(dir: &Path, segment: u32) -> Outcome<Option<u64>> {
    let mut bytes = [0; HEADER];
    let fits = File::open(segment_path(dir, segment))?.read_exact_at(&mut bytes, 0).is_ok()
        && header_fits(&bytes, segment);
    Ok(if fits { Some(u64::from_le_bytes(bytes[24..32].try_into()?)) } else { None })
}

/// The frame at a place, if its checksum matches: tag and where the body is.
pub fn frame_at(segment: u32, bytes: &[u8], at: usize) -> Option<(u8, Range<usize>)> {
    let head = bytes.get(at..at + 9)?;
    let length = [head[0], head[1], head[2], head[3]];
    let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let end = (at + 9).checked_add(u32::from_le_bytes(length) as usize)?;
    let body = bytes.get(at + 9..end)?;
    let mut found = crc32c::crc32c_append(segment, &[head[8]]);
    found = crc32c::crc32c_append(found, &length);
    found = crc32c::crc32c_append(found, body);
    (found == sum && head[8] != 0).then_some((head[8], at + 9..end))
}

/// Follows the frames of a segment; returns where its data ends.
fn replay_segment(
    bytes: &[u8],
    segment: u32,
    start: usize,
    hint: &Hint,
    damage: &mut Vec<String>,
    visit: Visit<'_>,
) -> usize {
    let mut at = start;
    let mut complete = start;
    let mut commit: Vec<(u64, u8, Range<usize>)> = Vec::new();
    loop {
        let Some((tag, body)) = frame_at(segment, bytes, at) else {
            let rest = bytes.get(at..).unwrap_or_default();
            let empty = rest.iter().all(|&byte| byte == 0);
            let Some(resume) = resume_at(bytes, segment, at, hint) else {
                if !empty || complete != at {
                    let here = location(segment, complete);
                    damage.push(format!("torn tail at {here:x}, cut"));
                }
                return complete;
            };
            if empty && commit.is_empty() {
                return at;
            }
            damage.push(format!("damage at {:x}", location(segment, at)));
            at = resume;
            continue;
        };
        match tag {
            BEGIN => {
                // An earlier commit without its end, although it had been synced.
                emit(&mut commit, bytes, visit);
            }
            END => {
                emit(&mut commit, bytes, visit);
                complete = body.end;
            }
            _ => commit.push((location(segment, at), tag, body.clone())),
        }
        at = body.end;
        if commit.is_empty() && tag != BEGIN {
            complete = at;
        }
    }
}

fn emit(commit: &mut Vec<(u64, u8, Range<usize>)>, bytes: &[u8], visit: Visit<'_>) {
    for (at, tag, body) in commit.drain(..) {
        visit(at, tag, &bytes[body]);
    }
}

/// Where to go on behind a frame that does not check; none when it is the end or a torn tail.
fn resume_at(bytes: &[u8], segment: u32, at: usize, hint: &Hint) -> Option<usize> {
    let here = location(segment, at);
    let begin = next_begin(bytes, segment, at);
    let synced = hint.followed
        || hint.known_end > here
        || begin.is_some_and(|(_, synced_to)| synced_to > here);
    if !synced {
        return None;
    }
    // The length field may be sound: then only this record is lost.
    let length = bytes.get(at..at + 4)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let behind = (at + 9).checked_add(length)?;
    if length > 0 && frame_at(segment, bytes, behind).is_some() {
        return Some(behind);
    }
    // Or a later record of the same commit is found by trying every place up to the next Begin.
    let stop = begin.map_or_else(|| bytes.len().min(at + (256 << 10)), |(place, _)| place);
    let found = (at + 1..stop).find(|&place| {
        bytes.get(place).is_some_and(|&byte| byte != 0) && frame_at(segment, bytes, place).is_some()
    });
    found.or(begin.map(|(place, _)| place))
}

/// The next frame that begins a commit, and up to where everything was synced by then.
fn next_begin(bytes: &[u8], segment: u32, at: usize) -> Option<(usize, u64)> {
    let mut from = at;
    loop {
        let rest = bytes.get(from..)?;
        let magic = from + rest.windows(8).position(|window| window == MAGIC)?;
        // A Begin is: head of 9 bytes, location of 8 bytes, magic.
        if let Some(place) = magic.checked_sub(17)
            && place > at
            && let Some((BEGIN, body)) = frame_at(segment, bytes, place)
        {
            let word = bytes.get(body.start..body.start + 8)?;
            return Some((place, u64::from_le_bytes(word.try_into().ok()?)));
        }
        from = magic + 8;
    }
}
