//! Events that affect a connection with data streams as a whole.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use midge_broker::{
    AuthReply, AuthRequest, Hook, Peer, PeerAddress, ProtocolVersion, QoS, QuicOptions, ReasonCode,
    Transport,
};

use super::link::{CONTROL, Link};
use super::place::{Place, Relay};
use crate::client::{Client, Received, connect_packet};
use crate::support::{DEADLINE, counters, in_time, until, usage};

/// Passes every request for authentication on to the test.
struct Asking(Mutex<Sender<(AuthRequest, Peer, AuthReply)>>);

impl Hook for Asking {
    fn authenticate(&self, request: AuthRequest, peer: &Peer, reply: AuthReply) {
        self.0.lock().unwrap().send((request, peer.clone(), reply)).unwrap();
    }
}

/// Opens two data streams and uses them before the Client is connected.
fn connect_early(place: &Place) -> (Link, [usize; 2], u16) {
    let mut link = Link::open(place.quic, &place.tls);
    link.send_connect(&connect_packet(ProtocolVersion::V5, "eager"));
    let streams = [link.open_stream(), link.open_stream()];
    let id = link.send_subscribe(streams[0], "t", QoS::AtLeastOnce);
    link.publish(streams[1], "u", b"early", QoS::AtLeastOnce);
    (link, streams, id)
}

fn expect_early(link: &mut Link, streams: [usize; 2], id: u16) {
    assert!(!link.expect_connack());
    link.expect_suback(streams[0], id);
    assert!(matches!(link.receive(streams[1]), Received::Ack { .. }));
    link.publish_acknowledged(streams[1], "t", b"1");
    assert_eq!(link.text(streams[0]), "1");
}

#[test]
fn data_streams_may_come_before_the_connack() {
    let place = Place::new(1);
    let heard = place.broker.handle().subscribe("u", QoS::AtMostOnce).wait().unwrap();
    let (mut link, streams, id) = connect_early(&place);
    expect_early(&mut link, streams, id);
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), b"early");
}

#[test]
fn they_wait_for_an_authentication_that_takes_its_time() {
    let (sender, asked) = channel();
    let hook = Arc::new(Asking(Mutex::new(sender)));
    let place = Place::with(2, QuicOptions::default(), |builder| builder.hook(hook));
    let heard = place.broker.handle().subscribe("u", QoS::AtMostOnce).wait().unwrap();
    let (mut link, streams, id) = connect_early(&place);
    let (_, peer, reply) = asked.recv_timeout(DEADLINE).unwrap();
    assert_eq!(link.waiting(streams[0]), []);
    assert_eq!(counters(&place.broker).messages_received, 0);
    reply.allow(Some("ada"));
    expect_early(&mut link, streams, id);
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), b"early");
    // The hook learns who the peer is, and where.
    assert_eq!(peer.transport, Transport::Quic);
    assert!(matches!(peer.address, PeerAddress::Network(address) if address.ip().is_loopback()));
    let tls = peer.tls.unwrap();
    assert_eq!(tls.certificate.as_ref().unwrap().subject, "CN=client");
    // The data streams of a refused Client are never read.
    let (mut link, streams, _) = connect_early(&place);
    asked.recv_timeout(DEADLINE).unwrap().2.refuse(ReasonCode::Banned);
    assert!(matches!(link.receive(CONTROL), Received::ConnAck { code: ReasonCode::Banned, .. }));
    assert_eq!(link.receive(CONTROL), Received::Closed);
    assert_eq!(link.receive(streams[0]), Received::Closed);
}

