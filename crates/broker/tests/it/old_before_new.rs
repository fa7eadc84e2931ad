//! What a Client has said on an old connection counts before its next CONNECT.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midge_broker::{Broker, Hook, Identity, ProtocolVersion, QoS, Storage};
use midge_codec::{
    Disconnect, Packet, PacketIdentifier, PacketType, PublishProperties, ReasonCode, Subscribe,
    Subscription, SubscriptionOptions, TopicName, Will,
};

use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::durability::gate::{GatedDisk, Pace};
use crate::support::{DEADLINE, address, broker, builder, counters, limited, until, usage};

/// More than the clock of the broker takes from one reading to the next.
const CLOCK: Duration = Duration::from_millis(2);

/// Holds a worker in the middle of a turn whenever somebody publishes to `gate`.
struct Gate {
    reached: Mutex<Sender<()>>,
    opened: Mutex<Receiver<()>>,
}

impl Hook for Gate {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        if topic == "gate" {
            self.reached.lock().unwrap().send(()).unwrap();
            self.opened.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        true
    }
}

/// The old connection sends, then the new one, while the worker is busy in a turn. In that turn it
/// has found the new connection readable, because of a part of its CONNECT, but not the old one.
#[test]
fn what_comes_by_an_old_connection_after_the_look_at_the_sockets_counts_before_a_connect() {
    let ((reached, is_reached), (open, opened)) = (channel(), channel());
    let hook = Gate { reached: Mutex::new(reached), opened: Mutex::new(opened) };
    let broker = builder(1).hook(Arc::new(hook)).start().unwrap();
    let mut watcher = Client::connect(address(&broker), "watcher");
    watcher.subscribe("#", QoS::AtMostOnce);
    let mut connect = connect_packet(version(), "same");
    connect.will = Some(will());
    let mut old = Client::open(address(&broker)).connected(&connect);
    let mut gates = ["first gate", "second gate"].map(|it| Client::connect(address(&broker), it));
    let mut new = Client::open(address(&broker));
    until("all have come", || counters(&broker).connections_opened == 5);
    let connect = connect_bytes("same");
    let (beginning, rest) = connect.split_at(4);

    gates[0].publish("gate", b"", QoS::AtMostOnce);
    is_reached.recv_timeout(DEADLINE).unwrap();
    gates[1].publish("gate", b"", QoS::AtMostOnce);
    new.send_bytes(beginning);
    open.send(()).unwrap();
    is_reached.recv_timeout(DEADLINE).unwrap();
    let goodbye = Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success));
    let goodbye = bytes_of(&goodbye, version());
    old.send_bytes(&[publish_packet_bytes("last/words"), goodbye].concat());
    new.send_bytes(&[rest, &publish_packet_bytes("first/words")].concat());
    open.send(()).unwrap();

    let topics = [(); 4].map(|()| watcher.message().topic);
    assert_eq!(topics, ["gate", "gate", "last/words", "first/words"]);
}

/// While one CONNACK waits for the disk, the next CONNECT waits for that CONNACK.
#[test]
fn connects_of_a_stored_session_are_all_answered_though_syncs_take_time() {
    const COUNT: usize = 6;
    let disk = GatedDisk::new(FaultyDisk::new(1));
    let storage = Storage::on_disk(Arc::new(disk.clone()));
    let broker = builder(1).storage(storage).start().unwrap();
    let old = Client::connect_for_long(address(&broker), "same");
    disk.slow_down(Pace::each(8));
    let mut connect = connect_packet(version(), "same");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    let connect = bytes_of(&Packet::Connect(Box::new(connect)), version());
    let mut between: Vec<_> = (0..COUNT).map(|_| Client::open(address(&broker))).collect();
    between.iter_mut().for_each(|client| client.send_bytes(&connect));
    let mut last = Client::connect_for_long(address(&broker), "same");
    between.iter_mut().for_each(assert_taken_over);
    last.ping();
    drop(old);
}

