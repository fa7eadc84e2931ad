//! After an UNSUBACK nothing that is published later arrives, whichever workers are involved.

use std::num::NonZeroU32;

use midge_codec::{Packet, PacketIdentifier, ReasonCode, Unsubscribe, UserProperties};
use midge_core::{Limits, SharedStrategy};

use crate::client::subscribe_packet;
use crate::node::{Conn, Node, Setup, TellOnPanic, scenario_with};
use crate::packets::{options, persistent, publish};
use crate::received::Received;

const SEEDS: u64 = 60;

/// Runs the scenario with three workers whose turns come in many different orders.
fn in_many_orders(strategy: SharedStrategy, run: impl Fn(&mut Node, u64)) {
    for seed in 0..SEEDS {
        let setup = Setup { workers: 3, shuffle: Some(seed), strategy, ..Setup::default() };
        let told = TellOnPanic(format!("order seed {seed}"));
        run(&mut Node::new(&setup), seed);
        told.well();
    }
}

fn queue_unsubscribe(node: &mut Node, conn: Conn, filter: &str) {
    let filters = [filter];
    let packet = Unsubscribe {
        packet_id: PacketIdentifier::new(60_001).expect("not 0"),
        user_properties: UserProperties::default(),
        filters: filters[..].into(),
    };
    node.queue(conn, &Packet::Unsubscribe(packet));
}

fn has(node: &Node, conn: Conn, is_it: impl Fn(&Received) -> bool) -> bool {
    node.sockets[conn.0].received.iter().any(is_it)
}

/// Lets `publishers` publish in every turn until `conn` has received a packet for which `is_it`
/// holds; what arrives is left in `received`.
fn publish_until(
    node: &mut Node,
    publishers: &[Conn],
    conn: Conn,
    is_it: impl Fn(&Received) -> bool + Copy,
) {
    for turn in 0..10_000 {
        for (index, &publisher) in publishers.iter().enumerate() {
            let level = (turn + index) as u8 % 2;
            let packet = publish("t", "x", level, (turn % 60_000 + 1) as u16);
            node.queue(publisher, &Packet::Publish(packet));
        }
        for worker in 0..node.cores.len() {
            node.turn(worker);
        }
        if has(node, conn, is_it) {
            return;
        }
    }
    panic!("the answer does not come");
}

fn is_unsuback(packet: &Received) -> bool {
    matches!(packet, Received::UnsubAck(60_001, _))
}

fn is_publish(packet: &Received) -> bool {
    matches!(packet, Received::Publish(_))
}

/// Returns what has arrived after the first packet for which `is_it` holds.
fn behind(node: &mut Node, conn: Conn, is_it: impl Fn(&Received) -> bool) -> Vec<Received> {
    let all = node.take(conn);
    let at = all.iter().position(is_it).expect("it has come");
    all[at + 1..].to_vec()
}

#[test]
fn nothing_comes_behind_an_unsuback() {
    for strategy in [SharedStrategy::RoundRobin, SharedStrategy::LeastInFlight] {
        in_many_orders(strategy, |node, seed| {
            let conn = node.connect("a");
            let others: Vec<_> = ["b", "c", "d"].map(|name| node.connect(name)).to_vec();
            let group = format!("$share/g{seed}/t");
            for filter in [&*group, "t", "$exclusive/t"] {
                node.subscribe(conn, filter, 1);
                if filter == group && seed % 2 == 0 {
                    node.subscribe(others[0], filter, 1);
                }
                queue_unsubscribe(node, conn, filter);
                publish_until(node, &others, conn, is_unsuback);
                node.settle();
                let late = behind(node, conn, is_unsuback);
                assert!(!late.iter().any(is_publish), "{filter}: {late:?}");
                node.take(others[0]);
            }
        });
    }
}

#[test]
fn an_unsubscribe_right_behind_its_subscribe_ends_it_as_well() {
    in_many_orders(SharedStrategy::RoundRobin, |node, seed| {
        let conn = node.connect("a");
        let others: Vec<_> = ["b", "c"].map(|name| node.connect(name)).to_vec();
        let filter = format!("$share/g{seed}/t");
        node.queue_subscribe(conn, &[(&filter, options(1))], None);
        queue_unsubscribe(node, conn, &filter);
        publish_until(node, &others, conn, is_unsuback);
        node.settle();
        let late = behind(node, conn, is_unsuback);
        assert!(!late.iter().any(is_publish), "{late:?}");
        assert_eq!(node.subscribe(conn, &filter, 1), ReasonCode::GrantedQoS1);
        node.take(conn);
        node.publish(others[1], "t", "again", 1);
        assert_eq!(node.texts(conn), ["again"]);
    });
}

