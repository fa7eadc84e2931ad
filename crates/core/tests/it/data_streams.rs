//! Data streams beside a connection, as docs/quic.md describes them.

use midge_codec::{Connect, ConnectProperties, Packet, ReasonCode};

use crate::node::{Conn, Node, scenario};
use crate::packets::{connect, options, persistent, publish, pubrel, retained, with_alias};
use crate::received::Received;

/// A subscriber with two data streams, and a publisher.
pub(crate) struct Scene {
    pub(crate) control: Conn,
    pub(crate) first: Conn,
    pub(crate) second: Conn,
    pub(crate) publisher: Conn,
}

impl Scene {
    pub(crate) fn new(node: &mut Node, packet: &Connect<'_>) -> Self {
        let publisher = node.connect("publisher");
        let control = node.connect_with(packet).0;
        let first = node.open_data_stream(control);
        let second = node.open_data_stream(control);
        Self { control, first, second, publisher }
    }

    /// Returns what arrived on the control stream and on the first and second data streams.
    pub(crate) fn texts(&self, node: &mut Node) -> [Vec<String>; 3] {
        [self.control, self.first, self.second].map(|stream| node.texts(stream))
    }
}

pub(crate) fn texts(control: &[&str], first: &[&str], second: &[&str]) -> [Vec<String>; 3] {
    [control, first, second].map(|texts| texts.iter().map(ToString::to_string).collect())
}

#[test]
fn a_message_comes_on_the_stream_of_its_subscription() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        for level in 0..3 {
            node.subscribe(scene.control, "c/#", level);
            node.subscribe(scene.first, "f/+", level);
            node.subscribe(scene.second, "s", level);
            node.publish(scene.publisher, "f/1", "to the first", level);
            node.publish(scene.publisher, "s", "to the second", level);
            node.publish(scene.publisher, "c", "to the control stream", level);
            let expected = texts(&["to the control stream"], &["to the first"], &["to the second"]);
            assert_eq!(scene.texts(node), expected);
        }
        assert_eq!(node.counters().dropped_for(midge_core::DropReason::SlowConsumer), 0);
    });
}

#[test]
fn answers_come_on_the_stream_of_the_question() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        for stream in [scene.first, scene.second] {
            let code = node.publish_acknowledged(stream, publish("t", "1", 1, 11));
            assert_eq!(code, ReasonCode::NoMatchingSubscribers);
            node.publish_acknowledged(stream, publish("t", "2", 2, 12));
            let is_complete = |packet: &Received| matches!(packet, Received::PubComp(12, _));
            assert!(node.take(stream).iter().any(is_complete));
            node.subscribe(stream, "u", 0);
            node.unsubscribe(stream, "u");
        }
        assert_eq!(node.take(scene.control), vec![]);
    });
}

#[test]
fn a_packet_identifier_is_the_sessions_on_whatever_stream() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        let heard = node.connect("heard");
        node.subscribe(heard, "t", 0);
        node.acknowledge(scene.first, false);
        node.acknowledge(scene.second, false);
        node.send_publish(scene.first, publish("t", "once", 2, 5));
        node.send_publish(scene.second, publish("t", "once", 2, 5));
        assert_eq!(node.texts(heard), ["once"]);
        node.acknowledge(scene.control, false);
        node.send(scene.control, &pubrel(5));
        let completed = node.take(scene.control);
        assert_eq!(completed, [Received::PubComp(5, ReasonCode::Success)]);
    });
}

#[test]
fn a_message_of_several_streams_comes_once_on_the_one_that_was_opened_last() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.second, "t/+", 0);
        node.subscribe(scene.first, "t/#", 0);
        node.subscribe(scene.control, "#", 0);
        node.publish(scene.publisher, "t/1", "1", 0);
        assert_eq!(scene.texts(node), texts(&[], &[], &["1"]));
    });
}

#[test]
fn a_subscription_moves_to_the_stream_that_asks_for_it_again() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "t", 1);
        node.subscribe(scene.second, "t", 1);
        node.publish(scene.publisher, "t", "1", 1);
        assert_eq!(scene.texts(node), texts(&[], &[], &["1"]));
        node.subscribe(scene.control, "t", 1);
        node.publish(scene.publisher, "t", "2", 1);
        assert_eq!(scene.texts(node), texts(&["2"], &[], &[]));
        assert_eq!(node.unsubscribe(scene.first, "t"), ReasonCode::Success);
        node.publish(scene.publisher, "t", "3", 1);
        assert_eq!(scene.texts(node), texts(&[], &[], &[]));
    });
}

#[test]
fn retained_and_shared_messages_take_the_stream_too() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.send_publish(scene.publisher, retained("r", "kept"));
        node.subscribe(scene.first, "r", 0);
        node.subscribe(scene.second, "$share/g/q", 1);
        node.publish(scene.publisher, "q", "shared", 1);
        assert_eq!(scene.texts(node), texts(&[], &["kept"], &["shared"]));
    });
}

