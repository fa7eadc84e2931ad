//! MQTT over QUIC with several streams, as docs/quic.md describes it, through real sockets.

mod connections;
mod link;
mod place;

use midge_broker::{DropReason, Limits, QoS, QuicOptions};
use midge_codec::{Packet, PacketType};

use self::link::CONTROL;
use self::place::Place;
use crate::client::{Client, Received, acknowledgement};
use crate::support::{counters, dropped, until, usage};

#[test]
fn one_stream_is_enough() {
    let place = Place::new(1);
    let mut link = place.connect("c");
    link.subscribe(CONTROL, "t", QoS::ExactlyOnce);
    link.publish_acknowledged(CONTROL, "t", b"1");
    assert_eq!(link.text(CONTROL), "1");
    let large = "x".repeat(700_000);
    link.publish(CONTROL, "t", large.as_bytes(), QoS::AtMostOnce);
    assert!(link.text(CONTROL) == large);
}

#[test]
fn answers_and_messages_come_on_their_streams() {
    let place = Place::new(2);
    let mut link = place.connect("c");
    let streams = [link.open_stream(), link.open_stream(), CONTROL];
    for (number, stream) in streams.into_iter().enumerate() {
        link.subscribe(stream, &format!("t/{number}"), QoS::AtLeastOnce);
    }
    let mut publisher = Client::connect(place.tcp, "p");
    for round in 0..3 {
        for number in 0..3 {
            let (topic, payload) = (format!("t/{number}"), format!("{number} {round}"));
            publisher.publish_acknowledged(&topic, payload.as_bytes());
        }
    }
    for (number, stream) in streams.into_iter().enumerate() {
        for round in 0..3 {
            assert_eq!(link.text(stream), format!("{number} {round}"));
        }
    }
    // From one data stream to the other, at both levels of QoS that ask for an answer.
    link.publish_acknowledged(streams[0], "t/1", b"across");
    assert_eq!(link.text(streams[1]), "across");
    let id = link.publish(streams[1], "t/0", b"once", QoS::ExactlyOnce);
    assert!(matches!(link.receive(streams[1]), Received::Ack { kind: PacketType::PubRec, .. }));
    link.send(streams[1], &acknowledgement(PacketType::PubRel, id));
    assert!(matches!(link.receive(streams[1]), Received::Ack { kind: PacketType::PubComp, .. }));
    assert_eq!(link.text(streams[0]), "once");
    assert_eq!(link.waiting(CONTROL), []);
    let (usage, counters) = (usage(&place.broker), counters(&place.broker));
    assert_eq!((usage.connections, counters.connections_opened), (2, 2), "streams do not count");
}

#[test]
fn what_an_ended_stream_had_under_way_comes_again_on_the_control_stream() {
    let place = Place::new(1);
    let mut publisher = Client::connect(place.tcp, "p");
    for ends_by_reset in [false, true] {
        let mut link = place.connect("c");
        let stream = link.open_stream();
        link.subscribe(stream, "t", QoS::AtLeastOnce);
        for payload in [b"1", b"2"] {
            publisher.publish_acknowledged("t", payload);
        }
        for expected in [b"1", b"2"] {
            let Received::Publish(message) = link.receive(stream) else { panic!("no PUBLISH") };
            assert_eq!((&message.payload[..], message.dup), (&expected[..], false));
        }
        match ends_by_reset {
            true => link.reset(stream),
            false => link.finish(stream),
        }
        for expected in [b"1", b"2"] {
            let message = link.message(CONTROL);
            assert_eq!((&message.payload[..], message.dup), (&expected[..], true));
        }
        if !ends_by_reset {
            assert_eq!(link.receive(stream), Received::Closed, "the broker ends its side, too");
        }
        publisher.publish_acknowledged("t", b"3");
        assert_eq!(link.text(CONTROL), "3");
    }
}

