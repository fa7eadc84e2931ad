//! Checks find every damage and change nothing.

use std::sync::Arc;

use midge_core::{Owner, Timestamp, WorkerId};

use super::generator::Generator;
use super::model::Model;
use crate::disk::Disk;
use crate::engine::{Engine, Options};
use crate::error::OpenError;
use crate::recovery::Opened;
use crate::report::{DamageKind, Report};
use crate::segment::{HEADER_BYTES, Header, Previous, segment_name, segment_number};
use crate::testing::FaultyDisk;
use crate::tools::{Checked, check};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) fn options() -> Options {
    Options { segment_bytes: 4096, checkpoint_bytes: 8_000, ..Options::default() }
}

/// Makes a store with a history of some lives; returns it with the model of what is in it. With
/// `maintain`, its files are kept in order meanwhile, and some go.
pub(super) fn store(seed: u64, maintain: bool) -> (Arc<FaultyDisk>, Model) {
    let disk = Arc::new(FaultyDisk::new(seed));
    let mut generator = Generator::new(seed);
    let mut model = Model::default();
    for life in 0..3 {
        let opened = Engine::open(disk.clone(), options(), NOW);
        let Opened { mut engine, .. } = opened.unwrap();
        model.begin_boot();
        for _ in 0..generator.random.within(5..60) {
            let commit = generator.commit(&mut model, 8);
            engine.apply(WorkerId::new(0), commit);
            engine.write().unwrap();
            engine.sync().unwrap();
            if maintain {
                engine.maintain().unwrap();
            }
        }
        if life < 2 && generator.random.one_in(2) {
            drop(engine);
        } else {
            engine.close().unwrap();
        }
        generator.forget();
    }
    model.begin_boot();
    (disk, model)
}

/// Returns every file with its bytes.
fn files(disk: &Arc<FaultyDisk>) -> Vec<(String, Vec<u8>)> {
    let names = disk.names().into_iter();
    names.map(|name| (name.clone(), disk.read(&name).unwrap())).collect()
}

/// Runs a check and asserts that it changes no file.
fn check_only(disk: &Arc<FaultyDisk>) -> Checked {
    let before = files(disk);
    let checked = check(disk.clone(), &mut |_| {}).unwrap();
    assert!(files(disk) == before, "a check has changed something");
    checked
}

/// Makes a store with some killed lives. Its only checkpoint is the one that its first start made.
fn young_store(seed: u64) -> Arc<FaultyDisk> {
    let disk = Arc::new(FaultyDisk::new(seed));
    let options = Options { checkpoint_bytes: u64::MAX, ..options() };
    let mut generator = Generator::new(seed);
    let mut model = Model::default();
    for life in 1..3 {
        let Opened { mut engine, .. } = Engine::open(disk.clone(), options, NOW).unwrap();
        model.begin_boot();
        while engine.usage().segments < 3 * life {
            engine.apply(WorkerId::new(0), generator.commit(&mut model, 8));
            engine.write().unwrap();
            engine.sync().unwrap();
            engine.maintain().unwrap();
        }
        generator.forget();
    }
    disk
}

/// Returns the numbers of the segments in use.
fn segments(disk: &FaultyDisk) -> Vec<u32> {
    let is_in_use = |name: &String, number: u32| {
        let bytes = disk.read(name).unwrap();
        let header = Header::decode(&bytes, number, bytes.len() as u64).unwrap();
        header.previous != Previous::Spare
    };
    let numbers = disk.names().into_iter().filter_map(|name| {
        let number = segment_number(&name)?;
        is_in_use(&name, number).then_some(number)
    });
    numbers.collect()
}

/// Asserts that both a check and a start report each of these files as missing.
fn assert_noticed(disk: &FaultyDisk, gone: &[u32]) {
    let disk = Arc::new(disk.snapshot());
    for number in gone {
        disk.remove(&segment_name(*number)).unwrap();
    }
    let is_told = |report: &Report| {
        gone.iter().all(|number| {
            let kind = DamageKind::MissingSegment;
            report.damage.iter().any(|it| it.kind == kind && it.file == segment_name(*number))
        })
    };
    let checked = check_only(&disk);
    assert!(!checked.is_sound() && is_told(&checked.damage), "{gone:?}: {:#?}", checked.damage);
    let report = Engine::open(disk, options(), NOW).unwrap().report;
    assert!(!report.is_sound() && is_told(&report), "{gone:?}: {report:#?}");
}

#[test]
fn a_journal_file_that_is_gone_is_noticed_before_there_is_a_second_checkpoint() {
    for seed in 0..20 {
        let disk = young_store(seed);
        let segments = segments(&disk);
        assert!(segments.len() > 5, "seed {seed}: {segments:?}");
        for number in &segments {
            assert_noticed(&disk, &[*number]);
        }
    }
}

