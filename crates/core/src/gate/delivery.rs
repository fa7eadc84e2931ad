//! The delivery gate: every message passes it for every receiver, whenever it is sent.

use std::sync::Arc;

use crate::base::drop_reason::DropReason;
use crate::base::identity::Identity;
use crate::base::message::Publication;
use crate::base::time::Timestamp;
use crate::gate::Policy;

/// A publication that its receiver may have, with its expiry as the gate found it.
pub(crate) struct Passed<'p, 'a> {
    publication: &'p Publication<'a>,
    /// What is left of the Message Expiry Interval.
    expiry_seconds: Option<u32>,
}

/// Asks this policy.
pub(crate) struct DeliveryGate<'p>(pub(crate) &'p dyn Policy);

impl<'p, 'a> Passed<'p, 'a> {
    #[inline]
    pub(crate) fn publication(&self) -> &'p Publication<'a> {
        self.publication
    }

    /// Returns what is left of the Message Expiry Interval.
    #[inline]
    pub(crate) fn expiry_seconds(&self) -> Option<u32> {
        self.expiry_seconds
    }
}

impl DeliveryGate<'_> {
    /// Lets a publication out to `receiver`, or returns why not.
    #[inline]
    pub(crate) fn pass<'p, 'a>(
        &self,
        receiver: &Arc<Identity>,
        publication: &'p Publication<'a>,
        now: Timestamp,
    ) -> Result<Passed<'p, 'a>, DropReason> {
        if publication.attributes.has_expired(now) {
            return Err(DropReason::Expired);
        }
        self.pass_again(receiver, publication, now)
    }

    /// Does the same for a message that was sent before and must be completed, expired or not
    /// [MQTT-4.4.0-1] [MQTT-4.3.3-7]. The receiver must still be allowed to have it.
    #[inline]
    pub(crate) fn pass_again<'p, 'a>(
        &self,
        receiver: &Arc<Identity>,
        publication: &'p Publication<'a>,
        now: Timestamp,
    ) -> Result<Passed<'p, 'a>, DropReason> {
        if !self.0.may_receive(receiver, publication.topic) {
            return Err(DropReason::DeliveryNotAuthorized);
        }
        let expiry_seconds = publication.attributes.remaining_seconds(now);
        Ok(Passed { publication, expiry_seconds })
    }
}
