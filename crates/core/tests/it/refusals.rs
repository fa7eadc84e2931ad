//! A refused request leaves nothing behind: it touches nobody's Session, Will Message, subscription
//! or timer.

use std::num::NonZeroU32;

use midge_codec::{Connect, Packet, PacketIdentifier, ReasonCode, Unsubscribe, UserProperties};
use midge_core::{AuthAnswer, Event, Limits, StoreOp, User};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, options, persistent, publish, retained, will};
use crate::rules::Right;

/// Connects a Client with a Session, a subscription and a Will Message, and a watcher that would
/// see the Will Messages of both connections.
fn connected(node: &mut Node) -> (Conn, Conn) {
    let watcher = node.connect("watcher");
    node.subscribe(watcher, "will/#", 0);
    let mut packet = persistent("a");
    packet.will = Some(will("will/old", "old", 0));
    let old = node.connect_with(&packet).0;
    node.subscribe(old, "t", 1);
    (watcher, old)
}

/// A CONNECT for the same Session, with a Will Message of its own.
fn intruder(clean_start: bool) -> Connect<'static> {
    Connect { clean_start, will: Some(will("will/new", "new", 0)), ..persistent("a") }
}

fn with_size(mut packet: Connect<'static>, bytes_max: u32) -> Connect<'static> {
    packet.properties.maximum_packet_size = NonZeroU32::new(bytes_max);
    packet
}

fn expect_nothing_touched(node: &mut Node, watcher: Conn, old: Conn) {
    assert!(!node.is_closed(old), "the old connection goes on");
    assert_eq!(node.texts(watcher), [""; 0], "no Will Message is published");
    assert_eq!(node.counters().sessions_taken_over, 0);
    node.publish(watcher, "t", "still subscribed", 1);
    assert_eq!(node.texts(old), ["still subscribed"]);
    let connected = |event: &&Event| matches!(event, Event::Connected { .. });
    assert_eq!(node.events.iter().filter(connected).count(), 2);
    node.lose(old);
    assert_eq!(node.texts(watcher), ["old"], "the old Will Message is still there");
}

#[test]
fn a_connack_that_does_not_fit_refuses_and_touches_nothing() {
    for (size, clean_start) in [(15, false), (15, true), (3, false), (1, true)] {
        scenario(|node| {
            let (watcher, old) = connected(node);
            let conn = node.begin_connect(&with_size(intruder(clean_start), size));
            node.settle();
            assert!(node.is_closed(conn));
            if size < 5 {
                assert_eq!(node.take(conn), [], "not even the refusal fits");
            } else {
                assert_eq!(node.take_connack(conn).code, 0x95);
            }
            assert_eq!(node.counters().connects_refused, 1);
            expect_nothing_touched(node, watcher, old);
        });
    }
}

#[test]
fn no_refusal_of_a_connect_touches_the_session() {
    let limits = Limits { topic_levels_max: 3, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let (watcher, old) = connected(node);
        node.rules.deny(Right::Publish, "a", "secret/#");
        let to = |topic| Connect { will: Some(will(topic, "new", 0)), ..intruder(true) };
        assert_eq!(node.refused(&to("secret/door")), 0x87);
        assert_eq!(node.refused(&to("$SYS/door")), 0x87);
        assert_eq!(node.refused(&to("a/b/c/d")), 0x90);
        assert_eq!(node.refused(&Connect { user_name: Some("mallory"), ..intruder(true) }), 0x85);
        expect_nothing_touched(node, watcher, old);
    });
}

#[test]
fn a_connect_that_is_wrong_behind_its_client_identifier_is_refused_under_that_name() {
    let connect = |flags: u8, client_id: &[u8], will_topic: &[u8]| {
        let start: [&[u8]; 4] = [b"\0\x04MQTT\x05", &[flags], b"\0\0\0\0\x06", client_id];
        let body = [&start.concat(), &b"\0\0\x03"[..], will_topic, b"\0\x01x"].concat();
        [&[0x10, body.len() as u8], &body[..]].concat()
    };
    for (packet, name) in [
        (connect(0x06, b"keeper", b"a/#"), "keeper"),
        (connect(0x1E, b"keeper", b"a/b"), "keeper"),
        (connect(0x06, b"keep\0r", b"a/b"), ""),
    ] {
        scenario(|node| {
            let conn = node.open(0);
            node.queue_bytes(conn, &packet);
            node.settle();
            let named = node.events.iter().find_map(|event| match event {
                Event::Refused { client_id, .. } => Some(&**client_id),
                _ => None,
            });
            assert_eq!(named, Some(name));
        });
    }
}

#[test]
fn a_refusal_does_not_postpone_the_end_of_an_absent_session() {
    scenario(|node| {
        let watcher = node.connect("watcher");
        node.subscribe(watcher, "will/#", 0);
        let mut packet = persistent("a");
        let mut delayed = will("will/old", "old", 0);
        delayed.delay_interval_seconds = Some(10);
        packet.will = Some(delayed);
        let old = node.connect_with(&packet).0;
        node.lose(old);
        node.advance(9_000);
        assert_eq!(node.refused(&with_size(intruder(false), 15)), 0x95);
        node.advance(1_000);
        assert_eq!(node.texts(watcher), ["old"], "the Will Delay went on");
        node.advance(3_589_000);
        assert_eq!(node.refused(&with_size(intruder(false), 15)), 0x95);
        node.advance(1_000);
        assert!(!node.resume(&persistent("a")).1, "the Session has expired in time");
    });
}

