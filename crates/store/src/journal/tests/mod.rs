//! The journal as its user sees it, on a faulty disk.

mod damage;
mod full_disk;
mod power_cuts;
mod rollover;

use std::sync::Arc;

use super::*;
use crate::disk::Disk;
use crate::testing::{FaultyDisk, Random};

/// A record as it was appended or visited.
type Record = (Location, u8, Vec<u8>);

/// The result of opening a journal.
struct Opened {
    journal: Journal,
    report: Report,
    visited: Vec<Record>,
}

fn options(segment_bytes: u64) -> JournalOptions {
    JournalOptions { segment_bytes, bytes_max: u64::MAX }
}

fn try_open(
    disk: &Arc<FaultyDisk>,
    segment_bytes: u64,
    from: Option<Location>,
) -> Result<Opened, OpenError> {
    let mut visited = Vec::new();
    let (journal, report) = Journal::open(
        Arc::clone(disk) as Arc<dyn Disk>,
        options(segment_bytes),
        from,
        Timestamp::from_millis(0),
        &mut |at, tag, body| visited.push((at, tag, body.to_vec())),
    )?;
    Ok(Opened { journal, report, visited })
}

fn open(disk: &Arc<FaultyDisk>, segment_bytes: u64) -> Opened {
    try_open(disk, segment_bytes, None).unwrap()
}

fn any_body(random: &mut Random, bytes_max: usize) -> Vec<u8> {
    let length = random.below(bytes_max + 1);
    (0..length).map(|_| random.next() as u8).collect()
}

/// Appends a record; returns where it will stand.
fn append(journal: &mut Journal, tag: u8, body: &[u8]) -> Location {
    journal.append(tag, |out| out.extend_from_slice(body)).0
}

/// Appends a commit of these records.
fn commit(journal: &mut Journal, bodies: &[&[u8]]) -> Vec<Record> {
    journal.begin_commit();
    let records =
        bodies.iter().map(|body| (append(journal, 20, body), 20, body.to_vec())).collect();
    journal.end_commit();
    records
}

fn write_and_sync(journal: &mut Journal) {
    journal.write().unwrap();
    journal.sync().unwrap();
}

fn assert_readable(journal: &mut Journal, records: &[Record]) {
    let mut body = Vec::new();
    for (at, tag, expected) in records {
        assert_eq!(journal.read(*at, &mut body), Ok(*tag), "{at:?}");
        assert_eq!(body, *expected, "{at:?}");
    }
}

#[test]
fn what_was_synced_is_there_after_reopening() {
    let disk = Arc::new(FaultyDisk::new(0));
    let Opened { mut journal, report, visited } = open(&disk, 4096);
    assert_eq!((report, visited.len()), (Report::default(), 0));
    assert_eq!((journal.segments(), journal.bytes_on_disk()), (vec![1], 4096));
    let mut records = commit(&mut journal, &[b"one", b"", b"three"]);
    assert!(journal.has_unwritten() && !journal.has_unsynced());
    assert_readable(&mut journal, &records);
    journal.write().unwrap();
    assert!(!journal.has_unwritten() && journal.has_unsynced());
    journal.sync().unwrap();
    assert!(!journal.has_unsynced());
    records.extend(commit(&mut journal, &[b"four"]));
    write_and_sync(&mut journal);
    assert_readable(&mut journal, &records);

    let disk = Arc::new(disk.power_cut());
    let Opened { mut journal, report, visited } = open(&disk, 4096);
    assert_eq!(report.damage, []);
    assert_eq!((report.commits, report.records, report.segments), (2, 4, 1));
    assert_eq!(visited, records);
    assert_readable(&mut journal, &records);
    assert_eq!((journal.segments(), journal.current_segment()), (vec![1, 2], 2));
    assert_eq!(disk.names(), ["journal-0000000000000001", "journal-0000000000000002"]);
}

#[test]
fn a_commit_without_records_leaves_no_trace() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 4096).journal;
    let end = journal.end();
    commit(&mut journal, &[]);
    assert!(!journal.has_unwritten());
    assert_eq!(journal.end(), end);
}

#[test]
fn replay_begins_where_the_checkpoint_says() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 300).journal;
    let mut ends = Vec::new();
    let mut records = Vec::new();
    for number in 0..40_u8 {
        ends.push((journal.end(), records.len()));
        records.extend(commit(&mut journal, &[&[number; 30], &[number; 7]]));
    }
    ends.push((journal.end(), records.len()));
    write_and_sync(&mut journal);
    for (end, count) in ends {
        let disk = Arc::new(disk.snapshot());
        let mut opened = try_open(&disk, 300, Some(end)).unwrap();
        assert_eq!(opened.report.damage, []);
        assert_eq!(opened.visited, records[count..]);
        // Records before that place can still be read.
        assert_readable(&mut opened.journal, &records);
    }
}

#[test]
fn opening_again_and_again_does_not_collect_segments() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 4096).journal;
    let records = commit(&mut journal, &[b"one"]);
    write_and_sync(&mut journal);
    for _ in 0..5 {
        let mut opened = open(&disk, 4096);
        assert_eq!(opened.visited, records);
        assert_eq!(opened.journal.segments().len(), 2);
        opened.journal.keep_spare().unwrap();
        assert_eq!(opened.journal.bytes_on_disk(), disk.used());
    }
}

#[test]
fn an_unfinished_commit_does_not_count() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 300).journal;
    let records = commit(&mut journal, &[b"one"]);
    journal.begin_commit();
    for _ in 0..30 {
        append(&mut journal, 20, &[7; 30]);
    }
    write_and_sync(&mut journal);
    assert!(journal.segments().len() > 3);
    for _ in 0..2 {
        let opened = open(&disk, 300);
        assert_eq!(opened.visited, records);
        assert!(opened.report.is_sound());
        assert_eq!(opened.journal.segments().len(), 2);
    }
}

#[test]
fn a_segment_that_is_gone_has_no_records() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 300).journal;
    let records: Vec<_> = (0..20).flat_map(|_| commit(&mut journal, &[&[7; 50]])).collect();
    write_and_sync(&mut journal);
    assert_readable(&mut journal, &records);
    journal.remove_segment(1).unwrap();
    let now = Timestamp::from_millis(0);
    let name = journal.quarantine_segment(2, "it has a bad record", now).unwrap();
    assert_eq!(name, "journal-0000000000000002.damaged-19700101T000000Z-it-has-a-bad-record");
    assert!(disk.names().contains(&name));
    let mut body = Vec::new();
    for (at, ..) in records {
        let gone = at.segment() < 3;
        let read = journal.read(at, &mut body);
        assert_eq!(read.map_err(|damage| damage.kind).is_err(), gone);
    }
    let end = journal.end();
    let opened = try_open(&disk, 300, Some(end)).unwrap();
    assert_eq!(opened.report.damage, []);
    let opened = try_open(&disk, 300, None).unwrap();
    assert_eq!(opened.report.damage.len(), 1, "{:?}", opened.report.damage);
    assert_eq!(opened.report.damage[0].kind, DamageKind::MissingSegment);
}
