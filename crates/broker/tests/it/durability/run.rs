//! One run: a broker with publishers and subscribers, an accident at some moment, the broker again,
//! and what has become of everything acknowledged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{Broker, Durability, Limits, ListenerAddress, ProtocolVersion, QoS, Storage};
use midge_codec::PacketType;
use midge_store::testing::{FaultyDisk, Random};

use super::gate::{GatedDisk, Pace};
use super::outcome::{Evidence, Outcome};
use super::publisher::{Publisher, Settler, publish};
use super::scene::{Kind, Ledger, Link, Promise, Scene, Who};
use super::subscriber::{MARK, Subscriber};
use crate::client::Received;
use crate::support::{DEADLINE, builder, until, usage};

/// What a broker promises, and who connects to it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The durability of the whole broker.
    pub(crate) durability: Durability,
    /// The durability of each listener.
    pub(crate) listeners: Vec<Option<Durability>>,
    pub(crate) topics: Vec<(&'static str, Durability)>,
    /// Groups of publishers: their listener, their topic, and what they are promised.
    pub(crate) groups: Vec<(usize, &'static str, Durability)>,
    /// How many publishers of MQTT 5, and as many of 3.1.1, each group has.
    pub(crate) publishers: usize,
    /// How long syncs take, in addition to what the machine takes.
    pub(crate) pace: Pace,
}

/// What happens to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Accident {
    /// The process ends between two instructions.
    Kill,
    /// Each unsynced write is lost, torn, or there.
    PowerCut,
    /// The device accepts no more bytes for a while.
    DiskFull,
    /// The process is killed while the device is full.
    KillWhenFull,
    /// The device reports that it could not write what it had accepted.
    FailedSync,
}

/// How long a write that is promised as `interval` may take to reach the device.
pub(crate) const INTERVAL: Duration = Duration::from_millis(150);
/// How long publishers publish at least in a run that has to last long.
const LONG: Duration = Duration::from_millis(900);

struct Running {
    broker: Broker,
    disk: GatedDisk,
    failed: Receiver<String>,
}

struct Run<'r> {
    setup: &'r Setup,
    accident: Accident,
    random: Random,
    workers: usize,
    segment_bytes: u64,
    ledger: Arc<Ledger>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    settler: Settler,
}

/// Tells which run it was if it fails.
struct Told<'r>(&'r Setup, Accident, u64);

impl Drop for Told<'_> {
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        let Self(setup, accident, seed) = self;
        if thread::panicking() {
            eprintln!("in the run with {accident:?}, seed {seed}, {setup:?}");
        }
    }
}

/// Lets the accident happen and returns what was lost.
pub(crate) fn run(setup: &Setup, accident: Accident, seed: u64) -> Outcome {
    let _told = Told(setup, accident, seed);
    let mut random = Random::new(seed);
    let mut run = Run {
        setup,
        accident,
        workers: 1 + random.below(2),
        segment_bytes: [32, 64, 256][random.below(3)] << 10,
        random,
        ledger: Arc::new(Ledger::default()),
        publishers: publishers(setup),
        subscribers: subscribers(setup),
        settler: Settler::new(),
    };
    let first = run.start(FaultyDisk::new(seed));
    run.subscribe(&first);
    let mut evidence = run.publish_until_accident(&first);
    evidence.promised = run.ledger.len();
    let second = run.start_again(first, &mut evidence);
    run.find(&second, &mut evidence);
    Outcome::of(setup, &run.ledger.promises(), &run.subscribers, &evidence)
}

fn publishers(setup: &Setup) -> Vec<Publisher> {
    let mut publishers = Vec::new();
    for (group, &(listener, topic, durability)) in setup.groups.iter().enumerate() {
        for number in 0..setup.publishers * 2 {
            let is_v5 = number % 2 == 0;
            let version = if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
            let mut who = Who::new(format!("publisher-{group}-{number}"), version);
            who.listener = listener;
            let is_synced = durability == Durability::Fsync;
            publishers.push(Publisher::new(who, group, topic, is_synced));
        }
    }
    publishers
}

fn subscribers(setup: &Setup) -> Vec<Subscriber> {
    let mut filters: Vec<_> = setup.groups.iter().map(|(_, topic, _)| *topic).collect();
    filters.push("marks");
    let with_wills = [&filters[..], &["wills/+"]].concat();
    let (v5, v3) = (ProtocolVersion::V5, ProtocolVersion::V3_1_1);
    vec![
        Subscriber::new("offline-v5", v5, &with_wills, false),
        Subscriber::new("offline-v3", v3, &filters, false),
        Subscriber::new("online-v5", v5, &filters, true),
        Subscriber::new("online-v3", v3, &filters, true),
    ]
}

