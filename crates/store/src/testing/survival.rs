//! Opens a data directory made of any bytes, works with its content, ends, and opens it again.
//! Whatever the bytes were, nothing panics, and from the first opening on nothing is lost or comes
//! back.

use std::sync::Arc;

use midge_core::{
    Commit, Durability, GroupRecord, Kept, Message, Owner, Recovered, RecoveredQueue,
    RecoveredSession, StoreOp, Timestamp, WorkerId,
};

use super::plain::{describe, fetch_all};
use super::samples::{delivery, enqueue, message, session, subscription};
use super::{Directory, End, FaultyDisk, Mode, Random};
use crate::engine::{Engine, Options};
use crate::error::OpenError;
use crate::recovery::{Opened, recovered_queue};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SEGMENT_BYTES: u64 = 1024;
/// After this many slices, maintenance is taken to have no end.
const SLICES_MAX: usize = 10_000;

/// Does all that with the [`Directory`] that `data` encodes.
///
/// # Panics
///
/// If the store does not keep its promises.
pub fn check_survival(data: &[u8]) {
    let directory = Directory::from_bytes(data);
    let options = options(directory.mode);
    let disk = Arc::new(directory.to_disk());
    let Opened { engine, recovered, report: before, .. } =
        match Engine::open(disk.clone(), options, NOW) {
            Ok(opened) => opened,
            Err(error) => return check_refusal(&error, &disk),
        };
    check_numbers(&recovered);
    let mut life = Life { engine, recovered, random: Random::new(2) };
    life.work();
    let left = life.left();
    let disk = life.end(directory.mode.end, &disk);
    let opened = Engine::open(Arc::new(disk), options, NOW);
    let Opened { mut engine, recovered, report, .. } =
        opened.unwrap_or_else(|error| panic!("the second opening fails: {error}"));
    let found = describe(&recovered, &mut engine, &mut Random::new(3));
    let differs = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).take(20).cloned().collect()
    };
    let (new, missing) = (differs(&found, &left), differs(&left, &found));
    assert!(found == left, "new: {new:#?}\nmissing: {missing:#?}\n{before:#?}\n{report:#?}");
}

fn options(mode: Mode) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        checkpoint_bytes: if mode.checkpoints { 256 } else { 1 << 20 },
        bytes_max: if mode.limit { 16 * SEGMENT_BYTES } else { u64::MAX },
        ..Options::default()
    }
}

/// Checks that a refusal has words and that files of a newer version are left alone.
fn check_refusal(error: &OpenError, disk: &FaultyDisk) {
    assert!(!error.to_string().is_empty());
    if matches!(error, OpenError::NewerFormat { .. }) {
        assert_eq!(disk.operations(), 0, "{error}");
    }
}

/// Checks that the number to be used next is not in use.
fn check_numbers(recovered: &Recovered) {
    let sessions = recovered.sessions.iter().map(|session| session.record.number);
    let groups = recovered.groups.iter().map(|(group, _)| group.number);
    let kept = recovered.kept.iter().map(|(number, _, _)| *number);
    let largest = sessions.chain(groups).chain(kept).max();
    let next = recovered.next_number;
    assert!(largest.is_none_or(|largest| largest < next || next == u64::MAX), "{largest:?} {next}");
}

/// An open store, with everything that it said it has kept.
struct Life {
    engine: Engine,
    recovered: Recovered,
    random: Random,
}

impl Life {
    /// Fetches everything, adds a little of everything, and finishes the oldest messages.
    fn work(&mut self) {
        let owners = self.owners();
        let mut expected = Vec::new();
        for owner in &owners {
            expected.push(fetch_all(&mut self.engine, *owner, &mut self.random));
        }
        let message = message(b"payload");
        let mut ops = self.add(&message);
        for (owner, lines) in owners.iter().zip(&mut expected) {
            let queue = self.queue(*owner);
            let oldest = self.engine.fetch_entries(*owner, 0, 1, 0).0;
            if let Some(oldest) = oldest.first() {
                lines.remove(0);
                ops.push(StoreOp::Finished { owner: *owner, sequence: oldest.sequence });
            }
            ops.extend(queue.taken.first().map(|&sequence| {
                let owner = *owner;
                StoreOp::Finished { owner, sequence }
            }));
            if queue.next < u64::MAX {
                ops.push(enqueue(*owner, queue.next, &message));
                let text = super::plain::delivery(&delivery(&message));
                lines.push(format!("{owner:?} {} {text}", queue.next));
            }
        }
        self.commit(ops);
        self.maintain();
        self.commit(vec![StoreOp::Ended(Owner::Session(u64::MAX))]);
        for (owner, expected) in owners.iter().zip(expected) {
            let found = fetch_all(&mut self.engine, *owner, &mut self.random);
            assert_eq!(found, expected, "{owner:?} {:#?}", self.engine.take_damage());
        }
    }

