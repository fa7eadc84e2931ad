//! What was found at opening and while reading: damage, and what was done about it. Plain values
//! for the log; nothing is decided here.

use std::fmt;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DamageKind {
    /// The journal ends in bytes that were never known to be on the device: what a power cut or a
    /// `kill -9` leaves behind. Nothing that was acknowledged as synced is lost.
    TornTail,
    /// The bytes of a record are not those that were written.
    BadRecord,
    /// The header of a segment is not what was written.
    BadSegmentHeader,
    /// A segment is not there.
    MissingSegment,
    /// A file is longer or shorter than it was.
    WrongLength,
    /// A checkpoint is not what was written.
    BadCheckpoint,
    /// A record is as it was written, but this version does not understand it.
    UnreadableMessage,
    /// The file system cannot read the bytes at present: it is unknown whether they are damaged.
    Unreadable,
}

impl DamageKind {
    /// Returns whether it is only the trace of an interruption.
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::TornTail)
    }

    /// Returns a word or two for a message or a file name.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::TornTail => "torn tail",
            Self::BadRecord => "damaged record",
            Self::BadSegmentHeader => "damaged segment header",
            Self::MissingSegment => "missing segment",
            Self::WrongLength => "wrong length",
            Self::BadCheckpoint => "damaged checkpoint",
            Self::UnreadableMessage => "incomprehensible record",
            Self::Unreadable => "unreadable bytes",
        }
    }
}

/// One place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The name of the file.
    pub file: String,
    /// The offset in the file, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub kind: DamageKind,
    /// What that means, and what was done about it.
    pub detail: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, kind, detail } = self;
        write!(f, "{} in {file} at byte {offset}: {detail}", kind.phrase())
    }
}

/// What was found at opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
    /// The new names of the files that were set aside.
    pub quarantined: Vec<String>,
    /// Segments that were replayed.
    pub segments: u64,
    /// Complete commits that were replayed.
    pub commits: u64,
    /// Records that were replayed.
    pub records: u64,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// How much damage was found beyond what is listed.
    pub damage_unlisted: u64,
    /// Places where records that counted cannot be read any more: something is lost at each of
    /// them, and it is unknown what.
    pub passed_by: u64,
}

/// How much damage a report lists; a device that is gone for good would fill the memory.
const DAMAGE_MAX: usize = 1000;

impl Report {
    /// Returns whether everything is as it was written, apart from traces of an interruption.
    pub fn is_sound(&self) -> bool {
        self.damage_unlisted == 0 && self.damage.iter().all(|damage| damage.kind.is_harmless())
    }

    /// Adds a damage to the list, or only counts it if the list is long enough.
    pub fn note(&mut self, damage: Damage) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        } else {
            self.damage_unlisted += 1;
        }
    }

    /// Notes damage to records that nothing else tells about.
    pub(crate) fn note_passed_by(&mut self, damage: Damage) {
        self.passed_by += 1;
        self.note(damage);
    }

    /// Adds what another report says to this one.
    pub fn merge(&mut self, other: Self) {
        other.damage.into_iter().for_each(|damage| self.note(damage));
        self.damage_unlisted += other.damage_unlisted;
        self.passed_by += other.passed_by;
        self.quarantined.extend(other.quarantined);
        self.segments += other.segments;
        self.commits += other.commits;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}