#[test]
fn what_an_ended_stream_had_not_delivered_comes_on_the_control_stream() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "f", 2);
        node.subscribe(scene.second, "s", 2);
        node.acknowledge(scene.first, false);
        node.acknowledge(scene.second, false);
        for (topic, text, level) in [("f", "1", 1), ("s", "2", 1), ("f", "3", 2)] {
            node.publish(scene.publisher, topic, text, level);
        }
        assert_eq!(scene.texts(node), texts(&[], &["1", "3"], &["2"]));
        node.lose(scene.first);
        let again = node.messages(scene.control);
        let again: Vec<_> = again.iter().map(|message| (message.text(), message.dup)).collect();
        assert_eq!(again, [("1", true), ("3", true)]);
        assert!(!node.is_closed(scene.control) && !node.is_closed(scene.second));
        node.publish(scene.publisher, "f", "4", 1);
        assert_eq!(node.texts(scene.control), ["4"]);
    });
}

#[test]
fn the_end_of_the_control_stream_is_the_end_of_all() {
    scenario(|node| {
        let scene = Scene::new(node, &persistent("s"));
        node.subscribe(scene.first, "t", 1);
        node.lose(scene.control);
        assert!(node.is_closed(scene.first) && node.is_closed(scene.second));
        node.publish(scene.publisher, "t", "kept", 1);
        let (control, present) = node.resume(&Connect { clean_start: false, ..persistent("s") });
        assert!(present);
        assert_eq!(node.texts(control), ["kept"], "streams are no part of the Session");
    });
}

#[test]
fn a_takeover_ends_the_data_streams_too() {
    scenario(|node| {
        let scene = Scene::new(node, &persistent("s"));
        let again = node.resume(&Connect { clean_start: false, ..persistent("s") }).0;
        assert!(node.is_closed(scene.control) && node.is_closed(scene.first));
        let third = node.open_data_stream(again);
        node.subscribe(third, "t", 0);
        node.publish(scene.publisher, "t", "1", 0);
        assert_eq!(node.texts(third), ["1"]);
    });
}

#[test]
fn an_error_ends_its_stream_and_no_other() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "t", 0);
        node.send(scene.first, &Packet::PingReq);
        assert!(node.is_closed(scene.first));
        assert_eq!(node.take(scene.first), vec![], "no DISCONNECT on a data stream");
        node.queue_bytes(scene.second, &[0x00, 0x00]);
        node.settle();
        assert!(node.is_closed(scene.second) && !node.is_closed(scene.control));
        let codes: Vec<_> = node.stream_errors.iter().map(|error| error.reason_code).collect();
        assert_eq!(codes, [ReasonCode::ProtocolError, ReasonCode::MalformedPacket]);
        node.publish(scene.publisher, "t", "1", 0);
        assert_eq!(node.texts(scene.control), ["1"]);
        let third = node.open_data_stream(scene.control);
        node.subscribe(third, "t", 0);
        node.publish(scene.publisher, "t", "2", 0);
        assert_eq!(node.texts(third), ["2"]);
    });
}

#[test]
fn packets_on_data_streams_keep_the_connection_alive() {
    scenario(|node| {
        let packet = Connect { keep_alive_seconds: 10, ..connect("s") };
        let scene = Scene::new(node, &packet);
        for _ in 0..4 {
            node.advance(14_000);
            node.publish(scene.first, "t", "1", 0);
        }
        assert!(!node.is_closed(scene.control));
        node.advance(15_000);
        assert!(node.is_closed(scene.control) && node.is_closed(scene.first));
    });
}

#[test]
fn each_stream_has_topic_aliases_of_its_own() {
    scenario(|node| {
        let properties =
            ConnectProperties { topic_alias_maximum: Some(5), ..ConnectProperties::default() };
        let scene = Scene::new(node, &Connect { properties, ..connect("s") });
        let heard = node.connect("heard");
        node.subscribe(heard, "#", 0);
        node.send_publish(scene.first, with_alias(publish("topic/a", "1", 0, 0), 1));
        node.send_publish(scene.second, with_alias(publish("topic/b", "2", 0, 0), 1));
        node.send_publish(scene.first, with_alias(publish("", "3", 0, 0), 1));
        let topics: Vec<_> =
            node.messages(heard).into_iter().map(|message| message.topic).collect();
        assert_eq!(topics, ["topic/a", "topic/b", "topic/a"]);
        node.subscribe_with(scene.first, &[("out/a", options(0))], None);
        node.subscribe_with(scene.second, &[("out/b", options(0))], None);
        for _ in 0..2 {
            node.publish(scene.publisher, "out/a", "a", 0);
            node.publish(scene.publisher, "out/b", "b", 0);
        }
        let aliases = [scene.first, scene.second].map(|stream| {
            let messages = node.messages(stream).into_iter();
            messages.map(|message| (message.topic, message.alias)).collect::<Vec<_>>()
        });
        let of = |topic: &str| vec![(topic.to_string(), Some(1)), (topic.to_string(), Some(1))];
        assert_eq!(aliases, [of("out/a"), of("out/b")]);
    });
}

#[test]
fn a_stream_that_is_not_read_holds_up_no_other() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "f", 0);
        node.subscribe(scene.second, "s", 0);
        node.set_room(scene.first, 0);
        let payload = "x".repeat(1_000_000);
        for _ in 0..6 {
            node.publish(scene.publisher, "f", &payload, 0);
        }
        node.publish(scene.publisher, "s", "goes on", 0);
        assert_eq!(node.texts(scene.second), ["goes on"]);
        assert!(node.dropped(midge_core::DropReason::SlowConsumer) > 0);
    });
}
