//! Messages from another node: each has one encoding, and no bytes do harm.
//!
//! The body is shared with the tests of the core.
#![no_main]

#[path = "../../crates/core/tests/it/fuzz_bodies/peer.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
