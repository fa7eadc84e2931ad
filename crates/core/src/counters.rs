//! What a worker counts. Counters only grow; a worker owns its own and readers add them up.

use midge_codec::PacketType;

/// Why a message did not reach somebody. Nothing is dropped without one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Nobody had a matching subscription.
    NoSubscriber,
    /// QoS 0 for a Session without a Network Connection.
    Offline,
    /// The Session's queue held as many messages as it may.
    QueueFull,
    /// The Session's queue held as many bytes as it may.
    QueueBytes,
    /// QoS 0 for a Client whose socket does not take what was written already.
    SlowConsumer,
    /// The Message Expiry Interval had passed.
    Expired,
    /// Larger than the Client's Maximum Packet Size [MQTT-3.1.2-24].
    PacketTooLarge,
    /// The publisher may not publish to this topic.
    PublishNotAuthorized,
    /// The subscriber may not receive from this topic.
    DeliveryNotAuthorized,
    /// It waited for a Session that ended.
    SessionEnded,
    /// A retained message beyond the limits of the retained store.
    RetainedLimit,
    /// A delayed message beyond the limits.
    DelayedLimit,
    /// A shared subscription without connected members held as much as it may.
    SharedBacklogFull,
    /// The Client refused it with a Reason Code of 0x80 or above.
    RefusedByReceiver,
    /// QoS 0 while the broker was short of memory.
    MemoryPressure,
    /// A subscriber inside the process did not take its messages in time.
    LocalReceiverFull,
    /// The store had no room for it; its publisher was not told that it is kept.
    StoreFull,
    /// It could not be read from the store any more.
    Damaged,
    /// Nothing is published to such a topic: it has too many levels, or the form of something else.
    TopicNameInvalid,
}

impl DropReason {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 19] = [
        Self::NoSubscriber,
        Self::Offline,
        Self::QueueFull,
        Self::QueueBytes,
        Self::SlowConsumer,
        Self::Expired,
        Self::PacketTooLarge,
        Self::PublishNotAuthorized,
        Self::DeliveryNotAuthorized,
        Self::SessionEnded,
        Self::RetainedLimit,
        Self::DelayedLimit,
        Self::SharedBacklogFull,
        Self::RefusedByReceiver,
        Self::MemoryPressure,
        Self::LocalReceiverFull,
        Self::StoreFull,
        Self::Damaged,
        Self::TopicNameInvalid,
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSubscriber => "no_subscriber",
            Self::Offline => "offline",
            Self::QueueFull => "queue_full",
            Self::QueueBytes => "queue_bytes",
            Self::SlowConsumer => "slow_consumer",
            Self::Expired => "expired",
            Self::PacketTooLarge => "packet_too_large",
            Self::PublishNotAuthorized => "publish_not_authorized",
            Self::DeliveryNotAuthorized => "delivery_not_authorized",
            Self::SessionEnded => "session_ended",
            Self::RetainedLimit => "retained_limit",
            Self::DelayedLimit => "delayed_limit",
            Self::SharedBacklogFull => "shared_backlog_full",
            Self::RefusedByReceiver => "refused_by_receiver",
            Self::MemoryPressure => "memory_pressure",
            Self::LocalReceiverFull => "local_receiver_full",
            Self::StoreFull => "store_full",
            Self::Damaged => "damaged",
            Self::TopicNameInvalid => "topic_name_invalid",
        }
    }
}

/// The counters of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Control Packets received, by [`PacketType`] number.
    pub packets_received: [u64; 16],
    /// Control Packets sent, by [`PacketType`] number.
    pub packets_sent: [u64; 16],
    /// Bytes of received Control Packets.
    pub bytes_received: u64,
    /// Application Messages accepted by the publish gate.
    pub messages_received: u64,
    /// Copies of Application Messages handed to subscribers.
    pub messages_delivered: u64,
    /// Messages or copies dropped, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Network Connections opened.
    pub connections_opened: u64,
    /// Network Connections closed.
    pub connections_closed: u64,
    /// CONNECT packets refused.
    pub connects_refused: u64,
    /// Network Connections ended because the peer broke a rule of the protocol.
    pub protocol_violations: u64,
    /// Network Connections ended because the Keep Alive ran out.
    pub keep_alive_timeouts: u64,
    /// Network Connections ended because no CONNECT came in time.
    pub connect_timeouts: u64,
    /// Sessions taken over by a new Network Connection.
    pub sessions_taken_over: u64,
    /// Sessions that ended because their expiry interval passed.
    pub sessions_expired: u64,
    /// Will Messages published.
    pub wills_published: u64,
    /// Requests beyond a limit, of any kind.
    pub limits_exceeded: u64,
}

impl Counters {
    pub(crate) fn received(&mut self, packet: PacketType) {
        self.packets_received[packet as usize] += 1;
    }

    pub(crate) fn sent(&mut self, packet: PacketType) {
        self.packets_sent[packet as usize] += 1;
    }

    pub(crate) fn drop_message(&mut self, reason: DropReason) {
        self.drop_messages(reason, 1);
    }

    pub(crate) fn drop_messages(&mut self, reason: DropReason, count: u64) {
        self.dropped[reason as usize] += count;
    }

    /// How many messages were dropped for `reason`.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        add_all(&mut self.packets_received, &other.packets_received);
        add_all(&mut self.packets_sent, &other.packets_sent);
        add_all(&mut self.dropped, &other.dropped);
        self.bytes_received += other.bytes_received;
        self.messages_received += other.messages_received;
        self.messages_delivered += other.messages_delivered;
        self.connections_opened += other.connections_opened;
        self.connections_closed += other.connections_closed;
        self.connects_refused += other.connects_refused;
        self.protocol_violations += other.protocol_violations;
        self.keep_alive_timeouts += other.keep_alive_timeouts;
        self.connect_timeouts += other.connect_timeouts;
        self.sessions_taken_over += other.sessions_taken_over;
        self.sessions_expired += other.sessions_expired;
        self.wills_published += other.wills_published;
        self.limits_exceeded += other.limits_exceeded;
    }
}

fn add_all(into: &mut [u64], from: &[u64]) {
    for (sum, value) in into.iter_mut().zip(from) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::{Counters, DropReason};

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut names = Vec::new();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            names.push(reason.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[test]
    fn counters_of_two_workers_add_up() {
        let mut one = Counters::default();
        one.drop_messages(DropReason::Expired, 2);
        let mut two = Counters { bytes_received: 5, ..Counters::default() };
        two.drop_message(DropReason::Expired);
        one.add(&two);
        assert_eq!((one.dropped_for(DropReason::Expired), one.bytes_received), (3, 5));
    }
}
