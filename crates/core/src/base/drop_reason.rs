//! Why a message did not reach somebody.

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
    /// QoS 0 for a Session without a Network Connection, or with one that ended before the message
    /// was written to it.
    Offline = "offline",
        "QoS 0 for a client that is not connected, or whose connection ended before it had taken \
         it";
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
    /// It waited for a Session that ended, or to be written to its Network Connection.
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
    /// While the broker was short of memory: QoS 0, a message that was refused, or one that a
    /// shared subscription had kept in memory only.
    MemoryPressure = "memory_pressure",
        "memory is short (limits.memory_bytes_max)";
    /// A subscriber inside the process did not take its messages in time.
    LocalReceiverFull = "local_receiver_full",
        "a subscriber inside the process does not take its messages";
    /// The store had no room for it; its publisher was not told that it is kept.
    StoreFull = "store_full",
        "the store has no room (limits.store_bytes_max, or its device is full)";
    /// It could not be read from the store any more.
    Damaged = "damaged",
        "it cannot be read from the store any more";
    /// It was in memory only, or not yet written, when the broker ended.
    BrokerEnded = "broker_ended",
        "it was in memory only when the broker ended";
    /// The worker that decides about it, or keeps it, is gone; its publisher was not told that it
    /// is kept.
    PeerGone = "peer_gone",
        "the part of the broker that decides about it or keeps it has failed";
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
