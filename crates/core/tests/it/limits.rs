//! Limits mean the same with 1, 2, 8 and 16 workers: what the documentation counts for the node is
//! counted for the node, and every refusal is reported to the Client that asked.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use midge_codec::{
    Acknowledgement, Connect, Disconnect, Packet, Publish, ReasonCode, Subscribe, Subscription,
    Unsubscribe, UserPropertiesBuf,
};
use midge_core::{DropReason, Limits, Usage};

use crate::node::{Conn, Node, Setup, TellOnPanic};
use crate::packets::{connect, connect_v3, id, options, persistent, puback, publish, will};
use crate::received::Received;

/// Runs a scenario with 1, 2, 8 and 16 workers, in order without a store and shuffled with one.
fn with_workers(limits: &Limits, run: impl Fn(&mut Node)) {
    for workers in [1, 2, 8, 16] {
        for (shuffle, has_store) in [(None, false), (Some(1), true)] {
            let text = format!("{workers} workers, order seed {shuffle:?}, store: {has_store}");
            let told = TellOnPanic(text);
            let limits = limits.clone();
            run(&mut Node::new(&Setup { workers, shuffle, limits, has_store, ..Setup::default() }));
            told.well();
        }
    }
}

/// Connects Clients on all workers.
fn crowd(node: &mut Node, name: &str) -> Vec<Conn> {
    (0..16).map(|number| node.connect(&format!("{name}{number}"))).collect()
}

fn usage(node: &Node) -> Usage {
    let mut sum = Usage::default();
    node.cores.iter().for_each(|core| sum.add(&core.usage()));
    sum
}

/// Returns how often each Reason Code occurs, by its number.
fn counts(codes: impl IntoIterator<Item = ReasonCode>) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    codes.into_iter().for_each(|code| *counts.entry(code as u8).or_default() += 1);
    counts
}

fn retain(node: &mut Node, conn: Conn, topic: &str, payload: &str, level: u8) -> ReasonCode {
    let packet_id = node.sockets[conn.0].next_packet_id % 60_000 + 1;
    node.sockets[conn.0].next_packet_id = packet_id;
    let mut packet = publish(topic, payload, level, packet_id);
    packet.retain = true;
    node.publish_acknowledged(conn, packet)
}

const QUOTA: u8 = ReasonCode::QuotaExceeded as u8;
const NOBODY: u8 = ReasonCode::NoMatchingSubscribers as u8;

#[test]
fn retained_messages_are_as_many_as_the_limit_and_all_others_are_told() {
    let limits = Limits { retained_messages_max: 10, ..Limits::default() };
    with_workers(&limits, |node| {
        let crowd = crowd(node, "p");
        for level in [1, 2] {
            let codes = (0..40).map(|number| {
                let topic = format!("t{level}/{number}");
                retain(node, crowd[number % 16], &topic, "x", level)
            });
            let codes = counts(codes.collect::<Vec<_>>());
            assert_eq!(codes, BTreeMap::from([(NOBODY, 10), (QUOTA, 30)]), "QoS {level}");
            assert_eq!(usage(node).retained_messages, 10);
            let reader = node.connect(&format!("reader{level}"));
            node.subscribe(reader, "#", 2);
            let kept: Vec<_> = node.messages(reader).into_iter().map(|it| it.topic).collect();
            assert_eq!(kept.len(), 10);
            // A retained message may be replaced and removed though there is no room for another.
            for (number, topic) in kept.iter().enumerate() {
                let code = retain(node, crowd[number + 3], topic, "new", level);
                assert_eq!(code, ReasonCode::Success);
                let code = retain(node, crowd[number], "one more", "x", level);
                assert_eq!(code, ReasonCode::QuotaExceeded);
            }
            for topic in &kept {
                assert_eq!(retain(node, crowd[5], topic, "", level), ReasonCode::Success);
            }
            assert_eq!(usage(node).retained_messages, 0);
            node.disconnect(reader, ReasonCode::Success);
        }
    });
}

#[test]
fn publishers_of_many_at_once_are_told_what_became_of_each() {
    let limits = Limits { retained_messages_max: 10, ..Limits::default() };
    with_workers(&limits, |node| {
        let crowd = crowd(node, "p");
        let sleepy = node.connect_with(&persistent("sleepy")).0;
        node.subscribe(sleepy, "#", 2);
        node.lose(sleepy);
        for (index, &conn) in crowd.iter().enumerate() {
            for number in 1..=3 {
                let topic = format!("{index}/{number}");
                let mut packet = publish(&topic, "x", 1 + number as u8 % 2, number);
                packet.retain = true;
                node.queue(conn, &Packet::Publish(packet));
            }
        }
        node.settle();
        let mut codes = Vec::new();
        for conn in crowd {
            let (mut acknowledged, mut last) = (0, 0);
            for packet in node.take(conn) {
                if let Received::PubAck(packet_id, code) | Received::PubRec(packet_id, code) =
                    packet
                {
                    assert!(packet_id > last, "in order");
                    (acknowledged, last) = (acknowledged + 1, packet_id);
                    codes.push(code);
                }
            }
            assert_eq!(acknowledged, 3);
        }
        assert_eq!(counts(codes), BTreeMap::from([(0, 10), (QUOTA, 38)]));
        assert_eq!(usage(node).retained_messages, 10);
        assert_eq!(node.dropped(DropReason::RetainedLimit), 38);
    });
}

