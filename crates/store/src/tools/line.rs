//! The lines of an export: one JSON object each. `docs/store.md` describes them for people; a
//! change that an older version could not read needs a new [`VERSION`].

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use midge_codec::{PublishProperties, QoS, RetainHandling, SubscriptionOptions, TopicName};
use midge_core::{
    Attributes, Durability, Identifiers, Identity, Message, MessageParts, Owner,
    SubscriptionRecord, Timestamp, storable,
};
use serde::{Deserialize, Serialize};

use super::base64;
use super::user::User;
use crate::record::StoredMessage;

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// The Remaining Length of the largest Control Packet.
const PACKET_BYTES_MAX: usize = 268_435_455;

/// The largest Subscription Identifier.
const IDENTIFIER_MAX: u32 = 268_435_455;

/// What to do about a value that nobody can have sent.
pub(crate) const CORRECT: &str = "correct it, or leave out the line and those that refer to it";

/// The greatest length of a text in MQTT, in bytes.
const TEXT_BYTES_MAX: usize = u16::MAX as usize;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first one.
    #[serde(rename = "midge-export")]
    Header(Header),
    Group(Group),
    Session(Box<Session>),
    Subscription(Subscription),
    AwaitingRelease(AwaitingRelease),
    Message(Box<NumberedMessage>),
    Queued(Queued),
    Taken(Taken),
    Retained(Retained),
    Delayed(Delayed),
    /// The last one.
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) next_number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) number: u64,
    pub(crate) name: Box<str>,
    pub(crate) filter: Box<str>,
    pub(crate) next_sequence: u64,
    /// The earlier shared subscription with this name and filter, if that had not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supersedes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) client_id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_name: Option<Box<str>>,
    /// What authentication has found out about the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<User>,
    pub(crate) expiry_seconds: u32,
    /// How many messages its Client may have got and not acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<NonZeroU16>,
    pub(crate) next_sequence: u64,
    /// The Session that the Client had before, if that had not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supersedes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detached: Option<Detached>,
    /// Messages below this sequence may have been sent by a connection that had not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_ahead: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) will: Option<Will>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detached {
    pub(crate) at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_before: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Will {
    pub(crate) delay_seconds: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    pub(crate) session: u64,
    pub(crate) filter: Box<str>,
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identifier: Option<NonZeroU32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AwaitingRelease {
    pub(crate) session: u64,
    pub(crate) packet_id: u16,
}

/// A message. Its line comes right before the first line that refers to it by its number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberedMessage {
    pub(crate) number: u64,
    pub(crate) content: Content,
}

