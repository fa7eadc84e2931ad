//! The most that one turn does, counted in operations, whatever Clients send: those served after it
//! wait no longer than that. And nobody notices when work is done in slices.

use midge_codec::{
    Disconnect, Packet, PacketIdentifier, Publish, ReasonCode, SubscriptionOptions, Unsubscribe,
};
use midge_core::{Core, DropReason, Limits};

use crate::client::subscribe_packet;
use crate::node::{Conn, Node, Setup, scenario_with};
use crate::packets::{connect, options, persistent, puback, publish, will};
use crate::received::Received;

/// A turn ends after the packet with which it has done enough work. That packet at its largest, and
/// the deferred work that is done in each turn, come on top.
const TURN_MAX: u64 = 65_536 + 50_000 + 20_000 + 3_000;

fn setup() -> Setup {
    let limits = Limits {
        receive_maximum: u16::MAX,
        queue_messages_max: 1_000_000,
        queue_bytes_max: u32::MAX,
        ..Limits::default()
    };
    Setup { limits, stays: true, ..Setup::default() }
}

/// Runs turns until there is nothing left to do; returns the operations of the largest turn.
fn largest_turn(node: &mut Node) -> u64 {
    let mut largest = 0;
    loop {
        let mut happened = false;
        for worker in 0..node.cores.len() {
            let before = node.cores[worker].operations();
            happened |= node.turn(worker);
            largest = largest.max(node.cores[worker].operations() - before);
        }
        if !happened && !node.cores.iter().any(Core::has_work) {
            node.settle();
            return largest;
        }
    }
}

fn filters(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("many/{number}")).collect()
}

fn many(filters: &[String]) -> Vec<(&str, SubscriptionOptions)> {
    filters.iter().map(|filter| (filter.as_str(), options(1))).collect()
}

fn unsubscribe(node: &mut Node, conn: Conn, filters: &[String]) {
    let filters: Vec<_> = filters.iter().map(String::as_str).collect();
    node.queue(
        conn,
        &Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketIdentifier::new(9).unwrap(),
            user_properties: Default::default(),
            filters: filters[..].into(),
        }),
    );
}

