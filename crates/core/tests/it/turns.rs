//! What one turn does at the most, counted in operations, whatever Clients send: who is served
//! behind it waits no longer. And that nobody sees a difference when something is done in slices.

use midge_codec::{
    Packet, PacketIdentifier, Publish, ReasonCode, SubscriptionOptions, Unsubscribe,
};
use midge_core::{Core, DropReason, Limits};

use crate::client::subscribe_packet;
use crate::node::{Conn, Node, Setup, scenario_with};
use crate::packets::{connect, options, persistent, puback, publish, will};
use crate::received::Received;

/// A turn ends behind the packet with which it has done enough: that packet at its largest, and
/// what is put off and done in each turn, come on top.
const TURN_MAX: u64 = 65_536 + 50_000 + 20_000 + 3_000;

fn setup() -> Setup {
    let limits = Limits {
        receive_maximum: u16::MAX,
        queue_messages_max: 1_000_000,
        queue_bytes_max: u32::MAX,
        ..Limits::default()
    };
    Setup { limits, ..Setup::default() }
}

/// Runs turns until there is nothing left to do; gives the operations of the largest one.
fn largest_turn(node: &mut Node) -> u64 {
    let mut largest = 0;
    loop {
        let mut happened = false;
        for worker in 0..node.cores.len() {
            let before = node.cores[worker].operations();
            happened |= node.turn(worker);
            largest = largest.max(node.cores[worker].operations() - before);
        }
        if !happened && !node.cores.iter().any(Core::has_backlog) {
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
        // Nothing grows: one PUBACK goes on with one request.
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
        node.now = node.now + 20_000;
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

impl Node {
    fn subscribe_quietly(&mut self, conn: Conn, filter: &str) {
        let entries = [(filter, options(0))];
        subscribe_packet(1, &entries, None, &mut |packet| self.queue(conn, packet));
    }
}