/// Makes stores in which different files are of no use any more, and none is missing.
fn stores_before_a_start(seed: u64) -> Vec<Arc<FaultyDisk>> {
    let young = young_store(seed);
    let without_spare = {
        let disk = Arc::new(young.snapshot());
        drop(Engine::open(disk.clone(), options(), NOW).unwrap());
        disk
    };
    let activated_and_not_synced = {
        let disk = Arc::new(young.snapshot());
        let Opened { mut engine, .. } = Engine::open(disk.clone(), options(), NOW).unwrap();
        let (mut generator, mut model) = (Generator::new(seed), Model::default());
        let before = engine.usage().segments;
        while engine.usage().segments == before {
            engine.maintain().unwrap();
            engine.apply(WorkerId::new(0), generator.commit(&mut model, 8));
            engine.write().unwrap();
        }
        // The next spare is there, though nothing says for sure that the last one is in use.
        engine.maintain().unwrap();
        disk
    };
    let new = Arc::new(FaultyDisk::new(seed));
    let old = store(seed, true).0;
    vec![new, young, without_spare, activated_and_not_synced, old]
}

#[test]
fn a_start_that_is_cut_off_at_any_point_leaves_nothing_that_looks_missing() {
    for seed in 0..6 {
        for (which, disk) in stores_before_a_start(seed).into_iter().enumerate() {
            for operations in 0.. {
                let cut = Arc::new(disk.power_cut());
                cut.cut_after(operations);
                let has_ended = Engine::open(cut.clone(), options(), NOW).is_ok();
                for found in [cut.power_cut(), cut.power_cut(), cut.snapshot()] {
                    found.cut_after(u64::MAX / 2);
                    assert_sound(Arc::new(found), &format!("{seed}, {which}, {operations}"));
                }
                if has_ended {
                    break;
                }
            }
        }
    }
}

/// Asserts that a check, if there is a store already, and a start find the store sound.
fn assert_sound(disk: Arc<FaultyDisk>, what: &str) {
    match check(disk.clone(), &mut |_| {}) {
        Ok(checked) => assert!(checked.is_sound(), "{what}: {:#?}", checked.damage),
        Err(error) => assert!(matches!(error, OpenError::NoStore), "{what}: {error}"),
    }
    let report = Engine::open(disk, options(), NOW).unwrap().report;
    assert!(report.is_sound(), "{what}: {report:#?}");
}

#[test]
fn a_journal_that_is_gone_altogether_is_noticed() {
    let disk = young_store(1);
    for name in disk.names() {
        if segment_number(&name).is_some() {
            disk.remove(&name).unwrap();
        }
    }
    let checked = check_only(&disk);
    assert_eq!(checked.damage.damage[0].kind, DamageKind::MissingSegment);
    assert_eq!(checked.damage.passed_by, 1);
    let report = Engine::open(disk, options(), NOW).unwrap().report;
    assert_eq!((report.damage[0].kind, report.passed_by), (DamageKind::MissingSegment, 1));
}

#[test]
fn what_is_sound_is_found_and_counted() {
    for seed in 0..60 {
        let (disk, mut model) = store(seed, seed % 2 == 0);
        let Checked { damage, lost, content } = check_only(&disk);
        assert_eq!((damage.damage, lost.damage), (vec![], vec![]), "seed {seed}");
        let owners = model.owners();
        let waiting: usize = owners.iter().map(|owner| model.messages(*owner).len()).sum();
        assert_eq!(content.queued_messages, waiting as u64, "seed {seed}");
        assert_eq!(content.sessions, model.sessions.len() as u64, "seed {seed}");
        assert_eq!(content.groups, model.groups.len() as u64, "seed {seed}");
        let kept = content.retained_messages + content.delayed_messages;
        assert_eq!(kept, model.kept.len() as u64, "seed {seed}");
        let awaiting: usize =
            model.sessions.values().map(|session| session.awaiting_release.len()).sum();
        assert_eq!(content.awaiting_release, awaiting as u64, "seed {seed}");
        let entries = owners.iter().filter_map(|owner| model.queue_mut(*owner).cloned());
        let entries: usize = entries.map(|queue| queue.entries.len()).sum();
        let taken = entries - waiting;
        assert_eq!(content.taken_messages, taken as u64, "seed {seed}");
        assert!(content.bytes_on_disk > 0 && content.checkpoints > 0);
    }
}

