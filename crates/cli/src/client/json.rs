//! `%j` and `%J`: a message as one JSON object, with the keys and their order as mosquitto_sub has
//! them.

use jiff::Zoned;
use jiff::fmt::strtime;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;

use super::format::NotJson;
use super::message::Message;

const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S.%6f%z";

/// Appends `message` to `out`. With `raw` the payload is put in as the JSON that it has to be, else
/// as a string, in which bytes that are not UTF-8 become U+FFFD.
pub(crate) fn render(
    message: &Message,
    time: &Zoned,
    raw: bool,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let payload = if message.payload.is_empty() {
        Payload::Null
    } else if raw {
        Payload::Json(serde_json::from_slice(&message.payload).map_err(|_| NotJson)?)
    } else {
        Payload::Text(String::from_utf8_lossy(&message.payload))
    };
    let object = Object { message, time, payload };
    let written = if pretty {
        let formatter = PrettyFormatter::with_indent(b"\t");
        object.serialize(&mut serde_json::Serializer::with_formatter(out, formatter))
    } else {
        serde_json::to_writer(out, &object)
    };
    written.map_err(|_| NotJson)
}

struct Object<'a> {
    message: &'a Message,
    time: &'a Zoned,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Null,
    Text(std::borrow::Cow<'a, str>),
    Json(&'a RawValue),
}

struct Properties<'a>(&'a Message);

/// An object whose names may repeat, as those of User Properties may.
struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.message;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tst", &strtime::format(TIMESTAMP, self.time).unwrap_or_default())?;
        map.serialize_entry("topic", &message.topic)?;
        map.serialize_entry("qos", &(message.qos as u8))?;
        map.serialize_entry("retain", &u8::from(message.retain))?;
        map.serialize_entry("payloadlen", &message.payload.len())?;
        if let Some(packet_id) = message.packet_id {
            map.serialize_entry("mid", &packet_id.get())?;
        }
        if Properties(message).any() {
            map.serialize_entry("properties", &Properties(message))?;
        }
        match &self.payload {
            Payload::Null => map.serialize_entry("payload", &())?,
            Payload::Text(text) => map.serialize_entry("payload", text)?,
            Payload::Json(json) => map.serialize_entry("payload", json)?,
        }
        map.end()
    }
}

impl Properties<'_> {
    fn any(&self) -> bool {
        let message = self.0;
        message.content_type.is_some()
            || !message.user_properties.is_empty()
            || message.correlation_data.is_some()
            || message.response_topic.is_some()
            || message.payload_is_utf8.is_some()
            || message.expiry_interval_seconds.is_some()
            || message.topic_alias.is_some()
            || !message.subscription_identifiers.is_empty()
    }
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(content_type) = &message.content_type {
            map.serialize_entry("content-type", content_type)?;
        }
        if !message.user_properties.is_empty() {
            map.serialize_entry("user-properties", &Pairs(&message.user_properties))?;
        }
        if let Some(data) = &message.correlation_data {
            map.serialize_entry("correlation-data", &String::from_utf8_lossy(data))?;
        }
        if let Some(topic) = &message.response_topic {
            map.serialize_entry("response-topic", topic)?;
        }
        if let Some(utf8) = message.payload_is_utf8 {
            map.serialize_entry("payload-format-indicator", &u8::from(utf8))?;
        }
        if let Some(seconds) = message.expiry_interval_seconds {
            map.serialize_entry("message-expiry-interval", &seconds)?;
        }
        if let Some(alias) = message.topic_alias {
            map.serialize_entry("topic-alias", &alias)?;
        }
        if let [identifier] = message.subscription_identifiers[..] {
            map.serialize_entry("subscription-identifier", &identifier)?;
        } else if !message.subscription_identifiers.is_empty() {
            map.serialize_entry("subscription-identifier", &message.subscription_identifiers)?;
        }
        map.end()
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::{PacketIdentifier, QoS};

    use super::*;

    fn rendered(message: &Message, raw: bool, pretty: bool) -> Result<String, NotJson> {
        let time = "2026-11-21T09:40:26.076650372+01:00[Europe/Berlin]".parse().unwrap();
        let mut out = Vec::new();
        render(message, &time, raw, pretty, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn message(payload: &[u8]) -> Message {
        Message { topic: "a/b".to_owned(), payload: payload.to_vec(), ..Message::default() }
    }

    const START: &str = r#"{"tst":"2026-11-21T09:40:26.076650+0100","topic":"a/b","#;

    #[test]
    fn renders_a_payload_as_text() {
        let message = Message {
            qos: QoS::ExactlyOnce,
            retain: true,
            packet_id: PacketIdentifier::new(7),
            ..message(b"he\"l\nlo")
        };
        let expected = r#""qos":2,"retain":1,"payloadlen":7,"mid":7,"payload":"he\"l\nlo"}"#;
        assert_eq!(rendered(&message, false, false).unwrap(), format!("{START}{expected}"));
    }

    #[test]
    fn renders_a_payload_as_the_json_it_is() {
        let message = message(br#"{"a":1.50, "b":[1,null]}"#);
        let expected = r#""qos":0,"retain":0,"payloadlen":24,"payload":{"a":1.50, "b":[1,null]}}"#;
        assert_eq!(rendered(&message, true, false).unwrap(), format!("{START}{expected}"));
    }

    #[test]
    fn refuses_a_payload_that_is_not_json() {
        for payload in [&b"hello"[..], b"{} x", b"\xff"] {
            assert_eq!(rendered(&message(payload), true, false), Err(NotJson));
        }
    }

    #[test]
    fn renders_an_empty_payload_as_null() {
        for raw in [false, true] {
            let text = rendered(&message(b""), raw, false).unwrap();
            assert!(text.ends_with(r#""payloadlen":0,"payload":null}"#), "{text}");
        }
    }

    #[test]
    fn renders_properties_with_names_that_repeat() {
        let message = Message {
            content_type: Some("text".to_owned()),
            user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
            subscription_identifiers: vec![4, 5],
            ..message(b"x")
        };
        let text = rendered(&message, false, false).unwrap();
        let expected = concat!(
            r#""properties":{"content-type":"text","user-properties":{"k":"1","k":"2"},"#,
            r#""subscription-identifier":[4,5]},"payload":"x"}"#
        );
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn renders_pretty_json_with_tabs() {
        let text = rendered(&message(b"x"), false, true).unwrap();
        assert!(text.starts_with("{\n\t\"tst\": "), "{text}");
        assert!(text.ends_with("\n\t\"payload\": \"x\"\n}"), "{text}");
    }
}
