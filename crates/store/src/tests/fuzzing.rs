//! The fuzz target `store` without a fuzzer: its seeds, and thousands of random changes of them.

use std::collections::{BTreeMap, HashSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs, panic};

use midge_codec::PacketIdentifier;
use midge_core::{
    Commit, Durability, Enqueue, GroupRecord, Identifiers, Kept, Owner, Round, SessionRecord,
    StoreOp, StoredDelivery, Timestamp, WillRecord, WorkerId,
};

use crate::engine::{Engine, Options};
use crate::segment::{HEADER_BYTES, body_range};
use crate::testing::samples::{delivery, enqueue, message, session, subscription};
use crate::testing::{Directory, End, FaultyDisk, Mode, Random, check_survival};

/// The environment variable that makes the test write the seeds; it may have any value.
const WRITE: &str = "MIDGE_WRITE_SEEDS";
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const OPTIONS: Options = Options {
    segment_bytes: 1024,
    checkpoint_bytes: u64::MAX,
    bytes_max: u64::MAX,
    readers: NonZeroUsize::new(3).expect("it is not 0"),
};
const CHANGED: u64 = 1_000;
const CLOSE: Mode = Mode { reseal: false, limit: false, checkpoints: false, end: End::Close };
const KILL: Mode = Mode { end: End::Kill, ..CLOSE };
const POWER_CUT: Mode = Mode { end: End::PowerCut, ..CLOSE };
const LIMITED: Mode = Mode { limit: true, ..KILL };

/// A store that is open.
struct Store {
    disk: Arc<FaultyDisk>,
    engine: Engine,
}

impl Store {
    fn new() -> Self {
        let disk = Arc::new(FaultyDisk::new(1));
        let engine = Engine::open(disk.clone(), OPTIONS, NOW).unwrap().engine;
        Self { disk, engine }
    }

    /// Makes a store with every kind of operation, `rounds` times.
    fn with_rounds(rounds: u64) -> Self {
        let mut store = Self::new();
        (0..rounds).for_each(|round| store.round(round));
        store
    }

    /// Makes a store with a checkpoint and records behind it.
    fn with_checkpoint() -> Self {
        let mut store = Self::with_rounds(1);
        store.engine.write_checkpoint_at_once().unwrap();
        store.round(1);
        store
    }

    /// Makes a store with two checkpoints, an image of subscriptions and records behind them.
    fn with_checkpoints() -> Self {
        let mut store = Self::with_checkpoint();
        let segment = store.engine.writer.journal.segments()[0];
        store.engine.start_compaction(segment);
        while store.engine.continue_compaction().unwrap() {}
        store.engine.write_checkpoint_at_once().unwrap();
        store.round(2);
        store
    }

    /// Makes a store with a queue so long that most of it is packed.
    fn with_long_queue() -> Self {
        let mut store = Self::new();
        let message = message(b"short");
        let queue = (0..300).map(|sequence| enqueue(Owner::Session(1), sequence, &message));
        let ops = [StoreOp::Session(Box::new(session(1)))].into_iter().chain(queue);
        store.commit(ops.collect());
        store
    }

    /// Commits every kind of operation.
    fn round(&mut self, round: u64) {
        let number = 10 * round;
        let (session, group, ended) =
            (Owner::Session(number), Owner::Group(number + 1), Owner::Session(number + 2));
        self.commit(Self::begin(number));
        let (first, second) = (message(b"first"), message(&[7; 40]));
        let in_round = Round { worker: WorkerId::new(1), number: round + 1 };
        let enqueue_in_round = |owner, sequence| {
            let delivery = StoredDelivery {
                identifiers: Identifiers::Many([NonZeroU32::MIN, NonZeroU32::MAX].into()),
                group: Some(number + 1),
                ..delivery(&second)
            };
            let round = Some(in_round);
            StoreOp::Enqueue(Box::new(Enqueue { owner, sequence, delivery, round }))
        };
        self.commit(vec![
            enqueue(session, 0, &first),
            enqueue(session, 1, &first),
            enqueue(group, 0, &first),
            enqueue(ended, 0, &first),
            enqueue_in_round(session, 2),
            enqueue_in_round(group, 1),
            StoreOp::Keep { number: number + 3, what: Kept::Retained, message: first },
            StoreOp::Keep { number: number + 4, what: Kept::Delayed(NOW), message: second.clone() },
        ]);
        let id = |id| PacketIdentifier::new(id).unwrap();
        self.commit(vec![
            StoreOp::Taken { owner: session, sequence: 1 },
            StoreOp::Finished { owner: session, sequence: 0 },
            StoreOp::AwaitRelease { session: number, packet_id: id(1) },
            StoreOp::AwaitRelease { session: number, packet_id: id(2) },
            StoreOp::Released { session: number, packet_id: id(1) },
            StoreOp::Confirm(in_round),
            StoreOp::Unkeep { number: number + 3 },
            StoreOp::WillGone { session: number },
            StoreOp::Detached { session: number, at: NOW, sent_before: 2 },
            StoreOp::Ended(ended),
        ]);
        self.commit(vec![enqueue_in_round(session, 3)]);
        self.commit((4..8).map(|it| enqueue(session, it, &message(b"later"))).collect());
        self.commit(vec![
            StoreOp::Taken { owner: session, sequence: 4 },
            StoreOp::Taken { owner: session, sequence: 5 },
            StoreOp::Finished { owner: session, sequence: 6 },
            StoreOp::Finished { owner: session, sequence: 7 },
        ]);
    }

