//! Sessions in the store: how they come into it, and what is known of their messages afterwards.

use std::num::NonZeroU16;
use std::sync::Arc;

use midge_codec::{Connect, QoS, ReasonCode};
use midge_core::{
    Attributes, Durability, Fetched, FetchedEntry, Identifiers, Identity, Limits, Message,
    MessageParts, Opening, Recovered, RecoveredQueue, RecoveredSession, SessionRecord, StoreOp,
    StoredDelivery,
};

use crate::node::{Conn, Node, Setup, scenario_with};
use crate::packets::{connect, persistent, publish};

fn stored() -> Setup {
    Setup { has_store: true, ..Setup::default() }
}

/// Queues a CONNECT at a listener that promises memory only.
fn begin_volatile(node: &mut Node, packet: &Connect<'_>) -> Conn {
    let worker = node.home(packet.client_id);
    let opening = Opening { durability: Some(Durability::Memory), ..Opening::default() };
    let conn = node.open_with(worker, opening);
    node.queue(conn, &midge_codec::Packet::Connect(Box::new(packet.clone())));
    conn
}

/// Makes a Session in memory, whose Client subscribes and leaves.
fn absent_in_memory(node: &mut Node, client_id: &str) {
    let conn = begin_volatile(node, &persistent(client_id));
    node.settle();
    assert_eq!(node.take_connack(conn).code, 0);
    node.subscribe(conn, "t", 2);
    node.lose(conn);
}

fn set_full(node: &mut Node, is_full: bool) {
    for worker in 0..node.cores.len() {
        node.call(worker, |core, turn| core.set_store_full(is_full, turn));
    }
}

#[test]
fn a_session_that_does_not_fit_into_the_store_is_refused_and_stays() {
    scenario_with(stored(), |node| {
        absent_in_memory(node, "s");
        let (blank, _) = node.connect_with(&persistent("kept"));
        node.lose(blank);
        set_full(node, true);
        let quota_exceeded = ReasonCode::QuotaExceeded as u8;
        assert_eq!(node.refused(&persistent("s")), quota_exceeded);
        assert_eq!(node.refused(&persistent("new")), quota_exceeded);
        assert!(node.resume(&persistent("kept")).1, "it is there already");
        // Memory was promised, and memory is promised again.
        let conn = begin_volatile(node, &persistent("s"));
        node.settle();
        let ack = node.take_connack(conn);
        assert_eq!((ack.code, ack.session_present), (0, true));
        node.lose(conn);
        set_full(node, false);
        assert!(node.resume(&persistent("s")).1);
    });
}

#[test]
fn a_session_that_ends_with_its_connection_or_begins_anew_is_not_refused() {
    scenario_with(stored(), |node| {
        absent_in_memory(node, "s");
        absent_in_memory(node, "u");
        set_full(node, true);
        let mut resumed = connect("s");
        resumed.clean_start = false;
        assert!(node.resume(&resumed).1);
        let mut anew = persistent("u");
        anew.clean_start = true;
        assert!(!node.resume(&anew).1);
    });
}

/// The other worker publishes before it can hear of the CONNECT by which the Session comes into the
/// store, and the message arrives after that.
#[test]
fn a_message_for_a_session_that_comes_into_the_store_meanwhile_is_acknowledged_when_kept() {
    for level in [1, 2] {
        let mut node = Node::new(&Setup { workers: 2, ..stored() });
        absent_in_memory(&mut node, "s");
        let publisher = node.connect("p");
        node.hold_receipts(true);
        node.begin_connect(&persistent("s"));
        node.turn(0);
        node.queue(publisher, &midge_codec::Packet::Publish(publish("t", "x", level, 9)));
        node.turn(1);
        node.settle();
        let mut stored = node.stored.iter().flatten();
        assert!(stored.any(|op| matches!(op, StoreOp::Enqueue(_))));
        assert!(node.take(publisher).is_empty(), "it is not durable");
        node.hold_receipts(false);
        assert!(!node.take(publisher).is_empty(), "now it is");
    }
}

