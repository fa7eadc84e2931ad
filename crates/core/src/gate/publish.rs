//! The publish gate: every message passes it once, whoever publishes it.

use crate::base::drop_reason::DropReason;
use crate::base::message::Publication;
use crate::base::time::Timestamp;
use crate::gate::Policy;

/// A publication that its publisher may make.
pub(crate) struct Admitted<'a>(Publication<'a>);

/// Asks this policy.
pub(crate) struct PublishGate<'p>(pub(crate) &'p dyn Policy);

impl PublishGate<'_> {
    /// Admits a publication, or returns why not.
    #[inline]
    pub(crate) fn admit<'a>(
        &self,
        publication: Publication<'a>,
        now: Timestamp,
    ) -> Result<Admitted<'a>, DropReason> {
        let attributes = &publication.attributes;
        if attributes.has_expired(now) {
            return Err(DropReason::Expired);
        }
        let (qos, retain) = (attributes.qos, attributes.retain);
        if !self.0.may_publish(publication.publisher, publication.topic, qos, retain) {
            return Err(DropReason::PublishNotAuthorized);
        }
        Ok(Admitted(publication))
    }
}

impl<'a> Admitted<'a> {
    pub(crate) fn publication(&self) -> &Publication<'a> {
        &self.0
    }

    /// Admits a message that another worker's publish gate has admitted just now.
    pub(crate) fn by_peer(publication: Publication<'a>) -> Self {
        Self(publication)
    }
}
