//! Reads the segments of the journal in order and hands out the records of complete commits, and
//! what can be read of damaged ones. It only reads. Bytes that do not check are either the torn
//! tail of the journal, which ends there, or damage, which is reported and skipped.
//!
//! They are damage if there is proof that they had been on the device: a later segment that says
//! where this one ended, or a later Begin that says how far everything was synced.

use std::ops::Range;

use midge_core::counted;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::location::Location;
use crate::report::{Damage, DamageKind, Report};
use crate::segment::{
    CrcSeed, Frame, HEADER_BYTES, Previous, TAG_BEGIN, TAG_END, add_crc, body_range, decode_begin,
    encode_end, find_begin, segment_name,
};
use crate::survey::{Link, read_segment};

/// Where the journal was found to end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The end of the last commit that counts; `None` if there is no segment.
    pub(crate) end: Option<Location>,
    /// Up to where everything was synced according to a record.
    pub(crate) synced: Option<Location>,
    /// What the header of the segment in which the journal ends should say, as far as it is known.
    pub(crate) previous: Option<Previous>,
}

/// Visits the records of all complete commits in `chain` from `from` on, and what can be read of
/// damaged ones.
pub(crate) fn replay(
    disk: &dyn Disk,
    chain: &[Link],
    from: Option<Location>,
    report: &mut Report,
    visit: &mut dyn FnMut(Location, u8, &[u8]),
) -> Result<Ended, OpenError> {
    let begin = chain.first().and_then(|link| {
        let start = Location::new(link.number, HEADER_BYTES as u32);
        start.max(from.filter(|from| from.segment() == link.number))
    });
    let Some(begin) = begin else {
        return Ok(Ended { end: from, synced: None, previous: None });
    };
    let mut walk = Walk {
        visit,
        report,
        commit: None,
        held: Vec::new(),
        bodies: Vec::new(),
        end: begin,
        synced: None,
    };
    // What comes before the records of each segment, according to its header or the segment before
    // it.
    let mut previous = Vec::with_capacity(chain.len());
    let mut reached = None;
    let mut bytes = Vec::new();
    for (index, link) in chain.iter().enumerate() {
        read_segment(disk, link.number, link.end, &mut bytes)?;
        previous.push(link.header.map(|header| header.previous).or(reached.map(Previous::End)));
        if index > 0 && !follows(&chain[index - 1], link) {
            walk.damaged_commit();
        }
        let start = if index == 0 { begin.offset() as usize } else { HEADER_BYTES };
        let segment = Segment::new(link, &bytes, index + 1 == chain.len());
        let reached_end = walk.segment(&segment, start);
        reached = reached_end.and_then(|end| Location::new(link.number, end as u32));
        walk.report.segments += 1;
    }
    let (end, synced) = (walk.end, walk.synced);
    let at = chain.iter().position(|link| link.number == end.segment());
    let previous = at.and_then(|at| previous.get(at).copied().flatten());
    Ok(Ended { end: Some(end), synced, previous })
}

/// Returns whether nothing is missing between two segments, as far as their headers say.
fn follows(before: &Link, link: &Link) -> bool {
    match link.header.map(|header| header.previous) {
        Some(Previous::End(end)) => end.segment() == before.number,
        Some(_) => false,
        None => true,
    }
}

/// The segment that is being replayed.
pub(crate) struct Segment<'a> {
    number: u32,
    seed: CrcSeed,
    /// The file from its start, up to where the records end if that is known.
    bytes: &'a [u8],
    end: Option<usize>,
    is_last: bool,
}

/// What to do about bytes that do not check.
enum Gap {
    /// Go on there.
    Jump(usize),
    /// The records end here.
    End,
    /// Nothing more can be found in this segment.
    Lost,
}

impl<'a> Segment<'a> {
    pub(crate) fn new(link: &Link, bytes: &'a [u8], is_last: bool) -> Self {
        let seed = CrcSeed::of_segment(link.number);
        let end = link.end.map(|end| end as usize);
        Self { number: link.number, seed, bytes, end, is_last }
    }

    pub(crate) fn frame(&self, at: usize) -> Option<Frame> {
        Frame::check(self.bytes, at, at as u32, self.seed)
    }

    /// Returns whether there are only zeros from here on.
    pub(crate) fn is_blank(&self, at: usize) -> bool {
        self.bytes.get(at..).unwrap_or_default().iter().all(|byte| *byte == 0)
    }

    /// Returns whether a later Begin says that the bytes at `at` had been synced.
    pub(crate) fn was_synced(&self, at: usize) -> bool {
        let mut from = at + 1;
        while let Some((begin, synced_to)) = find_begin(self.bytes, from, self.seed) {
            if synced_to.segment() > self.number
                || (synced_to.segment() == self.number && synced_to.offset() as usize > at)
            {
                return true;
            }
            from = begin + 1;
        }
        false
    }

    /// Returns where to go on behind damage, if anywhere: at the next frame if the length can be
    /// believed, or at the next Begin. A length that leads beyond a Begin is wrong.
    pub(crate) fn behind(&self, at: usize) -> Option<usize> {
        let next = body_range(self.bytes, at)
            .map(|body| body.end)
            .filter(|next| self.end == Some(*next) || self.frame(*next).is_some());
        let searched = &self.bytes[..next.unwrap_or(self.bytes.len())];
        match find_begin(searched, at + 1, self.seed) {
            Some((begin, _)) => Some(begin),
            None => next,
        }
    }
}

/// A commit whose End has not come yet.
#[derive(Default)]
struct OpenCommit {
    crc: u32,
    damaged: bool,
}

