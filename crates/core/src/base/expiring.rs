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

/// Whether an expired message may be dropped: a QoS 2 message that its Client may already know must
/// be completed [MQTT-4.3.3-7].
pub(crate) fn may_drop(qos: QoS, may_be_sent: bool) -> bool {
    qos < QoS::ExactlyOnce || !may_be_sent
}

#[cfg(test)]
mod tests {
    use super::Expiring;
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
}
