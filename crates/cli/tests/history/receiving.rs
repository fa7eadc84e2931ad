//! How a Client handles the packets that arrive: it answers as the specification requires, at once
//! or after a while, records everything, and notices what it must never see.

use std::time::{Duration, Instant};

use midge_codec::{PacketType, QoS, ReasonCode};

use crate::common::wire::{Gone, Incoming, Received};
use crate::device::{Device, Request};
use crate::history::{Delivery, End, Micros, SECOND, What};
use crate::payload;

impl Device {
    /// Checks whether the Session is present or absent as was promised.
    pub(crate) fn judge_session(&mut self, session_present: bool, is_clean: bool, asked: Micros) {
        if session_present && is_clean {
            let text = "Session Present behind Clean Start".to_owned();
            return self.find("a discarded Session is back", text, &[]);
        }
        match (&self.session, session_present) {
            (Some(_), true) => self.judge_resumed(asked),
            (None, true) => {
                let is_kept = self.habits.expiry_seconds > 0;
                if !is_kept || self.unanswered_until.is_none() {
                    let text = "Session Present, but its Session was over".to_owned();
                    self.find("a Session that was over is back", text, &[]);
                }
            }
            (Some(session), false) => {
                let number = session.number;
                let promised = self.scene.history.lock().sessions[number].promised;
                if promised.is_some() && !is_clean && !self.may_have_expired(self.now()) {
                    let text = "no Session Present, though it was promised".to_owned();
                    self.find("a Session is lost", text, &[]);
                }
            }
            (None, false) => (),
        }
    }

    /// Checks that a Session that its Client has left for longer than its expiry is not there.
    fn judge_resumed(&mut self, asked: Micros) {
        let Some(offline) = self.offline else {
            return;
        };
        // The broker may have accepted a CONNECT whose CONNACK never came.
        let left = self.unanswered_until.map_or(offline, |until| until.max(offline));
        let lifetime = Micros::from(self.habits.expiry_seconds) * SECOND;
        let latest = self.scene.history.lock().absent_since(left);
        let due = latest.saturating_add(lifetime) + SECOND * 3 / 2;
        self.scene.history.look_at_disk();
        let excused = self.scene.history.lock().excused(due, asked);
        if asked > due + excused {
            let late = (asked - due) as f64 / 1e6;
            let text = format!("it is there {late:.1} s after its Session Expiry Interval");
            self.find("a Session outlives its expiry", text, &[]);
        }
    }

    /// Handles the next packet, if one arrives before the deadline.
    pub(crate) fn step(&mut self, deadline: Instant) -> Result<bool, Gone> {
        self.ping_if_due();
        self.acknowledge();
        let Some(link) = &mut self.link else {
            return Err(Gone::Ended);
        };
        // Often enough for withheld acknowledgements and for pings.
        let deadline = deadline.min(Instant::now() + Duration::from_millis(100));
        let number = link.number;
        match link.wire.receive(deadline) {
            Ok(None) => Ok(false),
            Ok(Some(incoming)) => match self.handle(incoming) {
                Ok(()) => Ok(true),
                Err(gone) => Err(self.end(number, gone)),
            },
            Err(gone) => Err(self.end(number, gone)),
        }
    }

    /// Handles the end of the Network Connection when this Client did not want it.
    fn end(&mut self, number: usize, gone: Gone) -> Gone {
        let since = self.scene.history.lock().connections[number].asked;
        self.note(None, 0, What::Gone);
        if matches!(gone, Gone::Ended) && !self.is_explained(since) {
            let text = "the broker closes the connection though nothing is wrong".to_owned();
            self.find("a connection is closed without a reason", text, &[]);
        }
        self.link = None;
        self.lose(number, End::ByBroker);
        gone
    }

    /// Sends the acknowledgements that are no longer withheld.
    fn acknowledge(&mut self) {
        let now = self.now();
        while let Some(link) = &mut self.link
            && now >= link.hold_until
            && let Some((owed, id, message)) = link.owed.pop_front()
        {
            self.put_acknowledgement(owed, id, message);
        }
    }

    fn handle(&mut self, incoming: Incoming) -> Result<(), Gone> {
        match incoming {
            Incoming::Publish(received) => self.take_publish(received)?,
            Incoming::PubAck(id, code) => {
                self.note_taken(id, code, QoS::AtLeastOnce);
            }
            Incoming::PubRec(id, code) => {
                self.note_taken(id, code, QoS::ExactlyOnce);
            }
            Incoming::PubRel(id) => self.take_pubrel(id),
            Incoming::PubComp(id) => self.take_pubcomp(id),
            Incoming::SubAck(id, codes) => self.take_suback(id, &codes)?,
            Incoming::UnsubAck(id) => self.take_unsuback(id)?,
            Incoming::PingResp => {
                if let Some(link) = &mut self.link {
                    link.pings = link.pings.saturating_sub(1);
                }
            }
            Incoming::Disconnect(code) => return self.take_disconnect(code),
            Incoming::ConnAck { .. } => return Err(Gone::Broken("sends a second CONNACK".into())),
        }
        Ok(())
    }