/// A record of a commit that is open.
struct Held {
    at: Location,
    tag: u8,
    body: Range<usize>,
}

struct Walk<'a> {
    visit: &'a mut dyn FnMut(Location, u8, &[u8]),
    report: &'a mut Report,
    commit: Option<OpenCommit>,
    held: Vec<Held>,
    bodies: Vec<u8>,
    /// The end of the last commit that counts.
    end: Location,
    synced: Option<Location>,
}

impl Walk<'_> {
    /// Goes through a segment. Returns where its records end, or `None` if the last ones are lost:
    /// if a header named that place, the next replay would take the damage for the end.
    fn segment(&mut self, segment: &Segment<'_>, start: usize) -> Option<usize> {
        let mut at = start;
        let mut is_lost = false;
        while segment.end.is_none_or(|end| at < end) {
            if let Some(frame) = segment.frame(at) {
                at = self.frame(segment, at, &frame);
                continue;
            }
            match self.gap(segment, at) {
                Gap::Jump(next) => at = next,
                Gap::End => break,
                Gap::Lost => {
                    is_lost = true;
                    break;
                }
            }
        }
        if segment.is_last {
            self.report_tail(segment);
        }
        (!is_lost).then_some(at)
    }

    /// Takes a frame that checks; returns where the next one begins.
    fn frame(&mut self, segment: &Segment<'_>, at: usize, frame: &Frame) -> usize {
        let next = frame.body.end;
        let body = &segment.bytes[frame.body.clone()];
        let (Some(at), Some(end)) =
            (Location::new(segment.number, at as u32), Location::new(segment.number, next as u32))
        else {
            return next;
        };
        match frame.tag {
            TAG_BEGIN => {
                self.begin(at, frame.crc);
                self.synced = self.synced.max(decode_begin(body));
            }
            TAG_END => self.end(at, end, body),
            tag => {
                let open = OpenCommit { damaged: true, ..OpenCommit::default() };
                let commit = self.commit.get_or_insert(open);
                commit.crc = add_crc(commit.crc, frame.crc);
                let start = self.bodies.len();
                self.bodies.extend_from_slice(body);
                self.held.push(Held { at, tag, body: start..self.bodies.len() });
            }
        }
        next
    }

    fn begin(&mut self, at: Location, crc: u32) {
        match self.commit.take() {
            Some(commit) if commit.damaged => self.visit_held(),
            Some(_) => {
                let detail = "the commit before has no end; it does not count";
                self.note(at, DamageKind::BadRecord, detail);
                self.report.passed_by += 1;
            }
            None => {}
        }
        self.forget_held();
        self.end = at;
        self.commit = Some(OpenCommit { crc: add_crc(0, crc), damaged: false });
    }

    fn end(&mut self, at: Location, end: Location, body: &[u8]) {
        if let Some(commit) = self.commit.take() {
            if commit.damaged {
                self.visit_held();
            } else {
                if body != encode_end(self.held.len() as u32, commit.crc) {
                    let detail = "the commit is not the one that was begun; its records are used";
                    self.note(at, DamageKind::BadRecord, detail);
                }
                self.report.commits += 1;
                self.visit_held();
            }
        }
        self.forget_held();
        self.end = end;
    }

    fn visit_held(&mut self) {
        for held in &self.held {
            let body = &self.bodies[held.body.clone()];
            self.report.records += 1;
            self.report.bytes += body.len() as u64;
            (self.visit)(held.at, held.tag, body);
        }
    }

    fn forget_held(&mut self) {
        self.held.clear();
        self.bodies.clear();
    }

    /// Notes that a part of the current commit is lost.
    fn damaged_commit(&mut self) {
        self.commit.get_or_insert_default().damaged = true;
    }

    /// Decides what to do about bytes that do not check.
    fn gap(&mut self, segment: &Segment<'_>, at: usize) -> Gap {
        if segment.end.is_none() {
            let is_end = segment.is_blank(at) || (segment.is_last && !segment.was_synced(at));
            if is_end {
                return Gap::End;
            }
        }
        let behind = segment.behind(at);
        let detail = match behind {
            Some(next) => {
                let bytes = counted(next - at, "byte");
                format!("{bytes} lost; reading goes on at byte {next}")
            }
            None => format!(
                "everything from here to the end of the segment is lost{}",
                segment.end.map_or_else(String::new, |end| format!(" at byte {end}"))
            ),
        };
        if let Some(at) = Location::new(segment.number, at as u32) {
            self.note(at, DamageKind::BadRecord, &detail);
        }
        self.report.passed_by += 1;
        self.damaged_commit();
        behind.map_or(Gap::Lost, Gap::Jump)
    }

    /// Reports what the journal has behind its end.
    fn report_tail(&mut self, segment: &Segment<'_>) {
        let blank = segment.bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let used = (segment.bytes.len() - blank).max(HEADER_BYTES);
        let begin = if self.end.segment() == segment.number {
            self.end.offset() as usize
        } else {
            HEADER_BYTES
        };
        let open = self.commit.is_some() && !self.held.is_empty();
        if used > begin || open {
            let detail = format!(
                "what follows ({} in {}) was not known to be on the device and is cut off",
                counted(used.saturating_sub(begin), "byte"),
                segment_name(segment.number),
            );
            self.note(self.end, DamageKind::TornTail, &detail);
        }
    }

    fn note(&mut self, at: Location, kind: DamageKind, detail: &str) {
        self.report.note(Damage {
            file: segment_name(at.segment()),
            offset: u64::from(at.offset()),
            kind,
            detail: detail.to_owned(),
        });
    }
}