/// A CONNACK that waits for the disk has not let anybody in: a Client that goes meanwhile leaves no
/// Will Message, and the end is not learned only when the disk goes on.
#[test]
fn a_client_that_goes_while_its_connack_waits_for_the_disk_has_never_been_there() {
    for (workers, is_old_there) in [(1, false), (1, true), (2, true)] {
        let disk = GatedDisk::new(FaultyDisk::new(1));
        let storage = Storage::on_disk(Arc::new(disk.clone()));
        let broker = builder(workers).storage(storage).start().unwrap();
        let mut watcher = Client::connect(address(&broker), "watcher");
        watcher.subscribe("will/#", QoS::AtMostOnce);
        let old = Client::connect_for_long(address(&broker), "same");
        let _old = match is_old_there {
            true => Some(old),
            false => {
                old.disconnect();
                None
            }
        };
        let stall = disk.stall();
        let mut connect = connect_packet(version(), "same");
        (connect.clean_start, connect.will) = (false, Some(will()));
        connect.properties.session_expiry_interval = Some(3600);
        let mut brief = Client::open(address(&broker));
        brief.send_bytes(&bytes_of(&Packet::Connect(Box::new(connect)), version()));
        until("the CONNECT is taken", || {
            counters(&broker).packets_received[PacketType::Connect as usize] == 3
        });
        brief.shutdown_write();
        until("its end is noticed", || usage(&broker).connections == 1);
        drop(stall);
        watcher.publish("will/none", b"", QoS::AtMostOnce);
        assert_eq!(watcher.message().topic, "will/none", "{workers} {is_old_there}");
        assert_eq!(brief.receive(), Received::Closed);
    }
}

/// Connections that are gone before they are looked at.
const GONE: u64 = 600;

#[test]
fn a_disconnect_behind_much_else_counts_before_a_connect_of_the_same_client() {
    for workers in [1, 2] {
        let broker = broker(workers);
        let mut watcher = Client::connect(address(&broker), "watcher");
        watcher.subscribe("will/#", QoS::AtMostOnce);
        let _groups = busy_subscriber(&broker);
        let message = busy_message();
        let goodbye =
            bytes_of(&Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)), version());
        let mut connect = connect_packet(version(), "same");
        connect.will = Some(will());
        let mut old = Client::open(address(&broker)).connected(&connect);
        for round in 0..4 {
            old.send_bytes(&[message.repeat(500), goodbye.clone()].concat());
            let mut new = Client::open(address(&broker)).connected(&connect);
            new.publish("will/none", &[round], QoS::AtMostOnce);
            let first = watcher.message();
            assert_eq!((&*first.topic, &*first.payload), ("will/none", &[round][..]), "{workers}");
            old = new;
        }
    }
}

#[test]
fn a_disconnect_behind_a_packet_that_takes_many_turns_counts_before_a_connect() {
    for workers in [1, 2] {
        let broker = broker(workers);
        let mut watcher = Client::connect(address(&broker), "watcher");
        watcher.subscribe("will/#", QoS::AtMostOnce);
        let filters: Vec<_> = (0..20_000).map(|number| format!("many/{number}")).collect();
        let options = SubscriptionOptions::default();
        let entries: Vec<_> =
            filters.iter().map(|filter| Subscription { filter, options }).collect();
        let subscribe = Packet::Subscribe(Subscribe {
            packet_id: PacketIdentifier::new(1).unwrap(),
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: entries[..].into(),
        });
        let goodbye = Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success));
        let last = [bytes_of(&subscribe, version()), bytes_of(&goodbye, version())].concat();
        let mut connect = connect_packet(version(), "same");
        connect.will = Some(will());
        let mut old = Client::open(address(&broker)).connected(&connect);
        for round in 0..4 {
            old.send_bytes(&last);
            let mut new = Client::open(address(&broker)).connected(&connect);
            new.publish("will/none", &[round], QoS::AtMostOnce);
            let first = watcher.message();
            assert_eq!((&*first.topic, &*first.payload), ("will/none", &[round][..]), "{workers}");
            old = new;
        }
    }
}

/// All CONNECTs that wait for the same old connection are served in the turn in which the broker
/// has read that connection to its end: not each in a turn of its own, which would be too late for
/// the last ones.
#[test]
fn the_ends_of_many_connections_count_before_the_connects_behind_them() {
    let broker = broker(1);
    let _groups = busy_subscriber(&broker);
    connect_and_go(&broker);
    until("all have come", || counters(&broker).connections_opened == GONE + 2);
    until("all have gone", || usage(&broker).connections == 1);
    // If this thread was slow, the broker may have seen some connections before they went.
    let taken_over = counters(&broker).sessions_taken_over;
    assert!(taken_over < GONE / 10, "{taken_over}");
}

/// The Session is left to the Client that connected last, however many wait before it.
#[test]
fn the_last_of_many_connects_behind_an_old_connection_is_accepted_last() {
    let broker = broker(1);
    let _groups = busy_subscriber(&broker);
    connect_and_go(&broker);
    let mut last = Client::connect(address(&broker), "same");
    until("all others have gone", || usage(&broker).connections == 2);
    last.ping();
}

