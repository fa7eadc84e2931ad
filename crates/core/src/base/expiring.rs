//! How many messages of a queue may have expired, without looking at them.

use midge_codec::QoS;

use crate::base::time::Timestamp;

/// Messages of a queue that have an expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiring {
    /// At least as many as there are.
    count: usize,
    /// None of them expires earlier.
    earliest: Option<Timestamp>,
}

impl Expiring {
    /// Stands for `count` messages whose expiry is not known.
    pub(crate) fn unknown(count: usize) -> Self {
        let earliest = (count > 0).then_some(Timestamp::from_millis(0));
        Self { count, earliest }
    }

    #[inline]
    pub(crate) fn add(&mut self, expires_at: Option<Timestamp>) {
        if let Some(at) = expires_at {
            self.count += 1;
            self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        }
    }

    /// Takes a counted message off, because it is gone.
    pub(crate) fn remove(&mut self, expires_at: Option<Timestamp>) {
        if expires_at.is_some() {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// How many may have expired by now.
    pub(crate) fn may_be_over(&self, now: Timestamp) -> usize {
        if self.earliest.is_some_and(|at| at <= now) { self.count } else { 0 }
    }
}

/// Whether a message was sent on an earlier Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WasSent {
    No,
    /// A power cut took the knowledge.
    Perhaps,
    Yes,
}

impl WasSent {
    /// Whether the next PUBLISH of the message may be a repetition.
    #[inline]
    pub(crate) fn may_be(self) -> bool {
        self != Self::No
    }
}

/// Whether an expired message may be dropped. One that was sent must not be: it is sent until it is
/// acknowledged [MQTT-4.4.0-1]. If nobody knows, a QoS 2 message that its Client may already have
/// must be completed [MQTT-4.3.3-7], but a QoS 1 message whose delivery may not have begun is not
/// to be sent any more [MQTT-3.3.2-5].
pub(crate) fn may_drop(qos: QoS, was_sent: WasSent) -> bool {
    match was_sent {
        WasSent::No => true,
        WasSent::Perhaps => qos < QoS::ExactlyOnce,
        WasSent::Yes => false,
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::QoS;

    use super::{Expiring, WasSent, may_drop};
    use crate::base::time::Timestamp;

    #[test]
    fn what_may_have_expired_is_known_by_the_first_one() {
        let at = Timestamp::from_millis;
        let mut expiring = Expiring::default();
        expiring.add(None);
        assert_eq!(expiring.may_be_over(at(u64::MAX)), 0);
        expiring.add(Some(at(7)));
        expiring.add(Some(at(5)));
        assert_eq!((expiring.may_be_over(at(4)), expiring.may_be_over(at(5))), (0, 2));
        expiring.remove(Some(at(5)));
        assert_eq!(expiring.may_be_over(at(5)), 1, "perhaps");
        assert_eq!(Expiring::unknown(3).may_be_over(at(0)), 3);
    }

    #[test]
    fn a_message_that_was_sent_is_not_dropped() {
        let both = [QoS::AtLeastOnce, QoS::ExactlyOnce];
        let may_be_dropped = |was_sent| both.map(|qos| may_drop(qos, was_sent));
        assert_eq!(may_be_dropped(WasSent::No), [true, true]);
        assert_eq!(may_be_dropped(WasSent::Perhaps), [true, false]);
        assert_eq!(may_be_dropped(WasSent::Yes), [false, false]);
    }
}
