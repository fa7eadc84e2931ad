//! Limits of bytes and full devices: new messages have to wait, acknowledgements go on, nothing is
//! lost, and room comes back.

use std::collections::VecDeque;
use std::sync::Arc;

use midge_codec::QoS;
use midge_core::{
    Commit, Durability, Enqueue, Identifiers, Owner, SessionRecord, StoreOp, StoredDelivery,
    Timestamp, WorkerId,
};

use super::generator::Generator;
use crate::engine::{Engine, Options};
use crate::recovery::Opened;
use crate::testing::plain::fetch_all;
use crate::testing::{FaultyDisk, Random};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const OWNER: Owner = Owner::Session(1);

struct Broker {
    disk: Arc<FaultyDisk>,
    options: Options,
    engine: Engine,
    generator: Generator,
    waiting: VecDeque<u64>,
    next: u64,
}

impl Broker {
    fn new(seed: u64, options: Options, disk: FaultyDisk) -> Self {
        let disk = Arc::new(disk);
        let Opened { engine, .. } = Engine::open(disk.clone(), options, NOW).unwrap();
        let generator = Generator::new(seed);
        let mut broker =
            Self { disk, options, engine, generator, waiting: VecDeque::new(), next: 0 };
        let record = SessionRecord {
            number: 1,
            client_id: "client".into(),
            user_name: None,
            facts: None,
            expiry_seconds: 10,
            window: None,
            will: None,
        };
        broker.commit(StoreOp::Session(Box::new(record)));
        broker
    }

    fn commit(&mut self, op: StoreOp) {
        let commit = Commit { number: 1, durability: Durability::Fsync, ops: vec![op] };
        self.engine.apply(WorkerId::new(0), commit);
        self.engine.write().unwrap();
        self.engine.sync().unwrap();
    }

    fn maintain(&mut self) {
        for _ in 0..1000 {
            if !self.engine.maintain().unwrap() {
                return;
            }
        }
        panic!("there is no end to it: {:?}", self.engine.usage());
    }

    fn enqueue(&mut self) {
        let delivery = StoredDelivery {
            message: self.generator.message_of(100),
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: Identifiers::None,
            group: None,
        };
        let sequence = self.next;
        let enqueue = Enqueue { owner: OWNER, sequence, delivery, round: None };
        self.commit(StoreOp::Enqueue(Box::new(enqueue)));
        self.waiting.push_back(sequence);
        self.next += 1;
    }

    fn finish(&mut self, index: usize) {
        if let Some(sequence) = self.waiting.remove(index) {
            self.commit(StoreOp::Finished { owner: OWNER, sequence });
        }
    }

    fn fill(&mut self) -> usize {
        for count in 0..100_000 {
            self.maintain();
            if self.engine.is_full() {
                return count;
            }
            self.enqueue();
        }
        panic!("it is never full");
    }

    fn check(&mut self) {
        let messages = fetch_all(&mut self.engine, OWNER, &mut Random::new(1));
        assert_eq!(messages.len(), self.waiting.len());
        for (line, sequence) in messages.iter().zip(&self.waiting) {
            assert!(line.starts_with(&format!("{OWNER:?} {sequence} ")), "{line}");
            assert!(!line.ends_with("damaged"));
        }
        let disk = Arc::new(self.disk.power_cut());
        disk.set_capacity(u64::MAX);
        let Opened { mut engine, report, .. } = Engine::open(disk, self.options, NOW).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        assert_eq!(fetch_all(&mut engine, OWNER, &mut Random::new(1)), messages);
    }

    /// Fills the store, then lets messages come to their end until it takes new ones again.
    fn cycle(&mut self, in_order: bool) {
        self.fill();
        self.check();
        let mut finished = 0;
        while self.engine.is_full() {
            assert!(!self.waiting.is_empty(), "no room came back: {:?}", self.engine.usage());
            let last = self.waiting.len();
            let index = if in_order { 0 } else { self.generator.random.below(last) };
            self.finish(index);
            self.maintain();
            finished += 1;
        }
        assert!(finished > 0);
        self.check();
    }
}

#[test]
fn at_the_limit_of_bytes_acknowledgements_go_on_and_room_comes_back() {
    for seed in 0..6 {
        let options = Options {
            segment_bytes: 4096,
            checkpoint_bytes: 16_384,
            bytes_max: 80 * 1024,
            ..Options::default()
        };
        let mut broker = Broker::new(seed, options, FaultyDisk::new(seed));
        for _ in 0..5 {
            broker.cycle(seed % 2 == 0);
            assert!(broker.engine.bytes_used() <= options.bytes_max);
        }
    }
}

#[test]
fn on_a_full_device_acknowledgements_go_on_and_room_comes_back() {
    for seed in 0..6 {
        let options =
            Options { segment_bytes: 4096, checkpoint_bytes: 16_384, ..Options::default() };
        let disk = FaultyDisk::new(seed);
        disk.set_capacity(90_000);
        let mut broker = Broker::new(seed, options, disk);
        for _ in 0..5 {
            broker.cycle(seed % 2 == 0);
        }
    }
}

#[test]
fn a_store_that_is_drained_in_order_does_not_grow() {
    let options = Options { segment_bytes: 4096, checkpoint_bytes: 16_384, ..Options::default() };
    let mut broker = Broker::new(1, options, FaultyDisk::new(1));
    for _ in 0..3000 {
        broker.enqueue();
        if broker.waiting.len() > 5 {
            broker.finish(0);
        }
        broker.maintain();
    }
    assert!(broker.engine.usage().bytes_on_disk < 80_000, "{:?}", broker.engine.usage());
    broker.check();
}

#[test]
fn three_segments_are_enough_for_messages() {
    let options = |bytes_max| Options { segment_bytes: 65_536, bytes_max, ..Options::default() };
    let enough = options(3 * 65_536);
    assert!(enough.have_room_for_messages());
    Broker::new(1, enough, FaultyDisk::new(1)).cycle(true);
    // Three quarters of it are less than two segments.
    let too_little = options(8 * 65_536 / 3 - 8);
    assert!(!too_little.have_room_for_messages());
    assert_eq!(Broker::new(1, too_little, FaultyDisk::new(1)).fill(), 0);
}

#[test]
fn a_first_checkpoint_that_had_no_room_is_made_up_for() {
    let options = Options { segment_bytes: 4096, ..Options::default() };
    let disk = FaultyDisk::new(1);
    disk.set_capacity(options.segment_bytes);
    let mut broker = Broker::new(1, options, disk);
    assert!(broker.engine.checkpoints.kept.is_empty(), "there is no room for one");
    broker.maintain();
    assert!(broker.engine.checkpoints.kept.is_empty(), "there is still none");
    broker.disk.set_capacity(u64::MAX);
    // The checkpoint is tried again when a sixteenth of a segment was written.
    for _ in 0..4 {
        broker.enqueue();
    }
    broker.maintain();
    assert_eq!(broker.engine.checkpoints.kept.len(), 1);
    broker.check();
}
