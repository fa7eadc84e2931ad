//! What the topics below `$SYS` say at present: retained messages of which each worker has all.
//! They count against no limit, no store keeps them, and none waits in the queue of a Session:
//! they are of QoS 0.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use midge_codec::{QoS, TopicFilter, TopicName};

use crate::base::durability::Durability;
use crate::base::identity::Identity;
use crate::base::message::{Attributes, Message, MessageParts};

/// What the topics say at present.
#[derive(Debug, Default)]
pub(crate) struct OwnTopics {
    /// Each with the edition in which it has changed last.
    messages: BTreeMap<Box<str>, (Message, u64)>,
    /// Counts what was set; it is the same at all workers that were given the same.
    edition: u64,
}

impl OwnTopics {
    /// The messages of all topics that match.
    pub(crate) fn matching(&self, filter: &str) -> VecDeque<Message> {
        // A leading wildcard matches nothing that begins with `$` [MQTT-4.7.2-1].
        if !filter.starts_with('$') {
            return VecDeque::new();
        }
        let Ok(filter) = TopicFilter::parse(filter) else {
            return VecDeque::new();
        };
        let is_match = |topic: &str| TopicName::new(topic).is_ok_and(|name| filter.matches(name));
        let matching = self.messages.iter().filter(|(topic, _)| is_match(topic));
        matching.map(|(_, (message, _))| message.clone()).collect()
    }

    pub(crate) fn edition(&self) -> u64 {
        self.edition
    }

    /// The messages that have changed since an edition, in the order in which they have.
    pub(crate) fn since(&self, edition: u64) -> Vec<Message> {
        let mut newer: Vec<_> = self.messages.values().filter(|(_, it)| *it > edition).collect();
        newer.sort_by_key(|(_, edition)| *edition);
        newer.into_iter().map(|(message, _)| message.clone()).collect()
    }

    /// Sets the text of a topic. Returns its new message if the text has changed.
    pub(crate) fn set(
        &mut self,
        topic: &str,
        text: &str,
        publisher: &Arc<Identity>,
    ) -> Option<Message> {
        self.edition += 1;
        let is_known = |before: &(Message, u64)| before.0.payload() == text.as_bytes();
        if self.messages.get(topic).is_some_and(is_known) {
            return None;
        }
        let attributes = Attributes {
            // A figure that a Client missed is out of date when it returns. In its queue, figures
            // would take the places of messages that were acknowledged to their publishers.
            qos: QoS::AtMostOnce,
            retain: true,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let message = Message::new(MessageParts {
            topic,
            properties: &[],
            payload: text.as_bytes(),
            attributes,
            publisher: Arc::clone(publisher),
        });
        self.messages.insert(topic.into(), (message.clone(), self.edition));
        Some(message)
    }
}
