//! Which messages of a queue in the store may have been sent already. A restarted broker may not
//! know: it learns no more than the store had been told before the power was cut.

use std::collections::BTreeSet;

use midge_codec::QoS;

use crate::base::expiring::WasSent;

/// What is known of one queue. The messages have to be visited in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// All messages with a lower sequence were sent, except those that were overtaken.
    before: u64,
    /// Messages with a lower sequence than `before` that were not sent there: the others went on
    /// other streams. There are never more than a queue looks ahead for.
    overtaken: BTreeSet<u64>,
    /// It is not known whether messages with a lower sequence than this were sent: they may have
    /// been.
    unknown_before: u64,
    /// Of these messages, only this many of QoS 2 may have been sent, the first ones: a sent
    /// message takes a place in the window until the store knows that the Client has it. Of QoS 1,
    /// there may be more: a PUBACK makes room before the store knows of it. So does an expired
    /// message that is dropped.
    exactly_once: usize,
    /// Those of QoS 2 with a lower sequence than this are counted: they may have been sent, also
    /// when they are visited again.
    counted_before: u64,
}

impl Sent {
    /// All with a sequence below `before` were sent.
    pub(crate) fn known(before: u64) -> Self {
        Self { before, ..Self::default() }
    }

    /// Messages with a sequence below `sent_before` may have been sent, but no more than `window`
    /// of those with QoS 2.
    pub(crate) fn unknown(sent_before: u64, window: usize) -> Self {
        Self { unknown_before: sent_before, exactly_once: window, ..Self::default() }
    }

    /// The value of `sent_before` that the store is told; `u64::MAX`: not known. It is not told
    /// which messages were overtaken: after a restart, they count as sent.
    pub(crate) fn to_store(&self) -> u64 {
        if self.unknown_before > 0 { u64::MAX } else { self.before }
    }

    /// All messages that may have been sent have a sequence lower than this.
    pub(crate) fn before(&self) -> u64 {
        self.before.max(self.unknown_before)
    }

    /// What is known of a message that is not visited in order.
    pub(crate) fn of(&self, sequence: u64, qos: QoS) -> WasSent {
        let has_place =
            qos < QoS::ExactlyOnce || sequence < self.counted_before || self.exactly_once > 0;
        if sequence < self.before && !self.overtaken.contains(&sequence) {
            WasSent::Yes
        } else if sequence < self.unknown_before && has_place {
            WasSent::Perhaps
        } else {
            WasSent::No
        }
    }

    /// Notes that this message was sent, and all before it unless `note_unsent` says otherwise.
    pub(crate) fn note(&mut self, sequence: u64) {
        self.before = self.before.max(sequence + 1);
    }

    /// Notes that a message that was visited leaves memory as it came: it was not sent meanwhile.
    /// Call this after `note` for those that were.
    pub(crate) fn note_unsent(&mut self, sequence: u64, was_sent: WasSent) {
        if was_sent == WasSent::Perhaps {
            self.unknown_before = self.unknown_before.max(sequence + 1);
        }
        if was_sent != WasSent::Yes && sequence < self.before {
            self.overtaken.insert(sequence);
        }
    }

    /// Whether the next message was sent. `is_over` says whether it has expired.
    pub(crate) fn visit(&mut self, sequence: u64, qos: QoS, is_over: bool) -> WasSent {
        let was_sent = self.of(sequence, qos);
        let takes_place = was_sent == WasSent::Perhaps
            && qos == QoS::ExactlyOnce
            && sequence >= self.counted_before;
        if takes_place {
            self.counted_before = sequence + 1;
            self.exactly_once = self.exactly_once.saturating_sub(usize::from(!is_over));
        }
        was_sent
    }

    /// Notes that all messages with a lower sequence than `next` were visited.
    pub(crate) fn end_visits(&mut self, next: u64) {
        if next >= self.unknown_before {
            self.unknown_before = 0;
        }
        self.overtaken = self.overtaken.split_off(&next);
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::QoS::{AtLeastOnce, ExactlyOnce};

    use super::Sent;
    use crate::base::expiring::WasSent::{No, Perhaps, Yes};

    #[test]
    fn so_many_of_qos_2_may_have_been_sent_as_a_window_holds_and_more_of_qos_1() {
        let mut sent = Sent::unknown(9, 1);
        let of = [8, 9].map(|sequence| sent.of(sequence, ExactlyOnce));
        assert_eq!((of, sent.to_store()), ([Perhaps, No], u64::MAX));
        let messages = [(3, AtLeastOnce), (4, AtLeastOnce), (5, ExactlyOnce), (6, ExactlyOnce)];
        let visits = messages.map(|(sequence, qos)| sent.visit(sequence, qos, false));
        assert_eq!(visits, [Perhaps, Perhaps, Perhaps, No]);
        sent.note(5);
        sent.end_visits(9);
        let of = [5, 6].map(|sequence| sent.of(sequence, ExactlyOnce));
        assert_eq!((of, sent.to_store()), ([Yes, No], 6));
        assert_eq!([5, 6].map(|sequence| sent.visit(sequence, ExactlyOnce, false)), [Yes, No]);
    }

    #[test]
    fn what_came_later_was_not_sent() {
        let mut sent = Sent::unknown(9, 5);
        assert_eq!(sent.visit(9, ExactlyOnce, false), No);
        assert_eq!(Sent::known(3).visit(3, AtLeastOnce, false), No);
    }

    /// Another message had its place then, though the store may not know that this one was dropped.
    #[test]
    fn a_message_that_has_expired_took_no_place() {
        let mut sent = Sent::unknown(9, 2);
        let visits = [(3, true), (4, false), (5, false), (6, false)];
        let visits = visits.map(|(sequence, over)| sent.visit(sequence, ExactlyOnce, over));
        assert_eq!(visits, [Perhaps, Perhaps, Perhaps, No]);
    }

    /// The Client was gone again before they were sent: nothing more is known than before.
    #[test]
    fn what_is_visited_and_not_sent_stays_as_it_was() {
        let mut sent = Sent::unknown(9, 1);
        let all = [
            (3, AtLeastOnce, Perhaps),
            (4, ExactlyOnce, Perhaps),
            (5, ExactlyOnce, No),
            (6, AtLeastOnce, Perhaps),
            (9, AtLeastOnce, No),
        ];
        for is_over in [false, true, false] {
            for (sequence, qos, known) in all {
                assert_eq!(sent.visit(sequence, qos, is_over), known, "{sequence}");
            }
            sent.end_visits(10);
            all.iter().for_each(|&(sequence, _, known)| sent.note_unsent(sequence, known));
            assert!(all.iter().all(|&(sequence, qos, known)| sent.of(sequence, qos) == known));
            assert_eq!(sent.to_store(), u64::MAX);
        }
        sent.note(3);
        assert_eq!(sent.of(3, AtLeastOnce), Yes);
        assert_eq!(sent.of(4, ExactlyOnce), Perhaps);
    }

    #[test]
    fn what_others_have_overtaken_was_not_sent() {
        let mut sent = Sent::known(1);
        sent.note(3);
        sent.note_unsent(2, No);
        let of = |sent: &Sent| [1, 2, 3].map(|sequence| sent.of(sequence, AtLeastOnce));
        assert_eq!(of(&sent), [Yes, No, Yes]);
        sent.end_visits(4);
        sent.note(2);
        assert_eq!(of(&sent), [Yes; 3], "it was fetched and sent");
    }
}
