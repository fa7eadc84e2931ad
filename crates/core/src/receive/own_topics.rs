//! The topics below `$SYS`, in which the broker reports its state.
//!
//! Each worker is given all of them from time to time and delivers them to its own Clients: as
//! retained messages to a new subscription, and live when they have changed. No Client has
//! published them: they pass the delivery gate, but count against no limit, and no store keeps
//! them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use midge_codec::{QoS, TopicFilter, TopicName};

use crate::base::durability::Durability;
use crate::base::identity::Identity;
use crate::base::message::{Attributes, Message, MessageParts};
use crate::boundary::turn::Turn;
use crate::core::Core;

/// What the topics say at present.
#[derive(Debug, Default)]
pub(crate) struct OwnTopics {
    messages: BTreeMap<Box<str>, Arc<Message>>,
}

impl OwnTopics {
    /// The messages of all topics that match.
    pub(crate) fn matching(&self, filter: &str) -> VecDeque<Arc<Message>> {
        // A leading wildcard matches nothing that begins with `$` [MQTT-4.7.2-1].
        if !filter.starts_with('$') {
            return VecDeque::new();
        }
        let Ok(filter) = TopicFilter::parse(filter) else {
            return VecDeque::new();
        };
        let is_match = |topic: &str| TopicName::new(topic).is_ok_and(|name| filter.matches(name));
        let matching = self.messages.iter().filter(|(topic, _)| is_match(topic));
        matching.map(|(_, message)| Arc::clone(message)).collect()
    }

    /// Sets the text of a topic. Returns its new message if the text has changed.
    fn set(&mut self, topic: &str, text: &str, publisher: &Arc<Identity>) -> Option<Arc<Message>> {
        let is_known = |before: &Arc<Message>| before.payload() == text.as_bytes();
        if self.messages.get(topic).is_some_and(is_known) {
            return None;
        }
        let attributes = Attributes {
            qos: QoS::ExactlyOnce,
            retain: true,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let message = Arc::new(Message::new(MessageParts {
            topic,
            properties: &[],
            payload: text.as_bytes(),
            attributes,
            publisher: Arc::clone(publisher),
        }));
        self.messages.insert(topic.into(), Arc::clone(&message));
        Some(message)
    }
}

impl Core {
    /// Sets what topics below `$SYS` say from now on, and delivers what has changed. All workers of
    /// a node are given the same.
    pub fn set_own_topics<'t>(
        &mut self,
        topics: impl IntoIterator<Item = (&'t str, &'t str)>,
        turn: &mut Turn,
    ) {
        for (topic, text) in topics {
            if let Some(message) = self.own_topics.set(topic, text, &self.broker) {
                self.route_own(&message, turn);
            }
        }
    }
}