#[test]
fn the_store_knows_how_many_messages_may_be_under_way() {
    let limits = Limits { inflight_messages_max: 7, ..Limits::default() };
    let mut node = Node::new(&Setup { limits, ..stored() });
    let mut packet = persistent("s");
    node.connect_with(&packet);
    packet.properties.receive_maximum = NonZeroU16::new(5);
    packet.client_id = "u";
    node.connect_with(&packet);
    let windows = node.stored.iter().flatten().filter_map(|op| match op {
        StoreOp::Session(record) => Some((&*record.client_id, record.window.map(NonZeroU16::get))),
        _ => None,
    });
    assert_eq!(windows.collect::<Vec<_>>(), [("s", Some(7)), ("u", Some(5))]);
}

/// Messages of QoS 1 that expire a minute after the node begins.
fn expiring(node: &Node) -> Message {
    Message::new(MessageParts {
        topic: "t",
        properties: &[],
        payload: b"x",
        attributes: Attributes {
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: Some(node.now + 60_000),
            publisher_session: None,
            durability: Durability::Fsync,
        },
        publisher: Arc::new(Identity::new("p".into(), None)),
    })
}

/// Answers what the store was asked for last with messages up to this sequence.
fn answer_fetch(node: &mut Node, message: &Message, last: u64) {
    let fetch = node.fetches.pop().expect("the store is asked");
    let entry = |sequence| FetchedEntry {
        sequence,
        delivery: Some(StoredDelivery {
            message: message.clone(),
            qos: QoS::AtLeastOnce,
            retain: false,
            identifiers: Identifiers::None,
            group: None,
        }),
        round: None,
    };
    let fetched = Fetched {
        owner: fetch.owner,
        session: fetch.session,
        ticket: fetch.ticket,
        entries: (fetch.from..=last).map(entry).collect(),
        next: last + 1,
    };
    node.call(0, |core, turn| core.handle_fetched(fetched, turn));
}

/// Nobody knows after a power cut what was sent. A Client that comes back for a moment changes that
/// only for what it gets.
#[test]
fn only_what_was_sent_to_a_client_after_a_power_cut_outlives_its_expiry() {
    let mut node = Node::new(&stored());
    let message = expiring(&node);
    let session = RecoveredSession {
        record: SessionRecord {
            number: 1,
            client_id: "s".into(),
            user_name: None,
            facts: None,
            expiry_seconds: 3600,
            window: NonZeroU16::new(2),
            will: None,
        },
        detached_at: None,
        subscriptions: Vec::new(),
        awaiting_release: Vec::new(),
        queue: RecoveredQueue {
            first: 1,
            next: 21,
            messages: 20,
            sent_before: 21,
            ..RecoveredQueue::default()
        },
    };
    let recovered =
        Recovered { sessions: vec![Box::new(session)], next_number: 2, ..Recovered::default() };
    node.call(0, |core, turn| core.restore(recovered, turn));
    node.call(0, midge_core::Core::end_restore);
    let mut packet = persistent("s");
    packet.properties.receive_maximum = NonZeroU16::new(2);

    let (conn, _) = node.connect_with(&packet);
    node.acknowledge(conn, false);
    answer_fetch(&mut node, &message, 20);
    let ids = node.messages(conn).into_iter().map(|it| (it.packet_id, it.dup));
    let sent: Vec<_> = ids.collect();
    assert_eq!(sent, [(1, true), (2, true)]);
    node.lose(conn);
    node.advance(61_000);

    let (conn, is_present) = node.resume(&packet);
    assert!(is_present);
    answer_fetch(&mut node, &message, 20);
    let again = node.messages(conn).into_iter().map(|it| (it.packet_id, it.dup));
    assert_eq!(again.collect::<Vec<_>>(), sent, "the others were never sent");
}
