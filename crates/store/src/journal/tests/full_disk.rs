//! The journal waits while the disk is full, never recovers from a failed sync, and makes no new
//! segments ahead of need above a limit of bytes.

use super::*;

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 1000).journal;
    disk.set_capacity(2500);
    let mut records = Vec::new();
    journal.keep_spare().unwrap();
    assert!(!journal.is_short());
    while journal.segments().len() < 2 {
        records.extend(commit(&mut journal, &[&[7; 100]]));
        write_and_sync(&mut journal);
    }
    journal.keep_spare().unwrap();
    assert!(journal.is_short());
    assert_eq!(journal.bytes_on_disk(), disk.used());
    for _ in 0..30 {
        records.extend(commit(&mut journal, &[&[8; 100], &[9; 10]]));
    }
    for _ in 0..3 {
        assert_eq!(journal.write(), Err(StoreError::Full));
        assert!(journal.has_unwritten());
        assert_readable(&mut journal, &records);
        // What was written can be synced meanwhile.
        journal.sync().unwrap();
    }
    let found = Arc::new(disk.power_cut());
    found.set_capacity(u64::MAX);
    let found = open(&found, 1000);
    assert!(found.report.is_sound(), "{:?}", found.report);
    assert!(records.starts_with(&found.visited) && found.visited.len() < records.len());

    disk.set_capacity(u64::MAX);
    records.extend(commit(&mut journal, &[&[10; 100]]));
    write_and_sync(&mut journal);
    assert_readable(&mut journal, &records);
    journal.keep_spare().unwrap();
    assert!(!journal.is_short());
    let opened = open(&Arc::new(disk.power_cut()), 1000);
    assert_eq!(opened.report.damage, []);
    assert_eq!(opened.visited, records);
}

#[test]
fn a_store_on_a_full_disk_can_be_opened_with_little_room() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 1 << 20).journal;
    let records = commit(&mut journal, &[b"one"]);
    write_and_sync(&mut journal);
    disk.set_capacity(disk.used() + 20_000);
    let mut opened = open(&disk, 1 << 20);
    assert_eq!(opened.visited, records);
    assert!(opened.journal.is_short());
    commit(&mut opened.journal, &[&[7; 10_000]]);
    write_and_sync(&mut opened.journal);

    disk.set_capacity(disk.used());
    let Err(error) = try_open(&disk, 1 << 20, None) else { panic!("there is no room") };
    assert!(matches!(&error, OpenError::Io { error, .. } if is_full(error)), "{error}");
    disk.set_capacity(u64::MAX);
    assert_eq!(open(&disk, 1 << 20).visited.len(), 2);
}

#[test]
fn a_spare_gives_a_full_disk_the_room_to_be_opened() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 1000).journal;
    journal.keep_spare().unwrap();
    disk.set_capacity(disk.used());
    assert!(!open(&disk, 1000).journal.is_short());
}

#[test]
fn a_failed_sync_is_for_ever() {
    for seed in 0..20 {
        let disk = Arc::new(FaultyDisk::new(seed));
        let mut journal = open(&disk, 1000).journal;
        let records = commit(&mut journal, &[b"one"]);
        write_and_sync(&mut journal);
        commit(&mut journal, &[b"two"]);
        journal.write().unwrap();
        disk.fail_next_sync();
        let Err(StoreError::Fatal(what)) = journal.sync() else { panic!("seed {seed}") };
        assert!(what.starts_with("journal-0000000000000001: "), "{what}");
        let fatal = StoreError::Fatal(what);
        for _ in 0..3 {
            commit(&mut journal, &[b"three"]);
            assert_eq!(journal.write(), Err(fatal.clone()));
            assert_eq!(journal.sync(), Err(fatal.clone()));
            assert_eq!(journal.keep_spare(), Err(fatal.clone()));
            assert_eq!(journal.remove_segment(7), Err(fatal.clone()));
        }
        let found = open(&Arc::new(disk.power_cut()), 1000);
        assert!(found.report.is_sound(), "seed {seed}");
        assert!(found.visited.starts_with(&records), "seed {seed}");
    }
}

#[test]
fn the_limit_of_bytes_keeps_a_spare_from_being_made() {
    let disk = Arc::new(FaultyDisk::new(0));
    let options = JournalOptions { segment_bytes: 1000, bytes_max: 2500 };
    let now = Timestamp::from_millis(0);
    let opened =
        Journal::open(Arc::<FaultyDisk>::clone(&disk), options, None, now, &mut |_, _, _| {});
    let (mut journal, _) = opened.unwrap();
    journal.keep_spare().unwrap();
    assert!(!journal.is_short());
    assert_eq!(journal.bytes_on_disk(), 2000);
    let mut records = Vec::new();
    while journal.segments().len() < 2 {
        records.extend(commit(&mut journal, &[&[7; 100]]));
        write_and_sync(&mut journal);
    }
    journal.keep_spare().unwrap();
    assert!(journal.is_short());
    // Appended records are written all the same: they may be what makes room.
    while journal.segments().len() < 4 {
        records.extend(commit(&mut journal, &[&[7; 100]]));
        write_and_sync(&mut journal);
    }
    for segment in 1..4 {
        journal.remove_segment(segment).unwrap();
    }
    journal.keep_spare().unwrap();
    assert!(!journal.is_short());
    assert_eq!(journal.bytes_on_disk(), disk.used());
}

#[test]
fn a_spare_can_be_given_up() {
    let disk = Arc::new(FaultyDisk::new(0));
    let mut journal = open(&disk, 1000).journal;
    journal.keep_spare().unwrap();
    journal.keep_spare().unwrap();
    assert_eq!(disk.used(), 2000);
    journal.drop_spare();
    assert_eq!((disk.used(), journal.bytes_on_disk()), (1000, 1000));
    let records: Vec<_> = (0..30).flat_map(|_| commit(&mut journal, &[&[7; 100]])).collect();
    write_and_sync(&mut journal);
    assert_eq!(open(&disk, 1000).visited, records);
}