/// An Application Message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    topic: Box<str>,
    qos: u8,
    retain: bool,
    durability: Durability,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at_ms: Option<u64>,
    publisher: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher_user_name: Option<Box<str>>,
    /// Base64 of the wire form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<String>,
    /// The payload if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The payload if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queued {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<u64>,
    pub(crate) sequence: u64,
    pub(crate) message: u64,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) identifiers: Vec<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_group: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Taken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<u64>,
    pub(crate) sequence: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retained {
    pub(crate) number: u64,
    pub(crate) message: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delayed {
    pub(crate) number: u64,
    pub(crate) at_ms: u64,
    pub(crate) message: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// How many lines there are, including this one.
    pub(crate) lines: u64,
}

/// Names an owner with two fields, one of which is present.
pub(crate) fn owner_fields(owner: Owner) -> (Option<u64>, Option<u64>) {
    match owner {
        Owner::Session(number) => (Some(number), None),
        Owner::Group(number) => (None, Some(number)),
    }
}

/// Returns the owner that these fields name; the reverse of [`owner_fields`].
pub(crate) fn owner_of(session: Option<u64>, group: Option<u64>) -> Result<Owner, String> {
    match (session, group) {
        (Some(number), None) => Ok(Owner::Session(number)),
        (None, Some(number)) => Ok(Owner::Group(number)),
        _ => Err("it must have either \"session\" or \"group\"".to_owned()),
    }
}

impl Content {
    pub(crate) fn of(message: &StoredMessage<'_>) -> Self {
        let StoredMessage { topic, properties, payload, attributes, client_id, user_name, .. } =
            *message;
        let text = std::str::from_utf8(payload).ok();
        Self {
            topic: topic.into(),
            qos: attributes.qos as u8,
            retain: attributes.retain,
            durability: attributes.durability,
            expires_at_ms: attributes.expires_at.map(Timestamp::as_millis),
            publisher: client_id.into(),
            publisher_user_name: user_name.map(Into::into),
            properties: (!properties.is_empty()).then(|| base64::encode(properties)),
            text: text.map(ToOwned::to_owned),
            base64: text.is_none().then(|| base64::encode(payload)),
        }
    }

    /// Makes the content of a message that is in memory.
    pub(crate) fn of_message(message: &Message) -> Self {
        let publisher = message.publisher();
        Self::of(&StoredMessage {
            topic: message.topic(),
            properties: message.properties(),
            payload: message.payload(),
            attributes: message.attributes(),
            client_id: &publisher.client_id,
            user_name: publisher.user_name.as_deref(),
            encoded: &[],
        })
    }

    /// Makes a message that waits, or that is kept, from this content.
    pub(crate) fn to_message(&self) -> Result<Message, String> {
        storable::check_topic(&self.topic, &self.publisher)
            .map_err(|why| format!("\"topic\" {:?}: {why}; {CORRECT}", self.topic))?;
        self.build()
    }

    /// Makes the Will Message of a Client from this content. It may be published with a delay, and
    /// its expiry counts from its publication.
    pub(crate) fn to_will(&self, client: &Identity) -> Result<Message, String> {
        if (&self.publisher, &self.publisher_user_name) != (&client.client_id, &client.user_name) {
            return Err("\"publisher\" and \"publisher_user_name\" must be \"client_id\" and \
                        \"user_name\" of the Session"
                .to_owned());
        }
        if self.expires_at_ms.is_some() {
            return Err("a Will Message has \"expiry_seconds\" instead of \"expires_at_ms\"".into());
        }
        storable::check_will_topic(&self.topic, &self.publisher)
            .map_err(|why| format!("\"topic\" {:?}: {why}; {CORRECT}", self.topic))?;
        self.build()
    }

    fn build(&self) -> Result<Message, String> {
        let topic = TopicName::new(&self.topic);
        let topic = topic.map_err(|rule| format!("\"topic\" is no Topic Name: {rule}"))?;
        check_text("publisher", &self.publisher)?;
        check_text("publisher_user_name", self.publisher_user_name.as_deref().unwrap_or_default())?;
        storable::check_publisher(&self.publisher)
            .map_err(|why| format!("\"publisher\" {:?} {why}; {CORRECT}", self.publisher))?;
        let properties = self.properties()?;
        let decoded;
        let payload = match (&self.text, &self.base64) {
            (Some(text), None) => text.as_bytes(),
            (None, Some(text)) => {
                decoded = base64::decode(text).ok_or("\"base64\" is not base64")?;
                &decoded
            }
            _ => return Err("it must have either \"text\" or \"base64\"".to_owned()),
        };
        if self.topic.len() + properties.len() + payload.len() > PACKET_BYTES_MAX {
            return Err("the message is larger than any Control Packet: leave it out, with the \
                        lines that refer to it"
                .to_owned());
        }
        let attributes = Attributes {
            qos: qos(self.qos)?,
            retain: self.retain,
            expires_at: self.expires_at_ms.map(Timestamp::from_millis),
            publisher_session: None,
            durability: self.durability,
        };
        let publisher =
            Arc::new(Identity::new(self.publisher.clone(), self.publisher_user_name.clone()));
        let topic = topic.as_str();
        let properties = &properties;
        let parts = MessageParts { topic, properties, payload, attributes, publisher };
        Ok(Message::new(parts))
    }

    fn properties(&self) -> Result<Vec<u8>, String> {
        let text = self.properties.as_deref().unwrap_or_default();
        let bytes = base64::decode(text).ok_or("\"properties\" are not base64")?;
        let mut again = Vec::new();
        PublishProperties::decode_forwarded(&bytes).encode_forwarded(&mut again);
        if again != bytes {
            return Err("\"properties\" are not the wire form of properties".to_owned());
        }
        Ok(bytes)
    }
}

impl Subscription {
    pub(crate) fn of(session: u64, record: &SubscriptionRecord) -> Self {
        let SubscriptionRecord { filter, options, identifier } = record;
        Self {
            session,
            filter: filter.clone(),
            qos: options.qos as u8,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling: options.retain_handling as u8,
            identifier: *identifier,
        }
    }

    pub(crate) fn into_record(self) -> Result<SubscriptionRecord, String> {
        check_text("filter", &self.filter)?;
        storable::check_filter(&self.filter, self.no_local)
            .map_err(|why| format!("\"filter\" {:?}: {why}; {CORRECT}", self.filter))?;
        check_identifiers(self.identifier.as_slice())?;
        let retain_handling = match self.retain_handling {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err("\"retain_handling\" must be 0, 1 or 2".to_owned()),
        };
        let options = SubscriptionOptions {
            qos: qos(self.qos)?,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling,
        };
        Ok(SubscriptionRecord { filter: self.filter, options, identifier: self.identifier })
    }
}

pub(crate) fn qos(bits: u8) -> Result<QoS, String> {
    QoS::from_bits(bits).ok_or_else(|| "\"qos\" must be 0, 1 or 2".to_owned())
}

/// Checks that a field can be a text of MQTT.
pub(crate) fn check_text(field: &str, text: &str) -> Result<(), String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("\"{field}\" is longer than {TEXT_BYTES_MAX} bytes"));
    }
    if text.contains('\0') {
        return Err(format!("\"{field}\" has a U+0000 in it"));
    }
    Ok(())
}

/// Checks that these can be Subscription Identifiers.
pub(crate) fn check_identifiers(identifiers: &[NonZeroU32]) -> Result<(), String> {
    match identifiers.iter().find(|identifier| identifier.get() > IDENTIFIER_MAX) {
        None => Ok(()),
        Some(large) => Err(format!(
            "the Subscription Identifier {large} is above {IDENTIFIER_MAX}: correct it"
        )),
    }
}

pub(crate) fn list(identifiers: &Identifiers) -> Vec<NonZeroU32> {
    match identifiers {
        Identifiers::None => Vec::new(),
        Identifiers::One(one) => vec![*one],
        Identifiers::Many(many) => many.clone(),
    }
}

/// The reverse of [`list`].
pub(crate) fn identifiers(list: Vec<NonZeroU32>) -> Identifiers {
    match *list {
        [] => Identifiers::None,
        [one] => Identifiers::One(one),
        _ => Identifiers::Many(list),
    }
}
