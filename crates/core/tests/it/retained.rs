//! Retained messages: set, replaced, cleared and expired; sent to new subscriptions in slices.

use midge_codec::{Publish, ReasonCode, RetainHandling, SubscriptionOptions};
use midge_core::{DropReason, Fetch, Fetched, FetchedEntry, Limits};

use crate::node::{Conn, Node, Setup, scenario, scenario_with};
use crate::packets::{connect, handling, options, persistent, publish, retained, with_expiry};

fn kept(node: &Node) -> (u64, u64) {
    let usage = node.cores.iter().map(midge_core::Core::usage);
    usage.fold((0, 0), |sum, one| (sum.0 + one.retained_messages, sum.1 + one.retained_bytes))
}

fn texts_for(node: &mut Node, name: &str, filter: &str) -> Vec<String> {
    let conn = node.connect(name);
    node.subscribe(conn, filter, 1);
    let mut texts = node.texts(conn);
    texts.sort();
    texts
}

#[test]
fn set_replace_clear() {
    scenario(|node| {
        let live = node.connect("live");
        node.subscribe(live, "#", 0);
        let publisher = node.connect("p");
        node.send_publish(publisher, retained("t/1", "one"));
        node.send_publish(publisher, retained("t/1", "two"));
        node.send_publish(publisher, retained("t/2", "three"));
        assert_eq!(texts_for(node, "a", "t/#"), ["three", "two"]);
        assert_eq!(kept(node), (2, 14));
        node.send_publish(publisher, retained("t/1", ""));
        assert_eq!(texts_for(node, "b", "+/+"), ["three"]);
        let lives = node.messages(live);
        assert_eq!(lives.len(), 4, "the empty one too");
        assert!(lives.iter().all(|message| !message.retain), "live ones are not marked");
        node.publish(publisher, "t/2", "not retained", 0);
        assert_eq!(texts_for(node, "c", "t/2"), ["three"]);
        assert_eq!(node.dropped(DropReason::NoSubscriber), 0);
    });
}

#[test]
fn retained_messages_expire() {
    scenario(|node| {
        let publisher = node.connect("p");
        node.send_publish(publisher, with_expiry(retained("t", "x"), 10));
        node.advance(3_500);
        let conn = node.connect("a");
        node.subscribe(conn, "t", 0);
        assert_eq!(node.message(conn).expiry, Some(7));
        node.send_publish(publisher, with_expiry(retained("t", "y"), 10));
        node.advance(6_500);
        assert_eq!(kept(node).0, 1, "the timer of the first one is off");
        node.advance(3_500);
        assert_eq!(kept(node), (0, 0));
        assert_eq!(texts_for(node, "b", "t"), [""; 0]);
    });
}

#[test]
fn retain_handling_says_when() {
    scenario(|node| {
        let publisher = node.connect("p");
        node.send_publish(publisher, retained("t", "x"));
        let conn = node.connect_with(&persistent("a")).0;
        let mut times = |how| {
            node.subscribe_with(conn, &[("t", handling(0, how))], None);
            node.texts(conn).len()
        };
        assert_eq!(times(RetainHandling::DoNotSend), 0);
        assert_eq!(times(RetainHandling::SendIfNew), 0, "it existed");
        assert_eq!(times(RetainHandling::SendAtSubscribe), 1);
        assert_eq!(times(RetainHandling::SendAtSubscribe), 1);
        node.unsubscribe(conn, "t");
        node.subscribe_with(conn, &[("t", handling(0, RetainHandling::SendIfNew))], None);
        assert_eq!(node.texts(conn), ["x"]);
        node.subscribe(conn, "$share/g/t", 0);
        assert_eq!(node.texts(conn), [""; 0], "never for shared subscriptions");
    });
}

#[test]
fn retain_as_published() {
    scenario(|node| {
        let conn = node.connect("a");
        let rap = SubscriptionOptions { retain_as_published: true, ..options(1) };
        node.subscribe_with(conn, &[("rap/+", rap), ("plain/+", options(1))], None);
        let publisher = node.connect("p");
        for topic in ["rap/1", "plain/1"] {
            node.send_publish(publisher, retained(topic, "r"));
            node.publish(publisher, topic, "n", 0);
        }
        let flags: Vec<_> = node.messages(conn).iter().map(|message| message.retain).collect();
        assert_eq!(flags, [true, false, false, false]);
        let late = node.connect("late");
        node.subscribe(late, "plain/+", 1);
        assert!(node.message(late).retain);
    });
}

