//! What everything else is built from: identities, time, timers, limits, counters, the message.
//!
//! Nothing here knows of packets that come or go, and nothing here decides about a Client.

pub(crate) mod budget;
pub(crate) mod counted;
pub(crate) mod counters;
pub(crate) mod delivery;
pub(crate) mod drop_reason;
pub(crate) mod durability;
pub(crate) mod expiring;
pub(crate) mod hashing;
pub(crate) mod identifiers;
pub(crate) mod identity;
pub(crate) mod limits;
pub(crate) mod message;
pub(crate) mod numbers;
pub(crate) mod random;
pub(crate) mod strain;
pub(crate) mod strategy;
pub(crate) mod time;
pub(crate) mod timers;
pub(crate) mod work;
pub(crate) mod worker_set;
