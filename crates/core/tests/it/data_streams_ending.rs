//! Data streams that end: nothing under way on them is lost, or arrives twice without need.

use midge_codec::{Connect, Packet, ProtocolVersion, ReasonCode};

use midge_core::Core;

use crate::data_streams::{Scene, texts};
use crate::node::{Setup, scenario, scenario_with};
use crate::packets::{connect, persistent, publish, pubrec};
use crate::received::Received;
use crate::rules::Right;

fn stored() -> Setup {
    Setup { has_store: true, ..Setup::default() }
}

#[test]
fn what_was_sent_by_a_stream_is_sent_again_wherever_its_subscription_is_now() {
    scenario(|node| {
        for moves in [true, false] {
            let scene = Scene::new(node, &connect("s"));
            node.subscribe(scene.first, "f", 1);
            node.acknowledge(scene.first, false);
            node.publish(scene.publisher, "f", "1", 1);
            match moves {
                true => node.subscribe(scene.second, "f", 1),
                false => node.unsubscribe(scene.first, "f"), // [MQTT-3.10.4-3]
            };
            assert_eq!(scene.texts(node), texts(&[], &["1"], &[]));
            node.lose(scene.first);
            match moves {
                true => assert_eq!(scene.texts(node), texts(&[], &[], &["1"])),
                false => assert_eq!(scene.texts(node), texts(&["1"], &[], &[])),
            }
        }
    });
}

#[test]
fn what_another_stream_has_under_way_is_not_sent_again() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.control, "f", 2);
        node.acknowledge(scene.control, false);
        node.acknowledge(scene.second, false);
        node.publish(scene.publisher, "f", "1", 1);
        node.publish(scene.publisher, "f", "2", 2);
        let identifiers: Vec<_> =
            node.messages(scene.control).iter().map(|message| message.packet_id).collect();
        node.send(scene.second, &pubrec(identifiers[1]));
        let released = |packet: &Received| matches!(packet, Received::PubRel(..));
        assert!(node.take(scene.second).iter().any(released));
        node.subscribe(scene.first, "f", 2);
        node.lose(scene.first);
        assert_eq!(node.take(scene.control), []);
        node.lose(scene.second);
        let again = node.take(scene.control);
        assert!(
            matches!(again[..], [Received::PubRel(id, _)] if id == identifiers[1]),
            "{again:?}"
        );
    });
}

#[test]
fn acknowledgements_that_wait_for_the_store_come_on_the_control_stream() {
    scenario_with(stored(), |node| {
        let heard = node.connect_with(&persistent("heard")).0;
        node.subscribe(heard, "t", 2);
        let scene = Scene::new(node, &persistent("s"));
        node.acknowledge(scene.control, false);
        node.hold_receipts(true);
        node.send_publish(scene.first, publish("t", "1", 1, 11));
        node.send_publish(scene.first, publish("t", "2", 2, 12));
        assert_eq!(node.take(scene.first), [], "nothing is durable");
        node.lose(scene.first);
        node.send_publish(scene.control, publish("t", "3", 1, 13));
        assert_eq!(node.take(scene.control), []);
        node.hold_receipts(false);
        let kinds: Vec<_> = node
            .take(scene.control)
            .into_iter()
            .map(|packet| match packet {
                Received::PubAck(id, _) => ("PUBACK", id),
                Received::PubRec(id, _) => ("PUBREC", id),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, [("PUBACK", 11), ("PUBREC", 12), ("PUBACK", 13)]);
    });
}

#[test]
fn a_suback_that_waits_comes_on_the_control_stream() {
    scenario_with(stored(), |node| {
        let scene = Scene::new(node, &persistent("s"));
        node.hold_receipts(true);
        let packet_id =
            node.queue_subscribe(scene.first, &[("t", crate::packets::options(1))], None);
        node.settle();
        node.lose(scene.first);
        node.hold_receipts(false);
        assert_eq!(node.take_suback(scene.control, packet_id), [ReasonCode::GrantedQoS1]);
        node.publish(scene.publisher, "t", "1", 1);
        assert_eq!(node.texts(scene.control), ["1"]);
    });
}

#[test]
fn a_refused_subscription_moves_nothing() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "t", 1);
        node.rules.deny(Right::Subscribe, "s", "t");
        assert_eq!(node.subscribe(scene.second, "t", 1), ReasonCode::NotAuthorized);
        node.rules.clear();
        node.publish(scene.publisher, "t", "1", 1);
        assert_eq!(scene.texts(node), texts(&[], &["1"], &[]));
        // Another Client has this exclusive subscription, and its home says so later.
        node.subscribe(scene.publisher, "$exclusive/e", 1);
        let refused = node.subscribe(scene.second, "$exclusive/e", 1);
        assert_eq!(refused, ReasonCode::QuotaExceeded);
        node.subscribe(scene.control, "e", 1);
        node.publish(scene.publisher, "e", "2", 1);
        assert_eq!(node.texts(scene.control), ["2"]);
    });
}

#[test]
fn a_broker_that_stops_sends_nothing_again() {
    scenario(|node| {
        let scene = Scene::new(node, &persistent("s"));
        node.subscribe(scene.first, "f", 1);
        node.acknowledge(scene.first, false);
        node.publish(scene.publisher, "f", "1", 1);
        for worker in 0..node.cores.len() {
            node.call(worker, Core::begin_drain);
        }
        assert!(node.is_closed(scene.first));
        assert_eq!(node.take(scene.control).len(), 1, "a DISCONNECT only");
    });
}

#[test]
fn a_full_store_ends_the_connection_of_whom_it_did_not_answer() {
    for ends in [false, true] {
        scenario_with(stored(), |node| {
            let heard = node.connect_with(&persistent("heard")).0;
            node.subscribe(heard, "t", 1);
            let packet = Connect { version: ProtocolVersion::V3_1_1, ..connect("s") };
            let scene = Scene::new(node, &packet);
            for stream in [scene.first, scene.second] {
                node.sockets[stream.0].version = ProtocolVersion::V3_1_1;
            }
            for worker in 0..node.cores.len() {
                node.call(worker, |core, turn| core.set_store_full(true, turn));
            }
            node.send(scene.first, &Packet::Publish(publish("t", "1", 1, 11)));
            assert_eq!(node.take(scene.first), []);
            if ends {
                node.lose(scene.first);
            }
            for worker in 0..node.cores.len() {
                node.call(worker, |core, turn| core.set_store_full(false, turn));
            }
            assert!(node.is_closed(scene.control), "else it would never send it again");
        });
    }
}

#[test]
fn what_was_answered_leaves_a_stream_that_its_client_has_finished() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.queue(scene.first, &Packet::Publish(publish("t", "1", 1, 11)));
        node.turn(node.sockets[scene.first.0].worker);
        let (worker, id) = (node.sockets[scene.first.0].worker, node.sockets[scene.first.0].id);
        node.call(worker, |core, turn| core.finish_data_stream(id, turn));
        assert!(node.is_closed(scene.first) && !node.is_closed(scene.control));
        assert_eq!(node.take(scene.first).len(), 1, "the PUBACK");
    });
}