    /// Returns operations that begin Sessions with subscriptions and Will Messages, and a shared
    /// subscription.
    fn begin(number: u64) -> Vec<StoreOp> {
        let will = |expiry_seconds| {
            Some(WillRecord { message: message(b"will"), delay_seconds: 3, expiry_seconds })
        };
        let user_name = Some("user".into());
        let first = SessionRecord { will: will(Some(5)), user_name, ..session(number) };
        let second = SessionRecord { will: will(None), ..session(number + 2) };
        let group = GroupRecord { number: number + 1, name: "share".into(), filter: "a".into() };
        let subscribed = |filter| {
            let subscription = subscription(filter);
            StoreOp::Subscribed { session: number, subscription }
        };
        vec![
            StoreOp::Session(Box::new(first)),
            StoreOp::Session(Box::new(second)),
            StoreOp::Group(group),
            subscribed("a/#"),
            subscribed("$share/share/a"),
            StoreOp::Unsubscribed { session: number, filter: "a/#".into() },
        ]
    }

    fn commit(&mut self, ops: Vec<StoreOp>) {
        let commit = Commit { number: 1, durability: Durability::Fsync, ops };
        self.engine.apply(WorkerId::new(0), commit);
        self.engine.write().unwrap();
        self.engine.sync().unwrap();
    }

    fn close(self) -> FaultyDisk {
        self.engine.close().unwrap();
        self.disk.snapshot()
    }

    /// Ends the store so that the last bytes written are missing.
    fn tear(self) -> FaultyDisk {
        let segment = self.disk.names().into_iter().rfind(|name| name.starts_with("journal-"));
        let segment = segment.unwrap();
        let mut bytes = self.disk.read(&segment).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 30..].fill(0);
        self.disk.overwrite(&segment, &bytes);
        self.disk.snapshot()
    }

    /// Ends the store with the next segment ready, but not in use.
    fn keep_spare(mut self) -> FaultyDisk {
        while self.engine.maintain().unwrap() {}
        self.disk.snapshot()
    }

    fn without_checkpoints(self) -> FaultyDisk {
        let bytes = Directory::of(&self.disk, CLOSE);
        let files = bytes.files.into_iter().filter(|(name, _)| !name.starts_with("checkpoint-"));
        Directory { files: files.collect(), ..bytes }.to_disk()
    }
}

/// Makes a store in which a segment and a checkpoint were set aside.
fn set_aside() -> FaultyDisk {
    let disk = Store::with_checkpoints().disk;
    let names = disk.names();
    let newest = |prefix| names.iter().rfind(|name: &&String| name.starts_with(prefix)).unwrap();
    disk.flip_bit(newest("checkpoint-"), 300).unwrap();
    disk.overwrite(newest("journal-"), &[1; 1024]);
    drop(Engine::open(disk.clone(), OPTIONS, NOW).unwrap());
    disk.snapshot()
}

fn stores() -> [(&'static str, FaultyDisk, Mode); 9] {
    [
        ("new", Store::new().disk.snapshot(), CLOSE),
        ("one-checkpoint", Store::with_rounds(1).disk.snapshot(), KILL),
        ("two-checkpoints", Store::with_checkpoints().disk.snapshot(), POWER_CUT),
        ("no-checkpoint", Store::with_checkpoints().without_checkpoints(), CLOSE),
        ("closed", Store::with_rounds(2).close(), LIMITED),
        ("torn-tail", Store::with_rounds(1).tear(), KILL),
        ("spare", Store::with_rounds(1).keep_spare(), POWER_CUT),
        ("long-queue", Store::with_long_queue().close(), LIMITED),
        ("set-aside", set_aside(), CLOSE),
    ]
}

fn sealed(mode: Mode) -> Mode {
    Mode { reseal: true, checkpoints: true, ..mode }
}

/// Returns what fuzzing starts from, by name: each store as it is, and in parts.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (name, disk, mode) in stores() {
        seeds.insert(name.to_owned(), Directory::of(&disk, mode).to_bytes());
        seeds.insert(format!("{name}-parts"), Directory::of(&disk, sealed(mode)).to_bytes());
    }
    seeds
}

