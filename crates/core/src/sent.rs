//! Which messages of a queue in the store may have been sent already. A broker that was started
//! anew may not know: it learns no more than the store has been told before the power was cut.

use midge_codec::QoS;

/// What is known of one queue; the messages are to be visited in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// All with a lower sequence may have been sent.
    before: u64,
    /// Nobody knows of those with a lower sequence than this: they may have been sent.
    unknown_before: u64,
    /// But so many of QoS 2 only, the first ones: what was sent takes a place in the window until
    /// the store knows that the Client has it. Of QoS 1 there may be more: a PUBACK makes room
    /// before the store knows of it. So does a message that has expired and was dropped.
    exactly_once: usize,
}

impl Sent {
    /// All with a sequence below `before` may have been sent.
    pub(crate) fn known(before: u64) -> Self {
        Self { before, ..Self::default() }
    }

    /// Those with a sequence below `sent_before` may have been sent, `window` of QoS 2 at a time.
    pub(crate) fn unknown(sent_before: u64, window: usize) -> Self {
        Self { before: 0, unknown_before: sent_before, exactly_once: window }
    }

    /// As the store is told; `u64::MAX`: nobody knows.
    pub(crate) fn to_store(self) -> u64 {
        if self.unknown_before > 0 { u64::MAX } else { self.before }
    }

    /// All that may have been sent have a lower sequence.
    pub(crate) fn before(self) -> u64 {
        self.before.max(self.unknown_before)
    }

    /// Messages were sent up to this one.
    pub(crate) fn note(&mut self, sequence: u64) {
        self.before = self.before.max(sequence + 1);
    }

    /// Whether the next message may have been sent; `is_over`: it has expired.
    pub(crate) fn visit(&mut self, sequence: u64, qos: QoS, is_over: bool) -> bool {
        if sequence < self.before || sequence >= self.unknown_before {
            return sequence < self.before;
        }
        if qos < QoS::ExactlyOnce {
            return true;
        }
        let may_be = self.exactly_once > 0;
        self.exactly_once = self.exactly_once.saturating_sub(usize::from(!is_over));
        may_be
    }

    /// All with a lower sequence than `next` were visited.
    pub(crate) fn end_visits(&mut self, next: u64) {
        if next >= self.unknown_before {
            self.unknown_before = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::QoS::{AtLeastOnce, ExactlyOnce};

    use super::Sent;

    #[test]
    fn so_many_of_qos_2_may_have_been_sent_as_a_window_holds_and_more_of_qos_1() {
        let mut sent = Sent::unknown(9, 1);
        assert_eq!((sent.before(), sent.to_store()), (9, u64::MAX));
        let messages = [(3, AtLeastOnce), (4, AtLeastOnce), (5, ExactlyOnce), (6, ExactlyOnce)];
        let visits = messages.map(|(sequence, qos)| sent.visit(sequence, qos, false));
        assert_eq!(visits, [true, true, true, false]);
        sent.note(5);
        sent.end_visits(9);
        assert_eq!((sent.before(), sent.to_store()), (6, 6));
        assert!(sent.visit(5, ExactlyOnce, false) && !sent.visit(6, ExactlyOnce, false));
    }

    #[test]
    fn what_came_later_was_not_sent() {
        let mut sent = Sent::unknown(9, 5);
        assert!(!sent.visit(9, ExactlyOnce, false));
        assert!(!Sent::known(3).visit(3, AtLeastOnce, false));
    }

    /// Its place was another one's then, though the store may not know that it was dropped.
    #[test]
    fn a_message_that_has_expired_took_no_place() {
        let mut sent = Sent::unknown(9, 2);
        let visits = [(3, true), (4, false), (5, false), (6, false)];
        let visits = visits.map(|(sequence, over)| sent.visit(sequence, ExactlyOnce, over));
        assert_eq!(visits, [true, true, true, false]);
    }
}
