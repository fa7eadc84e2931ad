//! Finds out how much of a segment can be copied while a broker writes to it. The bytes of a file
//! may come into view in any order. So only frames that check count, only up to the first one that
//! does not, and of these only whole commits.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::thread;
use std::time::Duration;

use crate::replay::Segment;
use crate::segment::{HEADER_BYTES, Header, HeaderFault, Previous, TAG_END};
use crate::survey::Link;

/// How often bytes are read again because the broker may be writing them at that moment.
const TRIES_MAX: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Reads the length of a segment's file, and its header unless that is damaged.
pub(crate) fn read_header(file: &mut File, number: u32) -> io::Result<(u64, Option<Header>)> {
    let mut tries = 0;
    loop {
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
        match Header::decode(&bytes, number, length) {
            Ok(header) => return Ok((length, Some(header))),
            Err(HeaderFault::MaybeTorn) if tries < TRIES_MAX => thread::sleep(PAUSE),
            Err(_) => return Ok((length, None)),
        }
        tries += 1;
    }
}

/// Reads the records of the segment that is in use, up to where they can be trusted. `header` is
/// the one that was read before.
pub(crate) fn read_records(
    file: &mut File,
    header: &Header,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let length = file.metadata()?.len();
    let link = Link { number: header.number, length, header: Some(*header), end: None };
    let mut tries = 0;
    loop {
        bytes.clear();
        file.seek(SeekFrom::Start(0))?;
        file.by_ref().take(length).read_to_end(bytes)?;
        let mut image = header.encode().to_vec();
        image.truncate(bytes.len());
        bytes[..image.len()].copy_from_slice(&image);
        let segment = Segment::new(&link, bytes, true);
        let end = match sound_end(&segment) {
            Ok(end) => end,
            // Either these bytes came into view at this moment, or they are damaged.
            Err(_) if tries < TRIES_MAX => {
                tries += 1;
                thread::sleep(PAUSE);
                continue;
            }
            Err(at) => damaged_end(&segment, at),
        };
        bytes.truncate(end);
        return Ok(());
    }
}

/// Returns where the last whole commit ends. If bytes that do not check had been synced, the error
/// says where they are.
fn sound_end(segment: &Segment<'_>) -> Result<usize, usize> {
    let mut at = HEADER_BYTES;
    let mut end = at;
    while let Some(frame) = segment.frame(at) {
        at = frame.body.end;
        if frame.tag == TAG_END {
            end = at;
        }
    }
    if segment.was_synced(at) { Err(at) } else { Ok(end) }
}

/// Returns where the records end if some of them are damaged.
fn damaged_end(segment: &Segment<'_>, damage: usize) -> usize {
    let mut at = damage;
    loop {
        if let Some(frame) = segment.frame(at) {
            at = frame.body.end;
        } else if let (true, Some(next)) = (segment.was_synced(at), segment.behind(at)) {
            at = next;
        } else {
            return at;
        }
    }
}

/// Returns whether the segment is in use.
pub(crate) fn is_active(header: &Header) -> bool {
    header.previous != Previous::Spare
}
