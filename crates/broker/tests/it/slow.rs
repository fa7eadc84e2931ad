//! Subscribers that read slowly or not at all, and what that means for them and others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use midge_broker::{Broker, DropReason, Limits, OwnedMessage, ProtocolVersion, QoS};
use midge_codec::PacketType;

use crate::alone::{alone, figure, resident_bytes};
use crate::client::{Client, Received, connect_packet};
use crate::support::{address, broker, builder, counters, dropped, limited, until};

const V5: ProtocolVersion = ProtocolVersion::V5;

/// Connects a Client with small buffers in the kernel.
fn narrow(broker: &Broker, client_id: &str) -> Client {
    Client::open_narrow(address(broker)).connected(&connect_packet(V5, client_id))
}

fn publish(broker: &Broker, topic: &str, payload: &[u8], qos: QoS) {
    let message = OwnedMessage::new(topic, payload).unwrap().qos(qos);
    broker.handle().publish(message).wait().unwrap();
}

fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; length];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    payload
}

fn number_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

#[test]
fn s22_a_stalled_subscriber_costs_bounded_memory_and_others_nothing() {
    if !alone("slow::s22_a_stalled_subscriber_costs_bounded_memory_and_others_nothing") {
        return;
    }
    const COUNT: u32 = 2_000;
    const LENGTH: usize = 10_000;
    let broker = broker(2);
    let mut stalled = narrow(&broker, "stalled");
    stalled.subscribe("s22", QoS::AtMostOnce);
    let mut others: Vec<_> = (0..3).map(|n| narrow(&broker, &format!("o{n}"))).collect();
    others.iter_mut().for_each(|other| other.subscribe("s22", QoS::AtMostOnce));
    let before = resident_bytes();
    for number in 0..COUNT {
        publish(&broker, "s22", &numbered(number, LENGTH), QoS::AtMostOnce);
        for other in &mut others {
            assert_eq!(number_of(&other.message().payload), number);
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    let drops = dropped(&broker, DropReason::SlowConsumer);
    figure(&format!("{} KB more for a stalled subscriber, {drops} drops", grown / 1024));
    let output_max = u64::from(Limits::default().output_bytes_max);
    assert!(grown < 2 * output_max, "{grown} bytes");
    assert!(drops > 0);

    // It reads again: first what was kept, in order, then what is new.
    for number in 0..COUNT - drops as u32 {
        assert_eq!(number_of(&stalled.message().payload), number);
    }
    publish(&broker, "s22", &numbered(COUNT, LENGTH), QoS::AtMostOnce);
    assert_eq!(number_of(&stalled.message().payload), COUNT);
    assert_eq!(dropped(&broker, DropReason::SlowConsumer), drops);
}

/// At QoS 1 a stalled subscriber loses nothing before its queue is full, and nothing silently.
#[test]
fn s22_a_stalled_subscriber_of_qos_1_gets_all_that_its_queue_holds() {
    const COUNT: u32 = 400;
    let broker = limited(|limits| {
        limits.queue_messages_max = 100;
        limits.inflight_messages_max = 32;
        limits.queue_bytes_max = u32::MAX;
        limits.output_bytes_max = 100_000;
    });
    let mut stalled = narrow(&broker, "stalled");
    stalled.subscribe("s22", QoS::AtLeastOnce);
    for number in 0..COUNT {
        publish(&broker, "s22", &numbered(number, 1_000), QoS::AtLeastOnce);
    }
    let drops = dropped(&broker, DropReason::QueueFull);
    let window = 32;
    assert_eq!(drops, u64::from(COUNT - window - 100));
    for number in 0..window + 100 {
        assert_eq!(number_of(&stalled.message().payload), number);
    }
    publish(&broker, "s22", &numbered(COUNT, 1_000), QoS::AtLeastOnce);
    assert_eq!(number_of(&stalled.message().payload), COUNT);
}

#[test]
fn s22_clients_publish_on_while_a_subscriber_is_stalled() {
    let broker = broker(2);
    let mut stalled = narrow(&broker, "stalled");
    stalled.subscribe("#", QoS::AtMostOnce);
    let mut publisher = Client::connect(address(&broker), "publisher");
    let payload = vec![0; 100_000];
    while dropped(&broker, DropReason::SlowConsumer) < 10 {
        publisher.publish_acknowledged("s22", &payload);
    }
    // When it goes, it takes nothing over and disturbs nothing.
    drop(stalled);
    until("it is gone", || broker.handle().clients().wait().unwrap().len() == 1);
    publisher.publish_acknowledged("s22", b"");
}

#[test]
fn large_payloads_arrive_intact_at_a_slow_reader() {
    const COUNT: u32 = 12;
    const LENGTH: usize = 1_000_000;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let broker = limited(|limits| {
            limits.output_bytes_max = 32 << 20;
            limits.queue_bytes_max = 32 << 20;
        });
        let mut reader = narrow(&broker, "reader");
        reader.subscribe("large/#", qos);
        let mut publisher = Client::connect(address(&broker), "publisher");
        for number in 0..COUNT {
            publisher.publish("large/x", &numbered(number, LENGTH), qos);
            publisher.publish("large/small", &number.to_be_bytes(), qos);
        }
        for number in 0..COUNT {
            assert!(reader.message().payload == numbered(number, LENGTH), "{number} is damaged");
            assert_eq!(reader.message().payload, number.to_be_bytes());
        }
        assert_eq!(counters(&broker).messages_delivered, u64::from(COUNT) * 2);
    }
}

#[test]
fn small_messages_keep_their_order_at_a_slow_reader() {
    const COUNT: u32 = 30_000;
    let broker = limited(|limits| {
        limits.queue_messages_max = COUNT;
        limits.queue_bytes_max = u32::MAX;
        limits.output_bytes_max = 50_000;
    });
    let mut reader = narrow(&broker, "reader");
    reader.subscribe("small", QoS::AtLeastOnce);
    let mut publisher = Client::connect(address(&broker), "publisher");
    let publishing = thread::spawn(move || {
        for number in 0..COUNT {
            publisher.publish("small", &numbered(number, 40), QoS::AtLeastOnce);
            if number % 1_000 == 999 {
                publisher.ping();
            }
        }
        publisher
    });
    for number in 0..COUNT {
        assert_eq!(number_of(&reader.message().payload), number);
    }
    publishing.join().unwrap();
}

/// A queue is sent in many small steps, because the output takes one message at a time. The Client
/// acknowledges nothing before it has as many messages as its window lets be under way.
#[test]
fn a_queue_is_sent_to_its_end_however_small_the_output() {
    let broker = limited(|limits| limits.output_bytes_max = 1);
    let mut client = Client::connect_for_long(address(&broker), "queue");
    client.subscribe("q", QoS::AtLeastOnce);
    client.disconnect();
    for number in 0..40 {
        publish(&broker, "q", &numbered(number, 100), QoS::AtLeastOnce);
    }
    let mut connect = connect_packet(V5, "queue");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    let mut client = Client::open(address(&broker)).connected(&connect);
    let mut ids = Vec::new();
    for number in 0..32 {
        let Received::Publish(message) = client.receive() else { panic!("no PUBLISH") };
        assert_eq!(number_of(&message.payload), number);
        ids.extend(message.id);
    }
    ids.into_iter().for_each(|id| client.acknowledge(PacketType::PubAck, id));
    for number in 32..40 {
        assert_eq!(number_of(&client.message().payload), number);
    }
}

/// A publisher that never reads its acknowledgements blocks nobody but itself.
#[test]
fn a_publisher_that_reads_nothing_is_bounded() {
    if !alone("slow::a_publisher_that_reads_nothing_is_bounded") {
        return;
    }
    let broker = builder(1).start().unwrap();
    let mut deaf = narrow(&broker, "deaf");
    let mut other = Client::connect(address(&broker), "other");
    let stops = Arc::new(AtomicBool::new(false));
    let is_stopping = Arc::clone(&stops);
    let before = resident_bytes();
    let sending = thread::spawn(move || {
        let ping = [0xC0, 0].repeat(32 * 1024);
        while !is_stopping.load(Ordering::Relaxed) && deaf.try_send_bytes(&ping).is_ok() {}
    });
    let mut received = 0;
    until("it has sent 40 MB, or nothing more is read", || {
        let before = std::mem::replace(&mut received, counters(&broker).bytes_received);
        (0..20).for_each(|_| other.ping());
        received > 40_000_000 || received > 1_000_000 && received - before < 100
    });
    let grown = resident_bytes().saturating_sub(before);
    figure(&format!("a peer that reads no PINGRESP: {} KB more", grown / 1024));
    stops.store(true, Ordering::Relaxed);
    drop(broker);
    until("it ends", || sending.is_finished());
    assert!(grown < 16 << 20, "{grown} bytes for answers that nobody reads");
}
