//! Backups of a store that is being written contain everything that was durable when they began.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use midge_codec::QoS;
use midge_core::{
    Attributes, Commit, Durability, Enqueue, Identifiers, Identity, Message, MessageParts, Owner,
    SessionRecord, StoreOp, StoredDelivery, WorkerId,
};

use super::checks::NOW;
use super::exports::Scratch;
use crate::engine::{Engine, Options};
use crate::real_disk::RealDisk;
use crate::recovery::Opened;
use crate::tools::{BackupOptions, Checked, backup};

/// A Session most of whose messages come to their end soon.
const BUSY: Owner = Owner::Session(1);
/// A Session all of whose messages stay.
const AWAY: Owner = Owner::Session(2);
/// How many messages of [`BUSY`] are not finished.
const WINDOW: u64 = 40;

fn options() -> Options {
    Options { segment_bytes: 8192, checkpoint_bytes: 20_000, ..Options::default() }
}

fn open(path: &Path) -> Opened {
    Engine::open(Arc::new(RealDisk::open(path).unwrap()), options(), NOW).unwrap()
}

fn session(owner: Owner) -> StoreOp {
    let Owner::Session(number) = owner else { unreachable!("both are Sessions") };
    StoreOp::Session(Box::new(SessionRecord {
        number,
        client_id: format!("{number}").into(),
        user_name: None,
        facts: None,
        expiry_seconds: u32::MAX,
        window: None,
        will: None,
    }))
}

fn payload(sequence: u64) -> Vec<u8> {
    format!("{sequence} ").repeat(1 + sequence as usize % 60).into_bytes()
}

fn enqueue(owner: Owner, sequence: u64) -> StoreOp {
    let attributes = Attributes {
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher_session: None,
        durability: Durability::Fsync,
    };
    let publisher = Arc::new(Identity::new("publisher".into(), None));
    let payload = payload(sequence);
    let parts =
        MessageParts { topic: "t", properties: &[], payload: &payload, attributes, publisher };
    let delivery = StoredDelivery {
        message: Message::new(parts),
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Identifiers::One(NonZeroU32::MIN),
        group: None,
    };
    StoreOp::Enqueue(Box::new(Enqueue { owner, sequence, delivery, round: None }))
}

/// What is known to be durable.
#[derive(Default)]
struct Durable {
    busy: AtomicU64,
    away: AtomicU64,
}

/// Runs a broker that commits, syncs and keeps its files in order until it is told to stop.
fn work(path: &Path, durable: &Durable, stop: &AtomicBool) {
    let mut engine = open(path).engine;
    let (mut busy, mut away) = (0, 0);
    let mut number = 0;
    let mut apply = |engine: &mut Engine, ops| {
        number += 1;
        let commit = Commit { number, durability: Durability::Fsync, ops };
        engine.apply(WorkerId::new(0), commit);
    };
    apply(&mut engine, vec![session(BUSY), session(AWAY)]);
    while !stop.load(Ordering::Relaxed) {
        let mut ops = Vec::new();
        for _ in 0..5 {
            ops.push(enqueue(BUSY, busy));
            if busy >= WINDOW {
                ops.push(StoreOp::Finished { owner: BUSY, sequence: busy - WINDOW });
            }
            busy += 1;
        }
        if busy % 100 == 0 {
            ops.push(enqueue(AWAY, away));
            away += 1;
        }
        apply(&mut engine, ops);
        engine.write().unwrap();
        engine.sync().unwrap();
        durable.busy.store(busy, Ordering::SeqCst);
        durable.away.store(away, Ordering::SeqCst);
        for _ in 0..3 {
            engine.maintain().unwrap();
        }
    }
    engine.close().unwrap();
}

/// Ends the broker at the end of the test, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Starts a broker on the backup and checks that it has everything that was durable before the
/// backup began.
fn verify(path: &Path, busy: u64, away: u64) {
    let Opened { mut engine, recovered, report, .. } = open(path);
    assert_eq!(report.damage, []);
    let [first, second] = &recovered.sessions[..] else { panic!("{:?}", recovered.sessions) };
    assert!(first.queue.next >= busy, "{} of {busy}", first.queue.next);
    assert!(second.queue.next >= away, "{} of {away}", second.queue.next);
    assert_eq!((second.queue.first, second.queue.messages), (0, second.queue.next));
    assert_eq!(first.queue.next - first.queue.first, WINDOW);
    for (owner, queue) in [(BUSY, &first.queue), (AWAY, &second.queue)] {
        let (entries, _) = engine.fetch_entries(owner, 0, usize::MAX, usize::MAX);
        let expected: Vec<u64> = (queue.first..queue.next).collect();
        let found: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(found, expected);
        for entry in &entries {
            let delivery = entry.delivery.as_ref().unwrap();
            assert_eq!(delivery.message.payload(), payload(entry.sequence));
        }
    }
}

