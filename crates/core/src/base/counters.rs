//! What a worker counts. Counters only grow, apart from corrections. Each worker owns its own, and
//! readers add them up.

use midge_codec::PacketType;

use crate::base::drop_reason::DropReason;

/// The counters of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Control Packets received, by [`PacketType`] number.
    pub packets_received: [u64; 16],
    /// Control Packets sent, by [`PacketType`] number.
    pub packets_sent: [u64; 16],
    /// Bytes of received Control Packets.
    pub bytes_received: u64,
    /// Bytes of Control Packets that were written.
    pub bytes_sent: u64,
    /// Bytes of the payloads of `messages_received`.
    pub payload_bytes_received: u64,
    /// Bytes of the payloads of `messages_delivered`.
    pub payload_bytes_delivered: u64,
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

    /// Counts a message that was delivered to one receiver.
    #[inline]
    pub(crate) fn delivered(&mut self, payload_bytes: usize) {
        self.messages_delivered += 1;
        self.payload_bytes_delivered += payload_bytes as u64;
    }

    /// Takes back the count of a message that was not delivered after all.
    pub(crate) fn undelivered(&mut self, payload_bytes: usize) {
        self.messages_delivered -= 1;
        self.payload_bytes_delivered -= payload_bytes as u64;
    }

    pub(crate) fn drop_messages(&mut self, reason: DropReason, count: u64) {
        self.dropped[reason as usize] += count;
    }

    /// How many messages were dropped for `reason`.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many messages were dropped that somebody should have received.
    pub fn lost(&self) -> u64 {
        let losses = DropReason::ALL.into_iter().filter(|reason| reason.is_loss());
        losses.map(|reason| self.dropped_for(reason)).sum()
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Self) {
        add_all(&mut self.packets_received, &other.packets_received);
        add_all(&mut self.packets_sent, &other.packets_sent);
        add_all(&mut self.dropped, &other.dropped);
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.payload_bytes_received += other.payload_bytes_received;
        self.payload_bytes_delivered += other.payload_bytes_delivered;
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
        two.drop_messages(DropReason::Expired, 1);
        one.add(&two);
        assert_eq!((one.dropped_for(DropReason::Expired), one.bytes_received), (3, 5));
    }
}