#[test]
fn bytes_of_retained_messages_are_counted_for_the_node() {
    let limits = Limits { retained_bytes_max: 100, ..Limits::default() };
    with_workers(&limits, |node| {
        let crowd = crowd(node, "p");
        let codes = (0..40_usize)
            .map(|number| retain(node, crowd[number % 16], &format!("{number:02}"), "12345678", 1));
        let codes = counts(codes.collect::<Vec<_>>());
        assert_eq!(codes, BTreeMap::from([(NOBODY, 10), (QUOTA, 30)]));
        assert_eq!(usage(node).retained_bytes, 100);
        let code = retain(node, crowd[7], "00", "123456789", 1);
        assert_eq!(code, ReasonCode::QuotaExceeded, "a larger one in its place");
        retain(node, crowd[8], "00", "1234567", 1);
        retain(node, crowd[9], "01", "123456789", 1);
        assert_eq!(usage(node).retained_bytes, 100);
    });
}

#[test]
fn a_refused_qos_2_packet_identifier_is_free_again() {
    let limits = Limits { retained_messages_max: 0, receive_maximum: 3, ..Limits::default() };
    with_workers(&limits, |node| {
        let sleepy = persistent("p");
        let publisher = node.connect_with(&sleepy).0;
        for number in 0..20 {
            let code = retain(node, publisher, &format!("t{number}"), "x", 2);
            assert_eq!(code, ReasonCode::QuotaExceeded);
        }
        assert!(!node.is_closed(publisher));
        let packet = |retain| Publish { retain, ..publish("t", "x", 2, 9) };
        assert_eq!(node.publish_acknowledged(publisher, packet(true)), ReasonCode::QuotaExceeded);
        let code = node.publish_acknowledged(publisher, packet(false));
        assert_eq!(code, ReasonCode::NoMatchingSubscribers, "not taken for a repetition");
    });
}

#[test]
fn sessions_are_as_many_as_the_limit_while_sleepy_clients_come_and_go() {
    let limits = Limits { sessions_max: 20, ..Limits::default() };
    with_workers(&limits, |node| {
        let name = |number: usize| format!("c{number}");
        let codes: Vec<_> = (0..40)
            .map(|number| {
                let (name, v3) = (name(number), number % 3 == 0);
                let packet = if v3 { connect_v3(&name, false) } else { persistent(&name) };
                let conn = node.begin_connect(&packet);
                node.settle();
                let code = node.take_connack(conn).code;
                node.lose(conn);
                code
            })
            .collect();
        assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 20);
        assert_eq!((node.sessions(), codes[..20].iter().all(|&code| code == 0)), (20, true));
        for number in 0..20 {
            let (conn, is_present) = node.resume(&persistent(&name(number)));
            assert!(is_present, "{number}");
            node.lose(conn);
        }
        assert_eq!(node.refused(&connect("one more")), QUOTA);
        // First a new Session replaces the old one, and then one that ends with its connection.
        let anew = Connect { clean_start: true, ..persistent("c4") };
        let conn = node.connect_with(&anew).0;
        assert_eq!((node.sessions(), node.refused(&connect("one more"))), (20, QUOTA));
        node.lose(conn);
        let conn = node.connect("c4");
        assert_eq!((node.sessions(), node.refused(&connect("one more"))), (20, QUOTA));
        node.lose(conn);
        let conn = node.connect("one more");
        assert_eq!((node.sessions(), node.refused(&connect("and one"))), (20, QUOTA));
        node.lose(conn);
    });
}

#[test]
fn delayed_messages_are_counted_for_the_node() {
    let by_count = Limits { delayed_messages_max: 10, ..Limits::default() };
    let by_bytes = Limits { delayed_bytes_max: 100, ..Limits::default() };
    for limits in [by_count, by_bytes] {
        with_workers(&limits, |node| {
            let crowd = crowd(node, "p");
            for round in 0..2 {
                let codes: Vec<_> = (0..40_u16)
                    .map(|number| {
                        let topic = format!("$delayed/5/{number:02}");
                        let packet_id = 40 * round + number + 1;
                        let level = 1 + number as u8 % 2;
                        let packet = publish(&topic, "12345678", level, packet_id);
                        node.publish_acknowledged(crowd[usize::from(number) % 16], packet)
                    })
                    .collect();
                assert_eq!(counts(codes), BTreeMap::from([(0, 10), (QUOTA, 30)]));
                assert_eq!(usage(node).delayed_messages, 10);
                node.advance(5_000);
                assert_eq!(usage(node).delayed_messages, 0);
            }
        });
    }
}

