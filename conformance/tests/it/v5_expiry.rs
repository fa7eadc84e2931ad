//! MQTT 5.0: the effects of time on messages, Sessions and Will Messages.
//!
//! Intervals are a second long, so a test waits for little more than that.

use std::time::{Duration, Instant};

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::property::{MESSAGE_EXPIRY_INTERVAL, SESSION_EXPIRY_INTERVAL, number};
use midge_conformance::reason::{DISCONNECT_WITH_WILL_MESSAGE, PROTOCOL_ERROR, SESSION_TAKEN_OVER};
use midge_conformance::{
    Ack, Connect, Disconnect, Fence, Packet, Publish, Will, client_id, target, topic,
};

use crate::scenario::{let_a_second_pass, subscriber};

fn expiring(topic: &str, payload: &str, seconds: u32) -> Publish {
    Publish::new(topic, payload).with(number(MESSAGE_EXPIRY_INTERVAL, seconds))
}

fn session_of(seconds: u32) -> Connect {
    v5().with(number(SESSION_EXPIRY_INTERVAL, seconds))
}

/// [MQTT-3.3.2-5]
#[test]
fn mqtt5_3_3_2_5_expired_message_is_deleted() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).open();
    client.subscribe(&topic, 1);
    client.disconnect();
    let mut publisher = v5().open();
    publisher.publish_packet(expiring(&topic, "short", 1), 1);
    publisher.publish_packet(expiring(&topic, "long", 60), 1);
    let_a_second_pass();
    let mut resumed = persistent(V5, &id).open();
    assert_eq!(resumed.receive_message().text(), "long");
    resumed.expect_silence();
}

/// [MQTT-3.3.2-5]
#[test]
fn mqtt5_3_3_2_5_expired_retained_message_is_deleted() {
    let topic = topic();
    v5().open().publish_packet(expiring(&topic, "short", 1).retained(), 1);
    let_a_second_pass();
    subscriber(V5, &topic, 1).expect_silence();
}

/// [MQTT-3.3.2-6]
#[test]
fn mqtt5_3_3_2_6_message_expiry_counts_down() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).open();
    client.subscribe(&topic, 1);
    client.disconnect();
    v5().open().publish_packet(expiring(&topic, "waiting", 60), 1);
    let_a_second_pass();
    let message = persistent(V5, &id).open().receive_message();
    let left = message.properties.number(MESSAGE_EXPIRY_INTERVAL).expect("an interval is left");
    assert!((57..=59).contains(&left), "{left} of 60 seconds left after a second and a bit");
}

/// [MQTT-3.3.2-6]
#[test]
fn mqtt5_3_3_2_6_message_expiry_is_forwarded_at_once() {
    let topic = topic();
    let mut client = subscriber(V5, &topic, 1);
    v5().open().publish_packet(expiring(&topic, "live", 60), 1);
    let left = client.receive_message().properties.number(MESSAGE_EXPIRY_INTERVAL);
    assert!(matches!(left, Some(59..=60)), "{left:?} of 60 seconds left at once");
}

/// [MQTT-4.3.3-7]
#[test]
fn mqtt5_4_3_3_7_expiry_does_not_touch_what_was_sent() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).open();
    client.subscribe(&topic, 2);
    v5().open().publish_packet(expiring(&topic, "sent", 1), 2);
    let sent = client.receive_publish();
    client.abandon();
    let_a_second_pass();
    let mut resumed = persistent(V5, &id).open();
    let again = resumed.receive_publish();
    assert_eq!((again.packet_id, again.dup, again.text()), (sent.packet_id, true, "sent"));
    resumed.acknowledge(&again);
}

/// [MQTT-4.3.3-13]
#[test]
fn mqtt5_4_3_3_13_acknowledgements_go_on_after_expiry() {
    let mut publisher = v5().open();
    publisher.send(&expiring(&topic(), "expiring", 1).qos_2(7));
    assert_eq!(publisher.receive_pubrec().packet_id, 7);
    let_a_second_pass();
    publisher.send(&Ack::pubrel(7));
    let pubcomp = publisher.receive_pubcomp();
    assert_eq!((pubcomp.packet_id, pubcomp.reason), (7, 0));
}

/// [MQTT-3.1.2-23]
#[test]
fn mqtt5_3_1_2_23_session_is_kept_until_it_expires() {
    let id = client_id();
    session_of(30).client_id(&id).open().abandon();
    let (_, connack) = session_of(0).client_id(&id).clean(false).open_with_connack();
    assert!(connack.session_present, "the Session did not wait for its expiry");
}

/// [MQTT-4.1.0-2]
#[test]
fn mqtt5_4_1_0_2_session_is_discarded_when_it_expires() {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(V5, &topic, 0);
    // The Session ends before the Will Delay Interval has passed, which publishes the Will Message.
    let will = Will::new(&topic, "ended").delay_seconds(60);
    session_of(1).client_id(&id).will(will).open().abandon();
    assert_eq!(observer.receive_publish().text(), "ended");
    let (_, connack) = session_of(0).client_id(&id).clean(false).open_with_connack();
    assert!(!connack.session_present, "the Session outlived its expiry");
}

