//! Shared subscriptions of Sessions that end while much waits for them.

use std::num::NonZeroU16;
use std::sync::Arc;

use midge_broker::{Broker, Limits, ProtocolVersion, QoS, Storage};
use midge_codec::{Disconnect, Packet, PacketType, ReasonCode};
use midge_store::testing::FaultyDisk;

use crate::client::connect_packet;
use crate::client::{Client, Received, acknowledgement, bytes_of, publish_packet};
use crate::support::{address, builder, usage};

/// More than a Session has in memory, so that some of it waits in the store.
const MESSAGES: u16 = 1100;
/// How many of them the first member is sent.
const SENT: u16 = 5;

fn start(disk: &Arc<FaultyDisk>) -> Broker {
    let limits = Limits {
        queue_messages_max: u32::from(MESSAGES),
        shared_backlog_messages_max: u32::from(MESSAGES),
        ..Limits::default()
    };
    builder(1).limits(limits).storage(Storage::on_disk(disk.clone())).start().unwrap()
}

/// Connects a member of the group, with a Session that lives on.
fn member(broker: &Broker, client_id: &str, receive_maximum: u16) -> Client {
    let mut connect = connect_packet(ProtocolVersion::V5, client_id);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    connect.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    let mut client = Client::open(address(broker)).connected(&connect);
    client.subscribe("$share/group/t", QoS::ExactlyOnce);
    client
}

fn publish_all(broker: &Broker) {
    let mut publisher = Client::connect(address(broker), "publisher");
    let ids: Vec<u16> = (1..=MESSAGES).collect();
    for ids in ids.chunks(10) {
        let each = |make: &dyn Fn(u16) -> Packet<'static>| -> Vec<u8> {
            ids.iter().flat_map(|id| bytes_of(&make(*id), ProtocolVersion::V5)).collect()
        };
        for id in ids {
            let payload = id.to_string();
            publisher.send(&publish_packet("t", payload.as_bytes(), QoS::ExactlyOnce, Some(*id)));
        }
        ids.iter().for_each(|_| expect(&mut publisher, PacketType::PubRec));
        publisher.send_bytes(&each(&|id| acknowledgement(PacketType::PubRel, id)));
        ids.iter().for_each(|_| expect(&mut publisher, PacketType::PubComp));
    }
}

fn expect(client: &mut Client, expected: PacketType) {
    match client.receive() {
        Received::Ack { kind, code: ReasonCode::Success, .. } => assert_eq!(kind, expected),
        other => panic!("no {expected:?} but {other:?}"),
    }
}

/// Receives the next message and returns its number. Takes it over only if it `is_taken`.
fn number(client: &mut Client, is_taken: bool) -> u16 {
    loop {
        match client.receive() {
            Received::Publish(message) => {
                let id = message.id.unwrap();
                if is_taken {
                    client.acknowledge(PacketType::PubRec, id);
                }
                return String::from_utf8(message.payload).unwrap().parse().unwrap();
            }
            Received::Ack { kind: PacketType::PubRel, id, .. } => {
                client.acknowledge(PacketType::PubComp, id);
            }
            other => panic!("no PUBLISH but {other:?}"),
        }
    }
}

/// A QoS 2 message that was sent to one member goes to no other [MQTT-4.8.2-5], also when its
/// Session ends and the broker is killed while it passes on what waited for it. Nothing else is
/// lost.
#[test]
fn what_one_member_was_sent_goes_to_no_other_wherever_the_end_of_its_session_is_cut_off() {
    let mut ended = 0;
    for operations in 0..8 {
        let disk = Arc::new(FaultyDisk::new(operations));
        let broker = start(&disk);
        let mut first = member(&broker, "first", SENT);
        publish_all(&broker);
        let sent: Vec<_> = (0..SENT).map(|_| number(&mut first, false)).collect();
        assert_eq!(sent, [1, 2, 3, 4, 5]);
        member(&broker, "second", u16::MAX).disconnect();
        disk.cut_after(operations);
        let goodbye = Disconnect {
            session_expiry_interval: Some(0),
            ..Disconnect::with_reason(ReasonCode::Success)
        };
        first.send(&Packet::Disconnect(goodbye));
        while first.receive() != Received::Closed {}
        drop(broker);
        disk.cut_after(u64::MAX / 2);

        let broker = start(&Arc::new(disk.snapshot()));
        if usage(&broker).sessions > 1 {
            continue; // its end was not written
        }
        ended += 1;
        let mut second = member(&broker, "second", u16::MAX);
        let others: Vec<_> = (SENT..MESSAGES).map(|_| number(&mut second, true)).collect();
        let expected: Vec<_> = (SENT + 1..=MESSAGES).collect();
        assert_eq!(others, expected, "cut after {operations} operations");
    }
    assert!(ended > 0);
}

/// After a kill, a broker does not know what it had sent, but how much the Client could take: its
/// Receive Maximum. Everything else goes to others when its Session ends.
#[test]
fn what_could_not_have_been_sent_before_a_kill_goes_to_others() {
    let disk = Arc::new(FaultyDisk::new(1));
    let broker = start(&disk);
    let mut first = member(&broker, "first", SENT);
    publish_all(&broker);
    let sent: Vec<_> = (0..SENT).map(|_| number(&mut first, false)).collect();
    assert_eq!(sent, [1, 2, 3, 4, 5]);
    member(&broker, "second", u16::MAX).disconnect();
    let killed = Arc::new(disk.snapshot());
    drop(broker);

    let broker = start(&killed);
    let mut second = member(&broker, "second", u16::MAX);
    Client::connect(address(&broker), "first"); // with Clean Start: its old Session ends
    let others: Vec<_> = (SENT..MESSAGES).map(|_| number(&mut second, true)).collect();
    assert_eq!(others, (SENT + 1..=MESSAGES).collect::<Vec<_>>());
}
