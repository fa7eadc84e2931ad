//! MQTT in WebSocket messages, always over a plain WebSocket, whatever carries the other tests.

use midge_conformance::connect::connect;
use midge_conformance::endpoint::Endpoint;
use midge_conformance::packet::take_packet;
use midge_conformance::transport::frames::{Framing, fragment};
use midge_conformance::transport::websocket::{Peer, Refused};
use midge_conformance::{
    Client, Encode, Packet, PingReq, Publish, Subscribe, Version, target, topic,
};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{CloseCode, Data};

/// RFC 6455, section 7.4.1: a violation of the protocol.
const PROTOCOL_ERROR: u16 = 1002;
/// RFC 6455, section 7.4.1: a type of data that the endpoint cannot accept.
const UNSUPPORTED_DATA: u16 = 1003;

/// Opens a WebSocket and connects a Client over it.
fn connected_peer(version: Version, endpoint: &Endpoint) -> Peer {
    let mut peer = Peer::open(endpoint, Some("mqtt")).expect("a WebSocket");
    peer.send([binary(connect(version).encode(version))]);
    let mut inbox = peer.receive();
    let packet = take_packet(&mut inbox, version);
    assert!(matches!(packet, Some(Packet::ConnAck(ref ack)) if ack.reason == 0), "{packet:?}");
    peer
}

fn binary(bytes: Vec<u8>) -> Message {
    Message::binary(bytes)
}

pub(crate) fn text_frame_closes_the_connection(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = connected_peer(version, &endpoint);
    peer.send([Message::text("MQTT")]);
    peer.expect_closed(&[UNSUPPORTED_DATA]);
}

pub(crate) fn text_frame_before_connect_closes_the_connection(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = Peer::open(&endpoint, Some("mqtt")).expect("a WebSocket");
    let connect = connect(version).encode(version);
    // Its bytes are valid UTF-8: only the type of the frame is wrong.
    let text = String::from_utf8(connect).expect("a CONNECT of small numbers");
    peer.send([Message::text(text)]);
    peer.expect_closed(&[UNSUPPORTED_DATA]);
}

pub(crate) fn text_frame_inside_a_packet_closes_the_connection(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = connected_peer(version, &endpoint);
    let publish = Publish::new(&topic(), "half").encode(version);
    let (first, second) = publish.split_at(5);
    let second = String::from_utf8(second.to_vec()).expect("a PUBLISH of letters");
    peer.send([binary(first.to_vec()), Message::text(second)]);
    peer.expect_closed(&[UNSUPPORTED_DATA]);
}

/// A text frame among the fragments of a binary message violates the WebSocket protocol itself.
pub(crate) fn text_frame_among_fragments_closes_the_connection(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = connected_peer(version, &endpoint);
    let ping = PingReq.encode(version);
    peer.send([fragment(&ping[..1], Data::Binary, false), fragment(b"MQTT", Data::Text, true)]);
    peer.expect_closed(&[PROTOCOL_ERROR, UNSUPPORTED_DATA]);
}

/// The broker answers only in binary messages: the client accepts nothing else.
pub(crate) fn broker_sends_binary_messages(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = connected_peer(version, &endpoint);
    peer.send([binary(PingReq.encode(version))]);
    assert_eq!(peer.receive(), [0xD0, 0]);
}

/// A whole conversation whose packets are split into frames as `framing` says.
pub(crate) fn packets_may_be_split(version: Version, framing: Framing) {
    let Some(endpoint) = target::websocket() else { return };
    let topic = topic();
    let mut client = Client::dial_to(version, &endpoint, framing);
    client.send(&connect(version));
    assert_eq!(client.receive_connack().reason, 0);
    client.subscribe(&topic, 2);
    for qos in [0, 1, 2] {
        client.publish(&topic, &format!("at {qos}"), qos);
        assert_eq!(client.receive_message().text(), format!("at {qos}"));
    }
    let large = "large ".repeat(2_000);
    client.publish(&topic, &large, 1);
    assert_eq!(client.receive_message().text(), large);
    client.expect_silence();
    client.disconnect();
}

/// Several packets in one message, the last of them incomplete.
pub(crate) fn packets_may_be_joined(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let topic = topic();
    let mut client = Client::dial_to(version, &endpoint, Framing::Whole);
    let publish = Publish::new(&topic, "joined").encode(version);
    let (first, second) = publish.split_at(7);
    let mut bytes = connect(version).encode(version);
    bytes.extend(Subscribe::new(1).filter(&topic, 0).encode(version));
    bytes.extend(&publish);
    bytes.extend(first);
    client.send_bytes(&bytes);
    client.send_bytes(&[second, &PingReq.encode(version)].concat());
    assert_eq!(client.receive_connack().reason, 0);
    let mut messages = 0;
    for packet in client.read_until(|packet| *packet == Packet::PingResp) {
        match packet {
            Packet::SubAck(_) => {}
            Packet::Publish(publish) if publish.text() == "joined" => messages += 1,
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(messages, 2);
}

/// Pings may come between the fragments of a packet; each is answered.
pub(crate) fn ping_inside_a_packet_is_answered(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = connected_peer(version, &endpoint);
    let ping = PingReq.encode(version);
    peer.send([
        fragment(&ping[..1], Data::Binary, false),
        Message::Ping(b"are you there".as_slice().into()),
    ]);
    assert_eq!(peer.receive_pong(), b"are you there");
    peer.send([fragment(&ping[1..], Data::Continue, true)]);
    assert_eq!(peer.receive(), [0xD0, 0]);
}

/// The broker answers a Close frame with one of its own.
pub(crate) fn close_is_answered(version: Version) {
    let Some(endpoint) = target::websocket() else { return };
    let mut peer = connected_peer(version, &endpoint);
    let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    peer.send([Message::Close(Some(frame))]);
    peer.expect_closed(&[CloseCode::Normal.into()]);
}

pub(crate) fn missing_subprotocol_is_refused() {
    let Some(endpoint) = target::websocket() else { return };
    for offer in [None, Some("chat"), Some("chat, soap")] {
        match Peer::open(&endpoint, offer) {
            Err(Refused::Status(400)) => {}
            other => assert!(!target::is_strict(), "{offer:?} led to {other:?}"),
        }
    }
}

pub(crate) fn answer_names_the_subprotocol() {
    let Some(endpoint) = target::websocket() else { return };
    for offer in ["mqtt", "chat, mqtt", "mqtt, chat", "mqttv3.1, mqtt"] {
        let peer = Peer::open(&endpoint, Some(offer)).expect("a WebSocket");
        assert_eq!(peer.subprotocol.as_deref(), Some("mqtt"), "{offer}");
    }
}
