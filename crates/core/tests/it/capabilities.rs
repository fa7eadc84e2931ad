//! What a listener does not offer: the CONNACK says so, and a Client that uses it is refused.

use std::num::NonZeroU32;

use midge_codec::{Connect, Packet, ProtocolVersion, QoS, ReasonCode};
use midge_core::{Capabilities, Opening};

use crate::node::{Conn, Node, scenario};
use crate::packets::{connect, connect_v3, options, publish, will};
use crate::received::GotConnAck;

const ALL: fn() -> Capabilities = Capabilities::default;

/// Connects through a listener that offers these capabilities.
fn connect_by(node: &mut Node, offered: Capabilities, packet: &Connect<'_>) -> (Conn, GotConnAck) {
    let worker = node.home(packet.client_id);
    let opening = Opening { capabilities: offered, ..Opening::default() };
    let conn = node.open_with(worker, opening);
    node.queue(conn, &Packet::Connect(Box::new(packet.clone())));
    node.settle();
    let connack = node.take_connack(conn);
    (conn, connack)
}

#[test]
fn a_connack_tells_what_there_is_not() {
    scenario(|node| {
        let (_, connack) = connect_by(node, ALL(), &connect("a"));
        assert_eq!(connack.unavailable, [None; 4]);
        assert_eq!((connack.maximum_qos, connack.packet_bytes_max), (None, Some(1 << 20)));
        let nothing = Capabilities {
            qos_max: QoS::AtLeastOnce,
            retain: false,
            wildcard_subscriptions: false,
            shared_subscriptions: false,
            subscription_identifiers: false,
            packet_bytes_max: Some(100),
            ..ALL()
        };
        let (_, connack) = connect_by(node, nothing, &connect("b"));
        assert_eq!(connack.unavailable, [Some(false); 4]);
        assert_eq!((connack.maximum_qos, connack.packet_bytes_max), (Some(1), Some(100)));
    });
}

#[test]
fn versions_that_are_not_spoken_are_refused() {
    scenario(|node| {
        let only_v5 = Capabilities { mqtt_3_1: false, mqtt_3_1_1: false, ..ALL() };
        let only_v3 = Capabilities { mqtt_5_0: false, ..ALL() };
        let mut v3_1 = connect_v3("b", true);
        v3_1.version = ProtocolVersion::V3_1;
        let unsupported = ReasonCode::UnsupportedProtocolVersion as u8;
        for packet in [connect_v3("a", true), v3_1] {
            assert_eq!(connect_by(node, only_v5, &packet).1.code, unsupported);
            assert_eq!(connect_by(node, only_v3, &packet).1.code, 0);
        }
        assert_eq!(connect_by(node, only_v3, &connect("c")).1.code, unsupported);
        assert_eq!(connect_by(node, only_v5, &connect("c")).1.code, 0);
    });
}

#[test]
fn client_identifiers_may_have_to_be_the_clients_own() {
    scenario(|node| {
        let own = Capabilities { assigned_client_identifiers: false, ..ALL() };
        let invalid = ReasonCode::ClientIdentifierNotValid as u8;
        assert_eq!(connect_by(node, own, &connect("")).1.code, invalid);
        assert_eq!(connect_by(node, own, &connect_v3("", true)).1.code, invalid);
        assert_eq!(connect_by(node, ALL(), &connect("")).1.code, 0);
    });
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-11] [MQTT-3.2.2-12]
#[test]
fn a_qos_above_the_maximum_is_no_one_s() {
    scenario(|node| {
        let low = Capabilities { qos_max: QoS::AtLeastOnce, ..ALL() };
        let mut with_will = connect("w");
        with_will.will = Some(will("t", "gone", 2));
        let refused = connect_by(node, low, &with_will).1.code;
        assert_eq!(refused, ReasonCode::QoSNotSupported as u8);
        let (conn, _) = connect_by(node, low, &connect("a"));
        assert_eq!(node.subscribe(conn, "t", 2), ReasonCode::GrantedQoS1);
        node.publish(conn, "t", "one", 1);
        assert_eq!(node.texts(conn), ["one"]);
        node.send_publish(conn, publish("t", "two", 2, 9));
        assert_eq!(node.end_code(conn), Some(ReasonCode::QoSNotSupported));
        let (conn, _) = connect_by(node, low, &connect_v3("b", true));
        node.send_publish(conn, publish("t", "two", 2, 9));
        assert!(node.is_closed(conn));
    });
}

/// [MQTT-3.2.2-13] [MQTT-3.2.2-14]
#[test]
fn nothing_is_retained_where_that_is_off() {
    scenario(|node| {
        let none = Capabilities { retain: false, ..ALL() };
        let mut with_will = connect("w");
        with_will.will = Some(midge_codec::Will { retain: true, ..will("t", "gone", 0) });
        let refused = connect_by(node, none, &with_will).1.code;
        assert_eq!(refused, ReasonCode::RetainNotSupported as u8);
        let (conn, _) = connect_by(node, none, &connect("a"));
        let mut packet = publish("t", "kept", 0, 0);
        packet.retain = true;
        node.send_publish(conn, packet);
        assert_eq!(node.end_code(conn), Some(ReasonCode::RetainNotSupported));
        let reader = node.connect("r");
        node.subscribe(reader, "t", 0);
        assert_eq!(node.texts(reader), [""; 0]);
    });
}

#[test]
fn kinds_of_subscriptions_that_are_off_are_not_made() {
    let off = [
        ("a/+", ReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/a", ReasonCode::SharedSubscriptionsNotSupported),
        ("$queue/a", ReasonCode::SharedSubscriptionsNotSupported),
    ];
    let none = Capabilities { wildcard_subscriptions: false, shared_subscriptions: false, ..ALL() };
    scenario(|node| {
        for (filter, code) in off {
            let (conn, _) = connect_by(node, none, &connect("v5"));
            assert_eq!(node.subscribe(conn, "a/b", 0), ReasonCode::Success);
            node.queue_subscribe(conn, &[(filter, options(0))], None);
            node.settle();
            assert_eq!(node.end_code(conn), Some(code), "{filter}");
            let (conn, _) = connect_by(node, none, &connect_v3("v3", true));
            assert!(node.subscribe(conn, filter, 0).is_error(), "{filter}");
            assert_eq!(node.subscribe(conn, "a", 0), ReasonCode::Success, "the others are made");
        }
    });
}

#[test]
fn identifiers_of_subscriptions_may_be_off() {
    scenario(|node| {
        let none = Capabilities { subscription_identifiers: false, ..ALL() };
        let (conn, _) = connect_by(node, none, &connect("a"));
        node.queue_subscribe(conn, &[("t", options(0))], NonZeroU32::new(5));
        node.settle();
        assert_eq!(node.end_code(conn), Some(ReasonCode::SubscriptionIdentifiersNotSupported));
    });
}
