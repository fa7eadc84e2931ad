//! Shared subscriptions: who is chosen, what waits, and what is passed on.

use std::collections::BTreeMap;

use midge_codec::{Packet, ReasonCode};
use midge_core::{DropReason, Limits, SharedStrategy};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, options, persistent, puback, publish};

const ALL: [SharedStrategy; 6] = [
    SharedStrategy::RoundRobin,
    SharedStrategy::Random,
    SharedStrategy::Sticky,
    SharedStrategy::LeastInFlight,
    SharedStrategy::HashByClient,
    SharedStrategy::HashByTopic,
];

fn with(strategy: SharedStrategy) -> Setup {
    Setup { strategy, ..Setup::default() }
}

fn members(node: &mut Node, names: &[&'static str], level: u8) -> Vec<Conn> {
    let mut conns = Vec::new();
    for name in names {
        let conn = node.connect_with(&persistent(name)).0;
        node.subscribe(conn, "$share/g/t/#", level);
        conns.push(conn);
    }
    conns
}

fn counts(node: &mut Node, conns: &[Conn]) -> Vec<usize> {
    conns.iter().map(|&conn| node.messages(conn).len()).collect()
}

#[test]
fn one_member_gets_each_message_whatever_the_strategy() {
    for strategy in ALL {
        scenario_with(with(strategy), |node| {
            let conns = members(node, &["a", "b", "c"], 1);
            let publisher = node.connect("p");
            for number in 0..60 {
                node.publish(publisher, &format!("t/{}", number % 20), "x", 1);
            }
            let counts = counts(node, &conns);
            assert_eq!(counts.iter().sum::<usize>(), 60, "{strategy:?}");
            match strategy {
                // It is exact for each worker, and the publisher may go from one to the next.
                SharedStrategy::RoundRobin if node.wandering.is_none() => {
                    assert_eq!(counts, [20, 20, 20]);
                }
                SharedStrategy::Sticky | SharedStrategy::HashByClient => {
                    assert_eq!(counts.iter().max(), Some(&60), "{strategy:?}");
                }
                _ => (),
            }
            let spread = [SharedStrategy::Random, SharedStrategy::HashByTopic];
            if spread.contains(&strategy) {
                assert!(counts.iter().all(|&count| count > 0), "{strategy:?} {counts:?}");
            }
            assert_eq!(node.all_dropped(), []);
        });
    }
}

#[test]
fn a_topic_stays_with_its_member_when_hashed() {
    scenario_with(with(SharedStrategy::HashByTopic), |node| {
        let conns = members(node, &["a", "b", "c"], 0);
        let publisher = node.connect("p");
        for number in 0..60 {
            node.publish(publisher, &format!("t/{}", number % 20), "x", 0);
        }
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        for (index, &conn) in conns.iter().enumerate() {
            for got in node.messages(conn) {
                assert_eq!(*owners.entry(got.topic).or_insert(index), index);
            }
        }
        assert_eq!(owners.len(), 20);
    });
}

#[test]
fn the_least_busy_member_is_chosen() {
    scenario_with(with(SharedStrategy::LeastInFlight), |node| {
        let conns = members(node, &["a", "b", "c"], 1);
        let publisher = node.connect("p");
        node.acknowledge(conns[0], false);
        node.acknowledge(conns[2], false);
        for number in 0..30 {
            node.publish(publisher, "t/1", &number.to_string(), 1);
        }
        let counts = counts(node, &conns);
        assert!(counts[0] <= 2 && counts[2] <= 2 && counts[1] >= 26, "{counts:?}");
    });
}

#[test]
fn a_member_with_qos_0_is_not_taken_for_busy() {
    scenario_with(with(SharedStrategy::LeastInFlight), |node| {
        let zero = members(node, &["a"], 0)[0];
        let one = members(node, &["b"], 1)[0];
        let publisher = node.connect("p");
        node.acknowledge(one, false);
        for number in 0..20 {
            node.publish(publisher, "t/1", &number.to_string(), 1);
        }
        let counts = counts(node, &[zero, one]);
        assert!(counts[0] >= 18, "{counts:?}");
    });
}

#[test]
fn what_failed_does_not_make_a_member_busy() {
    let limits = Limits { inflight_messages_max: 1, ..Limits::default() };
    let setup = Setup { limits, ..with(SharedStrategy::LeastInFlight) };
    scenario_with(setup, |node| {
        let conns = members(node, &["a", "b"], 1);
        let publisher = node.connect("p");
        conns.iter().for_each(|&conn| node.acknowledge(conn, false));
        for number in 1..=20 {
            let packet = crate::packets::with_expiry(publish("t/1", "x", 1, number), 5);
            node.send_publish(publisher, packet);
        }
        node.advance(10_000);
        // Member a works through its window: messages that expired in its queue are dropped.
        let first = node.message(conns[0]);
        node.send(conns[0], &puback(first.packet_id));
        assert_eq!(node.dropped(DropReason::Expired), 9);
        node.acknowledge(conns[0], true);
        node.messages(conns[1]);
        for number in 21..=26 {
            node.send_publish(publisher, publish("t/1", "x", 1, number));
        }
        assert_eq!(counts(node, &conns), [6, 0]);
    });
}

#[test]
fn a_sticky_member_stays_when_others_go() {
    scenario_with(with(SharedStrategy::Sticky), |node| {
        let conns = members(node, &["a", "b", "c", "d"], 0);
        let publisher = node.connect("p");
        node.publish(publisher, "t/1", "x", 0);
        let first = counts(node, &conns).iter().position(|&count| count == 1).unwrap();
        node.disconnect(conns[first], ReasonCode::Success);
        node.publish(publisher, "t/1", "x", 0);
        let second = counts(node, &conns).iter().position(|&count| count == 1).unwrap();
        for (index, &conn) in conns.iter().enumerate() {
            if index != second && !node.is_closed(conn) {
                node.unsubscribe(conn, "$share/g/t/#");
                node.publish(publisher, "t/1", "x", 0);
                assert_eq!(node.messages(conns[second]).len(), 1);
            }
        }
        // Unsubscribing the member that had gone must not move the choice either.
        let back = node.connect("abcd".get(first..=first).unwrap());
        node.publish(publisher, "t/1", "x", 0);
        assert_eq!((node.messages(conns[second]).len(), node.messages(back).len()), (1, 0));
    });
}

#[test]
fn an_offline_member_is_never_chosen_while_a_live_one_exists() {
    for shared_backlog in [true, false] {
        for strategy in ALL {
            let setup = Setup { shared_backlog, ..with(strategy) };
            scenario_with(setup, |node| {
                let conns = members(node, &["a", "b", "c"], 1);
                node.lose(conns[0]);
                node.lose(conns[2]);
                let publisher = node.connect("p");
                for number in 0..12 {
                    node.publish(publisher, &format!("t/{number}"), "x", 1);
                }
                assert_eq!(node.messages(conns[1]).len(), 12, "{strategy:?}");
            });
        }
    }
}

#[test]
fn a_group_keeps_its_messages_until_a_member_is_back() {
    for shared_backlog in [true, false] {
        let limits = Limits { shared_backlog_messages_max: 3, ..Limits::default() };
        let setup = Setup { limits, shared_backlog, ..Setup::default() };
        scenario_with(setup, |node| {
            let conns = members(node, &["a", "b"], 1);
            conns.iter().for_each(|&conn| node.lose(conn));
            let publisher = node.connect("p");
            for number in 0..5 {
                node.publish(publisher, "t/1", &number.to_string(), 1);
            }
            node.publish(publisher, "t/1", "QoS 0", 0);
            assert_eq!(node.dropped(DropReason::Offline), 1);
            let conn = node.connect_with(&persistent("b")).0;
            if shared_backlog {
                assert_eq!(node.texts(conn), ["0", "1", "2"]);
                assert_eq!(node.dropped(DropReason::SharedBacklogFull), 2);
            } else {
                let other = node.connect_with(&persistent("a")).0;
                let total = node.texts(conn).len() + node.texts(other).len();
                assert_eq!(total, 5, "they waited in the members' own queues");
            }
        });
    }
}

#[test]
fn what_a_member_did_not_get_goes_to_another_when_its_session_ends() {
    scenario(|node| {
        let mut packet = persistent("a");
        packet.properties.session_expiry_interval = Some(10);
        let a = node.connect_with(&packet).0;
        node.subscribe(a, "$share/g/t/#", 1);
        node.acknowledge(a, false);
        let publisher = node.connect("p");
        for number in 0..3 {
            node.publish(publisher, "t/1", &number.to_string(), 1);
        }
        let first = node.messages(a);
        node.send(a, &puback(first[0].packet_id));
        node.lose(a);
        let b = members(node, &["b"], 1)[0];
        node.advance(9_000);
        assert_eq!(node.texts(b), [""; 0], "under way to a Session that lives");
        node.advance(1_000);
        assert_eq!(node.texts(b), ["1", "2"]);
        assert_eq!(node.all_dropped(), []);
    });
}

#[test]
fn what_waits_behind_a_members_window_goes_on_when_it_is_lost() {
    scenario(|node| {
        let mut packet = persistent("a");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(1);
        let a = node.connect_with(&packet).0;
        node.subscribe(a, "$share/g/t/#", 1);
        node.acknowledge(a, false);
        let publisher = node.connect("p");
        for number in 0..3 {
            node.publish(publisher, "t/1", &number.to_string(), 1);
        }
        let b = members(node, &["b"], 1)[0];
        node.lose(a);
        assert_eq!(node.texts(b), ["1", "2"]);
        let (a, _) = node.resume(&packet);
        assert_eq!(node.texts(a), ["0"]);
    });
}

#[test]
fn the_last_member_takes_the_backlog_with_it() {
    scenario(|node| {
        let mut packet = persistent("a");
        packet.properties.session_expiry_interval = Some(10);
        let a = node.connect_with(&packet).0;
        node.subscribe(a, "$share/g/t", 1);
        node.lose(a);
        let publisher = node.connect("p");
        node.publish(publisher, "t", "x", 1);
        node.advance(10_000);
        assert_eq!(node.dropped(DropReason::SessionEnded), 1);
        let a = node.connect("a");
        node.subscribe(a, "$share/g/t", 1);
        assert_eq!(node.texts(a), [""; 0]);
    });
}

#[test]
fn groups_of_different_names_and_the_queue_each_get_a_copy() {
    scenario(|node| {
        let conns = ["a", "b", "c"].map(|name| node.connect(name));
        for conn in conns {
            let filters = ["$share/g/t", "$share/h/t", "$queue/t"];
            let filters = filters.map(|filter| (filter, options(1)));
            node.subscribe_with(conn, &filters, None);
        }
        let publisher = node.connect("p");
        for _ in 0..3 {
            node.publish(publisher, "t", "x", 1);
        }
        assert_eq!(counts(node, &conns).iter().sum::<usize>(), 9);
    });
}

#[test]
fn a_message_for_one_group_never_reaches_another_made_in_its_place() {
    for seed in 0..300 {
        let told = crate::node::TellOnPanic(format!("order seed {seed}"));
        let setup = Setup { workers: 3, shuffle: Some(seed), ..Setup::default() };
        let mut node = Node::new(&setup);
        let publisher = node.connect("p");
        let conns = ["a", "b", "c", "d"].map(|name| node.connect(name));
        for conn in conns {
            node.acknowledge(conn, false);
            node.subscribe(conn, "$share/g/old", 1);
        }
        for number in 0..6 {
            node.queue(publisher, &Packet::Publish(publish("old", "old", 1, number + 1)));
        }
        for conn in conns {
            node.break_connection(conn);
        }
        let late = ["e", "f", "h"].map(|name| node.begin_connect(&connect(name)));
        for (conn, filter) in late.into_iter().zip(["$share/x/1", "$share/y/2", "$share/z/3"]) {
            node.queue_subscribe(conn, &[(filter, options(1))], None);
        }
        node.settle();
        for conn in late {
            assert_eq!(node.texts(conn), [""; 0]);
        }
        told.well();
    }
}

#[test]
fn a_member_that_left_while_joining_is_known_as_gone() {
    for seed in 0..100 {
        let told = crate::node::TellOnPanic(format!("order seed {seed}"));
        let setup =
            Setup { workers: 3, shuffle: Some(seed), shared_backlog: false, ..Setup::default() };
        let mut node = Node::new(&setup);
        let live = node.connect("live");
        node.subscribe(live, "$share/g/t", 1);
        let conn = node.connect_with(&persistent("a")).0;
        node.queue_subscribe(conn, &[("$share/g/t", options(1))], None);
        for _ in 0..1 + seed % 12 {
            node.turn(seed as usize % 3);
        }
        node.break_connection(conn);
        node.settle();
        let publisher = node.connect("p");
        for _ in 0..6 {
            node.publish(publisher, "t", "x", 1);
        }
        assert_eq!(node.texts(live).len(), 6);
        told.well();
    }
}
