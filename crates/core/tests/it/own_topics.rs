//! What the broker reports about itself below `$SYS`.

use std::num::NonZeroU16;

use midge_core::{DropReason, Usage};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{options, persistent, puback};
use crate::received::Got;

/// Gives all workers the same values.
fn tell(node: &mut Node, topics: &[(&str, &str)]) {
    for worker in 0..node.cores.len() {
        node.call(worker, |core, turn| core.set_own_topics(topics.iter().copied(), turn));
    }
}

fn summary(node: &mut Node, conn: Conn) -> Vec<(String, String, bool)> {
    let messages = node.messages(conn);
    let messages = messages.iter();
    messages.map(|it| (it.topic.clone(), it.text().to_string(), it.retain)).collect()
}

fn entry(topic: &str, text: &str, retain: bool) -> (String, String, bool) {
    (topic.to_string(), text.to_string(), retain)
}

#[test]
fn a_new_subscription_gets_them_once_and_then_what_changes() {
    scenario(|node| {
        tell(node, &[("$SYS/broker/a", "1"), ("$SYS/broker/b", "2")]);
        let conn = node.connect("c");
        node.subscribe(conn, "#", 2);
        assert_eq!(summary(node, conn), [], "[MQTT-4.7.2-1]");
        node.subscribe(conn, "$SYS/#", 2);
        let both = [entry("$SYS/broker/a", "1", true), entry("$SYS/broker/b", "2", true)];
        assert_eq!(summary(node, conn), both);
        tell(node, &[("$SYS/broker/a", "1"), ("$SYS/broker/b", "3")]);
        assert_eq!(summary(node, conn), [entry("$SYS/broker/b", "3", false)]);
        node.subscribe(conn, "$SYS/broker/b", 0);
        assert_eq!(summary(node, conn), [entry("$SYS/broker/b", "3", true)]);
    });
}

#[test]
fn nothing_old_comes_behind_what_has_changed() {
    let mut setup = Setup::default();
    // Some of the retained messages have to wait, but the live one does not.
    setup.limits.output_bytes_max = 200;
    scenario_with(setup, |node| {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let topics = names.map(|name| format!("$SYS/broker/{name}"));
        tell(node, &topics.each_ref().map(|topic| (topic.as_str(), "old")));
        let conn = node.connect("c");
        node.set_room(conn, 0);
        node.queue_subscribe(conn, &[("$SYS/#", options(1))], None);
        node.settle();
        let last = topics[7].as_str();
        tell(node, &[(last, "new")]);
        node.set_room(conn, usize::MAX);
        let messages = node.messages(conn);
        let of_last = messages.iter().filter(|it| it.topic == last).map(Got::text);
        assert_eq!(of_last.collect::<Vec<_>>(), ["new"]);
        assert_eq!(messages.len(), topics.len());
        assert_ne!(messages[7].topic, last, "retained messages had to wait");
    });
}

#[test]
fn one_member_of_a_shared_subscription_gets_them() {
    scenario(|node| {
        let members = ["a", "b", "c"].map(|client_id| node.connect(client_id));
        for member in members {
            node.subscribe(member, "$share/g/$SYS/#", 1);
        }
        tell(node, &[("$SYS/broker/a", "1")]);
        let got: Vec<_> = members.into_iter().flat_map(|it| summary(node, it)).collect();
        assert_eq!(got, [entry("$SYS/broker/a", "1", false)]);
    });
}

#[test]
fn they_count_against_no_limit_and_are_in_no_store() {
    let mut setup = Setup { has_store: true, ..Setup::default() };
    (setup.limits.retained_messages_max, setup.limits.retained_bytes_max) = (0, 0);
    scenario_with(setup, |node| {
        let conn = node.connect_with(&persistent("c")).0;
        node.subscribe_with(conn, &[("$SYS/#", options(2))], None);
        tell(node, &[("$SYS/broker/a", "1")]);
        assert_eq!(summary(node, conn), [entry("$SYS/broker/a", "1", false)]);
        assert_eq!(node.dropped(DropReason::RetainedLimit), 0);
        let mut usage = Usage::default();
        node.cores.iter().for_each(|core| usage.add(&core.usage()));
        assert_eq!((usage.retained_messages, node.counters().messages_received), (0, 0));
        assert_eq!((usage.connected, usage.sessions, usage.subscriptions), (1, 1, 1));
        node.lose(conn);
        tell(node, &[("$SYS/broker/a", "2")]);
        let usage = node.cores.iter().map(|core| core.usage().connected).sum::<usize>();
        assert_eq!(usage, 0);
        let conn = node.connect_with(&persistent("c")).0;
        assert_eq!(summary(node, conn), [], "what a Client missed does not wait for it");
        node.subscribe_with(conn, &[("$SYS/#", options(2))], None);
        assert_eq!(summary(node, conn), [entry("$SYS/broker/a", "2", true)]);
    });
}

#[test]
fn they_take_no_place_in_the_queue_of_a_session() {
    let mut setup = Setup::default();
    setup.limits.queue_messages_max = 1;
    scenario_with(setup, |node| {
        let filters = [("$SYS/#", options(2)), ("alarms/#", options(2))];
        let mut slow = persistent("slow");
        slow.properties.receive_maximum = NonZeroU16::new(1);
        let slow = node.connect_with(&slow).0;
        node.subscribe_with(slow, &filters, None);
        let away = node.connect_with(&persistent("away")).0;
        node.subscribe_with(away, &filters, None);
        node.lose(away);
        node.acknowledge(slow, false);
        let publisher = node.connect("p");
        node.publish(publisher, "alarms/1", "in flight, and in the queue of the other", 1);
        tell(node, &[("$SYS/broker/a", "1"), ("$SYS/broker/b", "1")]);
        node.publish(publisher, "alarms/2", "queued", 1);
        let packet_id = node.messages(slow)[0].packet_id;
        node.send(slow, &puback(packet_id));
        assert_eq!(node.texts(slow), ["queued"]);
        let away = node.connect_with(&persistent("away")).0;
        assert_eq!(node.texts(away), ["in flight, and in the queue of the other"]);
        assert_eq!(node.dropped(DropReason::QueueFull), 1, "the queue has room for one");
    });
}

#[test]
fn sessions_and_connections_are_counted_as_they_come_and_go() {
    let mut node = Node::new(&Setup::default());
    let count = |node: &Node| {
        let usage = node.cores[0].usage();
        (usage.connections, usage.connected, usage.local_subscribers, usage.sessions)
    };
    let (local, silent) = (node.call(0, midge_core::Core::open_local), node.open(0));
    let conn = node.connect_with(&persistent("c")).0;
    assert_eq!(count(&node), (3, 1, 1, 2));
    let taken_over_by = node.connect_with(&persistent("c")).0;
    assert_eq!(count(&node), (3, 1, 1, 2));
    assert!(node.is_closed(conn));
    node.call(0, |core, turn| core.handle_closed(local, turn));
    node.lose(silent);
    assert_eq!(count(&node), (1, 1, 0, 1));
    node.lose(taken_over_by);
    assert_eq!(count(&node), (0, 0, 0, 1));
}
