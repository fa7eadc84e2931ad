//! What a received Control Packet does to the session.

use std::rc::Rc;
use std::time::{Duration, Instant};

use midge_codec::{
    Acknowledgement, ConnAck, Packet, PacketIdentifier, ProtocolVersion, Publish, QoS, ReasonCode,
    SubAck, UnsubAck,
};
use midge_core::counted;

use super::in_flight::Stage;
use super::{Answer, Event, Phase, Session};
use crate::client::message::Message;

/// A breach of the protocol: what the Server did, and the Reason Code for the DISCONNECT.
type Breach = (String, ReasonCode);

impl Session {
    pub(super) fn handle_packet(
        &mut self,
        packet: &Packet<'_>,
        now: Instant,
    ) -> Result<(), Breach> {
        match packet {
            Packet::ConnAck(connack) if self.phase != Phase::Connected => {
                self.handle_connack(connack, now);
            }
            Packet::Auth(_) => {
                let text = "asks for a further step of authentication, which this command lacks";
                return Err((text.to_owned(), ReasonCode::BadAuthenticationMethod));
            }
            Packet::Disconnect(disconnect) if self.options.version == ProtocolVersion::V5 => {
                let reference = disconnect.server_reference;
                let answer = answer(disconnect.reason_code, disconnect.reason_string, reference);
                self.events.push_back(Event::Disconnected(answer));
                self.phase = Phase::NoConnection;
            }
            _ if self.phase != Phase::Connected => {
                return Err(breach("sent another packet before the CONNACK"));
            }
            Packet::Publish(publish) => self.handle_publish(publish, now)?,
            Packet::PubAck(content) => self.handle_final(content, Stage::Publish, now),
            Packet::PubRec(content) => self.handle_pubrec(content, now),
            Packet::PubRel(content) => self.handle_pubrel(content, now),
            Packet::PubComp(content) => self.handle_final(content, Stage::PubRel, now),
            Packet::SubAck(suback) => self.handle_suback(suback)?,
            Packet::UnsubAck(unsuback) => self.handle_unsuback(unsuback)?,
            Packet::PingResp => self.ping_sent = None,
            _ => return Err(breach("sent a packet that only a client may send")),
        }
        Ok(())
    }