/// Returns how many bytes of a file count: those behind them were never written.
fn bytes_that_count(name: &str, bytes: &[u8]) -> usize {
    let Some(number) = segment_number(name) else {
        return bytes.len();
    };
    match Header::decode(&bytes[..HEADER_BYTES], number, bytes.len() as u64) {
        Ok(Header { previous: Previous::Spare, .. }) => 0,
        _ => bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count(),
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    for seed in 100..130 {
        let (disk, _) = store(seed, false);
        let mut random = Generator::new(seed).random;
        for (name, bytes) in files(&disk) {
            if name == "reserve" {
                continue;
            }
            let count = bytes_that_count(&name, &bytes);
            for _ in 0..if count == 0 { 0 } else { 12 } {
                let damaged = Arc::new(disk.snapshot());
                let bit = random.below(count * 8);
                damaged.flip_bit(&name, bit).unwrap();
                let checked = check_only(&damaged);
                let found = checked.damage.damage.iter().any(|damage| damage.file == name);
                assert!(found, "seed {seed}: bit {bit} of {name}: {checked:#?}");
            }
        }
    }
}

#[test]
fn what_is_lost_by_damage_is_what_a_start_does_not_find() {
    for seed in 200..260 {
        let (disk, _) = store(seed, seed % 2 == 0);
        let before = check_only(&disk).content;
        let mut random = Generator::new(seed).random;
        let names: Vec<_> =
            disk.names().into_iter().filter(|name| segment_number(name).is_some()).collect();
        for _ in 0..random.within(1..6) {
            let name = &names[random.below(names.len())];
            let count = bytes_that_count(name, &disk.read(name).unwrap()).max(1);
            disk.flip_bit(name, random.below(count * 8)).unwrap();
        }
        let Checked { damage, lost, content } = check_only(&disk);
        let is_less = content.sessions < before.sessions
            || content.queued_messages < before.queued_messages
            || content.retained_messages < before.retained_messages;
        let is_told = damage.passed_by > 0 || !lost.damage.is_empty();
        assert!(is_told || !is_less, "seed {seed}: {damage:?} {before:?} {content:?}");
        let opened = Engine::open(disk.clone(), options(), NOW).unwrap();
        let Opened { mut engine, recovered, .. } = opened;
        let sessions = recovered.sessions.iter().map(|session| session.record.number);
        let groups = recovered.groups.iter().map(|(group, _)| Owner::Group(group.number));
        let owners: Vec<Owner> = sessions.map(Owner::Session).chain(groups).collect();
        let mut found = 0;
        for owner in owners {
            let (entries, _) = engine.fetch_entries(owner, 0, usize::MAX, usize::MAX);
            found += entries.iter().filter(|entry| entry.delivery.is_some()).count();
        }
        assert_eq!(content.queued_messages, found as u64, "seed {seed}");
        assert_eq!(content.sessions, recovered.sessions.len() as u64, "seed {seed}");
        assert_eq!(content.groups, recovered.groups.len() as u64, "seed {seed}");
        let kept = content.retained_messages + content.delayed_messages;
        assert_eq!(kept, recovered.kept.len() as u64, "seed {seed}");
    }
}

#[test]
fn a_segment_that_is_gone_is_missed() {
    for seed in 300..320 {
        let (disk, _) = store(seed, false);
        let before = check_only(&disk);
        assert!(before.is_sound());
        let name = disk.names().into_iter().find(|name| segment_number(name).is_some()).unwrap();
        disk.remove(&name).unwrap();
        let Checked { damage, lost, .. } = check_only(&disk);
        let is_missed = damage.damage.iter().any(|one| one.kind == DamageKind::MissingSegment);
        assert_eq!(is_missed, !lost.damage.is_empty(), "seed {seed}: {damage:?} {lost:?}");
    }
}

#[test]
fn a_torn_tail_is_harmless() {
    let mut torn = 0;
    for seed in 400..480 {
        let disk = Arc::new(FaultyDisk::new(seed));
        let mut generator = Generator::new(seed);
        let mut model = Model::default();
        let opened = Engine::open(disk.clone(), options(), NOW);
        let Opened { mut engine, .. } = opened.unwrap();
        for _ in 0..20 {
            engine.apply(WorkerId::new(0), generator.commit(&mut model, 8));
            engine.write().unwrap();
            if !generator.random.one_in(4) {
                engine.sync().unwrap();
            }
        }
        let checked = check_only(&Arc::new(disk.power_cut()));
        assert!(checked.is_sound(), "seed {seed}: {checked:#?}");
        torn += checked.damage.damage.len();
    }
    assert!(torn > 0);
}

#[test]
fn where_no_store_is_nothing_is_checked() {
    let disk = Arc::new(FaultyDisk::new(1));
    disk.overwrite("lock", &[]);
    let error = check(disk, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("there is no store in it"), "{error}");
}
