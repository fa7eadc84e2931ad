//! The fuzz target `peer` without a fuzzer, on its seeds and on thousands of random changes of
//! these.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::fuzz_bodies::peer::check;
use crate::peer_seeds;

#[test]
fn seeds_hold() {
    let seeds = peer_seeds::all();
    assert!(seeds.len() > 30);
    for (name, bytes) in seeds {
        let now = midge_core::Timestamp::from_millis(1_000_000);
        assert!(midge_core::PeerMessage::decode(&bytes, now).is_ok(), "{name}");
        check(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn mutations_of_seeds_hold(
        seed: Index,
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4u8), 0..6),
    ) {
        let seeds: Vec<_> = peer_seeds::all().into_values().collect();
        let mut bytes = seed.get(&seeds).clone();
        for (index, byte, change) in changes {
            let index = index.index(bytes.len());
            match change {
                0 => bytes.insert(index, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(index)),
                2 => bytes.truncate(index + 1),
                _ => bytes[index] = byte,
            }
        }
        check(&bytes);
    }
}
