//! A stream of packets in pieces gives what it gives in one piece.
//!
//! The body is shared with the tests of the codec.
#![no_main]

#[path = "../../crates/codec/tests/it/fuzz_bodies/stream.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
