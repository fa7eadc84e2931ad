//! A correct Client: its Session State, which outlives connections and the broker's power cuts, and
//! how it handles the packets that arrive. What it does of its own accord is in `habits`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use midge_codec::{Decoded, Packet, PacketType, Publish, ReasonCode, SubAck, decode};
use midge_core::Timestamp;

use crate::ledger::{Arrival, Fate, IncarnationId, Kind, Ledger, LifeId, MessageId, matches};
use crate::link::Link;
use crate::log::Concerned;
use crate::packets;
use crate::plan::ClientPlan;

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) plan: ClientPlan,
    /// The number of its present Network Connection.
    pub(crate) link: Option<usize>,
    pub(crate) connection: Connection,
    pub(crate) session: Option<Session>,
    /// The earliest time from which, for all the broker may remember, the Client has been offline.
    pub(crate) offline_since: Timestamp,
    /// Whether it has asked for Clean Start and has no answer yet.
    pub(crate) wants_clean: bool,
    pub(crate) lost_will: Option<LostWill>,
    /// A delayed Will Message that was due when this Client came back. A cut may restart the delay
    /// until something later is durable.
    pub(crate) due_will: Option<MessageId>,
    /// Whether it has ended its Session without confirmation: until a CONNACK says that the Session
    /// is gone, it may be found again.
    pub(crate) old_session_may_return: bool,
    /// The connection on which it has sent a DISCONNECT that ends its Session, unless power has
    /// been cut since; the broker may have read that DISCONNECT.
    pub(crate) left_by: Option<usize>,
    /// Whether, as far as is known, a CONNECT has no answer: it may have made a Session.
    pub(crate) connect_is_open: bool,
    /// Whether power was cut since the Session began.
    pub(crate) was_cut: bool,
}

/// The state of one Network Connection.
#[derive(Default)]
pub(crate) struct Connection {
    /// Whether the CONNACK has arrived.
    pub(crate) is_connected: bool,
    pub(crate) is_clean: bool,
    /// Whether, for all that the Client knows, the broker may have a Session.
    pub(crate) may_find_session: bool,
    /// Whether something was acknowledged that became durable after the CONNECT.
    pub(crate) is_durable: bool,
    pub(crate) will: Option<SentWill>,
    /// Whether it sends no acknowledgements on this connection before the end of the run.
    pub(crate) withholds: bool,
    /// Acknowledgements that it owes, in order.
    pub(crate) owed: VecDeque<(PacketType, u16)>,
    /// PUBLISH packets of QoS 1 and 2 whose exchange it has not completed.
    pub(crate) receiving: BTreeSet<u16>,
    pub(crate) request: Option<Request>,
    /// When the broker sent the packet that is being read.
    pub(crate) sent_at: Timestamp,
    /// Whether the broker has sent a DISCONNECT.
    pub(crate) is_ended: bool,
}

/// The Will Message of this connection.
#[derive(Clone, Copy)]
pub(crate) struct SentWill {
    pub(crate) message: MessageId,
    pub(crate) delay_seconds: u32,
}

/// A durable Will Message of a connection that has ended without DISCONNECT.
pub(crate) struct LostWill {
    pub(crate) message: MessageId,
    pub(crate) delay_seconds: u32,
    /// The connection that left it.
    pub(crate) link: usize,
}

/// The SUBSCRIBE or UNSUBSCRIBE under way; there is one at a time.
pub(crate) struct Request {
    pub(crate) packet_id: u16,
    pub(crate) filter: String,
    /// How much of each topic's retained history was acknowledged when this was sent.
    pub(crate) floors: BTreeMap<String, usize>,
}

pub(crate) struct Session {
    pub(crate) incarnation: IncarnationId,
    /// Whether the Session outlives the Network Connection.
    pub(crate) is_persistent: bool,
    /// Whether something was acknowledged that makes the Session certain to be there again.
    pub(crate) is_durable: bool,
    pub(crate) outgoing: Vec<Outgoing>,
    /// QoS 2 Packet Identifiers that wait for their PUBREL, with the payloads that they carried.
    pub(crate) received: BTreeMap<u16, Vec<u8>>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
}

