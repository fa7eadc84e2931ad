//! Messages as an embedding program publishes and receives them.

use midge_codec::{PublishProperties, QoS, Rule, TopicName, UserProperties, UserPropertiesBuf};
use midge_core::{LocalPublish, Message};

/// A message to be published.
///
/// ```
/// use midge_broker::{OwnedMessage, QoS};
///
/// let message = OwnedMessage::new("sensors/1/temperature", "21.5")?
///     .qos(QoS::AtLeastOnce)
///     .retain()
///     .content_type("text/plain");
/// # Ok::<(), midge_broker::Rule>(())
/// ```
#[derive(Clone, Debug)]
pub struct OwnedMessage {
    topic: Box<str>,
    payload: Box<[u8]>,
    qos: QoS,
    retain: bool,
    expiry_seconds: Option<u32>,
    content_type: Option<Box<str>>,
    response_topic: Option<Box<str>>,
    correlation_data: Option<Box<[u8]>>,
    user_properties: UserPropertiesBuf,
}

/// A message as a subscriber inside the process gets it.
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    pub(crate) message: Message,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl OwnedMessage {
    /// What a message takes beside its contents: itself, its reply, and its place in a worker.
    const OVERHEAD_BYTES: usize = 384;

    /// Returns a message of QoS 0 that is not retained.
    ///
    /// # Errors
    ///
    /// The rule that the topic breaks: it must not be empty, contain a wildcard or U+0000, or be
    /// too long.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Result<Self, Rule> {
        TopicName::new(topic)?;
        Ok(Self {
            topic: topic.into(),
            payload: payload.as_ref().into(),
            qos: QoS::AtMostOnce,
            retain: false,
            expiry_seconds: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: UserPropertiesBuf::default(),
        })
    }

    /// Sets the QoS for subscribers.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Makes the message the topic's retained message.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Sets the number of seconds after which the message expires.
    #[must_use]
    pub fn expires_after_seconds(mut self, seconds: u32) -> Self {
        self.expiry_seconds = Some(seconds);
        self
    }

    /// Sets the content type of the payload.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets the topic where an answer is expected, and the data that the answer has to repeat.
    ///
    /// # Errors
    ///
    /// The rule that the topic breaks.
    pub fn response(mut self, topic: &str, correlation_data: &[u8]) -> Result<Self, Rule> {
        TopicName::new(topic)?;
        self.response_topic = Some(topic.into());
        self.correlation_data = Some(correlation_data.into());
        Ok(self)
    }

    /// Adds a User Property.
    ///
    /// # Panics
    ///
    /// If name or value is longer than 65,535 bytes.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.user_properties.push(name, value);
        self
    }

    /// Returns about how many bytes the message takes until it is answered, with what the broker
    /// remembers of it.
    pub(crate) fn size(&self) -> usize {
        let parts = [
            self.topic.len(),
            self.payload.len(),
            self.content_type.as_ref().map_or(0, |it| it.len()),
            self.response_topic.as_ref().map_or(0, |it| it.len()),
            self.correlation_data.as_ref().map_or(0, |it| it.len()),
            self.user_properties.view().iter().map(|(name, value)| name.len() + value.len()).sum(),
        ];
        Self::OVERHEAD_BYTES + parts.iter().sum::<usize>()
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn as_local(&self) -> LocalPublish<'_> {
        let response_topic = self.response_topic.as_deref();
        LocalPublish {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: PublishProperties {
                message_expiry_interval_seconds: self.expiry_seconds,
                content_type: self.content_type.as_deref(),
                response_topic: response_topic.and_then(|topic| TopicName::new(topic).ok()),
                correlation_data: self.correlation_data.as_deref(),
                user_properties: self.user_properties.view(),
                ..PublishProperties::default()
            },
        }
    }
}

impl ReceivedMessage {
    /// Returns the Topic Name.
    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }

    /// Returns the QoS that the message was delivered with.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Returns whether the message was retained before the subscription was made.
    pub fn is_retained(&self) -> bool {
        self.retain
    }

    /// Returns the Client Identifier of the publisher.
    pub fn publisher(&self) -> &str {
        &self.message.publisher().client_id
    }

    /// Returns the properties.
    pub fn properties(&self) -> PublishProperties<'_> {
        self.message.decode_properties()
    }

    /// Returns the User Properties.
    pub fn user_properties(&self) -> UserProperties<'_> {
        self.properties().user_properties
    }
}
