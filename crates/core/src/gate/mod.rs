//! The two gates: every message passes the publish gate once and the delivery gate for every
//! receiver.
//!
//! An [`Admitted`] is made only by [`PublishGate::admit`], or by [`Admitted::by_peer`] for a
//! message that another worker's publish gate has admitted. A [`Passed`] is made only by
//! [`DeliveryGate`]. The router takes only the former, and a connection's output only the latter:
//! live, retained, queued, resumed, will, delayed, shared and API messages cannot go around the
//! gates. A decision is made at the moment of effect and never remembered.

use std::sync::Arc;

use midge_codec::QoS;

use crate::base::drop_reason::DropReason;
use crate::base::identity::Identity;
use crate::base::message::Publication;
use crate::base::time::Timestamp;

/// Decides who may do what. Called on the worker's thread for every message: it must answer from
/// memory and never block.
pub trait Policy: Send + Sync {
    /// Whether `publisher` may publish to `topic` now.
    fn may_publish(&self, publisher: &Identity, topic: &str, qos: QoS, retain: bool) -> bool;

    /// Whether `subscriber` may have a subscription to `filter` (as it takes effect: after
    /// rewriting, without `$share/...`).
    fn may_subscribe(&self, subscriber: &Identity, filter: &str, qos: QoS) -> bool;

    /// Whether `receiver` may be sent a message of `topic` now.
    fn may_receive(&self, receiver: &Identity, topic: &str) -> bool;
}

/// The policy of a broker without access rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn may_publish(&self, _: &Identity, _: &str, _: QoS, _: bool) -> bool {
        true
    }

    fn may_subscribe(&self, _: &Identity, _: &str, _: QoS) -> bool {
        true
    }

    fn may_receive(&self, _: &Identity, _: &str) -> bool {
        true
    }
}

/// A publication that its publisher may make.
pub(crate) struct Admitted<'a>(Publication<'a>);

/// A publication that its receiver may have, with its expiry as the gate found it.
pub(crate) struct Passed<'p, 'a> {
    pub(crate) publication: &'p Publication<'a>,
    /// What is left of the Message Expiry Interval.
    pub(crate) expiry_seconds: Option<u32>,
}

pub(crate) struct PublishGate<'p>(pub(crate) &'p dyn Policy);

pub(crate) struct DeliveryGate<'p>(pub(crate) &'p dyn Policy);

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
    /// [MQTT-4.3.3-7]. The receiver must still be allowed to have it (Z06).
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
