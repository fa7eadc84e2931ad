//! The repository's own rules as tests, so that `cargo nextest run` enforces them too.

// The table serves many tests, and this one needs a part of it.
#[allow(dead_code)]
#[path = "../../../crates/codec/tests/it/seeds.rs"]
mod codec_seeds;
#[allow(dead_code)]
#[path = "../../../crates/codec/tests/it/packet_table/mod.rs"]
mod packet_table;
#[path = "../../../crates/core/tests/it/peer_seeds.rs"]
mod peer_seeds;
mod seeds;
mod tidy;
