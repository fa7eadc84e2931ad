//! Clients of all workers do all kinds of things while one worker stops and the others hear of it.

use midge_codec::{Packet, Publish, Unsubscribe};
use midge_core::{Owner, SharedStrategy, StoreOp};

use crate::node::{Conn, Node, Random, Setup, TellOnPanic};
use crate::packets::{id, options, persistent, publish};
use crate::peer_gone::{GONE, answer_fetches, setup};
use crate::received::Received;

/// What one Client of the random test has asked for.
#[derive(Default)]
struct Asked {
    publishes: u16,
    subscribes: u16,
}

/// Sessions on each worker that want everything and do nothing else.
const WATCHERS: [&str; 3] = ["watcher 0", "watcher 1", "watcher 2"];

/// In the middle, one worker stops, and somewhat later the others hear of it. Then everything is
/// answered, or its connection has ended, and what was acknowledged is kept for everybody. Returns
/// how many Sessions have moved.
fn run_random(seed: u64, wanders: bool) -> usize {
    let told = TellOnPanic(format!("seed {seed}, Sessions move: {wanders}"));
    let mut random = Random(seed);
    let strategy = [SharedStrategy::RoundRobin, SharedStrategy::LeastInFlight][random.below(2)];
    let shuffle = Some(random.next());
    let wanders = wanders.then(|| random.next());
    let mut node = Node::new(&Setup { strategy, wanders, ..setup(shuffle) });
    for watcher in WATCHERS {
        let conn = node.connect_with(&persistent(watcher)).0;
        node.subscribe(conn, "#", 2);
    }
    let clients: Vec<_> = ["a", "b", "c", "d", "e", "f"]
        .map(|client_id| node.connect_with(&persistent(client_id)).0)
        .into();
    let mut asked: Vec<Asked> = clients.iter().map(|_| Asked::default()).collect();
    let (frozen_at, told_at) = (40 + random.below(20), 60 + random.below(20));
    for step in 0..100 {
        if step == frozen_at {
            node.freeze(GONE);
            for to in (0..GONE).filter(|_| random.below(3) == 0).collect::<Vec<_>>() {
                node.lose_unsent(GONE, to);
            }
        }
        if step == told_at {
            node.end_worker(GONE);
        }
        let index = random.below(clients.len());
        let is_frozen = step >= frozen_at && is_out_of_reach(&node, clients[index]);
        if !node.is_closed(clients[index]) && !is_frozen {
            act(&mut node, clients[index], &mut asked[index], &mut random);
        }
        match random.below(4) {
            0 => {
                node.settle();
                answer_fetches(&mut node);
            }
            1 => _ = node.turn(random.below(3)),
            _ => (),
        }
    }
    node.settle();
    answer_fetches(&mut node);
    node.settle();
    for (&client, asked) in clients.iter().zip(asked) {
        let received = node.take(client);
        if !is_out_of_reach(&node, client) && !node.is_closed(client) {
            let answers = received.iter().filter(|it| is_answer(it)).count();
            assert_eq!(answers, usize::from(asked.subscribes + asked.publishes));
        }
        for packet_id in received.iter().filter_map(acknowledged) {
            let payload = format!("{}.{packet_id}", client.0);
            let holes = WATCHERS.into_iter().filter(|it| !is_kept(&node, it, payload.as_bytes()));
            let holes: Vec<_> = holes.collect();
            assert!(holes.is_empty(), "{payload} was acknowledged, and not kept for {holes:?}");
        }
    }
    for worker in 0..GONE {
        assert!(!node.cores[worker].has_unfinished(), "worker {worker} still waits");
    }
    told.well();
    node.moved
}

/// Whether a Client is on the worker that goes, or was lost on the way to or from it.
fn is_out_of_reach(node: &Node, client: Conn) -> bool {
    let socket = &node.sockets[client.0];
    socket.worker == GONE || socket.is_moving
}

fn is_answer(packet: &Received) -> bool {
    matches!(
        packet,
        Received::SubAck(..) | Received::UnsubAck(..) | Received::PubAck(..) | Received::PubRec(..)
    )
}

/// The Packet Identifier of a message that its publisher was told is kept.
fn acknowledged(packet: &Received) -> Option<u16> {
    match packet {
        Received::PubAck(packet_id, code) | Received::PubRec(packet_id, code) => {
            (!code.is_error()).then_some(*packet_id)
        }
        _ => None,
    }
}

/// Whether the store keeps a message for the Session of this Client, and it counts.
fn is_kept(node: &Node, client_id: &str, payload: &[u8]) -> bool {
    let ops = || node.stored.iter().flatten();
    let number = ops().find_map(|op| match op {
        StoreOp::Session(record) if &*record.client_id == client_id => Some(record.number),
        _ => None,
    });
    let owner = number.map(Owner::Session);
    let confirmed = |round| ops().any(|op| matches!(op, StoreOp::Confirm(it) if *it == round));
    ops().any(|op| match op {
        StoreOp::Enqueue(it) if Some(it.owner) == owner => {
            it.delivery.message.payload() == payload && it.round.is_none_or(confirmed)
        }
        _ => false,
    })
}

fn act(node: &mut Node, client: Conn, asked: &mut Asked, random: &mut Random) {
    let topic = format!("x{}/t", random.below(8));
    let filter = match random.below(4) {
        0 => format!("$share/g/{topic}"),
        1 => format!("$exclusive/{topic}"),
        2 => "#".to_string(),
        _ => topic.clone(),
    };
    match random.below(6) {
        0 => {
            node.queue_subscribe(client, &[(&filter, options(random.below(3) as u8))], None);
            asked.subscribes += 1;
        }
        1 => {
            let packet_id = id(30_000 + asked.subscribes);
            let filters = [&*filter];
            let packet = Unsubscribe {
                packet_id,
                user_properties: Default::default(),
                filters: filters[..].into(),
            };
            node.queue(client, &Packet::Unsubscribe(packet));
            asked.subscribes += 1;
        }
        kind => {
            asked.publishes += 1;
            let level = 1 + (kind % 2) as u8;
            let payload = format!("{}.{}", client.0, asked.publishes);
            let retain = random.below(4) == 0;
            let packet = publish(&topic, &payload, level, asked.publishes);
            node.queue(client, &Packet::Publish(Publish { retain, ..packet }));
        }
    }
}

#[test]
fn whatever_waits_when_a_worker_goes_is_answered_or_ends() {
    (0..200).for_each(|seed| _ = run_random(seed, false));
}

#[test]
fn so_it_is_while_sessions_move() {
    let moved: usize = (0..150).map(|seed| run_random(seed, true)).sum();
    assert!(moved > 150, "only {moved} Sessions have moved");
}
