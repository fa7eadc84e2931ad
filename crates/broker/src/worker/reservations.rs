//! Room in memory for the large packets of which a worker's connections have sent only a part. How
//! much there is for all workers, and why, says [`crate::memory::unfinished`].

use midge_core::{ConnectionId, Timestamp};

use crate::worker::Worker;

/// One connection's part of the memory for large packets. Most connections have none, which takes
/// one word.
#[derive(Debug, Default)]
pub(crate) struct Reservation(Option<Box<Reserved>>);

#[derive(Debug, Default)]
struct Reserved {
    bytes: usize,
    since: Timestamp,
    came_at: Timestamp,
    waits: bool,
}

impl Reservation {
    /// How long a packet may stand still while others wait for its room.
    const STANDSTILL_MS: u64 = 1_000;
    /// How fast a packet has to come then, on average.
    const BYTES_PER_MS: u64 = 64;

    /// Returns the size of the packet that has room reserved.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |reserved| reserved.bytes)
    }

    /// Returns whether there is no room for the packet, so that it is not read.
    #[inline]
    pub(crate) fn waits(&self) -> bool {
        self.0.as_ref().is_some_and(|reserved| reserved.waits)
    }

    /// Returns whether a part of the packet has come lately, or was not read because there is no
    /// room.
    pub(crate) fn comes_on(&self, now: Timestamp) -> bool {
        let comes_on = |it: &Reserved| it.waits || now - it.came_at < Self::STANDSTILL_MS / 2;
        self.0.as_deref().is_some_and(comes_on)
    }

    /// Returns whether the reservation may be taken away for the sake of others.
    fn is_overdue(&self, now: Timestamp) -> bool {
        let Some(reserved) = self.0.as_ref().filter(|reserved| reserved.bytes > 0) else {
            return false;
        };
        let allowed_ms = Self::STANDSTILL_MS + reserved.bytes as u64 / Self::BYTES_PER_MS;
        now - reserved.came_at >= Self::STANDSTILL_MS || now - reserved.since >= allowed_ms
    }
}

impl Worker {
    /// The time between two looks at the connections that wait for room.
    const UNFINISHED_LOOK_MS: u64 = 100;

    /// Reserves room for an incomplete packet of `needed` bytes, of which more has come than is
    /// kept without a reservation. If there is no room, the packet is not read on for now.
    pub(crate) fn reserve(&mut self, id: ConnectionId, needed: usize) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        let reservation = socket.reservation.0.get_or_insert_default();
        reservation.came_at = self.turn.now;
        let missing = needed.saturating_sub(reservation.bytes);
        if missing == 0 {
            return;
        }
        if needed > self.node.unfinished.max() {
            self.core.end_for_memory(id, &mut self.turn);
        } else if self.node.unfinished.take(missing) {
            (reservation.bytes, reservation.since) = (needed, self.turn.now);
        } else if !std::mem::replace(&mut reservation.waits, true) {
            self.node.unfinished.begin_waiting();
            self.waiting_for_room.push(id);
        }
    }

    /// Gives back what a connection has reserved, because no large packet of it is incomplete any
    /// more.
    pub(crate) fn give_back_reservation(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.of(id) {
            let reservation = std::mem::take(&mut socket.reservation);
            self.end_reservation(&reservation);
        }
    }

    /// Gives back what a socket had reserved that is taken out.
    pub(crate) fn end_reservation(&self, reservation: &Reservation) {
        if reservation.bytes() > 0 {
            self.node.unfinished.give_back(reservation.bytes());
        }
        if reservation.waits() {
            self.node.unfinished.end_waiting();
        }
    }

    /// Lets connections go on that waited for room, as far as there is some. While others wait,
    /// ends connections that make no progress with a packet.
    pub(crate) fn look_at_unfinished(&mut self) {
        if !self.node.unfinished.is_waited_for() {
            return self.waiting_for_room.clear();
        }
        if self.turn.now < self.unfinished_looked_at {
            return;
        }
        self.unfinished_looked_at = self.turn.now + Self::UNFINISHED_LOOK_MS;
        let overdue: Vec<_> = self
            .sockets
            .iter()
            .filter(|socket| {
                socket.comes_to_be_read() && socket.reservation.is_overdue(self.turn.now)
            })
            .map(|socket| socket.id)
            .collect();
        // Sockets that are not read cannot go on with their packets.
        let overdue = if self.is_overfull() { Vec::new() } else { overdue };
        for id in overdue {
            self.core.end_for_memory(id, &mut self.turn);
        }
        for id in std::mem::take(&mut self.waiting_for_room) {
            let Some(reservation) = self.sockets.of(id).and_then(|it| it.reservation.0.as_mut())
            else {
                continue;
            };
            // The connection asks again; if there is still no room, it is put back in its place.
            if !std::mem::take(&mut reservation.waits) {
                continue;
            }
            self.node.unfinished.end_waiting();
            self.resume_reading(id);
        }
    }

    /// Returns the bytes of incomplete packets and handshakes that this worker's sockets keep.
    pub(crate) fn unfinished_bytes(&self) -> u64 {
        self.sockets.iter().map(|socket| socket.unfinished_bytes() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use midge_core::Timestamp;

    use super::{Reservation, Reserved};

    #[test]
    fn a_packet_is_overdue_when_it_stands_still_or_takes_too_long() {
        let at = Timestamp::from_millis;
        let reservation = |since, came_at| {
            let (since, came_at) = (at(since), at(came_at));
            let reserved = Reserved { bytes: 64_000, since, came_at, waits: false };
            Reservation(Some(Box::new(reserved)))
        };
        assert!(!reservation(0, 500).is_overdue(at(1_499)));
        assert!(reservation(0, 500).is_overdue(at(1_500)));
        assert!(!reservation(0, 1_900).is_overdue(at(1_999)));
        assert!(reservation(0, 1_999).is_overdue(at(2_000)));
        assert!(!Reservation::default().is_overdue(at(1_000_000)));
    }
}
