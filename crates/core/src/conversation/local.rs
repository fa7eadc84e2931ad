//! Subscribers and publishers inside the process: the embedding program, bridges, the API. They
//! pass the same gates as everybody else.

use std::sync::Arc;

use midge_codec::{PublishProperties, QoS, SubscriptionOptions};

use crate::base::drop_reason::DropReason;
use crate::base::identity::{ConnectionId, Identity};
use crate::base::message::{Attributes, Message, Publication};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::connection::Connection;
use crate::connection::Opening;
use crate::core::Core;
use crate::subscribe::subscribing::Asking;
use crate::topics::destination::Destination;
use crate::waiting::rounds::Held;

/// A message that the process itself publishes.
#[derive(Clone, Debug)]
pub struct LocalPublish<'a> {
    /// The Topic Name, checked by `TopicName::new`.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// QoS for the subscribers.
    pub qos: QoS,
    /// Whether it becomes the topic's retained message.
    pub retain: bool,
    /// Properties that travel with it.
    pub properties: PublishProperties<'a>,
}

impl Core {
    /// Opens a subscriber inside the process. It ends like a Network Connection, by
    /// [`Core::handle_closed`].
    pub fn open_local(&mut self, turn: &mut Turn) -> ConnectionId {
        let opening = Opening::default();
        let id = self.insert_connection(&opening, turn.now);
        // No Client can have this identifier: U+0000 is not allowed in strings of the protocol.
        let name = format!("\0local/{}/{}", self.ground.config.worker.index(), id.generation);
        let identity = Arc::new(Identity::new(name.into(), None));
        let slot = self.ground.clients.insert_session(identity);
        self.ground.clients.count_in(slot);
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            connection.become_local(slot);
        }
        self.ground.clients.attach(slot, id);
        self.router.shared.tell_online(&mut self.ground, slot, turn);
        id
    }

    /// Subscribes for a subscriber inside the process. `Effects::local_subscribed` tells when the
    /// subscription is in effect, and whether it was granted.
    pub fn subscribe_local(
        &mut self,
        id: ConnectionId,
        filter: &str,
        options: SubscriptionOptions,
        turn: &mut Turn,
    ) {
        if let Some(slot) = self.ground.clients.connection(id).and_then(Connection::session) {
            let filters = std::iter::once((filter, options));
            let asking = Asking { connection: id, slot, identifier: None };
            self.subscriptions.subscribe(&mut self.router, &mut self.ground, asking, filters, turn);
        }
    }

    /// Publishes a message for the process. Once what is kept of it is durable,
    /// `Effects::local_published` tells under this ticket how many receivers (sessions, workers,
    /// groups) matched, or why the publish gate or a limit refused it.
    pub fn publish_local(&mut self, message: &LocalPublish<'_>, ticket: u64, turn: &mut Turn) {
        let destination = match Destination::of_process(message.topic, &self.ground.config.limits) {
            Ok(destination) => destination,
            Err(misdirected) => {
                let reason = misdirected.drop_reason();
                let broker = Arc::clone(&self.broker);
                self.ground.clients.note_drop(
                    Party::Publisher(&broker),
                    message.topic,
                    reason,
                    turn,
                );
                return turn.fx.local_published.push((ticket, Err(reason)));
            }
        };
        let topic = destination.topic();
        let mut properties = Vec::new();
        message.properties.encode_forwarded(&mut properties);
        let expiry = message.properties.message_expiry_interval_seconds;
        let attributes = Attributes {
            qos: message.qos,
            retain: message.retain,
            expires_at: expiry.map(|seconds| turn.now.plus_seconds(u64::from(seconds))),
            publisher_session: None,
            durability: self.ground.config.durability.of_message(None, topic),
        };
        let mark = self.ground.clients.rounds.mark();
        let broker = Arc::clone(&self.broker);
        let publication =
            Publication::new(topic, &properties, message.payload, attributes, &broker);
        let outcome = match destination.delay_seconds() {
            Some(seconds) => {
                self.router.delay(&mut self.ground, &publication, seconds, turn).map(|()| (1, None))
            }
            None => self.router.publish_unless_lost(&mut self.ground, publication, true, turn),
        };
        let question = outcome.map_or(None, |(_, question)| question);
        let outcome = outcome.map(|(matched, _)| matched);
        if let Some(question) = question {
            let held = Held::Published(ticket, outcome);
            self.ground.clients.rounds.hold_asked(question, held, attributes.durability);
        } else if self.ground.clients.rounds.mark() == mark || message.qos == QoS::AtMostOnce {
            turn.fx.local_published.push((ticket, outcome));
        } else {
            let durability = attributes.durability;
            self.ground.clients.rounds.hold(Held::Published(ticket, outcome), durability);
        }
    }

    /// Notes that a subscriber inside the process did not take a message.
    pub fn note_local_drop(&mut self, message: &Message, turn: &mut Turn) {
        // It was counted as delivered when it was handed to the driver.
        self.ground.clients.counters.undelivered(message.payload().len());
        self.ground.clients.note_drop(
            Party::Nobody,
            message.topic(),
            DropReason::LocalReceiverFull,
            turn,
        );
    }
}
