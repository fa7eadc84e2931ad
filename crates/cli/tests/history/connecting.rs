//! How a Client connects, resumes its Session or begins a new one, and takes its Session over from
//! a Network Connection that it still has.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use midge_codec::{
    Connect, ConnectProperties, Packet, PacketType, ProtocolVersion, PublishProperties, ReasonCode,
    TopicName, Will,
};

use crate::common::wire::{self, Gone, Incoming};
use crate::device::{Device, Link, State};
use crate::history::{
    self, ConnectionId, End, Message, MessageId, Micros, OutageKind, SECOND, What,
};
use crate::payload;
use crate::scene::Phase;

/// How long an answer may take, including stops and stalls.
const PATIENCE: Duration = Duration::from_secs(30);

impl Device {
    /// Connects; if there is a Network Connection already, takes the Session over from it.
    pub(crate) fn connect(&mut self) -> Result<(), Gone> {
        let mut wire = wire::Connection::open(self.scene.port, self.habits.version)?;
        let resets = self.scene.phase() == Phase::Chaos
            && self.habits.clean_one_in > 0
            && self.random.once_in(self.habits.clean_one_in);
        // A DISCONNECT is not acknowledged: a Client that ended its Session with one says so again.
        let may_return = self.left_for_good.is_some_and(|left| self.is_explained(left));
        let is_clean = self.habits.is_clean || self.wants_clean || resets || may_return;
        let will = self.draw_up_will();
        let asked = self.now();
        let takeover = self.link.is_some();
        self.put_connect(&mut wire, is_clean, will);
        let number = self.note_connect(asked, is_clean, will);
        self.note(None, 0, What::Connect { clean: is_clean, takeover });
        if is_clean || takeover && self.habits.expiry_seconds == 0 {
            self.end_session(asked);
        }
        self.wants_clean = is_clean && !self.habits.is_clean;
        let old = self.link.take().map(|link| self.hand_over(link, asked));
        let answer = self.await_connack(&mut wire, number);
        let session_present = match answer {
            // MQTT 3.1 has no Session Present: its Clients continue with what they have.
            Ok(_) if self.habits.version == ProtocolVersion::V3_1 => self.session.is_some(),
            Ok(session_present) => session_present,
            Err(gone) => {
                self.give_up(number);
                return Err(gone);
            }
        };
        self.judge_session(session_present, is_clean, asked);
        self.begin(wire, number, session_present, is_clean);
        if is_clean && !self.habits.is_clean {
            self.scene.offer();
        }
        old.map_or(Ok(()), |old| self.expect_end(old))
    }

    /// Gives up an unanswered CONNECT: the Session may have ended, and a new one may have begun.
    fn give_up(&mut self, number: ConnectionId) {
        let now = self.now();
        self.scene.history.lock().connections[number].end = Some((End::ByBroker, now));
        self.note(None, 0, What::Gone);
        self.unanswered_until = Some(now);
        if self.session.is_some() && self.may_have_expired(now) {
            self.wants_clean = true;
        }
    }

    fn draw_up_will(&mut self) -> Option<(MessageId, u32)> {
        let plan = self.habits.will?;
        let delay = if plan.delay_seconds_max == 0 || !self.is_v5() {
            0
        } else {
            1 + self.random.below(u64::from(plan.delay_seconds_max)) as u32
        };
        let message = Message {
            publisher: self.client,
            line: (None, 0),
            topic: format!("w/{}", self.client),
            qos: plan.qos,
            retain: false,
            is_will: true,
            payload_bytes: 20 + self.random.below(60) as usize,
            expiry_seconds: None,
            delay_seconds: 0,
            sent: vec![self.now()],
            acknowledged: None,
        };
        let mut tables = self.scene.history.lock();
        tables.messages.push(message);
        Some((tables.messages.len() - 1, delay))
    }

    fn note_connect(
        &self,
        asked: Micros,
        is_clean: bool,
        will: Option<(MessageId, u32)>,
    ) -> ConnectionId {
        let mut tables = self.scene.history.lock();
        tables.connections.push(history::Connection {
            client: self.client,
            session: None,
            asked,
            answered: None,
            is_clean,
            will,
            expiry_seconds: self.habits.expiry_seconds,
            promised: None,
            end: None,
        });
        tables.connections.len() - 1
    }

