//! Sessions that come into the store late, with what they have gathered before.

use std::collections::BTreeSet;
use std::sync::Arc;

use midge_codec::{Connect, Packet, PacketIdentifier, Publish};
use midge_core::{Durability, Limits, Opening, Settings, StoreOp};

use crate::node::{Conn, Node, Setup, scenario_with};
use crate::packets::{options, persistent, publish, pubrel};

fn stored() -> Setup {
    Setup { has_store: true, ..Setup::default() }
}

/// Begins to connect by a listener that promises memory only.
fn begin_volatile(node: &mut Node, packet: &Connect<'_>) -> Conn {
    let worker = node.home(packet.client_id);
    let opening = Opening { durability: Some(Durability::Memory), ..Opening::default() };
    let conn = node.open_with(worker, opening);
    node.queue(conn, &Packet::Connect(Box::new(packet.clone())));
    conn
}

fn volatile(node: &mut Node, client_id: &str) -> Conn {
    let conn = begin_volatile(node, &persistent(client_id));
    node.settle();
    assert_eq!(node.take_connack(conn).code, 0);
    conn
}

/// Connects again, now by a listener that promises more.
fn durable(node: &mut Node, client_id: &str) -> Conn {
    let (conn, is_present) = node.resume(&persistent(client_id));
    assert!(is_present);
    conn
}

/// The Packet Identifiers for whose PUBREL the store waits.
fn awaited(node: &Node) -> BTreeSet<PacketIdentifier> {
    let mut awaited = BTreeSet::new();
    for op in node.stored.iter().flatten() {
        match *op {
            StoreOp::AwaitRelease { packet_id, .. } => awaited.insert(packet_id),
            StoreOp::Released { packet_id, .. } => awaited.remove(&packet_id),
            _ => false,
        };
    }
    awaited
}

#[test]
fn a_packet_identifier_that_came_before_its_session_is_released_in_the_store() {
    scenario_with(stored(), |node| {
        let client = volatile(node, "c");
        node.acknowledge(client, false);
        node.publish_acknowledged(client, publish("t", "x", 2, 9));
        let client = durable(node, "c");
        assert_eq!(awaited(node).len(), 1);
        node.send(client, &pubrel(9));
        assert!(awaited(node).is_empty(), "a later message may have the same one");
    });
}

/// Gives the broker another default for what an acknowledgement promises.
fn promise(node: &mut Node, durability: Durability) {
    let settings = Settings {
        limits: Arc::default(),
        topics: Arc::default(),
        durability,
        topic_durabilities: Vec::new(),
        response_prefix: None,
    };
    for worker in 0..node.cores.len() {
        node.call(worker, |core, _| core.reconfigure(&settings).clone());
    }
}

#[test]
fn a_packet_identifier_comes_into_the_store_behind_what_others_keep_of_its_message() {
    let mut node = Node::new(&Setup { workers: 2, ..stored() });
    node.home("c");
    let reader = node.connect_with(&persistent("reader")).0;
    node.subscribe(reader, "t", 2);
    promise(&mut node, Durability::Memory);
    let client = node.connect_with(&persistent("c")).0;
    promise(&mut node, Durability::Fsync);
    node.acknowledge(client, false);
    node.queue(client, &Packet::Publish(publish("t", "x", 2, 9)));
    node.turn(0);
    let again = node.begin_connect(&persistent("c"));
    for _ in 0..3 {
        node.turn(0);
    }
    assert!(awaited(&node).is_empty(), "the other worker has not kept the message");
    node.settle();
    assert!(node.take_connack(again).session_present);
    assert_eq!(awaited(&node).len(), 1);
}

#[test]
fn a_group_that_is_joined_while_the_session_comes_into_the_store_is_stored_too() {
    let mut node = Node::new(&Setup { workers: 2, ..stored() });
    let client = volatile(&mut node, "c");
    let filters: Vec<_> = (0..6).map(|number| format!("$share/g{number}/t")).collect();
    let wanted: Vec<_> = filters.iter().map(|filter| (filter.as_str(), options(1))).collect();
    node.queue_subscribe(client, &wanted, None);
    node.turn(0);
    let again = node.begin_connect(&persistent("c"));
    for _ in 0..2 {
        node.turn(0);
    }
    node.settle();
    assert!(node.take_connack(again).session_present);
    let groups = node.stored.iter().flatten().filter(|op| matches!(op, StoreOp::Group(_)));
    assert_eq!(groups.count(), 6, "also those whose home had not answered");
}

