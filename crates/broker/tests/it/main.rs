//! The broker as programs meet it: through real sockets, and through its embedding API.

mod alone;
mod client;
mod support;

mod embedding;
mod hooks;
mod hostile;
mod limits;
mod memory;
mod slow;
mod stopping;
mod workers;
