//! Settings that change while a broker runs: they apply to what is new and do not harm what exists.

use std::sync::Arc;

use midge_codec::ReasonCode;
use midge_core::{AutoSubscription, DropReason, Durability, Limits, Rewrite, Settings, TopicRules};

use crate::node::{Node, scenario};
use crate::packets::{connect, connect_v3, options, persistent, publish, will, with_alias};

fn settings(limits: Limits, topics: TopicRules) -> Settings {
    Settings {
        limits: Arc::new(limits),
        topics: Arc::new(topics),
        durability: Durability::Fsync,
        topic_durabilities: Vec::new(),
        response_prefix: None,
    }
}

fn reconfigure(node: &mut Node, settings: &Settings) {
    for worker in 0..node.cores.len() {
        node.call(worker, |core, _| core.reconfigure(settings).clone());
    }
}

#[test]
fn a_new_limit_holds_for_what_comes_and_takes_nothing_away() {
    scenario(|node| {
        let away = node.connect_with(&persistent("away")).0;
        node.subscribe(away, "t", 1);
        node.lose(away);
        let publisher = node.connect("p");
        for number in 0..5 {
            node.publish(publisher, "t", &number.to_string(), 1);
        }
        let limits = Limits { queue_messages_max: 2, ..Limits::default() };
        reconfigure(node, &settings(limits, TopicRules::default()));
        node.publish(publisher, "t", "too many", 1);
        assert_eq!(node.dropped(DropReason::QueueFull), 1);
        let back = node.connect_with(&persistent("away")).0;
        assert_eq!(node.texts(back), ["0", "1", "2", "3", "4"]);
    });
}

#[test]
fn limits_of_the_node_and_topic_rules_are_the_new_ones() {
    scenario(|node| {
        let before = node.connect("before");
        let limits = Limits { retained_messages_max: 1, ..Limits::default() };
        let rewrite =
            Rewrite { from: "old".into(), to: "new".into(), publish: true, subscribe: true };
        let subscription = AutoSubscription { filter: "news".into(), options: options(1) };
        let topics = TopicRules { rewrites: vec![rewrite], subscriptions: vec![subscription] };
        reconfigure(node, &settings(limits, topics));
        let after = node.connect("after");
        node.publish(before, "news", "for who came later", 1);
        assert_eq!(node.texts(after), ["for who came later"]);
        assert_eq!(node.texts(before), [""; 0]);
        for topic in ["old", "another"] {
            let mut packet = publish(topic, topic, 1, 7);
            packet.retain = true;
            node.publish_acknowledged(before, packet);
        }
        let reader = node.connect("reader");
        node.subscribe(reader, "+", 0);
        assert_eq!(node.messages(reader).len(), 1);
        node.subscribe(reader, "new", 0);
        assert_eq!(node.texts(reader), ["old"]);
    });
}

#[test]
fn a_subscription_that_is_older_than_a_rule_ends_by_the_filter_that_its_client_wrote() {
    scenario(|node| {
        let client = node.connect("c");
        node.subscribe(client, "old", 0);
        node.subscribe(client, "$share/g/old", 0);
        let rewrite =
            Rewrite { from: "old".into(), to: "new".into(), publish: false, subscribe: true };
        let topics = TopicRules { rewrites: vec![rewrite], ..TopicRules::default() };
        reconfigure(node, &settings(Limits::default(), topics));
        for filter in ["old", "$share/g/old"] {
            assert_eq!(node.unsubscribe(client, filter), ReasonCode::Success, "{filter}");
            let none = ReasonCode::NoSubscriptionExisted;
            assert_eq!(node.unsubscribe(client, filter), none, "{filter}");
        }
        let publisher = node.connect("p");
        node.publish(publisher, "old", "to nobody", 1);
        assert_eq!(node.texts(client), [""; 0]);
        // The rule is tried first.
        node.subscribe(client, "old", 0);
        assert_eq!(node.unsubscribe(client, "old"), ReasonCode::Success);
        node.publish(publisher, "new", "to nobody", 1);
        assert_eq!(node.texts(client), [""; 0]);
    });
}

#[test]
fn who_is_connected_is_held_to_the_limits_that_it_was_told() {
    scenario(|node| {
        let before = node.connect("before");
        let old = node.connect_with(&connect_v3("old", true)).0;
        let limits = Limits {
            receive_maximum: 2,
            awaiting_release_max: 1,
            topic_alias_maximum: 1,
            ..Limits::default()
        };
        reconfigure(node, &settings(limits, TopicRules::default()));
        let (after, connack) = node.connect_with(&connect("after"));
        assert_eq!((connack.receive_maximum, connack.topic_alias_maximum), (Some(2), Some(1)));
        let later = node.connect_with(&connect_v3("later", true)).0;
        // Each of these exchanges waits for a PUBREL that does not come.
        for conn in [before, old, after, later] {
            node.acknowledge(conn, false);
        }
        for number in 1..=3 {
            for (conn, max) in [(before, 3), (old, 3), (after, 2), (later, 1)] {
                if number <= max {
                    node.send_publish(conn, publish("t", "x", 2, number));
                    assert!(!node.is_closed(conn), "{number} of {max}");
                }
            }
        }
        let aliased = |alias| with_alias(publish("t", "x", 0, 0), alias);
        node.send_publish(before, aliased(16));
        assert!(!node.is_closed(before));
        node.send_publish(later, publish("t", "x", 2, 2));
        assert!(node.is_closed(later));
        node.send_publish(after, publish("t", "x", 2, 3));
        assert_eq!(node.end_code(after), Some(ReasonCode::ReceiveMaximumExceeded));
        let again = node.connect("again");
        node.send_publish(again, aliased(2));
        assert_eq!(node.end_code(again), Some(ReasonCode::TopicAliasInvalid));
    });
}

#[test]
fn the_end_of_a_connection_by_its_driver_is_told_and_leaves_the_will() {
    scenario(|node| {
        let reader = node.connect("reader");
        node.subscribe(reader, "will/#", 0);
        let mut packet = persistent("new");
        packet.will = Some(will("will/new", "gone", 0));
        let new = node.connect_with(&packet).0;
        let old = node.connect_with(&connect_v3("old", false)).0;
        let stranger = node.open(0);
        for conn in [new, old, stranger] {
            let (worker, id) = (node.sockets[conn.0].worker, node.sockets[conn.0].id);
            let code = ReasonCode::AdministrativeAction;
            node.call(worker, |core, turn| core.end_connection(id, code, turn));
            assert!(node.is_closed(conn));
        }
        assert_eq!(node.end_code(new), Some(ReasonCode::AdministrativeAction));
        assert_eq!(node.texts(reader), ["gone"]);
        assert!(node.connect_with(&persistent("new")).1.session_present, "its Session stays");
    });
}