#[test]
fn a_packet_identifier_of_what_is_not_retained_is_free_in_the_store_too() {
    let limits = Limits { retained_messages_max: 0, ..Limits::default() };
    let mut node = Node::new(&Setup { workers: 2, limits, ..stored() });
    let client = volatile(&mut node, "c");
    for number in 1..=6 {
        let topic = format!("t/{number}");
        let packet = Publish { retain: true, ..publish(&topic, "x", 2, number) };
        node.queue(client, &Packet::Publish(packet));
    }
    node.turn(0);
    let again = node.begin_connect(&persistent("c"));
    for _ in 0..2 {
        node.turn(0);
    }
    node.settle();
    assert!(node.take_connack(again).session_present);
    let waits = |op: &StoreOp| matches!(op, StoreOp::AwaitRelease { .. });
    assert!(node.stored.iter().flatten().any(waits), "the other worker had not answered");
    assert!(awaited(&node).is_empty());
}

#[test]
fn what_comes_into_the_store_counts_as_work_of_the_turn() {
    let mut node = Node::new(&stored());
    let client = volatile(&mut node, "c");
    for number in 0..300 {
        node.subscribe(client, &format!("t/{number}"), 1);
    }
    node.lose(client);
    let publisher = node.connect("p");
    for _ in 0..700 {
        node.publish(publisher, "t/1", "x", 1);
    }
    let before = node.cores[0].operations();
    durable(&mut node, "c");
    let operations = node.cores[0].operations() - before;
    assert!(operations >= 1_000, "{operations}");
}

#[test]
fn no_message_gets_a_packet_identifier_that_the_client_may_hold() {
    scenario_with(stored(), |node| {
        let client = volatile(node, "c");
        node.subscribe(client, "t", 2);
        node.acknowledge(client, false);
        let publisher = volatile(node, "p");
        node.publish(publisher, "t", "in memory only", 2);
        let packet_id = node.message(client).packet_id;
        let client = durable(node, "c");
        node.acknowledge(client, false);
        let publisher = durable(node, "p");
        node.publish(publisher, "t", "kept", 2);
        let kept = node.stored.iter().flatten().filter_map(|op| match op {
            StoreOp::Enqueue(kept) if kept.delivery.message.payload() == b"kept" => {
                Some(kept.sequence)
            }
            _ => None,
        });
        assert_eq!(kept.collect::<Vec<_>>(), [u64::from(packet_id) + 1]);
        // The store also knows that the other one is used up.
        let is_over = |op: &StoreOp| matches!(op, StoreOp::Finished { sequence: 1, .. });
        assert!(node.stored.iter().flatten().any(is_over));
    });
}

#[test]
fn messages_under_way_keep_their_order_though_the_store_cannot_have_all_of_them() {
    let limits = Limits { receive_maximum: u16::MAX, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, ..stored() });
    let client = volatile(&mut node, "c");
    node.subscribe(client, "t", 1);
    let publisher = node.connect("p");
    let publish_next = |node: &mut Node, number: u16| {
        let text = number.to_string();
        node.queue(publisher, &Packet::Publish(publish("t", &text, 1, number)));
    };
    // The next Packet Identifiers are 32,766 and so on.
    for number in 1..=32_765 {
        publish_next(&mut node, number);
        if number % 1_000 == 0 {
            node.settle();
        }
    }
    node.settle();
    assert_eq!(node.texts(client).len(), 32_765);
    node.acknowledge(client, false);
    (1..=4).for_each(|number| publish_next(&mut node, number));
    node.settle();
    let packet_ids: Vec<_> = node.messages(client).iter().map(|it| it.packet_id).collect();
    assert_eq!(packet_ids, [32_766, 32_767, 32_768, 32_769]);
    for _ in 0..2 {
        let client = node.begin_connect(&persistent("c"));
        node.acknowledge(client, false);
        node.settle();
        assert_eq!(node.texts(client), ["1", "2", "3", "4"]);
        node.lose(client);
    }
}
