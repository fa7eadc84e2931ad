//! A data directory of any bytes: a store opens or refuses it, and keeps its promises from then on.
//!
//! The body is shared with the tests of the store.
#![no_main]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// No length field may have more than this allocated; all data directories here are small.
const ADDRESS_SPACE: u64 = 2 << 30;

fn limit_memory() {
    let limit = Rlimit { current: Some(ADDRESS_SPACE), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit).expect("a limit may be lowered");
}

libfuzzer_sys::fuzz_target!(
    init: limit_memory(),
    |data: &[u8]| midge_store::testing::check_survival(data)
);
