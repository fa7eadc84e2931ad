//! How bytes arrive and leave: listeners, non-blocking streams, readiness.
//!
//! This crate knows no MQTT and none of the other crates: a transport is something that is
//! registered with a [`Poller`], read and written. Further transports become further kinds of
//! [`Stream`].

mod acceptor;
mod listener;
mod poller;
mod stream;

pub use acceptor::{Accepted, Acceptor};
pub use listener::{BindError, Listener};
pub use poller::{Notifier, Poller, Readiness};
pub use stream::Stream;