    fn put_connect(
        &self,
        wire: &mut wire::Connection,
        clean_start: bool,
        will: Option<(MessageId, u32)>,
    ) {
        let topic = format!("w/{}", self.client);
        let length = |id: MessageId| self.scene.history.lock().messages[id].payload_bytes;
        let payload = will.map(|(id, _)| payload::of(id, length(id))).unwrap_or_default();
        let plan = self.habits.will.unwrap_or_default();
        let lasting = self.is_v5() && self.habits.expiry_seconds > 0;
        let connect = Connect {
            version: self.habits.version,
            bridge: false,
            clean_start,
            keep_alive_seconds: self.habits.keep_alive_seconds,
            client_id: &self.habits.id,
            will: will.map(|(_, delay)| Will {
                qos: plan.qos,
                retain: false,
                topic: TopicName::new(&topic).unwrap(),
                payload: &payload,
                delay_interval_seconds: (self.is_v5() && delay > 0).then_some(delay),
                properties: PublishProperties::default(),
            }),
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: lasting.then_some(self.habits.expiry_seconds),
                receive_maximum: NonZeroU16::new(self.habits.receive_maximum)
                    .filter(|_| self.is_v5()),
                topic_alias_maximum: (self.is_v5() && self.habits.takes_aliases).then_some(5),
                ..ConnectProperties::default()
            },
        };
        wire.put(&Packet::Connect(Box::new(connect)));
    }

    fn await_connack(
        &self,
        wire: &mut wire::Connection,
        number: ConnectionId,
    ) -> Result<bool, Gone> {
        let answer = wire.receive(Instant::now() + PATIENCE)?;
        let now = self.now();
        let Some(Incoming::ConnAck { session_present, code }) = answer else {
            return Err(Gone::Broken(format!("answers CONNECT with {answer:?}")));
        };
        self.note(None, 0, What::ConnAck { session_present, code });
        match code {
            ReasonCode::Success => {
                self.scene.history.lock().connections[number].answered = Some(now);
                Ok(session_present)
            }
            // A broker that is about to end may say so.
            ReasonCode::ServerShuttingDown | ReasonCode::ServerUnavailable
                if self.is_explained(0) =>
            {
                Err(Gone::Ended)
            }
            code => Err(Gone::Broken(format!("refuses a CONNECT with {code:?}"))),
        }
    }

    /// Returns whether the broker has ended, or was about to, at any moment since then.
    pub(crate) fn is_explained(&self, since: Micros) -> bool {
        let ends = |kind| matches!(kind, OutageKind::Kill | OutageKind::Term);
        self.scene.history.lock().was_out(since, self.now(), ends)
    }

    pub(crate) fn may_have_expired(&self, now: Micros) -> bool {
        let lifetime = Micros::from(self.habits.expiry_seconds) * SECOND;
        self.offline.is_some_and(|offline| now + SECOND / 2 >= offline + lifetime)
    }

    fn begin(
        &mut self,
        wire: wire::Connection,
        number: ConnectionId,
        session_present: bool,
        is_clean: bool,
    ) {
        let now = self.now();
        if !session_present || self.session.is_none() {
            if self.session.is_some() {
                let lifetime = Micros::from(self.habits.expiry_seconds) * SECOND;
                let offline = self.offline.unwrap_or(now);
                self.end_session((offline + lifetime).min(now));
            }
            let mut tables = self.scene.history.lock();
            tables.sessions.push(history::Session {
                client: self.client,
                expiry_seconds: self.habits.expiry_seconds,
                promised: None,
                over: None,
            });
            self.session = Some(State::new(tables.sessions.len() - 1));
        }
        if let Some(session) = &self.session {
            let mut tables = self.scene.history.lock();
            tables.connections[number].session = Some(session.number);
            // Before MQTT 3.1.1 a CONNACK does not say whether the Session is present.
            if session_present && self.habits.version != ProtocolVersion::V3_1 {
                tables.promise(session.number, Some(number), now);
            }
        }
        self.wants_clean = false;
        self.unanswered_until = None;
        self.left_for_good = None;
        self.offline = None;
        self.link = Some(Link::new(wire, number));
        if session_present && !is_clean {
            self.send_again();
        }
    }

    /// Ends the Session, as far as the Client knows.
    pub(crate) fn end_session(&mut self, at: Micros) {
        if let Some(session) = self.session.take() {
            let mut tables = self.scene.history.lock();
            let over = &mut tables.sessions[session.number].over;
            *over = Some(over.map_or(at, |before| before.min(at)));
        }
    }

    /// Sends everything that is under way again, in order [MQTT-4.4.0-1] [MQTT-4.6.0-1].
    fn send_again(&mut self) {
        let session = self.session.as_mut().expect("it is resumed");
        let mut outgoing = std::mem::take(&mut session.outgoing);
        for sent in &mut outgoing {
            if sent.is_received {
                self.put_acknowledgement(PacketType::PubRel, sent.packet_id, Some(sent.message));
            } else {
                self.put_publish(sent, true, false);
            }
        }
        self.session.as_mut().expect("it is resumed").outgoing = outgoing;
    }

    fn hand_over(&mut self, link: Link, asked: Micros) -> Link {
        self.scene.history.lock().connections[link.number].end = Some((End::Left, asked));
        self.offline = Some(asked);
        link
    }

    /// Expects the broker to close the Network Connection that was taken over [MQTT-3.1.4-3].
    fn expect_end(&mut self, mut old: Link) -> Result<(), Gone> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match old.wire.receive(deadline) {
                Ok(Some(_)) => (),
                Ok(None) => {
                    let text = "leaves a connection open that was taken over".to_owned();
                    return Err(Gone::Broken(text));
                }
                Err(Gone::Ended) => return Ok(()),
                Err(broken) => return Err(broken),
            }
        }
    }
}
