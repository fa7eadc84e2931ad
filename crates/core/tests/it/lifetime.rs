//! How long things live: Keep Alive, Session expiry, DISCONNECT, Will Messages.

use midge_codec::{Connect, Disconnect, Packet, ReasonCode};
use midge_core::{AuthAnswer, DropReason, Limits};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, connect_v3, options, persistent, will};
use crate::rules::Right;

#[test]
fn silence_for_one_and_a_half_keep_alives_ends_the_connection() {
    scenario(|node| {
        let packet = Connect { keep_alive_seconds: 10, ..connect("a") };
        let conn = node.connect_with(&packet).0;
        node.advance(14_000);
        node.send(conn, &Packet::PingReq);
        node.advance(14_999);
        assert!(!node.is_closed(conn));
        node.advance(1);
        assert_eq!(node.end_code(conn), Some(ReasonCode::KeepAliveTimeout));
        let forever = node.connect("b");
        node.advance(1 << 40);
        assert!(!node.is_closed(forever), "Keep Alive 0 is none");
    });
}

#[test]
fn who_is_not_read_is_not_silent() {
    let limits = Limits { backlog_bytes_max: 0, turn_deliveries_max: 1, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, ..Setup::default() });
    let receivers: Vec<_> = ["x", "y", "z"].map(|name| node.connect(name)).into();
    for &conn in &receivers {
        node.subscribe(conn, "t", 0);
    }
    let conn = node.connect_with(&Connect { keep_alive_seconds: 1, ..connect("a") }).0;
    for payload in ["x", "y"] {
        node.queue(conn, &Packet::Publish(crate::packets::publish("t", payload, 0, 0)));
    }
    node.turn(0);
    assert!(!node.sockets[conn.0].is_read, "held back");
    node.queue(conn, &Packet::PingReq);
    node.set_now(node.now + 2_000);
    node.settle();
    assert!(!node.is_closed(conn), "the broker did not look");
    node.advance(1_600);
    assert!(node.is_closed(conn));
}

#[test]
fn a_session_ends_when_its_expiry_interval_has_passed() {
    scenario(|node| {
        let mut packet = persistent("a");
        packet.properties.session_expiry_interval = Some(10);
        let conn = node.connect_with(&packet).0;
        node.subscribe(conn, "t", 1);
        node.lose(conn);
        let other = node.connect("b");
        node.publish(other, "t", "queued", 1);
        node.advance(9_999);
        assert_eq!(node.sessions(), 2);
        node.advance(1);
        assert_eq!((node.sessions(), node.counters().sessions_expired), (1, 1));
        assert_eq!(node.dropped(DropReason::SessionEnded), 1);
        assert!(!node.resume(&packet).1);
    });
}

#[test]
fn coming_back_stops_the_clock() {
    scenario(|node| {
        let mut packet = persistent("a");
        packet.properties.session_expiry_interval = Some(10);
        for _ in 0..3 {
            let conn = node.connect_with(&packet).0;
            node.advance(20_000);
            node.lose(conn);
            node.advance(9_000);
        }
        assert!(node.resume(&packet).1);
    });
}

fn disconnect_with_expiry(node: &mut Node, conn: Conn, seconds: u32) {
    let mut packet = Disconnect::with_reason(ReasonCode::Success);
    packet.session_expiry_interval = Some(seconds);
    node.send(conn, &Packet::Disconnect(packet));
}

#[test]
fn disconnect_changes_the_expiry_but_never_from_zero() {
    scenario(|node| {
        let conn = node.connect_with(&persistent("a")).0;
        disconnect_with_expiry(node, conn, 0);
        assert_eq!((node.end_code(conn), node.sessions()), (None, 0));
        let conn = node.connect_with(&persistent("a")).0;
        disconnect_with_expiry(node, conn, 5);
        node.advance(5_000);
        assert_eq!(node.sessions(), 0);
        let conn = node.connect("a");
        disconnect_with_expiry(node, conn, 5);
        assert_eq!(node.end_code(conn), Some(ReasonCode::ProtocolError));
    });
}