    fn take_disconnect(&mut self, code: ReasonCode) -> Result<(), Gone> {
        self.note(None, 0, What::Disconnected(code));
        if code == ReasonCode::ServerShuttingDown {
            return Err(Gone::Ended);
        }
        Err(Gone::Broken(format!("disconnects with {code:?}")))
    }

    fn take_publish(&mut self, mut received: Received) -> Result<(), Gone> {
        let at = self.now();
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        if let Some(alias) = received.topic_alias {
            if received.topic.is_empty() {
                received.topic = link.aliases.get(&alias).cloned().unwrap_or_default();
            } else {
                link.aliases.insert(alias, received.topic.clone());
            }
        }
        if received.payload.is_empty() {
            return self.take_clear(&received);
        }
        let message = payload::number(&received.payload);
        let is_as_sent = message.is_some_and(|id| {
            let tables = self.scene.history.lock();
            tables.messages.get(id).is_some_and(|message| {
                message.topic == received.topic
                    && received.payload == payload::of(id, message.payload_bytes)
            })
        });
        let Some(message) = message.filter(|_| is_as_sent) else {
            let text = format!("nobody has sent what comes to {:?}", received.topic);
            self.find("a message is altered", text, &[]);
            return Err(Gone::Broken("alters a message".into()));
        };
        let what = What::Received { dup: received.dup, qos: received.qos, retain: received.retain };
        self.note(Some(message), received.packet_id, what);
        self.check_packet_id(&received, message);
        self.record(&received, message, at);
        self.owe(&received, Some(message));
        Ok(())
    }

    /// Handles a message that removes a retained one, and travels like any other; which one it is
    /// cannot be told.
    fn take_clear(&mut self, received: &Received) -> Result<(), Gone> {
        let what = What::Received { dup: received.dup, qos: received.qos, retain: received.retain };
        self.note(None, received.packet_id, what);
        if received.qos == QoS::ExactlyOnce
            && let Some(session) = &mut self.session
        {
            session.used.insert(received.packet_id);
        }
        self.owe(received, None);
        Ok(())
    }

    fn check_packet_id(&mut self, received: &Received, message: usize) {
        let (qos, id) = (received.qos, received.packet_id);
        if qos == QoS::AtMostOnce {
            return;
        }
        let Some(link) = &self.link else {
            return;
        };
        let maximum = usize::from(self.habits.receive_maximum);
        let under_way = link.receiving.len() + 1;
        if link.receiving.contains(&id) {
            let text = format!("packet {id} is under way already");
            self.find("a Packet Identifier is used twice", text, &[message]);
        } else if maximum > 0 && under_way > maximum && self.habits.is_v5() {
            let text = format!("{under_way} messages are under way, {maximum} are allowed");
            self.find("more than the Receive Maximum", text, &[message]);
        }
    }

    fn record(&mut self, received: &Received, message: usize, at: Micros) {
        let (Some(session), Some(link)) = (&mut self.session, &mut self.link) else {
            return;
        };
        let (qos, packet_id) = (received.qos, received.packet_id);
        let known = match qos {
            QoS::ExactlyOnce => session.unreleased.insert(packet_id, message),
            _ => None,
        };
        if qos == QoS::ExactlyOnce {
            session.used.insert(packet_id);
        }
        let delivery = Delivery {
            client: self.client,
            session: session.number,
            connection: link.number,
            at,
            message,
            qos,
            dup: received.dup,
            retain: received.retain,
            is_repetition: known.is_some(),
            expiry_seconds: received.expiry_seconds,
        };
        self.scene.history.lock().deliveries.push(delivery);
        match known {
            Some(known) if known != message => {
                let text = format!("packet {packet_id} was message {known}, which is not released");
                self.find("a Packet Identifier is used twice", text, &[known, message]);
            }
            Some(_) if !received.dup => {
                let text = format!("packet {packet_id} comes again");
                self.find("DUP is missing", text, &[message]);
            }
            _ => (),
        }
    }

