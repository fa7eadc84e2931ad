//! Messages under way: QoS 1 and 2 in both directions, flow control, queues and their limits.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{Acknowledgement, Connect, Packet, Publish, ReasonCode};
use midge_core::{DropReason, Limits};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{
    connect, connect_v3, id, persistent, puback, pubcomp, publish, pubrec, pubrel, with_expiry,
};
use crate::received::{Got, Received};
use crate::rules::Right;

fn with_receive_maximum(mut packet: Connect<'_>, maximum: u16) -> Connect<'_> {
    packet.properties.receive_maximum = NonZeroU16::new(maximum);
    packet
}

/// Connects a Client that subscribes to `t` and acknowledges by hand, and a publisher.
fn slow_pair(node: &mut Node, packet: &Connect<'_>, level: u8) -> (Conn, Conn) {
    let receiver = node.connect_with(packet).0;
    node.subscribe(receiver, "t", level);
    node.acknowledge(receiver, false);
    (receiver, node.connect("publisher"))
}

fn numbered(node: &mut Node, publisher: Conn, numbers: std::ops::Range<u32>, level: u8) {
    for number in numbers {
        node.publish(publisher, "t", &number.to_string(), level);
    }
}

fn summary(messages: &[Got]) -> Vec<(&str, bool)> {
    messages.iter().map(|message| (message.text(), message.dup)).collect()
}

#[test]
fn qos_1_is_acknowledged_and_delivered_once() {
    scenario(|node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 2);
        let publisher = node.connect("p");
        let code = node.publish_acknowledged(publisher, publish("t", "x", 1, 9));
        assert_eq!(code, ReasonCode::Success);
        assert_eq!(node.message(receiver).qos, 1, "the lower of both");
        let code = node.publish_acknowledged(publisher, publish("nobody", "x", 1, 9));
        assert_eq!(code, ReasonCode::NoMatchingSubscribers);
        assert_eq!(node.dropped(DropReason::NoSubscriber), 1);
    });
}

#[test]
fn a_repeated_qos_2_publish_is_delivered_once() {
    scenario(|node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 2);
        let publisher = node.connect_with(&persistent("p")).0;
        node.acknowledge(publisher, false);
        node.publish_acknowledged(publisher, publish("t", "x", 2, 5));
        let again = Publish { dup: true, ..publish("t", "x", 2, 5) };
        node.publish_acknowledged(publisher, again.clone());
        node.lose(publisher);
        let publisher = node.connect_with(&persistent("p")).0;
        node.acknowledge(publisher, false);
        node.publish_acknowledged(publisher, again);
        assert_eq!(node.texts(receiver), ["x"]);
        node.send(publisher, &pubrel(5));
        assert_eq!(node.take(publisher), [Received::PubComp(5, ReasonCode::Success)]);
        node.send(publisher, &pubrel(5));
        let unknown = Received::PubComp(5, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(node.take(publisher), [unknown]);
        node.publish_acknowledged(publisher, publish("t", "new", 2, 5));
        assert_eq!(node.texts(receiver), ["new"], "a released identifier is a new message");
    });
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    scenario(|node| {
        let (receiver, publisher) = slow_pair(node, &persistent("r"), 2);
        for (text, level) in [("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 2)] {
            node.publish(publisher, "t", text, level);
        }
        let first = node.messages(receiver);
        node.send(receiver, &puback(first[2].packet_id));
        node.send(receiver, &pubrec(first[3].packet_id));
        node.send(receiver, &pubrec(first[4].packet_id));
        node.send(receiver, &pubcomp(first[4].packet_id));
        node.lose(receiver);
        node.publish(publisher, "t", "f", 1);
        let receiver = node.begin_connect(&persistent("r"));
        node.acknowledge(receiver, false);
        node.settle();
        node.take_connack(receiver);
        let received = node.take(receiver);
        let order: Vec<_> = received
            .iter()
            .map(|packet| match packet {
                Received::Publish(got) => (got.text().to_string(), got.dup, got.packet_id),
                Received::PubRel(packet_id, _) => ("rel".to_string(), false, *packet_id),
                other => panic!("{other:?}"),
            })
            .collect();
        let ids: Vec<_> = first.iter().map(|got| got.packet_id).collect();
        let expected = [("a", true, ids[0]), ("b", true, ids[1]), ("rel", false, ids[3])];
        for (index, (text, dup, packet_id)) in expected.into_iter().enumerate() {
            assert_eq!(order[index], (text.to_string(), dup, packet_id));
        }
        assert_eq!((order[3].0.as_str(), order[3].1, order.len()), ("f", false, 4));
    });
}

