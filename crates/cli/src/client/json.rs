//! `%j` and `%J`: a message as one JSON object, with mosquitto_sub's keys in their order. Bytes
//! that are not text have a key of their own, beside the text that can be made of them.

use std::borrow::Cow;

use jiff::Zoned;
use jiff::fmt::strtime;
use midge_store::tools::base64;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;

use super::message::Message;

const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S.%6f%z";

/// A message that cannot be shown with `%J`, because its payload is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Appends `message` to `out`. With `raw`, the payload has to be JSON and is put in as that.
/// Otherwise it is a string, in which bytes that are not UTF-8 become U+FFFD; then `payload_base64`
/// has the bytes as they are.
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
        let json: &RawValue = serde_json::from_slice(&message.payload).map_err(|_| NotJson)?;
        match pretty {
            true => Payload::Indented(RawValue::from_string(indented(json)).map_err(|_| NotJson)?),
            false => Payload::Json(json),
        }
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

/// Returns the same JSON with each part on a line of its own, one level deeper than by itself
/// because there is an object around it. Numbers and strings stay as they were written.
fn indented(json: &RawValue) -> String {
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 1, false, false);
    let mut rest = json.get().chars().peekable();
    while let Some(character) = rest.next() {
        if in_string {
            out.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                out.push(character);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                break_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(character);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => {
                in_string = other == '"';
                out.push(other);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    (0..depth).for_each(|_| out.push('\t'));
}

struct Object<'a> {
    message: &'a Message,
    time: &'a Zoned,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Null,
    Text(Cow<'a, str>),
    Json(&'a RawValue),
    Indented(Box<RawValue>),
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
            Payload::Indented(json) => map.serialize_entry("payload", json)?,
        }
        if let Payload::Text(Cow::Owned(_)) = &self.payload {
            map.serialize_entry("payload_base64", &base64::encode(&message.payload))?;
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
            let text = String::from_utf8_lossy(data);
            map.serialize_entry("correlation-data", &text)?;
            if let Cow::Owned(_) = text {
                map.serialize_entry("correlation-data_base64", &base64::encode(data))?;
            }
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
    fn renders_bytes_that_are_no_text_in_base64_too() {
        let data = Some(vec![0xff, 0xfe]);
        let message = Message { correlation_data: data, ..message(b"\xff\0a") };
        let text = rendered(&message, false, false).unwrap();
        let expected = concat!(
            r#""properties":{"correlation-data":"??","correlation-data_base64":"//4="},"#,
            r#""payload":"?\u0000a","payload_base64":"/wBh"}"#
        );
        assert!(text.ends_with(&expected.replace('?', "\u{fffd}")), "{text}");
        let text = rendered(&self::message("ä\0".as_bytes()), false, false).unwrap();
        assert!(!text.contains("base64"), "{text}");
    }

    #[test]
    fn spreads_json_within_json() {
        let message = message(br#" {"a" : 1.50,"b":[ ],"c":[1,{"\"d, \\": "e:{" }], "f":{} }"#);
        let text = rendered(&message, true, true).unwrap();
        let expected = r#"
_"payload": {
__"a": 1.50,
__"b": [],
__"c": [
___1,
___{
____"\"d, \\": "e:{"
___}
__],
__"f": {}
_}
}"#;
        assert!(text.ends_with(&expected.replace('_', "\t")), "{text}");
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
