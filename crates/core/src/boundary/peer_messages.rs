//! What the workers of one node tell each other. Messages between two workers arrive in order.
//!
//! Each of them can be written down ([`PeerMessage::encode`]): nothing in it is known by where it
//! is in memory, and every name in it is one that is never given to anything else, or says which
//! one of those that had it is meant. That two workers share the bytes of a message saves copying,
//! and means nothing.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::identity::{GroupId, Identity, SessionId, WorkerId};
use crate::base::message::Message;
use crate::boundary::store_records::Round;
use crate::tree::subscription_tree::PackedOptions;

/// Identifies a request of one worker, so that it recognizes the answer.
pub(crate) type Ticket = u64;

/// Identifies the question whether another worker retains a message, which not every publisher
/// asks.
pub(crate) type QuestionId = NonZeroU64;

/// Identifies a walk over the retained messages of a worker, which begins it for another one. Never
/// used again: whoever asks for a walk that has ended must not get another one.
pub(crate) type WalkId = u64;

/// One entry of a batch from one worker to another. Opaque to the driver, which only carries it.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct PeerMessage(pub(crate) Peer);

#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum Peer {
    /// An admitted publication for all local subscribers of the receiving worker.
    Publish(Message),
    /// The sender has subscribers to this filter, or no longer has any.
    Filter {
        filter: Arc<str>,
        wanted: bool,
    },
    /// A shared subscription that the sender is home to exists, or no longer does.
    Group {
        filter: Arc<str>,
        group: GroupId,
        exists: bool,
    },
    /// A member of a shared subscription that the sender is home to has come or changed, or, with
    /// `GroupMemberGone`, has gone.
    GroupMember {
        group: GroupId,
        member: Member,
    },
    GroupMemberGone {
        group: GroupId,
        session: SessionId,
    },
    /// The receiver answers with `FencePassed` once everything sent before has taken effect.
    Fence(Ticket),
    /// The answer to `Fence`, with how many retained messages the sender has sent to each worker so
    /// far.
    FencePassed {
        ticket: Ticket,
        retained_sent: Box<[u64]>,
    },

    /// Everything that the sender sends to be kept from now on belongs to this round.
    Round(Round),
    /// Everything of this round was sent: the receiver answers when it has kept its part.
    /// A message may come back to the worker whose round it is. That worker then asks others about
    /// its own round on behalf of the worker that asked; the ticket tells the answers apart.
    Ask {
        round: Round,
        ticket: Ticket,
    },
    Answer {
        round: Round,
        ticket: Ticket,
        assurance: Assurance,
    },
    /// This round is durable: QoS 2 messages that were kept in it may be sent.
    Confirmed(Round),
    /// This round of the sender will never be confirmed: QoS 2 messages that were kept in it do not
    /// count.
    Void(Round),
    /// The sender has Sessions in the store.
    Storing,

    Shared(SharedPeer),
    Retained(RetainedPeer),
    Move(MovePeer),

    ExclusiveClaim {
        ticket: Ticket,
        filter: Arc<str>,
        session: SessionId,
    },
    ExclusiveAnswer {
        ticket: Ticket,
        granted: bool,
    },
    ExclusiveRelease {
        filter: Arc<str>,
        session: SessionId,
    },
}

/// What a worker says of its part of a round, in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assurance {
    /// It is in the journal that both share, ahead of whatever the asker gives to it from now on:
    /// the receipt of the asker's next commit says that this is durable, too.
    InSharedJournal,
    /// It is durable, in a journal of the sender's own.
    Durable,
    /// Some of it was given to a worker that is gone, and nobody knows whether that is kept.
    Incomplete,
}

/// What concerns a shared subscription whose home one of the two workers is.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum SharedPeer {
    /// An admitted publication for a shared subscription of the receiver.
    Publish {
        group: GroupId,
        message: Message,
    },
    /// This Session of the receiver was chosen; those in `barred` did not take the message before.
    Deliver {
        session: SessionId,
        delivery: Delivery,
        barred: Vec<SessionId>,
    },
    /// The Sessions chosen so far, those in `barred`, cannot or must not have the message: the
    /// receiver chooses another one. `online` says whether the Client of the last one is connected
    /// now.
    Return {
        delivery: Delivery,
        barred: Vec<SessionId>,
        refusal: Option<DropReason>,
        online: bool,
    },
    Join {
        ticket: Ticket,
        name: Arc<str>,
        filter: Arc<str>,
        member: Member,
    },
    Joined {
        ticket: Ticket,
        group: GroupId,
    },
    Leave {
        group: GroupId,
        session: SessionId,
    },
    /// Like `Leave`, but by the group's name, which a member knows before its group has
    /// answered. The sender is told with `Left` when all workers have heard of it.
    Unsubscribe {
        ticket: Ticket,
        name: Arc<str>,
        filter: Arc<str>,
        session: SessionId,
    },
    /// No worker chooses the member any more.
    Left {
        ticket: Ticket,
    },
    Online {
        group: GroupId,
        session: SessionId,
        online: bool,
    },
    /// The store has come to know a member: it has to know the group, too.
    Stored {
        group: GroupId,
    },
    /// The member has completed a message of the group.
    Settled {
        group: GroupId,
        session: SessionId,
    },
}