#[test]
fn the_lower_qos_of_both_and_the_identifier_are_used() {
    scenario(|node| {
        let publisher = node.connect("p");
        node.send_publish(publisher, Publish { retain: true, ..publish("t", "x", 2, 1) });
        let conn = node.connect("a");
        node.subscribe_with(conn, &[("t", options(1))], crate::packets::identifier(9));
        let got = node.message(conn);
        assert_eq!((got.qos, got.identifiers), (1, vec![9]));
    });
}

#[test]
fn limits_refuse_new_topics_but_not_new_values() {
    let limits = Limits { retained_messages_max: 2, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, ..Setup::default() });
    let live = node.connect("live");
    node.subscribe(live, "#", 0);
    let publisher = node.connect("p");
    node.send_publish(publisher, retained("1", "x"));
    node.send_publish(publisher, retained("2", "x"));
    let third = Publish { retain: true, ..publish("3", "x", 1, 1) };
    let code = node.publish_acknowledged(publisher, third);
    assert_eq!(code, ReasonCode::QuotaExceeded);
    assert_eq!(node.texts(live).len(), 3, "delivered all the same");
    node.send_publish(publisher, retained("2", "y"));
    assert_eq!((kept(&node).0, node.dropped(DropReason::RetainedLimit)), (2, 1));
}

fn fill(node: &mut Node, count: usize) {
    let publisher = node.connect("filler");
    for number in 0..count {
        let (topic, text) = (format!("many/{}/{number}", number % 7), number.to_string());
        node.queue(publisher, &midge_codec::Packet::Publish(retained(&topic, &text)));
    }
    node.settle();
}

fn sorted_numbers(node: &mut Node, conn: Conn) -> Vec<usize> {
    let texts = node.texts(conn);
    let mut numbers: Vec<usize> = texts.iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_large_walk_goes_in_slices_and_misses_nothing() {
    for (workers, shuffle) in [(1, None), (3, None), (3, Some(5))] {
        let mut node = Node::new(&Setup { workers, shuffle, ..Setup::default() });
        fill(&mut node, 30_000);
        let conn = node.connect("a");
        let before = node.turns;
        node.subscribe(conn, "many/#", 0);
        assert_eq!(sorted_numbers(&mut node, conn), (0..30_000).collect::<Vec<_>>());
        assert!(node.turns - before > 1);
        node.subscribe(conn, "many/3/+", 1);
        let third: Vec<_> = (0..30_000).filter(|number| number % 7 == 3).collect();
        assert_eq!(sorted_numbers(&mut node, conn), third, "QoS 0 as published");
    }
}

#[test]
fn a_walk_is_bounded_by_its_slow_client() {
    let limits = Limits { output_bytes_max: 4_000, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        fill(node, 2_000);
        let conn = node.connect("a");
        node.set_room(conn, 0);
        node.queue_subscribe(conn, &[("many/#", options(0))], None);
        node.settle();
        assert!(node.output_bytes(conn) < 5_000);
        let other = node.connect("b");
        node.subscribe(other, "many/#", 0);
        assert_eq!(node.texts(other).len(), 2_000, "nobody waits for another's socket");
        node.set_room(conn, usize::MAX);
        assert_eq!(sorted_numbers(node, conn), (0..2_000).collect::<Vec<_>>());
        assert_eq!(node.all_dropped(), []);
    });
}

#[test]
fn a_walk_waits_for_acknowledgements_and_across_connections() {
    // The publisher does not wait for acknowledgements.
    let limits =
        Limits { receive_maximum: u16::MAX, inflight_messages_max: 32, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let publisher = node.connect("p");
        for number in 1..=2_000_u16 {
            let (topic, text) = (format!("many/{number}"), number.to_string());
            let packet = Publish { retain: true, ..publish(&topic, &text, 1, number) };
            node.queue(publisher, &midge_codec::Packet::Publish(packet));
        }
        node.settle();
        let conn = node.connect_with(&persistent("a")).0;
        node.acknowledge(conn, false);
        node.subscribe(conn, "many/#", 1);
        let mut seen = sorted_numbers(node, conn);
        assert_eq!(seen.len(), 32);
        node.lose(conn);
        assert_eq!(node.all_dropped(), []);
        let conn = node.connect_with(&persistent("a")).0;
        seen.extend(sorted_numbers(node, conn));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (1..=2_000).collect::<Vec<_>>());
        assert_eq!(node.all_dropped(), []);
    });
}