#[test]
fn a_clean_session_sends_nothing_again() {
    scenario(|node| {
        let (receiver, publisher) = slow_pair(node, &connect("r"), 1);
        numbered(node, publisher, 0..3, 1);
        node.lose(receiver);
        assert_eq!(node.dropped(DropReason::SessionEnded), 3);
        let receiver = node.connect("r");
        assert_eq!(node.messages(receiver), []);
    });
}

#[test]
fn no_more_than_the_receive_maximum_is_under_way() {
    scenario(|node| {
        let packet = with_receive_maximum(persistent("r"), 2);
        let (receiver, publisher) = slow_pair(node, &packet, 2);
        numbered(node, publisher, 0..5, 2);
        let first = node.messages(receiver);
        assert_eq!(summary(&first), [("0", false), ("1", false)]);
        node.publish(publisher, "t", "QoS 0 does not count", 0);
        assert_eq!(node.texts(receiver).len(), 1);
        node.send(receiver, &pubrec(first[0].packet_id));
        assert_eq!(node.messages(receiver), [], "PUBREC does not make room");
        node.send(receiver, &pubcomp(first[0].packet_id));
        assert_eq!(node.texts(receiver), ["2"]);
        let refusal = Acknowledgement {
            reason_code: ReasonCode::UnspecifiedError,
            ..Acknowledgement::success(id(first[1].packet_id))
        };
        node.send(receiver, &Packet::PubRec(refusal));
        assert_eq!(node.texts(receiver), ["3"], "a refusing PUBREC does");
        assert_eq!(node.dropped(DropReason::RefusedByReceiver), 1);
    });
}

#[test]
fn redelivery_heeds_the_receive_maximum_of_the_new_connection() {
    scenario(|node| {
        let (receiver, publisher) = slow_pair(node, &persistent("r"), 1);
        numbered(node, publisher, 0..5, 1);
        assert_eq!(node.messages(receiver).len(), 5);
        node.lose(receiver);
        node.publish(publisher, "t", "5", 1);
        let packet = with_receive_maximum(persistent("r"), 2);
        let conn = node.begin_connect(&packet);
        node.acknowledge(conn, false);
        node.settle();
        node.take_connack(conn);
        let mut seen = Vec::new();
        loop {
            let messages = node.messages(conn);
            let Some(last) = messages.last() else {
                break;
            };
            assert!(messages.len() <= 2, "at most two under way: {messages:?}");
            let ids: Vec<_> = messages.iter().map(|message| message.packet_id).collect();
            assert_eq!(last.dup, last.text() != "5");
            seen.extend(messages.iter().map(|message| message.text().to_string()));
            ids.iter().for_each(|&packet_id| node.queue(conn, &puback(packet_id)));
            node.settle();
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4", "5"]);
    });
}

#[test]
fn a_client_that_exceeds_our_receive_maximum_is_disconnected() {
    let limits = Limits { receive_maximum: 3, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let publisher = node.connect("p");
        node.acknowledge(publisher, false);
        for packet_id in 1..=3 {
            node.send_publish(publisher, publish("t", "x", 2, packet_id));
        }
        node.send_publish(publisher, publish("t", "x", 2, 3));
        assert!(!node.is_closed(publisher), "a repetition is none more");
        node.send_publish(publisher, publish("t", "x", 2, 4));
        assert_eq!(node.end_code(publisher), Some(ReasonCode::ReceiveMaximumExceeded));
    });
}

#[test]
fn s10_unreleased_qos_2_identifiers_are_bounded() {
    scenario(|node| {
        let mut packet_id = 0;
        for _ in 0..3 {
            let conn = node.connect_with(&connect_v3("p", false)).0;
            node.acknowledge(conn, false);
            for _ in 0..90 {
                packet_id += 1;
                node.queue(conn, &Packet::Publish(publish("t", "x", 2, packet_id)));
            }
            node.settle();
            node.lose(conn);
        }
        let conn = node.connect_with(&connect_v3("p", false)).0;
        node.send_publish(conn, publish("t", "x", 2, packet_id + 1));
        assert!(node.is_closed(conn), "also across connections");
    });
}

