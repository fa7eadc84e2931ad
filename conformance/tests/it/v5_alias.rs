//! MQTT 5.0: Topic Aliases in both directions.

use std::collections::BTreeMap;

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::property::{TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM, number};
use midge_conformance::reason::{PROTOCOL_ERROR, TOPIC_ALIAS_INVALID};
use midge_conformance::{Client, Publish, client_id, topic};

use crate::scenario::subscriber;

fn aliased(topic: &str, payload: &str, alias: u32) -> Publish {
    Publish::new(topic, payload).with(number(TOPIC_ALIAS, alias))
}

/// Connects a client; also returns the Topic Alias Maximum that the broker gave it.
fn publisher() -> (Client, u32) {
    let (client, connack) = v5().open_with_connack();
    (client, connack.properties.number(TOPIC_ALIAS_MAXIMUM).unwrap_or(0))
}

/// [MQTT-3.3.2-12]
#[test]
fn mqtt5_3_3_2_12_every_alias_up_to_the_maximum_is_accepted() {
    let root = topic();
    let mut subscriber = subscriber(V5, &format!("{root}/#"), 0);
    let (mut publisher, maximum) = publisher();
    let aliases: Vec<_> =
        (1..=maximum.min(100)).chain((maximum > 100).then_some(maximum)).collect();
    for &alias in &aliases {
        publisher.send(&aliased(&format!("{root}/{alias}"), "set", alias));
        assert_eq!(subscriber.receive_publish().text(), "set");
    }
    for &alias in &aliases {
        publisher.send(&aliased("", "used", alias));
        let publish = subscriber.receive_publish();
        assert_eq!((publish.topic, publish.payload), (format!("{root}/{alias}"), b"used".to_vec()));
    }
}

/// [MQTT-3.3.2-12]
#[test]
fn mqtt5_3_3_2_12_alias_can_be_given_to_another_topic() {
    let (first, second) = (topic(), topic());
    let mut client = subscriber(V5, &first, 0);
    client.subscribe(&second, 0);
    let (mut publisher, maximum) = publisher();
    if maximum == 0 {
        return;
    }
    publisher.send(&aliased(&first, "one", 1));
    publisher.send(&aliased(&second, "two", 1));
    publisher.send(&aliased("", "three", 1));
    let topics = [&first, &second, &second];
    assert_eq!(topics.map(|_| client.receive_publish().topic), topics.map(Clone::clone));
}

/// [MQTT-3.3.2-8]
#[test]
fn mqtt5_3_3_2_8_alias_zero_is_an_error() {
    let mut client = v5().open();
    client.send(&aliased(&topic(), "payload", 0));
    client.expect_error(TOPIC_ALIAS_INVALID);
}

/// [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.2.2-18]
///
/// A broker that announces no maximum has a maximum of zero.
#[test]
fn mqtt5_3_3_2_9_alias_above_the_maximum_is_an_error() {
    let (mut client, maximum) = publisher();
    if maximum == 65_535 {
        return;
    }
    client.send(&aliased(&topic(), "payload", maximum + 1));
    client.expect_error(TOPIC_ALIAS_INVALID);
}

/// [MQTT-3.3.2-8]
#[test]
fn mqtt5_3_3_2_8_alias_never_set_is_an_error() {
    let mut client = v5().open();
    client.send(&aliased("", "payload", 1));
    client.expect_error_of(&[PROTOCOL_ERROR, TOPIC_ALIAS_INVALID]);
}

/// [MQTT-3.3.2-7]
#[test]
fn mqtt5_3_3_2_7_alias_is_forgotten_with_its_connection() {
    let id = client_id();
    let (mut first, maximum) = publisher();
    if maximum == 0 {
        return;
    }
    first.disconnect();
    first = persistent(V5, &id).open();
    first.send(&aliased(&topic(), "set", 1));
    first.expect_silence();
    first.disconnect();
    let mut second = persistent(V5, &id).open();
    second.send(&aliased("", "used", 1));
    second.expect_error_of(&[PROTOCOL_ERROR, TOPIC_ALIAS_INVALID]);
}

/// [MQTT-3.1.2-27] [MQTT-3.3.2-11]
#[test]
fn mqtt5_3_1_2_27_no_alias_without_a_maximum() {
    for connect in [v5(), v5().with(number(TOPIC_ALIAS_MAXIMUM, 0))] {
        let topic = topic();
        let mut client = connect.open();
        client.subscribe(&topic, 0);
        let mut publisher = v5().open();
        for _ in 0..5 {
            publisher.publish(&topic, "payload", 0);
            let publish = client.receive_publish();
            assert_eq!(publish.topic, topic);
            assert!(!publish.properties.has(TOPIC_ALIAS), "an alias for a client without any");
        }
    }
}

/// [MQTT-3.1.2-26] [MQTT-3.3.2-11]
///
/// With more topics than aliases, each message is understood by means of the aliases set before it.
#[test]
fn mqtt5_3_1_2_26_aliases_stay_within_the_maximum() {
    let root = topic();
    let mut client = v5().with(number(TOPIC_ALIAS_MAXIMUM, 2)).open();
    client.subscribe(&format!("{root}/#"), 0);
    let mut publisher = v5().open();
    let mut aliases = BTreeMap::new();
    for round in 0..12 {
        let topic = format!("{root}/{}", round % 4);
        publisher.publish(&topic, "payload", 0);
        let publish = client.receive_publish();
        let alias = publish.properties.number(TOPIC_ALIAS);
        assert!(alias.is_none_or(|alias| (1..=2).contains(&alias)), "alias {alias:?} of 2");
        if !publish.topic.is_empty() {
            assert_eq!(publish.topic, topic);
            aliases.extend(alias.map(|alias| (alias, topic)));
        } else {
            let alias = alias.expect("an alias in place of a Topic Name");
            assert_eq!(aliases.get(&alias), Some(&topic));
        }
    }
}
