//! What makes the load: threads with an event loop each, their clients, and what these send.
//!
//! From the bottom up: `wire` has the bytes of the packets of a flow, `handshake` those around it.
//! A `publisher` and a `subscriber` are the halves of a flow, without I/O; `progress` is what all
//! threads know of each other's, `flow` what one thread makes of it. A `link` is a Network
//! Connection, a `client` joins one to its half, and a `shard` is the thread that owns some of
//! them. Nothing here may know a scenario or the arguments of the command.

pub(super) mod client;
pub(super) mod flow;
pub(super) mod handshake;
pub(super) mod link;
pub(super) mod progress;
pub(super) mod publisher;
pub(super) mod shard;
pub(super) mod subscriber;
pub(super) mod wire;