impl Run<'_> {
    fn start(&self, disk: FaultyDisk) -> Running {
        let disk = GatedDisk::new(disk);
        disk.slow_down(self.setup.pace);
        let mut storage = Storage::on_disk(Arc::new(disk.clone()));
        storage.interval = INTERVAL;
        storage.segment_bytes = self.segment_bytes;
        storage.checkpoint_bytes = 4 * self.segment_bytes;
        let limits =
            Limits { queue_messages_max: 1_000_000, queue_bytes_max: 1 << 30, ..Limits::default() };
        let (tell, failed) = mpsc::channel();
        let mut builder = builder(self.workers)
            .limits(limits)
            .storage(storage)
            .durability(self.setup.durability)
            .on_failure(move |error| drop(tell.send(error.to_string())));
        for (index, durability) in self.setup.listeners.iter().enumerate() {
            if index > 0 {
                builder = builder.listen("127.0.0.1:0");
            }
            if let Some(durability) = durability {
                builder = builder.listener_durability(index, *durability);
            }
        }
        for (filter, durability) in &self.setup.topics {
            builder = builder.topic_durability(*filter, *durability);
        }
        Running { broker: builder.start().unwrap(), disk, failed }
    }

    fn scene(&self, running: &Running) -> Scene {
        // In a run that has to last long, a slower pace keeps the number of messages down.
        let is_slow = self.is_slow();
        let pace = Duration::from_millis(if is_slow { 3 } else { 1 });
        let addresses = running.broker.local_addresses().iter();
        let addresses: Vec<_> = addresses.filter_map(ListenerAddress::network).collect();
        Scene::new(&addresses, &self.ledger, pace)
    }

    /// Returns whether the run has to last long, because some losses only show after a while.
    fn is_slow(&self) -> bool {
        let is_interval = |group: &(_, _, Durability)| group.2 == Durability::Interval;
        let loses = [Accident::PowerCut, Accident::FailedSync].contains(&self.accident);
        loses && self.setup.groups.iter().any(is_interval)
    }

    /// Connects and subscribes all subscribers, then cuts all connections.
    fn subscribe(&mut self, running: &Running) {
        let scene = self.scene(running);
        for subscriber in &mut self.subscribers {
            subscriber.connect(&scene).unwrap();
        }
        Settler::prepare(&scene);
        scene.pull_cables();
        until("the subscribers are gone", || usage(&running.broker).connections == 0);
        if self.accident == Accident::FailedSync {
            // The sync that fails must not be one from the broker's start.
            let is_idle = |names: &[String]| names.iter().filter(|n| n.len() == 24).count() > 1;
            until("there is a spare", || is_idle(&running.disk.faults().names()));
        }
    }

    fn publish_until_accident(&mut self, running: &Running) -> Evidence {
        let scene = self.scene(running);
        let ledger = Arc::clone(&self.ledger);
        let begun = Instant::now();
        let some =
            (200 + self.random.below(400)) / if self.setup.pace != Pace::default() { 4 } else { 1 };
        let (pulse, accident, is_slow) = (Pulse::default(), self.accident, self.is_slow());
        let Self { publishers, subscribers, settler, setup, .. } = self;
        let is_mixed = setup.groups.len() > 1;
        thread::scope(|scope| {
            for subscriber in subscribers.iter_mut().filter(|subscriber| subscriber.is_online) {
                let mut link = subscriber.connect(&scene).unwrap();
                scope.spawn(move || subscriber.run(&mut link));
            }
            for publisher in publishers {
                scope.spawn(|| publisher.run(&scene));
            }
            scope.spawn(|| settler.run(&scene));
            scope.spawn(|| pulse.beat(&scene));
            let long = if is_slow { LONG } else { Duration::ZERO };
            ledger.wait_for_more(some, begun + long);
            if is_mixed {
                // Otherwise a sync for other publishers could hide what is not synced.
                scene.is_quiet.store(true, Ordering::SeqCst);
                ledger.wait_for_more(60, Instant::now() + INTERVAL);
            }
            let mut evidence = happen(accident, setup, running, &scene);
            evidence.lateness = pulse.worst();
            scene.pull_cables();
            evidence
        })
    }

    /// Starts the broker that follows the accident, or returns the same one if it survives.
    fn start_again(&mut self, first: Running, evidence: &mut Evidence) -> Running {
        let Running { broker, disk, failed } = first;
        let faults = disk.faults();
        faults.set_capacity(u64::MAX);
        let found = match self.accident {
            Accident::Kill | Accident::KillWhenFull => faults.snapshot(),
            Accident::PowerCut => faults.power_cut(),
            // The disk is found as it is, or as it is after the machine has restarted.
            Accident::FailedSync if evidence.has_ended => match self.random.one_in(2) {
                true => faults.snapshot(),
                false => faults.power_cut(),
            },
            _ => return Running { broker, disk, failed },
        };
        evidence.has_ended = true;
        disk.break_off();
        drop(broker);
        self.start(found)
    }

    /// Connects all Clients again and notes what they find.
    fn find(&mut self, running: &Running, evidence: &mut Evidence) {
        // Usage is asked for twice: the Wills of gone Clients are due in a worker's first turn.
        until("all are gone", || usage(&running.broker).connections == 0);
        let retained = usage(&running.broker).retained_messages;
        let scene = self.scene(running);
        evidence.retained = find_retained(&scene, retained);
        evidence.back = find_back(&self.ledger.promises(), &scene);
        let ledger = Arc::clone(&self.ledger);
        let Self { publishers, subscribers, settler, .. } = self;
        thread::scope(|scope| {
            for subscriber in subscribers {
                subscriber.is_after = true;
                let mut link = subscriber.connect(&scene).unwrap();
                scope.spawn(move || subscriber.run(&mut link));
            }
            let publishing: Vec<_> =
                publishers.iter_mut().map(|it| scope.spawn(|| it.run(&scene))).collect();
            ledger.wait_for_more(50, Instant::now());
            scene.is_enough.store(true, Ordering::SeqCst);
            publishing.into_iter().for_each(|publisher| publisher.join().unwrap());
            let mut marker = Who::new("marker", ProtocolVersion::V5).connect(&scene).unwrap();
            evidence.subscriptions = find_subscriptions(settler, &mut marker, &scene);
            assert!(!publish(&mut marker, "marks", MARK, false).unwrap().is_error());
        });
    }
}

