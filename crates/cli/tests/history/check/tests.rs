//! A checker that finds nothing proves nothing: each of these histories has one fault.

use midge_codec::{QoS, SubscriptionOptions};

use super::judge;
use crate::history::{
    Actor, Connection, Delivery, End, Message, Outage, OutageKind, SECOND, Session, Subscription,
    Tables,
};

/// A publisher (0), and a subscriber (1) of `t/#` at QoS 2 in Session 0 on connection 0. Message 0
/// was sent at 10 s and acknowledged at 11 s; message 1 follows it.
fn history() -> Tables {
    let actor = |id: &str| Actor { id: id.into(), is_prompt: true, is_v5: true };
    let mut tables =
        Tables { clients: vec![actor("publisher"), actor("subscriber")], ..Tables::default() };
    tables.sessions.push(Session {
        client: 1,
        expiry_seconds: 3600,
        promised: Some(2 * SECOND),
        over: None,
    });
    tables.connections.push(connection(1, SECOND));
    tables.subscriptions.push(Subscription {
        client: 1,
        session: 0,
        filter: "t/#".into(),
        options: SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() },
        asked: SECOND,
        granted: Some(2 * SECOND),
        leaving: None,
        gone: None,
    });
    tables.messages = vec![message(10), message(12)];
    tables
}

fn connection(client: usize, asked: u64) -> Connection {
    Connection {
        client,
        session: Some(0),
        asked,
        answered: Some(asked + 1),
        is_clean: false,
        will: None,
        expiry_seconds: 3600,
        promised: Some(asked + 2),
        end: None,
    }
}

fn message(second: u64) -> Message {
    Message {
        publisher: 0,
        line: (Some(7), 0),
        topic: "t/0".into(),
        qos: QoS::ExactlyOnce,
        retain: false,
        is_will: false,
        payload_bytes: 10,
        expiry_seconds: None,
        delay_seconds: 0,
        sent: vec![second * SECOND],
        acknowledged: Some((second + 1) * SECOND),
    }
}

fn delivery(message: usize, second: u64) -> Delivery {
    Delivery {
        client: 1,
        session: 0,
        connection: 0,
        at: second * SECOND,
        message,
        qos: QoS::ExactlyOnce,
        dup: false,
        retain: false,
        is_repetition: false,
        expiry_seconds: None,
    }
}

fn found(mut tables: Tables) -> Vec<&'static str> {
    judge(&mut tables, 100 * SECOND);
    tables.violations.iter().map(|it| it.rule).collect()
}

#[test]
fn a_history_without_a_fault_has_none() {
    let mut tables = history();
    tables.deliveries = vec![delivery(0, 10), delivery(1, 13)];
    assert_eq!(found(tables), [""; 0]);
}

#[test]
fn what_was_acknowledged_and_does_not_come_is_lost() {
    let mut tables = history();
    tables.deliveries = vec![delivery(1, 13)];
    assert_eq!(found(tables), ["a message is lost"]);
}

#[test]
fn what_was_not_certain_is_not_lost() {
    let mut unacknowledged = history();
    unacknowledged.messages[0].acknowledged = None;
    let mut late = history();
    late.subscriptions[0].granted = Some(11 * SECOND);
    let mut over = history();
    over.sessions[0].over = Some(20 * SECOND);
    for mut tables in [unacknowledged, late, over] {
        tables.deliveries = vec![delivery(1, 13)];
        assert_eq!(found(tables), [""; 0]);
    }
}

#[test]
fn qos_2_comes_once_and_qos_1_twice_with_dup_only() {
    let mut twice = history();
    twice.deliveries = vec![delivery(0, 10), delivery(1, 13), delivery(0, 14)];
    assert_eq!(found(twice), ["a QoS 2 message comes twice"]);
    for (dup, rules) in [(true, vec![]), (false, vec!["a message comes again without DUP"])] {
        let mut tables = history();
        let at_1 = |it: Delivery| Delivery { qos: QoS::AtLeastOnce, ..it };
        let again = Delivery { dup, connection: 1, ..delivery(0, 14) };
        tables.connections.push(connection(1, 14 * SECOND));
        tables.deliveries = [delivery(0, 10), delivery(1, 13), again].map(at_1).to_vec();
        assert_eq!(found(tables), rules);
    }
}

/// A delayed message that its publisher has sent twice counts as two messages, each of which the
/// broker may publish again after a kill.
#[test]
fn each_copy_of_a_delayed_message_may_come_once_more_after_a_kill() {
    for (count, rules) in [(4u64, vec![]), (5, vec!["a message comes again without DUP"])] {
        let mut tables = history();
        tables.outages =
            vec![Outage { kind: OutageKind::Kill, from: 15 * SECOND, until: Some(15 * SECOND) }];
        let first = Message {
            qos: QoS::AtLeastOnce,
            delay_seconds: 3,
            sent: vec![10 * SECOND, 11 * SECOND],
            ..message(10)
        };
        tables.messages = vec![first];
        let came = |number: u64| Delivery { qos: QoS::AtLeastOnce, ..delivery(0, 14 + number) };
        tables.deliveries = (0..count).map(came).collect();
        assert_eq!(found(tables), rules);
    }
}

