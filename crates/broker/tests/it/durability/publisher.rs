//! A publisher of QoS 1 and QoS 2 with a window, which sends again what was not acknowledged; and a
//! Client that makes subscriptions, retained messages and Wills one after the other.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{ProtocolVersion, PublishProperties, QoS, ReasonCode};
use midge_codec::{Packet, PacketIdentifier, PacketType, Publish, TopicName};

use super::scene::{Kind, Ledger, Link, NoLink, Scene, Who};
use crate::client::Received;
use crate::support::DEADLINE;

/// How long to wait after a refusal before the next attempt.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// Publishes numbered messages to one topic.
pub(crate) struct Publisher {
    pub(crate) who: Who,
    pub(crate) group: usize,
    pub(crate) topic: String,
    /// Whether its acknowledgements wait for the device; see [`Scene::is_quiet`].
    pub(crate) is_synced: bool,
    next: u32,
    last_id: u16,
    /// Messages that were sent and are not complete.
    under_way: Vec<UnderWay>,
    /// Payloads that were refused and are to be sent as new messages.
    refused: Vec<String>,
    next_send: Instant,
    heard_at: Instant,
}

struct UnderWay {
    id: u16,
    payload: String,
    /// Whether the PUBREC has arrived, so that only the PUBREL is still to be sent.
    is_released: bool,
}

/// How a Network Connection of a publisher has ended.
#[derive(PartialEq, Eq)]
enum End {
    Done,
    Cut,
}

impl Publisher {
    const WINDOW: usize = 8;

    pub(crate) fn new(who: Who, group: usize, topic: &str, is_synced: bool) -> Self {
        Self {
            who,
            group,
            topic: topic.to_string(),
            is_synced,
            next: 0,
            last_id: 0,
            under_way: Vec::new(),
            refused: Vec::new(),
            next_send: Instant::now(),
            heard_at: Instant::now(),
        }
    }

    /// Publishes until `is_enough` is set and everything is answered, or until the scene is over.
    pub(crate) fn run(&mut self, scene: &Scene) {
        loop {
            let mut link = match self.who.connect(scene) {
                Ok(link) => link,
                Err(NoLink::Over) => return,
                Err(refused) => panic!("{}: {refused:?}", self.who.client_id),
            };
            self.heard_at = Instant::now();
            self.resume(&mut link);
            if self.converse(&mut link, scene) == End::Done {
                return;
            }
        }
    }

    /// Sends again what the broker has not answered. Without a Session these messages are given up:
    /// they were not acknowledged.
    fn resume(&mut self, link: &mut Link) {
        if !link.session_present {
            return self.under_way.clear();
        }
        for sent in &self.under_way {
            match sent.is_released {
                true => link.acknowledge(PacketType::PubRel, sent.id),
                false => send(link, &self.topic, &sent.payload, (sent.id, true)),
            }
        }
    }

    fn converse(&mut self, link: &mut Link, scene: &Scene) -> End {
        loop {
            let is_enough = scene.is_enough.load(Ordering::SeqCst)
                || self.is_synced && scene.is_quiet.load(Ordering::SeqCst);
            if is_enough && self.under_way.is_empty() && self.refused.is_empty() {
                return End::Done;
            }
            let may_send =
                self.under_way.len() < Self::WINDOW && (!is_enough || !self.refused.is_empty());
            let pause = self.next_send.saturating_duration_since(Instant::now());
            if may_send && pause.is_zero() {
                self.send_next(link);
                self.next_send = Instant::now() + scene.pace;
                continue;
            }
            // The end may be announced while nothing is under way.
            let idle = Duration::from_millis(20);
            let timeout = if may_send { pause } else { idle.max(pause) };
            match link.receive(timeout.max(Duration::from_micros(100))) {
                None if self.under_way.is_empty() => self.heard_at = Instant::now(),
                None => assert!(self.heard_at.elapsed() < DEADLINE, "{}", self.who.client_id),
                Some(Received::Closed | Received::Disconnect(_)) => return End::Cut,
                Some(received) => self.handle(link, &received, &scene.ledger),
            }
        }
    }

