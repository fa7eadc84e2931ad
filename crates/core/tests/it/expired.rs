//! Expired messages take no room: a place that is full of them can take more.

use midge_codec::ReasonCode;
use midge_core::{DropReason, Limits};

use crate::node::{Conn, Node, Setup, scenario_with};
use crate::packets::{persistent, publish, retained, with_expiry};

fn setup(limits: Limits) -> Setup {
    Setup { limits, ..Setup::default() }
}

/// Publishes messages with these numbers, which expire after a second or, without `expire`, never.
fn publish_numbered(
    node: &mut Node,
    conn: Conn,
    topic: &str,
    numbers: std::ops::Range<u16>,
    expire: bool,
) {
    for number in numbers {
        let text = number.to_string();
        let packet = publish(topic, &text, 1, number + 1);
        let packet = if expire { with_expiry(packet, 1) } else { packet };
        assert_eq!(node.publish_acknowledged(conn, packet), ReasonCode::Success);
    }
}

/// Makes a Session whose Client subscribes and leaves.
fn absent(node: &mut Node, client_id: &str, filter: &str) {
    let conn = node.connect_with(&persistent(client_id)).0;
    node.subscribe(conn, filter, 1);
    node.lose(conn);
}

fn numbers(numbers: std::ops::Range<u16>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

#[test]
fn in_a_queue() {
    let limits = Limits { queue_messages_max: 10, ..Limits::default() };
    scenario_with(setup(limits), |node| {
        absent(node, "s", "t");
        let publisher = node.connect("p");
        publish_numbered(node, publisher, "t", 0..6, true);
        publish_numbered(node, publisher, "t", 6..10, false);
        publish_numbered(node, publisher, "t", 10..11, false);
        assert_eq!(node.dropped(DropReason::QueueFull), 1, "none has expired yet");
        node.advance(1_000);
        publish_numbered(node, publisher, "t", 20..27, false);
        assert_eq!(node.dropped(DropReason::Expired), 6);
        assert_eq!(node.dropped(DropReason::QueueFull), 2);
        let conn = node.resume(&persistent("s")).0;
        assert_eq!(node.texts(conn), [numbers(6..10), numbers(20..26)].concat());
    });
}

#[test]
fn in_a_queue_of_few_bytes() {
    // The bytes of the topic count, too.
    let limits = Limits { queue_bytes_max: 20, ..Limits::default() };
    scenario_with(setup(limits), |node| {
        absent(node, "s", "t");
        let publisher = node.connect("p");
        publish_numbered(node, publisher, "t", 0..10, true);
        publish_numbered(node, publisher, "t", 9..10, false);
        assert_eq!(node.dropped(DropReason::QueueBytes), 1);
        node.advance(1_000);
        publish_numbered(node, publisher, "t", 0..10, false);
        assert_eq!(node.dropped(DropReason::QueueBytes), 1);
        let conn = node.resume(&persistent("s")).0;
        assert_eq!(node.texts(conn), numbers(0..10));
    });
}

#[test]
fn in_a_queue_behind_a_window_that_is_full() {
    let limits = Limits { queue_messages_max: 10, ..Limits::default() };
    scenario_with(setup(limits), |node| {
        let mut packet = persistent("s");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(1);
        let conn = node.connect_with(&packet).0;
        node.subscribe(conn, "t", 1);
        node.acknowledge(conn, false);
        let publisher = node.connect("p");
        publish_numbered(node, publisher, "t", 0..1, false);
        publish_numbered(node, publisher, "t", 1..11, true);
        node.advance(1_000);
        publish_numbered(node, publisher, "t", 20..30, false);
        assert_eq!(node.dropped(DropReason::QueueFull), 0);
        node.lose(conn);
        let conn = node.resume(&persistent("s")).0;
        assert_eq!(node.texts(conn), [numbers(0..1), numbers(20..30)].concat());
    });
}

#[test]
fn in_the_backlog_of_a_shared_subscription() {
    for (shared_backlog_messages_max, shared_backlog_bytes_max) in [(10, 1 << 20), (1_000, 20)] {
        let limits =
            Limits { shared_backlog_messages_max, shared_backlog_bytes_max, ..Limits::default() };
        scenario_with(setup(limits), |node| {
            absent(node, "s", "$share/g/t");
            let publisher = node.connect("p");
            publish_numbered(node, publisher, "t", 0..10, true);
            publish_numbered(node, publisher, "t", 9..10, false);
            assert_eq!(node.dropped(DropReason::SharedBacklogFull), 1);
            node.advance(1_000);
            publish_numbered(node, publisher, "t", 0..10, false);
            assert_eq!(node.dropped(DropReason::SharedBacklogFull), 1);
            assert_eq!(node.dropped(DropReason::Expired), 10);
            let conn = node.resume(&persistent("s")).0;
            assert_eq!(node.texts(conn), numbers(0..10));
        });
    }
}

#[test]
fn among_delayed_messages() {
    let limits = Limits { delayed_messages_max: 1, ..Limits::default() };
    let mut node = Node::new(&setup(limits));
    let seen = node.connect("s");
    node.subscribe(seen, "t", 0);
    let publisher = node.connect("p");
    let hopeless = with_expiry(publish("$delayed/5/t", "never", 1, 1), 5);
    assert_eq!(node.publish_acknowledged(publisher, hopeless), ReasonCode::Success);
    assert_eq!(node.dropped(DropReason::Expired), 1, "it would have expired at its time");
    let first = with_expiry(publish("$delayed/5/t", "first", 1, 2), 6);
    assert_eq!(node.publish_acknowledged(publisher, first), ReasonCode::Success);
    let refused = publish("$delayed/5/t", "refused", 1, 3);
    assert_eq!(node.publish_acknowledged(publisher, refused), ReasonCode::QuotaExceeded);
    // The first message is due, but its timer has not run.
    node.has_late_timers = true;
    node.set_now(node.now + 5_000);
    let second = publish("$delayed/5/t", "second", 1, 4);
    assert_eq!(node.publish_acknowledged(publisher, second), ReasonCode::Success);
    assert_eq!(node.texts(seen), ["first"]);
    node.advance(5_000);
    assert_eq!(node.texts(seen), ["second"]);
}

#[test]
fn among_retained_messages() {
    let limits = Limits { retained_messages_max: 1, ..Limits::default() };
    let mut node = Node::new(&setup(limits));
    let publisher = node.connect("p");
    node.send_publish(publisher, with_expiry(retained("a", "old"), 1));
    node.send_publish(publisher, retained("b", "refused"));
    assert_eq!(node.dropped(DropReason::RetainedLimit), 1);
    node.has_late_timers = true;
    node.set_now(node.now + 1_000);
    node.send_publish(publisher, retained("c", "new"));
    let seen = node.connect("s");
    node.subscribe(seen, "#", 0);
    assert_eq!(node.texts(seen), ["new"]);
}