#[test]
fn many_filters_are_done_in_slices_and_what_comes_behind_them_waits() {
    scenario_with(setup(), |node| {
        let client = node.connect("c");
        let publisher = node.connect("p");
        node.send_publish(publisher, crate::packets::retained("many/19999", "kept"));
        let filters = filters(20_000);
        node.queue_subscribe(client, &many(&filters), None);
        node.queue(client, &Packet::Publish(publish("many/19998", "own", 0, 0)));
        node.queue(client, &Packet::PingReq);
        assert!(largest_turn(node) < TURN_MAX);
        let received = node.take(client);
        let codes = received.iter().find_map(|packet| match packet {
            Received::SubAck(_, codes) => Some((codes.len(), codes[19_999])),
            _ => None,
        });
        assert_eq!(codes, Some((20_000, ReasonCode::GrantedQoS1)));
        let texts = received.iter().filter_map(|packet| match packet {
            Received::Publish(publish) => Some(publish.text()),
            _ => None,
        });
        let mut texts: Vec<_> = texts.collect();
        texts.sort_unstable();
        assert_eq!(texts, ["kept", "own"]);
        assert!(received.contains(&Received::PingResp));

        unsubscribe(node, client, &filters);
        node.queue(client, &Packet::Publish(publish("many/19998", "behind", 0, 0)));
        assert!(largest_turn(node) < 3_000, "1,024 filters, and little else");
        match &node.take(client)[..] {
            [Received::UnsubAck(9, codes)] => assert_eq!(codes.len(), 20_000),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn retained_walks_of_many_filters_begin_and_follow_in_slices() {
    scenario_with(setup(), |node| {
        let publisher = node.connect("p");
        for topic in ["many/0", "many/9999", "many/19999"] {
            node.send_publish(publisher, crate::packets::retained(topic, topic));
        }
        let client = node.connect("c");
        node.queue_subscribe(client, &many(&filters(20_000)), None);
        let largest = largest_turn(node);
        assert!(largest < 10_000, "{largest}");
        let received = node.take(client);
        assert!(matches!(received[0], Received::SubAck(..)), "retained messages follow it");
        let mut texts: Vec<_> = received[1..].iter().map(|it| format!("{it:?}")).collect();
        texts.sort_unstable();
        assert_eq!(texts.len(), 3, "{texts:?}");
    });
}

#[test]
fn a_client_that_goes_in_the_middle_of_its_subscribe_leaves_nothing_behind() {
    scenario_with(setup(), |node| {
        let client = node.connect("c");
        let filters = filters(5_000);
        node.queue_subscribe(client, &many(&filters), None);
        let worker = node.home("c");
        node.turn(worker);
        node.lose(client);
        let client = node.connect("c");
        assert_eq!(node.subscribe(client, "t", 1), ReasonCode::GrantedQoS1);
        let subscriptions: usize = node.cores.iter().map(|core| core.usage().subscriptions).sum();
        assert_eq!(subscriptions, 1);
    });
}

#[test]
fn a_subscription_made_again_and_again_asks_once() {
    scenario_with(setup(), |node| {
        let publisher = node.connect("p");
        for number in 1..=700_u16 {
            let topic = format!("r/{number}");
            let packet = Publish { retain: true, ..publish(&topic, "x", 1, number) };
            node.send_publish(publisher, packet);
        }
        let mut packet = connect("c");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(2);
        let client = node.connect_with(&packet).0;
        node.acknowledge(client, false);
        let mut operations = 0;
        for _ in 0..60 {
            node.queue_subscribe(client, &[("r/+", options(0))], None);
            node.queue_subscribe(client, &[("#", options(1))], None);
            operations = operations.max(largest_turn(node));
        }
        assert!(operations < 20_000, "{operations} in one turn");
        // No work piles up: one PUBACK continues with one request.
        let first = node.messages(client).iter().find(|it| it.qos == 1).unwrap().packet_id;
        node.queue(client, &puback(first));
        let operations = largest_turn(node);
        assert!(operations < 20_000, "{operations} for a PUBACK");
    });
}

#[test]
fn due_timers_take_effect_in_slices() {
    scenario_with(setup(), |node| {
        let client = node.connect("c");
        node.subscribe(client, "w", 0);
        let publisher = node.connect("p");
        for _ in 0..5_000 {
            node.queue(publisher, &Packet::Publish(publish("$delayed/9/t", "x", 0, 0)));
        }
        node.settle();
        for number in 0..1_500 {
            let name = format!("s{number}");
            let mut packet = persistent(&name);
            packet.will = Some(will("w", "gone", 0));
            packet.properties.session_expiry_interval = Some(9);
            packet.will.as_mut().unwrap().delay_interval_seconds = Some(9);
            let conn = node.connect_with(&packet).0;
            node.break_connection(conn);
        }
        node.settle();
        node.set_now(node.now + 20_000);
        let largest = largest_turn(node);
        assert!((1_000..10_000).contains(&largest), "{largest}");
        assert_eq!(node.messages(client).len(), 1_500);
        assert_eq!(node.dropped(DropReason::NoSubscriber), 5_000);
        assert_eq!(node.sessions(), 2);
    });
}

#[test]
fn a_turn_ends_when_it_has_done_enough() {
    scenario_with(setup(), |node| {
        let client = node.connect("c");
        for number in 0..300 {
            node.subscribe_quietly(client, &format!("$share/g{number}/t"));
        }
        node.settle();
        node.take(client);
        let publisher = node.connect("p");
        for number in 0..60_u16 {
            node.queue(publisher, &Packet::Publish(publish("t", "x", 1, number + 1)));
        }
        assert!(largest_turn(node) < TURN_MAX);
        assert_eq!(node.messages(client).len(), 18_000);
    });
}

fn shared(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("$share/g{number}/t/{number}")).collect()
}

fn subscriptions(node: &Node) -> usize {
    node.cores.iter().map(|core| core.usage().subscriptions).sum()
}

#[test]
fn many_shared_subscriptions_learn_in_slices_that_their_client_comes_and_goes() {
    scenario_with(setup(), |node| {
        let groups = shared(6_000);
        let member = node.connect_with(&persistent("m")).0;
        let other = node.connect("o");
        node.queue_subscribe(member, &many(&groups), None);
        node.queue_subscribe(other, &[("$share/g5999/t/5999", options(1))], None);
        node.settle();
        node.take(member);
        let publisher = node.connect("p");
        node.queue(member, &Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        let worker = node.home("m");
        node.turn(worker);
        // Not all workers know yet that the member has gone, but nothing goes to it.
        node.queue(publisher, &Packet::Publish(publish("t/5999", "for the other", 0, 0)));
        node.queue(publisher, &Packet::Publish(publish("t/7", "later", 1, 1)));
        let largest = largest_turn(node);
        assert!(largest < 5_000, "{largest} when it goes");
        assert_eq!(node.texts(other), ["for the other"]);
        assert_eq!(node.dropped(DropReason::Offline), 0);

        let member = node.begin_connect(&persistent("m"));
        let largest = largest_turn(node);
        assert!(largest < 5_000, "{largest} when it comes");
        assert_eq!(node.texts(member), ["later"]);
        node.publish(publisher, "t/0", "first", 1);
        node.publish(publisher, "t/5998", "last", 1);
        assert_eq!(node.texts(member), ["first", "last"]);
    });
}

#[test]
fn a_client_that_comes_and_goes_again_and_again_is_known_to_be_where_it_is() {
    scenario_with(setup(), |node| {
        let groups = shared(3_000);
        let mut member = node.connect_with(&persistent("m")).0;
        node.queue_subscribe(member, &many(&groups), None);
        node.settle();
        let worker = node.home("m");
        for _ in 0..5 {
            node.break_connection(member);
            node.turn(worker);
            member = node.begin_connect(&persistent("m"));
            node.turn(worker);
        }
        assert!(largest_turn(node) < 5_000);
        let publisher = node.connect("p");
        for number in [0, 1_500, 2_999] {
            node.publish(publisher, &format!("t/{number}"), "x", 0);
        }
        assert_eq!(node.texts(member), ["x", "x", "x"]);
    });
}

#[test]
fn a_session_with_many_subscriptions_ends_in_slices_and_its_client_has_a_new_one() {
    scenario_with(setup(), |node| {
        let publisher = node.connect("p");
        let client = node.connect("c");
        let all = [filters(9_000), shared(2_000)].concat();
        node.queue_subscribe(client, &many(&all), None);
        node.settle();
        node.queue(client, &Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        let worker = node.home("c");
        node.turn(worker);
        assert_eq!(node.sessions(), 1, "nobody finds it any more");
        assert!(subscriptions(node) > 3_000, "it is not all done in one turn");
        let client = node.begin_connect(&connect("c"));
        node.queue_subscribe(client, &[("many/8999", options(1))], None);
        node.queue(publisher, &Packet::Publish(publish("many/8999", "new", 1, 1)));
        node.queue(publisher, &Packet::Publish(publish("many/7", "for the old one", 1, 2)));
        let largest = largest_turn(node);
        assert!(largest < 6_000, "{largest}");
        assert_eq!((subscriptions(node), node.sessions()), (1, 2));
        node.publish(publisher, "many/8999", "newer", 1);
        node.publish(publisher, "t/1999", "nobody", 0);
        assert_eq!(node.texts(client).last().map(String::as_str), Some("newer"));
        // Another worker may have sent the old Client its message and nothing to the new one yet.
        assert!((1..=3).contains(&node.dropped(DropReason::NoSubscriber)));
        assert_eq!(node.dropped(DropReason::QueueFull), 0);
    });
}

#[test]
fn a_session_that_is_over_is_no_subscriber_while_its_subscriptions_end() {
    let mut node = Node::new(&setup());
    let publisher = node.connect("p");
    let client = node.connect("c");
    let filters = filters(9_000);
    node.queue_subscribe(client, &many(&filters), None);
    node.settle();
    node.queue(client, &Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
    node.turn(0);
    assert!(subscriptions(&node) > 3_000, "it is not all done in one turn");
    for (filter, number) in filters.iter().zip(1..) {
        node.queue(publisher, &Packet::Publish(publish(filter, "x", 1, number)));
    }
    node.settle();
    let nobody = |number| Received::PubAck(number, ReasonCode::NoMatchingSubscribers);
    assert!(node.take(publisher).into_iter().eq((1..=9_000).map(nobody)));
    assert_eq!(node.dropped(DropReason::NoSubscriber), 9_000);
}

#[test]
fn exclusive_subscriptions_are_free_as_soon_as_their_session_has_ended() {
    scenario_with(setup(), |node| {
        let other = node.connect("o");
        let client = node.connect("c");
        let exclusive: Vec<_> = (0..20).map(|number| format!("$exclusive/{number}")).collect();
        node.queue_subscribe(client, &many(&[filters(20_000), exclusive.clone()].concat()), None);
        node.settle();
        assert_eq!(node.subscribe(other, "$exclusive/0", 1), ReasonCode::QuotaExceeded);
        node.queue(client, &Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        let worker = node.home("c");
        node.turn(worker);
        assert!(subscriptions(node) > 10_000, "it is not all done in one turn");
        let client = node.begin_connect(&connect("c"));
        node.queue_subscribe(client, &many(&exclusive), None);
        assert!(largest_turn(node) < 6_000);
        let received = node.take(client);
        let Some(Received::SubAck(_, codes)) = received.last() else {
            panic!("{received:?}");
        };
        assert_eq!(codes[..], [ReasonCode::GrantedQoS1; 20]);
        assert_eq!(node.subscribe(other, "$exclusive/0", 1), ReasonCode::QuotaExceeded);
    });
}

#[test]
fn what_waits_for_a_session_that_ends_is_given_up_in_slices() {
    scenario_with(setup(), |node| {
        let mut session = persistent("s");
        session.properties.session_expiry_interval = Some(9);
        let client = node.connect_with(&session).0;
        node.subscribe(client, "t", 1);
        node.lose(client);
        let publisher = node.connect("p");
        for number in 1..=20_000_u16 {
            node.queue(publisher, &Packet::Publish(publish("t", "x", 1, number)));
        }
        node.settle();
        let worker = node.home("s");
        let held = |node: &Node| node.cores[worker].held_bytes();
        let before = held(node);
        node.set_now(node.now + 10_000);
        node.turn(worker);
        assert!(held(node) > before / 2, "of {before}: what waits still counts");
        let largest = largest_turn(node);
        assert!(largest < 10_000, "{largest}");
        assert_eq!(node.dropped(DropReason::SessionEnded), 20_000);
        assert!(held(node) < before / 10, "of {before}: all of it is gone");
    });
}

/// Memory that is being freed slice by slice is not demanded from another Client meanwhile.
#[test]
fn nobody_is_given_up_for_what_others_are_giving_up_already() {
    let mut node = Node::new(&setup());
    let counts = [("large", 20_000_u16), ("small", 2_000)];
    for (name, count) in counts {
        let client = node.connect_with(&persistent(name)).0;
        node.subscribe(client, name, 1);
        node.lose(client);
        let publisher = node.connect("p");
        for number in 1..=count {
            node.queue(publisher, &Packet::Publish(publish(name, &"x".repeat(100), 1, number)));
        }
        node.settle();
    }
    let worker = node.home("large");
    node.call(worker, |core, turn| {
        (0..3).for_each(|_| core.shed(1_000_000, &|_| 0, turn));
    });
    let clients = node.clients_of(worker);
    assert!(clients.iter().any(|info| &*info.client_id == "small"), "{clients:?}");
    assert_eq!(clients.len(), 2, "and the publisher");
    node.settle();
    node.call(worker, |core, turn| core.shed(1, &|_| 0, turn));
    assert_eq!(node.clients_of(worker).len(), 1, "now there is nobody else to be given up");
}

#[test]
fn what_a_group_has_kept_is_given_out_in_slices_and_in_order() {
    let limits = Limits { shared_backlog_messages_max: 100_000, ..setup().limits };
    let limits = Limits { shared_backlog_bytes_max: u32::MAX, ..limits };
    scenario_with(Setup { limits, ..setup() }, |node| {
        let member = node.connect_with(&persistent("m")).0;
        node.subscribe(member, "$share/g/t", 1);
        node.lose(member);
        let publisher = node.connect("p");
        for number in 1..=20_000_u16 {
            let text = number.to_string();
            node.queue(publisher, &Packet::Publish(publish("t", &text, 1, number)));
        }
        node.settle();
        let mut packet = persistent("m");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(u16::MAX);
        let member = node.begin_connect(&packet);
        let worker = node.home("m");
        node.turn(worker);
        node.queue(publisher, &Packet::Publish(publish("t", "behind", 1, 20_001)));
        let largest = largest_turn(node);
        assert!(largest < 60_000, "{largest}");
        let mut texts = node.texts(member);
        assert_eq!(texts.len(), 20_001);
        if node.cores.len() > 1 {
            return; // another worker delivers it to the member directly and may be ahead
        }
        assert_eq!(texts.pop().as_deref(), Some("behind"));
        let numbers = texts.iter().map(|text| text.parse::<u16>().expect("a number"));
        assert!(numbers.eq(1..=20_000));
    });
}

#[test]
fn the_members_of_a_group_count_as_work() {
    let mut node = Node::new(&setup());
    for number in 0..8_000 {
        let conn = node.begin_connect(&connect(&format!("m{number}")));
        node.queue_subscribe(conn, &[("$share/g/t", options(1))], None);
    }
    node.settle();
    let publisher = node.connect("p");
    for number in 1..=1_000 {
        node.queue(publisher, &Packet::Publish(publish("t", "x", 1, number)));
    }
    let before = node.cores[0].operations();
    assert!(largest_turn(&mut node) < TURN_MAX);
    let operations = node.cores[0].operations() - before;
    assert!(operations > 500_000, "{operations}: each message looks at all members");
}

#[test]
fn a_fan_out_to_very_many_is_done_in_slices() {
    let limits = Limits { turn_deliveries_max: 1_000, ..setup().limits };
    let mut node = Node::new(&Setup { limits, ..setup() });
    let publisher = node.connect("p");
    for number in 0..5_000 {
        let conn = node.begin_connect(&connect(&format!("s{number}")));
        node.queue_subscribe(conn, &[("t", options(1))], None);
    }
    node.settle();
    let sent = node.counters().messages_delivered;
    node.queue(publisher, &Packet::Publish(publish("t", "x", 1, 1)));
    node.turn(0);
    let in_first_turn = node.counters().messages_delivered - sent;
    assert!(in_first_turn <= 1_000, "{in_first_turn}");
    node.settle();
    assert_eq!(node.counters().messages_delivered - sent, 5_000);
}

#[test]
fn a_walk_over_filters_that_match_nothing_counts() {
    let mut node = Node::new(&setup());
    let client = node.connect("c");
    // Each level is `+` or `a`, and the last one never matches.
    let filters: Vec<_> = (0..1_u32 << 12)
        .map(|bits| {
            let level = |at: u32| if (bits >> at) & 1 == 0 { "+/" } else { "a/" };
            (0..12).map(level).chain(["b"]).collect::<String>()
        })
        .collect();
    node.queue_subscribe(client, &many(&filters), None);
    node.settle();
    let before = node.cores[0].operations();
    let publisher = node.connect("p");
    node.publish(publisher, &format!("{}x", "a/".repeat(12)), "x", 0);
    let operations = node.cores[0].operations() - before;
    assert!((8_000..9_000).contains(&operations), "{operations}");
}

impl Node {
    fn subscribe_quietly(&mut self, conn: Conn, filter: &str) {
        let entries = [(filter, options(0))];
        subscribe_packet(1, &entries, None, &mut |packet| self.queue(conn, packet));
    }
}

#[test]
fn what_others_have_sent_takes_nothing_from_the_packets_of_a_turn() {
    let limits = Limits { turn_deliveries_max: 1, ..setup().limits };
    let mut node = Node::new(&Setup { workers: 2, limits, ..setup() });
    let publisher = node.connect("publisher");
    assert_eq!(node.home("publisher"), 0);
    let names = (0..1_200).map(|number| format!("r{number}"));
    let names: Vec<_> = names.filter(|name| node.home(name) == 1).collect();
    let receivers: Vec<_> = names.iter().map(|name| node.connect(name)).collect();
    for &conn in &receivers {
        node.subscribe(conn, "t", 0);
    }
    node.queue(publisher, &Packet::Publish(publish("t", "for many", 0, 0)));
    node.turn(0);
    for &conn in &receivers[..2] {
        (0..2).for_each(|_| node.queue(conn, &Packet::PingReq));
    }
    node.turn(1);
    let put_off = receivers.iter().filter(|conn| node.messages(**conn).is_empty()).count();
    assert!(put_off > 512, "{put_off}");
    for &conn in &receivers[..2] {
        assert_eq!(node.take(conn), [Received::PingResp, Received::PingResp]);
    }
}
