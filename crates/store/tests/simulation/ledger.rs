//! What Clients have sent, been promised and received. The ledger knows nothing of the broker: it
//! judges only by what Clients can see, and it fails a run at once when a Client receives something
//! that it must not.

use std::collections::{BTreeMap, BTreeSet};

use midge_codec::{TopicFilter, TopicName};
use midge_core::Timestamp;

use crate::log::{Concerned, Log};
use crate::world::Cut;

pub(crate) type MessageId = usize;
pub(crate) type LifeId = usize;
pub(crate) type IncarnationId = usize;

/// How a message came to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Retained,
    Delayed,
    Will,
}

/// What the publisher knows about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    /// A PUBACK or PUBREC without error has arrived, or the Will Message is due.
    Acknowledged,
    Refused,
    /// The publisher's Session ended before an acknowledgement arrived.
    Abandoned,
}

#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) publisher: usize,
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
    /// The Message Expiry Interval.
    pub(crate) expiry_seconds: Option<u32>,
    /// At which step it was first sent, and when.
    pub(crate) first_sent: u64,
    first_sent_at: Timestamp,
    acknowledged_at: Option<Timestamp>,
    pub(crate) attempts: u32,
    pub(crate) fate: Fate,
    /// Whether it may come: a Will Message must not while its Client is connected.
    pub(crate) may_come: bool,
    /// How many cuts there were before it was first sent.
    cuts: u64,
    /// Subscriptions that were granted when it was first sent.
    pub(crate) expected: Vec<LifeId>,
}

/// A message as a Client wants to send it.
pub(crate) struct Draft<'a> {
    pub(crate) publisher: usize,
    pub(crate) topic: &'a str,
    pub(crate) qos: u8,
    pub(crate) kind: Kind,
    pub(crate) expiry_seconds: Option<u32>,
    /// The size of the payload; `None`: the retained message of the topic is to be removed.
    pub(crate) payload_bytes: Option<usize>,
}

/// A subscription from its SUBACK to its UNSUBSCRIBE, or to the end of its Session.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) incarnation: IncarnationId,
    pub(crate) filter: String,
    pub(crate) is_over: bool,
}

/// A Session from its first CONNECT to its end, as its Client sees it.
#[derive(Debug, Default)]
pub(crate) struct Incarnation {
    pub(crate) client: usize,
    pub(crate) is_over: bool,
    /// How often each message was received.
    pub(crate) seen: BTreeMap<MessageId, u32>,
    /// The last message of each publisher and topic.
    last: BTreeMap<(usize, String), MessageId>,
    /// The filters it has asked for, and how much of each topic's history was acknowledged then.
    asked: Vec<(String, BTreeMap<String, usize>)>,
}

/// What a topic's only publisher has done to its retained message, in order.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) messages: Vec<MessageId>,
    /// How many of them are acknowledged.
    pub(crate) acknowledged: usize,
}

/// A granted subscription that has to be sent a retained message of this topic.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) life: LifeId,
    pub(crate) topic: String,
    pub(crate) floor: usize,
    pub(crate) is_fulfilled: bool,
}

/// A message that a Client has received.
pub(crate) struct Arrival<'a> {
    pub(crate) client: usize,
    pub(crate) incarnation: IncarnationId,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) log: Log,
    pub(crate) step: u64,
    pub(crate) now: Timestamp,
    pub(crate) cuts: u64,
    /// Sessions that have moved to another worker.
    pub(crate) moves: u64,
    pub(crate) messages: Vec<Sent>,
    pub(crate) lives: Vec<Life>,
    open_lives: BTreeSet<LifeId>,
    pub(crate) incarnations: Vec<Incarnation>,
    pub(crate) retained: BTreeMap<String, History>,
    pub(crate) wishes: Vec<Wish>,
    /// Publishers that may send a message again after later ones, not knowing that it was refused.
    pub(crate) may_reorder: BTreeSet<usize>,
    /// Who has asked to be a member of which shared subscription.
    pub(crate) askers: Vec<(String, IncarnationId)>,
}

/// Returns whether a Topic Filter, with or without `$share/NAME/`, matches.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let filter = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or(rest, |(_, filter)| filter),
        None => filter,
    };
    let name = TopicName::new(topic).expect("a valid topic");
    TopicFilter::parse(filter).expect("a valid filter").matches(name)
}

impl Sent {
    /// Returns whether it may have expired by `now`: the broker got it when sent, at the earliest.
    pub(crate) fn may_have_expired(&self, now: Timestamp) -> bool {
        let expires_at = |seconds| self.first_sent_at.plus_seconds(u64::from(seconds));
        self.expiry_seconds.is_some_and(|seconds| now >= expires_at(seconds))
    }

    /// Returns whether it must have expired by `now`: the broker had it when it was acknowledged.
    pub(crate) fn has_surely_expired(&self, now: Timestamp) -> bool {
        let (Some(seconds), Some(at)) = (self.expiry_seconds, self.acknowledged_at) else {
            return false;
        };
        now >= at.plus_seconds(u64::from(seconds))
    }
}

