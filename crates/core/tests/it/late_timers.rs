//! Timers that run late, because a worker was busy or has just started: decisions made meanwhile
//! are the same as if the timers had run on time.

use midge_codec::{Connect, ReasonCode};
use midge_core::{AuthAnswer, Core, Limits};

use crate::node::{Node, Setup, scenario, scenario_with};
use crate::packets::{persistent, will};

fn expiring(client_id: &str, seconds: u32) -> Connect<'_> {
    let mut packet = persistent(client_id);
    packet.properties.session_expiry_interval = Some(seconds);
    packet
}

/// Loses the Client and lets `millis` milliseconds pass in which no timer runs.
fn lose_and_oversleep(node: &mut Node, packet: &Connect<'_>, millis: u64) {
    let conn = node.connect_with(packet).0;
    node.lose(conn);
    node.has_late_timers = true;
    node.set_now(node.now + millis);
}

#[test]
fn a_session_that_is_over_is_not_resumed() {
    scenario(|node| {
        let packet = expiring("a", 10);
        lose_and_oversleep(node, &packet, 10_000);
        assert!(!node.resume(&packet).1);
        assert_eq!((node.sessions(), node.counters().sessions_expired), (1, 1));
        node.advance(1 << 40);
        assert_eq!(node.sessions(), 1, "the timer of the old one is gone");
    });
}

#[test]
fn a_session_that_lasts_a_millisecond_more_is_resumed() {
    scenario(|node| {
        let packet = expiring("a", 10);
        lose_and_oversleep(node, &packet, 9_999);
        assert!(node.resume(&packet).1);
    });
}

#[test]
fn a_will_that_was_due_is_not_called_off() {
    scenario(|node| {
        let seen = node.connect("watcher");
        node.subscribe(seen, "will/#", 1);
        let mut packet = persistent("a");
        let mut message = will("will/a", "gone", 1);
        message.delay_interval_seconds = Some(5);
        packet.will = Some(message);
        lose_and_oversleep(node, &packet, 5_000);
        assert!(node.resume(&packet).1);
        assert_eq!(node.texts(seen), ["gone"]);
        node.advance(60_000);
        assert_eq!(node.texts(seen), [""; 0], "once, and not the one of who is connected now");
    });
}

#[test]
fn the_owner_of_a_session_that_is_over_bars_nobody() {
    scenario(|node| {
        node.authenticate = Box::new(|request| {
            let user_name = request.user_name.clone();
            Some(AuthAnswer::allow(user_name))
        });
        let first = Connect { user_name: Some("first"), ..expiring("a", 10) };
        lose_and_oversleep(node, &first, 10_000);
        let second = Connect { user_name: Some("second"), ..expiring("a", 10) };
        assert!(!node.resume(&second).1);
        let again = Connect { user_name: Some("first"), ..expiring("a", 10) };
        assert_eq!(node.refused(&again), ReasonCode::ClientIdentifierNotValid as u8);
    });
}

#[test]
fn a_session_that_is_over_is_not_counted() {
    let limits = Limits { sessions_max: 1, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        // This is as many Sessions as the one worker may have.
        let packet = expiring("a", 10);
        lose_and_oversleep(node, &packet, 10_000);
        let worker = node.home("a");
        let conn = node.open(worker);
        let other = expiring("b", 10);
        node.send(conn, &midge_codec::Packet::Connect(Box::new(other)));
        assert!(!node.is_closed(conn));
        assert_eq!(node.counters().sessions_expired, 1);
    });
}

/// Another worker may have stopped already when the effects reach it, and nothing would tell the
/// store that they are done: after the next start, everything would happen again.
#[test]
fn what_is_due_while_the_broker_ends_waits_for_its_next_start() {
    scenario_with(Setup { has_store: true, ..Setup::default() }, |node| {
        let absent = node.connect_with(&persistent("absent")).0;
        node.subscribe(absent, "#", 1);
        node.lose(absent);
        let mut packet = expiring("over", 30);
        let mut message = will("will/over", "gone", 1);
        message.delay_interval_seconds = Some(20);
        packet.will = Some(message);
        let over = node.connect_with(&packet).0;
        node.lose(over);
        let publisher = node.connect("publisher");
        node.publish(publisher, "$delayed/10/t", "x", 1);
        for worker in 0..node.cores.len() {
            node.call(worker, Core::begin_drain);
        }
        node.settle();
        let before = node.stored.len();
        node.advance(60_000);
        let told: Vec<_> = node.stored[before..].iter().flatten().collect();
        assert!(told.is_empty(), "{told:?}");
        assert_eq!((node.sessions(), node.counters().sessions_expired), (2, 0));
    });
}