#[test]
fn a_group_keeps_as_many_messages_as_the_limit() {
    let limits = Limits { shared_backlog_messages_max: 10, ..Limits::default() };
    with_workers(&limits, |node| {
        let crowd = crowd(node, "p");
        let member = node.connect_with(&persistent("member")).0;
        node.subscribe(member, "$share/g/t", 1);
        for _ in 0..2 {
            node.lose(member);
            for number in 0..40_usize {
                node.publish(crowd[number % 16], "t", &number.to_string(), 1);
            }
            let member = node.resume(&persistent("member")).0;
            assert_eq!(node.texts(member).len(), 10);
            node.lose(member);
        }
        assert_eq!(node.dropped(DropReason::SharedBacklogFull), 60);
    });
}

#[test]
fn subscriptions_of_a_session_are_counted_whatever_their_home() {
    let limits = Limits { subscriptions_per_session_max: 12, ..Limits::default() };
    with_workers(&limits, |node| {
        let client = node.connect_with(&persistent("c")).0;
        let filters = |range: std::ops::Range<u32>| -> Vec<String> {
            let kinds = |number| match number % 3 {
                0 => format!("t/{number}"),
                1 => format!("$share/g/t/{number}"),
                _ => format!("$exclusive/t/{number}"),
            };
            range.map(kinds).collect()
        };
        let codes: Vec<_> =
            filters(0..40).iter().map(|filter| node.subscribe(client, filter, 1)).collect();
        assert_eq!(counts(codes), BTreeMap::from([(1, 12), (QUOTA, 28)]));
        node.lose(client);
        let client = node.resume(&persistent("c")).0;
        for filter in filters(0..12) {
            assert_eq!(node.subscribe(client, &filter, 1), ReasonCode::GrantedQoS1, "replaced");
            assert_eq!(node.subscribe(client, "one more", 1), ReasonCode::QuotaExceeded);
        }
        for filter in filters(0..12) {
            assert_eq!(node.unsubscribe(client, &filter), ReasonCode::Success);
        }
        let codes: Vec<_> =
            filters(50..70).iter().map(|filter| node.subscribe(client, filter, 1)).collect();
        assert_eq!(counts(codes), BTreeMap::from([(1, 12), (QUOTA, 8)]));
    });
}

#[test]
fn a_queue_holds_as_many_messages_as_the_limit_whether_its_client_is_there_or_not() {
    let limits = Limits { queue_messages_max: 10, ..Limits::default() };
    with_workers(&limits, |node| {
        let has_store = node.has_store();
        let crowd = crowd(node, "p");
        let mut packet = persistent("receiver");
        packet.properties.receive_maximum = NonZeroU16::new(2);
        let receiver = node.connect_with(&packet).0;
        node.subscribe(receiver, "t", 1);
        node.acknowledge(receiver, false);
        for number in 0..40_usize {
            node.publish(crowd[number % 16], "t", &number.to_string(), 1);
        }
        assert_eq!(node.texts(receiver), ["0", "1"]);
        assert_eq!(node.dropped(DropReason::QueueFull), 28, "two under way and ten behind them");
        node.lose(receiver);
        node.publish(crowd[3], "t", "one more", 1);
        assert_eq!(node.dropped(DropReason::QueueFull), 29);
        if !has_store {
            // With a store the queue would have to be fetched, which the harness cannot do.
            let receiver = node.resume(&packet).0;
            assert_eq!(node.texts(receiver).len(), 12);
        }
    });
}

