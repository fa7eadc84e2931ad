//! Clients that mark themselves as bridges with bit 0x80 of the protocol level.

use midge_codec::{Connect, ProtocolVersion, ReasonCode};

use crate::node::{Node, scenario};
use crate::packets::{connect_v3, persistent, publish, retained, will};

const STATE: &str = "$SYS/broker/connection/edge/state";

/// The CONNECT of a bridge of this protocol version, as mosquitto sends it.
fn bridge(version: ProtocolVersion) -> Connect<'static> {
    let mut state = will(STATE, "0", 1);
    state.retain = true;
    Connect { version, bridge: true, will: Some(state), ..connect_v3("edge", false) }
}

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];

#[test]
fn what_a_bridge_brings_does_not_come_back_and_what_it_takes_keeps_retain() {
    for version in VERSIONS {
        scenario(|node| {
            let edge = node.connect_with(&bridge(version)).0;
            for filter in ["both/#", "both/+", "$share/g/shared"] {
                node.subscribe(edge, filter, 1);
            }
            let other = node.connect("other");
            node.subscribe(other, "both/#", 1);
            node.publish(edge, "both/1", "from the edge", 1);
            assert_eq!(node.texts(other), ["from the edge"]);
            assert_eq!(node.texts(edge), [""; 0], "it does not come back");
            node.send_publish(other, retained("both/2", "kept"));
            let message = node.message(edge);
            assert!(message.retain && message.text() == "kept", "RETAIN as published");
            node.publish(other, "both/3", "not kept", 1);
            assert!(!node.message(edge).retain);
            node.publish(edge, "shared", "a group has no such thing", 1);
            assert_eq!(node.texts(edge), ["a group has no such thing"]);
        });
    }
}

#[test]
fn a_resumed_subscription_is_still_a_bridges() {
    scenario(|node| {
        let edge = node.connect_with(&bridge(ProtocolVersion::V3_1_1)).0;
        node.subscribe(edge, "both/#", 1);
        node.lose(edge);
        let other = node.connect("other");
        let mut kept = publish("both/1", "while away", 1, 7);
        kept.retain = true;
        node.publish_acknowledged(other, kept);
        let (edge, present) = node.resume(&bridge(ProtocolVersion::V3_1_1));
        assert!(present && node.message(edge).retain);
        node.publish(edge, "both/2", "from the edge", 1);
        assert_eq!(node.texts(edge), [""; 0]);
    });
}

#[test]
fn a_bridge_tells_its_state_and_writes_nothing_else_of_the_brokers() {
    for version in VERSIONS {
        scenario(|node| {
            let watcher = node.connect("watcher");
            node.subscribe(watcher, "$SYS/#", 1);
            let edge = node.connect_with(&bridge(version)).0;
            let mut online = publish(STATE, "1", 1, 7);
            online.retain = true;
            node.publish_acknowledged(edge, online);
            node.publish(edge, "$SYS/broker/uptime", "15", 1);
            node.publish(edge, "$SYS/broker/connection/a/b/state", "1", 1);
            node.lose(edge);
            let messages = node.messages(watcher);
            let seen: Vec<_> = messages.iter().map(|it| (&*it.topic, it.text())).collect();
            assert_eq!(seen, [(STATE, "1"), (STATE, "0")], "{version}");
            let late = node.connect("late");
            node.subscribe(late, STATE, 0);
            assert_eq!(node.texts(late), ["0"], "the state is retained");
        });
    }
}

/// mosquitto does not mark its MQTT 5.0 bridges.
#[test]
fn without_the_mark_a_client_tells_its_own_state_only() {
    scenario(|node| {
        let own = Connect { will: Some(will(STATE, "0", 0)), ..persistent("edge") };
        let conn = node.connect_with(&own).0;
        let code =
            |node: &mut Node, topic| node.publish_acknowledged(conn, publish(topic, "1", 1, 7));
        assert_eq!(code(node, STATE), ReasonCode::NoMatchingSubscribers);
        let another = "$SYS/broker/connection/another/state";
        assert_eq!(code(node, another), ReasonCode::NotAuthorized);
        let foreign = Connect { will: Some(will(another, "0", 0)), ..persistent("edge") };
        assert_eq!(node.refused(&foreign), 0x87);
    });
}