#[test]
fn messages_come_in_their_order() {
    let mut tables = history();
    tables.deliveries = vec![delivery(1, 13), delivery(0, 14)];
    assert_eq!(found(tables), ["messages come in another order"]);
}

#[test]
fn nothing_comes_after_unsuback_or_without_a_subscription() {
    let mut ended = history();
    ended.subscriptions[0].leaving = Some(3 * SECOND);
    ended.subscriptions[0].gone = Some(4 * SECOND);
    ended.deliveries = vec![delivery(0, 10)];
    assert_eq!(found(ended), ["a message comes after UNSUBACK"]);
    let mut none = history();
    none.subscriptions.clear();
    none.deliveries = vec![delivery(0, 10)];
    assert_eq!(found(none), ["a message comes without a subscription"]);
}

#[test]
fn nothing_comes_when_it_has_expired_or_with_more_time_than_it_had() {
    let mut late = history();
    late.messages[0].expiry_seconds = Some(1);
    let expiring = |second| Delivery { expiry_seconds: Some(1), ..delivery(0, second) };
    late.deliveries = vec![expiring(16), delivery(1, 17)];
    assert_eq!(found(late), ["a message comes after it has expired"]);
    let mut long = history();
    long.messages[0].expiry_seconds = Some(1);
    let delivered = Delivery { expiry_seconds: Some(2), ..delivery(0, 10) };
    long.deliveries = vec![delivered, delivery(1, 13)];
    assert_eq!(found(long), ["a message has a wrong expiry"]);
}

#[test]
fn who_takes_what_comes_does_not_starve() {
    let mut tables = history();
    tables.deliveries = vec![delivery(0, 10), delivery(1, 40)];
    assert_eq!(found(tables), ["a Client starves"]);
    // Nothing is expected of a stopped broker.
    let mut tables = history();
    let (from, until) = (14 * SECOND, Some(40 * SECOND));
    tables.outages.push(Outage { kind: OutageKind::Stop, from, until });
    tables.deliveries = vec![delivery(0, 10), delivery(1, 40)];
    assert_eq!(found(tables), [""; 0]);
}

/// Message 0 is the Will Message of the publisher's connection, which was cut at 20 s.
fn testament(delay_seconds: u32, end: End) -> Tables {
    let mut tables = history();
    tables.messages[0].is_will = true;
    tables.messages[0].acknowledged = None;
    tables.deliveries = vec![delivery(1, 13)];
    let will = Some((0, delay_seconds));
    let end = Some((end, 20 * SECOND));
    tables.connections.push(Connection { session: None, will, end, ..connection(0, 5 * SECOND) });
    tables
}

#[test]
fn a_will_comes_when_it_is_due() {
    let fired = |mut tables: Tables, second| {
        tables.deliveries.push(delivery(0, second));
        tables
    };
    assert_eq!(found(testament(0, End::Left)), ["a Will Message is lost"]);
    assert_eq!(found(fired(testament(0, End::Left), 20)), [""; 0]);
    assert_eq!(found(fired(testament(5, End::Left), 25)), [""; 0]);
    assert_eq!(found(fired(testament(5, End::Left), 22)), ["a Will Message comes too early"]);
    let late = || fired(testament(5, End::Left), 40);
    assert_eq!(found(late()), ["a Will Message comes late"]);
    let mut excused = late();
    excused.add_outage(OutageKind::Disk, 25 * SECOND, 39 * SECOND);
    assert_eq!(found(excused), [""; 0]);
    assert_eq!(
        found(fired(testament(0, End::Goodbye), 20)),
        ["a Will Message comes that must not"]
    );
    // Its Client comes back in time.
    let mut resumed = testament(5, End::Left);
    resumed.connections[1].session = Some(1);
    let back = Connection { session: Some(1), ..connection(0, 21 * SECOND) };
    resumed.connections.push(back);
    assert_eq!(found(fired(resumed, 25)), ["a Will Message comes that must not"]);
}

#[test]
fn a_new_subscription_brings_what_is_retained() {
    let mut tables = history();
    tables.messages[0].retain = true;
    tables.messages.truncate(1);
    tables.subscriptions[0].asked = 20 * SECOND;
    tables.subscriptions[0].granted = Some(21 * SECOND);
    assert_eq!(found(tables), ["a retained message does not come"]);
    let mut tables = history();
    tables.messages[0].retain = true;
    tables.messages.truncate(1);
    tables.subscriptions[0].asked = 20 * SECOND;
    tables.subscriptions[0].granted = Some(21 * SECOND);
    tables.deliveries = vec![Delivery { retain: true, ..delivery(0, 21) }];
    assert_eq!(found(tables), [""; 0]);
}