    fn owe(&mut self, received: &Received, message: Option<usize>) {
        let owed = match received.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => PacketType::PubAck,
            QoS::ExactlyOnce => PacketType::PubRec,
        };
        if let Some(link) = &mut self.link {
            link.receiving.insert(received.packet_id);
        }
        self.owe_later(owed, received.packet_id, message);
    }

    /// Owes an acknowledgement. They leave in order, so a withheld one delays those after it.
    fn owe_later(&mut self, owed: PacketType, id: u16, message: Option<usize>) {
        let withholds = self.habits.withholds_one_in;
        let is_chaos = self.scene.phase() == crate::scene::Phase::Chaos;
        let now = self.now();
        let Some(link) = &mut self.link else {
            return;
        };
        link.owed.push_back((owed, id, message));
        if !is_chaos {
            link.hold_until = 0;
        } else if withholds > 0 && self.random.once_in(withholds) && now >= link.hold_until {
            link.hold_until = now + self.random.below(2 * SECOND);
        }
    }

    /// Notes a PUBACK or PUBREC.
    fn note_taken(&mut self, id: u16, code: ReasonCode, qos: QoS) {
        let what = match qos {
            QoS::ExactlyOnce => What::PubRec(code),
            _ => What::PubAck(code),
        };
        let now = self.now();
        let Some(session) = &mut self.session else {
            return;
        };
        let is_it = |it: &crate::device::Sent| it.packet_id == id && it.qos == qos;
        let Some(place) = session.outgoing.iter().position(is_it) else {
            self.note(None, id, what);
            let text = format!("{what:?} for packet {id}, which is not under way");
            return self.find("an acknowledgement for nothing", text, &[]);
        };
        let message = session.outgoing[place].message;
        let was_received = std::mem::replace(&mut session.outgoing[place].is_received, true);
        let number = session.number;
        if qos == QoS::AtLeastOnce || code.is_error() {
            session.outgoing.remove(place);
        }
        self.note(Some(message), id, what);
        if code.is_error() {
            return self.find("a message is refused", format!("{what:?}"), &[message]);
        }
        {
            let mut tables = self.scene.history.lock();
            tables.messages[message].acknowledged.get_or_insert(now);
            if qos == QoS::ExactlyOnce {
                tables.promise(number, self.link.as_ref().map(|link| link.number), now);
            }
        }
        if qos == QoS::ExactlyOnce {
            if was_received {
                let text = format!("a second PUBREC for packet {id}");
                return self.find("an acknowledgement for nothing", text, &[message]);
            }
            self.owe_later(PacketType::PubRel, id, Some(message));
        }
    }

    fn take_pubrel(&mut self, id: u16) {
        let Some(session) = &mut self.session else {
            return;
        };
        let message = session.unreleased.remove(&id);
        let was_used = session.used.contains(&id);
        self.note(message, id, What::PubRel);
        if !was_used {
            let text = format!("PUBREL for packet {id}, which never came in this Session");
            self.find("a discarded Session is back", text, &[]);
        }
        self.owe_later(PacketType::PubComp, id, message);
    }

    fn take_pubcomp(&mut self, id: u16) {
        let Some(session) = &mut self.session else {
            return;
        };
        let is_it = |it: &crate::device::Sent| it.packet_id == id && it.is_received;
        let place = session.outgoing.iter().position(is_it);
        let sent = place.and_then(|place| session.outgoing.remove(place));
        self.note(sent.as_ref().map(|sent| sent.message), id, What::PubComp);
        if sent.is_none() {
            let text = format!("PUBCOMP for packet {id}, which is not under way");
            self.find("an acknowledgement for nothing", text, &[]);
        }
    }

    fn take_request(&mut self, id: u16) -> Result<Request, Gone> {
        let request = self.link.as_mut().and_then(|link| link.request.take());
        let is_it = |request: &Request| request.packet_id == id;
        request.filter(is_it).ok_or_else(|| Gone::Broken("answers no request".into()))
    }

    fn take_suback(&mut self, id: u16, codes: &[ReasonCode]) -> Result<(), Gone> {
        let now = self.now();
        self.note(None, id, What::SubAck);
        let request = self.take_request(id)?;
        if codes.iter().any(|code| code.is_error()) {
            return Err(Gone::Broken(format!("refuses {}: {codes:?}", request.filter)));
        }
        if let (Some(session), Some(link)) = (&self.session, &self.link) {
            let mut tables = self.scene.history.lock();
            if let Some(place) = session.subscriptions.get(&request.filter) {
                tables.subscriptions[*place].granted = Some(now);
            }
            tables.promise(session.number, Some(link.number), now);
        }
        Ok(())
    }

    fn take_unsuback(&mut self, id: u16) -> Result<(), Gone> {
        let now = self.now();
        self.note(None, id, What::UnsubAck);
        let request = self.take_request(id)?;
        if let Some(session) = &mut self.session {
            session.subscriptions.remove(&request.filter);
            let number = session.number;
            let mut tables = self.scene.history.lock();
            let own = tables.subscriptions.iter_mut();
            for own in own.filter(|it| it.session == number && it.filter == request.filter) {
                own.gone.get_or_insert(now);
            }
        }
        self.scene.offer();
        Ok(())
    }
}
