//! Bytes that many receivers get alike are encoded once per turn. No receiver must notice that: not
//! when it gets other messages in between, nor when its socket takes only a part, nor when it goes.

use std::collections::BTreeMap;

use midge_codec::Packet;

use crate::node::{Conn, Node, scenario};
use crate::packets::{connect, connect_v3, publish};

const TOPICS: [&str; 2] = ["a", "b"];

/// The Clients, with what each is expected to get and has got.
struct Audience {
    receivers: Vec<(Conn, Vec<&'static str>)>,
    expected: BTreeMap<usize, Vec<String>>,
}

/// Connects twelve Clients of two protocol versions. All subscribe to `a`; every third one also
/// subscribes to `b`, at QoS 1.
fn audience(node: &mut Node) -> Audience {
    let receivers = (0..12).map(|number| {
        let client_id = format!("r{number}");
        let packet =
            if number % 2 == 0 { connect(&client_id) } else { connect_v3(&client_id, true) };
        let conn = node.connect_with(&packet).0;
        let topics = &TOPICS[..1 + usize::from(number % 3 == 0)];
        for (topic, level) in topics.iter().zip([0, 1]) {
            node.subscribe(conn, topic, level);
        }
        (conn, topics.to_vec())
    });
    Audience { receivers: receivers.collect(), expected: BTreeMap::new() }
}

impl Audience {
    /// Publishes messages of both topics in one read: large and small ones, at QoS 0 and 1.
    fn publish(&mut self, node: &mut Node, publisher: Conn, round: usize) {
        for number in 0..20 {
            let topic = TOPICS[usize::from(number % 3 == 1)];
            let level = if number % 5 == 4 { 1 } else { 0 };
            let padding = ".".repeat(if number == 7 { 3_000 } else { number });
            let text = format!("{round}/{number}{padding}");
            let packet_id = if level > 0 { (round * 20 + number + 1) as u16 } else { 0 };
            node.queue(publisher, &Packet::Publish(publish(topic, &text, level, packet_id)));
            for (index, (_, topics)) in self.receivers.iter().enumerate() {
                if topics.contains(&topic) {
                    self.expected.entry(index).or_default().push(text.clone());
                }
            }
        }
        node.settle();
    }

    fn check(&self, node: &mut Node) {
        for (index, expected) in &self.expected {
            let got = node.texts(self.receivers[*index].0);
            assert!(got == *expected, "client {index}: {} of {}", got.len(), expected.len());
        }
    }
}

#[test]
fn who_gets_the_same_bytes_gets_them_in_order_however_slow_it_reads() {
    scenario(|node| {
        let mut audience = audience(node);
        let publisher = node.connect("publisher");
        for round in 0..6 {
            for (index, (conn, _)) in audience.receivers.iter().enumerate() {
                let rooms = [usize::MAX, 0, 1, 100, 3_100, usize::MAX];
                node.set_room(*conn, rooms[(index + round) % rooms.len()]);
            }
            audience.publish(node, publisher, round);
        }
        for (conn, _) in &audience.receivers {
            node.set_room(*conn, usize::MAX);
        }
        audience.check(node);
    });
}

#[test]
fn who_goes_in_between_takes_nothing_from_the_others() {
    scenario(|node| {
        let mut audience = audience(node);
        let publisher = node.connect("publisher");
        for (conn, _) in &audience.receivers {
            node.set_room(*conn, 10);
        }
        audience.publish(node, publisher, 0);
        for index in [0, 5] {
            node.lose(audience.receivers[index].0);
            audience.expected.remove(&index);
        }
        // Others take their places and get what is published from now on.
        let newcomers = ["n1", "n2"].map(|client_id| node.connect(client_id));
        newcomers.iter().for_each(|conn| {
            node.subscribe(*conn, "a", 0);
        });
        for (index, (conn, _)) in audience.receivers.iter().enumerate() {
            if audience.expected.contains_key(&index) {
                node.set_room(*conn, usize::MAX);
            }
        }
        node.publish(publisher, "a", "last", 0);
        for expected in audience.expected.values_mut() {
            expected.push("last".into());
        }
        audience.check(node);
        for conn in newcomers {
            assert_eq!(node.texts(conn), ["last"]);
        }
    });
}
