//! CONNACK and UNSUBACK for Sessions in a slow store: they wait if they say that something is gone
//! or that something continues, and nothing overtakes them.

use midge_codec::{Connect, Disconnect, Packet, ReasonCode, SubscriptionOptions, Unsubscribe};
use midge_core::{AutoSubscription, Core, Event, StoreOp, Timestamp, TopicRules};

use crate::node::{Conn, Node, Setup, scenario_with};
use crate::packets::{connect, id, options, persistent, publish, pubrel, will};
use crate::received::Received;

fn stored() -> Setup {
    Setup { has_store: true, ..Setup::default() }
}

fn lasting(client_id: &str, seconds: u32) -> Connect<'_> {
    let mut packet = persistent(client_id);
    packet.properties.session_expiry_interval = Some(seconds);
    packet
}

/// Sends a CONNECT whose answer the store delays; the caller knows that it will.
fn waits(node: &mut Node, packet: &Connect<'_>) -> Conn {
    let conn = node.begin_connect(packet);
    node.settle();
    assert_eq!(node.take(conn), [], "the CONNACK waits");
    conn
}

fn clean(packet: Connect<'static>) -> Connect<'static> {
    Connect { clean_start: true, ..packet }
}

fn disconnect_and_end(node: &mut Node, conn: Conn) {
    let mut packet = Disconnect::with_reason(ReasonCode::Success);
    packet.session_expiry_interval = Some(0);
    node.send(conn, &Packet::Disconnect(packet));
}

fn unsubscribe<'a>(packet_id: u16, filters: &'a [&'a str]) -> Packet<'a> {
    Packet::Unsubscribe(Unsubscribe {
        packet_id: id(packet_id),
        user_properties: Default::default(),
        filters: filters.into(),
    })
}

#[test]
fn a_plain_connect_does_not_wait() {
    scenario_with(stored(), |node| {
        node.connect_with(&persistent("old"));
        node.hold_receipts(true);
        node.connect("clean");
        let (_, answer) = node.connect_with(&persistent("new"));
        assert!(!answer.session_present);
        assert!(!node.resume(&connect("clean")).1, "the end of what was never stored");
    });
}

#[test]
fn a_session_is_said_to_be_gone_when_the_store_knows_it() {
    for by_disconnect in [false, true] {
        scenario_with(stored(), |node| {
            let old = node.connect_with(&persistent("a")).0;
            node.subscribe(old, "t", 1);
            node.hold_receipts(true);
            let new = if by_disconnect {
                disconnect_and_end(node, old);
                waits(node, &persistent("a"))
            } else {
                waits(node, &clean(connect("a")))
            };
            // A Client that is not concerned does not wait.
            node.connect_with(&persistent("b"));
            node.hold_receipts(false);
            assert!(!node.take_connack(new).session_present);
            node.hold_receipts(true);
            node.lose(new);
            node.resume(&persistent("c"));
        });
    }
}

#[test]
fn a_session_is_said_to_be_over_when_the_store_knows_it() {
    scenario_with(stored(), |node| {
        let old = node.connect_with(&lasting("a", 10)).0;
        node.lose(old);
        node.hold_receipts(true);
        node.advance(10_000);
        assert_eq!(node.sessions(), 0);
        let new = waits(node, &persistent("a"));
        node.hold_receipts(false);
        assert!(!node.take_connack(new).session_present);
    });
}

#[test]
fn a_session_goes_on_when_the_store_knows_with_what_will() {
    scenario_with(stored(), |node| {
        let old = node.connect_with(&persistent("a")).0;
        node.lose(old);
        node.hold_receipts(true);
        let new = waits(node, &Connect { will: Some(will("will/a", "new", 0)), ..persistent("a") });
        node.hold_receipts(false);
        assert!(node.take_connack(new).session_present);
    });
}

#[test]
fn nothing_overtakes_a_connack_that_waits() {
    let rule = AutoSubscription { filter: "auto".into(), options: SubscriptionOptions::default() };
    let topics = TopicRules { subscriptions: vec![rule], ..TopicRules::default() };
    scenario_with(Setup { topics, ..stored() }, |node| {
        let other = node.connect("other");
        let old = node.connect_with(&persistent("a")).0;
        node.subscribe(old, "t", 0);
        node.lose(old);
        let connected = |node: &Node| {
            node.events.iter().filter(|it| matches!(it, Event::Connected { .. })).count()
        };
        let before = connected(node);
        node.hold_receipts(true);
        let new = waits(node, &persistent("a"));
        node.publish(other, "t", "while it waits", 0);
        node.publish(other, "auto", "while it waits", 0);
        let request = node.queue_subscribe(new, &[("u", options(0))], None);
        node.queue(new, &Packet::PingReq);
        node.settle();
        assert_eq!(node.take(new), []);
        assert_eq!(connected(node), before, "it is not connected yet");
        // A CONNECT does not time out because the disk is slow.
        node.advance(3_600_000);
        assert!(!node.is_closed(new));
        node.hold_receipts(false);
        assert!(node.take_connack(new).session_present);
        assert_eq!(connected(node), before + 1);
        let kinds: Vec<_> = node.take(new);
        let [Received::PingResp, Received::SubAck(packet_id, _)] = &kinds[..] else {
            panic!("{kinds:?}");
        };
        assert_eq!(*packet_id, request);
        node.publish(other, "auto", "now", 0);
        assert_eq!(node.texts(new), ["now"]);
    });
}

#[test]
fn who_waits_can_be_taken_over() {
    scenario_with(stored(), |node| {
        let old = node.connect_with(&persistent("a")).0;
        node.subscribe(old, "t", 1);
        node.hold_receipts(true);
        let first = waits(node, &clean(persistent("a")));
        let second = waits(node, &clean(persistent("a")));
        assert!(node.is_closed(old) && node.is_closed(first));
        node.hold_receipts(false);
        assert_eq!(node.take(first), []);
        assert!(!node.take_connack(second).session_present);
        assert_eq!(node.sessions(), 1);
        let other = node.connect("other");
        node.publish(other, "t", "of an old subscription", 0);
        node.subscribe(second, "u", 0);
        node.publish(other, "u", "new", 0);
        assert_eq!(node.texts(second), ["new"]);
    });
}

fn with_will<'a>(packet: Connect<'a>, text: &'a str, delay_seconds: u32) -> Connect<'a> {
    let mut will = will("will/a", text, 0);
    will.delay_interval_seconds = Some(delay_seconds);
    Connect { will: Some(will), ..packet }
}

fn watcher(node: &mut Node) -> Conn {
    let watcher = node.connect("watcher");
    node.subscribe(watcher, "will/#", 0);
    watcher
}

/// Returns the text of the Will Message that the store has for its only Session.
fn will_in_store(node: &Node) -> Option<String> {
    let mut kept = None;
    for op in node.stored.iter().flatten() {
        match op {
            StoreOp::Session(record) => {
                let will = record.will.as_ref();
                kept = will.map(|it| String::from_utf8_lossy(it.message.payload()).into_owned());
            }
            StoreOp::WillGone { .. } => kept = None,
            _ => (),
        }
    }
    kept
}

/// Returns when a broker that starts with the present store would publish that Will Message.
fn will_due_in_store(node: &Node) -> Option<Timestamp> {
    let (mut delay, mut gone_since) = (None, None);
    for op in node.stored.iter().flatten() {
        match op {
            StoreOp::Session(record) => {
                delay = record.will.as_ref().map(|it| u64::from(it.delay_seconds));
            }
            StoreOp::Detached { at, .. } => gone_since = Some(*at),
            StoreOp::WillGone { .. } => delay = None,
            _ => (),
        }
    }
    Some(gone_since?.plus_seconds(delay?))
}

#[test]
fn who_is_lost_while_it_waits_leaves_no_will() {
    scenario_with(stored(), |node| {
        let watcher = watcher(node);
        let old = node.connect_with(&lasting("a", 60)).0;
        node.lose(old);
        node.hold_receipts(true);
        let new = waits(node, &with_will(lasting("a", 10), "never accepted", 0));
        assert_eq!(will_in_store(node).as_deref(), Some("never accepted"));
        node.lose(new);
        node.hold_receipts(false);
        assert_eq!(node.take(new), []);
        assert_eq!(will_in_store(node), None);
        assert_eq!(node.sessions(), 2);
        node.advance(10_000);
        assert_eq!(node.sessions(), 1, "its Session is over in time");
        assert_eq!(node.texts(watcher), [""; 0]);
    });
}

#[test]
fn of_many_that_take_each_other_over_only_those_leave_a_will_that_were_accepted() {
    for is_clean in [false, true] {
        scenario_with(stored(), |node| {
            let watcher = watcher(node);
            let packet = |text| {
                let packet = with_will(persistent("a"), text, 0);
                Connect { clean_start: is_clean, ..packet }
            };
            let first = node.connect_with(&packet("accepted")).0;
            node.hold_receipts(true);
            for _ in 0..20 {
                waits(node, &packet("never accepted"));
            }
            let last = waits(node, &packet("last"));
            assert!(node.is_closed(first));
            assert_eq!(node.texts(watcher), ["accepted"]);
            node.hold_receipts(false);
            node.take_connack(last);
            node.lose(last);
            assert_eq!(node.texts(watcher), ["last"]);
            assert_eq!(node.counters().wills_published, 2);
        });
    }
}

#[test]
fn a_will_that_is_called_off_by_one_who_is_never_accepted_comes_in_time() {
    for ends_session in [false, true] {
        scenario_with(stored(), |node| {
            let watcher = watcher(node);
            let old = node.connect_with(&with_will(persistent("a"), "first", 10)).0;
            node.lose(old);
            let due_at = will_due_in_store(node);
            node.advance(4_000);
            node.hold_receipts(true);
            let second = waits(node, &with_will(persistent("a"), "second", 0));
            let third = waits(node, &persistent("a"));
            assert!(node.is_closed(second));
            node.advance(3_000);
            node.lose(third);
            assert_eq!(will_in_store(node).as_deref(), Some("first"));
            assert_eq!(will_due_in_store(node), due_at, "a start does not put it off");
            if ends_session {
                let fourth = waits(node, &lasting("a", 0));
                node.lose(fourth);
            } else {
                node.advance(2_999);
                assert_eq!(node.texts(watcher), [""; 0]);
                node.advance(1);
            }
            assert_eq!(node.texts(watcher), ["first"]);
            node.hold_receipts(false);
            assert_eq!(node.counters().wills_published, 1);
        });
    }
}

#[test]
fn a_will_that_is_called_off_until_a_connack_leaves_counts_as_memory_held() {
    scenario_with(stored(), |node| {
        let text = "x".repeat(10_000);
        let held = |node: &Node| node.cores.iter().map(Core::held_bytes).sum::<usize>();
        let old = node.connect_with(&with_will(persistent("a"), &text, 10)).0;
        node.lose(old);
        assert!(held(node) > text.len());
        node.hold_receipts(true);
        let new = waits(node, &persistent("a"));
        assert!(held(node) > text.len());
        node.hold_receipts(false);
        node.take_connack(new);
        assert!(held(node) < text.len());
    });
}

#[test]
fn a_will_is_called_off_by_one_who_is_accepted() {
    scenario_with(stored(), |node| {
        let watcher = watcher(node);
        let old = node.connect_with(&with_will(persistent("a"), "first", 10)).0;
        node.lose(old);
        node.hold_receipts(true);
        let new = waits(node, &persistent("a"));
        node.hold_receipts(false);
        node.take_connack(new);
        node.lose(new);
        node.advance(20_000);
        assert_eq!(node.texts(watcher), [""; 0]);
        assert_eq!(will_in_store(node), None);
    });
}

#[test]
fn an_unsuback_waits_for_the_store() {
    scenario_with(stored(), |node| {
        let conn = node.connect_with(&persistent("a")).0;
        node.subscribe(conn, "t", 0);
        node.hold_receipts(true);
        for (packet_id, filter) in [(7, "t"), (8, "t")] {
            node.send(conn, &unsubscribe(packet_id, &[filter]));
            assert_eq!(node.take(conn), []);
        }
        node.hold_receipts(false);
        let success = vec![ReasonCode::Success];
        let none = vec![ReasonCode::NoSubscriptionExisted];
        let answers = [Received::UnsubAck(7, success), Received::UnsubAck(8, none)];
        assert_eq!(node.take(conn), answers);
        // A Session that is not stored has nothing to wait for.
        node.hold_receipts(true);
        let clean = node.connect("clean");
        assert_eq!(node.unsubscribe(clean, "t"), ReasonCode::NoSubscriptionExisted);
    });
}

#[test]
fn an_unreleased_packet_identifier_goes_with_its_session() {
    scenario_with(stored(), |node| {
        let conn = node.connect_with(&persistent("a")).0;
        node.send_publish(conn, publish("t", "old", 2, 7));
        node.take(conn);
        let new = node.connect_with(&clean(persistent("a"))).0;
        let watcher = node.connect("watcher");
        node.subscribe(watcher, "t", 0);
        node.send_publish(new, publish("t", "new", 2, 7));
        node.send(new, &pubrel(7));
        assert_eq!(node.texts(watcher), ["new"]);
    });
}