/// [MQTT-4.1.0-1]
///
/// The interval runs from the end of the connection, not from its beginning.
#[test]
fn mqtt5_4_1_0_1_session_does_not_expire_while_connected() {
    let (id, topic) = (client_id(), topic());
    let mut client = session_of(1).client_id(&id).open();
    client.subscribe(&topic, 1);
    let_a_second_pass();
    v5().open().publish(&topic, "still here", 1);
    assert_eq!(client.receive_message().text(), "still here");
    client.disconnect();
    let (_, connack) = session_of(1).client_id(&id).clean(false).open_with_connack();
    assert!(connack.session_present, "the Session expired with its connection open");
}

/// [MQTT-4.1.0-2] [MQTT-3.1.2-23]
#[test]
fn mqtt5_4_1_0_2_disconnect_may_change_the_expiry() {
    let id = client_id();
    let end_now = Disconnect::new().with(number(SESSION_EXPIRY_INTERVAL, 0));
    session_of(60).client_id(&id).open().disconnect_with(&end_now);
    let (client, connack) = session_of(60).client_id(&id).clean(false).open_with_connack();
    assert!(!connack.session_present, "DISCONNECT could not end the Session");
    client.disconnect_with(&Disconnect::new().with(number(SESSION_EXPIRY_INTERVAL, 30)));
    let (_, connack) = session_of(0).client_id(&id).clean(false).open_with_connack();
    assert!(connack.session_present, "DISCONNECT ended the Session");
}

/// [MQTT-4.13.1-1]
#[test]
fn mqtt5_4_13_1_1_disconnect_cannot_give_a_session_an_expiry() {
    let client = v5().open();
    let disconnect = Disconnect::new().with(number(SESSION_EXPIRY_INTERVAL, 60));
    match client.disconnect_with(&disconnect).as_slice() {
        [] => assert!(!target::is_strict(), "closed without a DISCONNECT"),
        [Packet::Disconnect(answer)] => assert_eq!(answer.reason, PROTOCOL_ERROR),
        other => panic!("expected DISCONNECT, received {other:?}"),
    }
}

/// [MQTT-3.1.2-8]
#[test]
fn mqtt5_3_1_2_8_will_waits_for_its_delay() {
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 0);
    session_of(60).will(Will::new(&topic, "gone").delay_seconds(1)).open().abandon();
    let start = Instant::now();
    assert_eq!(observer.receive_publish().text(), "gone");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(900), "published after {waited:?} of a second");
}

/// [MQTT-3.1.2-8]
#[test]
fn mqtt5_3_1_2_8_will_does_not_outwait_its_session() {
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 0);
    session_of(0).will(Will::new(&topic, "at once").delay_seconds(60)).open().abandon();
    assert_eq!(observer.receive_publish().text(), "at once");
    session_of(1).will(Will::new(&topic, "in a second").delay_seconds(60)).open().abandon();
    assert_eq!(observer.receive_publish().text(), "in a second");
}

/// [MQTT-3.1.3-9] [MQTT-3.1.2-8]
#[test]
fn mqtt5_3_1_3_9_reconnecting_in_time_drops_the_will() {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(V5, &topic, 0);
    let fence = Fence::for_subscriber(&mut observer);
    let will = Will::new(&topic, "gone").delay_seconds(1);
    persistent(V5, &id).will(will).open().abandon();
    let _resumed = persistent(V5, &id).open();
    // Another Will Message with the same delay that starts later: the first one would have come
    // before it.
    session_of(60).will(Will::new(&topic, "later").delay_seconds(1)).open().abandon();
    assert_eq!(observer.receive_publish().text(), "later");
    fence.expect_nothing(&mut v5().open(), &mut observer);
}

/// [MQTT-3.1.2-8]
///
/// A connection that replaces another one with Clean Start ends the Session, and thereby the delay.
#[test]
fn mqtt5_3_1_2_8_clean_start_publishes_a_delayed_will() {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(V5, &topic, 0);
    let will = Will::new(&topic, "replaced").delay_seconds(60);
    persistent(V5, &id).will(will).open().abandon();
    v5().client_id(&id).open().disconnect();
    assert_eq!(observer.receive_publish().text(), "replaced");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.4-3]
#[test]
fn mqtt5_3_1_2_8_takeover_publishes_a_will_without_delay() {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(V5, &topic, 0);
    let mut first = persistent(V5, &id).will(Will::new(&topic, "taken over")).open();
    let _second = persistent(V5, &id).open();
    first.expect_error(SESSION_TAKEN_OVER);
    assert_eq!(observer.receive_publish().text(), "taken over");
}

/// [MQTT-3.1.2-8] [MQTT-3.14.4-3]
///
/// Only Reason Code 0x00 drops the Will Message.
#[test]
fn mqtt5_3_1_2_8_disconnect_with_will_publishes_it() {
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 0);
    let client = v5().will(Will::new(&topic, "asked for")).open();
    client.disconnect_with(&Disconnect::new().reason(DISCONNECT_WITH_WILL_MESSAGE));
    assert_eq!(observer.receive_publish().text(), "asked for");
}

/// [MQTT-3.1.2-7]
#[test]
fn mqtt5_3_1_2_7_will_of_an_expired_message_interval_is_forwarded_with_it() {
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 0);
    let will = Will::new(&topic, "gone").with(number(MESSAGE_EXPIRY_INTERVAL, 60));
    v5().will(will).open().abandon();
    let left = observer.receive_publish().properties.number(MESSAGE_EXPIRY_INTERVAL);
    assert!(matches!(left, Some(58..=60)), "{left:?} of 60 seconds");
}
