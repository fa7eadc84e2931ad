//! Sessions that come into the store late: their Clients were connected by a listener that promises
//! memory only, and come back by one that promises more. From then on nothing of theirs is lost.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use midge_broker::{Broker, Durability, ProtocolVersion, QoS, Storage};
use midge_codec::{Connect, PacketType, ReasonCode};
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Message, Received, connect_packet, publish_packet};
use crate::support::builder;

fn start(disk: &Arc<FaultyDisk>) -> Broker {
    let broker = builder(2).listen("127.0.0.1:0").storage(Storage::on_disk(disk.clone()));
    broker.listener_durability(1, Durability::Memory).start().unwrap()
}

/// The listeners that promise durability and memory.
fn addresses(broker: &Broker) -> (SocketAddr, SocketAddr) {
    let addresses = broker.local_addresses();
    (addresses[0].network().unwrap(), addresses[1].network().unwrap())
}

fn connect(client_id: &'static str) -> Connect<'static> {
    let mut connect = connect_packet(ProtocolVersion::V5, client_id);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    connect.properties.receive_maximum = NonZeroU16::new(2);
    connect
}

fn resume(address: SocketAddr, client_id: &'static str) -> Client {
    let mut client = Client::open(address);
    match client.request(&connect(client_id)) {
        Received::ConnAck { session_present: true, code: ReasonCode::Success, .. } => client,
        other => panic!("no Session but {other:?}"),
    }
}

fn message(client: &mut Client) -> Message {
    match client.receive() {
        Received::Publish(message) => message,
        other => panic!("no PUBLISH but {other:?}"),
    }
}

fn acknowledged(client: &mut Client, kind: PacketType, id: u16) {
    match client.receive() {
        Received::Ack { kind: got, id: of, code } if (got, of) == (kind, id) => {
            assert!(!code.is_error(), "{code:?}");
        }
        other => panic!("no {kind:?} of {id} but {other:?}"),
    }
}

#[test]
fn what_a_session_has_gathered_comes_into_the_store_with_it() {
    let disk = Arc::new(FaultyDisk::new(1));
    let broker = start(&disk);
    let (durable, volatile) = addresses(&broker);
    let mut client = Client::open(volatile).connected(&connect("late"));
    client.subscribe("t/#", QoS::ExactlyOnce);
    client.send(&publish_packet("own", b"once", QoS::ExactlyOnce, Some(9)));
    acknowledged(&mut client, PacketType::PubRec, 9);
    let mut publisher = Client::connect(durable, "publisher");
    for (id, qos) in
        [(1, QoS::ExactlyOnce), (2, QoS::AtLeastOnce), (3, QoS::ExactlyOnce), (4, QoS::AtLeastOnce)]
    {
        publisher.send(&publish_packet("t/1", id.to_string().as_bytes(), qos, Some(id)));
        let kind = if qos == QoS::AtLeastOnce { PacketType::PubAck } else { PacketType::PubRec };
        acknowledged(&mut publisher, kind, id);
    }
    // The Client takes over the first one, and is told that nothing of that is forgotten.
    let (first, second) = (message(&mut client), message(&mut client));
    client.acknowledge(PacketType::PubRec, first.id.unwrap());
    acknowledged(&mut client, PacketType::PubRel, first.id.unwrap());
    drop(client);

    let returned = resume(durable, "late");
    let killed = Arc::new(disk.snapshot());
    drop((returned, broker));
    let broker = start(&killed);
    let (durable, _) = addresses(&broker);
    let mut watcher = Client::connect(durable, "watcher");
    watcher.subscribe("own", QoS::AtLeastOnce);

    let mut client = resume(durable, "late");
    // Neither waits for the other.
    let (mut again, mut released) = (None, None);
    while again.is_none() || released.is_none() {
        match client.receive() {
            Received::Publish(message) => again = Some(message),
            Received::Ack { kind: PacketType::PubRel, id, .. } => released = Some(id),
            other => panic!("neither PUBLISH nor PUBREL but {other:?}"),
        }
    }
    assert_eq!(released, first.id);
    let again = again.unwrap();
    assert_eq!((again.id, again.dup, &*again.payload), (second.id, true, &b"2"[..]));
    client.acknowledge(PacketType::PubComp, first.id.unwrap());
    client.acknowledge(PacketType::PubAck, again.id.unwrap());
    assert_eq!(message(&mut client).payload, b"3");
    assert_eq!(message(&mut client).payload, b"4");
    client.send(&publish_packet("own", b"once", QoS::ExactlyOnce, Some(9)));
    acknowledged(&mut client, PacketType::PubRec, 9);
    client.send(&publish_packet("own", b"another one", QoS::AtLeastOnce, Some(10)));
    assert_eq!(message(&mut watcher).payload, b"another one", "the other one has gone on before");
}

#[test]
fn the_shared_subscriptions_of_a_session_come_into_the_store_with_it() {
    let disk = Arc::new(FaultyDisk::new(1));
    let broker = start(&disk);
    let (durable, volatile) = addresses(&broker);
    for name in ["late", "later"] {
        let mut member = Client::open(volatile).connected(&connect(name));
        member.subscribe("$share/g/t", QoS::AtLeastOnce);
    }
    resume(durable, "late").disconnect();
    resume(durable, "later").disconnect();
    let mut publisher = Client::connect(durable, "publisher");
    publisher.send(&publish_packet("t", b"kept", QoS::AtLeastOnce, Some(1)));
    acknowledged(&mut publisher, PacketType::PubAck, 1);
    let killed = Arc::new(disk.snapshot());
    drop((publisher, broker));

    let broker = start(&killed);
    let mut member = resume(addresses(&broker).0, "later");
    assert_eq!(message(&mut member).payload, b"kept");
}

#[test]
fn a_packet_identifier_that_was_released_is_free_after_a_kill() {
    let disk = Arc::new(FaultyDisk::new(1));
    let broker = start(&disk);
    let (durable, volatile) = addresses(&broker);
    let mut client = Client::open(volatile).connected(&connect("late"));
    client.send(&publish_packet("own", b"first", QoS::ExactlyOnce, Some(9)));
    acknowledged(&mut client, PacketType::PubRec, 9);
    drop(client);
    let mut client = resume(durable, "late");
    client.acknowledge(PacketType::PubRel, 9);
    acknowledged(&mut client, PacketType::PubComp, 9);
    let killed = Arc::new(disk.snapshot());
    drop((client, broker));

    let broker = start(&killed);
    let (durable, _) = addresses(&broker);
    let mut watcher = Client::connect(durable, "watcher");
    watcher.subscribe("own", QoS::AtLeastOnce);
    let mut client = resume(durable, "late");
    client.send(&publish_packet("own", b"second", QoS::ExactlyOnce, Some(9)));
    acknowledged(&mut client, PacketType::PubRec, 9);
    client.send(&publish_packet("own", b"third", QoS::AtLeastOnce, Some(10)));
    assert_eq!(message(&mut watcher).payload, b"second", "it is no repetition");
}

#[test]
fn no_message_gets_a_packet_identifier_that_the_client_may_hold_from_before_a_kill() {
    let disk = Arc::new(FaultyDisk::new(1));
    let broker = start(&disk);
    let (durable, volatile) = addresses(&broker);
    let mut client = Client::open(volatile).connected(&connect("late"));
    client.subscribe("t", QoS::ExactlyOnce);
    let mut publisher = Client::connect(volatile, "publisher");
    publisher.send(&publish_packet("t", b"in memory only", QoS::ExactlyOnce, Some(1)));
    acknowledged(&mut publisher, PacketType::PubRec, 1);
    let held = message(&mut client).id;
    drop(client);
    let mut client = resume(durable, "late");
    assert_eq!(message(&mut client).id, held);
    client.disconnect();
    let mut publisher = Client::connect(durable, "another publisher");
    publisher.send(&publish_packet("t", b"kept", QoS::ExactlyOnce, Some(1)));
    acknowledged(&mut publisher, PacketType::PubRec, 1);
    let killed = Arc::new(disk.snapshot());
    drop((publisher, broker));

    let broker = start(&killed);
    let mut client = resume(addresses(&broker).0, "late");
    let kept = message(&mut client);
    assert_eq!(kept.payload, b"kept");
    assert_ne!(kept.id, held, "the Client would take it for a repetition");
}