    fn owners(&self) -> Vec<Owner> {
        let sessions = self.recovered.sessions.iter().map(|one| one.record.number);
        let groups = self.recovered.groups.iter().map(|(group, _)| group.number);
        // The Session that the last commit ends is not to be compared.
        let sessions = sessions.filter(|number| *number != u64::MAX).map(Owner::Session);
        sessions.chain(groups.map(Owner::Group)).collect()
    }

    /// Returns operations for a new Session with a subscription and a message, a shared
    /// subscription, and a retained message. Also adds all of them to what the next opening has to
    /// find.
    fn add(&mut self, message: &Message) -> Vec<StoreOp> {
        let number = self.recovered.next_number;
        if number > u64::MAX - 3 {
            return Vec::new();
        }
        let record = session(number);
        let subscription = subscription("a/+");
        let group = GroupRecord { number: number + 1, name: "g".into(), filter: "a".into() };
        let queue = RecoveredQueue { sent_before: u64::MAX, ..RecoveredQueue::default() };
        self.recovered.next_number = number + 3;
        self.recovered.sessions.push(Box::new(RecoveredSession {
            record: record.clone(),
            detached_at: None,
            subscriptions: vec![subscription.clone()],
            awaiting_release: Vec::new(),
            queue: queue.clone(),
        }));
        self.recovered.groups.push((group.clone(), queue));
        self.recovered.kept.push((number + 2, Kept::Retained, message.clone()));
        vec![
            StoreOp::Session(Box::new(record)),
            StoreOp::Subscribed { session: number, subscription },
            enqueue(Owner::Session(number), 0, message),
            StoreOp::Group(group),
            StoreOp::Keep { number: number + 2, what: Kept::Retained, message: message.clone() },
        ]
    }

    fn commit(&mut self, ops: Vec<StoreOp>) {
        let commit = Commit { number: 1, durability: Durability::Fsync, ops };
        self.engine.apply(WorkerId::new(0), commit);
        self.engine.write().expect("there is room");
        self.engine.sync().expect("the disk works");
    }

    fn maintain(&mut self) {
        let mut slices = 0;
        while self.engine.maintain().expect("the disk works") {
            slices += 1;
            assert!(slices < SLICES_MAX, "maintenance does not come to its end");
        }
    }

    fn queue(&self, owner: Owner) -> RecoveredQueue {
        recovered_queue(&self.engine.index.owners[&owner])
    }

    /// Returns what the next opening has to find.
    fn left(&mut self) -> Vec<String> {
        self.recovered.sessions.retain(|session| session.record.number != u64::MAX);
        for index in 0..self.recovered.sessions.len() {
            let owner = Owner::Session(self.recovered.sessions[index].record.number);
            self.recovered.sessions[index].queue = self.queue(owner);
        }
        for index in 0..self.recovered.groups.len() {
            let owner = Owner::Group(self.recovered.groups[index].0.number);
            self.recovered.groups[index].1 = self.queue(owner);
        }
        describe(&self.recovered, &mut self.engine, &mut self.random)
    }

    /// Ends this life; returns the disk as the next life finds it.
    fn end(self, end: End, disk: &FaultyDisk) -> FaultyDisk {
        match end {
            End::Close => {
                self.engine.close().expect("there is room");
                disk.snapshot()
            }
            End::Kill => disk.snapshot(),
            End::PowerCut => disk.power_cut(),
        }
    }
}