/// What concerns retained messages whose home one of the two workers is.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum RetainedPeer {
    /// A retained message for the receiver, which is home to its topic. With a ticket, somebody
    /// waits for the verdict: a refusal is reported, and the answer to the round says that there
    /// was none.
    Set { message: Message, ticket: Option<QuestionId> },
    /// There was no room for the retained message with this ticket.
    Refused { ticket: QuestionId },
    /// Asks for the next matches of a walk over the receiver's retained messages; `walk` is absent
    /// to begin.
    Pull {
        ticket: Ticket,
        filter: Arc<str>,
        walk: Option<WalkId>,
        /// How many retained messages the receiver must have got from each worker before it
        /// begins.
        after: Box<[u64]>,
    },
    /// Some matches; `walk` is absent if these were the last.
    Chunk { ticket: Ticket, messages: Vec<Message>, walk: Option<WalkId> },
    /// The rest of a walk is not wanted.
    Stop { walk: WalkId },
}

/// What concerns a Session that goes from one worker to another. See [`crate::moving`].
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum MovePeer {
    /// The sender wants to give a Session to the receiver, which answers with `Prepared` when all
    /// workers send it what the Session wants.
    Prepare {
        ticket: Ticket,
        session: Box<ComingSession>,
    },
    Prepared {
        ticket: Ticket,
    },
    /// The Session does not come after all.
    CallOff {
        session: SessionId,
    },
    /// From now on, the sender sends what is for this Session to the worker `to`, and the receiver
    /// has to do so, too. It answers with `Switched`, and says the same to `to`. `online`: whether
    /// the Client is connected.
    Switch {
        session: SessionId,
        to: WorkerId,
        online: bool,
    },
    /// From now on, the sender sends what is for this Session to its new worker.
    Switched {
        session: SessionId,
    },
    /// A Session that has moved has ended.
    Over {
        session: SessionId,
    },
}

/// What a worker knows of a Session before it comes.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) struct ComingSession {
    pub(crate) session: SessionId,
    pub(crate) client: Arc<Identity>,
    /// Its number in the store; `None` if it is not kept there.
    pub(crate) number: Option<NonZeroU64>,
    pub(crate) filters: Vec<WantedFilter>,
}

/// What a Session wants of the messages that a filter matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedFilter {
    pub(crate) filter: Box<str>,
    pub(crate) options: PackedOptions,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A Session that joins a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) session: SessionId,
    pub(crate) options: PackedOptions,
    pub(crate) identifier: Option<NonZeroU32>,
    pub(crate) online: bool,
    /// Whether its Session is in the store.
    pub(crate) is_stored: bool,
    /// Messages of the group that it has not completed.
    pub(crate) in_flight: u32,
}

impl From<Peer> for PeerMessage {
    fn from(message: Peer) -> Self {
        Self(message)
    }
}

impl From<SharedPeer> for PeerMessage {
    fn from(message: SharedPeer) -> Self {
        Self(Peer::Shared(message))
    }
}

impl From<RetainedPeer> for PeerMessage {
    fn from(message: RetainedPeer) -> Self {
        Self(Peer::Retained(message))
    }
}

impl From<MovePeer> for PeerMessage {
    fn from(message: MovePeer) -> Self {
        Self(Peer::Move(message))
    }
}

impl PeerMessage {
    /// Whether it brings an Application Message that somebody waits for.
    pub fn is_message(&self) -> bool {
        self.0.message().is_some()
    }

    /// About how many bytes of memory this entry takes, with the message that it keeps alive; the
    /// size of batches is bounded by it.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.0.message().map_or(64, Message::held_bytes)
    }
}

impl Peer {
    /// The Application Message that it brings, if it brings one. What the receiver keeps of that
    /// belongs to the sender's round.
    pub(crate) fn message(&self) -> Option<&Message> {
        match self {
            Self::Publish(message)
            | Self::Shared(SharedPeer::Publish { message, .. })
            | Self::Retained(RetainedPeer::Set { message, .. }) => Some(message),
            Self::Shared(
                SharedPeer::Deliver { delivery, .. } | SharedPeer::Return { delivery, .. },
            ) => Some(&delivery.message),
            _ => None,
        }
    }
}
