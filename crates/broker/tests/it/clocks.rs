//! Clocks that are set or not yet set, and time that passes while the machine is suspended or off:
//! nothing ends early, and nothing outlives its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use midge_broker::{Broker, Clocks, ProtocolVersion, QoS, ReasonCode, StartError, Storage};
use midge_codec::{Connect, Packet, TopicName, Will};
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received, connect_packet, publish_packet};
use crate::support::{address, builder, until};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
pub(crate) const TODAY: u64 = 20_000 * DAY;

/// A machine whose clocks run like real ones, except for what a test does to them.
pub(crate) struct Machine {
    began: Instant,
    wall: AtomicU64,
    uptime: AtomicU64,
    boot: AtomicU64,
}

impl Machine {
    /// Makes a machine whose clock shows this time of day.
    pub(crate) fn new(wall_ms: u64) -> Arc<Self> {
        let (wall, uptime, boot) = (wall_ms.into(), 5_000.into(), 1.into());
        Arc::new(Self { began: Instant::now(), wall, uptime, boot })
    }

    pub(crate) fn set_wall(&self, wall_ms: u64) {
        self.wall.store(wall_ms, Ordering::SeqCst);
    }

    /// Lets time pass in which nobody does anything.
    pub(crate) fn pass(&self, millis: u64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
        self.uptime.fetch_add(millis, Ordering::SeqCst);
    }

    /// Turns the machine off for a while; afterwards its clock shows `wall_ms`.
    pub(crate) fn reboot(&self, wall_ms: u64) {
        self.set_wall(wall_ms);
        self.uptime.store(1_000, Ordering::SeqCst);
        self.boot.fetch_add(1, Ordering::SeqCst);
    }

