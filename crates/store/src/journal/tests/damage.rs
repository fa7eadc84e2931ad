//! Every bit flip and every truncation of a small journal: only records that were appended are
//! handed out, nothing is lost without a report, and nothing panics.

use super::*;
use crate::segment::{END_BYTES, FRAME_BYTES, VERSION};

const SEGMENT_BYTES: u64 = 400;

/// Makes a journal of three segments, all synced; returns what is in it, too. The last commit but
/// one was synced before the last one was appended.
fn small_journal() -> (Arc<FaultyDisk>, Vec<Vec<Record>>) {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, SEGMENT_BYTES).journal;
    let mut random = Random::new(1);
    let mut commits = Vec::new();
    while journal.current_segment() < 3 || journal.end().offset() < 250 {
        let bodies: Vec<_> = (0..3).map(|_| any_body(&mut random, 40)).collect();
        let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
        commits.push(commit(&mut journal, &bodies));
        write_and_sync(&mut journal);
    }
    assert_eq!(journal.segments(), [1, 2, 3]);
    (disk, commits)
}

/// Opens a damaged journal twice and checks what is visited against the truth. Returns the first
/// opening.
fn open_damaged(disk: &Arc<FaultyDisk>, truth: &[Record], what: &str) -> Opened {
    let mut first = open(disk, SEGMENT_BYTES);
    let mut rest = truth.iter();
    for record in &first.visited {
        assert!(rest.any(|known| known == record), "{what}: {record:?} was never appended");
    }
    let mut body = Vec::new();
    for (at, tag, expected) in truth {
        // Everything that is still there can be read, visited or not, and nothing else.
        if let Ok(found) = first.journal.read(*at, &mut body) {
            assert_eq!((found, &body), (*tag, expected), "{what}");
        }
    }
    let more = commit(&mut first.journal, &[b"more"]);
    write_and_sync(&mut first.journal);
    let second = open(disk, SEGMENT_BYTES);
    let (visited, added) = second.visited.split_at(second.visited.len() - 1);
    assert_eq!(added, more, "{what}: {:?}", second.report);
    assert_eq!(visited, first.visited, "{what}: {:?}, then {:?}", first.report, second.report);
    first
}

