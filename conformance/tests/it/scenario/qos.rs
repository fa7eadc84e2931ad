//! Delivery at QoS 0, 1 and 2: in both directions, across connections, and in order.

use std::collections::BTreeSet;

use midge_conformance::connect::{connect, persistent};
use midge_conformance::reason::PROTOCOL_ERROR;
use midge_conformance::{Ack, Client, Fence, Publish, Version, client_id, target, topic};

use super::{let_a_second_pass, subscriber};

pub(crate) fn qos_0_is_not_acknowledged(version: Version) {
    let mut client = connect(version).open();
    client.send(&Publish::new(&topic(), "payload"));
    client.expect_silence();
}

pub(crate) fn qos_1_is_acknowledged_by_puback(version: Version) {
    let mut client = connect(version).open();
    client.send(&Publish::new(&topic(), "payload").qos_1(4711));
    assert_eq!(client.receive_puback().packet_id, 4711);
    client.expect_silence();
}

pub(crate) fn qos_2_is_acknowledged_by_pubrec_and_pubcomp(version: Version) {
    let mut client = connect(version).open();
    client.send(&Publish::new(&topic(), "payload").qos_2(65_535));
    assert_eq!(client.receive_pubrec().packet_id, 65_535);
    client.send(&Ack::pubrel(65_535));
    assert_eq!(client.receive_pubcomp().packet_id, 65_535);
    client.expect_silence();
}

pub(crate) fn qos_0_is_delivered_as_qos_0_without_dup(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    connect(version).open().publish(&topic, "payload", 0);
    let publish = subscriber.receive_publish();
    assert_eq!((publish.qos, publish.dup, publish.packet_id), (0, false, None));
}

pub(crate) fn qos_1_is_sent_first_without_dup(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 1);
    connect(version).open().publish(&topic, "payload", 1);
    let publish = subscriber.receive_publish();
    assert_eq!((publish.qos, publish.dup), (1, false));
}

pub(crate) fn qos_2_is_sent_first_without_dup(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    connect(version).open().publish(&topic, "payload", 2);
    let publish = subscriber.receive_publish();
    assert_eq!((publish.qos, publish.dup), (2, false));
    subscriber.acknowledge(&publish);
}

/// Ten unacknowledged messages have ten different Packet Identifiers.
pub(crate) fn packet_identifiers_in_flight_differ(version: Version, qos: u8) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, qos);
    let mut publisher = connect(version).open();
    for _ in 0..10 {
        publisher.publish(&topic, "payload", qos);
    }
    let identifiers: BTreeSet<_> = (0..10).map(|_| subscriber.receive_publish().id()).collect();
    assert_eq!(identifiers.len(), 10, "a Packet Identifier in use was used again");
}

type Make = fn(u16) -> Ack;

/// An acknowledgement that does not fit the QoS or the progress of its message.
pub(crate) fn acknowledgement_of_the_wrong_kind_ends_the_connection(version: Version) {
    let wrong: [(u8, Make); 4] =
        [(1, Ack::pubcomp), (1, Ack::pubrec), (2, Ack::puback), (2, Ack::pubcomp)];
    for (qos, acknowledgement) in wrong {
        let topic = topic();
        let mut subscriber = subscriber(version, &topic, qos);
        connect(version).open().publish(&topic, "payload", qos);
        let publish = subscriber.receive_publish();
        subscriber.send(&acknowledgement(publish.id()));
        if target::is_strict() {
            subscriber.expect_error(PROTOCOL_ERROR);
        } else {
            subscriber.until_ping_or_closed();
        }
    }
}

/// The publisher's DUP flag says nothing about the first delivery to the subscriber.
pub(crate) fn dup_is_not_forwarded(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 1);
    let mut publisher = connect(version).open();
    publisher.send(&Publish::new(&topic, "payload").qos_1(1).duplicate());
    publisher.receive_puback();
    assert!(!subscriber.receive_message().dup, "DUP was forwarded");
}

/// Makes a Session that has received `count` messages of `qos` and acknowledged none; returns them.
fn unacknowledged(version: Version, id: &str, qos: u8, count: usize) -> Vec<Publish> {
    let topic = topic();
    let mut client = persistent(version, id).open();
    client.subscribe(&topic, qos);
    let mut publisher = connect(version).open();
    for index in 0..count {
        publisher.publish(&topic, &index.to_string(), qos);
    }
    let sent = (0..count).map(|_| client.receive_publish()).collect();
    client.abandon();
    sent
}

