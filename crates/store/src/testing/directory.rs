//! Encodes the files of a data directory in a few bytes, and back. A fuzzer changes these bytes. A
//! change of one file leaves the others as they are.
//!
//! The first byte is the [`Mode`]. Each file follows [`MARK`]: its kind (1 byte), the number in its
//! name (8 bytes), its length (2 bytes), its first bytes. The numbers are little endian. Segments
//! are filled up with zeros, so that their records may grow and shrink.
//!
//! With [`Mode::reseal`], each record of a segment and each section of a checkpoint may follow
//! [`PART`] instead: its tag or kind, its body. Lengths and checksums are made to fit.

use std::collections::BTreeMap;

use super::{FaultyDisk, reseal};
use crate::checkpoint::{self, content};
use crate::segment::{FRAME_BYTES, HEADER_BYTES, NEW_SUFFIX, segment_number};

const MARK: &[u8] = b"<file>";
const PART: &[u8] = b"<part>";
const HEAD_BYTES: usize = 11;
const FILES_MAX: usize = 16;

const SEGMENT: u8 = 0;
const CHECKPOINT: u8 = 1;
const NEW_SEGMENT: u8 = 2;
const NEW_CHECKPOINT: u8 = 3;
const DAMAGED_SEGMENT: u8 = 4;
const RESERVE: u8 = 5;
const OTHER: u8 = 6;

/// How a store is opened, and how its life ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Whether all checksums that can be found are made right first.
    pub reseal: bool,
    /// There is a low limit for the bytes of all files.
    pub limit: bool,
    /// Checkpoints are written often.
    pub checkpoints: bool,
    /// How its life ends.
    pub end: End,
}

/// How the life of a store ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It is closed.
    #[default]
    Close,
    /// The process is killed.
    Kill,
    /// The power fails.
    PowerCut,
}

/// The files of a data directory, and what to do with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// What to do with them.
    pub mode: Mode,
    /// Their bytes by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Mode {
    fn from_byte(byte: u8) -> Self {
        let end = match byte >> 3 & 3 {
            1 => End::Kill,
            2 => End::PowerCut,
            _ => End::Close,
        };
        let [reseal, limit, checkpoints] = [1, 2, 4].map(|bit| byte & bit != 0);
        Self { reseal, limit, checkpoints, end }
    }

    fn to_byte(self) -> u8 {
        let Self { reseal, limit, checkpoints, end } = self;
        u8::from(reseal) | u8::from(limit) << 1 | u8::from(checkpoints) << 2 | (end as u8) << 3
    }
}

impl Directory {
    /// Takes the files of a disk.
    ///
    /// # Panics
    ///
    /// If a file cannot be read.
    pub fn of(disk: &FaultyDisk, mode: Mode) -> Self {
        let read = |name: String| {
            let bytes = disk.read(&name).expect("a file that is listed can be read");
            (name, bytes)
        };
        Self { mode, files: disk.names().into_iter().map(read).collect() }
    }

    /// Decodes these bytes; any bytes give a directory.
    pub fn from_bytes(data: &[u8]) -> Self {
        let (first, rest) = data.split_first().unwrap_or((&0, &[]));
        let mode = Mode::from_byte(*first);
        let mut files = BTreeMap::new();
        for file in split(rest, MARK).skip(1).take(FILES_MAX) {
            let Some((head, bytes)) = file.split_first_chunk::<HEAD_BYTES>() else {
                continue;
            };
            let (name, length) = decode_head(head);
            let mut bytes = if mode.reseal { put_together(&name, bytes) } else { bytes.to_vec() };
            if is_filled_up(&name) {
                bytes.resize(bytes.len().max(length), 0);
            }
            files.insert(name, bytes);
        }
        if mode.reseal {
            reseal::reseal(&mut files);
        }
        Self { mode, files }
    }

    /// Encodes the directory for [`Self::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.mode.to_byte()];
        for (name, bytes) in &self.files {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let used = if is_filled_up(name) { used } else { bytes.len() };
            out.extend_from_slice(MARK);
            out.extend_from_slice(&encode_head(name, bytes.len()));
            match take_apart(name, bytes) {
                Some(parts) if self.mode.reseal => out.extend_from_slice(&parts),
                _ => out.extend_from_slice(&bytes[..used]),
            }
        }
        out
    }

    /// Makes a disk with these files.
    pub fn to_disk(&self) -> FaultyDisk {
        let disk = FaultyDisk::new(1);
        for (name, bytes) in &self.files {
            disk.overwrite(name, bytes);
        }
        disk
    }
}

/// Splits bytes into what stands before the first mark, and behind each mark.
fn split<'a>(bytes: &'a [u8], mark: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let at = bytes.windows(mark.len()).position(|window| window == mark);
        rest = at.map(|at| &bytes[at + mark.len()..]);
        Some(&bytes[..at.unwrap_or(bytes.len())])
    })
}

