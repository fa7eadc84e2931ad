//! Other settings while a broker runs: in effect for what comes, harmless to what is there.

use std::sync::Arc;

use midge_core::{AutoSubscription, DropReason, Durability, Limits, Rewrite, Settings, TopicRules};

use crate::node::{Node, scenario};
use crate::packets::{options, persistent};

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
        node.call(worker, |core, _, _| core.reconfigure(settings).clone());
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
        let limits = Limits { retained_messages_max: 1, receive_maximum: 1, ..Limits::default() };
        let rewrite =
            Rewrite { from: "old".into(), to: "new".into(), publish: true, subscribe: true };
        let subscription = AutoSubscription { filter: "news".into(), options: options(1) };
        let topics = TopicRules { rewrites: vec![rewrite], subscriptions: vec![subscription] };
        reconfigure(node, &settings(limits, topics));
        let (after, connack) = node.connect_with(&crate::packets::connect("after"));
        assert_eq!(connack.receive_maximum, Some(64), "this one stays as it was told");
        node.publish(before, "news", "for who came later", 1);
        assert_eq!(node.texts(after), ["for who came later"]);
        assert_eq!(node.texts(before), [""; 0]);
        for topic in ["old", "another"] {
            let mut packet = crate::packets::publish(topic, topic, 1, 7);
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
