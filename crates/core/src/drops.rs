//! Why a message did not reach somebody, and what is reported about it.
//!
//! Code that gives up a message, or a copy of one, calls [`Clients::note_drop`]. That counts the
//! drop under a [`DropReason`], and notes for the log of this turn whom it concerns. Similar drops
//! become one [`DropNote`], so that a Client that takes nothing costs no allocation for each
//! message.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::clients::Clients;
use crate::effects::{Effects, Event};
use crate::identity::Identity;
use crate::subscription_tree::SessionSlot;
use crate::turn::Turn;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $name:literal, $explanation:literal;)+) => {
        /// Why a message did not reach somebody. Nothing is dropped without one of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $reason,)+
        }

        impl DropReason {
            const COUNT: usize = [$($name),+].len();

            /// All reasons, in the order of the counters.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$reason),+];

            /// The name in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }

            /// The reason in words, with the limit that was reached.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$reason => $explanation,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Nobody had a matching subscription. That is nobody's loss: see [`DropReason::is_loss`].
    NoSubscriber = "no_subscriber",
        "nobody has a matching subscription";
    /// QoS 0 for a Session without a Network Connection.
    Offline = "offline",
        "QoS 0 for a client that is not connected";
    /// The Session's queue held as many messages as it may.
    QueueFull = "queue_full",
        "its queue holds as many messages as it may (limits.queue_messages_max)";
    /// The Session's queue held as many bytes as it may.
    QueueBytes = "queue_bytes",
        "its queue holds as many bytes as it may (limits.queue_bytes_max)";
    /// QoS 0 for a Client whose socket does not take what was written already.
    SlowConsumer = "slow_consumer",
        "QoS 0, and it does not read what was written already (limits.output_bytes_max)";
    /// The Message Expiry Interval had passed.
    Expired = "expired",
        "the Message Expiry Interval has passed";
    /// Larger than the Client's Maximum Packet Size [MQTT-3.1.2-24].
    PacketTooLarge = "packet_too_large",
        "larger than the Maximum Packet Size that it accepts";
    /// The publisher may not publish to this topic.
    PublishNotAuthorized = "publish_not_authorized",
        "it may not publish to this topic";
    /// The subscriber may not receive from this topic.
    DeliveryNotAuthorized = "delivery_not_authorized",
        "it may not receive messages of this topic";
    /// Nothing is published to such a topic: it has too many levels, or the form of something else.
    TopicNameInvalid = "topic_name_invalid",
        "nothing can be published to this topic";
    /// It waited for a Session that ended.
    SessionEnded = "session_ended",
        "the session ended before the client had taken it";
    /// A retained message beyond the limits of the retained store.
    RetainedLimit = "retained_limit",
        "delivered but not retained (limits.retained_messages_max, limits.retained_bytes_max)";
    /// A delayed message beyond the limits.
    DelayedLimit = "delayed_limit",
        "too many delayed messages wait (limits.delayed_messages_max, limits.delayed_bytes_max)";
    /// A shared subscription without connected members held as much as it may.
    SharedBacklogFull = "shared_backlog_full",
        "its shared subscription holds as much as it may (limits.shared_backlog_messages_max, \
         limits.shared_backlog_bytes_max)";
    /// The Client refused it with a Reason Code of 0x80 or above.
    RefusedByReceiver = "refused_by_receiver",
        "it refused the message";
    /// QoS 0 while the broker was short of memory.
    MemoryPressure = "memory_pressure",
        "QoS 0 while memory is short (limits.memory_bytes_max)";
    /// A subscriber inside the process did not take its messages in time.
    LocalReceiverFull = "local_receiver_full",
        "a subscriber inside the process does not take its messages";
    /// The store had no room for it; its publisher was not told that it is kept.
    StoreFull = "store_full",
        "the store has no room (limits.store_bytes_max, or its device is full)";
    /// It could not be read from the store any more.
    Damaged = "damaged",
        "it cannot be read from the store any more";
    /// It was in memory only when the broker ended.
    BrokerEnded = "broker_ended",
        "it was in memory only when the broker ended";
}

impl DropReason {
    /// Whether somebody should have received the message and did not.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::NoSubscriber)
    }

    /// Whether such drops are normal, so that nothing has to be done about them.
    pub const fn is_ordinary(self) -> bool {
        matches!(
            self,
            Self::NoSubscriber
                | Self::Offline
                | Self::Expired
                | Self::SessionEnded
                | Self::RefusedByReceiver
                | Self::BrokerEnded
        )
    }
}

