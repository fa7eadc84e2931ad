//! Which messages of a queue in the store may have been sent already. A restarted broker may not
//! know: it learns no more than the store had been told before the power was cut.

use midge_codec::QoS;

/// What is known of one queue. The messages have to be visited in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// All messages with a lower sequence may have been sent.
    before: u64,
    /// It is not known whether messages with a lower sequence than this were sent: they may have
    /// been.
    unknown_before: u64,
    /// Of these messages, only this many of QoS 2 may have been sent, the first ones: a sent
    /// message takes a place in the window until the store knows that the Client has it. Of QoS 1,
    /// there may be more: a PUBACK makes room before the store knows of it. So does an expired
    /// message that is dropped.
    exactly_once: usize,
}

impl Sent {
    /// All with a sequence below `before` may have been sent.
    pub(crate) fn known(before: u64) -> Self {
        Self { before, ..Self::default() }
    }

    /// Messages with a sequence below `sent_before` may have been sent, but no more than `window`
    /// of those with QoS 2.
    pub(crate) fn unknown(sent_before: u64, window: usize) -> Self {
        Self { before: 0, unknown_before: sent_before, exactly_once: window }
    }

    /// The value of `sent_before` that the store is told; `u64::MAX`: not known.
    pub(crate) fn to_store(self) -> u64 {
        if self.unknown_before > 0 { u64::MAX } else { self.before }
    }

    /// All messages that may have been sent have a sequence lower than this.
    pub(crate) fn before(self) -> u64 {
        self.before.max(self.unknown_before)
    }

    /// Notes that messages up to this one were sent.
    pub(crate) fn note(&mut self, sequence: u64) {
        self.before = self.before.max(sequence + 1);
    }

    /// Whether the next message may have been sent. `is_over` says whether it has expired.
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

    /// Notes that all messages with a lower sequence than `next` were visited.
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

    /// Another message had its place then, though the store may not know that this one was dropped.
    #[test]
    fn a_message_that_has_expired_took_no_place() {
        let mut sent = Sent::unknown(9, 2);
        let visits = [(3, true), (4, false), (5, false), (6, false)];
        let visits = visits.map(|(sequence, over)| sent.visit(sequence, ExactlyOnce, over));
        assert_eq!(visits, [true, true, true, false]);
    }
}
