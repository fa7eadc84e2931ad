//! The sending half of a Session's state: what waits for the Client and what is under way to it.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use midge_codec::{PacketIdentifier, QoS};

use crate::counters::DropReason;
use crate::limits::Limits;
use crate::message::Message;
use crate::subscription_tree::GroupId;

/// A message for one Session, with how that Session gets it. At most 48 bytes besides the message,
/// which is shared by all that wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    /// The lower one of what was published and what was granted.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Identifiers,
    /// The shared subscription it comes from: another member may get it if this one goes.
    pub(crate) group: Option<GroupId>,
}

/// The Subscription Identifiers of all subscriptions that made a delivery [MQTT-3.3.4-3].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// None.
    #[default]
    None,
    /// One: the usual case.
    One(NonZeroU32),
    /// Several.
    Many(Box<[NonZeroU32]>),
}

/// What the Client has to send next for a message under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)] // the names are the specification's
pub(crate) enum Stage {
    PubAck,
    PubRec,
    PubComp,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) packet_id: PacketIdentifier,
    pub(crate) stage: Stage,
    /// Gone once the Client has taken the message over (PUBREC).
    pub(crate) delivery: Option<Delivery>,
}

/// The queue and the in-flight window of one Session.
#[derive(Debug)]
pub(crate) struct Outgoing {
    in_flight: VecDeque<InFlight>,
    queue: VecDeque<Delivery>,
    queue_bytes: usize,
    last_packet_id: u16,
    window: u16,
    /// How many of the messages under way, the last ones, were not yet sent again on this Network
    /// Connection.
    unsent: usize,
}

impl Outgoing {
    pub(crate) fn new(window: u16) -> Self {
        Self {
            in_flight: VecDeque::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_packet_id: 0,
            window,
            unsent: 0,
        }
    }

    /// A new Network Connection: everything under way has to be sent again, within its window,
    /// which is the Client's Receive Maximum [MQTT-4.9.0-1] or less.
    pub(crate) fn resume(&mut self, window: u16) {
        self.window = window;
        self.unsent = self.in_flight.len();
    }

    /// The next message to be sent again, if the window has room for it; it counts as sent.
    pub(crate) fn next_unsent(&mut self) -> Option<&mut InFlight> {
        let sent = self.in_flight.len() - self.unsent;
        if self.unsent == 0 || sent >= usize::from(self.window) {
            return None;
        }
        self.unsent -= 1;
        self.in_flight.get_mut(sent)
    }

    /// Whether a message may be sent now and none that waits longer would be overtaken.
    pub(crate) fn may_send_at_once(&self) -> bool {
        self.queue.is_empty() && self.has_window()
    }

    /// Whether a message that was never sent may be sent: what was sent before goes first.
    fn has_window(&self) -> bool {
        self.unsent == 0 && self.in_flight.len() < usize::from(self.window)
    }

    /// Puts a message at the end of the queue, unless it is full.
    pub(crate) fn enqueue(
        &mut self,
        delivery: Delivery,
        limits: &Limits,
    ) -> Result<(), DropReason> {
        let bytes = self.queue_bytes + delivery.message.size();
        if self.queue.len() >= limits.queue_messages_max as usize {
            return Err(DropReason::QueueFull);
        }
        if bytes > limits.queue_bytes_max as usize && !self.queue.is_empty() {
            return Err(DropReason::QueueBytes);
        }
        self.queue_bytes = bytes;
        self.queue.push_back(delivery);
        Ok(())
    }

    /// The next message from the queue, if the window has room for it.
    pub(crate) fn dequeue(&mut self) -> Option<Delivery> {
        if !self.has_window() {
            return None;
        }
        let delivery = self.queue.pop_front()?;
        self.queue_bytes -= delivery.message.size();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Puts a message under way and names it [MQTT-2.2.1-4].
    pub(crate) fn begin(&mut self, delivery: Delivery) -> PacketIdentifier {
        let packet_id = self.free_packet_identifier();
        let exactly_once = delivery.qos == QoS::ExactlyOnce;
        let stage = if exactly_once { Stage::PubRec } else { Stage::PubAck };
        self.in_flight.push_back(InFlight { packet_id, stage, delivery: Some(delivery) });
        packet_id
    }

    /// The message under way with this Packet Identifier.
    pub(crate) fn find(&mut self, packet_id: PacketIdentifier) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|entry| entry.packet_id == packet_id)
    }

    /// Ends the message under way with this Packet Identifier, if it is at this stage.
    pub(crate) fn finish(&mut self, packet_id: PacketIdentifier, stage: Stage) -> Option<InFlight> {
        let is_it = |entry: &InFlight| entry.packet_id == packet_id && entry.stage == stage;
        let index = self.in_flight.iter().position(is_it)?;
        let was_unsent = index >= self.in_flight.len() - self.unsent;
        self.unsent -= usize::from(was_unsent);
        let entry = self.in_flight.remove(index);
        if self.in_flight.is_empty() && self.in_flight.capacity() > 64 {
            self.in_flight = VecDeque::new();
        }
        entry
    }

    /// Takes out everything that was not taken over by the Client, in the order of delivery. A QoS
    /// 2 message that was sent to one member of a group goes to no other [MQTT-4.8.2-5].
    pub(crate) fn take_undelivered(&mut self) -> Vec<Delivery> {
        self.queue_bytes = 0;
        self.unsent = 0;
        let under_way = self.in_flight.drain(..).filter_map(|entry| entry.delivery);
        let under_way = under_way.map(|delivery| match delivery.qos {
            QoS::ExactlyOnce => Delivery { group: None, ..delivery },
            _ => delivery,
        });
        under_way.chain(self.queue.drain(..)).collect()
    }

    /// Takes out what waits (not: is under way) for shared subscriptions, in order.
    pub(crate) fn take_queued_of_groups(&mut self) -> Vec<Delivery> {
        let (shared, own) =
            self.queue.drain(..).partition::<Vec<_>, _>(|waiting| waiting.group.is_some());
        self.queue = own.into();
        self.queue_bytes = self.queue.iter().map(|waiting| waiting.message.size()).sum();
        shared
    }

    /// Messages and bytes that wait.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queue_bytes)
    }

    pub(crate) fn in_flight_len(&self) -> usize {
        self.in_flight.len()
    }

    /// There is one: the window is smaller than the number of identifiers.
    fn free_packet_identifier(&mut self) -> PacketIdentifier {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(packet_id) = PacketIdentifier::new(self.last_packet_id)
                && !self.in_flight.iter().any(|entry| entry.packet_id == packet_id)
            {
                return packet_id;
            }
        }
    }
}