    fn handle_connack(&mut self, connack: &ConnAck<'_>, now: Instant) {
        let properties = &connack.properties;
        if connack.reason_code >= ReasonCode::UnspecifiedError {
            let reference = properties.server_reference;
            let answer = answer(connack.reason_code, properties.reason_string, reference);
            self.events.push_back(Event::Refused(answer));
            self.phase = Phase::NoConnection;
            return;
        }
        let limits = &mut self.limits;
        limits.receive_maximum = properties.receive_maximum.map_or(u16::MAX, Into::into);
        if let Some(size) = properties.maximum_packet_size {
            limits.maximum_packet_size = size.get().min(limits.maximum_packet_size);
        }
        limits.maximum_qos = properties.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        limits.retain_available = properties.retain_available.unwrap_or(true);
        limits.topic_alias_maximum = properties.topic_alias_maximum.unwrap_or(0);
        limits.response_information = properties.response_information.map(str::to_owned);
        if let Some(seconds) = properties.server_keep_alive {
            limits.keep_alive = Duration::from_secs(seconds.into());
        }
        if let Some(client_id) = properties.assigned_client_identifier {
            client_id.clone_into(&mut Rc::make_mut(&mut self.options).client_id);
        }
        self.phase = Phase::Connected;
        self.connected_before = true;
        self.events.push_back(Event::Connected { session_present: connack.session_present });
        self.redeliver(connack.session_present, now);
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, now: Instant) -> Result<(), Breach> {
        if !self.takes_messages {
            return Ok(());
        }
        let topic = self.resolve_topic(publish)?;
        let is_new = match (publish.qos, publish.packet_id) {
            (QoS::ExactlyOnce, Some(packet_id)) => self.unreleased.insert(packet_id),
            _ => true,
        };
        if is_new {
            let message = Message::from_publish(publish, topic);
            self.events.push_back(Event::Message(Box::new(message)));
        }
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                self.acknowledge(Packet::PubAck, packet_id, ReasonCode::Success, now);
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                self.acknowledge(Packet::PubRec, packet_id, ReasonCode::Success, now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the Topic Name, also if a topic alias stands for it.
    fn resolve_topic(&mut self, publish: &Publish<'_>) -> Result<String, Breach> {
        let topic = publish.topic.as_str();
        let Some(alias) = publish.properties.topic_alias.map(u16::from) else {
            return Ok(topic.to_owned());
        };
        let maximum = self.options.properties.short("topic-alias-maximum").unwrap_or(0);
        if alias > maximum {
            let text = format!("sent the topic alias {alias}, above the maximum of {maximum}");
            return Err((text, ReasonCode::TopicAliasInvalid));
        }
        let aliases = &mut self.streams[self.handled].topic_aliases;
        if !topic.is_empty() {
            aliases.insert(alias, topic.to_owned());
            return Ok(topic.to_owned());
        }
        aliases.get(&alias).cloned().ok_or_else(|| {
            let text = format!("sent the topic alias {alias} before its Topic Name");
            (text, ReasonCode::TopicAliasInvalid)
        })
    }

    /// Handles a PUBACK or PUBCOMP, which completes a message. One that belongs to no message is
    /// ignored.
    fn handle_final(&mut self, content: &Acknowledgement<'_>, stage: Stage, now: Instant) {
        let awaited = |entry: &super::in_flight::Entry| {
            entry.stage == stage
                && (stage == Stage::PubRel || entry.publication.qos == QoS::AtLeastOnce)
        };
        if self.in_flight.get_mut(content.packet_id).is_some_and(|entry| awaited(entry)) {
            self.finish(content, now);
        }
    }

    fn handle_pubrec(&mut self, content: &Acknowledgement<'_>, now: Instant) {
        let packet_id = content.packet_id;
        let Some(entry) = self.in_flight.get_mut(packet_id) else {
            let reason_code = ReasonCode::PacketIdentifierNotFound;
            self.acknowledge(Packet::PubRel, packet_id, reason_code, now);
            return;
        };
        if content.reason_code >= ReasonCode::UnspecifiedError {
            self.finish(content, now);
            return;
        }
        entry.stage = Stage::PubRel;
        self.acknowledge(Packet::PubRel, packet_id, ReasonCode::Success, now);
    }

    fn finish(&mut self, content: &Acknowledgement<'_>, now: Instant) {
        if let Some(publication) = self.in_flight.remove(content.packet_id) {
            let topic = publication.topic.to_string();
            let reason_code = match content.reason_code {
                // The answer to a PUBREL that was sent again: the Server had completed the exchange
                // before.
                ReasonCode::PacketIdentifierNotFound => ReasonCode::Success,
                reason_code => reason_code,
            };
            let answer = answer(reason_code, content.reason_string, None);
            self.events.push_back(Event::Published { topic, answer });
            self.send_queued(now);
        }
    }

    fn handle_pubrel(&mut self, content: &Acknowledgement<'_>, now: Instant) {
        let reason_code = if self.unreleased.remove(&content.packet_id) {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.acknowledge(Packet::PubComp, content.packet_id, reason_code, now);
    }

    pub(super) fn acknowledge(
        &mut self,
        packet: fn(Acknowledgement<'static>) -> Packet<'static>,
        packet_id: PacketIdentifier,
        reason_code: ReasonCode,
        now: Instant,
    ) {
        let content = Acknowledgement {
            packet_id,
            reason_code,
            reason_string: None,
            user_properties: Default::default(),
        };
        self.send_on(self.handled, &packet(content), now);
    }

    fn handle_suback(&mut self, suback: &SubAck<'_>) -> Result<(), Breach> {
        let results = self.results("SUBACK", suback.packet_id, &suback.reason_codes)?;
        let reason_string = suback.reason_string.map(str::to_owned);
        self.events.push_back(Event::Subscribed { results, reason_string });
        Ok(())
    }

    fn handle_unsuback(&mut self, unsuback: &UnsubAck<'_>) -> Result<(), Breach> {
        let results = match self.options.version {
            ProtocolVersion::V5 => {
                self.results("UNSUBACK", unsuback.packet_id, &unsuback.reason_codes)?
            }
            _ => {
                let filters = self.requests.remove(&unsuback.packet_id).unwrap_or_default();
                filters.into_iter().map(|filter| (filter, ReasonCode::Success)).collect()
            }
        };
        let reason_string = unsuback.reason_string.map(str::to_owned);
        self.events.push_back(Event::Unsubscribed { results, reason_string });
        Ok(())
    }

    fn results(
        &mut self,
        packet: &str,
        packet_id: PacketIdentifier,
        reason_codes: &[ReasonCode],
    ) -> Result<Vec<(String, ReasonCode)>, Breach> {
        let filters = self.requests.remove(&packet_id);
        let filters =
            filters.ok_or_else(|| breach(&format!("sent a {packet} that nothing asked for")))?;
        if filters.len() != reason_codes.len() {
            return Err(breach(&format!(
                "sent a {packet} with {} for {}",
                counted(reason_codes.len(), "Reason Code"),
                counted(filters.len(), "Topic Filter")
            )));
        }
        Ok(filters.into_iter().zip(reason_codes.iter().copied()).collect())
    }
}

pub(super) fn answer(
    reason_code: ReasonCode,
    reason_string: Option<&str>,
    server_reference: Option<&str>,
) -> Answer {
    Answer {
        reason_code,
        reason_string: reason_string.map(str::to_owned),
        server_reference: server_reference.map(str::to_owned),
    }
}

fn breach(text: &str) -> Breach {
    (text.to_owned(), ReasonCode::ProtocolError)
}