#[test]
fn messages_beyond_the_clients_packet_size_are_dropped() {
    scenario(|node| {
        let mut packet = persistent("r");
        packet.properties.maximum_packet_size = NonZeroU32::new(64);
        let receiver = node.connect_with(&packet).0;
        node.subscribe(receiver, "t", 1);
        let publisher = node.connect("p");
        for length in 40..80 {
            node.publish(publisher, "t", &"x".repeat(length), 1);
            node.publish(publisher, "t", &"x".repeat(length), 0);
        }
        let messages = node.messages(receiver);
        assert!(messages.iter().all(|message| message.length <= 64));
        assert!(messages.iter().any(|message| message.length == 64), "exactly fits");
        assert_eq!(node.dropped(DropReason::PacketTooLarge), 80 - messages.len() as u64);
        node.publish(publisher, "t", "small", 1);
        assert_eq!(node.texts(receiver), ["small"], "the window is not used up");
    });
}

#[test]
fn a_queue_is_bounded_by_messages_and_bytes() {
    let limits = Limits { queue_messages_max: 3, queue_bytes_max: 100, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let receiver = node.connect_with(&persistent("r")).0;
        node.subscribe(receiver, "t", 1);
        node.lose(receiver);
        let publisher = node.connect("p");
        numbered(node, publisher, 0..5, 1);
        assert_eq!(node.dropped(DropReason::QueueFull), 2);
        node.publish(publisher, "t", "lost", 0);
        assert_eq!(node.dropped(DropReason::Offline), 1);
        let receiver = node.connect_with(&persistent("r")).0;
        assert_eq!(node.texts(receiver), ["0", "1", "2"]);
        node.lose(receiver);
        node.publish(publisher, "t", &"x".repeat(80), 1);
        node.publish(publisher, "t", &"x".repeat(80), 1);
        assert_eq!(node.dropped(DropReason::QueueBytes), 1);
        assert_eq!(node.all_dropped().len(), 3, "{:?}", node.all_dropped());
    });
}

#[test]
fn a_slow_socket_loses_qos_0_and_keeps_qos_1() {
    let limits = Limits { output_bytes_max: 1_000, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 1);
        let publisher = node.connect("p");
        node.set_room(receiver, 0);
        for number in 0..50 {
            node.publish(publisher, "t", &format!("{number:0100}"), number % 2);
        }
        assert!(node.output_bytes(receiver) < 1_200);
        let lost = node.dropped(DropReason::SlowConsumer);
        assert!(lost > 15);
        node.set_room(receiver, usize::MAX);
        let messages = node.messages(receiver);
        assert_eq!(messages.len() as u64 + lost, 50);
        let kept: Vec<_> = messages.iter().filter(|message| message.qos == 1).collect();
        assert_eq!(kept.len(), 25, "no QoS 1 is lost");
        assert!(kept.is_sorted_by_key(|message| message.text()));
    });
}

#[test]
fn a_publisher_is_never_slowed_by_a_subscriber() {
    let limits = Limits { inflight_messages_max: 32, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 1);
        node.set_room(receiver, 0);
        let publisher = node.connect("p");
        for number in 1..=2_000 {
            let code = node.publish_acknowledged(publisher, publish("t", "x", 1, number));
            assert_eq!(code, ReasonCode::Success);
        }
        let kept = 1_000 + 32;
        assert_eq!(node.dropped(DropReason::QueueFull), 2_000 - kept);
    });
}

#[test]
fn the_message_expiry_interval_is_counted_down_in_a_queue() {
    scenario(|node| {
        let receiver = node.connect_with(&persistent("r")).0;
        node.subscribe(receiver, "t", 1);
        node.lose(receiver);
        let publisher = node.connect("p");
        node.send_publish(publisher, with_expiry(publish("t", "short", 1, 1), 5));
        node.send_publish(publisher, with_expiry(publish("t", "long", 1, 2), 60));
        node.send_publish(publisher, publish("t", "for ever", 1, 3));
        node.advance(10_500);
        let receiver = node.connect_with(&persistent("r")).0;
        let messages = node.messages(receiver);
        assert_eq!(summary(&messages), [("long", false), ("for ever", false)]);
        assert_eq!((messages[0].expiry, messages[1].expiry), (Some(50), None));
        assert_eq!(node.dropped(DropReason::Expired), 1);
    });
}