#[test]
fn behind_an_unsuback_nobody_counts_as_subscriber() {
    in_many_orders(SharedStrategy::RoundRobin, |node, seed| {
        let conn = node.connect("a");
        let other = node.connect("b");
        for filter in [format!("$share/g{seed}/t"), "t".to_string()] {
            node.subscribe(conn, &filter, 1);
            queue_unsubscribe(node, conn, &filter);
            publish_until(node, &[], conn, is_unsuback);
            let code = node.publish_acknowledged(other, publish("t", "x", 1, 1));
            assert_eq!(code, ReasonCode::NoMatchingSubscribers, "{filter}");
            node.take(conn);
        }
    });
}

#[test]
fn an_exclusive_filter_is_free_when_its_unsuback_is_there() {
    in_many_orders(SharedStrategy::RoundRobin, |node, seed| {
        let (conn, other) = (node.connect("a"), node.connect("b"));
        let filter = format!("$exclusive/{seed}");
        node.subscribe(conn, &filter, 1);
        queue_unsubscribe(node, conn, &filter);
        publish_until(node, &[], conn, is_unsuback);
        assert_eq!(node.subscribe(other, &filter, 1), ReasonCode::GrantedQoS1);
    });
}

#[test]
fn behind_the_suback_of_a_changed_subscription_all_messages_are_as_it_asks() {
    in_many_orders(SharedStrategy::RoundRobin, |node, seed| {
        let conn = node.connect("a");
        let others: Vec<_> = ["b", "c"].map(|name| node.connect(name)).to_vec();
        let filter = format!("$share/g{seed}/t");
        node.subscribe_with(conn, &[(&filter, options(1))], NonZeroU32::new(1));
        subscribe_packet(60_002, &[(&filter, options(0))], NonZeroU32::new(2), &mut |packet| {
            node.queue(conn, packet);
        });
        let is_suback = |packet: &Received| matches!(packet, Received::SubAck(60_002, _));
        publish_until(node, &others, conn, is_suback);
        node.settle();
        node.publish(others[0], "t", "last", 1);
        let late = behind(node, conn, is_suback);
        let late: Vec<_> = late.iter().filter(|packet| is_publish(packet)).collect();
        assert!(!late.is_empty());
        for packet in late {
            let Received::Publish(message) = packet else { continue };
            assert_eq!((message.qos, &message.identifiers[..]), (0, &[2][..]), "{packet:?}");
        }
    });
}

#[test]
fn what_a_subscription_asked_for_ends_with_it_even_if_it_is_made_again() {
    let limits = Limits { inflight_messages_max: 1, queue_messages_max: 4, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let publisher = node.connect("p");
        for number in 0..20 {
            let mut packet = publish("t", "x", 1, 1);
            let topic = format!("t/{number}");
            packet.topic = midge_codec::TopicName::new(&topic).expect("a valid topic");
            packet.retain = true;
            node.send_publish(publisher, packet);
        }
        let conn = node.connect_with(&persistent("a")).0;
        node.acknowledge(conn, false);
        node.subscribe(conn, "t/#", 1);
        assert_eq!(node.unsubscribe(conn, "t/#"), ReasonCode::Success);
        node.subscribe_with(conn, &[("t/#", options(0))], None);
        let begun = node.messages(conn);
        for message in begun.iter().filter(|message| message.qos == 1) {
            node.send(conn, &crate::packets::puback(message.packet_id));
        }
        node.acknowledge(conn, true);
        node.settle();
        let more = node.messages(conn);
        let all: Vec<_> = begun.iter().chain(&more).collect();
        assert_eq!(all.iter().filter(|message| message.qos == 0).count(), 20);
        let old = all.iter().filter(|message| message.qos == 1).count();
        assert!(old <= 4, "{old} of the old subscription: more than were buffered");
    });
}
