//! Nothing is dropped silently: each reason is caused here, counted once, and reported with the
//! topic and the Client concerned.

use midge_codec::ReasonCode;
use midge_core::{
    DropNote, DropReason, Event, Fetched, FetchedEntry, LocalPublish, MemoryPressure,
};

use crate::node::{Conn, Node, Setup};
use crate::packets::{connect, connect_v3, persistent, publish, retained, will, with_expiry};
use crate::rules::Right;

/// The Client that a drop is said to concern.
type Concerned = Option<&'static str>;

/// A node that has dropped one message; the Client concerned, whether it is the publisher, and the
/// topic that is reported.
type Scene = (Node, Concerned, bool, &'static str);

/// Returns how often a reason was counted, and what the log would say about it.
fn found(node: &Node, reason: DropReason) -> (u64, Vec<(Concerned, bool, String, u64)>) {
    let known = |client_id: &str| ["p", "r", "$broker"].into_iter().find(|it| *it == client_id);
    let name = |note: &DropNote| note.client.as_ref().and_then(|it| known(&it.client_id));
    let notes = node.drops.iter().filter(|note| note.reason == reason);
    let notes = notes.map(|note| (name(note), note.is_refusal, note.topic.to_string(), note.count));
    (node.dropped(reason), notes.collect())
}

fn limited(change: impl FnOnce(&mut midge_core::Limits)) -> Node {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    Node::new(&setup)
}

fn stored() -> Node {
    Node::new(&Setup { has_store: true, ..Setup::default() })
}

/// Connects a Client `r` with a subscription to `t`, and a Client `p`.
fn pair(node: &mut Node, level: u8) -> (Conn, Conn) {
    let receiver = node.connect_with(&persistent("r")).0;
    node.subscribe(receiver, "t", level);
    (receiver, node.connect("p"))
}

/// As [`pair`], but `r` has gone; returns `p`.
fn absent(node: &mut Node, level: u8) -> Conn {
    let (receiver, publisher) = pair(node, level);
    node.lose(receiver);
    publisher
}

/// The ways to cause a drop for this reason.
fn scenes(reason: DropReason) -> Vec<Scene> {
    match reason {
        DropReason::NoSubscriber => vec![no_subscriber()],
        DropReason::Offline => vec![offline()],
        DropReason::QueueFull => vec![queue_full(Node::new), queue_full(|_| stored_full())],
        DropReason::QueueBytes => vec![queue_bytes()],
        DropReason::SlowConsumer => vec![slow_consumer()],
        DropReason::Expired => vec![expired_on_arrival(), expired_in_queue()],
        DropReason::PacketTooLarge => vec![packet_too_large()],
        DropReason::PublishNotAuthorized => {
            vec![
                not_authorized(),
                reserved("$SYS/x"),
                reserved("$delayed/1/$SYS/x"),
                refused_will(),
            ]
        }
        DropReason::DeliveryNotAuthorized => vec![not_to_be_received()],
        DropReason::TopicNameInvalid => {
            vec![
                reserved("$delayed/x/t"),
                reserved("$delayed/1"),
                reserved("$share/g/t"),
                too_deep(),
            ]
        }
        DropReason::SessionEnded => vec![session_ended(), stored_session_ended()],
        DropReason::RetainedLimit => vec![retained_limit()],
        DropReason::DelayedLimit => vec![delayed_limit()],
        DropReason::SharedBacklogFull => vec![shared_backlog_full()],
        DropReason::RefusedByReceiver => vec![refused_by_receiver()],
        DropReason::MemoryPressure => vec![memory_pressure()],
        DropReason::LocalReceiverFull => vec![local_receiver_full()],
        DropReason::StoreFull => vec![store_full(), local_store_full()],
        DropReason::Damaged => vec![damaged()],
        DropReason::BrokerEnded => vec![broker_ended()],
        DropReason::PeerGone => vec![peer_gone()],
    }
}

#[test]
fn every_reason_is_counted_once_and_told() {
    for reason in DropReason::ALL {
        for (index, (node, concerned, is_refusal, topic)) in scenes(reason).iter().enumerate() {
            let name = format!("{}, scene {index}: {:?}", reason.name(), node.all_dropped());
            let (count, notes) = found(node, reason);
            assert_eq!(count, 1, "{name}");
            let told = (*concerned, *is_refusal, (*topic).to_string(), 1);
            let expected = if reason.is_loss() { vec![told] } else { Vec::new() };
            assert_eq!(notes, expected, "{name}");
            let others = DropReason::ALL.into_iter().filter(|it| *it != reason && it.is_loss());
            let others: u64 = others.map(|other| node.dropped(other)).sum();
            assert_eq!(others, 0, "counted under another reason, too: {name}");
            let dropped = node.events.iter().filter_map(|event| match event {
                Event::Dropped { reason, count, .. } => Some((*reason, *count)),
                _ => None,
            });
            assert_eq!(dropped.filter(|it| it.0.is_loss()).count(), notes.len(), "{name}");
        }
    }
}

fn no_subscriber() -> Scene {
    let mut node = Node::new(&Setup::default());
    let publisher = node.connect("p");
    node.publish(publisher, "t", "x", 0);
    (node, Some("p"), true, "t")
}

fn offline() -> Scene {
    let mut node = Node::new(&Setup::default());
    let publisher = absent(&mut node, 0);
    node.publish(publisher, "t", "x", 1);
    (node, Some("r"), false, "t")
}

fn stored_full() -> Node {
    let mut setup = Setup { has_store: true, ..Setup::default() };
    setup.limits.queue_messages_max = 1;
    Node::new(&setup)
}

fn queue_full(make: impl FnOnce(&Setup) -> Node) -> Scene {
    let mut setup = Setup::default();
    setup.limits.queue_messages_max = 1;
    let mut node = make(&setup);
    let publisher = absent(&mut node, 1);
    node.publish(publisher, "t", "fits", 1);
    node.publish(publisher, "t", "does not", 1);
    (node, Some("r"), false, "t")
}

fn queue_bytes() -> Scene {
    let mut node = limited(|limits| limits.queue_bytes_max = 10);
    let publisher = absent(&mut node, 1);
    node.publish(publisher, "t", "12345", 1);
    node.publish(publisher, "t", "12345", 1);
    (node, Some("r"), false, "t")
}

fn slow_consumer() -> Scene {
    let mut node = limited(|limits| limits.output_bytes_max = 10);
    let (receiver, publisher) = pair(&mut node, 0);
    node.set_room(receiver, 0);
    node.publish(publisher, "t", "more than ten bytes", 0);
    node.publish(publisher, "t", "x", 0);
    (node, Some("r"), false, "t")
}

fn expired_on_arrival() -> Scene {
    let mut node = Node::new(&Setup::default());
    let (_, publisher) = pair(&mut node, 1);
    node.send_publish(publisher, with_expiry(publish("t", "x", 0, 0), 0));
    (node, Some("p"), true, "t")
}

fn expired_in_queue() -> Scene {
    let mut node = Node::new(&Setup::default());
    let publisher = absent(&mut node, 1);
    node.send_publish(publisher, with_expiry(publish("t", "x", 1, 9), 1));
    node.advance(2_000);
    node.connect_with(&persistent("r"));
    (node, Some("r"), false, "t")
}

fn packet_too_large() -> Scene {
    let mut node = Node::new(&Setup::default());
    let mut packet = connect("r");
    packet.properties.maximum_packet_size = std::num::NonZeroU32::new(64);
    let receiver = node.connect_with(&packet).0;
    node.subscribe(receiver, "t", 1);
    let publisher = node.connect("p");
    node.publish(publisher, "t", &"x".repeat(100), 1);
    (node, Some("r"), false, "t")
}

fn not_authorized() -> Scene {
    let mut node = Node::new(&Setup::default());
    let (_, publisher) = pair(&mut node, 1);
    node.rules.deny(Right::Publish, "p", "t");
    node.publish(publisher, "t", "x", 0);
    (node, Some("p"), true, "t")
}

/// A topic to which nobody may publish, or which cannot exist.
fn reserved(topic: &'static str) -> Scene {
    let mut node = Node::new(&Setup::default());
    let publisher = node.connect("p");
    let code = node.publish_acknowledged(publisher, publish(topic, "x", 1, 9));
    assert!(code.is_error(), "{topic}: {code:?}");
    (node, Some("p"), true, topic)
}

fn too_deep() -> Scene {
    let mut node = limited(|limits| limits.topic_levels_max = 2);
    let publisher = node.connect("p");
    node.publish(publisher, "a/b/c", "x", 0);
    (node, Some("p"), true, "a/b/c")
}

fn refused_will() -> Scene {
    let mut node = Node::new(&Setup::default());
    let mut packet = connect("p");
    packet.will = Some(will("t", "gone", 1));
    let publisher = node.connect_with(&packet).0;
    node.rules.deny(Right::Publish, "p", "t");
    node.lose(publisher);
    (node, Some("p"), true, "t")
}

fn not_to_be_received() -> Scene {
    let mut node = Node::new(&Setup::default());
    let (_, publisher) = pair(&mut node, 1);
    node.rules.deny(Right::Receive, "r", "t");
    node.publish(publisher, "t", "x", 1);
    (node, Some("r"), false, "t")
}

fn session_ended() -> Scene {
    let mut node = Node::new(&Setup::default());
    let publisher = absent(&mut node, 1);
    node.publish(publisher, "t", "x", 1);
    node.connect("r");
    (node, Some("r"), false, "t")
}

/// The queue is only in the store, so its contents are no longer known.
fn stored_session_ended() -> Scene {
    let mut node = stored();
    let publisher = absent(&mut node, 1);
    node.publish(publisher, "t", "x", 1);
    node.connect("r");
    (node, Some("r"), false, "")
}

fn retained_limit() -> Scene {
    let mut node = limited(|limits| limits.retained_messages_max = 1);
    let publisher = node.connect("p");
    node.send_publish(publisher, retained("a", "x"));
    node.send_publish(publisher, retained("t", "x"));
    (node, Some("p"), true, "t")
}

fn delayed_limit() -> Scene {
    let mut node = limited(|limits| limits.delayed_messages_max = 0);
    let publisher = node.connect("p");
    node.publish(publisher, "$delayed/5/t", "x", 1);
    (node, Some("p"), true, "t")
}

fn shared_backlog_full() -> Scene {
    let mut node = limited(|limits| limits.shared_backlog_messages_max = 1);
    let receiver = node.connect_with(&persistent("r")).0;
    node.subscribe(receiver, "$share/g/t", 1);
    let publisher = node.connect("p");
    node.lose(receiver);
    node.publish(publisher, "t", "fits", 1);
    node.publish(publisher, "t", "does not", 1);
    (node, None, false, "t")
}

fn refused_by_receiver() -> Scene {
    let mut node = Node::new(&Setup::default());
    let (receiver, publisher) = pair(&mut node, 1);
    node.acknowledge(receiver, false);
    node.publish(publisher, "t", "x", 1);
    let packet_id = node.message(receiver).packet_id;
    let refusal = midge_codec::Acknowledgement {
        reason_code: ReasonCode::UnspecifiedError,
        ..midge_codec::Acknowledgement::success(crate::packets::id(packet_id))
    };
    node.send(receiver, &midge_codec::Packet::PubAck(refusal));
    (node, Some("r"), false, "t")
}

fn memory_pressure() -> Scene {
    let mut node = Node::new(&Setup::default());
    pair(&mut node, 0);
    node.call(0, |core, turn| core.set_memory_pressure(MemoryPressure::Severe, turn));
    // Clients that publish have to wait, but the process itself does not.
    let (payload, qos, retain) = (&b"x"[..], midge_codec::QoS::AtMostOnce, false);
    let publish = LocalPublish { topic: "t", payload, qos, retain, properties: Default::default() };
    node.call(0, |core, turn| core.publish_local(&publish, 1, turn));
    (node, Some("r"), false, "t")
}

fn local_receiver_full() -> Scene {
    let mut node = Node::new(&Setup::default());
    let local = node.call(0, midge_core::Core::open_local);
    let options = crate::packets::options(1);
    node.call(0, |core, turn| core.subscribe_local(local, "t", options, turn));
    let publisher = node.connect("p");
    node.publish(publisher, "t", "x", 1);
    let delivered = |node: &Node| {
        let counters = node.counters();
        (counters.messages_delivered, counters.payload_bytes_delivered)
    };
    assert_eq!(delivered(&node), (1, 1));
    let message = node.local[0].message.clone();
    node.call(0, |core, turn| core.note_local_drop(&message, turn));
    assert_eq!(delivered(&node), (0, 0));
    (node, None, false, "t")
}

fn with_full_store() -> Node {
    let mut node = stored();
    node.connect_with(&persistent("r"));
    let receiver = node.connect_with(&persistent("r")).0;
    node.subscribe(receiver, "t", 1);
    node.call(0, |core, turn| core.set_store_full(true, turn));
    node
}

fn store_full() -> Scene {
    let mut node = with_full_store();
    let publisher = node.connect("p");
    let code = node.publish_acknowledged(publisher, publish("t", "x", 1, 9));
    assert_eq!(code, ReasonCode::QuotaExceeded);
    (node, Some("p"), true, "t")
}

#[test]
fn what_comes_behind_an_unanswered_publish_is_counted_too() {
    let mut node = with_full_store();
    // MQTT 3 cannot report a refusal: nothing more is accepted until the Client connects again.
    let publisher = node.connect_with(&connect_v3("p", true)).0;
    for topic in ["t", "elsewhere"] {
        node.publish(publisher, topic, "x", 1);
        assert_eq!(node.drops.pop().map(|note| note.topic), Some(topic.into()));
    }
    assert_eq!(node.dropped(DropReason::StoreFull), 2);
}

#[test]
fn many_alike_are_one_note_and_many_clients_are_bounded() {
    let mut setup = Setup::default();
    setup.limits.queue_messages_max = 1;
    let mut node = Node::new(&setup);
    for client in 0..100 {
        let client_id = client.to_string();
        let packet = persistent(&client_id);
        let receiver = node.connect_with(&packet).0;
        node.subscribe(receiver, "t", 1);
        node.lose(receiver);
    }
    let publisher = node.connect("p");
    node.publish(publisher, "t", "fits", 1);
    for number in 1..=3 {
        let packet = publish("t", "does not", 1, number);
        node.queue(publisher, &midge_codec::Packet::Publish(packet));
    }
    node.settle();
    assert_eq!(node.dropped(DropReason::QueueFull), 300);
    let named = node.drops.iter().filter(|note| note.client.is_some());
    assert!(named.clone().count() <= 64 && named.clone().all(|note| note.count == 3));
    assert_eq!(node.drops.iter().map(|note| note.count).sum::<u64>(), 300);
}

fn local_store_full() -> Scene {
    let mut node = with_full_store();
    let message = LocalPublish {
        topic: "t",
        payload: b"x",
        qos: crate::packets::qos(1),
        retain: false,
        properties: Default::default(),
    };
    node.call(0, |core, turn| core.publish_local(&message, 1, turn));
    (node, Some("$broker"), true, "t")
}

/// The store has lost the message.
fn damaged() -> Scene {
    let mut node = stored();
    let publisher = absent(&mut node, 1);
    node.publish(publisher, "t", "x", 1);
    node.connect_with(&persistent("r"));
    let fetch = node.fetches.pop().expect("it is asked for");
    let entries = vec![FetchedEntry { sequence: fetch.from, delivery: None, round: None }];
    let fetched = Fetched {
        owner: fetch.owner,
        session: fetch.session,
        ticket: fetch.ticket,
        entries,
        next: fetch.from + 1,
    };
    node.call(0, |core, turn| core.handle_fetched(fetched, turn));
    (node, Some("r"), false, "")
}

fn broker_ended() -> Scene {
    let mut node = Node::new(&Setup::default());
    let publisher = absent(&mut node, 1);
    node.publish(publisher, "t", "x", 1);
    node.call(0, |core, turn| core.drop_volatile(0, turn));
    (node, Some("r"), false, "")
}

/// Only a worker that is gone could keep the message.
fn peer_gone() -> Scene {
    let mut node = Node::new(&Setup { workers: 2, has_store: true, ..Setup::default() });
    let publisher = node.connect("p");
    let receiver = node.connect_with(&persistent("r")).0;
    node.subscribe(receiver, "t", 1);
    node.freeze(1);
    node.end_worker(1);
    node.publish(publisher, "t", "x", 1);
    (node, Some("p"), true, "t")
}
