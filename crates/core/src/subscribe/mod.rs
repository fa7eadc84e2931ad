//! SUBSCRIBE and UNSUBSCRIBE: subscriptions come and go, on this worker and on those that help.
//!
//! No answer leaves before what it says holds on every worker and, if it has to, in the store.

pub(crate) mod answers;
pub(crate) mod arrivals;
pub(crate) mod automatic;
pub(crate) mod exclusive;
mod filter_queue;
mod peer_gone;
pub(crate) mod slices;
pub(crate) mod subscribing;
pub(crate) mod unsubscribing;

use midge_codec::ReasonCode;

use crate::subscribe::exclusive::Exclusive;
use crate::subscribe::slices::Slices;

/// The subscriptions that a worker makes, ends, and is home to.
pub(crate) struct Subscriptions {
    pub(crate) exclusive: Exclusive,
    pub(crate) slices: Slices,
}

/// Why a SUBSCRIBE or UNSUBSCRIBE ends its Network Connection instead of being answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unanswerable {
    /// It breaks a rule, for which this Reason Code stands.
    Violation(ReasonCode, &'static str),
    /// Its answer would be larger than the Client accepts.
    TooLarge,
    /// There is no memory for so many filters.
    NoMemory,
}

impl Subscriptions {
    pub(crate) fn new(seed: u64) -> Self {
        Self { exclusive: Exclusive::new(seed), slices: Slices::default() }
    }
}
