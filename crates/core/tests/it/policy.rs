//! Authorization that changes while the broker runs, for every way in which a message is delivered,
//! and what is decided at the moment of effect.

use midge_codec::{Packet, ReasonCode};
use midge_core::{DropReason, LocalPublish};

use crate::node::{Conn, Node, scenario};
use crate::packets::{options, persistent, publish, pubrel, qos, retained, with_alias};
use crate::rules::Right;

/// Connects a receiver `r` with a persistent Session, subscribed to `#`, and a publisher `p`.
fn pair(node: &mut Node) -> (Conn, Conn) {
    let receiver = node.connect_with(&persistent("r")).0;
    node.subscribe(receiver, "#", 2);
    (receiver, node.connect("p"))
}

fn revoke_receiving(node: &Node) {
    node.rules.deny(Right::Receive, "r", "secret/#");
}

#[test]
fn z04_live_messages_pass_the_receivers_gate() {
    scenario(|node| {
        let (receiver, publisher) = pair(node);
        node.publish(publisher, "secret/1", "before", 1);
        revoke_receiving(node);
        for level in 0..3 {
            node.publish(publisher, "secret/1", "after", level);
        }
        node.publish(publisher, "public", "x", 1);
        assert_eq!(node.texts(receiver), ["before", "x"]);
        assert_eq!(node.dropped(DropReason::DeliveryNotAuthorized), 3);
    });
}

#[test]
fn z04_retained_messages_pass_the_receivers_gate() {
    scenario(|node| {
        let publisher = node.connect("p");
        node.send_publish(publisher, retained("secret/1", "kept"));
        node.send_publish(publisher, retained("public", "kept too"));
        revoke_receiving(node);
        let receiver = node.connect("r");
        node.subscribe(receiver, "#", 0);
        assert_eq!(node.texts(receiver), ["kept too"]);
    });
}

#[test]
fn z03_a_retained_message_outlives_its_publishers_right() {
    // A publisher's right is checked when it publishes, a receiver's when the message is sent.
    scenario(|node| {
        let publisher = node.connect("p");
        node.send_publish(publisher, retained("t", "kept"));
        node.rules.deny(Right::Publish, "p", "#");
        let receiver = node.connect("r");
        node.subscribe(receiver, "t", 0);
        assert_eq!(node.texts(receiver), ["kept"]);
        node.send_publish(publisher, retained("t", ""));
        let other = node.connect("s");
        node.subscribe(other, "t", 0);
        assert_eq!(node.texts(other), ["kept"], "nor may it be cleared");
    });
}

#[test]
fn z06_queued_and_unacknowledged_messages_pass_the_gate_again() {
    scenario(|node| {
        let (receiver, publisher) = pair(node);
        node.acknowledge(receiver, false);
        node.publish(publisher, "secret/1", "under way", 1);
        node.publish(publisher, "public", "under way too", 1);
        node.messages(receiver);
        node.lose(receiver);
        node.publish(publisher, "secret/1", "queued", 1);
        node.publish(publisher, "public", "queued too", 2);
        revoke_receiving(node);
        let receiver = node.connect_with(&persistent("r")).0;
        assert_eq!(node.texts(receiver), ["under way too", "queued too"]);
        assert_eq!(node.dropped(DropReason::DeliveryNotAuthorized), 2);
        node.rules.clear();
        node.lose(receiver);
        let receiver = node.connect_with(&persistent("r")).0;
        assert_eq!(node.texts(receiver), [""; 0], "what was refused is gone");
    });
}

#[test]
fn wills_and_delayed_messages_pass_the_receivers_gate() {
    scenario(|node| {
        let (receiver, publisher) = pair(node);
        node.publish(publisher, "$delayed/5/secret/1", "delayed", 1);
        let mut packet = persistent("w");
        let mut message = crate::packets::will("secret/2", "gone", 1);
        message.delay_interval_seconds = Some(5);
        packet.will = Some(message);
        let conn = node.connect_with(&packet).0;
        node.lose(conn);
        revoke_receiving(node);
        node.advance(5_000);
        assert_eq!(node.texts(receiver), [""; 0]);
        assert_eq!(node.dropped(DropReason::DeliveryNotAuthorized), 2);
    });
}

#[test]
fn shared_messages_go_to_a_member_that_may_have_them() {
    scenario(|node| {
        let conns = ["r", "s"].map(|name| node.connect_with(&persistent(name)).0);
        for conn in conns {
            node.subscribe(conn, "$share/g/#", 1);
        }
        let publisher = node.connect("p");
        revoke_receiving(node);
        for _ in 0..4 {
            node.publish(publisher, "secret/1", "x", 1);
        }
        assert_eq!(node.texts(conns[0]), [""; 0]);
        assert_eq!(node.texts(conns[1]).len(), 4);
        conns.iter().for_each(|&conn| node.lose(conn));
        node.publish(publisher, "secret/1", "kept by the group", 1);
        let receiver = node.connect_with(&persistent("r")).0;
        assert_eq!(node.texts(receiver), [""; 0]);
    });
}

