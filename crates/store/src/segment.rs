//! The format of a segment file: its name, its header and the frames of its records. This module
//! only encodes and checks; it neither reads nor writes a file.
//!
//! A frame is: length of the body u32, crc32c u32, tag u8, body. The crc covers the segment's
//! number, the frame's offset, the length, the tag and the body. So bytes never check in the wrong
//! place: in another file, after a misdirected write, or in a payload that looks like a frame. All
//! numbers are little endian.

use std::ops::Range;

use crate::location::Location;

/// The length of a segment's header.
pub(crate) const HEADER_BYTES: usize = 64;
/// What a frame adds to a body.
pub(crate) const FRAME_BYTES: usize = 9;
/// The greatest length of a segment's file: offsets have 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64;

/// Begins a commit. The body is [`BEGIN_MAGIC`], then the location up to which everything was known
/// to be on the device.
pub(crate) const TAG_BEGIN: u8 = 1;
/// Ends a commit. The body is the number of records u32, then the crc32c over the crcs of its
/// frames u32.
pub(crate) const TAG_END: u8 = 2;
/// The length of a Begin's body.
pub(crate) const BEGIN_BYTES: usize = 16;
/// The length of an End's body.
pub(crate) const END_BYTES: usize = 8;
/// Makes it possible to find a Begin behind damage.
pub(crate) const BEGIN_MAGIC: [u8; 8] = *b"\xB1midgeBC";

/// The first bytes of a segment's file.
pub(crate) const MAGIC: [u8; 8] = *b"MIDGEJNL";
/// Version 2 added records of kind 37, version 3 those of kinds 38 and 39, version 4 what is known
/// of the user of a Session.
pub(crate) const VERSION: u32 = 4;
const SPARE: u64 = u64::MAX;
const FIRST: u64 = 0;
/// The bytes of a header that activation changes: where the previous segment ended, and the crc. If
/// an older version made the file, activation changes the version too; [`Header::decode`] allows
/// for that.
const ACTIVATED: [Range<usize>; 2] = [24..32, 60..64];

/// The suffix of a segment's file name until its header is on the device.
pub(crate) const NEW_SUFFIX: &str = ".new";
const NAME_PREFIX: &str = "journal-";

/// The name of a segment's file.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{NAME_PREFIX}{number:016x}")
}

/// Returns the number of the segment whose file has this name; `None` if it is no segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(NAME_PREFIX)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (number > 0 && segment_name(number) == name).then_some(number)
}

/// Where the journal stood when a segment was taken into use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Previous {
    /// The segment is not in use yet.
    Spare,
    /// There was no segment before.
    First,
    /// The records before the segment end here. Segments in between are void.
    End(Location),
}

/// The beginning of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The segment's number.
    pub(crate) number: u32,
    /// The length of its file.
    pub(crate) length: u64,
    /// Where the records before it end.
    pub(crate) previous: Previous,
}

/// Why a header does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// It has a later version of the format.
    Newer(u32),
    /// Only the bytes that activation changes are wrong: activation may have been interrupted.
    MaybeTorn,
    /// It is not what was written.
    Bad,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        self.encode_as(VERSION)
    }

    fn encode_as(&self, version: u32) -> [u8; HEADER_BYTES] {
        let previous = match self.previous {
            Previous::Spare => SPARE,
            Previous::First => FIRST,
            Previous::End(end) => end.to_u64(),
        };
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        bytes[16..24].copy_from_slice(&u64::from(self.number).to_le_bytes());
        bytes[24..32].copy_from_slice(&previous.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.length.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header of segment `number`, whose file has `length` bytes.
    pub(crate) fn decode(bytes: &[u8], number: u32, length: u64) -> Result<Self, HeaderFault> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderFault::Bad);
        };
        let crc_is_right = crc32c::crc32c(&bytes[..60]) == u32_at(bytes, 60);
        // Magic, version and crc stand at these places in all versions.
        let version = u32_at(bytes, 8);
        if crc_is_right && bytes[..8] == MAGIC && version > VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let previous = match u64_at(bytes, 24) {
            SPARE => Some(Previous::Spare),
            FIRST => Some(Previous::First),
            packed => {
                Location::from_u64(packed).filter(|end| end.segment() < number).map(Previous::End)
            }
        };
        if let (true, Some(previous)) = (crc_is_right, previous) {
            let header = Self { number, length: u64_at(bytes, 32), previous };
            let is_sound = is_known(version) && header.encode_as(version) == *bytes;
            return if is_sound { Ok(header) } else { Err(HeaderFault::Bad) };
        }
        let spare = Self { number, length, previous: Previous::Spare };
        let spare = spare.encode_as(if is_known(version) { version } else { VERSION });
        let same = |at: usize| bytes[at] == spare[at];
        let rest_is_right =
            (0..HEADER_BYTES).all(|at| same(at) || ACTIVATED.iter().any(|part| part.contains(&at)));
        Err(if rest_is_right { HeaderFault::MaybeTorn } else { HeaderFault::Bad })
    }
}

