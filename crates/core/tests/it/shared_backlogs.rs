//! Large backlogs of shared subscriptions: they go to the members in slices, while Clients come and
//! go and more messages are published.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use midge_codec::{Connect, Packet};
use midge_core::{
    DropReason, Limits, MemoryPressure, Owner, Round, SharedStrategy, StoreOp, WorkerId,
};

use crate::node::{Conn, Node, Setup, TellOnPanic, scenario_with};
use crate::packets::{connect, persistent, publish};

/// A little more than one turn hands out.
const BACKLOG: u16 = 4_240;

fn setup() -> Setup {
    let limits = Limits {
        receive_maximum: u16::MAX,
        queue_messages_max: 1_000_000,
        queue_bytes_max: u32::MAX,
        shared_backlog_messages_max: 100_000,
        shared_backlog_bytes_max: u32::MAX,
        ..Limits::default()
    };
    Setup { limits, stays: true, ..Setup::default() }
}

/// Makes a group whose only member is gone and `BACKLOG` messages wait; returns the publisher.
fn kept_for_nobody(node: &mut Node, group: &str, level: u8) -> Conn {
    let member = node.connect_with(&persistent("m")).0;
    node.subscribe(member, &format!("$share/{group}/t"), level);
    node.lose(member);
    let publisher = node.connect_with(&persistent("p")).0;
    for number in 1..=BACKLOG {
        let text = number.to_string();
        node.queue(publisher, &Packet::Publish(publish("t", &text, level, number)));
    }
    node.settle();
    publisher
}

/// Checks that every message that a group has finished is by then kept for a Session, in a record
/// that counts.
fn judge_records(commits: &[Vec<StoreOp>]) {
    let mut of_groups = BTreeMap::new();
    let mut of_sessions: BTreeMap<Vec<u8>, Option<Round>> = BTreeMap::new();
    let mut confirmed: BTreeMap<WorkerId, u64> = BTreeMap::new();
    let mut finished = 0;
    for ops in commits {
        let mut ended = Vec::new();
        for op in ops {
            match op {
                StoreOp::Enqueue(it) => {
                    let text = it.delivery.message.payload().to_vec();
                    match it.owner {
                        Owner::Group(_) => drop(of_groups.insert((it.owner, it.sequence), text)),
                        Owner::Session(_) => drop(of_sessions.insert(text, it.round)),
                    }
                }
                StoreOp::Confirm(round) => drop(confirmed.insert(round.worker, round.number)),
                &StoreOp::Finished { owner: owner @ Owner::Group(_), sequence } => {
                    ended.push(of_groups[&(owner, sequence)].clone());
                }
                _ => (),
            }
        }
        finished += ended.len();
        for text in ended {
            let name = String::from_utf8_lossy(&text);
            let round = of_sessions.get(&text).unwrap_or_else(|| panic!("nobody has {name}"));
            let counts =
                round.is_none_or(|round| confirmed.get(&round.worker) >= Some(&round.number));
            assert!(counts, "nobody has {name} before {round:?} is confirmed");
        }
    }
    assert!(finished >= usize::from(BACKLOG), "{finished}");
}

#[test]
fn what_a_group_gives_out_is_kept_before_it_is_gone_whoever_publishes_meanwhile() {
    let runs = ["a", "b", "c", "d"].into_iter().flat_map(|group| [(group, 1), (group, 2)]);
    for (group, level) in runs {
        let told = TellOnPanic(format!("group {group}, QoS {level}"));
        let strategy = SharedStrategy::Sticky;
        let mut node = Node::new(&Setup { workers: 3, has_store: true, strategy, ..setup() });
        let publisher = kept_for_nobody(&mut node, group, level);
        node.begin_connect(&persistent("m"));
        for turn in 0..5 {
            // New messages wait until they are durable, so the old ones are handed out alone.
            for number in 1..=4 {
                let packet_id = BACKLOG + 4 * turn + number;
                let text = packet_id.to_string();
                node.queue(publisher, &Packet::Publish(publish("t", &text, 2, packet_id)));
            }
            for worker in 0..3 {
                node.turn(worker);
            }
        }
        node.settle();
        judge_records(&node.stored);
        told.well();
    }
}

/// A CONNECT of a member that accepts everything at once.
fn eager(client_id: &str) -> Connect<'_> {
    let mut packet = persistent(client_id);
    packet.properties.receive_maximum = NonZeroU16::new(u16::MAX);
    packet
}

fn numbers(texts: &[String]) -> Vec<u16> {
    texts.iter().map(|text| text.parse().expect("a number")).collect()
}

/// Connects the only member of a group, on the first worker, with `queued` messages in its queue.
fn slow_member(node: &mut Node, name: &str, queued: u16) -> Conn {
    // The next Client Identifiers go to the other workers.
    let others = (1..node.cores.len()).map(|number| format!("{name} beside {number}"));
    let mut packet = persistent(name);
    packet.properties.receive_maximum = NonZeroU16::new(1);
    let member = node.connect_with(&packet).0;
    others.for_each(|other| assert_ne!(node.home(&other), node.home(name)));
    node.acknowledge(member, false);
    node.subscribe(member, &format!("$share/g/{name}"), 1);
    let publisher = node.open(0);
    node.queue(publisher, &Packet::Connect(Box::new(connect(&format!("publisher for {name}")))));
    for number in 1..=queued {
        node.queue(publisher, &Packet::Publish(publish(name, &number.to_string(), 1, number)));
    }
    node.settle();
    member
}

