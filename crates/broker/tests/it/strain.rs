//! More than the disk or a link can take: who waits, and who is served all the same.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{Broker, Limits, ProtocolVersion, QoS, ReasonCode, Storage};
use midge_codec::{Packet, PacketType};
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::durability::gate::{GatedDisk, Pace};
use crate::support::{address, builder, counters, until};

const V5: ProtocolVersion = ProtocolVersion::V5;
/// The shortest that can be asked for: 1.5 seconds may pass in silence.
const KEEP_ALIVE_SECONDS: u16 = 1;
const SILENCE: Duration = Duration::from_millis(1500);

/// A Client that has promised to say something every second.
fn hasty(broker: &Broker, client_id: &str) -> Client {
    let connect = midge_codec::Connect {
        keep_alive_seconds: KEEP_ALIVE_SECONDS,
        ..connect_packet(V5, client_id)
    };
    Client::open(address(broker)).connected(&connect)
}

/// Pings for twice as long as silence would be borne.
fn ping_on(client: &mut Client) {
    let until = Instant::now() + 2 * SILENCE;
    while Instant::now() < until {
        client.ping();
        thread::sleep(Duration::from_millis(100));
    }
}

fn retained(topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = bytes_of(&publish_packet(topic, payload, QoS::AtLeastOnce, Some(id)), V5);
    bytes[0] |= 1;
    bytes
}

/// The disk stands still, and messages of 27 MB wait for it.
#[test]
fn a_stalled_disk_holds_back_publishers_and_silences_nobody() {
    const COUNT: u16 = 30;
    let disk = GatedDisk::new(FaultyDisk::new(1));
    let storage = Storage::on_disk(Arc::new(disk.clone()));
    let broker = builder(2).storage(storage).start().unwrap();
    let mut quiet = hasty(&broker, "quiet");
    quiet.subscribe("live/#", QoS::AtLeastOnce);
    let mut publisher = hasty(&broker, "publisher");
    disk.shut();
    let publishing = thread::spawn(move || {
        let payload = vec![7; 900_000];
        for id in 1..=COUNT {
            publisher.send_bytes(&retained(&format!("large/{id}"), &payload, id));
        }
        publisher
    });
    // Until nothing more is taken.
    let mut received = 0;
    until("the publisher is held back", || {
        ping_for_a_while(&mut quiet);
        let before = std::mem::replace(&mut received, counters(&broker).bytes_received);
        before > 10_000_000 && received < before + 100
    });
    assert!(!publishing.is_finished(), "everything was taken");
    ping_on(&mut quiet);

    // A newcomer is let in, can subscribe, and is told when it goes.
    let mut newcomer = hasty(&broker, "newcomer");
    newcomer.subscribe("other/#", QoS::AtLeastOnce);
    newcomer.disconnect();

    disk.reopen();
    let mut publisher = publishing.join().unwrap();
    for id in 1..=COUNT {
        let code = ReasonCode::NoMatchingSubscribers;
        assert_eq!(publisher.receive(), Received::Ack { kind: PacketType::PubAck, id, code });
    }
    publisher.ping();
    quiet.ping();
}

/// Messages that are each larger than a file of the journal wait behind a stall of seconds. Whoever
/// comes then waits for those that are being written and those that came before, not longer.
#[test]
fn a_client_is_let_in_soon_after_a_stall_though_large_messages_wait() {
    const COUNT: u16 = 60;
    const STALL: Duration = Duration::from_millis(3_500);
    // 32 MB at most wait, in files of 4 MB with three syncs each.
    const SYNCS_MAX: u64 = 40;
    let disk = GatedDisk::new(FaultyDisk::new(1));
    let mut storage = Storage::on_disk(Arc::new(disk.clone()));
    storage.segment_bytes = 64 << 10;
    let broker = builder(2).storage(storage).start().unwrap();
    let mut connect = connect_packet(V5, "sleeper");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    let mut sleeper = Client::open(address(&broker)).connected(&connect);
    sleeper.subscribe("t", QoS::AtLeastOnce);
    sleeper.disconnect();

    disk.slow_down(Pace::each(50));
    let mut publisher = Client::connect(address(&broker), "publisher");
    disk.shut();
    let publishing = thread::spawn(move || {
        let payload = vec![7; 900_000];
        for id in 1..=COUNT {
            publisher.send_bytes(&retained(&format!("large/{id}"), &payload, id));
        }
        publisher
    });
    until("messages wait", || counters(&broker).bytes_received > 10_000_000);
    thread::sleep(STALL);
    let before = disk.faults().syncs();
    let mut sleeper = Client::open(address(&broker));
    sleeper.send(&Packet::Connect(Box::new(connect)));
    disk.reopen();
    let connack = sleeper.receive();
    let syncs = disk.faults().syncs() - before;
    assert!(matches!(connack, Received::ConnAck { session_present: true, .. }), "{connack:?}");
    assert!(syncs <= SYNCS_MAX, "{syncs} syncs before the CONNACK");
    drop(publishing.join().unwrap());
}

fn ping_for_a_while(client: &mut Client) {
    for _ in 0..5 {
        client.ping();
        thread::sleep(Duration::from_millis(20));
    }
}

/// A message that takes three times as long as silence would be borne.
#[test]
fn a_packet_over_a_slow_link_arrives_whatever_the_keep_alive() {
    let broker = builder(1).start().unwrap();
    let mut slow = hasty(&broker, "slow");
    let bytes = retained("slow", &[7; 3_000], 1);
    for part in bytes.chunks(bytes.len() / 30) {
        thread::sleep(SILENCE / 10);
        slow.send_bytes(part);
    }
    let code = ReasonCode::NoMatchingSubscribers;
    assert_eq!(slow.receive(), Received::Ack { kind: PacketType::PubAck, id: 1, code });
}

#[test]
fn a_packet_that_drips_does_not_hold_a_connection() {
    let broker = builder(1).start().unwrap();
    let mut dripping = hasty(&broker, "dripping");
    let bytes = retained("slow", &[7; 3_000], 1);
    let start = Instant::now();
    let mut bytes = bytes.iter();
    let end = loop {
        let _ = dripping.try_send_bytes(&[*bytes.next().unwrap()]);
        if let Some(received) = dripping.receive_within(Duration::from_millis(50)) {
            break received;
        }
    };
    assert_eq!(end, Received::Disconnect(ReasonCode::KeepAliveTimeout));
    assert!(start.elapsed() >= SILENCE);
}

/// Somebody whose answers are not read by itself is not read either, but is heard.
#[test]
fn who_does_not_read_its_answers_is_not_silent() {
    let limits = Limits { output_bytes_max: 1, ..Limits::default() };
    let broker = builder(1).limits(limits).start().unwrap();
    let connect = midge_codec::Connect {
        keep_alive_seconds: KEEP_ALIVE_SECONDS,
        ..connect_packet(V5, "deaf")
    };
    let mut deaf = Client::open_narrow(address(&broker)).connected(&connect);
    deaf.subscribe("t", QoS::AtMostOnce);
    let mut other = Client::connect(address(&broker), "other");
    other.publish_acknowledged("t", &vec![7; 1_000_000]);
    other.publish_acknowledged("t", &vec![7; 1_000_000]);
    let start = Instant::now();
    while start.elapsed() < 2 * SILENCE {
        deaf.send_bytes(&[0xC0, 0]);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(deaf.message().payload.len(), 1_000_000);
    deaf.ping();
}
