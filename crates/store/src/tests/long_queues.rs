//! Queues that are much longer than what is in flight.

use std::num::NonZeroU32;
use std::sync::Arc;

use midge_codec::QoS;
use midge_core::{
    Attributes, Commit, Durability, Enqueue, Identifiers, Identity, Message, MessageParts, Owner,
    SessionRecord, StoreOp, StoredDelivery, Timestamp, WorkerId,
};

use crate::engine::{Engine, Options};
use crate::recovery::Opened;
use crate::testing::{FaultyDisk, Random};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const OWNER: Owner = Owner::Session(1);
const COUNT: u64 = 100_000;

fn commit(engine: &mut Engine, ops: Vec<StoreOp>) {
    let commit = Commit { number: 1, durability: Durability::Interval, ops };
    engine.apply(WorkerId::new(0), commit);
    engine.write().unwrap();
    while engine.maintain().unwrap() {}
}

fn session() -> SessionRecord {
    SessionRecord {
        number: 1,
        client_id: "client".into(),
        user_name: None,
        facts: None,
        expiry_seconds: 1,
        window: None,
        will: None,
    }
}

fn enqueue(sequence: u64) -> StoreOp {
    let publisher = Arc::new(Identity::new("publisher".into(), None));
    let attributes = Attributes {
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher_session: None,
        durability: Durability::Interval,
    };
    let payload = format!("message {sequence}");
    let message = Message::new(MessageParts {
        topic: "a/topic",
        properties: &[],
        payload: payload.as_bytes(),
        attributes,
        publisher,
    });
    let delivery = StoredDelivery {
        message,
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Identifiers::One(NonZeroU32::MIN),
        group: None,
    };
    StoreOp::Enqueue(Box::new(Enqueue { owner: OWNER, sequence, delivery, round: None }))
}

/// Fetches everything and compares it with what should be there.
fn check(engine: &mut Engine, expected: impl Iterator<Item = u64>) {
    let mut from = 0;
    let mut found = Vec::new();
    loop {
        let (entries, next) = engine.fetch_entries(OWNER, from, 1000, usize::MAX);
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            let message = entry.delivery.unwrap().message;
            assert_eq!(message.payload(), format!("message {}", entry.sequence).as_bytes());
            found.push(entry.sequence);
        }
        from = next;
    }
    assert!(found.iter().copied().eq(expected));
}

#[test]
fn what_a_client_acknowledges_in_order_takes_one_record_and_is_known_after_a_power_cut() {
    let disk = Arc::new(FaultyDisk::new(1));
    let Opened { mut engine, .. } = Engine::open(disk.clone(), Options::default(), NOW).unwrap();
    commit(&mut engine, vec![StoreOp::Session(Box::new(session()))]);
    commit(&mut engine, (0..3000).map(enqueue).collect());
    let before = engine.writer.appended();
    let taken = (1000..2000).map(|sequence| StoreOp::Taken { owner: OWNER, sequence });
    // The second half of these is not there any more, and one is in the way of a run.
    let finished = (0..900).chain(400..900).chain([950]).chain(1000..1500);
    let finished = finished.map(|sequence| StoreOp::Finished { owner: OWNER, sequence });
    commit(&mut engine, taken.chain(finished).collect());
    let records = engine.writer.appended() - before;
    assert!(records < 100, "{records} bytes");
    engine.sync().unwrap();

    let disk = Arc::new(disk.power_cut());
    let Opened { mut engine, recovered, report, .. } =
        Engine::open(disk, Options::default(), NOW).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let queue = &recovered.sessions[0].queue;
    assert!(queue.taken.iter().copied().eq(1500..2000));
    assert_eq!((queue.first, queue.next, queue.messages), (900, 3000, 99 + 1000));
    check(&mut engine, (900..950).chain(951..1000).chain(2000..3000));
}

#[test]
fn a_queue_of_100_000_messages_costs_little_and_survives_compaction_and_restarts() {
    let disk = Arc::new(FaultyDisk::new(1));
    let options =
        Options { segment_bytes: 256 << 10, checkpoint_bytes: 4 << 20, ..Options::default() };
    let Opened { mut engine, .. } = Engine::open(disk.clone(), options, NOW).unwrap();
    commit(&mut engine, vec![StoreOp::Session(Box::new(session()))]);
    for base in (0..COUNT).step_by(1000) {
        commit(&mut engine, (base..base + 1000).map(enqueue).collect());
    }
    let queue = engine.index.owners[&OWNER].queue.as_ref().unwrap();
    let each = queue.memory_bytes() as f64 / COUNT as f64;
    assert!(each < 12.0, "{each} bytes for each message");
    check(&mut engine, 0..COUNT);

    let mut waiting: Vec<u64> = (0..COUNT).collect();
    Random::new(7).shuffle(&mut waiting);
    let finished = waiting.split_off(10_000);
    for sequences in finished.chunks(1000) {
        let finish = |sequence: &u64| StoreOp::Finished { owner: OWNER, sequence: *sequence };
        commit(&mut engine, sequences.iter().map(finish).collect());
    }
    waiting.sort_unstable();
    check(&mut engine, waiting.iter().copied());
    let usage = engine.usage();
    assert!(usage.bytes_on_disk < 6 << 20, "{usage:?}");
    engine.close().unwrap();

    let Opened { mut engine, recovered, report, .. } = Engine::open(disk, options, NOW).unwrap();
    assert_eq!(report.damage, []);
    let queue = &recovered.sessions[0].queue;
    assert_eq!((queue.messages, queue.next), (10_000, COUNT));
    check(&mut engine, waiting.iter().copied());
}
