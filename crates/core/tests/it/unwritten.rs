//! Messages that a connection had still to write when it ended: those of QoS 0 are lost, and are
//! counted and told like every loss.

use midge_codec::{Connect, ReasonCode};
use midge_core::{Core, DropReason};

use crate::data_streams::Scene;
use crate::node::{Conn, Node, scenario};
use crate::packets::{connect, connect_v3, persistent};

/// Connects a Client that takes the first ten bytes of ten messages of QoS 0, with three of QoS 1
/// and one that is shared instead of copied among them.
fn stuck(node: &mut Node, packet: &Connect<'_>) -> Conn {
    let receiver = node.connect_with(packet).0;
    node.subscribe(receiver, "t", 1);
    node.acknowledge(receiver, false);
    node.set_room(receiver, 10);
    let publisher = node.connect("p");
    for number in 0..9 {
        node.publish(publisher, "t", "more than ten bytes", 0);
        if number % 3 == 0 {
            node.publish(publisher, "t", "more than ten bytes", 1);
        }
    }
    node.publish(publisher, "t", &"x".repeat(5_000), 0);
    assert!(lost(node).is_empty());
    receiver
}

/// What was counted as lost.
fn lost(node: &Node) -> Vec<(DropReason, u64)> {
    let all = DropReason::ALL.into_iter().filter(|reason| reason.is_loss());
    all.map(|reason| (reason, node.dropped(reason))).filter(|(_, count)| *count > 0).collect()
}

/// What the log is told, in order of the reasons: the Client, and how many messages it has lost.
fn told(node: &Node) -> Vec<(DropReason, String, u64)> {
    let mut notes: Vec<(DropReason, String, u64)> = Vec::new();
    for note in &node.drops {
        let client = note.client.as_ref().map_or_else(String::new, |it| it.client_id.to_string());
        assert!(!note.is_refusal);
        match notes.iter_mut().find(|it| (it.0, &it.1) == (note.reason, &client)) {
            Some(known) => known.2 += note.count,
            None => notes.push((note.reason, client, note.count)),
        }
    }
    notes.sort();
    notes
}

/// Checks that `r` and nobody else has lost so many messages.
#[track_caller]
fn assert_lost(node: &Node, expected: &[(DropReason, u64)]) {
    assert_eq!(lost(node), expected);
    let of_r = expected.iter().map(|&(reason, count)| (reason, "r".to_string(), count));
    assert_eq!(told(node), of_r.collect::<Vec<_>>());
}

#[test]
fn a_reset_of_a_session_that_lives_on_loses_qos_0_only() {
    scenario(|node| {
        let receiver = stuck(node, &persistent("r"));
        node.lose(receiver);
        assert_lost(node, &[(DropReason::Offline, 10)]);
        let again = node.connect_with(&persistent("r")).0;
        assert_eq!(node.messages(again).len(), 3);
        assert_lost(node, &[(DropReason::Offline, 10)]);
    });
}

#[test]
fn a_reset_that_ends_the_session_loses_everything_once() {
    for packet in [connect("r"), connect_v3("r", true)] {
        scenario(|node| {
            let receiver = stuck(node, &packet);
            node.lose(receiver);
            assert_lost(node, &[(DropReason::SessionEnded, 13)]);
        });
    }
}

#[test]
fn a_client_that_disconnects_has_not_taken_what_it_did_not_read() {
    scenario(|node| {
        let receiver = stuck(node, &persistent("r"));
        node.disconnect(receiver, ReasonCode::Success);
        assert_lost(node, &[(DropReason::Offline, 10)]);
    });
}

#[test]
fn a_takeover_loses_qos_0_only() {
    scenario(|node| {
        stuck(node, &persistent("r"));
        let again = node.connect_with(&persistent("r")).0;
        assert_lost(node, &[(DropReason::Offline, 10)]);
        assert_eq!(node.messages(again).len(), 3);
    });
}

#[test]
fn what_the_peer_reads_before_the_end_is_not_lost() {
    scenario(|node| {
        let receiver = stuck(node, &persistent("r"));
        node.set_room(receiver, 100);
        let whole = node.messages(receiver);
        let whole = whole.iter().filter(|message| message.qos == 0).count() as u64;
        assert!(whole > 0);
        node.lose(receiver);
        assert_lost(node, &[(DropReason::Offline, 10 - whole)]);
    });
}

#[test]
fn nothing_is_lost_if_everything_was_written() {
    scenario(|node| {
        let receiver = stuck(node, &persistent("r"));
        node.set_room(receiver, usize::MAX);
        assert_eq!(node.messages(receiver).len(), 13);
        node.lose(receiver);
        assert_lost(node, &[]);
    });
}

#[test]
fn the_end_of_the_broker_is_the_reason() {
    for packet in [connect("r"), persistent("r")] {
        scenario(|node| {
            stuck(node, &packet);
            for worker in 0..node.cores.len() {
                node.call(worker, Core::begin_drain);
            }
            let ended = match packet.clean_start {
                true => vec![(DropReason::SessionEnded, 3), (DropReason::BrokerEnded, 10)],
                false => vec![(DropReason::BrokerEnded, 10)],
            };
            assert_lost(node, &ended);
        });
    }
}

#[test]
fn a_worker_that_ends_at_once_counts_what_it_had_to_write() {
    scenario(|node| {
        stuck(node, &persistent("r"));
        for worker in 0..node.cores.len() {
            node.call(worker, |core, turn| core.drop_volatile(0, turn));
        }
        assert_lost(node, &[(DropReason::BrokerEnded, 13)]);
    });
}

#[test]
fn what_is_given_up_for_memory_counts_once() {
    scenario(|node| {
        let receiver = stuck(node, &persistent("r"));
        let publisher = node.connect("q");
        for _ in 0..5 {
            node.publish(publisher, "t", &"x".repeat(5_000), 0);
        }
        let (worker, id) = (node.sockets[receiver.0].worker, node.sockets[receiver.0].id);
        node.call(worker, |core, turn| core.end_for_memory(id, turn));
        assert_lost(node, &[(DropReason::Offline, 15)]);
    });
}

#[test]
fn a_data_stream_counts_like_a_connection() {
    for (is_alone, reason) in [(true, DropReason::Offline), (false, DropReason::SessionEnded)] {
        scenario(|node| {
            let scene = Scene::new(node, &connect("r"));
            node.subscribe(scene.first, "f", 0);
            node.set_room(scene.first, 10);
            for _ in 0..3 {
                node.publish(scene.publisher, "f", "more than ten bytes", 0);
            }
            node.lose(if is_alone { scene.first } else { scene.control });
            assert_lost(node, &[(reason, 3)]);
        });
    }
}