#[test]
fn z07_pubrel_releases_nothing_that_was_refused() {
    scenario(|node| {
        let (receiver, publisher) = pair(node);
        node.rules.deny(Right::Publish, "p", "t");
        node.acknowledge(publisher, false);
        let code = node.publish_acknowledged(publisher, publish("t", "x", 2, 1));
        assert_eq!(code, ReasonCode::NotAuthorized);
        node.send(publisher, &pubrel(1));
        assert_eq!(node.texts(receiver), [""; 0]);
        node.rules.clear();
        let code = node.publish_acknowledged(publisher, publish("t", "y", 2, 1));
        assert_eq!(code, ReasonCode::Success);
        node.rules.deny(Right::Publish, "p", "t");
        node.send(publisher, &pubrel(1));
        assert_eq!(node.texts(receiver), ["y"], "accepted before the revocation, once");
    });
}

#[test]
fn z08_a_topic_alias_does_not_carry_a_right() {
    scenario(|node| {
        let (receiver, publisher) = pair(node);
        node.send_publish(publisher, with_alias(publish("secret/1", "before", 1, 1), 1));
        node.rules.deny(Right::Publish, "p", "secret/#");
        let packet = with_alias(publish("", "after", 1, 2), 1);
        assert_eq!(node.publish_acknowledged(publisher, packet), ReasonCode::NotAuthorized);
        assert_eq!(node.texts(receiver), ["before"]);
    });
}

#[test]
fn z05_a_subscription_does_not_carry_a_right() {
    scenario(|node| {
        let (receiver, publisher) = pair(node);
        node.rules.deny(Right::Receive, "r", "#");
        node.publish(publisher, "t", "x", 2);
        assert_eq!(node.texts(receiver), [""; 0]);
        node.rules.clear();
        node.publish(publisher, "t", "y", 2);
        assert_eq!(node.texts(receiver), ["y"]);
    });
}

#[test]
fn a_3_1_1_publisher_is_not_told_but_refused() {
    scenario(|node| {
        let (receiver, _) = pair(node);
        node.rules.deny(Right::Publish, "old", "t");
        let old = node.connect_with(&crate::packets::connect_v3("old", true)).0;
        for level in 0..3 {
            node.publish(old, "t", "x", level);
        }
        assert!(!node.is_closed(old));
        assert_eq!(node.texts(receiver), [""; 0]);
        assert_eq!(node.dropped(DropReason::PublishNotAuthorized), 3);
    });
}

#[test]
fn messages_of_the_process_pass_the_same_gates() {
    scenario(|node| {
        let (receiver, _) = pair(node);
        revoke_receiving(node);
        node.rules.deny(Right::Publish, "$broker", "closed");
        let publish = |topic| LocalPublish {
            topic,
            payload: b"x",
            qos: qos(1),
            retain: false,
            properties: Default::default(),
        };
        let mut outcome = |topic| {
            node.call(0, |core, turn| {
                core.publish_local(&publish(topic), 7, turn);
                std::mem::take(&mut turn.fx.local_published)
            })
        };
        assert_eq!(outcome("closed"), [(7, Err(DropReason::PublishNotAuthorized))]);
        assert_eq!(outcome("secret/1"), [(7, Ok(1))]);
        assert_eq!(outcome("public"), [(7, Ok(1))]);
        assert_eq!(node.message(receiver).topic, "public");
    });
}

#[test]
fn subscribers_inside_the_process_get_what_they_subscribe_to() {
    scenario(|node| {
        let worker = node.cores.len() - 1;
        let local = node.call(worker, midge_core::Core::open_local);
        node.call(worker, |core, turn| {
            core.subscribe_local(local, "t/#", options(2), turn);
            core.subscribe_local(local, "bad#", options(0), turn);
        });
        let granted = vec![ReasonCode::GrantedQoS2];
        assert!(node.local_subscribed.contains(&(local, granted)));
        assert!(node.local_subscribed.contains(&(local, vec![ReasonCode::TopicFilterInvalid])));
        let publisher = node.connect("p");
        for level in 0..3 {
            node.publish(publisher, "t/1", &level.to_string(), level);
        }
        node.send_publish(publisher, retained("t/2", "kept"));
        node.call(worker, |core, turn| {
            core.subscribe_local(local, "+/2", options(2), turn);
        });
        let got: Vec<_> = node.local.iter().map(|delivery| delivery.message.payload()).collect();
        let expected: [&[u8]; 5] = [b"0", b"1", b"2", b"kept", b"kept"];
        assert_eq!(got, expected);
        let retain: Vec<_> = node.local.iter().map(|delivery| delivery.retain).collect();
        assert_eq!(retain, [false, false, false, false, true]);
        node.call(worker, |core, turn| core.handle_closed(local, turn));
        node.publish(publisher, "t/1", "x", 1);
        assert_eq!((node.local.len(), node.sessions()), (5, 1));
        node.queue(publisher, &Packet::PingReq);
        node.settle();
        assert!(node.clients_of(worker).iter().all(|info| info.client_id.as_ref() == "p"));
    });
}