/// Makes the accident happen. When this returns, nothing that the broker does counts any more,
/// unless it survives.
fn happen(accident: Accident, setup: &Setup, running: &Running, scene: &Scene) -> Evidence {
    let Running { disk, failed, .. } = running;
    let mut evidence = Evidence::default();
    let keeps = setup.durability > Durability::Memory;
    match accident {
        Accident::Kill | Accident::PowerCut => disk.shut(),
        Accident::DiskFull | Accident::KillWhenFull => {
            disk.faults().set_capacity(disk.faults().used());
            if keeps {
                until("it is full", || scene.ledger.refused() > 0);
            }
            if !keeps {
                scene.ledger.wait_for_more(300, Instant::now());
            }
            if accident == Accident::KillWhenFull {
                disk.shut();
            } else {
                disk.faults().set_capacity(u64::MAX);
                scene.ledger.wait_for_more(100, Instant::now());
            }
        }
        Accident::FailedSync => {
            disk.faults().fail_next_sync();
            if keeps {
                failed.recv_timeout(DEADLINE).expect("the broker tells that its store has failed");
                evidence.has_ended = true;
            } else {
                scene.ledger.wait_for_more(300, Instant::now());
            }
        }
    }
    evidence.at = Some(Instant::now());
    evidence.unsynced_since = disk.unsynced_since();
    evidence
}

/// Returns the version of each retained message.
fn find_retained(scene: &Scene, count: u64) -> HashMap<String, u32> {
    let mut link = Who::new("finder", ProtocolVersion::V5).connect(scene).unwrap();
    assert!(!link.subscribe(&["retained/+"], 1).unwrap().is_error());
    let mut found = HashMap::new();
    while found.len() < count as usize {
        match link.receive(DEADLINE) {
            Some(Received::Publish(message)) => {
                let version = String::from_utf8(message.payload).unwrap().parse().unwrap();
                found.insert(message.topic, version);
                link.acknowledge(PacketType::PubAck, message.id.unwrap());
            }
            other => panic!("no retained message but {other:?}"),
        }
    }
    found
}

/// Returns the Clients whose Sessions exist although they were said to be gone.
fn find_back(promises: &[Promise], scene: &Scene) -> Vec<String> {
    let gone = promises.iter().filter(|promise| promise.kind == Kind::Gone);
    let is_back = |promise: &&Promise| {
        Who::new(&*promise.name, ProtocolVersion::V5).connect(scene).unwrap().session_present
    };
    gone.filter(is_back).map(|promise| promise.name.clone()).collect()
}

/// Returns the filters through which the settler still gets messages.
fn find_subscriptions(settler: &Settler, marker: &mut Link, scene: &Scene) -> Vec<String> {
    let mut link = settler.who.connect(scene).unwrap();
    if !link.session_present {
        assert!(!link.subscribe(&[Settler::LAST], 1).unwrap().is_error());
    }
    for round in 1..=settler.rounds {
        let topic = format!("{}/{round}", Settler::SUBSCRIPTIONS);
        assert!(!publish(marker, &topic, "", false).unwrap().is_error());
    }
    assert!(!publish(marker, Settler::LAST, "", false).unwrap().is_error());
    let mut found = Vec::new();
    loop {
        match link.receive(DEADLINE) {
            Some(Received::Publish(message)) => {
                assert_eq!(message.qos, QoS::AtLeastOnce);
                link.acknowledge(PacketType::PubAck, message.id.unwrap());
                if message.topic == Settler::LAST {
                    return found;
                }
                found.push(message.topic);
            }
            other => panic!("the settler: {other:?}"),
        }
    }
}

/// Measures how late this machine wakes a thread that does nothing but ask for the time.
#[derive(Default)]
struct Pulse(AtomicU64);

impl Pulse {
    const BEAT: Duration = Duration::from_millis(5);

    fn beat(&self, scene: &Scene) {
        while !scene.is_over() {
            let begun = Instant::now();
            thread::park_timeout(Self::BEAT);
            let late = begun.elapsed().saturating_sub(Self::BEAT).as_millis() as u64;
            self.0.fetch_max(late, Ordering::Relaxed);
        }
    }

    fn worst(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
