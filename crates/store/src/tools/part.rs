//! How much of a segment can be copied while a broker writes to it. The bytes of a file may come
//! into view in any order, so only frames that check count, and only up to the first that does not;
//! of these, only whole commits.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::thread;
use std::time::Duration;

use crate::replay::Segment;
use crate::segment::{HEADER_BYTES, Header, HeaderFault, Previous, TAG_END};
use crate::survey::Link;

/// How often something is read again that may be written at the same moment.
const TRIES_MAX: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The length of a segment's file and its header, unless it is damaged.
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

/// Reads the records of the segment that is in use, up to where they can be trusted. The header is
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
            // Either it came into view in this moment, or it is damaged.
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

/// Where the last whole commit ends; an error if bytes that do not check had been synced.
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

/// Where the records end of which some are damaged.
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

/// Whether it is in use.
pub(crate) fn is_active(header: &Header) -> bool {
    header.previous != Previous::Spare
}
