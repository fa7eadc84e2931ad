//! Sessions of the program itself. For the core, each is that of a Client with a Network
//! Connection; this module is the other end of that connection, inside the worker. It speaks MQTT
//! 5.0 for the program, so that everything that holds for Clients holds for it: windows, queues,
//! the store.

use std::io::IoSlice;
use std::num::NonZeroU16;
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{
    Acknowledgement, ConnAck, Connect, ConnectProperties, Decoded, Disconnect, Packet,
    PacketIdentifier, ProtocolVersion, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    Subscription, SubscriptionOptions, decode,
};
use midge_core::{
    Attributes, AuthAnswer, ConnectionId, Durability, Identity, Message, MessageParts, Output,
};

use crate::directory::Ownership;
use crate::inbox::{Letter, OpenSession};
use crate::program::reply::{Answer, RequestError};
use crate::program::session::{
    Line, ProgramSession, SessionAct, SessionDelivery, SessionMessage, SessionOptions, SessionQueue,
};
use crate::worker::Worker;

/// The Sessions of the program that are open in one worker.
#[derive(Default)]
pub(crate) struct Residents {
    open: HashMap<ConnectionId, Resident, foldhash::fast::FixedState>,
    /// What the core has sent to them, not yet looked at.
    arrived: Vec<(ConnectionId, Vec<u8>)>,
}

struct Resident {
    client_id: Box<str>,
    filters: Box<[(Box<str>, QoS)]>,
    options: SessionOptions,
    queue: SessionQueue,
    line: Line,
    was_present: bool,
    /// Whether the directory counts its CONNECT.
    has_claim: bool,
    /// The caller who waits for the subscriptions to take effect.
    answer: Option<Answer<ProgramSession, RequestError>>,
    /// What the program has not acknowledged, by Packet Identifier: the numbers of the deliveries.
    /// The window of the Session bounds it.
    unacknowledged: HashMap<u16, u64, foldhash::fast::FixedState>,
    last_number: u64,
}

/// Nothing else is under way that would need another one.
const SUBSCRIBE_ID: PacketIdentifier = PacketIdentifier::MIN;

impl Residents {
    /// Returns whether this is the connection of a Session of the program.
    pub(crate) fn has(&self, id: ConnectionId) -> bool {
        !self.open.is_empty() && self.open.contains_key(&id)
    }

    pub(crate) fn close_all(&mut self) {
        self.open.drain().for_each(|(_, resident)| resident.queue.close());
    }
}

impl Resident {
    /// Returns a new number for a message that the program has to acknowledge.
    fn note_delivery(&mut self, packet_id: PacketIdentifier) -> SessionDelivery {
        self.last_number += 1;
        self.unacknowledged.insert(packet_id.get(), self.last_number);
        SessionDelivery { packet_id, number: self.last_number }
    }

    /// Returns whether a message is acknowledged for the first time.
    fn take_acknowledgement(&mut self, delivery: SessionDelivery) -> bool {
        let id = delivery.packet_id.get();
        let is_first = self.unacknowledged.get(&id) == Some(&delivery.number);
        is_first && self.unacknowledged.remove(&id).is_some()
    }

    /// Answers whoever has opened the Session.
    fn answer(&mut self, refusal: Option<ReasonCode>) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        answer.end(match refusal {
            Some(code) => Err(RequestError::Refused(code)),
            None => Ok(ProgramSession::new(
                Arc::clone(&self.queue),
                self.line.clone(),
                self.options.acknowledge,
                self.was_present,
            )),
        });
    }
}