#[test]
fn parts_that_were_not_changed_are_sealed_as_they_were() {
    for (name, disk, mode) in stores() {
        let directory = Directory::of(&disk, sealed(mode));
        let found = Directory::from_bytes(&directory.to_bytes());
        // A torn tail is not encoded, and files set aside get other names.
        let is_whole = name != "torn-tail" && name != "set-aside";
        assert!(found == directory || !is_whole, "{name}");
        let names = directory.files.keys();
        let checkpoints = names.filter(|name| name.starts_with("checkpoint-")).count();
        let expected = match name {
            "no-checkpoint" => 0,
            "two-checkpoints" | "closed" | "long-queue" => 2,
            "set-aside" => 3,
            _ => 1,
        };
        assert_eq!(checkpoints, expected, "{name}");
    }
}

/// Changes an input at some place.
fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = input.len().min(at + random.within(1..9));
    match random.below(8) {
        0..=2 => input[at..end.min(at + 1)].fill(random.next() as u8),
        3 => input[at..end].fill([0, 0xFF][random.below(2)]),
        4 => input[at..end.min(at + 1)].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
        5 => input.insert(at, random.next() as u8),
        6 => drop(input.drain(at..end)),
        _ => {
            // The rest comes from another seed.
            input.truncate(at);
            input.extend(other.iter().skip(at));
        }
    }
}

/// Checks an input; prints it if that fails.
fn check(input: &[u8]) {
    let result = panic::catch_unwind(|| check_survival(input));
    let hex = || input.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(result.is_ok(), "the input is {}", hex());
}

#[test]
fn changed_data_directories_are_survived() {
    let seeds: Vec<Vec<u8>> = seeds().into_values().collect();
    seeds.iter().for_each(|input| check(input));
    for number in 0..CHANGED {
        let mut random = Random::new(number);
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..random.within(1..6) {
            let other = &seeds[random.below(seeds.len())];
            change(&mut input, other, &mut random);
        }
        check(&input);
    }
}

/// Returns the tags of all records in the segments.
fn tags(directory: &Directory) -> HashSet<u8> {
    let mut tags = HashSet::new();
    for (name, bytes) in &directory.files {
        let mut at = if name.starts_with("journal-") { HEADER_BYTES } else { bytes.len() };
        while let Some(body) = body_range(bytes, at) {
            tags.insert(bytes[body.start - 1]);
            at = body.end;
        }
    }
    tags
}

#[test]
fn seeds_have_every_kind_of_record() {
    let mut found: HashSet<u8> = HashSet::new();
    for input in seeds().into_values() {
        found.extend(tags(&Directory::from_bytes(&input)));
    }
    for tag in (16..=33).chain([36, 38, 39]) {
        assert!(found.contains(&tag), "no seed has a record with the tag {tag}");
    }
}

/// The seeds on disk are not made anew with every change of the store: this way the test shows
/// whether those of an earlier version still open.
#[test]
fn seeds_on_disk_are_stores_that_open_without_a_loss() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/store");
    let made = seeds();
    if env::var_os(WRITE).is_some() {
        drop(fs::remove_dir_all(&root));
        fs::create_dir_all(&root).unwrap();
        for (name, bytes) in &made {
            fs::write(root.join(name), bytes).unwrap();
        }
    }
    for name in made.keys() {
        let input = fs::read(root.join(name));
        let input = input.unwrap_or_else(|error| {
            panic!("fuzz/seeds/store/{name}: {error}; run this test with {WRITE}=1")
        });
        check(&input);
        let disk = Arc::new(Directory::from_bytes(&input).to_disk());
        let report = Engine::open(disk, OPTIONS, NOW).unwrap().report;
        let is_damaged = name.starts_with("set-aside") || name.contains("no-checkpoint");
        assert!(report.is_sound() || is_damaged, "{name}: {:#?}", report.damage);
    }
}

/// Each file was found by the fuzzer, and the store did not survive it once.
#[test]
fn data_directories_that_were_not_survived_are() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions/store");
    let files: Vec<_> = fs::read_dir(root).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|file| check(&fs::read(file).unwrap()));
}
