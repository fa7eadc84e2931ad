//! What fuzzing of peer messages starts from: one of each kind, by name. Those of `fuzz/seeds` are
//! these; `xtask/tests/it/seeds.rs` sees to it.

use std::collections::BTreeMap;

#[path = "../../src/boundary/peer_encoding/golden.rs"]
mod golden;

/// The inputs by file name.
pub(crate) fn all() -> BTreeMap<String, Vec<u8>> {
    let seeds = golden::GOLDEN.iter();
    seeds.map(|(name, hex)| ((*name).to_string(), bytes_of(hex))).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}
