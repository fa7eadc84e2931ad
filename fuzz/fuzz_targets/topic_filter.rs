//! Topic Filters and Topic Names, compared with a second implementation.
//!
//! The body is shared with the tests of the codec.
#![no_main]

#[path = "../../crates/codec/tests/it/fuzz_bodies/topic_filter.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::check(data));
