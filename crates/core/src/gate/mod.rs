//! The two gates: every message passes the publish gate once and the delivery gate for every
//! receiver.
//!
//! An [`Admitted`] is made only by [`PublishGate::admit`], or by [`Admitted::by_peer`] for a
//! message that another worker's publish gate has admitted. A [`Passed`] is made only by
//! [`DeliveryGate`]. Only the former is routed, and a connection's output takes only the latter:
//! live, retained, queued, resumed, will, delayed, shared and API messages cannot go around the
//! gates. (Only what the broker itself says below `$SYS` has no publisher to be asked about.) A
//! decision is made at the moment of effect and never remembered.

mod delivery;
mod policy;
mod publish;

pub(crate) use delivery::{DeliveryGate, Passed};
pub use policy::{AllowAll, Policy};
pub(crate) use publish::{Admitted, PublishGate};