/// Adds a Will Message to a CONNECT.
fn with_will<'a>(mut packet: Connect<'a>, topic: &'a str, delay: u32) -> Connect<'a> {
    let mut message = will(topic, "gone", 1);
    message.delay_interval_seconds = Some(delay);
    packet.will = Some(message);
    packet
}

fn watcher(node: &mut Node) -> Conn {
    let conn = node.connect("watcher");
    node.subscribe(conn, "will/#", 1);
    conn
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    scenario(|node| {
        let seen = watcher(node);
        let packet = with_will(connect("a"), "will/a", 0);
        let conn = node.connect_with(&packet).0;
        node.disconnect(conn, ReasonCode::Success);
        assert_eq!(node.texts(seen), [""; 0]);
        let conn = node.connect_with(&packet).0;
        node.disconnect(conn, ReasonCode::DisconnectWithWillMessage);
        assert_eq!(node.texts(seen), ["gone"]);
        let conn = node.connect_with(&packet).0;
        node.lose(conn);
        assert_eq!(node.texts(seen), ["gone"]);
        let conn = node.connect_with(&packet).0;
        node.send(conn, &Packet::Connect(Box::new(connect("a"))));
        assert_eq!(node.texts(seen), ["gone"]);
        assert_eq!(node.counters().wills_published, 3);
    });
}

#[test]
fn a_keep_alive_timeout_publishes_the_will() {
    scenario(|node| {
        let seen = watcher(node);
        let packet = Connect { keep_alive_seconds: 1, ..with_will(connect("a"), "will/a", 0) };
        node.connect_with(&packet);
        node.advance(1_500);
        assert_eq!(node.texts(seen), ["gone"]);
    });
}

#[test]
fn a_delayed_will_waits_and_is_called_off_by_coming_back() {
    scenario(|node| {
        let seen = watcher(node);
        let packet = with_will(persistent("a"), "will/a", 10);
        let conn = node.connect_with(&packet).0;
        node.lose(conn);
        node.advance(9_999);
        assert_eq!(node.texts(seen), [""; 0]);
        let (conn, present) = node.resume(&packet);
        assert!(present);
        node.advance(20_000);
        assert_eq!(node.texts(seen), [""; 0]);
        node.lose(conn);
        node.advance(10_000);
        assert_eq!(node.texts(seen), ["gone"]);
        node.advance(4_000_000);
        assert_eq!(node.texts(seen), [""; 0], "once");
    });
}

#[test]
fn the_end_of_the_session_does_not_wait_for_the_will_delay() {
    scenario(|node| {
        let seen = watcher(node);
        let mut packet = with_will(persistent("a"), "will/a", 60);
        packet.properties.session_expiry_interval = Some(5);
        let conn = node.connect_with(&packet).0;
        node.lose(conn);
        node.advance(5_000);
        assert_eq!(node.texts(seen), ["gone"]);
        let conn = node.connect_with(&with_will(connect("b"), "will/b", 60)).0;
        node.lose(conn);
        assert_eq!(node.texts(seen), ["gone"], "a session that ends at once");
        node.advance(100_000);
        assert_eq!(node.texts(seen), [""; 0]);
    });
}

#[test]
fn a_takeover_publishes_the_will_unless_it_is_delayed() {
    scenario(|node| {
        let seen = watcher(node);
        let packet = with_will(persistent("a"), "will/a", 0);
        node.connect_with(&packet);
        node.connect_with(&packet);
        assert_eq!(node.texts(seen), ["gone"]);
        let delayed = with_will(persistent("a"), "will/a", 10);
        node.connect_with(&delayed);
        assert_eq!(node.texts(seen), ["gone"]);
        node.connect_with(&delayed);
        node.advance(20_000);
        assert_eq!(node.texts(seen), [""; 0]);
        node.connect_with(&Connect { clean_start: true, ..persistent("a") });
        assert_eq!(node.texts(seen), ["gone"], "Clean Start ends the session and its delay");
    });
}