/// Makes a file of parts, with lengths and without checksums.
fn put_together(name: &str, bytes: &[u8]) -> Vec<u8> {
    let is_segment = segment_number(name).is_some();
    let mut parts = split(bytes, PART);
    let mut out = parts.next().unwrap_or_default().to_vec();
    for (tag, body) in parts.filter_map(<[u8]>::split_first) {
        let length = (body.len() as u32).to_le_bytes();
        let head = if is_segment {
            [&length, &[0; 4], [*tag].as_slice()].concat()
        } else {
            [[*tag].as_slice(), &length, &[0; 4]].concat()
        };
        out.extend_from_slice(&head);
        out.extend_from_slice(body);
    }
    out
}

/// Splits a segment or a checkpoint into parts, as far as its structure can be followed.
fn take_apart(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let is_segment = segment_number(name).is_some();
    let header = if is_segment { HEADER_BYTES } else { content::HEADER_BYTES };
    if !is_segment && !name.starts_with("checkpoint-") || bytes.len() < header {
        return None;
    }
    // The tag stands behind length and checksum, the kind of a section before them.
    let (tag_at, length_at) = if is_segment { (8, 0) } else { (0, 1) };
    let mut out = bytes[..header].to_vec();
    let mut rest = &bytes[header..];
    while let Some((head, behind)) = rest.split_first_chunk::<FRAME_BYTES>() {
        let length =
            head[length_at..].first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        let Some((body, behind)) = behind.split_at_checked(length as usize) else { break };
        if head[tag_at] == 0 {
            break;
        }
        out.extend_from_slice(PART);
        out.push(head[tag_at]);
        out.extend_from_slice(body);
        rest = behind;
    }
    Some(out)
}

/// Decodes the name of a file and its length.
fn decode_head(head: &[u8; HEAD_BYTES]) -> (String, usize) {
    let [kind, number @ .., low, high] = *head;
    let number = u64::from_le_bytes(number);
    let segment = format!("journal-{number:016x}");
    let name = match kind {
        CHECKPOINT => checkpoint::name(number),
        NEW_SEGMENT => segment + NEW_SUFFIX,
        NEW_CHECKPOINT => checkpoint::name(number) + NEW_SUFFIX,
        DAMAGED_SEGMENT => segment + ".damaged-20270115T080000Z-header",
        RESERVE => "reserve".to_owned(),
        OTHER => "notes".to_owned(),
        _ => segment,
    };
    (name, usize::from(u16::from_le_bytes([low, high])))
}

fn encode_head(name: &str, length: usize) -> [u8; HEAD_BYTES] {
    let (stem, kinds) = match name.split_once('-') {
        Some(("journal", stem)) => (stem, [SEGMENT, NEW_SEGMENT, DAMAGED_SEGMENT]),
        Some(("checkpoint", stem)) => (stem, [CHECKPOINT, NEW_CHECKPOINT, OTHER]),
        _ => ("", [RESERVE; 3]),
    };
    let kind = match stem.get(16..) {
        None | Some("") => kinds[0],
        Some(NEW_SUFFIX) => kinds[1],
        Some(_) => kinds[2],
    };
    let number = stem.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let mut head = [0; HEAD_BYTES];
    head[0] = kind;
    head[1..9].copy_from_slice(&number.unwrap_or(0).to_le_bytes());
    head[9..].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    head
}

fn is_filled_up(name: &str) -> bool {
    segment_number(name).is_some() || name == "reserve"
}

#[cfg(test)]
mod tests {
    use super::{Directory, End, Mode};

    #[test]
    fn a_directory_survives_the_bytes() {
        let mode = Mode { reseal: false, limit: true, checkpoints: false, end: End::PowerCut };
        let mut segment = b"MIDGEJNL".to_vec();
        segment.resize(300, 0);
        let files = [
            ("journal-00000000000000ab", segment.clone()),
            ("journal-00000000000000ac.new", b"x".to_vec()),
            ("journal-0000000000000001.damaged-20270115T080000Z-header", Vec::new()),
            ("checkpoint-ffffffffffffffff", vec![7, 0]),
            ("checkpoint-0000000000000003.new", vec![1]),
            ("reserve", vec![0; 4096]),
        ];
        let files = files.map(|(name, bytes)| (name.to_owned(), bytes)).into();
        let directory = Directory { mode, files };
        assert_eq!(Directory::from_bytes(&directory.to_bytes()), directory);
    }

    #[test]
    fn any_bytes_are_a_directory() {
        for bytes in [&b""[..], b"\xFF", b"\0<file>", b"\x01<file>\0\0\0\0\0\0\0\0\0\0", b"<file>"]
        {
            assert!(Directory::from_bytes(bytes).files.is_empty(), "{bytes:?}");
        }
    }
}