impl Ledger {
    pub(crate) fn new(log: Log) -> Self {
        Self { log, ..Self::default() }
    }

    pub(crate) fn send(&mut self, draft: &Draft<'_>) -> MessageId {
        let id = self.messages.len();
        let lives = self.open_lives.iter().copied();
        let expected = lives.filter(|&life| matches(&self.lives[life].filter, draft.topic));
        let payload = draft.payload_bytes.map_or_else(Vec::new, |bytes| payload(id, bytes));
        self.messages.push(Sent {
            publisher: draft.publisher,
            topic: draft.topic.into(),
            qos: draft.qos,
            kind: draft.kind,
            payload,
            expiry_seconds: draft.expiry_seconds,
            first_sent: self.step,
            first_sent_at: self.now,
            acknowledged_at: None,
            attempts: 1,
            fate: Fate::Open,
            may_come: draft.kind != Kind::Will,
            cuts: self.cuts,
            expected: expected.collect(),
        });
        if draft.kind == Kind::Retained {
            self.retained.entry(draft.topic.into()).or_default().messages.push(id);
        }
        id
    }

    pub(crate) fn acknowledge(&mut self, id: MessageId) {
        let message = &mut self.messages[id];
        message.fate = Fate::Acknowledged;
        message.acknowledged_at.get_or_insert(self.now);
        if message.kind == Kind::Retained
            && let Some(history) = self.retained.get_mut(&message.topic)
        {
            let place = history.messages.iter().position(|&other| other == id);
            history.acknowledged = history.acknowledged.max(place.map_or(0, |place| place + 1));
        }
    }

    pub(crate) fn begin_incarnation(&mut self, client: usize) -> IncarnationId {
        self.incarnations.push(Incarnation { client, ..Incarnation::default() });
        self.incarnations.len() - 1
    }

    pub(crate) fn end_incarnation(&mut self, incarnation: IncarnationId) {
        self.incarnations[incarnation].is_over = true;
        for life in 0..self.lives.len() {
            if self.lives[life].incarnation == incarnation {
                self.end_life(life);
            }
        }
    }

    /// Notes a SUBSCRIBE: retained messages may come, but none older than those known now.
    pub(crate) fn ask(&mut self, incarnation: IncarnationId, filter: &str) {
        if filter.starts_with("$share/") {
            return self.askers.push((filter.into(), incarnation));
        }
        let floors = self.floors();
        self.incarnations[incarnation].asked.push((filter.into(), floors));
    }

    /// Returns the place, in its topic's history, of the oldest message that may be retained.
    fn floor(&self, incarnation: IncarnationId, topic: &str) -> usize {
        let asked = self.incarnations[incarnation].asked.iter();
        let asked = asked.filter(|(filter, _)| matches(filter, topic));
        let acknowledged = asked.map(|(_, floors)| floors.get(topic).copied().unwrap_or(0));
        acknowledged.min().unwrap_or(0).saturating_sub(1)
    }

    /// Notes the SUBACK for a filter that was asked for when `floors` were acknowledged.
    pub(crate) fn grant(
        &mut self,
        incarnation: IncarnationId,
        filter: &str,
        floors: &BTreeMap<String, usize>,
    ) -> LifeId {
        let life = self.lives.len();
        self.lives.push(Life { incarnation, filter: filter.into(), is_over: false });
        self.open_lives.insert(life);
        for (topic, &floor) in floors {
            let is_ordered = self.is_ordered(&self.retained[topic]);
            if is_ordered && !filter.starts_with('$') && floor > 0 && matches(filter, topic) {
                let (topic, floor) = (topic.clone(), floor - 1);
                // Live messages may come before the SUBACK.
                let seen = &self.incarnations[incarnation].seen;
                let newer = &self.retained[&topic].messages[floor..];
                let is_fulfilled = newer.iter().any(|id| seen.contains_key(id));
                self.wishes.push(Wish { life, topic, floor, is_fulfilled });
            }
        }
        life
    }

    /// Returns whether the retained message is never older than the last acknowledged one.
    pub(crate) fn is_ordered(&self, history: &History) -> bool {
        let publisher = history.messages.first().map(|&id| self.messages[id].publisher);
        publisher.is_none_or(|publisher| !self.may_reorder.contains(&publisher))
    }

    /// Returns how much of each topic's history is acknowledged.
    pub(crate) fn floors(&self) -> BTreeMap<String, usize> {
        let topics = self.retained.iter();
        topics.map(|(topic, history)| (topic.clone(), history.acknowledged)).collect()
    }

    pub(crate) fn end_life(&mut self, life: LifeId) {
        self.lives[life].is_over = true;
        self.open_lives.remove(&life);
    }

    /// Notes that the power or the process is gone. Retained messages that a subscription had asked
    /// for are not asked for again by themselves: only live ones are certain to come.
    /// Returns whether the broker was cut off since this message was first sent.
    pub(crate) fn was_cut_since(&self, id: MessageId) -> bool {
        self.cuts > self.messages[id].cuts
    }