#[test]
fn a_client_that_connects_twice_behind_its_busy_connection_keeps_the_last_one() {
    let broker = broker(1);
    let _groups = busy_subscriber(&broker);
    let connect = connect_bytes("same");
    let mut old = Client::connect(address(&broker), "same");
    for round in 0..12 {
        old.send_bytes(&busy_message().repeat(300 + 40 * round));
        let mut between = Client::open(address(&broker));
        between.send_bytes(&connect);
        let mut last = Client::connect(address(&broker), "same");
        assert_taken_over(&mut between);
        last.ping();
        old = last;
    }
}

/// Half a packet may be followed by the rest: the broker waits for it, but not forever. That wait
/// ends once for the whole line, not for one CONNECT after the other.
#[test]
fn connects_behind_a_connection_that_is_held_back_keep_their_order() {
    const BETWEEN: usize = 20;
    let broker = broker(1);
    let connect = connect_bytes("same");
    let mut old = Client::connect(address(&broker), "same");
    old.send_bytes(&busy_message()[..3]);
    let mut between: Vec<_> = (0..BETWEEN).map(|_| Client::open(address(&broker))).collect();
    for client in &mut between {
        client.send_bytes(&connect);
    }
    let mut last = Client::connect(address(&broker), "same");
    between.iter_mut().for_each(assert_taken_over);
    last.ping();
    assert_eq!(old.receive(), Received::Disconnect(ReasonCode::SessionTakenOver));
    assert_eq!(counters(&broker).sessions_taken_over, BETWEEN as u64 + 1);
}

/// To the CONNECT after it, each connection is an old one with half a packet. The whole line waits
/// for that only once, and a CONNECT that was complete in time is in time.
#[test]
fn half_a_packet_behind_each_connect_holds_none_of_them_up_for_long() {
    const BETWEEN: usize = 40;
    let broker = limited(|limits| limits.connect_deadline_ms = 1000);
    let connect_and_half = [&connect_bytes("same")[..], &busy_message()[..3]].concat();
    let mut between: Vec<_> = (0..BETWEEN).map(|_| Client::open(address(&broker))).collect();
    for client in &mut between {
        client.send_bytes(&connect_and_half);
    }
    let mut last = Client::connect(address(&broker), "same");
    between.iter_mut().for_each(assert_taken_over);
    last.ping();
}

#[test]
fn a_complete_connect_is_in_time_however_long_it_waits_for_an_old_connection() {
    let broker = limited(|limits| limits.connect_deadline_ms = 100);
    let mut old = Client::connect(address(&broker), "same");
    old.send_bytes(&busy_message()[..3]);
    let mut new = Client::connect(address(&broker), "same");
    new.ping();
}

/// A CONNECT whose Client has gone while it waited has no effect: it does not take the old
/// connection over, and neither Will Message is published.
#[test]
fn a_connect_that_was_given_up_while_it_waited_takes_nothing_over() {
    for workers in [1, 2] {
        let broker = broker(workers);
        let mut watcher = Client::connect(address(&broker), "watcher");
        watcher.subscribe("will/#", QoS::AtMostOnce);
        let mut connect = connect_packet(version(), "same");
        connect.will = Some(will());
        let mut old = Client::open(address(&broker)).connected(&connect);
        let publish = busy_message();
        old.send_bytes(&publish[..3]);
        let mut new = Client::open(address(&broker));
        new.send(&Packet::Connect(Box::new(connect)));
        drop(new);
        until("it has come", || counters(&broker).connections_opened >= 3);
        until("it has gone", || usage(&broker).connections == 2);
        old.send_bytes(&publish[3..]);
        old.ping();
        old.publish("will/none", b"", QoS::AtMostOnce);
        assert_eq!(watcher.message().topic, "will/none");
        assert_eq!(counters(&broker).sessions_taken_over, 0);
    }
}

/// A worker is busy while a connection comes, says CONNECT and DISCONNECT, and goes. Meanwhile its
/// Client connects again by the other worker: that connection stays.
#[test]
fn one_who_has_left_before_throws_out_nobody_who_came_later() {
    let ((reached, is_reached), (open, opened)) = (channel(), channel());
    let hook = Gate { reached: Mutex::new(reached), opened: Mutex::new(opened) };
    let broker = builder(2).hook(Arc::new(hook)).start().unwrap();
    let mut gate = Client::connect(address(&broker), "gate");
    let _other = Client::connect(address(&broker), "other");
    gate.publish("gate", b"", QoS::AtMostOnce);
    is_reached.recv_timeout(DEADLINE).unwrap();
    // The workers have as many connections, and the first one, which is busy, gets the next.
    let goodbye = Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success));
    let goodbye = bytes_of(&goodbye, version());
    Client::open(address(&broker)).send_bytes(&[connect_bytes("same"), goodbye].concat());
    until("it is accepted", || broker.handle().workers()[0].1 == 2);
    std::thread::sleep(CLOCK);
    let mut later = Client::connect(address(&broker), "same");
    open.send(()).unwrap();
    gate.ping();
    until("the earlier one is gone", || usage(&broker).connections == 3);
    later.ping();
    let counters = counters(&broker);
    assert_eq!((counters.connections_opened, counters.sessions_taken_over), (4, 0));
}

