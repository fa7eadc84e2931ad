//! Whatever happens to the bytes on the device, a start reports it or refuses, and serves only what
//! was once stored.

use std::collections::{BTreeSet, HashSet};
use std::mem::{Discriminant, discriminant};
use std::num::NonZeroUsize;
use std::sync::Arc;

use midge_core::{Commit, Durability, Kept, Owner, StoreOp, Timestamp, WorkerId};

use super::generator::Generator;
use super::model::Model;
use crate::engine::{Engine, Options};
use crate::record::{enqueue, keep};
use crate::recovery::Opened;
use crate::report::DamageKind;
use crate::segment::{HEADER_BYTES, TAG_BEGIN};
use crate::testing::plain::describe;
use crate::testing::{FaultyDisk, Random};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const OPTIONS: Options = Options {
    segment_bytes: 1024,
    checkpoint_bytes: u64::MAX,
    bytes_max: u64::MAX,
    readers: NonZeroUsize::MIN,
};

/// A disk with a store, and every line that a start may rightly say about it.
struct Stored {
    disk: FaultyDisk,
    model: Model,
    lines: BTreeSet<String>,
}

fn open(disk: &Arc<FaultyDisk>) -> Opened {
    Engine::open(disk.clone(), OPTIONS, NOW).unwrap()
}

/// Makes a small store with every kind of record, two checkpoints and records behind them.
fn small_store(seed: u64) -> Stored {
    let disk = Arc::new(FaultyDisk::new(seed));
    let mut generator = Generator::new(seed);
    let (mut model, mut lines) = (Model::default(), BTreeSet::new());
    let mut kinds = HashSet::new();
    let Opened { mut engine, .. } = open(&disk);
    for round in 0..3 {
        for _ in 0..6 {
            let mut ops = Vec::new();
            while ops.len() < 3 {
                let op = small_op(&mut generator, &model, &mut kinds);
                model.apply(&op);
                lines.extend(model.describe());
                ops.push(op);
            }
            let commit = Commit { number: 1, durability: Durability::Fsync, ops };
            engine.apply(WorkerId::new(0), commit);
            engine.write().unwrap();
            engine.sync().unwrap();
        }
        if round < 2 {
            compact_oldest(&mut engine);
            while engine.continue_compaction().unwrap() {}
            engine.write_checkpoint_at_once().unwrap();
        }
    }
    assert_eq!(kinds.len(), 15, "seed {seed}: a kind of operation is missing");
    model.begin_boot();
    lines.extend(model.describe());
    Stored { disk: disk.snapshot(), model, lines }
}

/// Returns an operation with a small message, of a kind that did not occur yet if there is one.
fn small_op(
    generator: &mut Generator,
    model: &Model,
    kinds: &mut HashSet<Discriminant<StoreOp>>,
) -> StoreOp {
    for attempt in 0.. {
        let op = generator.op(model);
        let size = match &op {
            StoreOp::Enqueue(enqueue) => enqueue.delivery.message.size(),
            StoreOp::Keep { message, .. } => message.size(),
            StoreOp::Session(session) => {
                session.will.as_ref().map_or(0, |will| will.message.size())
            }
            _ => 0,
        };
        if size < 150 && (kinds.insert(discriminant(&op)) || attempt > 200 || kinds.len() == 15) {
            return op;
        }
    }
    unreachable!("one of them is small")
}

fn compact_oldest(engine: &mut Engine) {
    let segment = engine.writer.journal.segments()[0];
    if segment < engine.writer.journal.current_segment() {
        engine.start_compaction(segment);
    }
}

/// Checks what must be true of any line that a start says after damage.
fn check_lines(found: &[String], stored: &Stored, what: &str) {
    for line in found {
        // After damage the numbers of a queue may have any value; messages and Sessions may not.
        let is_content = line.starts_with("session ")
            || line.starts_with("kept ")
            || line.starts_with("Session(")
            || line.starts_with("Group(")
            || line.starts_with("SubscriptionRecord")
            || line.starts_with("GroupRecord");
        let is_known = stored.lines.contains(line)
            || line.ends_with(" damaged")
            || line.starts_with("session ") && same_but_for_its_end(line, &stored.lines);
        assert!(!is_content || is_known, "{what}: nobody has stored {line}");
    }
}

/// Returns whether the line is that of a known Session whose last end, or the end of whose Will,
/// was lost.
fn same_but_for_its_end(line: &str, lines: &BTreeSet<String>) -> bool {
    let words = |line: &str| line.split(' ').take(5).collect::<Vec<_>>().join(" ");
    lines.iter().any(|known| words(known) == words(line))
}

