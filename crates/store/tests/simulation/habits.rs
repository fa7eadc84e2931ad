//! What Clients do of their own accord: connect, publish, subscribe, change their minds.

use midge_codec::{Disconnect, Packet, ReasonCode};
use midge_core::Timestamp;
use midge_store::testing::Random;

use crate::client::{Client, Connection, Outgoing, Request, SentWill, Session, Subscription};
use crate::ledger::{Draft, Kind, Ledger};
use crate::link::Link;
use crate::log::Concerned;
use crate::packets::{self, WillPacket};
use crate::plan::{TopicKind, WillPlan};

impl Client {
    /// Sends a CONNECT on a new Network Connection.
    pub(crate) fn connect(
        &mut self,
        number: usize,
        links: &mut [Link],
        ledger: &mut Ledger,
        random: &mut Random,
        now: Timestamp,
    ) {
        let restarts = self.plan.clean_one_in > 0 && random.one_in(self.plan.clean_one_in);
        // A Client that has ended its Session need not say so again once the broker has closed.
        let has_left = self.left_by.take().is_some_and(|left| links[left].has_read_all());
        let may_return = self.old_session_may_return && !has_left;
        self.wants_clean |= restarts || may_return || self.may_be_mistaken(now);
        let may_find_session = self.session.is_some() || self.connect_is_open || may_return;
        self.connect_is_open = true;
        let is_clean = self.wants_clean || !self.plan.is_persistent();
        if is_clean {
            self.old_session_may_return |= self.plan.is_persistent();
            self.end_session(ledger);
        }
        self.wants_clean = is_clean && self.plan.is_persistent();
        let link = &mut links[number];
        self.note(ledger, || format!("CONNECT, Clean Start {is_clean}, worker {}", link.worker));
        let sent = self.plan.will.map(|WillPlan { qos, delay_seconds }| {
            let topic = format!("w/{}", self.index);
            let draft = Draft {
                publisher: self.index,
                topic: &topic,
                qos,
                kind: Kind::Will,
                expiry_seconds: None,
                payload_bytes: Some(random.below(self.plan.payload_max)),
            };
            let message = ledger.send(&draft);
            let about = Concerned::both(self.index, message);
            ledger.log.note(about, || format!("Will Message, delay {delay_seconds} s"));
            SentWill { message, delay_seconds }
        });
        let packet = sent.as_ref().map(|will| {
            let message = &ledger.messages[will.message];
            WillPacket {
                topic: &message.topic,
                payload: &message.payload,
                qos: message.qos,
                delay_seconds: will.delay_seconds,
            }
        });
        self.send(&packets::connect(&self.plan, is_clean, packet.as_ref()), link);
        self.link = Some(number);
        let one_in = self.plan.withholds_one_in;
        let withholds = one_in > 0 && random.one_in(one_in);
        self.connection = Connection {
            is_clean,
            may_find_session,
            will: sent,
            withholds,
            ..Connection::default()
        };
    }

    /// Decides whether the Will Message of the last connection has to have been published by now.
    pub(crate) fn settle_will(&mut self, links: &[Link], ledger: &mut Ledger, now: Timestamp) {
        let Some(will) = self.lost_will.take() else {
            return;
        };
        let heard_at = links[will.link].heard_at;
        let due_at = heard_at.map(|at| at.plus_seconds(u64::from(will.delay_seconds)));
        let is_due = match due_at {
            Some(_) if will.delay_seconds == 0 => true,
            Some(at) => now > at,
            None => false,
        };
        let about = Concerned::both(self.index, will.message);
        ledger.log.note(about, || format!("the Will Message is due: {is_due}"));
        if is_due {
            self.due_will = Some(will.message);
        }
        if will.delay_seconds == 0 {
            self.expect_due_will(ledger);
        }
    }

    /// Does one of the things that a connected Client may do.
    pub(crate) fn act(&mut self, link: &mut Link, ledger: &mut Ledger, random: &mut Random) {
        let publishes = !self.plan.topics.is_empty();
        if publishes && random.below(100) < 70 {
            for _ in 0..1 + random.below(4) {
                self.publish(link, ledger, random);
            }
        }
        if self.connection.request.is_none() && !self.plan.filters.is_empty() {
            self.change_subscriptions(link, ledger, random);
        }
    }

    fn change_subscriptions(&mut self, link: &mut Link, ledger: &mut Ledger, random: &mut Random) {
        let filter = self.plan.filters[random.below(self.plan.filters.len())].clone();
        let state = self.session.as_ref().and_then(|it| it.subscriptions.get(&filter).copied());
        let is_granted = matches!(state, Some(Subscription::Granted(_)));
        if is_granted && self.plan.churns && random.one_in(6) {
            self.unsubscribe(filter, link, ledger);
        } else if !is_granted && random.one_in(2) || random.one_in(20) {
            self.subscribe(filter, link, ledger);
        }
    }