#[test]
fn a_backup_of_a_busy_store_has_everything_that_was_durable() {
    let scratch = Scratch::new();
    let data = scratch.0.join("data");
    let (durable, stop) = (Durable::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| work(&data, &durable, &stop));
        let _stop = Stop(&stop);
        while durable.away.load(Ordering::SeqCst) < 5 {
            thread::yield_now();
        }
        for count in 0..30 {
            let target = scratch.0.join(format!("backup/{count}"));
            let options = BackupOptions { may_link: count % 3 != 0 };
            let away = durable.away.load(Ordering::SeqCst);
            let busy = durable.busy.load(Ordering::SeqCst);
            let checked = backup(&data, &target, options, &mut |_| {});
            let Checked { damage, lost, .. } = checked.unwrap();
            let is_sound = damage.damage.is_empty() && lost.damage.is_empty();
            assert!(is_sound, "backup {count}: {damage:#?} {lost:#?}");
            assert_eq!(mode(&target), 0o700);
            for entry in fs::read_dir(&target).unwrap() {
                assert_eq!(mode(&entry.unwrap().path()), 0o600);
            }
            verify(&target, busy, away);
            fs::remove_dir_all(target).unwrap();
        }
    });
    let left = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("backup")).collect();
    assert!(left.is_empty(), "{left:?}");
    let opened = open(&data);
    assert_eq!(opened.report.damage, []);
}

#[test]
fn what_killed_backups_have_left_is_removed_and_what_others_are_at_stays() {
    let scratch = Scratch::new();
    let data = scratch.0.join("data");
    open(&data).engine.close().unwrap();
    let (stale, at_work) = (data.join("backup-1-0.new"), data.join("backup-2-0.new"));
    for path in [&stale, &at_work] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("journal-0000000000000001"), b"").unwrap();
    }
    let lock = fs::File::open(&at_work).unwrap();
    lock.try_lock().unwrap();
    backup(&data, &scratch.0.join("target"), BackupOptions::default(), &mut |_| {}).unwrap();
    assert!(!stale.exists() && at_work.exists());
    let opened = open(&data);
    assert_eq!(opened.report.damage, []);
}

#[test]
fn a_backup_is_made_nowhere_but_in_an_empty_directory_outside() {
    let scratch = Scratch::new();
    let data = scratch.0.join("data");
    open(&data).engine.close().unwrap();
    let refused = |target: &Path, part: &str| {
        let made = backup(&data, target, BackupOptions::default(), &mut |_| {});
        let error = made.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&data, "would be in it");
    refused(&data.join("a/b"), "would be in it");
    let target = scratch.0.join("target");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(target.join("mine"), b"x").unwrap();
    refused(&target, "is not empty (mine is in it)");
    assert_eq!(mode(&target), 0o755);
    fs::remove_file(target.join("mine")).unwrap();
    backup(&data, &target, BackupOptions::default(), &mut |_| {}).unwrap();
    refused(&target, "is not empty");
    let nothing = scratch.0.join("nothing");
    fs::create_dir(&nothing).unwrap();
    let made = backup(&nothing, &scratch.0.join("x"), BackupOptions::default(), &mut |_| {});
    assert!(made.unwrap_err().to_string().contains("there is no store in it"));
    assert!(!scratch.0.join("x").exists());
}

#[test]
fn damage_is_in_the_backup_too_and_nothing_behind_it_is_missing() {
    let scratch = Scratch::new();
    let data = scratch.0.join("data");
    let mut engine = open(&data).engine;
    let commit = |number, ops| Commit { number, durability: Durability::Fsync, ops };
    engine.apply(WorkerId::new(0), commit(1, vec![session(BUSY), session(AWAY)]));
    for sequence in 0..10 {
        engine.apply(WorkerId::new(0), commit(2, vec![enqueue(AWAY, sequence)]));
        engine.write().unwrap();
        engine.sync().unwrap();
    }
    let current = crate::segment::segment_name(engine.writer.journal.current_segment());
    drop(engine);
    let mut bytes = fs::read(data.join(&current)).unwrap();
    let needle = payload(5);
    let place = bytes.windows(needle.len()).position(|part| part == needle).unwrap();
    bytes[place] ^= 1;
    fs::write(data.join(&current), &bytes).unwrap();
    let target = scratch.0.join("target");
    let checked = backup(&data, &target, BackupOptions::default(), &mut |_| {}).unwrap();
    assert!(!checked.is_sound());
    assert_eq!(checked.damage.damage[0].file, current);
    assert_eq!(checked.content.queued_messages, 9);
}
