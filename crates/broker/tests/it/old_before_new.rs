//! What a Client has said on an old connection counts before its next CONNECT.

use midge_broker::{ProtocolVersion, QoS};
use midge_codec::{
    Disconnect, Packet, PacketIdentifier, PublishProperties, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, TopicName, Will,
};

use crate::client::{Client, bytes_of, connect_packet, publish_packet};
use crate::support::{address, broker};

#[test]
fn a_disconnect_behind_much_else_counts_before_a_connect_of_the_same_client() {
    for workers in [1, 2] {
        let broker = broker(workers);
        let mut watcher = Client::connect(address(&broker), "watcher");
        watcher.subscribe("will/#", QoS::AtMostOnce);
        // Each message is so much work that a turn ends long before the DISCONNECT.
        let mut groups = Client::connect(address(&broker), "groups");
        let filters: Vec<_> = (0..150).map(|number| format!("$share/g{number}/t")).collect();
        for filter in &filters {
            groups.subscribe(filter, QoS::AtMostOnce);
        }
        let message = bytes_of(&publish_packet("t", b"x", QoS::AtMostOnce, None), version());
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