    fn since_began(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

impl Clocks for Machine {
    fn wall_ms(&self) -> u64 {
        self.wall.load(Ordering::SeqCst).saturating_add(self.since_began())
    }

    fn uptime_ms(&self) -> u64 {
        self.uptime.load(Ordering::SeqCst) + self.since_began()
    }

    fn boot(&self) -> Option<u128> {
        Some(self.boot.load(Ordering::SeqCst).into())
    }
}

fn start(machine: &Arc<Machine>, disk: &Arc<FaultyDisk>) -> Broker {
    try_start(machine, disk).unwrap()
}

fn try_start(machine: &Arc<Machine>, disk: &Arc<FaultyDisk>) -> Result<Broker, StartError> {
    let (clocks, disk) = (Arc::clone(machine), Arc::clone(disk));
    let storage = Storage { segment_bytes: 64 << 10, ..Storage::on_disk(disk) };
    builder(2).clocks(clocks).storage(storage).start()
}

/// A broker that runs on what a killed one has left.
pub(crate) struct Life {
    pub(crate) machine: Arc<Machine>,
    disk: Arc<FaultyDisk>,
    pub(crate) broker: Broker,
}

impl Life {
    pub(crate) fn begin(machine: Arc<Machine>) -> Self {
        let disk = Arc::new(FaultyDisk::new(1));
        let broker = start(&machine, &disk);
        Self { machine, disk, broker }
    }

    /// Kills the process, runs `meanwhile`, and starts the next process.
    pub(crate) fn next(self, meanwhile: impl FnOnce(&Machine)) -> Self {
        let Self { machine, disk, broker } = self;
        let disk = Arc::new(disk.snapshot());
        drop(broker);
        meanwhile(&machine);
        let broker = start(&machine, &disk);
        Self { machine, disk, broker }
    }

    /// Kills the process and runs `meanwhile`. The next process is killed `operations` disk
    /// operations before it has done everything that has to precede letting Clients in.
    fn stumble(&mut self, operations: u64, meanwhile: impl FnOnce(&Machine)) {
        meanwhile(&self.machine);
        let lets_in = |most: &u64| self.start_cut_off(*most).1;
        let needed = (0..).find(lets_in).unwrap();
        self.disk = self.start_cut_off(needed.saturating_sub(operations)).0;
    }

    /// Cuts a start off after this many disk operations; returns what it leaves, and whether it got
    /// as far as letting Clients in.
    fn start_cut_off(&self, operations: u64) -> (Arc<FaultyDisk>, bool) {
        let disk = Arc::new(self.disk.snapshot());
        disk.cut_after(operations);
        let lets_in = try_start(&self.machine, &disk).is_ok();
        disk.cut_after(u64::MAX / 2);
        (disk, lets_in)
    }

    pub(crate) fn connect(&self, client_id: &str, expiry_seconds: u32) -> (Client, bool) {
        self.connect_with(&lasting(client_id, expiry_seconds))
    }

    pub(crate) fn connect_with(&self, connect: &Connect<'_>) -> (Client, bool) {
        let mut client = Client::open(address(&self.broker));
        match client.request(connect) {
            Received::ConnAck { session_present, code: ReasonCode::Success, .. } => {
                (client, session_present)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn is_resumed(&self, client_id: &str, expiry_seconds: u32) -> bool {
        self.connect(client_id, expiry_seconds).1
    }

    /// Has a Client make a Session that lives on for a while, and leave. The store knows both.
    pub(crate) fn visit(&self, client_id: &str, expiry_seconds: u32) {
        let (mut client, _) = self.connect(client_id, expiry_seconds);
        client.subscribe("t", QoS::AtLeastOnce);
        client.disconnect();
        self.settle();
    }

    /// Waits until all Clients are gone and everything that they left is in the store.
    pub(crate) fn settle(&self) {
        until("all are gone", || self.broker.handle().figures().wait().unwrap().1.connections == 0);
        // This acknowledgement comes after all of that.
        let mut client = Client::connect(address(&self.broker), "settler");
        retain(&mut client, "settled", u32::MAX);
        client.disconnect();
    }
}

fn lasting(client_id: &str, expiry_seconds: u32) -> Connect<'_> {
    let mut connect = connect_packet(ProtocolVersion::V5, client_id);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(expiry_seconds);
    connect
}

/// Publishes a retained message with an expiry, and waits for its acknowledgement.
fn retain(client: &mut Client, topic: &str, expiry_seconds: u32) {
    let mut packet = publish_packet(topic, b"kept", QoS::AtLeastOnce, Some(77));
    if let Packet::Publish(publish) = &mut packet {
        publish.retain = true;
        publish.properties.message_expiry_interval_seconds = Some(expiry_seconds);
    }
    client.send(&packet);
    assert!(matches!(client.receive(), Received::Ack { id: 77, .. }));
}

fn has_retained(life: &Life, topic: &str) -> bool {
    let mut client = Client::connect(address(&life.broker), "reader");
    client.subscribe(topic, QoS::AtMostOnce);
    client.ping();
    matches!(client.receive_within(Duration::ZERO), Some(Received::Publish(_)))
}

#[test]
fn a_clock_that_is_set_right_after_the_start_ends_nothing_at_the_next_one() {
    for set_to in [0, TODAY - 900 * DAY, TODAY, TODAY + 900 * DAY] {
        let life = Life::begin(Machine::new(TODAY - 30 * DAY));
        let (mut client, _) = life.connect("a", 3600);
        client.subscribe("t", QoS::AtLeastOnce);
        retain(&mut client, "r", 3600);
        life.machine.set_wall(set_to);
        // The store learns of the change with the next write.
        retain(&mut client, "other", 3600);
        client.disconnect();
        life.settle();
        let life = life.next(|machine| machine.reboot(machine.wall_ms() + 60_000));
        assert!(life.is_resumed("a", 3600), "{set_to}");
        assert!(has_retained(&life, "r") && has_retained(&life, "other"), "{set_to}");
        // Then both end at their time.
        let life = life.next(|machine| machine.reboot(machine.wall_ms() + HOUR));
        assert!(!has_retained(&life, "r") && !has_retained(&life, "other"), "{set_to}");
    }
}

#[test]
fn an_idle_broker_notes_that_the_clock_was_set() {
    let life = Life::begin(Machine::new(0));
    life.visit("a", 3600);
    let before = life.disk.operations();
    life.machine.set_wall(TODAY);
    until("it is noted", || life.disk.operations() > before);
    let life = life.next(|machine| machine.reboot(TODAY + 60_000));
    assert!(life.is_resumed("a", 3600));
}

#[test]
fn a_clock_that_is_set_while_the_broker_is_down_ends_nothing() {
    for set_to in [0, TODAY + 900 * DAY, u64::MAX] {
        let life = Life::begin(Machine::new(TODAY));
        life.visit("a", 60);
        let life = life.next(|machine| machine.set_wall(set_to));
        assert!(life.is_resumed("a", 60), "{set_to}");
        let life = life.next(|machine| machine.pass(120_000));
        assert!(!life.is_resumed("a", 60), "what passes counts all the same");
    }
}

#[test]
fn a_machine_that_does_not_know_the_time_yet_ends_nothing() {
    let life = Life::begin(Machine::new(TODAY));
    life.visit("a", 60);
    let life = life.next(|machine| machine.reboot(0));
    life.machine.set_wall(TODAY + 900 * DAY);
    assert!(life.is_resumed("a", 60));
}

#[test]
fn time_without_power_counts() {
    let life = Life::begin(Machine::new(TODAY));
    life.visit("short", 60);
    life.visit("long", 3600);
    let life = life.next(|machine| machine.reboot(TODAY + 90_000));
    assert!(!life.is_resumed("short", 60));
    assert!(life.is_resumed("long", 3600));
}

#[test]
fn time_in_which_the_machine_is_suspended_counts() {
    let life = Life::begin(Machine::new(TODAY));
    life.visit("short", 60);
    life.visit("long", 3600);
    life.machine.pass(90_000);
    // Nothing comes from outside: the broker wakes its workers itself.
    until("it ends", || life.broker.handle().figures().wait().unwrap().0.sessions_expired == 1);
    assert!(!life.is_resumed("short", 60));
    assert!(life.is_resumed("long", 3600));
}

#[test]
fn starting_again_and_again_postpones_neither_the_end_of_a_session_nor_a_will() {
    let mut life = Life::begin(Machine::new(TODAY));
    let (mut watcher, _) = life.connect("watcher", u32::MAX);
    watcher.subscribe("will/#", QoS::AtLeastOnce);
    let mut connect = lasting("a", 100);
    connect.will = Some(Will {
        topic: TopicName::new("will/a").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_interval_seconds: Some(50),
        properties: Default::default(),
    });
    let (mut client, _) = life.connect_with(&connect);
    client.subscribe("t", QoS::AtLeastOnce);
    for _ in 0..4 {
        life = life.next(|machine| machine.pass(20_000));
    }
    // For all that anybody knows, the Client has been gone for 60 seconds.
    let (mut watcher, _) = life.connect("watcher", u32::MAX);
    assert_eq!(watcher.message().payload, b"gone");
    for _ in 0..3 {
        life = life.next(|machine| machine.pass(20_000));
    }
    assert!(!life.is_resumed("a", 100));
}

/// Nobody knows for sure when the first killed process ended, but only how long it can have lived
/// at most: a minute longer than what it noted last.
#[test]
fn starts_that_are_cut_off_postpone_the_end_of_a_session_by_a_minute_at_most() {
    for operations in 0..6 {
        let mut life = Life::begin(Machine::new(TODAY));
        let (mut client, _) = life.connect("a", 60);
        client.subscribe("t", QoS::AtLeastOnce);
        for _ in 0..7 {
            life.stumble(operations, |machine| machine.pass(20_000));
        }
        let life = life.next(|_| ());
        assert!(!life.is_resumed("a", 60), "cut off {operations} operations too early");
    }
}
