//! A WebSocket stream in pieces gives what it gives in one piece, and nothing grows.
//!
//! The body is shared with the tests of the transports.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| midge_net::fuzzing::check_websocket(data));