/// A message on its way to the broker.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) packet_id: u16,
    pub(crate) message: MessageId,
    pub(crate) topic: String,
    pub(crate) is_released: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    Asked,
    Granted(LifeId),
    /// An UNSUBSCRIBE was sent.
    Leaving,
    /// The UNSUBACK arrived at this step.
    Gone {
        at: u64,
    },
}

impl Client {
    pub(crate) fn new(index: usize, plan: ClientPlan) -> Self {
        Self {
            index,
            plan,
            link: None,
            connection: Connection::default(),
            session: None,
            offline_since: Timestamp::default(),
            wants_clean: false,
            lost_will: None,
            due_will: None,
            old_session_may_return: false,
            left_by: None,
            connect_is_open: false,
            was_cut: false,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some() && self.connection.is_connected
    }

    /// Returns whether it has connected only to get rid of its Session: before MQTT 5 a Clean
    /// Session ends with its connection.
    pub(crate) fn only_cleans(&self) -> bool {
        let is_clean = self.is_connected() && self.connection.is_clean;
        is_clean && self.plan.is_persistent() && !self.plan.is_v5()
    }

    /// Returns whether nothing is under way in either direction.
    pub(crate) fn is_at_rest(&self) -> bool {
        let session = self.session.as_ref();
        self.is_connected()
            && self.connection.owed.is_empty()
            && self.connection.request.is_none()
            && session.is_some_and(|it| it.outgoing.is_empty() && it.received.is_empty())
    }

    pub(crate) fn send(&self, packet: &Packet<'_>, link: &mut Link) {
        packet.encode(self.plan.version, &mut link.to_broker).expect("a valid packet");
    }

    /// Handles what has arrived, at most `packets_max` packets.
    pub(crate) fn read(
        &mut self,
        link: &mut Link,
        ledger: &mut Ledger,
        packets_max: usize,
        now: Timestamp,
    ) {
        let bytes = std::mem::take(&mut link.from_broker);
        let mut at = 0;
        for _ in 0..packets_max {
            match decode(&bytes[at..], self.plan.version, u32::MAX) {
                Ok(Decoded::Packet { packet, length }) => {
                    at += length;
                    self.connection.sent_at = link.note_read(length);
                    self.handle(&packet, link, ledger, now);
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => self.fail(ledger, &format!("the broker sent no packet: {error}")),
            }
        }
        link.from_broker = bytes[at..].to_vec();
    }

    pub(crate) fn fail(&self, ledger: &Ledger, text: &str) -> ! {
        ledger.fail(Concerned::client(self.index), text)
    }

    pub(crate) fn note(&self, ledger: &Ledger, text: impl FnOnce() -> String) {
        ledger.log.note(Concerned::client(self.index), text);
    }

    fn handle(
        &mut self,
        packet: &Packet<'_>,
        link: &mut Link,
        ledger: &mut Ledger,
        now: Timestamp,
    ) {
        if self.connection.is_ended {
            self.fail(ledger, "a packet came behind the DISCONNECT");
        }
        match packet {
            Packet::ConnAck(ack) => {
                self.handle_connack(ack.reason_code, ack.session_present, link, ledger, now);
            }
            _ if !self.connection.is_connected => {
                self.fail(ledger, &format!("{packet:?} came before the CONNACK"));
            }
            Packet::Publish(publish) => self.handle_publish(publish, ledger),
            Packet::PubAck(ack) => {
                self.handle_taken(ack.packet_id.get(), 1, ack.reason_code, ledger);
            }
            Packet::PubRec(ack) => {
                self.handle_taken(ack.packet_id.get(), 2, ack.reason_code, ledger);
            }
            Packet::PubRel(ack) => self.handle_pubrel(ack.packet_id.get(), ledger),
            Packet::PubComp(ack) => self.handle_pubcomp(ack.packet_id.get(), ledger),
            Packet::SubAck(ack) => self.handle_suback(ack, ledger),
            Packet::UnsubAck(ack) => self.handle_unsuback(ack.packet_id.get(), ledger),
            Packet::Disconnect(disconnect) => {
                let code = disconnect.reason_code;
                self.note(ledger, || format!("DISCONNECT {code:?}"));
                let expected = [
                    ReasonCode::QuotaExceeded,
                    ReasonCode::SessionTakenOver,
                    ReasonCode::ServerShuttingDown,
                ];
                if !expected.contains(&code) {
                    self.fail(ledger, &format!("the broker disconnects with {code:?}"));
                }
                self.connection.is_ended = true;
            }
            other => self.fail(ledger, &format!("an unexpected packet: {other:?}")),
        }
    }

    fn handle_connack(
        &mut self,
        code: ReasonCode,
        session_present: bool,
        link: &mut Link,
        ledger: &mut Ledger,
        now: Timestamp,
    ) {
        self.note(ledger, || format!("CONNACK {code:?}, Session Present {session_present}"));
        if code.is_error() {
            return;
        }
        self.connection.is_connected = true;
        self.connect_is_open = false;
        let is_clean = self.connection.is_clean;
        if is_clean && session_present {
            self.fail(ledger, "Session Present behind a Clean Start");
        }
        if session_present && !self.connection.may_find_session {
            self.fail(ledger, "a Session is there of which it was said that it is gone");
        }
        if session_present && self.session.is_some() {
            self.note_durable(ledger);
            return self.resume(link, ledger);
        }
        if let Some(session) = &self.session
            && !is_clean
            && session.is_durable
            && !self.may_have_expired(now)
        {
            self.fail(ledger, "the Session is not there any more");
        }
        self.old_session_may_return = false;
        self.end_session(ledger);
        self.was_cut = false;
        let incarnation = ledger.begin_incarnation(self.index);
        self.session = Some(Session {
            incarnation,
            is_persistent: self.plan.is_persistent() && (self.plan.is_v5() || !is_clean),
            is_durable: false,
            outgoing: Vec::new(),
            received: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
        });
        self.wants_clean = false;
    }

    fn may_have_expired(&self, now: Timestamp) -> bool {
        now >= self.offline_since.plus_seconds(u64::from(self.plan.expiry_seconds))
    }

    /// Returns whether a Session that is found may be another one: the known Session may have
    /// ended, and an unanswered CONNECT may have made a new one afterwards.
    pub(crate) fn may_be_mistaken(&self, now: Timestamp) -> bool {
        let may_be_gone =
            |session: &Session| self.may_have_expired(now) || self.was_cut && !session.is_durable;
        self.connect_is_open && self.session.as_ref().is_some_and(may_be_gone)
    }

    /// Sends everything that is under way again, in order [MQTT-4.4.0-1].
    fn resume(&mut self, link: &mut Link, ledger: &mut Ledger) {
        let Some(session) = &self.session else {
            return;
        };
        for outgoing in &session.outgoing {
            let Outgoing { packet_id, message, .. } = *outgoing;
            let about = Concerned::both(self.index, message);
            if outgoing.is_released {
                ledger.log.note(about, || format!("PUBREL {packet_id} again"));
                self.send(&packets::acknowledgement(PacketType::PubRel, packet_id), link);
                continue;
            }
            ledger.log.note(about, || format!("PUBLISH {packet_id} again"));
            ledger.messages[message].attempts += 1;
            let sent = &ledger.messages[message];
            let flags = (sent.kind == Kind::Retained, true);
            let (qos, expiry) = (sent.qos, sent.expiry_seconds);
            let packet =
                packets::publish(&outgoing.topic, &sent.payload, qos, packet_id, flags, expiry);
            self.send(&packet, link);
        }
    }

    /// Ends the Session as far as the Client knows.
    pub(crate) fn end_session(&mut self, ledger: &mut Ledger) {
        let Some(session) = self.session.take() else {
            return;
        };
        for outgoing in session.outgoing {
            let message = &mut ledger.messages[outgoing.message];
            if message.fate == Fate::Open {
                message.fate = Fate::Abandoned;
            }
        }
        ledger.end_incarnation(session.incarnation);
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, ledger: &mut Ledger) {
        let (topic, qos) = (publish.topic.as_str(), publish.qos as u8);
        let packet_id = publish.packet_id.map_or(0, midge_codec::PacketIdentifier::get);
        self.note(ledger, || format!("PUBLISH {packet_id} dup {} QoS {qos}", publish.dup));
        if packet_id == 0 {
            self.fail(ledger, &format!("QoS 0 at {topic}, which nobody has published"));
        }
        let is_new = self.connection.receiving.insert(packet_id);
        if !is_new {
            self.fail(ledger, &format!("Packet Identifier {packet_id} is still in use"));
        }
        let most = self.plan.receive_maximum.filter(|_| self.plan.is_v5()).unwrap_or(u16::MAX);
        if self.connection.receiving.len() > usize::from(most) {
            self.fail(ledger, "more than the Receive Maximum [MQTT-3.3.4-9]");
        }
        let kind = if qos == 2 { PacketType::PubRec } else { PacketType::PubAck };
        self.connection.owed.push_back((kind, packet_id));
        let Some(session) = &mut self.session else {
            return;
        };
        if qos == 2
            && let Some(known) = session.received.insert(packet_id, publish.payload.to_vec())
        {
            if known != publish.payload {
                let text = format!("Packet Identifier {packet_id} names another message already");
                self.fail(ledger, &text);
            }
            return;
        }
        let arrival = Arrival {
            client: self.index,
            incarnation: session.incarnation,
            topic,
            payload: publish.payload,
            qos,
            retain: publish.retain,
        };
        let message = ledger.receive(&arrival);
        if let (Some(message), false) = (message, publish.dup) {
            self.check_dup(topic, message, ledger);
            self.check_expiry(publish, message, ledger);
        }
        self.check_subscribed(topic, message, ledger);
    }

    /// Checks that a message that the Client has received before comes with DUP [MQTT-3.3.1-1],
    /// unless it may have been published more than once, or has another reason to come.
    fn check_dup(&self, topic: &str, message: MessageId, ledger: &Ledger) {
        let Some(session) = &self.session else {
            return;
        };
        let sent = &ledger.messages[message];
        let mut filters = session.subscriptions.keys();
        let is_shared = filters.any(|it| it.starts_with("$share/") && matches(it, topic));
        let is_once_kind = match sent.kind {
            Kind::Plain => true,
            // After a cut, the broker may not know that it has published it already.
            Kind::Delayed => !ledger.was_cut_since(message),
            Kind::Retained | Kind::Will => false,
        };
        let is_once = sent.attempts == 1 && is_once_kind && !is_shared;
        let seen = ledger.incarnations[session.incarnation].seen.get(&message);
        if is_once && seen.is_some_and(|count| *count > 1) {
            let about = Concerned::both(self.index, message);
            ledger.fail(about, "a message comes again without DUP");
        }
    }

    /// Checks that no message is sent after it has expired [MQTT-3.3.2-5], and that the receiver is
    /// not told a longer time than the publisher said.
    fn check_expiry(&self, publish: &Publish<'_>, message: MessageId, ledger: &Ledger) {
        let (sent, about) = (&ledger.messages[message], Concerned::both(self.index, message));
        let sent_at = self.connection.sent_at;
        if sent.has_surely_expired(sent_at) {
            ledger.fail(about, &format!("it was sent at {sent_at:?}, when it had expired"));
        }
        let told = publish.properties.message_expiry_interval_seconds;
        let is_right = match sent.expiry_seconds.filter(|_| self.plan.is_v5()) {
            Some(seconds) => told.is_some_and(|told| told <= seconds),
            None => told.is_none(),
        };
        if !is_right {
            let said = sent.expiry_seconds;
            ledger.fail(about, &format!("it expires in {told:?} s, and {said:?} was said"));
        }
    }

    /// Checks that nothing comes without a subscription.
    fn check_subscribed(&self, topic: &str, message: Option<MessageId>, ledger: &Ledger) {
        let sent = message.map(|message| &ledger.messages[message]);
        let subscriptions = self.session.iter().flat_map(|session| &session.subscriptions);
        let is_allowed = |(filter, state): (&String, &Subscription)| {
            matches(filter, topic)
                && match (state, sent) {
                    // Another worker may choose a member of whose end it has not heard yet.
                    (Subscription::Gone { at }, Some(sent)) => {
                        filter.starts_with("$share/")
                            || sent.first_sent <= *at
                            || matches!(sent.kind, Kind::Delayed | Kind::Will)
                    }
                    _ => true,
                }
        };
        if !subscriptions.into_iter().any(is_allowed) {
            let about = Concerned { client: Some(self.index), message };
            ledger.fail(about, &format!("a message to {topic} came without a subscription"));
        }
    }

    /// Handles a PUBACK or PUBREC.
    fn handle_taken(&mut self, packet_id: u16, qos: u8, code: ReasonCode, ledger: &mut Ledger) {
        let Some(session) = &mut self.session else {
            return;
        };
        let found = session.outgoing.iter().position(|outgoing| {
            outgoing.packet_id == packet_id
                && !outgoing.is_released
                && ledger.messages[outgoing.message].qos == qos
        });
        let Some(place) = found else {
            self.fail(ledger, &format!("Packet Identifier {packet_id} is not under way"));
        };
        let message = session.outgoing[place].message;
        let about = Concerned::both(self.index, message);
        ledger.log.note(about, || format!("PUBACK or PUBREC {packet_id} {code:?}"));
        if code.is_error() {
            if code != ReasonCode::QuotaExceeded {
                ledger.fail(about, &format!("refused with {code:?}"));
            }
            ledger.messages[message].fate = Fate::Refused;
            session.outgoing.remove(place);
        } else {
            ledger.acknowledge(message);
            if qos == 2 {
                session.outgoing[place].is_released = true;
                self.connection.owed.push_back((PacketType::PubRel, packet_id));
            } else {
                session.outgoing.remove(place);
            }
        }
        if qos == 2 && !code.is_error() {
            self.note_durable(ledger);
        }
    }

    fn handle_pubrel(&mut self, packet_id: u16, ledger: &Ledger) {
        self.note(ledger, || format!("PUBREL {packet_id} came"));
        if let Some(session) = &mut self.session {
            session.received.remove(&packet_id);
            self.connection.owed.push_back((PacketType::PubComp, packet_id));
        }
    }

    fn handle_pubcomp(&mut self, packet_id: u16, ledger: &Ledger) {
        self.note(ledger, || format!("PUBCOMP {packet_id} came"));
        let Some(session) = &mut self.session else {
            return;
        };
        let is_it = |outgoing: &Outgoing| outgoing.packet_id == packet_id && outgoing.is_released;
        let Some(place) = session.outgoing.iter().position(is_it) else {
            self.fail(ledger, &format!("PUBCOMP {packet_id} ends nothing"));
        };
        session.outgoing.remove(place);
    }

    /// Notes that the broker has acknowledged something that comes after the CONNECT in its store.
    fn note_durable(&mut self, ledger: &mut Ledger) {
        if let Some(session) = self.session.as_mut().filter(|session| session.is_persistent) {
            session.is_durable = true;
            self.connection.is_durable = true;
            self.old_session_may_return = false;
            self.expect_due_will(ledger);
        }
    }

    /// Expects the Will Message that was due: no cut can take it back any more.
    pub(crate) fn expect_due_will(&mut self, ledger: &mut Ledger) {
        if let Some(message) = self.due_will.take() {
            ledger.messages[message].fate = Fate::Acknowledged;
        }
    }

    fn handle_suback(&mut self, ack: &SubAck<'_>, ledger: &mut Ledger) {
        let packet_id = ack.packet_id.get();
        let request = self.take_request(packet_id, ledger);
        let code = ack.reason_codes.iter().next().expect("one Reason Code for one filter");
        self.note(ledger, || format!("SUBACK {packet_id} {code:?} for {}", request.filter));
        self.note_durable(ledger);
        let Some(session) = &mut self.session else {
            return;
        };
        let state = session.subscriptions.entry(request.filter.clone());
        let state = state.or_insert(Subscription::Asked);
        if code.is_error() {
            return;
        }
        if *code as u8 != self.plan.qos {
            self.fail(ledger, &format!("granted {code:?}"));
        }
        if *state == Subscription::Asked {
            let life = ledger.grant(session.incarnation, &request.filter, &request.floors);
            *state = Subscription::Granted(life);
        }
    }

    fn handle_unsuback(&mut self, packet_id: u16, ledger: &Ledger) {
        let request = self.take_request(packet_id, ledger);
        self.note(ledger, || format!("UNSUBACK {packet_id} for {}", request.filter));
        if let Some(session) = &mut self.session {
            let state = Subscription::Gone { at: ledger.step };
            session.subscriptions.insert(request.filter, state);
        }
    }

    fn take_request(&mut self, packet_id: u16, ledger: &Ledger) -> Request {
        match self.connection.request.take() {
            Some(request) if request.packet_id == packet_id => request,
            _ => self.fail(ledger, &format!("Packet Identifier {packet_id} asks for nothing")),
        }
    }

    /// Sends at most `most` of the acknowledgements that it owes, in order [MQTT-4.6.0-2].
    pub(crate) fn acknowledge(&mut self, most: usize, link: &mut Link, ledger: &Ledger) {
        for _ in 0..most {
            let Some((kind, packet_id)) = self.connection.owed.pop_front() else {
                return;
            };
            self.note(ledger, || format!("{} {packet_id}", kind.name()));
            self.send(&packets::acknowledgement(kind, packet_id), link);
            if matches!(kind, PacketType::PubAck | PacketType::PubComp) {
                self.connection.receiving.remove(&packet_id);
            }
        }
    }

    /// Notes that the Network Connection is gone; `is_orderly` if the Client had sent a DISCONNECT.
    pub(crate) fn lose(&mut self, is_orderly: bool, ledger: &mut Ledger, now: Timestamp) {
        let Some(link) = self.link.take() else {
            return;
        };
        let connection = std::mem::take(&mut self.connection);
        if connection.is_durable {
            self.offline_since = now;
        }
        if let Some(SentWill { message, delay_seconds }) = connection.will {
            ledger.messages[message].may_come = true;
            if connection.is_durable && !is_orderly {
                self.lost_will = Some(LostWill { message, delay_seconds, link });
            }
        }
        if self.session.as_ref().is_some_and(|session| !session.is_persistent) {
            self.end_session(ledger);
        }
    }

    /// Notes that the broker may publish the Will Message, if there is one.
    pub(crate) fn let_will_come(&self, ledger: &mut Ledger) {
        if let Some(will) = &self.connection.will {
            ledger.messages[will.message].may_come = true;
        }
    }

    /// Notes that the broker's power is cut: the broker may have forgotten what was not durable.
    pub(crate) fn note_cut(&mut self) {
        self.was_cut = true;
        self.due_will = None;
        // A careful Client says again that it does not want the old Session.
        self.wants_clean |= self.old_session_may_return;
        self.left_by = None;
    }
}