fn is_known(version: u32) -> bool {
    (1..=VERSION).contains(&version)
}

/// The start value for the crcs of a segment's frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrcSeed(u32);

impl CrcSeed {
    pub(crate) fn of_segment(number: u32) -> Self {
        Self(crc32c::crc32c(&number.to_le_bytes()))
    }

    /// Returns the crc of the frame at `offset`, given the length of its body and its bytes from
    /// the tag on.
    pub(crate) fn crc(self, offset: u32, body_bytes: u32, tag_and_body: &[u8]) -> u32 {
        let place = u64::from(offset) << 32 | u64::from(body_bytes);
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &place.to_le_bytes()), tag_and_body)
    }
}

/// Makes a frame of bytes whose first [`FRAME_BYTES`] are free for that; the others are the body of
/// a record that will stand at `offset` in its file. Returns its crc.
pub(crate) fn frame_in_place(bytes: &mut [u8], seed: CrcSeed, offset: u32, tag: u8) -> u32 {
    let length = (bytes.len() - FRAME_BYTES) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[8] = tag;
    let crc = seed.crc(offset, length, &bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// A frame that checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What kind of record it is.
    pub(crate) tag: u8,
    /// Where its body stands in the bytes that were checked.
    pub(crate) body: Range<usize>,
    /// Its crc.
    pub(crate) crc: u32,
}

impl Frame {
    /// Checks the frame at `at` in `bytes`, which stands at `offset` in its file; `None` if it does
    /// not check.
    pub(crate) fn check(bytes: &[u8], at: usize, offset: u32, seed: CrcSeed) -> Option<Self> {
        let body = body_range(bytes, at)?;
        let tag = bytes[body.start - 1];
        let crc = u32_at(bytes, at + 4);
        let right = seed.crc(offset, body.len() as u32, &bytes[body.start - 1..body.end]);
        (tag != 0 && crc == right).then_some(Self { tag, body, crc })
    }
}

/// The first bytes of a frame, without its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHead {
    crc: u32,
    /// The length of the body.
    pub(crate) body_bytes: u32,
    /// What kind of record it is.
    pub(crate) tag: u8,
}

impl FrameHead {
    pub(crate) fn decode(bytes: [u8; FRAME_BYTES]) -> Self {
        Self { body_bytes: u32_at(&bytes, 0), crc: u32_at(&bytes, 4), tag: bytes[8] }
    }

    /// Whether this is the head of the frame at `offset` that has this body.
    pub(crate) fn checks(self, body: &[u8], offset: u32, seed: CrcSeed) -> bool {
        let tag = seed.crc(offset, self.body_bytes, &[self.tag]);
        self.tag != 0 && self.crc == crc32c::crc32c_append(tag, body)
    }
}

/// Returns where the body of the frame at `at` stands according to its length; `None` if there is
/// no room for it.
pub(crate) fn body_range(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_add(FRAME_BYTES)?;
    let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let end = start.checked_add(length as usize)?;
    (end <= bytes.len()).then_some(start..end)
}

