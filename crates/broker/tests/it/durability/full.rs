//! A full store: who is told, who waits, what continues, and that the broker recovers by itself.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use midge_broker::{Broker, BrokerBuilder, Limits, ProtocolVersion, QoS, ReasonCode, Storage};
use midge_codec::{Connect, Packet, PacketType};
use midge_store::testing::FaultyDisk;

use super::gate::{GatedDisk, Pace};
use crate::client::{Client, Received, connect_packet};
use crate::support::{DEADLINE, address, builder, until};

const STALLS: Pace = Pace::each(1).with_stalls(80, 1_500);
const PACES: [Pace; 5] = [Pace::each(0), Pace::each(1), Pace::each(8), Pace::each(50), STALLS];

/// Runs the test on slow disks, one of each pace, at the same time.
fn at_each(paces: &[Pace], test: impl Fn(Pace) + Copy + Send + Sync) {
    thread::scope(|scope| {
        for pace in paces {
            let named = thread::Builder::new().name(format!("{pace:?}"));
            named.spawn_scoped(scope, move || test(*pace)).unwrap();
        }
    });
}

fn slow_disk(found: FaultyDisk, pace: Pace) -> GatedDisk {
    let disk = GatedDisk::new(found);
    disk.slow_down(pace);
    disk
}

/// Builds a broker with one worker, because a publisher's worker knows only of its own subscribers
/// whether the store keeps their Sessions.
fn on(disk: &GatedDisk, limits: Limits) -> BrokerBuilder {
    let mut storage = Storage::on_disk(Arc::new(disk.clone()));
    storage.segment_bytes = 32 << 10;
    storage.checkpoint_bytes = 128 << 10;
    builder(1).storage(storage).limits(limits)
}

fn roomy() -> Limits {
    Limits { queue_messages_max: 1_000_000, queue_bytes_max: 1 << 30, ..Limits::default() }
}

fn persistent(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    let mut connect = connect_packet(version, client_id);
    connect.clean_start = false;
    if version == ProtocolVersion::V5 {
        connect.properties.session_expiry_interval = Some(3600);
    }
    connect
}

fn connect(broker: &Broker, version: ProtocolVersion, client_id: &str) -> Client {
    Client::open(address(broker)).connected(&persistent(version, client_id))
}

/// Publishes numbers until one is refused; returns those that were accepted.
fn fill(publisher: &mut Client, topic: &str, numbers: &mut u32) -> Vec<u32> {
    let mut accepted = Vec::new();
    loop {
        *numbers += 1;
        match publisher.publish_acknowledged(topic, &payload(*numbers)) {
            ReasonCode::Success => accepted.push(*numbers),
            ReasonCode::QuotaExceeded => return accepted,
            other => panic!("{other:?}"),
        }
    }
}

fn payload(number: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[b'.'; 500]].concat()
}

/// Receives `count` messages and returns their numbers.
fn take(subscriber: &mut Client, count: usize) -> Vec<u32> {
    let number = |payload: &[u8]| u32::from_be_bytes(payload[..4].try_into().unwrap());
    (0..count).map(|_| number(&subscriber.message().payload)).collect()
}

fn acknowledgement_of(client: &mut Client, kind: PacketType) -> ReasonCode {
    match client.receive() {
        Received::Ack { kind: found, code, .. } if found == kind => code,
        other => panic!("no {kind:?} but {other:?}"),
    }
}

#[test]
fn s21_a_full_disk_refuses_what_it_cannot_keep_and_nothing_else() {
    at_each(&PACES, refuses_what_it_cannot_keep);
}

fn refuses_what_it_cannot_keep(pace: Pace) {
    let (v5, v3) = (ProtocolVersion::V5, ProtocolVersion::V3_1_1);
    let disk = slow_disk(FaultyDisk::new(1), pace);
    let broker = on(&disk, roomy()).start().unwrap();
    let mut offline = connect(&broker, v5, "offline");
    offline.subscribe("kept/#", QoS::ExactlyOnce);
    offline.disconnect();
    let mut subscriber = Client::connect(address(&broker), "clean");
    subscriber.subscribe("passing/#", QoS::AtLeastOnce);
    let mut publisher = connect(&broker, v5, "publisher-v5");
    let mut old = connect(&broker, v3, "publisher-v3");

    disk.faults().set_capacity(disk.faults().used());
    let mut numbers = 0;
    let mut accepted = fill(&mut publisher, "kept/a", &mut numbers);

    // An MQTT 5 Client is told, an MQTT 3.1.1 Client gets no answer.
    publisher.publish("kept/a", &payload(0), QoS::ExactlyOnce);
    let refused = acknowledgement_of(&mut publisher, PacketType::PubRec);
    assert_eq!(refused, ReasonCode::QuotaExceeded);
    numbers += 1;
    old.publish("kept/a", &payload(numbers), QoS::AtLeastOnce);
    old.send(&Packet::PingReq);
    assert_eq!(old.receive(), Received::PingResp);

    // Messages that need not be stored still flow.
    publisher.publish("kept/a", b"", QoS::AtMostOnce);
    for number in 0..50 {
        publisher.publish("passing/a", &payload(number), QoS::AtMostOnce);
        let code = publisher.publish_acknowledged("passing/a", &payload(number));
        assert_eq!(code, ReasonCode::Success);
        assert_eq!(take(&mut subscriber, 2), [number, number]);
    }
    let refused = Client::open(address(&broker)).request(&persistent(v5, "new"));
    let is_refused = matches!(refused, Received::ConnAck { code: ReasonCode::QuotaExceeded, .. });
    assert!(is_refused, "{refused:?}");
    let code = publisher.try_subscribe("kept/too", QoS::AtLeastOnce);
    assert_eq!(code, ReasonCode::QuotaExceeded);

    disk.faults().set_capacity(u64::MAX);
    assert_eq!(old.receive(), Received::Closed);
    let mut old = connect(&broker, v3, "publisher-v3");
    assert_eq!(old.publish_acknowledged("kept/a", &payload(numbers)), ReasonCode::Success);
    accepted.push(numbers);
    numbers += 1;
    let code = publisher.publish_acknowledged("kept/a", &payload(numbers));
    assert_eq!(code, ReasonCode::Success);
    accepted.push(numbers);
    publisher.subscribe("kept/too", QoS::AtLeastOnce);
    connect(&broker, v5, "new").disconnect();
    let mut offline = connect(&broker, v5, "offline");
    assert_eq!(take(&mut offline, accepted.len()), accepted);
}

