//! A policy that tests change while the broker runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use midge_codec::{QoS, TopicFilter, TopicName};
use midge_core::{Identity, Policy};

/// What a rule forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Publish,
    Subscribe,
    Receive,
    /// Being connected, whatever the filter.
    Stay,
}

/// Everything is allowed except what was denied.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    denied: Mutex<Vec<(Right, String, String)>>,
    /// The highest QoS that a subscription may have.
    qos_max: Mutex<Option<u8>>,
    /// Whether users may have the Sessions of nobody in particular.
    lets_claim: AtomicBool,
}

impl Rules {
    /// Forbids `client_id` to do this to topics that match `filter` from now on (for subscribing:
    /// to subscribe to exactly this filter).
    pub(crate) fn deny(&self, right: Right, client_id: &str, filter: &str) {
        let rule = (right, client_id.to_string(), filter.to_string());
        self.denied.lock().expect("no test panics inside").push(rule);
    }

    pub(crate) fn set_qos_max(&self, qos_max: Option<u8>) {
        *self.qos_max.lock().expect("no test panics inside") = qos_max;
    }

    pub(crate) fn let_claim(&self) {
        self.lets_claim.store(true, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.denied.lock().expect("no test panics inside").clear();
    }

    fn allows(&self, right: Right, who: &Identity, matches: impl Fn(&str) -> bool) -> bool {
        let denied = self.denied.lock().expect("no test panics inside");
        !denied.iter().any(|(denied, client_id, filter)| {
            *denied == right && **client_id == *who.client_id && matches(filter)
        })
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let filter = TopicFilter::parse(filter).expect("tests deny valid filters");
    TopicName::new(topic).is_ok_and(|topic| filter.matches(topic))
}

impl Policy for Rules {
    fn may_stay(&self, client: &Identity) -> bool {
        self.allows(Right::Stay, client, |_| true)
    }

    fn may_claim(&self, client: &Identity, owner: &Identity) -> bool {
        self.lets_claim.load(Ordering::Relaxed)
            && client.user_name.is_some()
            && owner.user_name.is_none()
    }

    fn may_publish(&self, publisher: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        self.allows(Right::Publish, publisher, |filter| matches(filter, topic))
    }

    fn may_subscribe(&self, subscriber: &Identity, filter: &str, qos: QoS) -> bool {
        let qos_max = *self.qos_max.lock().expect("no test panics inside");
        qos_max.is_none_or(|most| qos as u8 <= most)
            && self.allows(Right::Subscribe, subscriber, |denied| denied == filter)
    }

    fn may_receive(&self, receiver: &Identity, topic: &str) -> bool {
        self.allows(Right::Receive, receiver, |filter| matches(filter, topic))
    }
}