/// Encodes the body of a Begin.
pub(crate) fn encode_begin(synced_to: Location) -> [u8; BEGIN_BYTES] {
    let mut body = [0; BEGIN_BYTES];
    body[..8].copy_from_slice(&BEGIN_MAGIC);
    body[8..].copy_from_slice(&synced_to.to_u64().to_le_bytes());
    body
}

/// Decodes the body of a Begin: the location up to which everything was synced.
pub(crate) fn decode_begin(body: &[u8]) -> Option<Location> {
    let body: &[u8; BEGIN_BYTES] = body.try_into().ok()?;
    if body[..8] != BEGIN_MAGIC {
        return None;
    }
    Location::from_u64(u64_at(body, 8))
}

/// Encodes the body of an End.
pub(crate) fn encode_end(records: u32, crc_of_crcs: u32) -> [u8; END_BYTES] {
    let mut body = [0; END_BYTES];
    body[..4].copy_from_slice(&records.to_le_bytes());
    body[4..].copy_from_slice(&crc_of_crcs.to_le_bytes());
    body
}

/// Adds the crc of one more frame to that of a commit.
pub(crate) fn add_crc(commit: u32, frame: u32) -> u32 {
    crc32c::crc32c_append(commit, &frame.to_le_bytes())
}

/// Finds the next Begin at or behind `from`. Returns where it stands and what it says. `bytes` is
/// the file from its start.
pub(crate) fn find_begin(bytes: &[u8], from: usize, seed: CrcSeed) -> Option<(usize, Location)> {
    let mut at = from + FRAME_BYTES;
    while at + BEGIN_BYTES <= bytes.len() {
        let found = bytes[at..].iter().position(|byte| *byte == BEGIN_MAGIC[0])?;
        at += found;
        if bytes[at..].starts_with(&BEGIN_MAGIC) {
            let start = at - FRAME_BYTES;
            // Check the length first: a payload full of magics must not cost a crc over megabytes
            // for each of them.
            if body_range(bytes, start).is_some_and(|body| body.len() == BEGIN_BYTES)
                && let Some(frame) = Frame::check(bytes, start, start as u32, seed)
                && frame.tag == TAG_BEGIN
                && let Some(synced_to) = decode_begin(&bytes[frame.body])
            {
                return Some((start, synced_to));
            }
        }
        at += 1;
    }
    None
}

