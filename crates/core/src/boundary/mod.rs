//! The values that go in and out of a core: a turn with its effects, what the workers of a node
//! tell each other, what a worker and the store say to each other, lines for logs.
//!
//! These are plain values. Nothing here acts on them.

pub(crate) mod drop_notes;
pub(crate) mod effects;
pub(crate) mod packet_lines;
pub(crate) mod peer_encoding;
pub(crate) mod peer_messages;
pub(crate) mod store_records;
pub(crate) mod turn;