    fn send_next(&mut self, link: &mut Link) {
        let payload = self.refused.pop().unwrap_or_else(|| {
            self.next += 1;
            let qos = 1 + self.next % 2;
            format!("{}-qos{qos}-{:06}{:>60}", self.who.client_id, self.next, "")
        });
        self.last_id = self.last_id % 1000 + 1;
        while self.under_way.iter().any(|sent| sent.id == self.last_id) {
            self.last_id = self.last_id % 1000 + 1;
        }
        let id = self.last_id;
        send(link, &self.topic, &payload, (id, false));
        self.under_way.push(UnderWay { id, payload, is_released: false });
    }

    fn handle(&mut self, link: &mut Link, received: &Received, ledger: &Ledger) {
        let &Received::Ack { kind, id, code } = received else {
            panic!("{}: {received:?}", self.who.client_id);
        };
        self.heard_at = Instant::now();
        let index = self.under_way.iter().position(|sent| sent.id == id).unwrap();
        match kind {
            PacketType::PubComp => drop(self.under_way.swap_remove(index)),
            _ if code == ReasonCode::QuotaExceeded => {
                ledger.note_refusal();
                self.refused.push(self.under_way.swap_remove(index).payload);
                self.next_send = Instant::now() + REFUSED_PAUSE;
            }
            _ if code.is_error() => panic!("{}: {code:?}", self.who.client_id),
            PacketType::PubRec => {
                let sent = &mut self.under_way[index];
                if !sent.is_released {
                    sent.is_released = true;
                    ledger.note(Kind::Message, self.group, &sent.payload, 0);
                }
                link.acknowledge(PacketType::PubRel, id);
            }
            _ => {
                let sent = self.under_way.remove(index);
                ledger.note(Kind::Message, self.group, &sent.payload, 0);
            }
        }
    }
}

/// Returns the QoS with which a [`Publisher`] published this payload.
pub(crate) fn qos_of(payload: &str) -> QoS {
    if payload.contains("-qos2-") { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
}

fn send(link: &mut Link, topic: &str, payload: &str, (id, dup): (u16, bool)) {
    link.send(&packet(topic, payload, qos_of(payload), id, (dup, false)));
}

fn packet<'a>(
    topic: &'a str,
    payload: &'a str,
    qos: QoS,
    id: u16,
    (dup, retain): (bool, bool),
) -> Packet<'a> {
    Packet::Publish(Publish {
        dup,
        qos,
        retain,
        topic: TopicName::new(topic).unwrap(),
        packet_id: PacketIdentifier::new(id),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    })
}

/// Publishes at QoS 1 and returns the Reason Code; `None`: the Network Connection has ended.
pub(crate) fn publish(
    link: &mut Link,
    topic: &str,
    payload: &str,
    retain: bool,
) -> Option<ReasonCode> {
    link.send(&packet(topic, payload, QoS::AtLeastOnce, 1, (false, retain)));
    loop {
        match link.receive(DEADLINE) {
            Some(Received::Ack { kind: PacketType::PubAck, code, .. }) => return Some(code),
            Some(Received::Closed | Received::Disconnect(_)) => return None,
            Some(_) => (),
            None => panic!("{topic}: no PUBACK"),
        }
    }
}

/// A Client that in each round makes one more subscription, one more retained message, one more
/// Client with a Will Message, and so on.
pub(crate) struct Settler {
    pub(crate) who: Who,
    /// How many rounds it has begun.
    pub(crate) rounds: u32,
}

impl Settler {
    /// How many topics have a retained message.
    pub(crate) const RETAINED_TOPICS: u32 = 6;
    /// How many Clients with a Will there are at most: each takes a descriptor.
    const WILLS: u32 = 80;
    /// How many Sessions are ended.
    const GONE: u32 = 80;
    pub(crate) const SUBSCRIPTIONS: &'static str = "settled";
    /// The subscription with which it begins.
    pub(crate) const LAST: &'static str = "settled/last";

