//! One packet in each version: what decodes survives encoding.
//!
//! The body is shared with the tests of the codec.
#![no_main]

#[path = "../../crates/codec/tests/it/fuzz_bodies/packet.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