/// Opens a damaged store, looks at everything, works with it and opens it once more.
fn survive(disk: FaultyDisk, stored: &Stored, what: &str) {
    let disk = Arc::new(disk);
    let opened = match Engine::open(disk.clone(), OPTIONS, NOW) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let Opened { mut engine, recovered, report, .. } = opened;
    let mut random = Random::new(1);
    let found = describe(&recovered, &mut engine, &mut random);
    check_lines(&found, stored, what);
    let reported = !report.damage.is_empty() || !engine.take_damage().is_empty();
    if found != stored.model.describe() {
        assert!(reported, "{what}: something is missing and nobody says so");
    }
    compact_oldest(&mut engine);
    while engine.maintain().unwrap() {}
    let owner = Owner::Session(recovered.sessions.first().map_or(0, |one| one.record.number));
    let commit =
        Commit { number: 1, durability: Durability::Fsync, ops: vec![StoreOp::Ended(owner)] };
    engine.apply(WorkerId::new(0), commit);
    engine.close().unwrap();
    // Opening takes most of the time, so only some cases do it again.
    if what.ends_with(['0', '3', '7']) {
        let Opened { mut engine, recovered, .. } = open(&disk);
        let found = describe(&recovered, &mut engine, &mut random);
        check_lines(&found, stored, what);
    }
}

fn used_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn every_bit_flip_is_survived_and_what_is_served_was_stored() {
    let stored = small_store(3);
    for name in stored.disk.names() {
        let bytes = stored.disk.read(&name).unwrap();
        for byte in 0..used_len(&bytes) {
            for bit in 0..8 {
                let disk = stored.disk.snapshot();
                disk.flip_bit(&name, byte * 8 + bit).unwrap();
                survive(disk, &stored, &format!("{name} byte {byte} bit {bit}"));
            }
        }
    }
}

#[test]
fn every_truncation_is_survived_and_what_is_served_was_stored() {
    let stored = small_store(4);
    for name in stored.disk.names() {
        let bytes = stored.disk.read(&name).unwrap();
        for len in 0..bytes.len() {
            if len <= used_len(&bytes) || len % 64 == 0 {
                let disk = stored.disk.snapshot();
                disk.truncate(&name, len).unwrap();
                survive(disk, &stored, &format!("{name} cut to {len}"));
            }
        }
    }
}

#[test]
fn what_a_start_finds_does_not_depend_on_the_number_of_its_readers() {
    let stored = small_store(5);
    let start = |disk: FaultyDisk, readers| {
        let options = Options { readers: NonZeroUsize::new(readers).unwrap(), ..OPTIONS };
        let mut opened = Engine::open(Arc::new(disk), options, NOW).ok()?;
        let usage = opened.engine.usage();
        let found = format!("{:?} {usage:?} {:?}", opened.report, opened.recovered);
        Some((found, describe(&opened.recovered, &mut opened.engine, &mut Random::new(1))))
    };
    for name in stored.disk.names() {
        let bytes = stored.disk.read(&name).unwrap();
        for byte in (0..used_len(&bytes)).step_by(3) {
            let damaged = || {
                let disk = stored.disk.snapshot();
                disk.flip_bit(&name, byte * 8 + byte % 8).unwrap();
                disk
            };
            let (alone, several) = (start(damaged(), 1), start(damaged(), 4));
            assert_eq!(alone, several, "{name} byte {byte}");
        }
    }
}

#[test]
fn one_damaged_checkpoint_costs_nothing() {
    for seed in 0..30 {
        let stored = small_store(seed);
        let checkpoints: Vec<String> =
            stored.disk.names().into_iter().filter(|name| name.starts_with("check")).collect();
        assert_eq!(checkpoints.len(), 2);
        for (place, name) in checkpoints.iter().enumerate() {
            let disk = Arc::new(stored.disk.snapshot());
            disk.flip_bit(name, 300).unwrap();
            for _ in 0..2 {
                let Opened { mut engine, recovered, report, .. } = open(&disk);
                let found = describe(&recovered, &mut engine, &mut Random::new(1));
                assert_eq!(found, stored.model.describe(), "seed {seed}: {name}");
                let kinds: Vec<DamageKind> = report.damage.iter().map(|one| one.kind).collect();
                let expected = if place == 1 { &[DamageKind::BadCheckpoint][..] } else { &[] };
                assert!(kinds == expected || kinds.is_empty(), "seed {seed}: {:?}", report.damage);
                while engine.maintain().unwrap() {}
            }
        }
    }
}

#[test]
fn without_checkpoints_nothing_that_waits_is_lost() {
    for seed in 0..100 {
        let stored = small_store(seed);
        let disk = Arc::new(stored.disk.snapshot());
        for name in disk.names().iter().filter(|name| name.starts_with("check")) {
            disk.flip_bit(name, 300).unwrap();
        }
        let Opened { mut engine, recovered, report, .. } = open(&disk);
        assert_eq!(report.quarantined.len(), 2);
        let found = describe(&recovered, &mut engine, &mut Random::new(1));
        for line in stored.model.describe() {
            let is_message = ["Session(", "Group(", "kept ", "session "];
            if is_message.iter().any(|start| line.starts_with(start)) {
                assert!(found.contains(&line), "seed {seed}: {line} is lost\n{found:#?}");
            }
        }
        engine.close().unwrap();
        let Opened { mut engine, recovered, report, .. } = open(&disk);
        assert_eq!(report.damage, []);
        assert_eq!(describe(&recovered, &mut engine, &mut Random::new(1)), found);
    }
}