    pub(crate) fn publish(&mut self, link: &mut Link, ledger: &mut Ledger, random: &mut Random) {
        let Some(session) = self.session.as_ref() else {
            return;
        };
        if session.outgoing.len() >= self.plan.window || self.plan.topics.is_empty() {
            return;
        }
        let plan = &self.plan.topics[random.below(self.plan.topics.len())];
        let (wire_topic, kind) = match plan.kind {
            TopicKind::Plain => (plan.topic.clone(), Kind::Plain),
            TopicKind::Retained => (plan.topic.clone(), Kind::Retained),
            TopicKind::Delayed => {
                (format!("$delayed/{}/{}", random.below(4), plan.topic), Kind::Delayed)
            }
        };
        let clears = kind == Kind::Retained && random.one_in(6);
        let bytes = random.below(self.plan.payload_max);
        let draft = Draft {
            publisher: self.index,
            topic: &plan.topic,
            qos: plan.qos,
            kind,
            expiry_seconds: plan.expiry_seconds,
            payload_bytes: (!clears).then_some(bytes),
        };
        let message = ledger.send(&draft);
        let packet_id = self.free_packet_identifier(session);
        let about = Concerned::both(self.index, message);
        let payload = &ledger.messages[message].payload;
        ledger.log.note(about, || {
            let bytes = payload.len();
            format!("PUBLISH {packet_id} to {wire_topic}, QoS {}, {bytes} bytes", plan.qos)
        });
        let flags = (kind == Kind::Retained, false);
        let expiry = plan.expiry_seconds;
        let packet = packets::publish(&wire_topic, payload, plan.qos, packet_id, flags, expiry);
        self.send(&packet, link);
        if let Some(session) = &mut self.session {
            let outgoing = Outgoing { packet_id, message, topic: wire_topic, is_released: false };
            session.outgoing.push(outgoing);
        }
    }

    pub(crate) fn subscribe(&mut self, filter: String, link: &mut Link, ledger: &mut Ledger) {
        let Some(session) = &mut self.session else {
            return;
        };
        ledger.ask(session.incarnation, &filter);
        let state = session.subscriptions.entry(filter.clone()).or_insert(Subscription::Asked);
        if !matches!(state, Subscription::Granted(_)) {
            *state = Subscription::Asked;
        }
        let floors = ledger.floors();
        let packet_id = self.session.as_ref().map_or(1, |it| self.free_packet_identifier(it));
        self.note(ledger, || format!("SUBSCRIBE {packet_id} to {filter}"));
        let (qos, version) = (self.plan.qos, self.plan.version);
        packets::put_subscribe(&filter, qos, packet_id, version, &mut link.to_broker);
        self.connection.request = Some(Request { packet_id, filter, floors });
    }

    fn unsubscribe(&mut self, filter: String, link: &mut Link, ledger: &mut Ledger) {
        let Some(session) = &mut self.session else {
            return;
        };
        let state = session.subscriptions.insert(filter.clone(), Subscription::Leaving);
        if let Some(Subscription::Granted(life)) = state {
            ledger.end_life(life);
        }
        let packet_id = self.session.as_ref().map_or(1, |it| self.free_packet_identifier(it));
        self.note(ledger, || format!("UNSUBSCRIBE {packet_id} from {filter}"));
        packets::put_unsubscribe(&filter, packet_id, self.plan.version, &mut link.to_broker);
        let floors = std::collections::BTreeMap::new();
        self.connection.request = Some(Request { packet_id, filter, floors });
    }

    /// Returns the lowest free Packet Identifier, so that each is reused soon.
    fn free_packet_identifier(&self, session: &Session) -> u16 {
        let is_used = |id: &u16| {
            session.outgoing.iter().any(|outgoing| outgoing.packet_id == *id)
                || self.connection.request.as_ref().is_some_and(|it| it.packet_id == *id)
        };
        (1..).find(|id| !is_used(id)).expect("few are in use")
    }

    /// Sends a DISCONNECT, and perhaps ends the Session.
    pub(crate) fn disconnect(&mut self, link: &mut Link, ledger: &mut Ledger, random: &mut Random) {
        let leaves = self.plan.is_v5() && self.plan.is_persistent() && random.one_in(3);
        self.note(ledger, || format!("DISCONNECT, ends the Session: {leaves}"));
        let mut packet = Disconnect::with_reason(ReasonCode::Success);
        packet.session_expiry_interval = leaves.then_some(0);
        self.send(&Packet::Disconnect(packet), link);
        if leaves {
            self.old_session_may_return = true;
            self.left_by = self.link;
            self.end_session(ledger);
        }
    }
}
