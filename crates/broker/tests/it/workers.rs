//! Several workers behave as one broker: routing, takeover, order, and storms.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{Broker, DropReason, Limits, ProtocolVersion, QoS, ReasonCode};
use midge_codec::{Packet, PacketType};

use crate::alone::figure;
use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::support::{address, broker, builder, counters, until, usage};

const WORKERS: [usize; 3] = [1, 2, 4];

#[test]
fn subscribers_of_every_worker_get_every_message() {
    for workers in WORKERS {
        let broker = broker(workers);
        let mut clients: Vec<_> =
            (0..8).map(|n| Client::connect(address(&broker), &format!("c{n}"))).collect();
        for client in &mut clients {
            client.subscribe("all/+", QoS::ExactlyOnce);
        }
        for (number, publisher) in clients.iter_mut().enumerate() {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                publisher.publish("all/x", &[number as u8], qos);
            }
        }
        for client in &mut clients {
            let mut payloads = messages(client, 16);
            payloads.sort_unstable();
            let expected: Vec<_> = (0..8).flat_map(|n| [vec![n], vec![n]]).collect();
            assert_eq!(payloads, expected, "{workers} workers");
        }
    }
}

/// A worker that looks at its sockets again, because there is a new one, may thereby consume the
/// notification of a letter. The letter is read nevertheless.
#[test]
fn a_request_that_comes_while_a_connection_is_opened_is_answered() {
    // No timer may hide that nobody was woken.
    let limits = Limits { connect_deadline_ms: 600_000, ..Limits::default() };
    let broker = builder(2).limits(limits).start().expect("a free port");
    let (address, handle) = (address(&broker), broker.handle());
    let (ask, asked) = mpsc::channel::<()>();
    let (tell, answers) = mpsc::channel();
    let asking = thread::spawn(move || {
        while asked.recv().is_ok() {
            tell.send(handle.clients().wait().map(|clients| clients.len()))
                .expect("the test listens");
        }
    });
    let mut connections = Vec::new();
    for number in 0..2_000 {
        if number % 200 == 0 {
            connections.clear();
        }
        ask.send(()).expect("it asks");
        connections.push(TcpStream::connect(address).expect("the broker listens"));
        let answer = answers.recv_timeout(Duration::from_secs(10));
        assert_eq!(answer, Ok(Ok(0)), "request {number}");
    }
    drop(ask);
    asking.join().expect("no panic");
}

/// Returns the payloads of the next messages, whatever else arrives in between.
fn messages(client: &mut Client, count: usize) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while payloads.len() < count {
        if let Received::Publish(message) = client.receive() {
            if let (QoS::AtLeastOnce, Some(id)) = (message.qos, message.id) {
                client.acknowledge(PacketType::PubAck, id);
            }
            payloads.push(message.payload);
        }
    }
    payloads
}

/// A Client that has its SUBACK gets everything published later, whichever workers are involved.
#[test]
fn a_suback_says_that_every_worker_knows() {
    let broker = broker(4);
    let mut publishers: Vec<_> =
        (0..4).map(|n| Client::connect(address(&broker), &format!("p{n}"))).collect();
    let mut subscribers: Vec<_> =
        (0..4).map(|n| Client::connect(address(&broker), &format!("s{n}"))).collect();
    for round in 0..200_u32 {
        let subscriber = &mut subscribers[round as usize % 4];
        let topic = format!("fresh/{round}");
        subscriber.subscribe(&topic, QoS::AtMostOnce);
        for publisher in &mut publishers {
            publisher.publish(&topic, b"now", QoS::AtMostOnce);
        }
        assert_eq!(messages(subscriber, 4), [b"now"; 4], "round {round}");
    }
    // Many filters at once, and many requests without waiting.
    let filters: Vec<_> = (0..500).map(|n| format!("many/{n}")).collect();
    let filters: Vec<_> = filters.iter().map(String::as_str).collect();
    let ids: Vec<_> =
        filters.chunks(50).map(|f| subscribers[0].send_subscribe(f, QoS::AtMostOnce)).collect();
    for expected in ids {
        let found = subscribers[0].receive();
        assert!(matches!(&found, Received::SubAck { id, .. } if *id == expected), "{found:?}");
    }
    for filter in &filters {
        publishers[3].publish(filter, b"", QoS::AtMostOnce);
    }
    assert_eq!(messages(&mut subscribers[0], 500).len(), 500);
}

