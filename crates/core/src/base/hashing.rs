//! Hashing with a seed that the driver gives: keyed against chosen collisions, repeatable in tests.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

pub(crate) fn hash_str(seed: u64, text: &str) -> u64 {
    FixedState::with_seed(seed).hash_one(text)
}