/// A Client may send everything and go while its CONNECT waits. What it has sent is handled,
/// whether it arrived with the CONNECT or later.
#[test]
fn what_was_sent_behind_a_connect_that_waited_counts_though_its_sender_has_gone() {
    for (workers, is_in_one_piece) in [(1, true), (1, false), (2, true), (2, false)] {
        let broker = broker(workers);
        let mut watcher = Client::connect(address(&broker), "watcher");
        watcher.subscribe("last/#", QoS::AtMostOnce);
        let mut old = Client::connect(address(&broker), "same");
        old.send_bytes(&busy_message()[..3]);
        let (connect, publish) = (connect_bytes("same"), publish_packet_bytes("last/words"));
        let before = counters(&broker).bytes_received;
        let mut new = Client::open(address(&broker));
        if is_in_one_piece {
            new.send_bytes(&[connect, publish].concat());
        } else {
            new.send_bytes(&connect);
            let due = before + connect.len() as u64;
            until("the CONNECT has come", || counters(&broker).bytes_received >= due);
            new.send_bytes(&publish);
        }
        drop(new);
        assert_eq!(watcher.message().topic, "last/words");
    }
}

/// Even when a line's time for unreadable input is over, readable input is still read.
#[test]
fn one_who_was_let_in_from_a_line_is_heard_out_before_the_next_one() {
    let broker = broker(1);
    let mut watcher = Client::connect(address(&broker), "watcher");
    watcher.subscribe("will/#", QoS::AtMostOnce);
    let _groups = busy_subscriber(&broker);
    let mut old = Client::connect(address(&broker), "same");
    old.send_bytes(&busy_message()[..3]);
    let mut connect = connect_packet(version(), "same");
    connect.will = Some(will());
    let connect = bytes_of(&Packet::Connect(Box::new(connect)), version());
    let goodbye = Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success));
    let mut between = Client::open(address(&broker));
    between.send_bytes(&[connect, busy_message().repeat(1000)].concat());
    between.send_bytes(&bytes_of(&goodbye, version()));
    let mut last = Client::connect(address(&broker), "same");
    last.publish("will/none", b"", QoS::AtMostOnce);
    assert_eq!(watcher.message().topic, "will/none");
}

/// Opens [`GONE`] connections of one Client, which does not wait for answers; the first connection
/// has much to say.
fn connect_and_go(broker: &Broker) {
    let mut first = Client::connect(address(broker), "same");
    first.send_bytes(&busy_message().repeat(1000));
    drop(first);
    let connect = connect_bytes("same");
    for _ in 0..GONE {
        Client::open(address(broker)).send_bytes(&connect);
    }
}

/// Asserts that the Client was accepted and then lost its Session to the next one.
fn assert_taken_over(client: &mut Client) {
    let accepted = client.receive();
    assert!(
        matches!(accepted, Received::ConnAck { code: ReasonCode::Success, .. }),
        "{accepted:?}"
    );
    assert_eq!(client.receive(), Received::Disconnect(ReasonCode::SessionTakenOver));
}

fn connect_bytes(client_id: &str) -> Vec<u8> {
    bytes_of(&Packet::Connect(Box::new(connect_packet(version(), client_id))), version())
}

/// Connects a subscriber to which each [`busy_message`] is much work: a few of them fill a turn.
fn busy_subscriber(broker: &Broker) -> Client {
    let mut groups = Client::connect(address(broker), "groups");
    for number in 0..150 {
        groups.subscribe(&format!("$share/g{number}/t"), QoS::AtMostOnce);
    }
    groups
}

fn busy_message() -> Vec<u8> {
    bytes_of(&publish_packet("t", b"x", QoS::AtMostOnce, None), version())
}

fn publish_packet_bytes(topic: &str) -> Vec<u8> {
    bytes_of(&publish_packet(topic, b"", QoS::AtMostOnce, None), version())
}

fn version() -> ProtocolVersion {
    ProtocolVersion::V5
}

fn will() -> Will<'static> {
    Will {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: TopicName::new("will/published").expect("a topic"),
        payload: b"though it sent DISCONNECT",
        delay_interval_seconds: None,
        properties: PublishProperties::default(),
    }
}
