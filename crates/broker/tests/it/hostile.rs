//! Peers that break the rules, or keep them in the most unpleasant way. The codes are those of the
//! list of attacks and accidents (S).

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{Hook, Identity, Limits, ProtocolVersion, QoS, ReasonCode};
use midge_codec::{Packet, PacketType};

use crate::alone::{alone, connections_possible, figure, resident_bytes};
use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::support::{DEADLINE, address, broker, builder, counters, limited, until, usage};

const V5: ProtocolVersion = ProtocolVersion::V5;

/// The fixed header of a packet that claims 268,435,455 bytes.
const HUGE: [u8; 4] = [0xFF, 0xFF, 0xFF, 0x7F];

fn connect_bytes(client_id: &str) -> Vec<u8> {
    bytes_of(&Packet::Connect(Box::new(connect_packet(V5, client_id))), V5)
}

#[test]
fn s02_a_claim_of_256_mb_before_authentication_costs_nothing() {
    if !alone("hostile::s02_a_claim_of_256_mb_before_authentication_costs_nothing") {
        return;
    }
    let broker = broker(1);
    let mut first = Client::connect(address(&broker), "first");
    let count = connections_possible(2_000);
    let before = resident_bytes();
    let mut claiming: Vec<_> = (0..count)
        .map(|_| {
            let mut client = Client::open(address(&broker));
            client.send_bytes(&[0x10]);
            client.send_bytes(&HUGE);
            client
        })
        .collect();
    until("all have come", || counters(&broker).connections_opened == count as u64 + 1);
    until("all are closed", || usage(&broker).connections == 1);
    let per_socket = resident_bytes().saturating_sub(before) / count as u64;
    figure(&format!("{count} sockets claimed 256 MB, {per_socket} bytes each"));
    assert!(per_socket <= 4096, "{per_socket} bytes for each of {count} sockets");
    for client in &mut claiming {
        assert_eq!(client.receive(), Received::Closed);
    }
    first.ping();
}

/// The same from connected Clients, which may send up to `packet_bytes_max`: bytes that have not
/// arrived yet cost nothing.
#[test]
fn s02_a_claim_of_a_large_packet_costs_what_has_come_of_it() {
    if !alone("hostile::s02_a_claim_of_a_large_packet_costs_what_has_come_of_it") {
        return;
    }
    let broker = broker(1);
    let count = connections_possible(1_000);
    let mut clients: Vec<_> =
        (0..count).map(|n| Client::connect(address(&broker), &format!("c{n}"))).collect();
    let before = resident_bytes();
    let expected = counters(&broker).bytes_received + 8 * count as u64;
    for client in &mut clients {
        client.send_bytes(&[0x30, 0x80, 0x80, 0x3F, 0, 1, b't', 0]);
    }
    until("all claims have come", || counters(&broker).bytes_received == expected);
    let per_socket = resident_bytes().saturating_sub(before) / count as u64;
    figure(&format!("{count} Clients claimed 1 MB, {per_socket} bytes each"));
    assert!(per_socket <= 4096, "{per_socket} bytes for each of {count} Clients");
}

#[test]
fn s03_a_connect_that_drips_ends_at_the_deadline() {
    let broker = limited(|limits| limits.connect_deadline_ms = 300);
    let begun = Instant::now();
    let bytes = connect_bytes("dripping, and dripping, and dripping, and dripping on");
    let mut silent = Client::open(address(&broker));
    let mut dripping = Client::open(address(&broker));
    for byte in &bytes {
        if dripping.try_send_bytes(&[*byte]).is_err() || dripping.receive_within(STEP).is_some() {
            break;
        }
    }
    assert_eq!(silent.receive(), Received::Closed);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(250) && took < DEADLINE / 2, "{took:?}");
    until("both are counted", || counters(&broker).connect_timeouts == 2);
    assert_eq!(usage(&broker).sessions, 0);
}

const STEP: Duration = Duration::from_millis(10);

