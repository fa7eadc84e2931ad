//! Who may do what, as the driver answers it.

use midge_codec::QoS;

use crate::base::identity::Identity;

/// Decides who may do what. Called on the worker's thread for every message: it must answer from
/// memory and never block. What it has to look for, it may keep in the [`Identity::note`].
pub trait Policy: Send + Sync {
    /// Whether `client` may be connected. Asked for each Client when it connects, and when the
    /// policy has changed.
    fn may_stay(&self, client: &Identity) -> bool {
        let _ = client;
        true
    }

    /// Whether `client` may have the Session that `owner` has under the same Client Identifier,
    /// although they are different users. Then the Session, and what waits for it, belong to
    /// `client`, and its subscriptions are judged anew.
    fn may_claim(&self, client: &Identity, owner: &Identity) -> bool {
        let _ = (client, owner);
        false
    }

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