#[test]
fn the_last_answers_leave_a_stream_that_was_finished() {
    let place = Place::new(1);
    let mut link = place.connect("c");
    for number in 0..20 {
        let stream = link.open_stream();
        let id = link.publish(stream, "t", &[number], QoS::AtLeastOnce);
        link.finish(stream);
        let answer = link.receive(stream);
        assert!(matches!(answer, Received::Ack { id: other, .. } if other == id), "{answer:?}");
        assert_eq!(link.receive(stream), Received::Closed);
    }
}

#[test]
fn an_error_resets_its_stream_with_the_reason_code() {
    let place = Place::new(1);
    let mut link = place.connect("c");
    let [malformed, misplaced, good] = [(); 3].map(|()| link.open_stream());
    link.send_bytes(malformed, &[0x00, 0x00]);
    assert!(link.failure(malformed).contains("code 129"), "0x81");
    link.send(misplaced, &Packet::PingReq);
    assert!(link.failure(misplaced).contains("code 130"), "0x82");
    link.publish_acknowledged(good, "t", b"1");
    link.ping();
    let next = link.open_stream();
    link.publish_acknowledged(next, "t", b"2");
}

#[test]
fn a_packet_that_is_too_large_ends_its_stream_only() {
    let limits = Limits { packet_bytes_max: 10_000, ..Limits::default() };
    let place = Place::with(1, QuicOptions::default(), |builder| builder.limits(limits));
    let mut link = place.connect("c");
    let stream = link.open_stream();
    link.publish(stream, "t", &[0; 20_000], QoS::AtMostOnce);
    assert!(link.failure(stream).contains("code 149"), "0x95");
    link.ping();
}

#[test]
fn no_more_data_streams_than_the_listener_has() {
    let options = QuicOptions { data_streams_max: 2, ..QuicOptions::default() };
    let place = Place::with(1, options, |builder| builder);
    let mut link = place.connect("c");
    let [first, second] = [(); 2].map(|()| link.open_stream());
    for stream in [first, second] {
        link.publish_acknowledged(stream, "t", b"1");
    }
    assert_eq!(link.try_open_stream(), None);
    link.ping();
    assert_eq!(link.try_open_stream(), None, "that is no error: there is just none left");
    link.finish(first);
    let third = link.open_stream();
    link.publish_acknowledged(third, "t", b"2");
}

#[test]
fn a_data_stream_that_is_not_read_holds_up_no_other() {
    let limits = Limits { output_bytes_max: 50_000, ..Limits::default() };
    let place = Place::with(1, QuicOptions::default(), |builder| builder.limits(limits));
    let mut link = place.connect("c");
    let [slow, lossy, quick] = [(); 3].map(|()| link.open_stream());
    link.subscribe(slow, "slow", QoS::AtLeastOnce);
    link.subscribe(lossy, "lossy", QoS::AtMostOnce);
    link.subscribe(quick, "quick", QoS::AtLeastOnce);
    link.set_reading(slow, false);
    link.set_reading(lossy, false);
    let mut publisher = Client::connect(place.tcp, "p");
    let payload = |number: u8| vec![number; 20_000];
    for number in 0..30 {
        publisher.publish_acknowledged("slow", &payload(number));
        publisher.publish_acknowledged("lossy", &payload(number));
        publisher.publish_acknowledged("quick", &payload(number));
        assert!(link.message(quick).payload == payload(number));
    }
    assert!(dropped(&place.broker, DropReason::SlowConsumer) > 0, "of QoS 0");
    link.ping();
    link.set_reading(slow, true);
    for number in 0..30 {
        assert!(link.message(slow).payload == payload(number), "{number}");
    }
}

#[test]
fn the_end_of_the_control_stream_is_the_end_of_all() {
    let place = Place::new(1);
    let mut link = place.connect("c");
    let stream = link.open_stream();
    link.publish_acknowledged(stream, "t", b"1");
    link.finish(CONTROL);
    assert_eq!(link.receive(CONTROL), Received::Closed);
    assert_eq!(link.receive(stream), Received::Closed);
    until("nothing is left", || usage(&place.broker).connections == 0);
}
