//! What Clients send once they are connected: PUBLISH with its acknowledgements, and messages that
//! are published later or by the broker itself.
//!
//! Every message goes by the publish gate, wherever it comes from.

pub(crate) mod acknowledging;
pub(crate) mod own_topics;
pub(crate) mod publishing;
