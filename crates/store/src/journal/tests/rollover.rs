//! The journal goes on over many segments, and a record never stands in two of them.

use super::*;

/// Appends commits with random records, writes and syncs now and then. Checks that everything is
/// there, at once and after reopening.
fn fill(seed: u64, commits: usize, body_bytes_max: usize) {
    let mut random = Random::new(seed);
    let segment_bytes = random.within(256..5000) as u64;
    let disk = Arc::new(FaultyDisk::new(seed));
    let mut journal = open(&disk, segment_bytes).journal;
    let mut records = Vec::new();
    for _ in 0..commits {
        let bodies: Vec<_> =
            (0..random.within(1..6)).map(|_| any_body(&mut random, body_bytes_max)).collect();
        let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
        records.extend(commit(&mut journal, &bodies));
        match random.below(6) {
            0 => journal.write().unwrap(),
            1 => write_and_sync(&mut journal),
            2 => journal.keep_spare().unwrap(),
            _ => {}
        }
    }
    assert!(records.is_sorted_by_key(|record| record.0), "seed {seed}");
    assert_readable(&mut journal, &records);
    write_and_sync(&mut journal);
    assert_readable(&mut journal, &records);
    assert_eq!(journal.bytes_on_disk(), disk.used(), "seed {seed}");

    let Opened { mut journal, report, visited } = open(&disk, segment_bytes);
    assert_eq!(report.damage, [], "seed {seed}");
    assert_eq!(report.commits, commits as u64, "seed {seed}");
    assert!(visited == records, "seed {seed}");
    assert_readable(&mut journal, &records);
    assert_eq!(journal.bytes_on_disk(), disk.used(), "seed {seed}");
}

#[test]
fn small_records_go_on_over_many_segments() {
    for seed in 0..100 {
        fill(seed, 200, 150);
    }
}

#[test]
fn a_record_larger_than_a_segment_gets_one_of_its_size() {
    for seed in 0..50 {
        fill(seed, 20, 20_000);
    }
    // Also records that are larger than a block of the cache.
    fill(50, 10, 300_000);
}

/// If each record had its own file, a disk that takes 50 ms for a sync would take seconds for the
/// records that wait behind a stall.
#[test]
fn records_larger_than_a_segment_share_files_when_many_are_written_at_once() {
    const MIB: usize = 1 << 20;
    for (body_bytes, count) in [(900_000, 18), (70_000, 200), (5 * MIB, 3)] {
        let disk = Arc::new(FaultyDisk::new(0));
        let mut journal = open(&disk, 65_536).journal;
        let body = vec![7; body_bytes];
        let records: Vec<_> = (0..count).flat_map(|_| commit(&mut journal, &[&body])).collect();
        let before = disk.syncs();
        write_and_sync(&mut journal);
        // A file of 4 MiB holds at least 3 MiB of these; a larger record has its own.
        let files = (body_bytes * count).div_ceil(3 * MIB) as u64;
        let syncs = disk.syncs() - before;
        assert!(syncs <= 3 * files + 3, "{syncs} syncs for {count} of {body_bytes} bytes");
        assert_readable(&mut journal, &records);
        let opened = open(&disk, 65_536);
        assert_eq!(opened.report.damage, []);
        assert!(opened.visited == records, "{body_bytes}");
    }
}

#[test]
fn a_record_fits_exactly_or_goes_to_the_next_segment() {
    for size in 150..250 {
        let disk = Arc::new(FaultyDisk::new(0));
        let mut journal = open(&disk, 256).journal;
        let body = vec![7; size];
        let records: Vec<_> = (0..5).flat_map(|_| commit(&mut journal, &[&body, &[1]])).collect();
        write_and_sync(&mut journal);
        let opened = open(&disk, 256);
        assert_eq!(opened.report.damage, [], "{size}");
        assert!(opened.visited == records, "{size}");
    }
}

#[test]
fn segments_may_have_another_size_after_each_start() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut records = Vec::new();
    for segment_bytes in [256, 4096, 0, 1000, 300] {
        let mut opened = open(&disk, segment_bytes);
        assert_eq!(opened.report.damage, []);
        assert!(opened.visited == records);
        for _ in 0..30 {
            records.extend(commit(&mut opened.journal, &[&[7; 100]]));
        }
        write_and_sync(&mut opened.journal);
    }
}

#[test]
fn a_begin_says_what_was_synced_when_it_was_appended() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 4096).journal;
    commit(&mut journal, &[b"one"]);
    write_and_sync(&mut journal);
    let synced = journal.end();
    commit(&mut journal, &[b"two"]);
    journal.write().unwrap();
    let bytes = disk.read("journal-0000000000000001").unwrap();
    let seed = CrcSeed::of_segment(1);
    let found = crate::segment::find_begin(&bytes, synced.offset() as usize, seed);
    assert_eq!(found, Some((synced.offset() as usize, synced)));
}
