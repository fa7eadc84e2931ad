//! Expired messages take no room in a queue that is in the store.

use midge_broker::{DropReason, QoS, ReasonCode};
use midge_codec::{Packet, PacketType};

use crate::client::{Client, Received, publish_packet};
use crate::clocks::{Life, Machine, TODAY};
use crate::support::{address, dropped, until};

/// The most messages that may wait for a Session.
const QUEUE: u16 = 1000;

/// Publishes these numbers, with an expiry of a second or none; all are accepted.
fn publish(client: &mut Client, numbers: std::ops::Range<u16>, qos: QoS, expires: bool) {
    for numbers in numbers.clone().step_by(20).map(|first| first..numbers.end.min(first + 20)) {
        for number in numbers.clone() {
            let text = number.to_string();
            let mut packet = publish_packet("t", text.as_bytes(), qos, Some(number + 1));
            if let (Packet::Publish(publish), true) = (&mut packet, expires) {
                publish.properties.message_expiry_interval_seconds = Some(1);
            }
            client.send(&packet);
        }
        let mut left = numbers.len();
        while left > 0 {
            match client.receive() {
                Received::Ack { code: ReasonCode::Success, id, kind: PacketType::PubRec } => {
                    client.acknowledge(PacketType::PubRel, id);
                }
                Received::Ack { code: ReasonCode::Success, .. } => left -= 1,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn receive_numbers(client: &mut Client, numbers: std::ops::Range<u16>) {
    for number in numbers {
        assert_eq!(String::from_utf8(client.message().payload).unwrap(), number.to_string());
    }
}

#[test]
fn a_message_finds_room_where_others_have_expired() {
    for restarts in [false, true] {
        let mut life = Life::begin(Machine::new(TODAY));
        life.visit("s", u32::MAX);
        let mut publisher = Client::connect(address(&life.broker), "p");
        publish(&mut publisher, 0..QUEUE, QoS::AtLeastOnce, true);
        if restarts {
            life = life.next(|_| ());
            publisher = Client::connect(address(&life.broker), "p");
        }
        life.machine.pass(2_000);
        publish(&mut publisher, 0..QUEUE, QoS::AtLeastOnce, false);
        until("all are found", || dropped(&life.broker, DropReason::Expired) == u64::from(QUEUE));
        assert_eq!(dropped(&life.broker, DropReason::QueueFull), 0);
        publish(&mut publisher, 0..1, QoS::AtLeastOnce, false);
        assert_eq!(dropped(&life.broker, DropReason::QueueFull), 1, "full of what has not expired");
        let (mut subscriber, is_resumed) = life.connect("s", u32::MAX);
        assert!(is_resumed);
        receive_numbers(&mut subscriber, 0..QUEUE);
        subscriber.ping();
    }
}

#[test]
fn some_of_them_have_expired() {
    let life = Life::begin(Machine::new(TODAY));
    life.visit("s", u32::MAX);
    let mut publisher = Client::connect(address(&life.broker), "p");
    publish(&mut publisher, 0..500, QoS::AtLeastOnce, false);
    publish(&mut publisher, 500..QUEUE, QoS::AtLeastOnce, true);
    life.machine.pass(2_000);
    publish(&mut publisher, 500..QUEUE, QoS::AtLeastOnce, false);
    until("they are found", || dropped(&life.broker, DropReason::Expired) == 500);
    assert_eq!(dropped(&life.broker, DropReason::QueueFull), 0);
    let (mut subscriber, _) = life.connect("s", u32::MAX);
    receive_numbers(&mut subscriber, 0..QUEUE);
}

#[test]
fn a_client_that_comes_back_meanwhile_gets_what_has_not_expired() {
    let life = Life::begin(Machine::new(TODAY));
    life.visit("s", u32::MAX);
    let mut publisher = Client::connect(address(&life.broker), "p");
    publish(&mut publisher, 0..500, QoS::AtLeastOnce, true);
    publish(&mut publisher, 0..500, QoS::AtLeastOnce, false);
    life.machine.pass(2_000);
    publish(&mut publisher, 500..501, QoS::AtLeastOnce, false);
    // The broker may still be searching the queue.
    let (mut subscriber, _) = life.connect("s", u32::MAX);
    receive_numbers(&mut subscriber, 0..501);
    assert_eq!(dropped(&life.broker, DropReason::Expired), 500);
    publish(&mut publisher, 501..600, QoS::AtLeastOnce, false);
    receive_numbers(&mut subscriber, 501..600);
}

#[test]
fn large_ones_give_way_as_well() {
    let life = Life::begin(Machine::new(TODAY));
    life.visit("s", u32::MAX);
    let mut publisher = Client::connect(address(&life.broker), "p");
    let large = vec![b'x'; 200_000];
    let mut send = |id: u16, expires: bool| {
        let mut packet = publish_packet("t", &large, QoS::AtLeastOnce, Some(id));
        if let (Packet::Publish(publish), true) = (&mut packet, expires) {
            publish.properties.message_expiry_interval_seconds = Some(1);
        }
        publisher.send(&packet);
        assert!(matches!(publisher.receive(), Received::Ack { code: ReasonCode::Success, .. }));
    };
    (1..6).for_each(|id| send(id, true));
    life.machine.pass(2_000);
    (1..6).for_each(|id| send(id, false));
    assert_eq!(dropped(&life.broker, DropReason::QueueBytes), 0);
    let (mut subscriber, _) = life.connect("s", u32::MAX);
    (1..6).for_each(|_| assert_eq!(subscriber.message().payload.len(), 200_000));
}

#[test]
fn messages_of_qos_2_give_way_unless_the_client_may_know_them() {
    let life = Life::begin(Machine::new(TODAY));
    let (mut subscriber, _) = life.connect("s", u32::MAX);
    subscriber.subscribe("t", QoS::ExactlyOnce);
    let mut publisher = Client::connect(address(&life.broker), "p");
    publish(&mut publisher, 0..1, QoS::ExactlyOnce, true);
    let known = match subscriber.receive() {
        Received::Publish(message) => message.id,
        other => panic!("{other:?}"),
    };
    drop(subscriber);
    until("it is gone", || life.broker.handle().figures().wait().unwrap().1.connections == 1);
    publish(&mut publisher, 1..QUEUE, QoS::ExactlyOnce, true);
    life.machine.pass(2_000);
    publish(&mut publisher, 1..QUEUE, QoS::ExactlyOnce, false);
    until("they are found", || dropped(&life.broker, DropReason::Expired) == u64::from(QUEUE) - 1);
    assert_eq!(dropped(&life.broker, DropReason::QueueFull), 0);
    let (mut subscriber, _) = life.connect("s", u32::MAX);
    match subscriber.receive() {
        Received::Publish(message) => assert!(message.dup && message.id == known, "{message:?}"),
        other => panic!("{other:?}"),
    }
}