/// `bytes` must be long enough.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// `bytes` must be long enough.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active() -> Header {
        let previous = Previous::End(Location::new(6, 900).unwrap());
        Header { number: 7, length: 4096, previous }
    }

    /// Appends a frame.
    fn push_frame(buffer: &mut Vec<u8>, seed: CrcSeed, offset: u32, tag: u8, body: &[u8]) -> u32 {
        let start = buffer.len();
        buffer.extend([0; FRAME_BYTES]);
        buffer.extend(body);
        frame_in_place(&mut buffer[start..], seed, offset, tag)
    }

    #[test]
    fn a_header_survives_the_file() {
        for previous in [Previous::Spare, Previous::First, active().previous] {
            let header = Header { previous, ..active() };
            assert_eq!(Header::decode(&header.encode(), 7, 4096), Ok(header));
            assert_eq!(Header::decode(&header.encode(), 8, 4096), Err(HeaderFault::Bad));
        }
    }

    #[test]
    fn the_bytes_of_a_header_stay_the_same() {
        let mut expected = b"MIDGEJNL\x04\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0".to_vec();
        expected.extend(b"\x84\x03\0\0\x06\0\0\0\0\x10\0\0\0\0\0\0");
        expected.extend([0; 20]);
        let crc = crc32c::crc32c(&expected);
        expected.extend(crc.to_le_bytes());
        assert_eq!(active().encode().to_vec(), expected);
    }

    #[test]
    fn the_bytes_of_a_frame_stay_the_same() {
        let mut buffer = Vec::new();
        let crc = push_frame(&mut buffer, CrcSeed::of_segment(3), 64, 22, b"body");
        assert_eq!(buffer[..4], [4, 0, 0, 0]);
        assert_eq!(buffer[4..8], crc.to_le_bytes());
        assert_eq!(&buffer[8..], b"\x16body");
        let mut covered = 3_u32.to_le_bytes().to_vec();
        covered.extend(b"\x04\0\0\0\x40\0\0\0\x16body");
        assert_eq!(crc, crc32c::crc32c(&covered));
    }

    #[test]
    fn a_later_version_is_known_as_such() {
        let mut bytes = active().encode();
        bytes[8] = VERSION as u8 + 1;
        assert_eq!(Header::decode(&bytes, 7, 4096), Err(HeaderFault::Bad));
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&bytes, 7, 4096), Err(HeaderFault::Newer(VERSION + 1)));
    }

    #[test]
    fn an_earlier_version_is_read_also_when_it_is_torn_at_activation() {
        let old = active().encode_as(1);
        assert_eq!(Header::decode(&old, 7, 4096), Ok(active()));
        let spare = Header { previous: Previous::Spare, ..active() }.encode_as(1);
        let active = active().encode();
        for torn in 1..63 {
            let mut bytes = spare;
            bytes[..torn].copy_from_slice(&active[..torn]);
            let decoded = Header::decode(&bytes, 7, 4096);
            assert!(matches!(decoded, Err(HeaderFault::MaybeTorn) | Ok(_)), "{torn}: {decoded:?}");
        }
    }

    #[test]
    fn a_header_torn_at_activation_is_told_from_a_bad_one() {
        let spare = Header { previous: Previous::Spare, ..active() }.encode();
        let active = active().encode();
        for torn in 25..63 {
            let mut bytes = spare;
            bytes[..torn].copy_from_slice(&active[..torn]);
            assert_eq!(Header::decode(&bytes, 7, 4096), Err(HeaderFault::MaybeTorn), "{torn}");
        }
        for at in (0..24).chain(32..60) {
            let mut bytes = active;
            bytes[at] ^= 4;
            assert_eq!(Header::decode(&bytes, 7, 4096), Err(HeaderFault::Bad), "{at}");
        }
        assert_eq!(Header::decode(&active[..63], 7, 4096), Err(HeaderFault::Bad));
    }

    #[test]
    fn a_frame_checks_only_where_it_was_written() {
        let mut buffer = Vec::new();
        push_frame(&mut buffer, CrcSeed::of_segment(3), 64, 22, b"body");
        let check = |number, offset| {
            Frame::check(&buffer, 0, offset, CrcSeed::of_segment(number)).is_some()
        };
        assert!(check(3, 64));
        assert!(!check(3, 65));
        assert!(!check(4, 64));
        assert_eq!(body_range(&buffer[..12], 0), None);
        assert_eq!(body_range(&[0xFF; 12], 0), None);
    }

    #[test]
    fn a_begin_is_found_behind_rubbish_and_a_forged_one_is_not() {
        let seed = CrcSeed::of_segment(3);
        let synced_to = Location::new(2, 99).unwrap();
        let mut bytes = vec![0xB1; 80];
        let mut forged = Vec::new();
        push_frame(&mut forged, seed, 0, TAG_BEGIN, &encode_begin(synced_to));
        bytes.extend(&forged);
        assert_eq!(find_begin(&bytes, 0, seed), None);
        let start = bytes.len();
        push_frame(&mut bytes, seed, start as u32, TAG_BEGIN, &encode_begin(synced_to));
        assert_eq!(find_begin(&bytes, 0, seed), Some((start, synced_to)));
        assert_eq!(find_begin(&bytes, start, seed), Some((start, synced_to)));
        assert_eq!(find_begin(&bytes, start + 1, seed), None);
    }

    #[test]
    fn only_names_that_the_journal_gives_are_segments() {
        assert_eq!(segment_number(&segment_name(0xAB)), Some(0xAB));
        for name in ["journal-1", "journal-0000000000000000", "journal-00000000000000AB"] {
            assert_eq!(segment_number(name), None);
        }
        assert_eq!(segment_number("journal-00000000000000ab.new"), None);
        assert_eq!(segment_number("journal-+0000000000000ab"), None);
        assert_eq!(segment_number("journal-0000000100000000"), None);
    }
}
