//! What a worker and the store say to each other. The worker lists what is to be kept, in commits;
//! the store answers with receipts and with the messages that wait in it.
//!
//! These are plain values: nothing here keeps anything, and nothing here knows of files.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use midge_codec::{PacketIdentifier, QoS, SubscriptionOptions};

use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{SessionId, UserFacts, WorkerId};
use crate::base::message::Message;
use crate::base::time::Timestamp;

/// How many messages of a new Session may be sent without telling the store.
pub const FREE_AHEAD: u64 = 256;

/// Whom messages are kept for. Numbers are never used again in the life of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A Session.
    Session(u64),
    /// A shared subscription, which keeps messages while none of its members is connected.
    Group(u64),
}

/// One round of one worker. QoS 2 messages that are kept in a round, by its worker or by others on
/// that worker's behalf, count only if the store has the [`StoreOp::Confirm`] of the round, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    /// The worker.
    pub worker: WorkerId,
    /// Its count of rounds, from 1; begins anew when the broker starts.
    pub number: u64,
}

/// Something to be kept, or not to be kept any more. The order of one worker's operations matters;
/// operations on an [`Owner`] that the store does not know are void.
#[derive(Clone, Debug)]
pub enum StoreOp {
    /// The Session as of the last (re)connection of its Client: everything except subscriptions,
    /// messages and awaited releases. The first one makes the Session known.
    Session(Box<SessionRecord>),
    /// The Network Connection of a Session has ended. Messages with a sequence below `sent_before`
    /// may have been sent.
    Detached {
        /// The Session's number.
        session: u64,
        /// When.
        at: Timestamp,
        /// The first sequence that was surely not sent; `u64::MAX`: not known.
        sent_before: u64,
    },
    /// A Session has a Network Connection, and messages with a sequence below `sent_before` may be
    /// sent on it from now on. If the store is told nothing about a Session, this is
    /// [`FREE_AHEAD`].
    SentAhead {
        /// The Session's number.
        session: u64,
        /// The first sequence that is surely not sent.
        sent_before: u64,
    },
    /// The Will Message of a Session is published, or not to be published.
    WillGone {
        /// The Session's number.
        session: u64,
    },
    /// A subscription of a Session; replaces what it had under the same filter.
    Subscribed {
        /// The Session's number.
        session: u64,
        /// The subscription.
        subscription: SubscriptionRecord,
    },
    /// A subscription has ended.
    Unsubscribed {
        /// The Session's number.
        session: u64,
        /// The filter as its Client wrote it.
        filter: Box<str>,
    },
    /// A shared subscription that may keep messages.
    Group(GroupRecord),
    /// A message waits for its owner.
    Enqueue(Box<Enqueue>),
    /// The Client has taken a QoS 2 message over (PUBREC): only its PUBCOMP is outstanding.
    Taken {
        /// For whom it waited.
        owner: Owner,
        /// Its sequence.
        sequence: u64,
    },
    /// A message does not wait for its owner any more.
    Finished {
        /// For whom it waited.
        owner: Owner,
        /// Its sequence.
        sequence: u64,
    },
    /// A QoS 2 message was received; its Packet Identifier waits for the PUBREL.
    AwaitRelease {
        /// The publishing Session's number.
        session: u64,
        /// The Packet Identifier.
        packet_id: PacketIdentifier,
    },
    /// The PUBREL has come.
    Released {
        /// The publishing Session's number.
        session: u64,
        /// The Packet Identifier.
        packet_id: PacketIdentifier,
    },
    /// QoS 2 messages that were kept in this round count from now on.
    Confirm(Round),
    /// A message that waits for no owner; replaces what had the same number.
    Keep {
        /// The number that identifies it from now on.
        number: u64,
        /// Why it is kept.
        what: Kept,
        /// The message.
        message: Message,
    },
    /// A message that waits for no owner is not kept any more.
    Unkeep {
        /// Its number.
        number: u64,
    },
    /// A Session or a shared subscription has ended, with all that waited for it.
    Ended(Owner),
}

/// Why a message that waits for no owner is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is the retained message of its topic.
    Retained,
    /// It is published at this time.
    Delayed(Timestamp),
}

/// A Session without its subscriptions and messages.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its number in the store.
    pub number: u64,
    /// The Client Identifier.
    pub client_id: Box<str>,
    /// The user who owns it.
    pub user_name: Option<Box<str>>,
    /// What authentication has found out about that user last.
    pub facts: Option<Arc<UserFacts>>,
    /// How long it lives on without a Network Connection; `u32::MAX`: forever.
    pub expiry_seconds: u32,
    /// How many messages its Client may have got and not acknowledged: its Receive Maximum, or an
    /// earlier, larger one as long as anything of then is not complete. `None`: not known.
    pub window: Option<NonZeroU16>,
    /// Its Will Message.
    pub will: Option<WillRecord>,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct WillRecord {
    /// As it will be published, except for the expiry, which counts from then on.
    pub message: Message,
    /// The Will Delay Interval.
    pub delay_seconds: u32,
    /// The Message Expiry Interval.
    pub expiry_seconds: Option<u32>,
}

