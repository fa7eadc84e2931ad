//! The two gates: every message passes the publish gate once and the delivery gate for every
//! receiver.
//!
//! [`Admitted`] can be made only by [`PublishGate::admit`] and [`Passed`] only by
//! [`DeliveryGate::pass`]. The router takes nothing but the one, and a connection's output nothing
//! but the other: live, retained, queued, resumed, will, delayed, shared and API messages cannot go
//! around them. A decision is made at the moment of effect and never remembered.

use std::sync::Arc;

use midge_codec::QoS;

use crate::drops::DropReason;
use crate::identity::Identity;
use crate::message::Publication;
use crate::time::Timestamp;

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

/// A publication that this receiver may have, with what only the gate knows.
pub(crate) struct Passed<'p, 'a> {
    pub(crate) publication: &'p Publication<'a>,
    /// What is left of the Message Expiry Interval.
    pub(crate) expiry_seconds: Option<u32>,
}

pub(crate) struct PublishGate<'p>(pub(crate) &'p dyn Policy);

pub(crate) struct DeliveryGate<'p>(pub(crate) &'p dyn Policy);

impl PublishGate<'_> {
    /// Lets a publication in, or says why not.
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

    /// For a message that another worker's publish gate admitted in this very turn of events.
    pub(crate) fn by_peer(publication: Publication<'a>) -> Self {
        Self(publication)
    }
}

impl DeliveryGate<'_> {
    /// Lets a publication out to `receiver`, or says why not.
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

    /// The same for a message that was sent before and must be brought to its end, expired
    /// or not [MQTT-4.3.3-7]; but the receiver must still be allowed to have it (Z06).
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