#[test]
fn a_3_1_1_will_is_published_at_once() {
    scenario(|node| {
        let seen = watcher(node);
        let mut packet = connect_v3("a", false);
        packet.will = Some(will("will/a", "gone", 2));
        let conn = node.connect_with(&packet).0;
        node.lose(conn);
        assert_eq!(node.texts(seen), ["gone"]);
    });
}

#[test]
fn a_retained_will_stays_and_expires() {
    scenario(|node| {
        let mut packet = connect("a");
        let mut message = will("will/a", "gone", 0);
        message.retain = true;
        message.properties.message_expiry_interval_seconds = Some(30);
        packet.will = Some(message);
        let conn = node.connect_with(&packet).0;
        node.advance(100_000);
        node.lose(conn);
        node.advance(10_000);
        let seen = watcher(node);
        let got = node.message(seen);
        assert_eq!((got.retain, got.expiry), (true, Some(20)), "the interval begins at its end");
        node.advance(20_000);
        let late = node.connect("late");
        node.subscribe(late, "will/#", 1);
        assert_eq!(node.texts(late), [""; 0]);
    });
}

#[test]
fn z02_a_will_is_checked_again_when_it_fires() {
    scenario(|node| {
        let seen = watcher(node);
        let at_once = node.connect_with(&with_will(connect("a"), "will/a", 0)).0;
        let delayed = node.connect_with(&with_will(persistent("a2"), "will/a", 10)).0;
        node.lose(delayed);
        node.rules.deny(Right::Publish, "a", "will/#");
        node.rules.deny(Right::Publish, "a2", "will/#");
        node.lose(at_once);
        node.advance(10_000);
        assert_eq!(node.texts(seen), [""; 0]);
        assert_eq!(node.dropped(DropReason::PublishNotAuthorized), 2);
        assert_eq!(node.counters().wills_published, 0);
        let by_takeover = with_will(connect("b"), "will/b", 0);
        node.connect_with(&by_takeover);
        node.rules.deny(Right::Publish, "b", "will/#");
        node.connect("b");
        assert_eq!(node.texts(seen), [""; 0], "takeover will");
    });
}

#[test]
fn a_refused_will_is_not_a_wills_end() {
    scenario(|node| {
        let seen = watcher(node);
        node.authenticate = Box::new(|_| Some(AuthAnswer::Refuse(ReasonCode::NotAuthorized)));
        node.refused(&with_will(connect("a"), "will/a", 0));
        assert_eq!(node.texts(seen), [""; 0]);
    });
}

#[test]
fn z13_a_will_topic_is_rewritten_like_any_other() {
    let rewrite = midge_core::Rewrite {
        from: "old/#".into(),
        to: "$1".into(),
        publish: true,
        subscribe: true,
    };
    let topics = midge_core::TopicRules { rewrites: vec![rewrite], subscriptions: vec![] };
    scenario_with(Setup { topics, ..Setup::default() }, |node| {
        let seen = watcher(node);
        let mut packet = connect("a");
        packet.will = Some(will("old/will/a", "gone", 0));
        let conn = node.connect_with(&packet).0;
        node.lose(conn);
        assert_eq!(node.message(seen).topic, "will/a");
        packet.will = Some(will("old/$SYS/x", "15", 0));
        assert_eq!(node.refused(&packet), 0x87);
        node.rules.deny(Right::Publish, "a", "will/a");
        packet.will = Some(will("old/will/a", "gone", 0));
        assert_eq!(node.refused(&packet), 0x87);
    });
}

#[test]
fn an_administrator_ends_a_connection_but_not_the_session() {
    scenario(|node| {
        let conn = node.connect_with(&persistent("a")).0;
        node.subscribe_with(conn, &[("t", options(1))], None);
        let worker = node.sockets[conn.0].worker;
        let code = ReasonCode::AdministrativeAction;
        assert!(node.call(worker, |core, turn| core.disconnect_client("a", code, turn)));
        assert_eq!(node.end_code(conn), Some(code));
        assert!(!node.call(worker, |core, turn| core.disconnect_client("a", code, turn)));
        assert!(node.resume(&persistent("a")).1);
    });
}
