//! Topics with a special meaning have it however a message comes in: in a PUBLISH, as a Will
//! Message or from the process itself, before and after a rewrite.

use midge_codec::{Connect, PublishProperties, QoS, ReasonCode};
use midge_core::{DropReason, Limits, LocalPublish, Rewrite, TopicRules};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, connect_v3, persistent, publish, will};
use crate::rules::Right;

fn watcher(node: &mut Node) -> Conn {
    let watcher = node.connect("watcher");
    node.subscribe(watcher, "#", 1);
    node.subscribe(watcher, "$delayed/#", 1);
    watcher
}

/// Connects with a Will Message to this topic, and loses the connection.
fn lose_with_will(node: &mut Node, topic: &str) {
    let mut last_will = will(topic, "gone", 1);
    last_will.retain = true;
    let conn = node.connect_with(&Connect { will: Some(last_will), ..connect("a") }).0;
    node.lose(conn);
}

#[test]
fn a_will_to_a_delayed_topic_is_published_when_its_time_has_come() {
    scenario(|node| {
        let watcher = watcher(node);
        lose_with_will(node, "$delayed/10/t");
        node.advance(9_999);
        assert_eq!(node.texts(watcher), [""; 0]);
        node.advance(1);
        assert_eq!(node.message(watcher).topic, "t");
        let late = node.connect("late");
        node.subscribe(late, "t", 0);
        assert!(node.message(late).retain, "it was retained under its own topic");
        assert_eq!(node.counters().wills_published, 1);
    });
}

#[test]
fn a_will_that_could_not_be_published_is_refused_with_its_connect() {
    let limits = Limits { topic_levels_max: 3, delay_seconds_max: 60, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        node.rules.deny(Right::Publish, "a", "secret");
        let with = |topic| Connect { will: Some(will(topic, "x", 0)), ..connect("a") };
        for (topic, code) in [
            ("$delayed/x/t", 0x90),
            ("$delayed/61/t", 0x90),
            ("$delayed/1/$delayed/1/t", 0x90),
            ("$delayed/1/1/2/3/4", 0x90),
            ("1/2/3/4", 0x90),
            ("$share/g/t", 0x90),
            ("$queue/t", 0x90),
            ("$exclusive/t", 0x90),
            ("$SYS/t", 0x87),
            ("$events/t", 0x87),
            ("$delayed/1/$SYS/t", 0x87),
            ("$delayed/1/secret", 0x87),
        ] {
            assert_eq!(node.refused(&with(topic)), code, "{topic}");
        }
        node.connect_with(&with("$delayed/1/1/2/3"));
    });
}

#[test]
fn a_publish_to_such_a_topic_is_refused_alone() {
    let limits = Limits { topic_levels_max: 3, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let watcher = watcher(node);
        let (v5, v3) = (node.connect("a"), node.connect_with(&connect_v3("b", true)).0);
        let mut count = 0;
        for topic in ["1/2/3/4", "$share/g/t", "$queue/t", "$exclusive/t", "$delayed/1"] {
            for level in [1, 2] {
                let code = node.publish_acknowledged(v5, publish(topic, "x", level, 9));
                assert_eq!(code, ReasonCode::TopicNameInvalid, "{topic}");
                let code = node.publish_acknowledged(v3, publish(topic, "x", level, 9));
                assert_eq!(code, ReasonCode::Success, "3.x has no way to say no");
                count += 2;
            }
            node.publish(v5, topic, "x", 0);
            count += 1;
            assert_eq!(node.dropped(DropReason::TopicNameInvalid), count, "{topic}");
        }
        assert!(!node.is_closed(v5) && !node.is_closed(v3));
        // A refused QoS 2 message leaves no Packet Identifier behind.
        node.acknowledge(v5, false);
        let code = node.publish_acknowledged(v5, publish("t", "taken", 2, 9));
        assert_eq!(code, ReasonCode::Success);
        assert_eq!(node.texts(watcher), ["taken"]);
    });
}

#[test]
fn an_alias_that_comes_with_a_refused_publish_is_set() {
    let limits = Limits { topic_levels_max: 3, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let conn = node.connect("a");
        let mut packet = publish("1/2/3/4", "x", 1, 9);
        packet.properties.topic_alias = std::num::NonZeroU16::new(1);
        assert_eq!(node.publish_acknowledged(conn, packet), ReasonCode::TopicNameInvalid);
        let mut packet = publish("", "x", 1, 10);
        packet.properties.topic_alias = std::num::NonZeroU16::new(1);
        // A packet sent before the Client learns of the refusal must not end its connection.
        assert_eq!(node.publish_acknowledged(conn, packet), ReasonCode::TopicNameInvalid);
        assert!(!node.is_closed(conn));
    });
}

#[test]
fn a_message_of_the_process_goes_the_same_ways() {
    let mut node = Node::new(&Setup { workers: 3, ..Setup::default() });
    let watcher = watcher(&mut node);
    let send = |node: &mut Node, topic: &str| {
        let message = LocalPublish {
            topic,
            payload: b"x",
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PublishProperties::default(),
        };
        node.call(0, |core, turn| {
            core.publish_local(&message, 1, turn);
            std::mem::take(&mut turn.fx.local_published).pop().expect("an answer").1
        })
    };
    assert_eq!(send(&mut node, "$delayed/10/t"), Ok(1));
    assert_eq!(send(&mut node, "$share/g/t"), Err(DropReason::TopicNameInvalid));
    assert_eq!(send(&mut node, "$delayed/x/t"), Err(DropReason::TopicNameInvalid));
    assert_eq!(node.texts(watcher), [""; 0]);
    node.advance(10_000);
    assert_eq!(node.message(watcher).topic, "t");
    node.subscribe(watcher, "$SYS/#", 0);
    assert_eq!(send(&mut node, "$SYS/broker/version"), Ok(1), "the broker's own");
    assert_eq!(node.message(watcher).topic, "$SYS/broker/version");
}

#[test]
fn a_rewrite_holds_behind_a_delay_and_may_delay() {
    let rewrite = |from: &str, to: &str| Rewrite {
        from: from.to_string(),
        to: to.to_string(),
        publish: true,
        subscribe: false,
    };
    let rewrites = vec![rewrite("old/#", "new/$1"), rewrite("slow/#", "$delayed/10/$1")];
    let topics = TopicRules { rewrites, ..TopicRules::default() };
    scenario_with(Setup { topics, ..Setup::default() }, |node| {
        let watcher = watcher(node);
        let publisher = node.connect_with(&persistent("p")).0;
        node.publish(publisher, "$delayed/10/old/1", "x", 1);
        node.publish(publisher, "slow/2", "x", 1);
        lose_with_will(node, "$delayed/10/old/3");
        lose_with_will(node, "slow/4");
        assert_eq!(node.texts(watcher), [""; 0]);
        node.advance(10_000);
        let mut topics: Vec<_> = node.messages(watcher).into_iter().map(|it| it.topic).collect();
        topics.sort();
        assert_eq!(topics, ["2", "4", "new/1", "new/3"]);
    });
}
