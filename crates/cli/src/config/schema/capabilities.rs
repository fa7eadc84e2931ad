//! The keys of `[capabilities]`, which a `[[listener]]` has, too, for its own Clients.

use super::super::value::{Kind, VERSIONS, Value};
use super::{Default, Key, Section, live};

/// A key by its names in `[capabilities]` and in `[[listener]]`.
struct Row {
    name: &'static str,
    listener_name: &'static str,
    kind: Kind,
    default: Value,
    doc: &'static str,
}

pub(super) fn section() -> Section {
    let keys = rows().map(|row| {
        let default = Default::Value(row.default);
        Key::new(row.name, row.kind, default, row.doc)
    });
    let doc = "What Clients may ask for. The CONNACK tells an MQTT 5 Client what it may not ask \
               for.";
    Section { name: "capabilities", repeated: false, doc, keys: live(keys.into()) }
}

/// The same, as a listener has them.
pub(super) fn of_listener() -> Vec<Key> {
    let keys = rows().map(|row| {
        let default = Default::Absent { meaning: "as in [capabilities]", example: row.default };
        Key::new(row.listener_name, row.kind, default, row.doc)
    });
    keys.into()
}

fn rows() -> [Row; 7] {
    let versions = Value::List(VERSIONS.map(String::from).into());
    let yes = Value::Boolean(true);
    let row = |name, listener_name, kind, default: &Value, doc| Row {
        name,
        listener_name,
        kind,
        default: default.clone(),
        doc,
    };
    [
        row(
            "versions",
            "capabilities.versions",
            Kind::Versions,
            &versions,
            "Versions of MQTT that are spoken. A CONNECT of another one is refused: 0x84 \
             Unsupported\nProtocol Version, in MQTT 3 0x01.",
        ),
        row(
            "qos_max",
            "capabilities.qos_max",
            Kind::Integer { min: 0, max: 2 },
            &Value::Integer(2),
            "The highest QoS that Clients may publish with, and that subscriptions are granted. \
             Beyond\nit a Client is disconnected: 0x9B QoS not supported.",
        ),
        row(
            "retain",
            "capabilities.retain",
            Kind::Boolean,
            &yes,
            "true: Clients may publish retained messages. false: a Client that does is \
             disconnected: 0x9A\nRetain not supported.",
        ),
        row(
            "wildcard_subscriptions",
            "capabilities.wildcard_subscriptions",
            Kind::Boolean,
            &yes,
            "true: Clients may subscribe with + and #. false: 0xA2 Wildcard Subscriptions not\n\
             supported; MQTT 3: 0x80 in the SUBACK.",
        ),
        row(
            "shared_subscriptions",
            "capabilities.shared_subscriptions",
            Kind::Boolean,
            &yes,
            "true: Clients may subscribe to $share/GROUP/FILTER and $queue/FILTER. false: 0x9E \
             Shared\nSubscriptions not supported; MQTT 3: 0x80 in the SUBACK.",
        ),
        row(
            "subscription_identifiers",
            "capabilities.subscription_identifiers",
            Kind::Boolean,
            &yes,
            "true: subscriptions may have identifiers. false: 0xA1 Subscription Identifiers \
             not supported.",
        ),
        row(
            "assigned_client_identifiers",
            "capabilities.assigned_client_identifiers",
            Kind::Boolean,
            &yes,
            "true: a Client that sends a zero-length Client Identifier is given one. false: it is \
             refused: 0x85\nClient Identifier not valid, in MQTT 3 0x02.",
        ),
    ]
}
