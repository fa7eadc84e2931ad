//! Will Messages: when and how they are published, and when not.

use midge_conformance::connect::connect;
use midge_conformance::reason::{KEEP_ALIVE_TIMEOUT, MALFORMED_PACKET};
use midge_conformance::{Fence, Version, Will, client_id, topic};

use super::{forget, subscriber};

pub(crate) fn will_is_published_when_the_connection_breaks(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    connect(version).will(Will::new(&topic, "gone")).open().abandon();
    let will = observer.receive_publish();
    assert_eq!((will.topic.as_str(), will.text()), (topic.as_str(), "gone"));
}

/// The client ends as a killed process does: the carrier does not announce it either.
pub(crate) fn will_is_published_when_the_client_dies(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    connect(version).will(Will::new(&topic, "dead")).open().cut();
    assert_eq!(observer.receive_publish().text(), "dead");
}

pub(crate) fn will_is_published_when_the_broker_ends_the_connection(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    let mut client = connect(version).will(Will::new(&topic, "offended")).open();
    client.send_bytes(&[0x30, 0x03, 0x00, 0x05, b'a']);
    client.expect_error(MALFORMED_PACKET);
    assert_eq!(observer.receive_publish().text(), "offended");
}

pub(crate) fn will_is_published_when_the_client_falls_silent(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    let will = Will::new(&topic, "silent");
    let mut client = connect(version).keep_alive_seconds(1).will(will).open();
    client.expect_error(KEEP_ALIVE_TIMEOUT);
    assert_eq!(observer.receive_publish().text(), "silent");
}

pub(crate) fn will_has_its_qos(version: Version) {
    for qos in 0..=2 {
        let topic = topic();
        let mut observer = subscriber(version, &topic, 2);
        connect(version).will(Will::new(&topic, "gone").qos(qos)).open().abandon();
        assert_eq!(observer.receive_message().qos, qos);
    }
}

pub(crate) fn will_is_dropped_by_disconnect(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    let fence = Fence::for_subscriber(&mut observer);
    connect(version).will(Will::new(&topic, "gone")).open().disconnect();
    fence.expect_nothing(&mut connect(version).open(), &mut observer);
}

pub(crate) fn will_is_published_only_once(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(version, &topic, 0);
    let fence = Fence::for_subscriber(&mut observer);
    connect(version).client_id(&id).will(Will::new(&topic, "gone")).open().abandon();
    assert_eq!(observer.receive_publish().text(), "gone");
    connect(version).client_id(&id).open().abandon();
    fence.expect_nothing(&mut connect(version).open(), &mut observer);
}

/// A client without a Will Message leaves nothing behind, however it ends.
pub(crate) fn nothing_is_published_without_a_will(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(version, &topic, 0);
    let fence = Fence::for_subscriber(&mut observer);
    connect(version).client_id(&id).will(Will::new(&topic, "gone")).open().disconnect();
    connect(version).client_id(&id).open().abandon();
    fence.expect_nothing(&mut connect(version).open(), &mut observer);
}

pub(crate) fn will_without_retain_is_not_retained(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    connect(version).will(Will::new(&topic, "gone")).open().abandon();
    assert!(!observer.receive_publish().retain, "RETAIN on a Will Message without it");
    subscriber(version, &topic, 0).expect_silence();
}

pub(crate) fn will_with_retain_is_retained(version: Version) {
    let topic = topic();
    let mut observer = subscriber(version, &topic, 0);
    connect(version).will(Will::new(&topic, "gone").retained()).open().abandon();
    assert_eq!(observer.receive_publish().text(), "gone");
    let mut late = subscriber(version, &topic, 0);
    let retained = late.receive_publish();
    assert_eq!((retained.text(), retained.retain), ("gone", true));
    forget(version, &topic);
}
