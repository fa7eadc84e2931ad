//! SUBSCRIBE and UNSUBSCRIBE: subscriptions come and go, on this worker and on those that help.
//!
//! No answer leaves before what it says holds on every worker and, if it has to, in the store.

pub(crate) mod arrivals;
pub(crate) mod automatic;
pub(crate) mod exclusive;
pub(crate) mod offered;
pub(crate) mod slices;
pub(crate) mod subscribing;
pub(crate) mod unsubscribing;