#[test]
fn a_walk_ends_with_its_subscription_or_session() {
    let limits = Limits { output_bytes_max: 1_000, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        fill(node, 500);
        for (name, how) in [("a", 0), ("b", 1), ("c", 2)] {
            let conn = node.connect_with(&connect(name)).0;
            node.set_room(conn, 0);
            node.queue_subscribe(conn, &[("many/#", options(0))], None);
            node.settle();
            match how {
                0 => node.lose(conn),
                1 => {
                    let packet = midge_codec::Unsubscribe {
                        packet_id: crate::packets::id(9),
                        user_properties: midge_codec::UserProperties::default(),
                        filters: ["many/#"][..].into(),
                    };
                    node.send(conn, &midge_codec::Packet::Unsubscribe(packet));
                    node.set_room(conn, usize::MAX);
                    assert!(node.texts(conn).len() < 500);
                }
                _ => {
                    node.connect(name);
                }
            }
        }
        let publisher = node.connect("p");
        for number in 0..500 {
            let topic = format!("many/{}/{number}", number % 7);
            node.queue(publisher, &midge_codec::Packet::Publish(retained(&topic, "")));
        }
        node.settle();
        assert_eq!(kept(node), (0, 0));
        assert!(node.cores.iter().all(|core| !core.has_work()));
    });
}

#[test]
fn a_newer_live_message_is_not_followed_by_an_older_retained_one() {
    for seed in 0..100 {
        let told = crate::node::TellOnPanic(format!("order seed {seed}"));
        let setup = Setup { workers: 3, shuffle: Some(seed), ..Setup::default() };
        let mut node = Node::new(&setup);
        let publisher = node.connect("p");
        let conns = [node.connect("a"), node.connect("b")];
        node.send_publish(publisher, retained("t", "0"));
        for conn in conns {
            node.queue_subscribe(conn, &[("#", options(0))], None);
        }
        for number in 1..6 {
            let text = number.to_string();
            node.queue(publisher, &midge_codec::Packet::Publish(retained("t", &text)));
        }
        node.settle();
        for conn in conns {
            let texts = node.texts(conn);
            assert!(texts.is_sorted(), "{texts:?}");
            assert_eq!(texts.last().map(String::as_str), Some("5"), "{texts:?}");
        }
        told.well();
    }
}

#[test]
fn what_is_retained_while_somebody_subscribes_reaches_it_one_way_or_the_other() {
    for seed in 0..300 {
        let told = crate::node::TellOnPanic(format!("order seed {seed}"));
        let setup = Setup { workers: 3, shuffle: Some(seed), ..Setup::default() };
        let mut node = Node::new(&setup);
        let publisher = node.connect("p");
        let conns = [node.connect("a"), node.connect("b")];
        for number in 0..12 {
            let topic = format!("t/{number}");
            node.queue(publisher, &midge_codec::Packet::Publish(retained(&topic, &topic)));
        }
        for conn in conns {
            node.queue_subscribe(conn, &[("t/+", options(0))], None);
        }
        node.settle();
        for conn in conns {
            let mut texts = node.texts(conn);
            texts.sort();
            texts.dedup();
            assert_eq!(texts.len(), 12, "{texts:?}");
        }
        told.well();
    }
}

#[test]
fn what_waits_for_room_goes_on_when_a_queue_in_the_store_is_found_to_be_empty() {
    let limits = Limits { queue_messages_max: 4, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, has_store: true, ..Setup::default() });
    let client = node.connect_with(&persistent("c")).0;
    node.subscribe(client, "t", 1);
    node.lose(client);
    let publisher = node.connect("p");
    node.send_publish(publisher, retained("kept", "kept"));
    for number in 1..=4 {
        node.send_publish(publisher, publish("t", "lost", 1, number));
    }
    let client = node.connect_with(&persistent("c")).0;
    node.subscribe(client, "kept", 0);
    assert_eq!(node.texts(client), [""; 0], "its queue may be full");
    // The store cannot read any of the messages: nothing is sent that the Client could acknowledge.
    let Fetch { owner, session, ticket, from, .. } = node.fetches.pop().expect("it is asked for");
    let damaged = |sequence| FetchedEntry { sequence, delivery: None, round: None };
    let entries = (from..from + 4).map(damaged).collect();
    let fetched = Fetched { owner, session, ticket, entries, next: from + 4 };
    node.call(0, |core, turn| core.handle_fetched(fetched, turn));
    assert_eq!(node.dropped(DropReason::Damaged), 4);
    assert_eq!(node.texts(client), ["kept"]);
}
