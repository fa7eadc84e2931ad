//! Finds out at opening which segment files there are and which of them make up the journal. It
//! only reads: nothing in the directory is changed before all of it has been looked at.
//!
//! The header of every segment in use says where the journal stood when the segment was taken into
//! use. Followed from the newest segment back, these headers give the chain of segments to be
//! replayed, each with the place where its records end; segments in between are void. A power cut
//! may leave traces that are no damage: files whose name still ends in `.new`, spares, and newest
//! segments whose header is torn between spare and in use.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use midge_core::counted;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::location::Location;
use crate::quarantine::original_name;
use crate::report::{Damage, DamageKind, Report};
use crate::segment::{
    CrcSeed, Frame, HEADER_BYTES, Header, HeaderFault, NEW_SUFFIX, Previous, SEGMENT_BYTES_MAX,
    find_begin, segment_name, segment_number,
};

/// The largest number that an opening accepts: above it there are enough numbers for any life of a
/// store.
const NUMBER_MAX: u32 = u32::MAX / 2;

/// A segment that is to be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number.
    pub(crate) number: u32,
    /// The length of its file.
    pub(crate) length: u64,
    /// Its header, if that can be trusted.
    pub(crate) header: Option<Header>,
    /// Where its records end, if the next segment says so.
    pub(crate) end: Option<u32>,
}

/// What the survey has found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The segments to be replayed, oldest first.
    pub(crate) chain: Vec<Link>,
    /// Segments in use before those to be replayed, with the lengths of their files.
    pub(crate) older: BTreeMap<u32, u64>,
    /// Files that are of no use any more, newest segments first. They are removed in this order.
    pub(crate) stale: Vec<String>,
    /// Segments in which nothing can be trusted.
    pub(crate) untrusted: Vec<u32>,
    /// The largest segment number that a file has or had.
    pub(crate) highest: u32,
    /// The damage that was found.
    pub(crate) report: Report,
}

/// What a segment with a bad header contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// No frame that checks.
    Nothing,
    /// Frames that may or may not have been synced.
    Frames,
    /// Frames of which some were synced for sure.
    Synced,
}

/// The lengths of the files, and what their headers say.
type Headers = BTreeMap<u32, (u64, Result<Header, HeaderFault>)>;

struct Found {
    length: u64,
    /// `None` if the header does not check but frames in the file do.
    header: Option<Header>,
}

impl Survey {
    /// Looks at all files. Records before `from` need not be replayed.
    pub(crate) fn of(disk: &dyn Disk, from: Option<Location>) -> Result<Self, OpenError> {
        let names = disk.list().map_err(|error| OpenError::io("data directory", error))?;
        let mut survey = Self { highest: from.map_or(0, Location::segment), ..Self::default() };
        let mut headers = Headers::new();
        let mut known = BTreeSet::new();
        for name in names {
            let original = original_name(&name).unwrap_or(&name);
            let unfinished = name.strip_suffix(NEW_SUFFIX).and_then(segment_number);
            survey.highest = survey.highest.max(segment_number(original).unwrap_or(0));
            known.extend(segment_number(original));
            if let Some(number) = segment_number(&name) {
                let (length, header) = read_header(disk, number)?;
                if let Err(HeaderFault::Newer(version)) = header {
                    return Err(OpenError::NewerFormat { file: name, version });
                }
                headers.insert(number, (length, header));
            } else if unfinished.is_some() {
                survey.stale.push(name);
            }
        }
        if survey.highest > NUMBER_MAX {
            let error = io::Error::other("the numbers of segments are used up");
            return Err(OpenError::io("data directory", error));
        }
        survey.note_missing_before_spares(&headers, &known);
        survey.drop_void(&mut headers);
        let files = survey.judge(disk, headers)?;
        survey.link(&files, from.map_or(0, Location::segment));
        survey.stale.sort_unstable_by(|one, other| other.cmp(one));
        Ok(survey)
    }

    /// Notes the segments that are missing before spares. A spare is made while the segment before
    /// it is being written to, and that segment is removed only after the spare was taken into use.
    fn note_missing_before_spares(&mut self, headers: &Headers, known: &BTreeSet<u32>) {
        for (number, (_, header)) in headers {
            let is_spare = matches!(header, Ok(Header { previous: Previous::Spare, .. }));
            if is_spare && *number > 1 && !known.contains(&(number - 1)) {
                self.note_missing(number - 1);
            }
        }
    }

    /// Decides which files can be trusted. A header that does not check may be the trace of an
    /// interrupted activation only while no newer segment is known to be in use.
    fn judge(
        &mut self,
        disk: &dyn Disk,
        headers: Headers,
    ) -> Result<BTreeMap<u32, Found>, OpenError> {
        let mut files = BTreeMap::new();
        let mut may_be_torn = true;
        for (number, (length, header)) in headers.into_iter().rev() {
            let header = match header {
                Ok(header) => {
                    may_be_torn = false;
                    self.check_length(number, length, header.length);
                    Some(Some(header))
                }
                Err(fault) => {
                    let torn = may_be_torn && fault == HeaderFault::MaybeTorn;
                    let content = content(disk, number)?;
                    may_be_torn &= torn && content == Content::Nothing;
                    self.judge_headless(number, torn, content)
                }
            };
            if let Some(header) = header {
                files.insert(number, Found { length, header });
            }
        }
        Ok(files)
    }