    pub(crate) fn new() -> Self {
        Self { who: Who::new("settler", ProtocolVersion::V5), rounds: 0 }
    }

    /// Makes the Sessions that will be ended. When this returns they are as durable as they will
    /// ever be.
    pub(crate) fn prepare(scene: &Scene) {
        let who = (1..=Self::GONE).map(|round| Self::gone(round).connect(scene).unwrap());
        let mut links: Vec<_> = who.collect();
        for link in &mut links {
            link.send_subscribe(&["unused"], 1);
        }
        for link in &mut links {
            assert!(link.receive_suback().is_some_and(|code| !code.is_error()));
        }
    }

    fn gone(round: u32) -> Who {
        Who::new(format!("gone-{round}"), ProtocolVersion::V5)
    }

    /// Ends a Session with Clean Start: the CONNACK promises that it is gone.
    fn end_session(&self, scene: &Scene) -> Option<()> {
        if self.rounds <= Self::GONE {
            let who = Who { is_clean: true, ..Self::gone(self.rounds) };
            match who.connect(scene) {
                Ok(link) => assert!(!link.session_present, "{}", who.client_id),
                Err(NoLink::Over) => return None,
                Err(refused) => panic!("{}: {refused:?}", who.client_id),
            }
            scene.ledger.note(Kind::Gone, 0, &who.client_id, 0);
        }
        Some(())
    }

    pub(crate) fn run(&mut self, scene: &Scene) {
        let Ok(mut link) = self.who.connect(scene) else {
            return;
        };
        let first = link.subscribe(&[Self::LAST], 1);
        assert!(first.is_none_or(|code| !code.is_error()));
        let mut with_wills = Vec::new();
        let is_over =
            || scene.is_enough.load(Ordering::SeqCst) || scene.is_quiet.load(Ordering::SeqCst);
        while !is_over() {
            self.rounds += 1;
            let Some(with_will) = self.settle(&mut link, scene) else {
                return;
            };
            with_wills.extend(with_will);
            // Nothing is under way: this is only a pause.
            let pause = scene.pace * 4;
            if !pause.is_zero() && link.receive(pause).is_some() {
                return;
            }
        }
    }

    /// Runs a round; returns `None` if the scene is over, else the Client with a Will, if accepted.
    fn settle(&self, link: &mut Link, scene: &Scene) -> Option<Option<Link>> {
        let (round, ledger) = (self.rounds, &scene.ledger);
        let note = |code: ReasonCode, kind, name: &str, version| match code {
            ReasonCode::QuotaExceeded => ledger.note_refusal(),
            code if code.is_error() => panic!("{name}: {code:?}"),
            _ => ledger.note(kind, 0, name, version),
        };
        let filter = format!("{}/{round}", Self::SUBSCRIPTIONS);
        note(link.subscribe(&[&filter], 2)?, Kind::Subscription, &filter, 0);
        let topic = format!("retained/{}", round % Self::RETAINED_TOPICS);
        note(publish(link, &topic, &round.to_string(), true)?, Kind::Retained, &topic, round);
        self.end_session(scene)?;
        if round > Self::WILLS {
            return Some(None);
        }
        let will = format!("wills/{round}");
        let mut who = Who::new(will.clone(), ProtocolVersion::V5);
        who.will = Some(will.clone());
        let mut with_will = match who.connect(scene) {
            Ok(link) => link,
            Err(NoLink::Refused(ReasonCode::QuotaExceeded)) => {
                ledger.note_refusal();
                thread::park_timeout(REFUSED_PAUSE);
                return Some(None);
            }
            Err(NoLink::Over) => return None,
            Err(refused) => panic!("{will}: {refused:?}"),
        };
        // A CONNACK does not wait for the store; the SUBACK after it does.
        note(with_will.subscribe(&["unused"], 1)?, Kind::Will, &will, 0);
        with_will.rest();
        Some(Some(with_will))
    }
}