#[test]
fn s03_a_first_packet_beyond_the_cap_is_not_waited_for() {
    let broker = broker(1);
    let mut client = Client::open(address(&broker));
    client.send_bytes(&[0x10, 0x81, 0x80, 0x01, 0, 4, b'M', b'Q', b'T', b'T', 5]);
    assert_eq!(client.receive(), Received::Closed);
}

#[test]
fn s09_packets_of_servers_end_the_connection() {
    let broker = broker(1);
    let packets: [(&str, &[u8]); 9] = [
        ("CONNACK", &[0x20, 3, 0, 0, 0]),
        ("SUBACK", &[0x90, 4, 0, 1, 0, 0]),
        ("UNSUBACK", &[0xB0, 4, 0, 1, 0, 0]),
        ("PINGRESP", &[0xD0, 0]),
        ("reserved", &[0x00, 0]),
        ("CONNECT again", &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0]),
        ("AUTH without method", &[0xF0, 0]),
        ("PUBREL with wrong flags", &[0x60, 2, 0, 1]),
        ("QoS 3", &[0x36, 6, 0, 1, b't', 0, 1, 0]),
    ];
    for (name, bytes) in packets {
        let mut first = Client::open(address(&broker));
        first.send_bytes(bytes);
        if name != "CONNECT again" {
            assert_eq!(first.receive(), Received::Closed, "{name} as the first packet");
        }
        let mut client = Client::connect(address(&broker), "c");
        client.send_bytes(bytes);
        let told = client.receive();
        let is_told = matches!(told, Received::Disconnect(code) if code.is_error());
        assert!(is_told, "{name}: {told:?}");
        assert_eq!(client.receive(), Received::Closed, "{name}");
    }
    until("none is left", || usage(&broker).sessions <= 1);
}

#[test]
fn s10_qos_2_identifiers_without_release_are_bounded() {
    let broker = limited(|limits| limits.awaiting_release_max = 20);
    let mut v3 = Client::connect_v3(address(&broker), "three");
    let mut accepted = 0;
    for id in 1..=1000 {
        let packet = publish_packet("t", b"", QoS::ExactlyOnce, Some(id));
        if v3.try_send_bytes(&bytes_of(&packet, ProtocolVersion::V3_1_1)).is_err() {
            break;
        }
        match v3.receive() {
            Received::Ack { kind: PacketType::PubRec, .. } => accepted += 1,
            Received::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(accepted, 20);

    let mut v5 = Client::connect(address(&broker), "five");
    for id in 1..=100 {
        v5.send(&publish_packet("t", b"", QoS::ExactlyOnce, Some(id)));
        if counters(&broker).protocol_violations == 2 {
            break;
        }
    }
    for _ in 0..64 {
        assert!(matches!(v5.receive(), Received::Ack { kind: PacketType::PubRec, .. }));
    }
    assert_eq!(v5.receive(), Received::Disconnect(ReasonCode::ReceiveMaximumExceeded));
}

#[test]
fn s10_a_repeated_identifier_is_one_message() {
    let broker = broker(2);
    let heard = broker.handle().subscribe("twice", QoS::ExactlyOnce).wait().unwrap();
    let mut client = Client::connect(address(&broker), "c");
    for _ in 0..50 {
        client.send(&publish_packet("twice", b"1", QoS::ExactlyOnce, Some(7)));
        assert!(matches!(client.receive(), Received::Ack { kind: PacketType::PubRec, .. }));
    }
    client.acknowledge(PacketType::PubRel, 7);
    assert!(matches!(client.receive(), Received::Ack { kind: PacketType::PubComp, .. }));
    client.publish_acknowledged("twice", b"2");
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), b"1");
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), b"2");
}