#[test]
fn the_owner_of_a_session_gets_its_data_streams() {
    let place = Place::new(3);
    let mut publisher = Client::connect(place.tcp, "p");
    for number in 0..9 {
        let client_id = format!("c{number}");
        let mut before = Client::connect_for_long(place.tcp, &client_id);
        before.subscribe(&format!("old/{number}"), QoS::AtLeastOnce);
        before.disconnect();
        publisher.publish_acknowledged(&format!("old/{number}"), b"kept");
        let mut connect = connect_packet(ProtocolVersion::V5, &client_id);
        connect.clean_start = false;
        let mut link = Link::open(place.quic, &place.tls);
        link.send_connect(&connect);
        let stream = link.open_stream();
        let topic = format!("new/{number}");
        let id = link.send_subscribe(stream, &topic, QoS::AtLeastOnce);
        assert!(link.expect_connack(), "the session is there");
        link.expect_suback(stream, id);
        assert_eq!(link.text(CONTROL), "kept");
        publisher.publish_acknowledged(&topic, b"1");
        assert_eq!(link.text(stream), "1");
        let second = link.open_stream();
        link.subscribe(second, &format!("$share/g/{topic}"), QoS::AtLeastOnce);
        link.publish_acknowledged(second, "t", b"2");
    }
    until("they are gone", || usage(&place.broker).connections == 1);
}

#[test]
fn a_takeover_ends_all_streams_also_those_with_output() {
    let place = Place::new(2);
    let mut connect = connect_packet(ProtocolVersion::V5, "c");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    let mut link = Link::open(place.quic, &place.tls).connected(&connect);
    let stream = link.open_stream();
    link.subscribe(stream, "t", QoS::AtLeastOnce);
    link.set_reading(stream, false);
    let mut publisher = Client::connect(place.tcp, "p");
    for number in 0..10_u8 {
        publisher.publish_acknowledged("t", &vec![number; 50_000]);
    }
    let mut newer = Link::open(place.quic, &place.tls);
    newer.send_connect(&connect);
    assert!(newer.expect_connack());
    let ending = link.receive(CONTROL);
    assert_eq!(ending, Received::Disconnect(ReasonCode::SessionTakenOver));
    assert_eq!(link.receive(CONTROL), Received::Closed);
    for number in 0..10 {
        assert_eq!(newer.message(CONTROL).payload[0], number);
    }
    let stream = newer.open_stream();
    newer.subscribe(stream, "t", QoS::AtLeastOnce);
    publisher.publish_acknowledged("t", b"11");
    assert_eq!(newer.text(stream), "11");
    until("the old one is gone", || usage(&place.broker).connections == 2);
}

#[test]
fn a_broker_that_stops_says_so_and_waits_for_no_stream() {
    let place = Place::new(1);
    let mut link = place.connect("c");
    let [stalled, idle] = [(); 2].map(|()| link.open_stream());
    link.subscribe(stalled, "t", QoS::AtLeastOnce);
    link.publish_acknowledged(idle, "u", b"1");
    link.set_reading(stalled, false);
    for number in 0..10_u8 {
        link.publish_acknowledged(CONTROL, "t", &vec![number; 50_000]);
    }
    let Place { broker, .. } = place;
    let stopping = std::thread::spawn(move || {
        let begin = Instant::now();
        broker.stop(DEADLINE);
        begin.elapsed()
    });
    let ending = link.receive(CONTROL);
    assert_eq!(ending, Received::Disconnect(ReasonCode::ServerShuttingDown));
    assert_eq!(link.receive(CONTROL), Received::Closed);
    let took = in_time("it stops", move || stopping.join().unwrap());
    assert!(took < Duration::from_secs(4), "it has waited for a stream: {took:?}");
}

#[test]
fn a_client_that_moves_keeps_its_streams() {
    let (sender, asked) = channel();
    let hook = Arc::new(Asking(Mutex::new(sender)));
    let place = Place::with(1, QuicOptions::default(), |builder| builder.hook(hook));
    let relay = Relay::new(place.quic);
    let mut link = Link::open(relay.address, &place.tls);
    link.send_connect(&connect_packet(ProtocolVersion::V5, "c"));
    let (_, peer, reply) = asked.recv_timeout(DEADLINE).unwrap();
    assert_eq!(peer.address, PeerAddress::Network(relay.outside()));
    reply.allow(None);
    link.expect_connack();
    let [first, second] = [(); 2].map(|()| link.open_stream());
    link.subscribe(first, "t", QoS::AtLeastOnce);
    for number in 0..60_u8 {
        if number % 20 == 10 {
            relay.rebind();
        }
        link.publish_acknowledged(second, "t", &vec![number; 5_000]);
        assert!(link.message(first).payload == vec![number; 5_000], "{number}");
    }
    link.ping();
    assert_eq!(usage(&place.broker).connections, 1);
}