    pub(crate) fn note_end(&mut self, cut: Cut) {
        self.cuts += u64::from(cut != Cut::Order);
        self.wishes.retain(|wish| wish.is_fulfilled);
    }

    /// Notes a message that a Client has received, for the first time or again. Its Packet
    /// Identifier has shown that it is not the same packet once more.
    pub(crate) fn receive(&mut self, arrival: &Arrival<'_>) -> Option<MessageId> {
        let Arrival { client, incarnation, topic, payload, qos, retain } = *arrival;
        if payload.is_empty() {
            let known = self.retained.get(topic);
            let mut messages = known.iter().flat_map(|history| &history.messages);
            if !messages.any(|&id| self.messages[id].payload.is_empty()) || retain {
                self.fail(Concerned::client(client), "an empty message came that nobody sent");
            }
            return None;
        }
        let Some(id) = self.identify(payload).filter(|&id| self.messages[id].topic == topic) else {
            let text = format!("a message came that nobody sent: {topic}, {payload:?}");
            self.fail(Concerned::client(client), &text);
        };
        let about = Concerned::both(client, id);
        self.log.note(about, || format!("received at {topic}, QoS {qos}, retain {retain}"));
        self.check_sender(about, id);
        let is_first = !self.incarnations[incarnation].seen.contains_key(&id);
        if is_first {
            self.check_order(about, incarnation, id);
        }
        let count = self.incarnations[incarnation].seen.entry(id).or_default();
        *count += 1;
        let count = *count;
        self.check_count(about, id, qos, count);
        self.check_retained(arrival, id);
        Some(id)
    }

    fn identify(&self, payload: &[u8]) -> Option<MessageId> {
        let text = std::str::from_utf8(payload).ok()?;
        let id: MessageId = text.split_once(':')?.0.parse().ok()?;
        (self.messages.get(id)?.payload == payload).then_some(id)
    }

    fn check_sender(&self, about: Concerned, id: MessageId) {
        let message = &self.messages[id];
        if message.fate == Fate::Refused && message.attempts == 1 {
            self.fail(about, "a message came that was refused when it was first sent");
        }
        if !message.may_come {
            self.fail(about, "a Will Message came although its Client is connected");
        }
    }

    /// Checks that the first occurrences of one publisher's messages to one topic are in order
    /// [MQTT-4.6.0-6], if the subscription existed when the earlier one was sent.
    fn check_order(&mut self, about: Concerned, incarnation: IncarnationId, id: MessageId) {
        let message = &self.messages[id];
        if !message.topic.starts_with("t/") || self.may_reorder.contains(&message.publisher) {
            return;
        }
        // It was dropped, and may be back after a cut or a repetition.
        if message.may_have_expired(self.now) {
            return;
        }
        let key = (message.publisher, message.topic.clone());
        let was_subscribed = message.expected.iter().any(|&life| {
            let life = &self.lives[life];
            life.incarnation == incarnation && !life.is_over
        });
        let last = self.incarnations[incarnation].last.entry(key).or_insert(id);
        let last = std::mem::replace(last, id.max(*last));
        if was_subscribed && id < last {
            self.fail(about, &format!("message {id} came first after message {last}"));
        }
    }

    fn check_count(&self, about: Concerned, id: MessageId, qos: u8, count: u32) {
        let message = &self.messages[id];
        if message.qos < 2 || qos < 2 {
            return;
        }
        let times_max = match message.kind {
            Kind::Plain => 1,
            Kind::Will => 1 + (self.cuts - message.cuts) as u32,
            _ => return,
        };
        if count > times_max {
            self.fail(about, &format!("a QoS 2 message came {count} times"));
        }
        if message.topic.starts_with("s/") {
            let seen = self.incarnations.iter().filter_map(|it| it.seen.get(&id));
            if seen.sum::<u32>() > 1 {
                self.fail(about, "a QoS 2 message came to two members of a shared subscription");
            }
        }
    }

    /// Checks that a new subscription gets the retained message that was acknowledged last, or a
    /// later one.
    fn check_retained(&mut self, arrival: &Arrival<'_>, id: MessageId) {
        let Some(history) = self.retained.get(arrival.topic) else {
            return;
        };
        let place = history.messages.iter().position(|&other| other == id).unwrap_or(0);
        for wish in &mut self.wishes {
            let is_its = self.lives[wish.life].incarnation == arrival.incarnation;
            if is_its && wish.topic == arrival.topic && place >= wish.floor {
                wish.is_fulfilled = true;
            }
        }
        let floor = self.floor(arrival.incarnation, arrival.topic);
        if arrival.retain && place < floor && self.is_ordered(history) {
            let text = format!(
                "retained message number {place} of {} came although number {floor} was \
                 acknowledged before the SUBSCRIBE",
                arrival.topic
            );
            self.fail(Concerned::both(arrival.client, id), &text);
        }
    }

    pub(crate) fn fail(&self, about: Concerned, text: &str) -> ! {
        self.log.fail(about, text)
    }
}

fn payload(id: MessageId, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{id}:").into_bytes();
    payload.resize(payload.len() + bytes, b'a' + (id % 26) as u8);
    payload
}