/// Whom a drop concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Party<'p> {
    /// The Session that does not get the message.
    Receiver(SessionSlot),
    /// A receiver whose Session does not exist any more.
    Former(&'p Arc<Identity>),
    /// The publisher whose message is refused.
    Publisher(&'p Arc<Identity>),
    Nobody,
}

/// Messages that were dropped in one turn, for the same reason, and concern the same Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropNote {
    /// The Client that should have received them or, if `is_refusal`, that published them; absent
    /// if it was nobody in particular, or if too many Clients were concerned.
    pub client: Option<Arc<Identity>>,
    /// Whether the messages were refused from `client`, rather than not delivered to it.
    pub is_refusal: bool,
    /// The topic of the first message; empty if it is not known any more.
    pub topic: Box<str>,
    /// Why.
    pub reason: DropReason,
    /// How many messages.
    pub count: u64,
}

impl Effects {
    /// From this many notes in one turn on, new ones name no Client: further drops for the same
    /// reason share one.
    const DROP_NOTES_MAX: usize = 64;

    fn note_drops(
        &mut self,
        client: Option<&Arc<Identity>>,
        is_refusal: bool,
        topic: &str,
        reason: DropReason,
        count: u64,
    ) {
        if self.drops.is_empty() {
            self.drop_places.0.clear(); // the driver has taken them
        }
        let has_room = self.drops.len() < Self::DROP_NOTES_MAX;
        let mut add = |client| {
            let place = self.drop_places.0.get(&DropPlaces::key(client, is_refusal, reason));
            let note = place.and_then(|&place| self.drops.get_mut(place));
            note.map(|note| note.count += count)
        };
        if add(client).or_else(|| if has_room { None } else { add(None) }).is_none() {
            let client = client.filter(|_| has_room);
            let key = DropPlaces::key(client, is_refusal, reason);
            self.drop_places.0.insert(key, self.drops.len());
            let (client, topic) = (client.map(Arc::clone), topic.into());
            self.drops.push(DropNote { client, is_refusal, topic, reason, count });
        }
    }
}

/// The places of the notes of one turn, so that a fan-out to many absent Clients does not search
/// all notes for each of them.
#[derive(Default)]
pub(crate) struct DropPlaces(HashMap<DropKey, usize, foldhash::fast::FixedState>);

/// Whom the drop concerns (the address of the identity in the note, 0 for nobody), whether it is a
/// refusal, and why.
type DropKey = (usize, bool, DropReason);

impl DropPlaces {
    fn key(client: Option<&Arc<Identity>>, is_refusal: bool, reason: DropReason) -> DropKey {
        (client.map_or(0, |client| Arc::as_ptr(client).addr()), is_refusal, reason)
    }
}

impl fmt::Debug for DropPlaces {
    /// Shows no addresses, since they differ in each run.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("DropPlaces").field(&self.0.len()).finish()
    }
}

impl Clients {
    /// Counts a dropped message, and reports it.
    pub(crate) fn note_drop(
        &mut self,
        party: Party<'_>,
        topic: &str,
        reason: DropReason,
        turn: &mut Turn,
    ) {
        self.note_drops(party, topic, reason, 1, turn);
    }

    /// Does the same for several messages.
    pub(crate) fn note_drops(
        &mut self,
        party: Party<'_>,
        topic: &str,
        reason: DropReason,
        count: u64,
        turn: &mut Turn,
    ) {
        self.counters.drop_messages(reason, count);
        if count == 0 || !reason.is_loss() && !self.tell_drops {
            return;
        }
        let (receiver, publisher) = match party {
            Party::Receiver(slot) => (Some(&self.sessions[slot as usize].identity), None),
            Party::Former(identity) => (Some(identity), None),
            Party::Publisher(identity) => (None, Some(identity)),
            Party::Nobody => (None, None),
        };
        if self.tell_drops {
            let (receiver, publisher) = (receiver.cloned(), publisher.cloned());
            let topic = topic.into();
            turn.fx.events.push(Event::Dropped { receiver, publisher, topic, reason, count });
        }
        if reason.is_loss() {
            let client = receiver.or(publisher);
            turn.fx.note_drops(client, publisher.is_some(), topic, reason, count);
        }
    }
}