/// Returns where the records end in each of the segments, as the next segment's header says.
fn ends(disk: &FaultyDisk) -> Vec<usize> {
    let header = |number: u32| {
        let bytes = disk.read(&segment_name(number)).unwrap();
        Header::decode(&bytes, number, SEGMENT_BYTES).unwrap()
    };
    [2, 3]
        .into_iter()
        .map(|number| match header(number).previous {
            Previous::End(end) => end.offset() as usize,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn every_bit_flip_is_reported_and_loses_nothing_else() {
    let (disk, commits) = small_journal();
    let truth: Vec<_> = commits.iter().flatten().cloned().collect();
    let last_begin = commits.last().unwrap()[0].0.offset() as usize - 25;
    let ends = ends(&disk);
    for number in 1..=3 {
        let name = segment_name(number);
        for bit in 0..SEGMENT_BYTES as usize * 8 {
            let what = format!("bit {} of byte {} of {name}", bit % 8, bit / 8);
            let disk = Arc::new(disk.snapshot());
            disk.flip_bit(&name, bit).unwrap();
            let Opened { report, visited, .. } = open_damaged(&disk, &truth, &what);
            // Behind the end of a segment that is not the last one, no byte can matter.
            if number < 3 && bit / 8 >= ends[number as usize - 1] {
                assert_eq!((report.damage, visited), (vec![], truth.clone()), "{what}");
                continue;
            }
            assert_eq!(report.damage.len(), 1, "{what}: {:?}", report.damage);
            assert_eq!(report.damage[0].file, name, "{what}");
            let lost = truth.len() - visited.len();
            if bit / 8 < HEADER_BYTES {
                assert_eq!(report.damage[0].kind, DamageKind::BadSegmentHeader, "{what}");
                assert_eq!(lost, 0, "{what}");
            } else if number < 3 || bit / 8 < last_begin {
                assert_eq!(report.damage[0].kind, DamageKind::BadRecord, "{what}");
                // A wrong length hides everything up to the next Begin.
                assert!(lost <= 3, "{what}: {lost} are lost");
            } else {
                // Nothing says that the last commit was synced.
                assert_eq!(report.damage[0].kind, DamageKind::TornTail, "{what}");
                assert!(lost == 3 || lost == 0, "{what}: {lost} are lost");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_body_loses_one_record() {
    let (disk, commits) = small_journal();
    let truth: Vec<_> = commits[..commits.len() - 1].iter().flatten().cloned().collect();
    let all: Vec<_> = commits.iter().flatten().cloned().collect();
    for (at, _, body) in truth.iter().filter(|record| !record.2.is_empty()) {
        let disk = Arc::new(disk.snapshot());
        let byte = at.offset() as usize + FRAME_BYTES + body.len() / 2;
        disk.flip_bit(&segment_name(at.segment()), byte * 8).unwrap();
        let opened = open_damaged(&disk, &all, "a body");
        let expected: Vec<_> = all.iter().filter(|record| record.0 != *at).cloned().collect();
        assert_eq!(opened.visited, expected);
        assert!(!opened.report.is_sound());
        assert_eq!(opened.report.damage[0].offset, u64::from(at.offset()));
    }
}

#[test]
fn a_damaged_begin_or_end_loses_no_record() {
    let (disk, commits) = small_journal();
    let truth: Vec<_> = commits.iter().flatten().cloned().collect();
    for commit in &commits[..commits.len() - 1] {
        let (first, last) = (commit[0].0, &commit[2]);
        let end = last.0.offset() as usize + FRAME_BYTES + last.2.len();
        for (segment, byte) in
            [(first.segment(), first.offset() as usize - 1), (last.0.segment(), end + FRAME_BYTES)]
        {
            // The Begin or the End may stand in the segment before or behind.
            if byte < HEADER_BYTES || byte + END_BYTES > SEGMENT_BYTES as usize {
                continue;
            }
            let disk = Arc::new(disk.snapshot());
            disk.flip_bit(&segment_name(segment), byte * 8).unwrap();
            assert_eq!(open_damaged(&disk, &truth, "a Begin or End").visited, truth);
        }
    }
}

#[test]
fn every_truncation_is_reported() {
    let (disk, commits) = small_journal();
    let truth: Vec<_> = commits.iter().flatten().cloned().collect();
    for number in 1..=3 {
        let name = segment_name(number);
        for length in 0..SEGMENT_BYTES as usize {
            let what = format!("{length} bytes of {name}");
            let disk = Arc::new(disk.snapshot());
            disk.truncate(&name, length).unwrap();
            let Opened { report, visited, .. } = open_damaged(&disk, &truth, &what);
            assert!(!report.is_sound(), "{what}: {:?}", report.damage);
            assert!(report.damage.iter().any(|damage| damage.file == name), "{what}");
            let before = truth.iter().filter(|record| record.0.segment() < number).count();
            assert!(visited.len() + 3 >= before, "{what}");
        }
    }
}

#[test]
fn a_segment_that_is_missing_takes_no_other_with_it() {
    let (disk, commits) = small_journal();
    let truth: Vec<_> = commits.iter().flatten().cloned().collect();
    for number in 1..=2 {
        let disk = Arc::new(disk.snapshot());
        disk.remove(&segment_name(number)).unwrap();
        let Opened { report, visited, .. } = open_damaged(&disk, &truth, "missing");
        let kinds: Vec<_> = report.damage.iter().map(|damage| damage.kind).collect();
        assert_eq!(kinds, [DamageKind::MissingSegment]);
        let rest: Vec<_> =
            truth.iter().filter(|record| record.0.segment() != number).cloned().collect();
        assert_eq!(visited, rest);
    }
}

#[test]
fn what_is_behind_a_header_torn_at_activation_counts() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, SEGMENT_BYTES).journal;
    let mut truth = Vec::new();
    while journal.current_segment() < 2 {
        truth.extend(commit(&mut journal, &[&[7; 60]]));
    }
    journal.write().unwrap();
    let name = segment_name(2);
    let active = disk.read(&name).unwrap();
    let header = Header { number: 2, length: SEGMENT_BYTES, previous: Previous::Spare };
    for torn in 0..=HEADER_BYTES {
        let disk = Arc::new(disk.snapshot());
        let mut bytes = active.clone();
        bytes[torn..HEADER_BYTES].copy_from_slice(&header.encode()[torn..]);
        disk.overwrite(&name, &bytes);
        let what = format!("torn at byte {torn}");
        let Opened { report, visited, .. } = open_damaged(&disk, &truth, &what);
        assert!(report.is_sound(), "{what}: {:?}", report.damage);
        // With the header of a spare, nothing in the segment counts.
        let is_spare = disk.read(&name).is_err();
        assert!(visited == truth || is_spare, "{what}");
    }
}

#[test]
fn rubbish_in_every_file_neither_panics_nor_invents_records() {
    for seed in 0..300 {
        let (disk, commits) = small_journal();
        let truth: Vec<_> = commits.iter().flatten().cloned().collect();
        let mut random = Random::new(seed);
        for number in 1..=3 {
            let name = segment_name(number);
            let mut bytes = disk.read(&name).unwrap();
            for _ in 0..random.below(4) {
                let start = random.below(bytes.len());
                let end = random.within(start..bytes.len());
                let zeros = random.one_in(2);
                bytes[start..end].iter_mut().for_each(|byte| {
                    *byte = if zeros { 0 } else { random.next() as u8 };
                });
            }
            disk.overwrite(&name, &bytes);
        }
        disk.overwrite("journal-0000000000000009", &[7; 300]);
        disk.overwrite("journal-0000000000000004.new", &[]);
        disk.overwrite("journal-zzz", b"somebody else's");
        let opened = open(&disk, SEGMENT_BYTES);
        let mut rest = truth.iter();
        for record in &opened.visited {
            assert!(rest.any(|known| known == record), "seed {seed}");
        }
        assert!(opened.report.quarantined.iter().any(|name| name.contains("0009.damaged-")));
        assert!(disk.names().contains(&"journal-zzz".to_owned()));
    }
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_changed() {
    for number in 1..=3 {
        let (disk, _) = small_journal();
        disk.overwrite("journal-0000000000000009", &[7; 300]);
        disk.overwrite("journal-0000000000000004.new", &[]);
        let name = segment_name(number);
        let mut bytes = disk.read(&name).unwrap();
        bytes[8] = VERSION as u8 + 1;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        disk.overwrite(&name, &bytes);
        let contents = |disk: &FaultyDisk| -> Vec<_> {
            let names = disk.names();
            names.into_iter().map(|name| (disk.read(&name).unwrap(), name)).collect()
        };
        let before = (contents(&disk), disk.operations());
        match try_open(&disk, SEGMENT_BYTES, None) {
            Err(OpenError::NewerFormat { file, version }) => {
                assert_eq!((file, version), (name, VERSION + 1));
            }
            _ => panic!("a newer format must be refused"),
        }
        assert!(before == (contents(&disk), disk.operations()));
    }
}