#[test]
fn response_information_is_left_out_where_it_does_not_fit() {
    let setup = Setup { response_prefix: Some("answers/of/this/node"), ..Setup::default() };
    scenario_with(setup, |node| {
        let mut packet = connect("a");
        packet.properties.request_response_information = Some(true);
        let (_, ack) = node.connect_with(&with_size(packet.clone(), 30));
        assert_eq!(ack.response_information, None);
        let (_, ack) = node.connect_with(&with_size(packet, 60));
        assert_eq!(ack.response_information.as_deref(), Some("answers/of/this/node/a"));
    });
}

#[test]
fn the_store_never_hears_of_an_exclusive_subscription_that_is_refused() {
    scenario_with(Setup { has_store: true, ..Setup::default() }, |node| {
        let owner = node.connect_with(&persistent("a")).0;
        let other = node.connect_with(&persistent("b")).0;
        for index in 0..6 {
            let filter = format!("$exclusive/{index}");
            assert_eq!(node.subscribe(owner, &filter, 1), ReasonCode::GrantedQoS1);
            assert_eq!(node.subscribe(other, &filter, 1), ReasonCode::QuotaExceeded);
            let is_kept = |op: &StoreOp| match op {
                StoreOp::Subscribed { subscription, .. } => *subscription.filter == *filter,
                _ => false,
            };
            let kept = node.stored.iter().flatten().filter(|op| is_kept(op)).count();
            assert_eq!(kept, 1, "{filter}");
        }
    });
}

#[test]
fn an_exclusive_subscription_is_new_wherever_it_has_its_home() {
    scenario(|node| {
        let publisher = node.connect("p");
        let conn = node.connect("a");
        let mut if_new = options(1);
        if_new.retain_handling = midge_codec::RetainHandling::SendIfNew;
        for index in 0..6 {
            node.send_publish(publisher, retained(&format!("x/{index}"), "kept"));
            let filter = format!("$exclusive/x/{index}");
            node.subscribe_with(conn, &[(&filter, if_new)], None);
            assert_eq!(node.texts(conn), ["kept"], "{filter}");
            node.subscribe_with(conn, &[(&filter, if_new)], None);
            assert_eq!(node.texts(conn), [""; 0], "it is not new any more");
        }
    });
}

/// Connects a Client with this Maximum Packet Size; also returns fifty filters, to which the answer
/// has 55 bytes.
fn fifty(node: &mut Node, size: u32) -> (Conn, Vec<String>) {
    let conn = node.connect_with(&with_size(persistent("a"), size)).0;
    (conn, (0..50).map(|number| format!("t/{number}")).collect())
}

#[test]
fn a_suback_that_does_not_fit_ends_the_connection_and_nothing_is_subscribed() {
    scenario(|node| {
        for size in [54, 55] {
            let (conn, filters) = fifty(node, size);
            let filters: Vec<_> = filters.iter().map(|it| (it.as_str(), options(1))).collect();
            node.queue_subscribe(conn, &filters, None);
            node.settle();
            let subscriptions: usize =
                node.cores.iter().map(|core| core.usage().subscriptions).sum();
            if size == 55 {
                assert_eq!((node.is_closed(conn), subscriptions), (false, 50));
            } else {
                assert_eq!(node.end_code(conn), Some(ReasonCode::PacketTooLarge));
                assert_eq!(subscriptions, 0);
                let is_one = |event: &Event| matches!(event, Event::Subscribed { .. });
                assert!(!node.events.iter().any(is_one));
            }
        }
    });
}

#[test]
fn an_unsuback_that_does_not_fit_ends_the_connection_and_the_subscriptions_stand() {
    scenario(|node| {
        let (conn, filters) = fifty(node, 54);
        for filter in &filters {
            node.subscribe(conn, filter, 1);
        }
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        node.send(
            conn,
            &Packet::Unsubscribe(Unsubscribe {
                packet_id: PacketIdentifier::new(1).expect("not 0"),
                user_properties: UserProperties::default(),
                filters: filters[..].into(),
            }),
        );
        assert_eq!(node.end_code(conn), Some(ReasonCode::PacketTooLarge));
        let subscriptions: usize = node.cores.iter().map(|core| core.usage().subscriptions).sum();
        assert_eq!(subscriptions, 50);
    });
}

#[test]
fn a_reason_string_that_does_not_fit_is_left_out_and_the_reason_code_is_told() {
    scenario(|node| {
        let conn = node.connect_with(&with_size(persistent("a"), 24)).0;
        let denied = publish("$SYS/x", "", 1, 1);
        assert_eq!(node.publish_acknowledged(conn, denied), ReasonCode::NotAuthorized);
        node.send(conn, &Packet::Connect(Box::new(connect("a"))));
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
    });
}

#[test]
fn authentication_data_that_no_packet_can_hold_refuses() {
    scenario(|node| {
        let mut packet = connect("a");
        packet.properties.authentication_method = Some("LONG");
        node.authenticate = Box::new(|_| {
            Some(AuthAnswer::Allow { user: User::default(), data: Some(vec![0; 70_000].into()) })
        });
        assert_eq!(node.refused(&packet), 0x95);
        node.authenticate = Box::new(|_| Some(AuthAnswer::Continue(Some(vec![0; 70_000].into()))));
        assert_eq!(node.refused(&packet), 0x95);
    });
}

#[test]
fn a_disconnect_that_raises_the_expiry_of_0_changes_nothing() {
    scenario(|node| {
        let conn = node.connect("a");
        let mut packet = midge_codec::Disconnect::with_reason(ReasonCode::Success);
        packet.session_expiry_interval = Some(10);
        node.send(conn, &Packet::Disconnect(packet));
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
        assert_eq!(node.sessions(), 0);
    });
}
