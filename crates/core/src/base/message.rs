//! The Application Message inside the broker: borrowed while it passes through, shared as soon as
//! somebody has to keep it.

use std::cell::OnceCell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use midge_codec::{PublishProperties, QoS};
use triomphe::ThinArc;

use crate::base::durability::Durability;
use crate::base::identity::{Identity, SessionId};
use crate::base::time::Timestamp;

/// An Application Message that is kept somewhere: in a queue, an in-flight window, the retained
/// tree or another worker. It is immutable and exists once, in one allocation, however many
/// Sessions wait for it: a clone is one more reference to it.
#[derive(Clone)]
pub struct Message(ThinArc<Head, u8>);

/// What is in front of a message's bytes: Topic Name, forwarded properties and payload, one after
/// the other.
struct Head {
    topic_len: u32,
    properties_len: u32,
    attributes: Attributes,
    publisher: Arc<Identity>,
    stored_at: StoredAt,
}

/// Where the store has put a message, so that the store writes it only once, however many wait for
/// it. Only the store uses this note; it has no influence on the core.
#[derive(Debug, Default)]
pub struct StoredAt(AtomicU64);

/// What is known of a message besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// QoS that the publisher asked for.
    pub qos: QoS,
    /// RETAIN as the publisher set it.
    pub retain: bool,
    /// When the Message Expiry Interval ends.
    pub expires_at: Option<Timestamp>,
    /// The publishing Session, for No Local; absent for messages of the broker itself.
    pub publisher_session: Option<SessionId>,
    /// What the message's acknowledgement promises.
    pub durability: Durability,
}

/// The parts that a [`Message`] is made from.
#[derive(Clone, Debug)]
pub struct MessageParts<'a> {
    /// The Topic Name.
    pub topic: &'a str,
    /// The properties that travel with it, in their wire form.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// QoS, RETAIN, expiry, publishing Session and durability.
    pub attributes: Attributes,
    /// Who published it.
    pub publisher: Arc<Identity>,
}

/// An Application Message on its way through the router. Passing through costs no allocation. The
/// first place that has to keep it makes the shared [`Message`], and all others share that one.
pub(crate) struct Publication<'a> {
    pub(crate) topic: &'a str,
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) attributes: Attributes,
    pub(crate) publisher: &'a Arc<Identity>,
    shared: OnceCell<Message>,
}

impl Message {
    /// Makes a message from these parts.
    pub fn new(parts: MessageParts<'_>) -> Self {
        let MessageParts { topic, properties, payload, attributes, publisher } = parts;
        let head = Head {
            topic_len: topic.len() as u32,
            properties_len: properties.len() as u32,
            attributes,
            publisher,
            stored_at: StoredAt::default(),
        };
        Self(allocate(head, [topic.as_bytes(), properties, payload]))
    }

    /// The Topic Name.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(&self.0.slice[..self.head().topic_len as usize]).unwrap_or_default()
    }

    /// The properties that travel with the message, in their wire form; see
    /// [`Message::decode_properties`].
    pub fn properties(&self) -> &[u8] {
        let head = self.head();
        &self.0.slice[head.topic_len as usize..][..head.properties_len as usize]
    }

    /// The properties that travel with the message.
    pub fn decode_properties(&self) -> PublishProperties<'_> {
        PublishProperties::decode_forwarded(self.properties())
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        let head = self.head();
        &self.0.slice[(head.topic_len + head.properties_len) as usize..]
    }

    /// QoS, RETAIN, expiry, publishing Session and durability.
    pub fn attributes(&self) -> Attributes {
        self.head().attributes
    }

    /// Who published it.
    pub fn publisher(&self) -> &Arc<Identity> {
        &self.head().publisher
    }

    /// Its size in bytes as limits count it: topic, properties and payload.
    pub fn size(&self) -> usize {
        self.0.slice.len()
    }

    /// The bytes of memory that it takes, whoever else has it.
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Head>() + size_of::<[usize; 2]>() + self.size()
    }

    /// The store's note about this message.
    pub fn stored_at(&self) -> &StoredAt {
        &self.head().stored_at
    }

    /// Whether both are references to one message. Two messages of equal content are not the same.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.head(), other.head())
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }
}

/// A message of so many bytes is put together on the stack, and then copied as a whole.
const SMALL_BYTES: usize = 256;

/// Allocates a message: its head and these parts behind it.
fn allocate(head: Head, parts: [&[u8]; 3]) -> ThinArc<Head, u8> {
    let len = parts.iter().map(|part| part.len()).sum();
    if let Some(together) = [0; SMALL_BYTES].get_mut(..len) {
        join(parts, together);
        return ThinArc::from_header_and_slice(head, together);
    }
    let mut allocated = ThinArc::from_header_and_iter(head, std::iter::repeat_n(0, len));
    allocated.with_arc_mut(|allocated| {
        let only = triomphe::Arc::get_mut(allocated).expect("nobody else has it yet");
        join(parts, only.slice_mut());
    });
    allocated
}