#[test]
fn s21_acknowledgements_of_subscribers_make_room_in_a_store_at_its_limit() {
    at_each(&PACES[..3], acknowledgements_make_room);
}

fn acknowledgements_make_room(pace: Pace) {
    let v5 = ProtocolVersion::V5;
    let disk = slow_disk(FaultyDisk::new(2), pace);
    let limits = Limits { store_bytes_max: 512 << 10, ..roomy() };
    let broker = on(&disk, limits.clone()).start().unwrap();
    connect(&broker, v5, "offline").subscribe("kept/#", QoS::AtLeastOnce);
    let mut publisher = connect(&broker, v5, "publisher");
    let mut numbers = 0;
    for round in 0..3 {
        let accepted = fill(&mut publisher, "kept/a", &mut numbers);
        assert!(accepted.len() > 100, "round {round}: {}", accepted.len());
        assert!(disk.faults().used() <= limits.store_bytes_max, "{}", disk.faults().used());
        let mut offline = connect(&broker, v5, "offline");
        assert_eq!(take(&mut offline, accepted.len()), accepted, "round {round}");
        offline.ping();
        until("there is room again", || {
            numbers += 1;
            let code = publisher.publish_acknowledged("kept/a", &payload(numbers));
            code == ReasonCode::Success
        });
        assert_eq!(take(&mut offline, 1), [numbers]);
        offline.disconnect();
    }
}

#[test]
fn s21_what_a_full_store_has_acknowledged_survives_the_end_of_the_process() {
    at_each(&PACES, survives_the_end);
}

fn survives_the_end(pace: Pace) {
    let v5 = ProtocolVersion::V5;
    let disk = slow_disk(FaultyDisk::new(3), pace);
    let broker = on(&disk, roomy()).start().unwrap();
    connect(&broker, v5, "offline").subscribe("kept/#", QoS::AtLeastOnce);
    let mut publisher = connect(&broker, v5, "publisher");
    disk.faults().set_capacity(disk.faults().used());
    let mut numbers = 0;
    let accepted = fill(&mut publisher, "kept/a", &mut numbers);
    disk.shut();
    let found = disk.faults().power_cut();
    disk.break_off();
    drop(broker);

    // The device is still full.
    let disk = slow_disk(found, pace);
    let broker = on(&disk, roomy()).start().unwrap();
    let mut offline = connect(&broker, v5, "offline");
    assert_eq!(take(&mut offline, accepted.len()), accepted);
    let mut publisher = connect(&broker, v5, "publisher");
    disk.faults().set_capacity(u64::MAX);
    until("there is room again", || {
        publisher.publish_acknowledged("kept/a", &payload(0)) == ReasonCode::Success
    });
}

#[test]
fn s21_a_failed_sync_ends_the_broker_before_it_acknowledges() {
    at_each(&PACES, ends_with_a_failed_sync);
}

fn ends_with_a_failed_sync(pace: Pace) {
    let disk = slow_disk(FaultyDisk::new(4), pace);
    let (tell, failed) = mpsc::channel();
    let builder = on(&disk, roomy()).on_failure(move |error| drop(tell.send(error.to_string())));
    let broker = builder.start().unwrap();
    connect(&broker, ProtocolVersion::V5, "offline").subscribe("kept/#", QoS::AtLeastOnce);
    let mut publisher = connect(&broker, ProtocolVersion::V5, "publisher");
    let code = publisher.publish_acknowledged("kept/a", &payload(1));
    assert_eq!(code, ReasonCode::Success);

    disk.faults().fail_next_sync();
    publisher.publish("kept/a", &payload(2), QoS::AtLeastOnce);
    assert_eq!(publisher.receive(), Received::Closed);
    let error = failed.recv_timeout(DEADLINE).expect("the program is told");
    assert!(error.contains("journal-"), "{error}");
    let mut late = Client::open(address(&broker));
    assert_eq!(late.receive(), Received::Closed);
    let found = disk.faults().snapshot();
    drop(broker);

    let broker = on(&slow_disk(found, pace), roomy()).start().unwrap();
    let mut offline = connect(&broker, ProtocolVersion::V5, "offline");
    assert_eq!(take(&mut offline, 1), [1]);
}
