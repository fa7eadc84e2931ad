//! The `midge` binary among crowds: hundreds of TLS clients whose broker gets a new certificate,
//! and thousands of sockets that only want its memory and its time.
//!
//! These tests run alone (see `.config/nextest.toml`), so that they measure only the broker.

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
