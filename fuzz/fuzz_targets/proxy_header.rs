//! A header of the PROXY protocol in pieces gives what it gives in one piece.
//!
//! The body is shared with the tests of the transports.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| midge_net::fuzzing::check_proxy_header(data));
