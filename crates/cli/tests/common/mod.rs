//! What tests of a real broker process share: the process, its disk and clock, Network Connections,
//! and a random source. Nothing here knows what a test is about.
//!
//! A test crate includes it with `#[path = "../common/mod.rs"] mod common;`.
#![allow(dead_code, reason = "no test crate needs all of it")]

pub(crate) mod broker;
pub(crate) mod disk_calls;
pub(crate) mod preload;
pub(crate) mod random;
pub(crate) mod set_clock;
pub(crate) mod slow_sync;
pub(crate) mod wire;