/// After resuming, the same messages arrive again: in the same order, with the same identifiers,
/// with DUP set.
pub(crate) fn unacknowledged_publish_is_sent_again(version: Version, qos: u8) {
    let id = client_id();
    let sent = unacknowledged(version, &id, qos, 3);
    let mut resumed = persistent(version, &id).open();
    for first in sent {
        assert!(!first.dup, "DUP on a first sending");
        let again = resumed.receive_publish();
        assert!(again.dup, "no DUP on a second sending");
        assert_eq!((again.packet_id, &again.payload), (first.packet_id, &first.payload));
    }
    resumed.expect_silence();
}

pub(crate) fn acknowledged_publish_is_not_sent_again(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 2);
    let mut publisher = connect(version).open();
    publisher.publish(&topic, "one", 1);
    publisher.publish(&topic, "two", 2);
    client.receive_message();
    client.receive_message();
    client.expect_silence();
    client.abandon();
    persistent(version, &id).open().expect_silence();
}

/// Nothing is sent again on an open connection, however long the acknowledgement takes.
pub(crate) fn nothing_is_sent_again_on_an_open_connection(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 1);
    connect(version).open().publish(&topic, "payload", 1);
    let publish = subscriber.receive_publish();
    let_a_second_pass();
    subscriber.expect_silence();
    subscriber.acknowledge(&publish);
}

/// After PUBREC only the PUBREL is sent again, never the PUBLISH.
pub(crate) fn unacknowledged_pubrel_is_sent_again(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 2);
    connect(version).open().publish(&topic, "payload", 2);
    let publish = client.receive_publish();
    client.send(&Ack::pubrec(publish.id()));
    assert_eq!(client.receive_pubrel().packet_id, publish.id());
    client.abandon();
    let mut resumed = persistent(version, &id).open();
    assert_eq!(resumed.receive_pubrel().packet_id, publish.id());
    resumed.send(&Ack::pubcomp(publish.id()));
    resumed.expect_silence();
    resumed.abandon();
    persistent(version, &id).open().expect_silence();
}

/// A Packet Identifier that a PUBACK has freed stands for a new message, whether or not DUP is set.
pub(crate) fn qos_1_identifier_is_free_after_puback(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 1);
    let mut publisher = connect(version).open();
    for publish in [Publish::new(&topic, "one"), Publish::new(&topic, "two").duplicate()] {
        publisher.send(&publish.qos_1(7));
        assert_eq!(publisher.receive_puback().packet_id, 7);
    }
    assert_eq!(subscriber.receive_message().text(), "one");
    assert_eq!(subscriber.receive_message().text(), "two");
}

/// If the same PUBLISH arrives again before PUBREL, it is acknowledged again but delivered once.
pub(crate) fn qos_2_is_delivered_once(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    let fence = Fence::for_subscriber(&mut subscriber);
    let mut publisher = connect(version).open();
    publisher.send(&Publish::new(&topic, "once").qos_2(7));
    assert_eq!(publisher.receive_pubrec().packet_id, 7);
    publisher.send(&Publish::new(&topic, "once").qos_2(7).duplicate());
    assert_eq!(publisher.receive_pubrec().packet_id, 7);
    publisher.send(&Ack::pubrel(7));
    assert_eq!(publisher.receive_pubcomp().packet_id, 7);
    let messages = pass(&fence, &mut publisher, &mut subscriber);
    assert_eq!(messages, ["once"]);
}

/// The same holds when the publisher reconnects: the state belongs to its Session.
pub(crate) fn qos_2_is_delivered_once_across_connections(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut subscriber = subscriber(version, &topic, 2);
    let fence = Fence::for_subscriber(&mut subscriber);
    let mut publisher = persistent(version, &id).open();
    publisher.send(&Publish::new(&topic, "once").qos_2(7));
    assert_eq!(publisher.receive_pubrec().packet_id, 7);
    publisher.abandon();
    let mut publisher = persistent(version, &id).open();
    publisher.send(&Publish::new(&topic, "once").qos_2(7).duplicate());
    assert_eq!(publisher.receive_pubrec().packet_id, 7);
    publisher.send(&Ack::pubrel(7));
    assert_eq!(publisher.receive_pubcomp().packet_id, 7);
    assert_eq!(pass(&fence, &mut publisher, &mut subscriber), ["once"]);
}

