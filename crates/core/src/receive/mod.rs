//! What Clients send once they are connected: PUBLISH and the acknowledgements; and what the broker
//! itself says below `$SYS`.
//!
//! What a Client publishes leaves by way of the router, which asks the publish gate.

pub(crate) mod acknowledging;
pub(crate) mod carrier;
pub(crate) mod own_topics;
pub(crate) mod publishing;