impl Worker {
    /// Opens a Session of the program, at the worker that owns it.
    pub(crate) fn open_session(&mut self, request: Box<OpenSession>) {
        if let Some(directory) = &self.node.directory {
            match directory.owner_or_claim(&request.client_id, self.id) {
                Ownership::Own => (),
                // Such a Session never moves.
                Ownership::Other(owner) | Ownership::Moving(owner) => {
                    return self.node.inboxes[owner.index()].send(Letter::OpenSession(request));
                }
            }
        }
        let OpenSession { client_id, filters, options, answer } = *request;
        let id = self.core.open_for_program(self.turn.now);
        let inbox = Arc::clone(&self.node.inboxes[self.id.index()]);
        let line = Line::new(id, move |act| inbox.send(Letter::Session(act)));
        let connect = Packet::Connect(Box::new(Connect {
            version: ProtocolVersion::V5,
            bridge: false,
            clean_start: false,
            keep_alive_seconds: 0,
            client_id: &client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: Some(options.expiry_seconds),
                receive_maximum: NonZeroU16::new(options.unacknowledged_max.max(1)),
                ..ConnectProperties::default()
            },
        }));
        let resident = Resident {
            client_id: client_id.clone(),
            filters,
            options,
            queue: ProgramSession::new_queue(),
            line,
            was_present: false,
            has_claim: self.node.directory.is_some(),
            answer: Some(answer),
            unacknowledged: HashMap::default(),
            last_number: 0,
        };
        self.residents.open.insert(id, resident);
        self.core.handle_packet(id, &connect, &mut self.turn);
    }

    /// Answers that the Client who asks is the program itself.
    pub(crate) fn admit_resident(&mut self, id: ConnectionId) {
        self.core.handle_auth_answer(id, AuthAnswer::allow(None), None, &mut self.turn);
    }

    /// Does what the program asks for.
    pub(crate) fn act_for_program(&mut self, act: SessionAct) {
        match act {
            SessionAct::Acknowledge { connection, delivery, qos } => {
                let resident = self.residents.open.get_mut(&connection);
                if !resident.is_some_and(|it| it.take_acknowledgement(delivery)) {
                    return;
                }
                let acknowledgement = Acknowledgement::success(delivery.packet_id);
                let packet = match qos {
                    QoS::ExactlyOnce => Packet::PubRec(acknowledgement),
                    _ => Packet::PubAck(acknowledgement),
                };
                self.core.handle_packet(connection, &packet, &mut self.turn);
            }
            SessionAct::Close { connection } => self.end_connection(connection),
            SessionAct::End { connection } => {
                let disconnect = Disconnect {
                    reason_code: ReasonCode::Success,
                    session_expiry_interval: Some(0),
                    reason_string: None,
                    user_properties: Default::default(),
                    server_reference: None,
                };
                let packet = Packet::Disconnect(disconnect);
                self.core.handle_packet(connection, &packet, &mut self.turn);
            }
        }
    }

    /// Takes everything that the core has written to a Session of the program.
    pub(crate) fn collect_for_resident(&mut self, id: ConnectionId) {
        let mut bytes = Vec::new();
        while self.core.output(id).is_some_and(|output: &Output| !output.is_empty()) {
            let mut slices = [IoSlice::new(&[]); Self::SLICES];
            let filled = self.core.next_slices(id, &mut slices);
            let before = bytes.len();
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            self.core.handle_written(id, bytes.len() - before, &mut self.turn);
        }
        self.residents.arrived.push((id, bytes));
    }

    /// Handles what the Sessions of the program have got.
    pub(crate) fn take_what_residents_got(&mut self) {
        for (id, bytes) in std::mem::take(&mut self.residents.arrived) {
            let mut rest = &bytes[..];
            while let Ok(Decoded::Packet { packet, length }) =
                decode(rest, ProtocolVersion::V5, u32::MAX)
            {
                self.handle_for_resident(id, &packet);
                rest = &rest[length..];
            }
            debug_assert!(rest.is_empty(), "the core writes whole packets");
        }
    }

    fn handle_for_resident(&mut self, id: ConnectionId, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(connack) => self.begin_resident(id, connack),
            Packet::SubAck(suback) => self.answer_resident(id, suback),
            Packet::Publish(publish) => self.give_to_resident(id, publish),
            Packet::PubRel(release) => {
                let complete = Packet::PubComp(Acknowledgement::success(release.packet_id));
                self.core.handle_packet(id, &complete, &mut self.turn);
            }
            // The end of the connection follows. Whoever still waits is told why.
            Packet::Disconnect(disconnect) => {
                if let Some(resident) = self.residents.open.get_mut(&id) {
                    resident.answer(Some(disconnect.reason_code));
                }
            }
            // Nothing else needs an answer.
            _ => (),
        }
    }

    /// Goes on when the CONNECT of a Session of the program is answered.
    fn begin_resident(&mut self, id: ConnectionId, connack: &ConnAck<'_>) {
        self.end_claim_of_resident(id);
        let Some(resident) = self.residents.open.get_mut(&id) else {
            return;
        };
        if connack.reason_code.is_error() {
            return resident.answer(Some(connack.reason_code));
        }
        resident.was_present = connack.session_present;
        if resident.filters.is_empty() {
            return resident.answer(None);
        }
        // Whoever goes on where it was has had what is retained.
        let retain_handling = RetainHandling::SendIfNew;
        let filters = std::mem::take(&mut resident.filters);
        let options = |qos| SubscriptionOptions { qos, retain_handling, ..Default::default() };
        let entries =
            filters.iter().map(|(filter, qos)| Subscription { filter, options: options(*qos) });
        let entries: Vec<_> = entries.collect();
        let subscribe = Packet::Subscribe(Subscribe {
            packet_id: SUBSCRIBE_ID,
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: entries[..].into(),
        });
        self.core.handle_packet(id, &subscribe, &mut self.turn);
    }

    /// Answers that the subscriptions are in effect or that one was refused, which ends the
    /// connection: whoever asked has nothing then.
    fn answer_resident(&mut self, id: ConnectionId, suback: &SubAck<'_>) {
        let Some(resident) = self.residents.open.get_mut(&id) else {
            return;
        };
        let refusal = suback.reason_codes.iter().copied().find(|code| code.is_error());
        resident.answer(refusal);
        if refusal.is_some() {
            self.end_connection(id);
        }
    }

    fn give_to_resident(&mut self, id: ConnectionId, publish: &Publish<'_>) {
        let Some(resident) = self.residents.open.get_mut(&id) else {
            return;
        };
        let mut properties = Vec::new();
        publish.properties.encode_forwarded(&mut properties);
        let message = Message::new(MessageParts {
            topic: publish.topic.as_str(),
            properties: &properties,
            payload: publish.payload,
            attributes: Attributes {
                qos: publish.qos,
                retain: publish.retain,
                expires_at: None,
                publisher_session: None,
                durability: Durability::Memory,
            },
            publisher: Arc::new(Identity::new("".into(), None)),
        });
        let line = resident.line.clone();
        let delivery = publish.packet_id.map(|packet_id| resident.note_delivery(packet_id));
        let received = SessionMessage::new(message, publish.retain, publish.dup, delivery, line);
        if publish.packet_id.is_some() {
            // The window of the Session bounds these.
            resident.queue.push_bounded_otherwise(received);
        } else if !resident.queue.push(received.clone()) {
            self.core.note_local_drop(received.message(), &mut self.turn);
        }
    }

    /// Forgets a Session of the program whose connection has ended.
    pub(crate) fn remove_resident(&mut self, id: ConnectionId) {
        self.end_claim_of_resident(id);
        if let Some(resident) = self.residents.open.remove(&id) {
            resident.queue.close();
        }
    }

    fn end_claim_of_resident(&mut self, id: ConnectionId) {
        if let (Some(resident), Some(directory)) =
            (self.residents.open.get_mut(&id), &self.node.directory)
            && std::mem::take(&mut resident.has_claim)
        {
            let client_id = &resident.client_id;
            directory.end_claim(client_id, self.id, self.core.owns(client_id));
        }
    }
}