#[test]
fn a_member_that_comes_back_at_once_gets_what_it_gives_back() {
    scenario_with(setup(), |node| {
        let other = slow_member(node, "o", 5_000);
        let member = slow_member(node, "m", 1_000);
        // Giving back the first member's messages takes all the time that the turn has for this.
        node.break_connection(other);
        node.break_connection(member);
        let member = node.begin_connect(&eager("m"));
        node.settle();
        let got = node.texts(member).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(got.len(), 1_000, "what waits for a connected member");
        let other = node.begin_connect(&eager("o"));
        node.settle();
        let got = node.texts(other).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(got.len(), 5_000, "what waits for a connected member");
    });
}

#[test]
fn a_backlog_keeps_its_order_while_nobody_is_there_to_take_it() {
    let mut node = Node::new(&setup());
    let node = &mut node;
    let publisher = kept_for_nobody(node, "g", 1);
    let member = node.begin_connect(&eager("m"));
    node.turn(0);
    node.take(member);
    node.acknowledge(member, false);
    node.break_connection(member);
    for number in BACKLOG + 1..=BACKLOG + 8 {
        let text = number.to_string();
        node.queue(publisher, &Packet::Publish(publish("t", &text, 1, number)));
    }
    node.settle();
    let member = node.begin_connect(&eager("m"));
    node.settle();
    let got = numbers(&node.texts(member));
    assert!(got.is_sorted(), "{:?}", &got[got.len() - 20..]);
    assert_eq!(got.last(), Some(&(BACKLOG + 8)));
}

/// Makes a shared subscription whose only member is gone, and publishes numbered messages to it.
fn keep_texts(node: &mut Node, name: &str, count: u16, bytes: usize) {
    let member = node.connect_with(&persistent(name)).0;
    node.subscribe(member, &format!("$share/g/{name}"), 1);
    node.lose(member);
    let publisher = node.connect("p");
    for number in 1..=count {
        let text = format!("{number:0bytes$}");
        node.queue(publisher, &Packet::Publish(publish(name, &text, 1, number)));
    }
    node.settle();
}

fn shed(node: &mut Node, bytes: usize) {
    node.call(0, |core, turn| {
        core.set_memory_pressure(MemoryPressure::Critical, turn);
        core.shed(bytes, &|_| 0, turn);
        core.set_memory_pressure(MemoryPressure::None, turn);
    });
}

fn comes_for(node: &mut Node, name: &str) -> Vec<u16> {
    let member = node.begin_connect(&eager(name));
    node.settle();
    numbers(&node.texts(member))
}

/// Such a backlog belongs to no Client, so nobody's end would free it.
#[test]
fn short_of_memory_the_largest_backlogs_lose_their_oldest_messages() {
    let mut node = Node::new(&setup());
    let node = &mut node;
    let empty = node.cores[0].held_bytes();
    keep_texts(node, "small", 10, 1_000);
    keep_texts(node, "large", 40, 1_000);
    let held = node.cores[0].held_bytes();
    assert!(held > empty + 50_000, "{held}");
    shed(node, 10_000);
    assert!(node.cores[0].held_bytes() <= held - 10_000);
    let dropped = node.dropped(DropReason::MemoryPressure);
    assert!((8..=10).contains(&dropped), "{dropped}");
    assert_eq!(node.clients_of(0).len(), 3, "no Client had to go for it");
    let first = 1 + dropped as u16;
    assert_eq!(comes_for(node, "large"), (first..=40).collect::<Vec<_>>());
    assert_eq!(comes_for(node, "small"), (1..=10).collect::<Vec<_>>());
}

#[test]
fn clients_and_backlogs_are_given_up_in_one_order() {
    let mut node = Node::new(&setup());
    let node = &mut node;
    keep_texts(node, "small", 10, 1_000);
    keep_texts(node, "large", 40, 1_000);
    let client = node.connect_with(&persistent("client")).0;
    node.subscribe(client, "mine", 1);
    node.lose(client);
    let publisher = node.connect("p");
    node.publish(publisher, "mine", &"x".repeat(20_000), 1);
    shed(node, 55_000);
    let clients = node.clients_of(0);
    assert!(clients.iter().all(|info| &*info.client_id != "client"), "{clients:?}");
    assert_eq!(node.dropped(DropReason::MemoryPressure), 40);
    assert_eq!(comes_for(node, "small").len(), 10);
    assert!(comes_for(node, "large").is_empty());
}

#[test]
fn short_of_memory_a_backlog_keeps_what_is_in_the_store() {
    let mut node = Node::new(&Setup { has_store: true, ..setup() });
    let node = &mut node;
    keep_texts(node, "m", 10, 1_000);
    shed(node, 1_000_000);
    assert_eq!(node.dropped(DropReason::MemoryPressure), 0);
    assert_eq!(comes_for(node, "m").len(), 10);
}

/// Nobody could be disconnected to get back what it takes.
#[test]
fn short_of_memory_a_backlog_in_the_store_grows_no_more() {
    let mut node = Node::new(&Setup { has_store: true, ..setup() });
    let node = &mut node;
    keep_texts(node, "m", 10, 1_000);
    for worker in 0..node.cores.len() {
        node.call(worker, |core, turn| core.set_memory_pressure(MemoryPressure::High, turn));
    }
    let publisher = node.connect("late");
    node.publish(publisher, "m", "too late", 1);
    assert_eq!(node.dropped(DropReason::MemoryPressure), 1);
    assert_eq!(comes_for(node, "m").len(), 10);
}

#[test]
fn backlogs_of_many_messages_are_given_up_in_slices() {
    let mut node = Node::new(&setup());
    let node = &mut node;
    for group in 0..3 {
        keep_texts(node, &format!("m{group}"), 30_000, 5);
    }
    shed(node, usize::MAX);
    let dropped = node.dropped(DropReason::MemoryPressure);
    assert!((1..90_000).contains(&dropped), "{dropped}");
    shed(node, usize::MAX);
    assert_eq!(node.dropped(DropReason::MemoryPressure), 90_000);
}
