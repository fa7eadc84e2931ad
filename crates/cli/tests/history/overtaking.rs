//! A Client disconnects and comes back at once, to a broker that handles neither before both have
//! arrived. What it said on the old Network Connection comes first.

use std::time::{Duration, Instant};

use midge_codec::{
    Connect, ConnectProperties, Disconnect, Packet, PacketIdentifier, ProtocolVersion,
    PublishProperties, QoS, ReasonCode, Subscribe, Subscription, SubscriptionOptions, TopicName,
    Will,
};
use nix::sys::signal::Signal;

use crate::common::broker::{Home, Keeping};
use crate::common::random::Random;
use crate::common::slow_sync::Pace;
use crate::common::wire::{Connection, Incoming};

const CLIENTS: usize = 24;

fn connect(port: u16, client_id: &str) -> Connection {
    let mut connection = Connection::open(port, ProtocolVersion::V5).unwrap();
    connection.put(&Packet::Connect(Box::new(Connect {
        version: ProtocolVersion::V5,
        bridge: false,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id,
        will: Some(Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicName::new("w/it").unwrap(),
            payload: b"the client has died",
            delay_interval_seconds: None,
            properties: PublishProperties::default(),
        }),
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    })));
    connection.flush();
    connection
}

fn expect(connection: &mut Connection, is_it: impl Fn(&Incoming) -> bool) {
    let answer = connection.receive(Instant::now() + Duration::from_secs(20)).unwrap();
    assert!(answer.as_ref().is_some_and(is_it), "{answer:?}");
}

#[test]
fn who_says_goodbye_and_comes_back_at_once_leaves_no_will() {
    let home = Home::new(Keeping::Memory, 4, &[Pace::NORMAL], &mut Random::new(7));
    let broker = home.start();
    let is_connack = |incoming: &Incoming| matches!(incoming, Incoming::ConnAck { .. });
    let mut heir = connect(home.port(), "heir");
    expect(&mut heir, is_connack);
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    heir.put(&Packet::Subscribe(Subscribe {
        packet_id: PacketIdentifier::MIN,
        subscription_identifier: None,
        user_properties: Default::default(),
        subscriptions: (&[Subscription { filter: "w/#", options }][..]).into(),
    }));
    expect(&mut heir, |incoming| matches!(incoming, Incoming::SubAck(..)));

    let ids: Vec<_> = (0..CLIENTS).map(|number| format!("client-{number}")).collect();
    let mut clients: Vec<_> = ids.iter().map(|id| connect(home.port(), id)).collect();
    clients.iter_mut().for_each(|client| expect(client, is_connack));
    broker.signal(Signal::SIGSTOP);
    for mut client in clients {
        client.put(&Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        client.flush();
    }
    let mut clients: Vec<_> = ids.iter().map(|id| connect(home.port(), id)).collect();
    broker.signal(Signal::SIGCONT);
    clients.iter_mut().for_each(|client| expect(client, is_connack));

    heir.put(&Packet::PingReq);
    expect(&mut heir, |incoming| matches!(incoming, Incoming::PingResp));
}