#[test]
fn user_properties_are_counted_in_every_packet() {
    let limits = Limits { user_properties_max: 3, ..Limits::default() };
    with_workers(&limits, |node| {
        for (count, is_allowed) in [(3, true), (4, false)] {
            let mut properties = UserPropertiesBuf::default();
            (0..count).for_each(|number| properties.push("name", &number.to_string()));
            let user_properties = properties.view();
            let mut packet = connect("connect");
            packet.properties.user_properties = user_properties;
            let conn = node.begin_connect(&packet);
            node.settle();
            assert_eq!(node.take_connack(conn).code, if is_allowed { 0 } else { QUOTA });
            let mut packet = connect("will");
            packet.will = Some(will("w", "x", 1));
            packet.will.as_mut().unwrap().properties.user_properties = user_properties;
            let conn = node.begin_connect(&packet);
            node.settle();
            assert_eq!(node.take_connack(conn).code, if is_allowed { 0 } else { QUOTA });

            let packet_id = id(7);
            let subscription = Subscription { filter: "t", options: options(1) };
            let subscriptions = [subscription];
            let filters = ["t"];
            let ack = Acknowledgement { user_properties, ..Acknowledgement::success(packet_id) };
            let packets = [
                Packet::PubAck(ack.clone()),
                Packet::PubRec(ack.clone()),
                Packet::PubRel(ack.clone()),
                Packet::PubComp(ack),
                Packet::Subscribe(Subscribe {
                    packet_id,
                    subscription_identifier: None,
                    user_properties,
                    subscriptions: subscriptions[..].into(),
                }),
                Packet::Unsubscribe(Unsubscribe {
                    packet_id,
                    user_properties,
                    filters: filters[..].into(),
                }),
                Packet::Disconnect(Disconnect {
                    user_properties,
                    ..Disconnect::with_reason(ReasonCode::Success)
                }),
            ];
            for packet in packets {
                let kind = packet.packet_type();
                let conn = node.connect("sender");
                node.send(conn, &packet);
                let is_told = node.take(conn).last()
                    == Some(&Received::Disconnect(ReasonCode::QuotaExceeded));
                assert_eq!(is_told, !is_allowed, "{count} in {kind:?}");
            }
        }
    });
}

#[test]
fn an_mqtt_5_client_has_no_more_messages_under_way_than_its_receive_maximum() {
    let limits = Limits { receive_maximum: 4, ..Limits::default() };
    for level in [1, 2] {
        with_workers(&limits, |node| {
            if !node.has_store() && level == 1 {
                return; // each message is acknowledged at once
            }
            let sleepy = node.connect_with(&persistent("sleepy")).0;
            node.subscribe(sleepy, "t", 2);
            node.lose(sleepy);
            let publisher = node.connect("publisher");
            node.acknowledge(publisher, false);
            node.hold_receipts(true);
            for number in 1..=4 {
                node.publish(publisher, "t", &number.to_string(), level);
            }
            assert!(!node.is_closed(publisher));
            node.publish(publisher, "t", "5", level);
            assert_eq!(node.end_code(publisher), Some(ReasonCode::ReceiveMaximumExceeded));
            node.hold_receipts(false);
        });
    }
}

#[test]
fn as_many_messages_are_under_way_as_the_client_and_the_limits_let_be() {
    let limits = Limits {
        inflight_messages_max: 300,
        inflight_messages_mqtt3_max: 40,
        inflight_bytes_max: 100 * (128 + 101),
        queue_messages_max: 10_000,
        ..Limits::default()
    };
    let with_receive_maximum = |mut packet: Connect<'static>, maximum| {
        packet.properties.receive_maximum = NonZeroU16::new(maximum);
        packet
    };
    let (long, short) = ("x".repeat(100), String::new());
    for (packet, payload, under_way) in [
        // Messages are sent while any bytes are left, so the last one may exceed the limit.
        (connect("r"), &short, 100 * (128 + 101) / 129 + 1),
        (connect("r"), &long, 100),
        (with_receive_maximum(connect("r"), 77), &long, 77),
        (connect_v3("r", true), &short, 40),
        (persistent("r"), &long, 100),
    ] {
        with_workers(&limits, |node| {
            let crowd = crowd(node, "p");
            let receiver = node.connect_with(&packet).0;
            node.subscribe(receiver, "t", 2);
            node.acknowledge(receiver, false);
            for number in 0..320_usize {
                node.publish(crowd[number % 16], "t", payload, 1 + number as u8 % 2);
            }
            assert_eq!(node.messages(receiver).len(), under_way.min(300));
        });
    }
}

#[test]
fn a_client_may_acknowledge_thousands_of_messages_in_any_order() {
    let limits = Limits { queue_messages_max: 100_000, ..Limits::default() };
    with_workers(&limits, |node| {
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 1);
        node.acknowledge(receiver, false);
        let publisher = node.connect("p");
        for number in 0..1_500_usize {
            node.queue(publisher, &Packet::Publish(publish("t", &number.to_string(), 0, 0)));
            let packet_id = (number % 60) as u16 + 1;
            let text = number.to_string();
            node.queue(publisher, &Packet::Publish(publish("t", &text, 1, packet_id)));
            if number % 60 == 59 {
                node.settle();
            }
        }
        node.settle();
        let mut messages = node.messages(receiver);
        messages.retain(|message| message.qos == 1);
        assert_eq!(messages.len(), 1_500);
        // From the middle outwards.
        for distance in 0..750 {
            for place in [749 - distance, 750 + distance] {
                node.queue(receiver, &puback(messages[place].packet_id));
            }
        }
        node.settle();
        let clients: Vec<_> = node.clients();
        assert!(clients.iter().all(|client| client.in_flight == 0));
    });
}
