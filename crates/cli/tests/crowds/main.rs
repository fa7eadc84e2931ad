//! The `midge` binary among many: hundreds of TLS clients whose broker gets a new certificate, and
//! thousands of sockets that want nothing but its memory and its time.
//!
//! These tests run alone (see `.config/nextest.toml`): what they measure is the broker's.

#![allow(clippy::print_stderr, reason = "what was measured is for who runs the tests")]

mod broker;
mod mqtt;
mod pair;
mod quic;
mod secure;

mod certificates;
mod hostile;
mod memory;
mod stopped;
