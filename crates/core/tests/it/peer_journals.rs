//! An answer about a round says that something is kept, whoever's journal it is in: with one
//! journal for all workers at no cost, and with a journal for each once that journal has it.

use midge_core::WorkerId;

use crate::node::{Conn, Node, Setup};
use crate::packets::{persistent, publish};
use crate::received::Received;

/// A node of workers with stored Sessions, and a publisher on the first one. The Session of `r` on
/// the last worker waits for what is published to `t`.
fn waiting(workers: usize) -> (Node, Conn) {
    let mut node = Node::new(&Setup { workers, has_store: true, ..Setup::default() });
    let publisher = node.connect("p");
    for worker in 1..workers - 1 {
        node.connect(&format!("nobody{worker}"));
    }
    let receiver = node.connect_with(&persistent("r")).0;
    node.subscribe(receiver, "t", 2);
    node.lose(receiver);
    node.take(publisher);
    (node, publisher)
}

/// The same, where each worker has a journal of its own.
fn with_own_journals(workers: usize) -> (Node, Conn) {
    let (mut node, publisher) = waiting(workers);
    for (worker, core) in node.cores.iter_mut().enumerate() {
        let others = (0..workers).filter(|&other| other != worker);
        others.for_each(|other| core.note_own_journal(WorkerId::new(other)));
    }
    (node, publisher)
}

fn is_acknowledged(node: &mut Node, conn: Conn) -> bool {
    let is_one = |packet: &Received| matches!(packet, Received::PubAck(..) | Received::PubRec(..));
    node.take(conn).iter().any(is_one)
}

/// Publishes, and returns how many messages have gone between workers, and how many commits to the
/// store, until the acknowledgement was here.
fn cost(node: &mut Node, publisher: Conn, level: u8) -> (usize, usize) {
    let before = (node.between_workers, node.stored.len());
    node.acknowledge(publisher, false);
    node.send_publish(publisher, publish("t", "x", level, 1));
    assert!(is_acknowledged(node, publisher));
    (node.between_workers - before.0, node.stored.len() - before.1)
}

#[test]
fn with_one_journal_an_answer_costs_no_commit_and_no_message() {
    // The round, the message, the question, the answer; and that the round is confirmed.
    for (level, messages) in [(1, 4), (2, 5)] {
        let (mut node, publisher) = waiting(2);
        // One commit with the message, and one whose receipt counts.
        assert_eq!(cost(&mut node, publisher, level), (messages, 2), "QoS {level}");
    }
}

#[test]
fn with_journals_of_their_own_an_answer_costs_a_receipt() {
    for (level, messages) in [(1, 4), (2, 5)] {
        let (mut node, publisher) = with_own_journals(2);
        assert_eq!(cost(&mut node, publisher, level), (messages, 2), "QoS {level}");
    }
}

#[test]
fn an_acknowledgement_waits_for_the_other_journal() {
    for level in [1, 2] {
        let (mut node, publisher) = with_own_journals(2);
        node.hold_receipts(true);
        node.publish(publisher, "t", "x", level);
        for _ in 0..3 {
            node.give_receipt_to(0);
            assert!(!is_acknowledged(&mut node, publisher), "the other journal may lose it");
        }
        node.give_receipt_to(1);
        assert!(!is_acknowledged(&mut node, publisher), "the own journal has not closed the round");
        node.give_receipt_to(0);
        assert!(is_acknowledged(&mut node, publisher));
    }
}

#[test]
fn with_one_journal_the_own_receipt_is_enough() {
    let (mut node, publisher) = waiting(2);
    node.hold_receipts(true);
    node.publish(publisher, "t", "x", 1);
    assert!(!is_acknowledged(&mut node, publisher));
    node.give_receipt_to(0);
    assert!(is_acknowledged(&mut node, publisher));
}

#[test]
fn a_worker_answers_for_those_to_whom_it_has_passed_something_on() {
    let (mut node, publisher) = with_own_journals(3);
    let member = node.connect_with(&persistent("r")).0;
    // Enough that some group has its home on the worker between the two.
    let topics: Vec<_> = (0..24).map(|number| format!("s{number}")).collect();
    for topic in &topics {
        node.subscribe(member, &format!("$share/g/{topic}"), 1);
    }
    node.lose(member);
    node.hold_receipts(true);
    for (topic, packet_id) in topics.iter().zip(1..) {
        node.send_publish(publisher, publish(topic, "x", 1, packet_id));
    }
    node.give_receipt_to(0);
    assert!(!is_acknowledged(&mut node, publisher));
    for _ in 0..4 {
        (1..3).for_each(|worker| node.give_receipt_to(worker));
    }
    assert!(!is_acknowledged(&mut node, publisher));
    node.hold_receipts(false);
    let is_one = |packet: &Received| matches!(packet, Received::PubAck(..));
    assert_eq!(node.take(publisher).into_iter().filter(is_one).count(), topics.len());
}