#[test]
fn s12_packets_may_come_byte_by_byte_or_all_at_once() {
    let broker = broker(2);
    let mut subscriber = Client::connect(address(&broker), "s");
    subscriber.subscribe("split", QoS::AtMostOnce);

    let mut bytes = connect_bytes("byte by byte");
    for number in 0..3 {
        bytes.extend(bytes_of(&publish_packet("split", &[number], QoS::AtMostOnce, None), V5));
    }
    let mut client = Client::open(address(&broker));
    for byte in &bytes {
        client.send_bytes(&[*byte]);
    }
    for number in 0..3 {
        assert_eq!(subscriber.message().payload, [number]);
    }

    let mut bytes = connect_bytes("all at once");
    for number in 0..20_000_u32 {
        let payload = number.to_be_bytes();
        bytes.extend(bytes_of(&publish_packet("split", &payload, QoS::AtMostOnce, None), V5));
    }
    let mut client = Client::open(address(&broker));
    let sending = thread::spawn(move || {
        client.send_bytes(&bytes);
        client.receive();
        client.ping();
    });
    for number in 0..20_000_u32 {
        assert_eq!(subscriber.message().payload, number.to_be_bytes());
    }
    sending.join().unwrap();
}

#[test]
fn s12_a_remaining_length_of_five_bytes_is_malformed() {
    let broker = broker(1);
    let mut client = Client::connect(address(&broker), "c");
    client.send_bytes(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
    assert_eq!(client.receive(), Received::Disconnect(ReasonCode::MalformedPacket));
    assert_eq!(client.receive(), Received::Closed);
}

#[test]
fn half_a_packet_and_then_the_end_leaves_nothing() {
    let broker = broker(2);
    let whole = connect_bytes("half");
    for length in 0..whole.len() {
        let mut client = Client::open(address(&broker));
        client.send_bytes(&whole[..length]);
        client.shutdown_write();
        assert_eq!(client.receive(), Received::Closed);
    }
    let mut client = Client::connect(address(&broker), "half a message");
    let packet = bytes_of(&publish_packet("t", &[0; 500_000], QoS::AtLeastOnce, Some(1)), V5);
    client.send_bytes(&packet[..400_000]);
    client.shutdown_write();
    assert_eq!(client.receive(), Received::Closed);
    assert_eq!(counters(&broker).messages_received, 0);
    assert_eq!((usage(&broker).connections, usage(&broker).sessions), (0, 0));
}

#[test]
fn random_bytes_hurt_nobody() {
    let broker = broker(2);
    let mut bystander = Client::connect(address(&broker), "bystander");
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300 {
        let mut client = match round % 3 {
            0 => Client::open(address(&broker)),
            1 => Client::connect(address(&broker), &format!("r{}", round % 7)),
            _ => Client::connect_v3(address(&broker), &format!("r{}", round % 5)),
        };
        let length = random() % 400;
        let bytes: Vec<_> = (0..length).map(|_| random() as u8).collect();
        let _ = client.try_send_bytes(&bytes);
    }
    until("only the bystander is left", || usage(&broker).connections == 1);
    bystander.ping();
    bystander.publish_acknowledged("t", b"");
}

#[test]
fn s23_a_flood_of_connections_leaves_the_connected_alone() {
    let broker = broker(2);
    let mut client = Client::connect(address(&broker), "here before");
    client.subscribe("echo", QoS::AtLeastOnce);
    let at = address(&broker);
    let flood: Vec<_> = (0..4)
        .map(|number| {
            thread::spawn(move || {
                for round in 0..500 {
                    let mut client = Client::open(at);
                    match round % 3 {
                        0 => (),
                        1 => client.send_bytes(&connect_bytes(&format!("f{number}-{round}"))),
                        _ => client.send_bytes(b"GET / HTTP/1.1\r\n\r\n"),
                    }
                }
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while rounds < 20 || flood.iter().any(|thread| !thread.is_finished()) {
        let begun = Instant::now();
        client.publish_acknowledged("echo", b"still here");
        assert_eq!(client.message().payload, b"still here");
        slowest = slowest.max(begun.elapsed());
        rounds += 1;
    }
    figure(&format!("slowest of {rounds} echoes during 2,000 connects: {slowest:?}"));
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    flood.into_iter().for_each(|thread| thread.join().unwrap());
    until("all of the flood is gone", || usage(&broker).connections == 1);
    assert_eq!(usage(&broker).sessions, 1);
}

#[test]
fn an_oversized_packet_is_refused_before_it_has_come() {
    let broker = limited(|limits| limits.packet_bytes_max = 10_000);
    let mut client = Client::connect(address(&broker), "big");
    client.send(&publish_packet("t", &[0; 9_000], QoS::AtMostOnce, None));
    client.ping();
    client.send_bytes(&[0x30]);
    client.send_bytes(&HUGE);
    assert_eq!(client.receive(), Received::Disconnect(ReasonCode::PacketTooLarge));
    assert_eq!(client.receive(), Received::Closed);
    let mut v3 = Client::connect_v3(address(&broker), "big3");
    v3.send_bytes(&[0x30, 0x91, 0x4E]);
    assert_eq!(v3.receive(), Received::Closed);
}

/// A few bytes a second do not keep a Client alive; a complete packet does, and so does one that
/// arrives at the rate that `packet_bytes_per_second_min` asks for.
#[test]
fn keep_alive_ends_a_client_that_only_half_sends() {
    let broker = builder(1).limits(Limits::default()).start().unwrap();
    let mut connect = connect_packet(V5, "half alive");
    connect.keep_alive_seconds = 1;
    let mut client = Client::open(address(&broker)).connected(&connect);
    let begun = Instant::now();
    let packet = bytes_of(&publish_packet("t", &[0; 10_000], QoS::AtMostOnce, None), V5);
    let mut told = None;
    for byte in packet {
        if client.try_send_bytes(&[byte]).is_err() {
            break;
        }
        told = client.receive_within(STEP);
        if told.is_some() {
            break;
        }
    }
    let told = told.unwrap_or_else(|| client.receive());
    assert_eq!(told, Received::Disconnect(ReasonCode::KeepAliveTimeout));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1400) && took < DEADLINE / 2, "{took:?}");
}

#[test]
fn what_was_sent_before_an_end_counts() {
    const COUNT: u16 = 20_000;
    let broker = broker(2);
    let mut bytes = connect_bytes("sudden");
    for id in 1..=COUNT {
        let payload = [0; 100];
        bytes.extend(bytes_of(&publish_packet("gone", &payload, QoS::AtLeastOnce, Some(id)), V5));
    }
    let mut client = Client::open(address(&broker));
    client.send_bytes(&bytes);
    client.shutdown_write();
    until("its session has begun", || counters(&broker).messages_received > 0);
    until("all of them are counted", || {
        counters(&broker).messages_received == u64::from(COUNT) || usage(&broker).sessions == 0
    });
    assert_eq!(counters(&broker).messages_received, u64::from(COUNT));
}

/// Holds the worker at the first message until the test lets it continue.
struct Gate {
    reached: Mutex<Sender<()>>,
    opened: Mutex<Receiver<()>>,
}

impl Hook for Gate {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        if topic == "first" {
            self.reached.lock().unwrap().send(()).unwrap();
            self.opened.lock().unwrap().recv().unwrap();
        }
        true
    }
}

/// The peer's kernel resets the connection, because the peer had not read everything, while the
/// broker is busy with what it has read so far. The rest is in the broker's kernel and counts.
#[test]
fn what_was_sent_before_a_reset_counts() {
    let (reached, is_reached) = channel();
    let (open, opened) = channel();
    let hook = Gate { reached: Mutex::new(reached), opened: Mutex::new(opened) };
    let broker = builder(1).hook(Arc::new(hook)).start().unwrap();
    let mut client = Client::open(address(&broker));
    client.send_bytes(&connect_bytes("reset"));
    until("the CONNACK is written", || counters(&broker).packets_sent[2] == 1);
    until("and the turn is over", || usage(&broker).sessions == 1);
    client.send(&publish_packet("first", b"", QoS::AtLeastOnce, Some(1)));
    is_reached.recv_timeout(DEADLINE).unwrap();
    let mut bytes = Vec::new();
    for id in 2..=200 {
        bytes.extend(bytes_of(&publish_packet("rest", b"", QoS::AtLeastOnce, Some(id)), V5));
    }
    client.send_bytes(&bytes);
    drop(client);
    open.send(()).unwrap();
    until("the connection is lost", || usage(&broker).sessions == 0);
    assert_eq!(counters(&broker).messages_received, 200);
}