    fn judge_headless(
        &mut self,
        number: u32,
        torn: bool,
        content: Content,
    ) -> Option<Option<Header>> {
        let kind = if torn && content != Content::Synced {
            DamageKind::TornTail
        } else {
            DamageKind::BadSegmentHeader
        };
        let detail = match (kind, content) {
            (DamageKind::TornTail, Content::Nothing) => {
                self.stale.push(segment_name(number));
                "the segment was being taken into use when the broker ended; it is empty"
            }
            (DamageKind::TornTail, _) => {
                "the segment was being taken into use when the broker ended; its complete commits \
                 count"
            }
            (_, Content::Nothing) => {
                self.untrusted.push(number);
                self.report.passed_by += 1;
                "nothing else in the file checks; it is set aside"
            }
            _ => "its records check by themselves and are used",
        };
        self.note(number, 0, kind, detail);
        (content != Content::Nothing).then_some(None)
    }

    fn check_length(&mut self, number: u32, length: u64, expected: u64) {
        if length != expected {
            let length_in_words = counted(length, "byte");
            let detail = format!(
                "the file has {length_in_words} instead of {expected}; what is there is used"
            );
            // The whole length is allocated before anything is written, so records may be cut off.
            self.report.passed_by += u64::from(length < expected);
            self.note(number, length.min(expected), DamageKind::WrongLength, &detail);
        }
    }

    /// Takes out the segments that are not in use: spares, and segments that a later one skips.
    /// Their files are stale.
    fn drop_void(&mut self, headers: &mut Headers) {
        let mut void: Vec<u32> = Vec::new();
        for (number, (_, header)) in headers.iter() {
            match header.map(|header| header.previous) {
                Ok(Previous::Spare) => void.push(*number),
                Ok(Previous::End(end)) => {
                    let between = headers.range(end.segment() + 1..*number);
                    void.extend(between.map(|(number, _)| *number));
                }
                Ok(Previous::First) | Err(_) => {}
            }
        }
        for number in void {
            if headers.remove(&number).is_some() {
                self.stale.push(segment_name(number));
            }
        }
    }

    /// Builds the chain, from the newest segment back to the one where replay begins.
    fn link(&mut self, files: &BTreeMap<u32, Found>, first: u32) {
        let mut end = None;
        let mut next = files.last_key_value();
        while let Some((&number, found)) = next {
            if number < first {
                break;
            }
            let header = found.header;
            self.chain.push(Link { number, length: found.length, header, end });
            next = files.range(..number).next_back();
            end = None;
            if let Some(Previous::End(previous)) = header.map(|header| header.previous)
                && number > first
            {
                if files.contains_key(&previous.segment()) {
                    end = Some(previous.offset());
                } else if previous.segment() >= first {
                    self.note_missing(previous.segment());
                }
            }
        }
        self.chain.reverse();
        self.older = files.range(..first).map(|(number, found)| (*number, found.length)).collect();
        let begins_late = self.chain.first().is_none_or(|link| link.number > first);
        if first > 0 && begins_late {
            self.note_missing(first);
        }
    }

    fn note_missing(&mut self, number: u32) {
        let name = segment_name(number);
        let known =
            |damage: &Damage| damage.file == name && damage.kind == DamageKind::MissingSegment;
        if !self.report.damage.iter().any(known) {
            let detail = "the file is not there; what was in it is lost";
            self.report.passed_by += 1;
            self.note(number, 0, DamageKind::MissingSegment, detail);
        }
    }

    fn note(&mut self, number: u32, offset: u64, kind: DamageKind, detail: &str) {
        let (file, detail) = (segment_name(number), detail.to_owned());
        self.report.note(Damage { file, offset, kind, detail });
    }
}

/// Reads the length of a segment's file and what its header says.
fn read_header(
    disk: &dyn Disk,
    number: u32,
) -> Result<(u64, Result<Header, HeaderFault>), OpenError> {
    let name = segment_name(number);
    let read = || {
        let file = disk.open(&name)?;
        let length = file.len()?;
        let mut bytes = [0; HEADER_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        Ok((length, Header::decode(&bytes[..count], number, length)))
    };
    read().map_err(|error| OpenError::io(&name, error))
}

/// Reads the first `limit` bytes of a segment's file, or as many as there are.
pub(crate) fn read_segment(
    disk: &dyn Disk,
    number: u32,
    limit: Option<u32>,
    bytes: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let name = segment_name(number);
    let mut read = || {
        let file = disk.open(&name)?;
        let length = file.len()?.min(limit.map_or(SEGMENT_BYTES_MAX, u64::from));
        bytes.clear();
        bytes.resize(length as usize, 0);
        let count = file.read_at(bytes, 0)?;
        bytes.truncate(count);
        Ok(())
    };
    read().map_err(|error| OpenError::io(&name, error))
}

/// Finds out what is in a segment whose header does not help.
fn content(disk: &dyn Disk, number: u32) -> Result<Content, OpenError> {
    let mut bytes = Vec::new();
    read_segment(disk, number, None, &mut bytes)?;
    let seed = CrcSeed::of_segment(number);
    let start = HEADER_BYTES as u32;
    let mut content = match Frame::check(&bytes, HEADER_BYTES, start, seed) {
        Some(_) => Content::Frames,
        None => Content::Nothing,
    };
    let mut at = HEADER_BYTES;
    while let Some((begin, synced_to)) = find_begin(&bytes, at, seed) {
        if synced_to.segment() == number && synced_to.offset() > start {
            return Ok(Content::Synced);
        }
        content = Content::Frames;
        at = begin + 1;
    }
    Ok(content)
}