/// Copies these parts into `into`, which is as long as they are together.
fn join(parts: [&[u8]; 3], mut into: &mut [u8]) {
    for part in parts {
        let (place, behind) = into.split_at_mut(part.len());
        place.copy_from_slice(part);
        into = behind;
    }
}

/// What the store has noted makes no difference.
#[cfg(test)]
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        (self.topic(), self.properties(), self.payload())
            == (other.topic(), other.properties(), other.payload())
            && self.attributes() == other.attributes()
            && self.publisher() == other.publisher()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_len", &self.payload().len())
            .field("attributes", &self.head().attributes)
            .finish_non_exhaustive()
    }
}

impl<'a> Publication<'a> {
    pub(crate) fn new(
        topic: &'a str,
        properties: &'a [u8],
        payload: &'a [u8],
        attributes: Attributes,
        publisher: &'a Arc<Identity>,
    ) -> Self {
        Self { topic, properties, payload, attributes, publisher, shared: OnceCell::new() }
    }

    /// Turns a kept message back into one on its way through the router.
    pub(crate) fn of(message: &'a Message) -> Self {
        let shared = OnceCell::new();
        let _ = shared.set(message.clone());
        Self {
            topic: message.topic(),
            properties: message.properties(),
            payload: message.payload(),
            attributes: message.attributes(),
            publisher: message.publisher(),
            shared,
        }
    }

    /// Its size in bytes as limits count it, like [`Message::size`].
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }

    /// The message in a form that can be kept.
    pub(crate) fn share(&self) -> Message {
        self.shared.get_or_init(|| self.to_message()).clone()
    }

    fn to_message(&self) -> Message {
        Message::new(MessageParts {
            topic: self.topic,
            properties: self.properties,
            payload: self.payload,
            attributes: self.attributes,
            publisher: Arc::clone(self.publisher),
        })
    }
}

impl StoredAt {
    /// Returns the place that was noted last.
    pub fn get(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.load(Ordering::Relaxed))
    }

    /// Notes a place.
    pub fn set(&self, place: NonZeroU64) {
        self.0.store(place.get(), Ordering::Relaxed);
    }
}

impl Attributes {
    /// Whether the Message Expiry Interval has passed [MQTT-3.3.2-5].
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// What is left of the Message Expiry Interval in seconds, for the receiver [MQTT-3.3.2-6].
    pub(crate) fn remaining_seconds(&self, now: Timestamp) -> Option<u32> {
        self.expires_at.map(|at| u32::try_from(now.seconds_until(at)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use midge_codec::QoS;

    use super::{Attributes, Message, MessageParts, SMALL_BYTES};
    use crate::base::durability::Durability;
    use crate::base::identity::Identity;

    fn message(topic: &str, properties: &[u8], payload: &[u8]) -> Message {
        let attributes = Attributes {
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let publisher = Arc::new(Identity::new("p".into(), None));
        Message::new(MessageParts { topic, properties, payload, attributes, publisher })
    }

    #[test]
    fn a_message_gives_its_parts_back() {
        let large = vec![7; 1_000_000];
        for (topic, properties, payload) in [
            ("t", &[][..], &[][..]),
            ("a", &[1, 1], &large[..SMALL_BYTES - 3]),
            ("a", &[1, 1], &large[..SMALL_BYTES - 2]),
            ("größe/t", &[], b"payload"),
            ("a/b", &[1, 1], b""),
            ("a/b", &[2, 0, 0, 0, 9], &large),
        ] {
            let message = message(topic, properties, payload);
            assert_eq!(message.topic(), topic);
            assert_eq!(message.properties(), properties);
            assert!(message.payload() == payload, "{topic}");
            assert_eq!(message.size(), topic.len() + properties.len() + payload.len());
            assert_eq!(&*message.publisher().client_id, "p");
            assert!(message.attributes().retain);
        }
    }

    #[test]
    fn a_reference_takes_one_word_and_shares_the_note_of_the_store() {
        assert_eq!(size_of::<Option<Message>>(), size_of::<usize>());
        let (one, other) = (message("t", &[], b"x"), message("t", &[], b"x"));
        let clone = one.clone();
        let place = NonZeroU64::new(5).unwrap();
        clone.stored_at().set(place);
        assert_eq!((one.stored_at().get(), other.stored_at().get()), (Some(place), None));
        assert!(one.is_same(&clone) && !one.is_same(&other));
    }
}