#[test]
fn a_message_without_time_left_is_not_published() {
    scenario(|node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 1);
        let publisher = node.connect("p");
        let packet = with_expiry(publish("t", "x", 1, 1), 0);
        assert_eq!(node.publish_acknowledged(publisher, packet), ReasonCode::Success);
        assert_eq!((node.texts(receiver).len(), node.dropped(DropReason::Expired)), (0, 1));
    });
}

#[test]
fn a_message_that_was_sent_is_sent_again_though_it_has_expired() {
    for qos in [1, 2] {
        scenario(|node| {
            let (receiver, publisher) = slow_pair(node, &persistent("r"), qos);
            node.send_publish(publisher, with_expiry(publish("t", "x", qos, 1), 5));
            let first = node.message(receiver);
            node.lose(receiver);
            node.send_publish(publisher, with_expiry(publish("t", "never sent", qos, 2), 5));
            node.advance(10_000);
            let receiver = node.connect_with(&persistent("r")).0;
            let messages = node.messages(receiver); // [MQTT-4.4.0-1] [MQTT-4.3.3-7] [MQTT-3.3.2-5]
            assert_eq!(messages.len(), 1, "{messages:?}");
            let again = &messages[0];
            assert_eq!((again.text(), again.dup, again.packet_id), ("x", true, first.packet_id));
            assert_eq!((again.expiry, node.dropped(DropReason::Expired)), (Some(0), 1));
        });
    }
}

#[test]
fn z06_qos_2_that_may_not_be_repeated_is_still_brought_to_its_end() {
    scenario(|node| {
        let (receiver, publisher) = slow_pair(node, &persistent("r"), 2);
        node.publish(publisher, "t", "one", 1);
        node.publish(publisher, "t", "two", 2);
        let first = node.messages(receiver);
        node.lose(receiver);
        node.rules.deny(Right::Receive, "r", "t");
        let receiver = node.connect_with(&persistent("r")).0;
        // The Client may know the Packet Identifier: if it were reused now, the Client would take a
        // new message for the old one.
        let released = Received::PubRel(first[1].packet_id, ReasonCode::Success);
        assert_eq!(node.take(receiver), [released]);
        assert_eq!(node.dropped(DropReason::DeliveryNotAuthorized), 2);
        node.rules.clear();
        node.publish(publisher, "t", "three", 2);
        assert_eq!(node.texts(receiver), ["three"]);
    });
}

#[test]
fn properties_travel_unchanged_and_not_to_3_1_1() {
    scenario(|node| {
        let new = node.connect("new");
        let old = node.connect_with(&connect_v3("old", true)).0;
        node.subscribe(new, "t", 0);
        node.subscribe(old, "t", 0);
        let publisher = node.connect("p");
        let pairs: midge_codec::UserPropertiesBuf = [("k", "1"), ("k", "2")].into_iter().collect();
        let mut packet = publish("t", "x", 0, 0);
        packet.properties.user_properties = pairs.view();
        node.send_publish(publisher, packet);
        let expected = [("k".to_string(), "1".to_string()), ("k".to_string(), "2".to_string())];
        assert_eq!(node.message(new).user_properties, expected);
        assert_eq!(node.message(old).user_properties, []);
        assert_eq!(node.version(old), midge_codec::ProtocolVersion::V3_1_1);
    });
}

#[test]
fn large_payloads_are_shared_and_arrive_whole() {
    scenario(|node| {
        let receivers = ["x", "y", "z"].map(|name| node.connect(name));
        for conn in receivers {
            node.subscribe(conn, "t", 2);
        }
        let publisher = node.connect("p");
        let text: String = ('a'..='z').cycle().take(70_000).collect();
        for level in 0..3 {
            node.publish(publisher, "t", &text, level);
        }
        for conn in receivers {
            let messages = node.messages(conn);
            assert_eq!(messages.len(), 3);
            assert!(messages.iter().all(|message| message.text() == text));
        }
    });
}