#[test]
fn each_publisher_keeps_its_order_across_workers() {
    const PER_PUBLISHER: u32 = 2_000;
    for workers in WORKERS {
        let broker = broker(workers);
        let mut subscriber = Client::connect(address(&broker), "s");
        subscriber.subscribe("order/#", QoS::AtMostOnce);
        let at = address(&broker);
        let publishing: Vec<_> = (0..4_u8)
            .map(|number| thread::spawn(move || publish_numbers(at, number, PER_PUBLISHER)))
            .collect();
        let mut next = [0_u32; 4];
        for _ in 0..PER_PUBLISHER * 4 {
            let message = subscriber.message();
            let publisher = usize::from(message.payload[0]);
            let number = u32::from_be_bytes(message.payload[1..].try_into().unwrap());
            assert_eq!(number, next[publisher], "{workers} workers, publisher {publisher}");
            next[publisher] += 1;
        }
        publishing.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn publish_numbers(address: SocketAddr, publisher: u8, count: u32) {
    let mut client = Client::connect(address, &format!("p{publisher}"));
    let topic = format!("order/{publisher}");
    for number in 0..count {
        let mut payload = vec![publisher];
        payload.extend(number.to_be_bytes());
        client.publish(&topic, &payload, QoS::AtMostOnce);
    }
    client.ping();
}

/// A Session lives on one worker; its later connections reach other workers and are handed over.
#[test]
fn a_session_is_resumed_wherever_its_client_connects() {
    for workers in WORKERS {
        let broker = broker(workers);
        let mut others: Vec<_> =
            (0..3).map(|n| Client::connect(address(&broker), &format!("o{n}"))).collect();
        let mut roaming = Client::connect_for_long(address(&broker), "roaming");
        roaming.subscribe("r", QoS::AtLeastOnce);
        for round in 0..12_u8 {
            roaming.disconnect();
            others[0].publish_acknowledged("r", &[round]);
            // This shifts the balance, so that the next connection goes to another worker.
            others.push(Client::connect(address(&broker), &format!("more{round}")));
            let mut connect = connect_packet(ProtocolVersion::V5, "roaming");
            connect.clean_start = false;
            connect.properties.session_expiry_interval = Some(3600);
            roaming = Client::open(address(&broker));
            let answer = roaming.request(&connect);
            let present = matches!(answer, Received::ConnAck { session_present: true, .. });
            assert!(present, "{workers} workers, round {round}: {answer:?}");
            assert_eq!(roaming.message().payload, [round]);
        }
    }
}

#[test]
fn a_takeover_tells_the_old_connection_wherever_it_is() {
    for workers in WORKERS {
        let broker = broker(workers);
        let mut old = Client::connect_for_long(address(&broker), "same");
        // At QoS 1 the takeover might come before the PUBACK, and the message would be sent twice.
        old.subscribe("t", QoS::AtMostOnce);
        let mut fillers = Vec::new();
        for round in 0..8 {
            fillers.push(Client::connect(address(&broker), &format!("filler{round}")));
            let new = Client::connect_for_long(address(&broker), "same");
            assert_eq!(old.receive(), Received::Disconnect(ReasonCode::SessionTakenOver));
            assert_eq!(old.receive(), Received::Closed);
            old = new;
            fillers[0].publish_acknowledged("t", b"m");
            assert_eq!(old.message().payload, b"m");
        }
        assert_eq!(counters(&broker).sessions_taken_over, 8);
        assert_eq!(usage(&broker).sessions, 9);
    }
}

/// What a Client sends right after its CONNECT moves with it.
#[test]
fn packets_behind_the_connect_are_handed_over_with_it() {
    let broker = broker(4);
    let heard = broker.handle().subscribe("behind", QoS::AtMostOnce).wait().unwrap();
    let mut first = Client::connect_for_long(address(&broker), "mover");
    for round in 0..8_u8 {
        let mut connect = connect_packet(ProtocolVersion::V5, "mover");
        connect.clean_start = round % 2 == 0;
        let mut bytes = bytes_of(&Packet::Connect(Box::new(connect)), ProtocolVersion::V5);
        for number in 0..50 {
            let payload = [round, number];
            let packet = publish_packet("behind", &payload, QoS::AtMostOnce, None);
            bytes.extend(bytes_of(&packet, ProtocolVersion::V5));
        }
        let mut client = Client::open(address(&broker));
        client.send_bytes(&bytes);
        assert!(matches!(client.receive(), Received::ConnAck { .. }));
        for number in 0..50 {
            assert_eq!(heard.recv().unwrap().payload(), [round, number]);
        }
        first = client;
    }
    first.ping();
}

/// Eight threads fight for one Client Identifier. Nothing but their connections may be lost.
#[test]
fn s13_a_storm_of_takeovers_leaves_one_client_and_a_sane_broker() {
    for workers in WORKERS {
        let broker = broker(workers);
        let until_then = Instant::now() + Duration::from_millis(1000);
        let at = address(&broker);
        let rounds = AtomicU64::new(0);
        thread::scope(|scope| {
            for number in 0..8 {
                let rounds = &rounds;
                scope.spawn(move || {
                    while Instant::now() < until_then {
                        fight(at, number);
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        // Connections closed at once still wait to be accepted; they would throw the last one out.
        until("the storm is over", || usage(&broker).connections == 0);
        let mut last = Client::connect_for_long(at, "same");
        check_after_storm(&broker, &mut last, rounds.into_inner());
    }
}

/// Connects, subscribes and publishes without much waiting; being thrown out is not an error.
fn fight(address: SocketAddr, number: u8) {
    let mut connect = connect_packet(ProtocolVersion::V5, "same");
    connect.clean_start = number.is_multiple_of(3);
    connect.properties.session_expiry_interval = Some(u32::from(number % 2) * 3600);
    let mut bytes = bytes_of(&Packet::Connect(Box::new(connect)), ProtocolVersion::V5);
    let payload = [number; 100];
    for id in 1..=10 {
        let packet = publish_packet("storm", &payload, QoS::AtLeastOnce, Some(id));
        bytes.extend(bytes_of(&packet, ProtocolVersion::V5));
    }
    let mut client = Client::open(address);
    if client.try_send_bytes(&bytes).is_err() {
        return;
    }
    if number.is_multiple_of(4) {
        return; // gone at once
    }
    let options = [0x82, 11, 0, 20, 0, 0, 5, b's', b't', b'o', b'r', b'm', 1];
    let _ = client.try_send_bytes(&options);
    for _ in 0..10 {
        match client.receive() {
            Received::Closed => return,
            Received::ConnAck { code, .. } => assert_eq!(code, ReasonCode::Success),
            _ => (),
        }
    }
}

fn check_after_storm(broker: &Broker, last: &mut Client, rounds: u64) {
    let clients = broker.handle().clients().wait().unwrap();
    let same: Vec<_> = clients.iter().filter(|client| &*client.client_id == "same").collect();
    assert_eq!(same.len(), 1, "{clients:?}");
    assert!(same[0].version.is_some());
    assert_eq!(usage(broker).connections, 1);
    last.publish_acknowledged("nobody's", b"");
    last.subscribe("after", QoS::AtMostOnce);
    Client::connect(address(broker), "other").publish("after", b"calm", QoS::AtMostOnce);
    while !matches!(last.receive(), Received::Publish(message) if message.payload == b"calm") {}
    let counters = counters(broker);
    assert!(counters.sessions_taken_over > 0 && rounds > 8, "{rounds} rounds: {counters:?}");
    assert_eq!(counters.protocol_violations, 0);
}

/// Clients with their own identifiers are served while others fight for one.
#[test]
fn s13_others_are_served_during_a_storm() {
    let broker = builder(2).start().unwrap();
    let at = address(&broker);
    let until_then = Instant::now() + Duration::from_millis(700);
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                while Instant::now() < until_then {
                    fight(at, number);
                }
            });
        }
        let mut subscriber = Client::connect(at, "calm subscriber");
        subscriber.subscribe("calm", QoS::AtLeastOnce);
        let mut publisher = Client::connect(at, "calm publisher");
        let (mut number, mut slowest) = (0_u32, Duration::ZERO);
        while number < 20 || Instant::now() < until_then {
            let begun = Instant::now();
            publisher.publish_acknowledged("calm", &number.to_be_bytes());
            assert_eq!(subscriber.message().payload, number.to_be_bytes());
            slowest = slowest.max(begun.elapsed());
            number += 1;
        }
        figure(&format!("slowest of {number} messages in a storm of takeovers: {slowest:?}"));
    });
    assert_eq!(counters(&broker).dropped_for(DropReason::SlowConsumer), 0);
}