/// A subscription of a Session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// The filter as its Client wrote it, with `$share/...` or `$exclusive/`.
    pub filter: Box<str>,
    /// Subscription Options.
    pub options: SubscriptionOptions,
    /// Subscription Identifier.
    pub identifier: Option<NonZeroU32>,
}

/// A shared subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its number in the store.
    pub number: u64,
    /// The ShareName.
    pub name: Box<str>,
    /// The Topic Filter.
    pub filter: Box<str>,
}

/// A message that waits for its owner.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// Whom it waits for.
    pub owner: Owner,
    /// Its position in the queue: larger than that of the one before, usually by one.
    pub sequence: u64,
    /// The message and how the owner gets it.
    pub delivery: StoredDelivery,
    /// Present if it counts only once this round is confirmed.
    pub round: Option<Round>,
}

/// A message and how its owner gets it.
#[derive(Clone, Debug)]
pub struct StoredDelivery {
    /// The message.
    pub message: Message,
    /// The lower of the published and the granted QoS.
    pub qos: QoS,
    /// RETAIN as the receiver will see it.
    pub retain: bool,
    /// The Subscription Identifiers of all subscriptions that made the delivery.
    pub identifiers: Identifiers,
    /// The number of the shared subscription it comes from.
    pub group: Option<u64>,
}

/// What one worker wants to be kept, as a whole or not at all.
#[derive(Debug)]
pub struct Commit {
    /// The worker's count of commits, from 1.
    pub number: u64,
    /// The strongest promise that depends on it; `Memory`: nobody waits for its receipt.
    pub durability: Durability,
    /// In order. Empty if a receipt is wanted only for what came before.
    pub ops: Vec<StoreOp>,
}

/// What the store says about the commits of a worker: all up to these are written to the file, and
/// on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The last commit that is written to the file.
    pub written: u64,
    /// The last commit that is on the device.
    pub synced: u64,
}

/// A worker's request for the next messages that wait for an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// For whom they wait.
    pub owner: Owner,
    /// The Session that asks, so that the worker recognizes the answer.
    pub session: SessionId,
    /// Identifies the request, for the same reason.
    pub ticket: u64,
    /// The first sequence that is wanted.
    pub from: u64,
    /// How many messages are wanted at most.
    pub messages_max: usize,
    /// How many bytes are wanted at most; the first message comes whatever its size.
    pub bytes_max: usize,
}

/// The answer to a [`Fetch`]: everything that is neither finished nor taken within a range.
#[derive(Debug)]
pub struct Fetched {
    /// For whom they wait.
    pub owner: Owner,
    /// The Session that asked.
    pub session: SessionId,
    /// The ticket of the request.
    pub ticket: u64,
    /// In order.
    pub entries: Vec<FetchedEntry>,
    /// Every message below this sequence is in `entries`, finished or taken.
    pub next: u64,
}

/// One message that waits.
#[derive(Debug)]
pub struct FetchedEntry {
    /// Its position in the queue.
    pub sequence: u64,
    /// `None` if it is damaged: it can never be read.
    pub delivery: Option<StoredDelivery>,
    /// Present if it counts only once this round is confirmed, and the store does not know yet that
    /// it is.
    pub round: Option<Round>,
}

/// Everything that a store has kept, as a broker that starts finds it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The Sessions.
    pub sessions: RecoveredSessions,
    /// The shared subscriptions with their queues.
    pub groups: Vec<(GroupRecord, RecoveredQueue)>,
    /// Retained and delayed messages with their numbers.
    pub kept: Vec<(u64, Kept, Message)>,
    /// All numbers of Sessions, shared subscriptions and kept messages are smaller than this.
    pub next_number: u64,
    /// When the broker that had the store before ended, or a little later; `None`: not known.
    pub lived_until: Option<Timestamp>,
}

/// Sessions that a store has kept. They are large, and are sorted and divided.
#[allow(clippy::vec_box)]
pub type RecoveredSessions = Vec<Box<RecoveredSession>>;

/// A Session that a store has kept.
#[derive(Debug)]
pub struct RecoveredSession {
    /// Its record; without the will if that is gone.
    pub record: SessionRecord,
    /// When its Network Connection ended; `None` if it had one when the broker ended.
    pub detached_at: Option<Timestamp>,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// QoS 2 Packet Identifiers that wait for their PUBREL, oldest first.
    pub awaiting_release: Vec<PacketIdentifier>,
    /// What waits for it.
    pub queue: RecoveredQueue,
}

/// A queue that a store has kept. The messages have to be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// The first sequence that is not finished.
    pub first: u64,
    /// The sequence that the next message gets.
    pub next: u64,
    /// How many wait, not counting those that are taken.
    pub messages: u64,
    /// Their bytes: topics, properties and payloads.
    pub bytes: u64,
    /// What the Client has taken over (PUBREC) and not completed, in order.
    pub taken: Vec<u64>,
    /// Messages that may have been sent have a lower sequence; `u64::MAX`: nothing is known.
    pub sent_before: u64,
    /// How many of those that wait come from shared subscriptions.
    pub of_groups: u64,
}