impl Identifiers {
    /// All of them.
    pub fn as_slice(&self) -> &[NonZeroU32] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl From<&[NonZeroU32]> for Identifiers {
    fn from(identifiers: &[NonZeroU32]) -> Self {
        match identifiers {
            [] => Self::None,
            [one] => Self::One(*one),
            many => Self::Many(many.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_codec::QoS;

    use super::{Delivery, Identifiers, Outgoing, Stage};
    use crate::counters::DropReason;
    use crate::identity::Identity;
    use crate::limits::Limits;
    use crate::message::{Attributes, Publication};
    use crate::stored::Durability;

    fn delivery(payload: &[u8]) -> Delivery {
        let qos = QoS::AtLeastOnce;
        let attributes = Attributes {
            qos,
            retain: false,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let publisher = Arc::new(Identity { client_id: "p".into(), user_name: None });
        let message = Publication::new("t", &[], payload, attributes, &publisher).share();
        Delivery { message, qos, retain: false, identifiers: Identifiers::None, group: None }
    }

    #[test]
    fn packet_identifiers_in_flight_are_never_reused() {
        let mut outgoing = Outgoing::new(3);
        let first = outgoing.begin(delivery(b"stuck"));
        for _ in 0..70_000 {
            let next = outgoing.begin(delivery(b"x"));
            assert_ne!(next, first);
            assert!(outgoing.finish(next, Stage::PubAck).is_some());
        }
    }

    #[test]
    fn the_queue_is_bounded_by_messages_and_bytes() {
        let limits = Limits { queue_messages_max: 3, queue_bytes_max: 10, ..Limits::default() };
        let mut outgoing = Outgoing::new(1);
        outgoing.enqueue(delivery(b"1234"), &limits).unwrap();
        outgoing.enqueue(delivery(b"1"), &limits).unwrap();
        let refused = outgoing.enqueue(delivery(b"12345"), &limits);
        assert_eq!(refused, Err(DropReason::QueueBytes));
        outgoing.enqueue(delivery(b"1"), &limits).unwrap();
        assert_eq!(outgoing.enqueue(delivery(b""), &limits), Err(DropReason::QueueFull));
        assert_eq!(outgoing.queued(), (3, 9));
        outgoing.dequeue().unwrap();
        assert_eq!(outgoing.queued(), (2, 4));
    }

    #[test]
    fn what_was_under_way_goes_first_and_within_the_new_window() {
        let mut outgoing = Outgoing::new(3);
        let ids: Vec<_> = (0..3).map(|_| outgoing.begin(delivery(b"x"))).collect();
        outgoing.resume(1);
        assert!(!outgoing.may_send_at_once());
        assert_eq!(outgoing.next_unsent().unwrap().packet_id, ids[0]);
        assert!(outgoing.next_unsent().is_none(), "the window is full");
        outgoing.finish(ids[1], Stage::PubAck).unwrap(); // a late one, for what is not sent yet
        assert!(outgoing.next_unsent().is_none());
        outgoing.finish(ids[0], Stage::PubAck).unwrap();
        assert_eq!(outgoing.next_unsent().unwrap().packet_id, ids[2]);
        assert!(!outgoing.may_send_at_once());
        outgoing.finish(ids[2], Stage::PubAck).unwrap();
        assert!(outgoing.may_send_at_once());
    }

    #[test]
    fn an_acknowledgement_of_the_wrong_kind_ends_nothing() {
        let mut outgoing = Outgoing::new(1);
        let packet_id = outgoing.begin(delivery(b"x"));
        assert!(outgoing.finish(packet_id, Stage::PubComp).is_none());
        assert!(outgoing.finish(packet_id, Stage::PubAck).is_some());
        assert!(outgoing.finish(packet_id, Stage::PubAck).is_none());
    }
}
