//! What the session sends because a command asks for it.

use std::time::Instant;

use midge_codec::{
    Disconnect, Packet, PacketIdentifier, QoS, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, Subscriptions, TopicFilters, Unsubscribe,
};

use super::encode::TopicForm;
use super::{CONTROL, Event, Phase, Publication, Session, describe, encode};
use crate::client::property::PropertySet;

impl Session {
    /// How many more QoS 1 and 2 messages may be sent before one is acknowledged.
    pub(crate) fn send_quota(&self) -> usize {
        self.window().saturating_sub(self.in_flight.len())
    }

    pub(super) fn window(&self) -> usize {
        self.options.in_flight_max.min(self.limits.receive_maximum).into()
    }

    /// Sends a message. For a QoS 1 or 2 message, some [`Self::send_quota`] must be left. The error
    /// says which limit of the Server the message breaks.
    pub(crate) fn publish(
        &mut self,
        publication: &Publication,
        now: Instant,
    ) -> Result<(), String> {
        self.check_limits(publication)?;
        let packet_id = match publication.qos {
            QoS::AtMostOnce => None,
            _ => Some(self.next_packet_id()),
        };
        self.send_publish(self.asks_on, publication, packet_id, false, now)?;
        if let Some(packet_id) = packet_id {
            self.in_flight.push(packet_id, publication.clone());
        }
        Ok(())
    }

    /// Sends a PUBLISH on a stream, unless it is larger than the Server takes.
    pub(super) fn send_publish(
        &mut self,
        stream: usize,
        publication: &Publication,
        packet_id: Option<PacketIdentifier>,
        dup: bool,
        now: Instant,
    ) -> Result<(), String> {
        let form = self.topic_form(stream, publication);
        let packet = Packet::Publish(encode::publish(publication, packet_id, dup, form)?);
        let outbound = &mut self.streams[stream].outbound;
        let start = outbound.len();
        packet
            .encode(self.options.version, outbound)
            .map_err(|error| format!("the message makes no packet: {error}"))?;
        let size = outbound.len() - start;
        if size > self.limits.maximum_packet_size as usize {
            outbound.truncate(start);
            return Err(format!(
                "the message makes a packet of {size} bytes, and the broker takes at most {}",
                self.limits.maximum_packet_size
            ));
        }
        self.note_sending(&packet, now);
        let stream = &mut self.streams[stream];
        if let (TopicForm::NameWithAlias, Some(alias)) = (form, topic_alias(publication)) {
            stream.own_topic_aliases.insert(alias, publication.topic.clone());
        }
        if packet_id.is_none() {
            stream.note_message(publication);
        }
        Ok(())
    }

    /// Chooses how to name the topic: by its alias alone once the alias was sent with the Topic
    /// Name on the same stream.
    fn topic_form(&self, stream: usize, publication: &Publication) -> TopicForm {
        match topic_alias(publication) {
            Some(alias) if alias > self.limits.topic_alias_maximum => TopicForm::Name,
            Some(alias) => match self.streams[stream].own_topic_aliases.get(&alias) {
                Some(topic) if *topic == publication.topic => TopicForm::Alias,
                _ => TopicForm::NameWithAlias,
            },
            None => TopicForm::NameWithAlias,
        }
    }

    fn check_limits(&self, publication: &Publication) -> Result<(), String> {
        let limits = &self.limits;
        if publication.qos > limits.maximum_qos {
            let most = limits.maximum_qos as u8;
            return Err(format!("the broker takes messages of at most QoS {most}: use -q {most}"));
        }
        if publication.retain && !limits.retain_available {
            return Err("the broker does not keep retained messages: leave out -r".to_owned());
        }
        match topic_alias(publication) {
            Some(alias) if alias > limits.topic_alias_maximum => Err(format!(
                "the topic alias {alias} is above the broker's maximum, {}",
                limits.topic_alias_maximum
            )),
            _ => Ok(()),
        }
    }

    /// Subscribes to `filters` with one set of options.
    pub(crate) fn subscribe(
        &mut self,
        filters: &[String],
        options: SubscriptionOptions,
        properties: &PropertySet,
        now: Instant,
    ) {
        let packet_id = self.next_packet_id();
        let subscriptions: Vec<_> =
            filters.iter().map(|filter| Subscription { filter, options }).collect();
        let identifier = properties.number("subscription-identifier");
        let packet = Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: identifier.and_then(|value| value.try_into().ok()),
            user_properties: properties.user_properties(),
            subscriptions: Subscriptions::from(&subscriptions[..]),
        });
        self.send_on(self.asks_on, &packet, now);
        self.requests.insert(packet_id, filters.to_vec());
    }

    /// Unsubscribes from `filters`.
    pub(crate) fn unsubscribe(
        &mut self,
        filters: &[String],
        properties: &PropertySet,
        now: Instant,
    ) {
        let packet_id = self.next_packet_id();
        let slices: Vec<_> = filters.iter().map(String::as_str).collect();
        let packet = Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: properties.user_properties(),
            filters: TopicFilters::from(&slices[..]),
        });
        self.send_on(self.asks_on, &packet, now);
        self.requests.insert(packet_id, filters.to_vec());
    }

    /// Ends the Network Connection in good order. The Server drops the Will Message.
    pub(crate) fn disconnect(&mut self, properties: &PropertySet, now: Instant) {
        self.send_disconnect(ReasonCode::Success, Some(properties), now);
    }

    pub(super) fn send_disconnect(
        &mut self,
        reason_code: ReasonCode,
        properties: Option<&PropertySet>,
        now: Instant,
    ) {
        if self.phase != Phase::Connected {
            return;
        }
        self.send(
            &Packet::Disconnect(Disconnect {
                reason_code,
                session_expiry_interval: properties
                    .and_then(|set| set.number("session-expiry-interval")),
                reason_string: properties.and_then(|set| set.text("reason-string")),
                user_properties: properties
                    .map_or_else(Default::default, PropertySet::user_properties),
                server_reference: None,
            }),
            now,
        );
        self.phase = Phase::NoConnection;
    }

    /// Sends a packet on the control stream.
    pub(super) fn send(&mut self, packet: &Packet<'_>, now: Instant) {
        self.send_on(CONTROL, packet, now);
    }

    pub(super) fn send_on(&mut self, stream: usize, packet: &Packet<'_>, now: Instant) {
        let outbound = &mut self.streams[stream].outbound;
        if let Err(error) = packet.encode(self.options.version, outbound) {
            // Everything that goes into a packet was checked when the command line was read.
            debug_assert!(false, "a packet that cannot be encoded: {error}");
        }
        self.note_sending(packet, now);
    }

    fn note_sending(&mut self, packet: &Packet<'_>, now: Instant) {
        if self.options.trace {
            self.events.push_back(Event::Trace(describe::sending(packet)));
        }
        self.last_sent = Some(now);
    }

    fn next_packet_id(&mut self) -> PacketIdentifier {
        self.in_flight.next_packet_id(|packet_id| self.requests.contains_key(&packet_id))
    }
}

fn topic_alias(publication: &Publication) -> Option<u16> {
    publication.properties.short("topic-alias")
}