#[test]
fn a_checkpoint_of_a_newer_version_is_refused_and_nothing_is_changed() {
    let stored = small_store(1);
    let names = stored.disk.names();
    let name = names.iter().find(|name| name.starts_with("check")).unwrap();
    for name in names.iter().filter(|other| other.starts_with("check") && *other > name) {
        let mut bytes = stored.disk.read(name).unwrap();
        bytes[8..12].copy_from_slice(&3u32.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..12]).to_le_bytes();
        bytes[12..16].copy_from_slice(&checksum);
        stored.disk.overwrite(name, &bytes);
    }
    let operations = stored.disk.operations();
    let disk = Arc::new(stored.disk);
    let error = Engine::open(disk.clone(), OPTIONS, NOW).unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    assert_eq!(disk.operations(), operations);
}

#[test]
fn files_with_the_last_numbers_are_refused_and_nothing_is_changed() {
    for last in ["journal-00000000ffffffff", "checkpoint-ffffffffffffffff"] {
        let disk = Arc::new(small_store(1).disk);
        disk.overwrite(last, b"anything");
        let operations = disk.operations();
        let error = Engine::open(disk.clone(), OPTIONS, NOW).unwrap_err();
        assert!(error.to_string().contains("used up"), "{error}");
        assert_eq!(disk.operations(), operations);
    }
}

/// Makes a store whose last two segments have no commit in common; returns its disk and the names
/// of these segments.
fn commit_at_the_start_of_a_segment() -> (FaultyDisk, [String; 2]) {
    let disk = Arc::new(FaultyDisk::new(1));
    let mut engine = open(&disk).engine;
    let mut generator = Generator::new(1);
    for number in 0..500 {
        let message = generator.message_of(number as usize % 50);
        let keep = StoreOp::Keep { number, what: Kept::Retained, message };
        let commit = Commit { number: 1, durability: Durability::Fsync, ops: vec![keep] };
        engine.apply(WorkerId::new(0), commit);
        engine.write().unwrap();
        let names = disk.names().into_iter();
        let segments: Vec<String> = names.filter(|name| name.starts_with("journal-")).collect();
        if let [_, .., before, last] = segments.as_slice()
            && disk.read(last).unwrap()[HEADER_BYTES + 8] == TAG_BEGIN
        {
            return (disk.snapshot(), [before.clone(), last.clone()]);
        }
    }
    unreachable!("now and then a commit ends where its segment ends")
}

#[test]
fn what_one_start_makes_of_damage_the_next_one_makes_of_it() {
    let (disk, [before, last]) = commit_at_the_start_of_a_segment();
    let start = |disk: &Arc<FaultyDisk>| {
        let Opened { mut engine, recovered, .. } = open(disk);
        describe(&recovered, &mut engine, &mut Random::new(1))
    };
    for byte in HEADER_BYTES..used_len(&disk.read(&before).unwrap()) {
        let disk = Arc::new(disk.snapshot());
        // Now nothing says where the segment before ends.
        disk.flip_bit(&last, 25 * 8).unwrap();
        disk.flip_bit(&before, byte * 8).unwrap();
        let first = start(&disk);
        assert_eq!(start(&disk), first, "byte {byte}");
    }
}

#[test]
fn a_record_whose_message_would_stand_behind_it_does_not_count() {
    let disk = Arc::new(FaultyDisk::new(1));
    let mut engine = open(&disk).engine;
    let at = engine.writer.journal.end().plus(1000);
    engine.append(keep::TAG_SHARED, |out| {
        keep::encode_head(1, Kept::Retained, out);
        enqueue::encode_place(at, 5, out);
    });
    engine.writer.end_commit();
    engine.write().unwrap();
    let Opened { recovered, report, .. } = open(&disk);
    assert!(recovered.kept.is_empty());
    let kinds: Vec<DamageKind> = report.damage.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [DamageKind::UnreadableMessage]);
}

#[test]
fn a_message_is_not_taken_from_another_place_than_the_index_knows() {
    let disk = Arc::new(FaultyDisk::new(1));
    let mut engine = open(&disk).engine;
    let message = Generator::new(1).message_of(20);
    let what = Kept::Retained;
    let keep = |number| StoreOp::Keep { number, what, message: message.clone() };
    let ops = vec![keep(1), keep(2)];
    engine.apply(WorkerId::new(0), Commit { number: 1, durability: Durability::Fsync, ops });
    let kept = engine.index.kept.get_mut(&2).unwrap();
    kept.places.message = kept.places.record;
    engine.close().unwrap();
    let Opened { recovered, report, .. } = open(&disk);
    let numbers: Vec<u64> = recovered.kept.iter().map(|(number, _, _)| *number).collect();
    let kinds: Vec<DamageKind> = report.damage.iter().map(|one| one.kind).collect();
    assert_eq!((numbers, kinds), (vec![1], vec![DamageKind::UnreadableMessage]));
}