fn pass(fence: &Fence, publisher: &mut Client, subscriber: &mut Client) -> Vec<String> {
    let messages = fence.pass(publisher, subscriber);
    messages.iter().map(|message| message.text().to_owned()).collect()
}

pub(crate) fn qos_2_identifier_is_free_after_pubcomp(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    let mut publisher = connect(version).open();
    for payload in ["one", "two"] {
        publisher.send(&Publish::new(&topic, payload).qos_2(7));
        assert_eq!(publisher.receive_pubrec().packet_id, 7);
        publisher.send(&Ack::pubrel(7));
        assert_eq!(publisher.receive_pubcomp().packet_id, 7);
    }
    assert_eq!(subscriber.receive_message().text(), "one");
    assert_eq!(subscriber.receive_message().text(), "two");
}

/// PUBREC, then PUBREL, then PUBCOMP, all with the identifier of the PUBLISH.
pub(crate) fn qos_2_is_completed_by_pubrel(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    connect(version).open().publish(&topic, "payload", 2);
    let publish = subscriber.receive_publish();
    subscriber.send(&Ack::pubrec(publish.id()));
    assert_eq!(subscriber.receive_pubrel().packet_id, publish.id());
    subscriber.send(&Ack::pubcomp(publish.id()));
    subscriber.expect_silence();
}

/// Acknowledgements of publications that were sent in one go come in the order of these.
pub(crate) fn acknowledgements_come_in_order(version: Version) {
    let topic = topic();
    let mut client = connect(version).open();
    let identifiers = [9, 3, 7, 1, 5];
    for id in identifiers {
        client.send(&Publish::new(&topic, "payload").qos_1(id));
    }
    assert_eq!(identifiers.map(|_| client.receive_puback().packet_id), identifiers);
    for id in identifiers {
        client.send(&Publish::new(&topic, "payload").qos_2(id));
    }
    assert_eq!(identifiers.map(|_| client.receive_pubrec().packet_id), identifiers);
}

/// PUBREL packets come in the order of the PUBREC packets, even if that is not the order of the
/// PUBLISH packets.
pub(crate) fn pubrel_comes_in_the_order_of_pubrec(version: Version) {
    let topic = topic();
    let mut subscriber = subscriber(version, &topic, 2);
    let mut publisher = connect(version).open();
    let published = ["0", "1", "2"].map(|payload| {
        publisher.publish(&topic, payload, 2);
        subscriber.receive_publish().id()
    });
    let [first, second, third] = published;
    let received = [third, first, second];
    for id in received {
        subscriber.send(&Ack::pubrec(id));
    }
    assert_eq!(received.map(|_| subscriber.receive_pubrel().packet_id), received);
    for id in received {
        subscriber.send(&Ack::pubcomp(id));
    }
}

/// Messages of one publisher on one topic, sent without waiting, arrive in order.
pub(crate) fn messages_arrive_in_order(version: Version) {
    for qos in 0..=2 {
        let topic = topic();
        let mut subscriber = subscriber(version, &topic, 2);
        let mut publisher = connect(version).open();
        for id in 1..=15 {
            let publish = Publish::new(&topic, id.to_string());
            publisher.send(&match qos {
                0 => publish,
                1 => publish.qos_1(id),
                _ => publish.qos_2(id),
            });
        }
        if qos == 2 {
            for id in 1..=15 {
                publisher.receive_pubrec();
                publisher.send(&Ack::pubrel(id));
            }
        }
        for id in 1..=15 {
            assert_eq!(subscriber.receive_message().text(), id.to_string());
        }
    }
}

/// Messages that are sent without waiting, and that wait for a Session, keep their order.
pub(crate) fn stored_messages_arrive_in_order(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 1);
    client.disconnect();
    let mut publisher = connect(version).open();
    for index in 1..=15 {
        publisher.send(&Publish::new(&topic, index.to_string()).qos_1(index));
    }
    for _ in 1..=15 {
        publisher.receive_puback();
    }
    let mut resumed = persistent(version, &id).open();
    for index in 1..=15 {
        assert_eq!(resumed.receive_message().text(), index.to_string());
    }
}
