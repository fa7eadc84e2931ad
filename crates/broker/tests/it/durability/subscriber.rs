//! A subscriber that keeps its Session State across accidents, as the specification demands, and
//! notes what was delivered to it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use midge_broker::{ProtocolVersion, QoS};
use midge_codec::PacketType;

use super::scene::{Link, NoLink, Scene, Who};
use crate::client::{Message, Received};
use crate::support::DEADLINE;

/// The payload of the message after which no more are expected.
pub(crate) const MARK: &str = "that was all";

/// How long a subscriber waits for more messages before it acknowledges, and for how many. So there
/// are always messages that it has and of which the broker has no acknowledgement.
const LATE: Duration = Duration::from_millis(15);
const MANY: usize = 16;

pub(crate) struct Subscriber {
    pub(crate) who: Who,
    filters: Vec<String>,
    /// Whether it is connected while messages are published.
    pub(crate) is_online: bool,
    /// QoS 2 Packet Identifiers that it has answered with PUBREC, with the payloads they carried.
    awaiting_release: HashMap<u16, String>,
    /// Those of them that this broker has used and will therefore release.
    expected: HashSet<u16>,
    /// Acknowledgements that it has not sent yet: they are sent late, several at once.
    unsent: Vec<(PacketType, u16)>,
    pub(crate) delivered: HashMap<String, Delivered>,
    /// Whether the accident has happened.
    pub(crate) is_after: bool,
}

/// How often a message was handed to the application.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) before: u32,
    pub(crate) after: u32,
    /// When the first QoS 2 exchange was complete.
    pub(crate) completed_at: Option<Instant>,
}

impl Subscriber {
    pub(crate) fn new(
        client_id: &str,
        version: ProtocolVersion,
        filters: &[&str],
        is_online: bool,
    ) -> Self {
        Self {
            who: Who::new(client_id, version),
            filters: filters.iter().map(ToString::to_string).collect(),
            is_online,
            awaiting_release: HashMap::new(),
            expected: HashSet::new(),
            unsent: Vec::new(),
            delivered: HashMap::new(),
            is_after: false,
        }
    }

    /// Connects and subscribes, unless its Session was present.
    pub(crate) fn connect(&mut self, scene: &Scene) -> Option<Link> {
        let mut link = match self.who.connect(scene) {
            Ok(link) => link,
            Err(NoLink::Over) => return None,
            Err(refused) => panic!("{}: {refused:?}", self.who.client_id),
        };
        if !link.session_present {
            self.awaiting_release.clear();
            let filters: Vec<_> = self.filters.iter().map(String::as_str).collect();
            assert!(!link.subscribe(&filters, 1)?.is_error(), "{}", self.who.client_id);
        }
        Some(link)
    }

    /// Receives until the mark has come and every exchange is complete, or until the Network
    /// Connection ends. A broker that has forgotten an exchange does not complete it.
    pub(crate) fn run(&mut self, link: &mut Link) {
        let mut is_marked = false;
        self.expected.clear();
        self.unsent.clear();
        let mut heard_at = Instant::now();
        while !is_marked || !self.expected.is_empty() || !self.unsent.is_empty() {
            let received = link.receive(LATE);
            if received.is_none() || self.unsent.len() >= MANY {
                for (kind, id) in self.unsent.drain(..) {
                    link.acknowledge(kind, id);
                }
            }
            if received.is_some() {
                heard_at = Instant::now();
            }
            match received {
                Some(Received::Publish(message)) => is_marked |= self.take(&message),
                Some(Received::Ack { kind: PacketType::PubRel, id, .. }) => {
                    self.expected.remove(&id);
                    if let Some(payload) = self.awaiting_release.remove(&id) {
                        let delivered = self.delivered.entry(payload).or_default();
                        delivered.completed_at.get_or_insert_with(Instant::now);
                    }
                    link.acknowledge(PacketType::PubComp, id);
                }
                Some(Received::Closed | Received::Disconnect(_)) => return,
                None if heard_at.elapsed() > DEADLINE => self.complain(is_marked),
                None => (),
                other => panic!("{}: {other:?}", self.who.client_id),
            }
        }
    }

    fn complain(&self, is_marked: bool) {
        let (id, open) = (&self.who.client_id, &self.expected);
        panic!("{id}: nothing more comes; marked: {is_marked}, not released: {open:?}");
    }

    /// Takes a message; returns true if it is the mark.
    fn take(&mut self, message: &Message) -> bool {
        let payload = String::from_utf8(message.payload.clone()).unwrap();
        let is_mark = payload == MARK;
        match (message.qos, message.id) {
            (QoS::ExactlyOnce, Some(id)) => {
                self.expected.insert(id);
                if let Entry::Vacant(vacant) = self.awaiting_release.entry(id) {
                    vacant.insert(payload.clone());
                    self.note(payload);
                }
                self.unsent.push((PacketType::PubRec, id));
            }
            (QoS::AtLeastOnce, Some(id)) => {
                self.note(payload);
                self.unsent.push((PacketType::PubAck, id));
            }
            _ => self.note(payload),
        }
        is_mark
    }

    fn note(&mut self, payload: String) {
        let delivered = self.delivered.entry(payload).or_default();
        match self.is_after {
            true => delivered.after += 1,
            false => delivered.before += 1,
        }
    }
}
