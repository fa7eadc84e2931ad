//! The fuzz targets without a fuzzer: their seeds, and thousands of random changes of them.
//!
//! A failure prints the smallest input that still fails, and the seed to run it again.

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

use crate::fuzz_bodies;
use crate::seeds::{self, Seeds};

/// Of each target; PROPTEST_CASES may ask for more.
const CASES_MIN: u32 = 4_096;

/// A change of an input at some place.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    FlipBit(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    CutOff(Index),
    /// The rest of the input is that of another seed.
    Splice(Index, Vec<u8>),
}

fn mutation(inputs: &'static [Vec<u8>]) -> impl Strategy<Value = Mutation> {
    let place = any::<Index>;
    // Lengths, edges of UTF-8, wildcards.
    let telling = select(b"\0\x01\x7F\x80\xFF\x26\x0B\xC0\xEDA/+#$\n".as_slice());
    let byte = prop_oneof![telling, any::<u8>()].boxed();
    prop_oneof![
        (place(), byte.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (place(), 0..8_u8).prop_map(|(at, bit)| Mutation::FlipBit(at, bit)),
        (place(), byte).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        place().prop_map(Mutation::Remove),
        place().prop_map(Mutation::CutOff),
        (place(), select(inputs)).prop_map(|(at, other)| Mutation::Splice(at, other)),
    ]
}

fn apply(mutation: Mutation, input: &mut Vec<u8>) {
    let place = |at: Index, input: &[u8]| at.index(input.len() + 1);
    let inside = |at: Index, input: &[u8]| at.index(input.len().max(1));
    match mutation {
        Mutation::Set(at, byte) => {
            let at = inside(at, input);
            input.splice(at..input.len().min(at + 1), [byte]);
        }
        Mutation::FlipBit(at, bit) => {
            let at = inside(at, input);
            input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
        }
        Mutation::Insert(at, byte) => input.insert(place(at, input), byte),
        Mutation::Remove(at) => {
            let at = inside(at, input);
            input.drain(at..input.len().min(at + 1));
        }
        Mutation::CutOff(at) => input.truncate(place(at, input)),
        Mutation::Splice(at, other) => {
            let at = place(at, input);
            input.truncate(at);
            input.extend(other.into_iter().skip(at));
        }
    }
}

/// Runs `check` over the seeds as they are and over changed ones.
fn run(seeds: Seeds, check: fn(&[u8])) {
    seeds.values().for_each(|input| check(input));
    let inputs: &'static [Vec<u8>] = seeds.into_values().collect::<Vec<_>>().leak();
    let changes = proptest::collection::vec(mutation(inputs), 1..6);
    let mutated = (select(inputs), changes).prop_map(|(mut input, changes)| {
        changes.into_iter().for_each(|change| apply(change, &mut input));
        input
    });
    let config = Config::default();
    let cases = config.cases.max(CASES_MIN);
    let mut runner = TestRunner::new(Config { cases, ..config });
    let result = runner.run(&mutated, |input| {
        check(&input);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}\n{runner}");
    }
}

#[test]
fn changed_packets_survive_encoding() {
    run(seeds::packet(), fuzz_bodies::packet::check);
}

#[test]
fn changed_streams_are_the_same_in_pieces() {
    run(seeds::stream(), fuzz_bodies::stream::check);
}

#[test]
fn changed_filters_match_as_a_second_implementation_says() {
    run(seeds::topic_filter(), fuzz_bodies::topic_filter::check);
}

#[test]
fn every_fuzz_target_has_seeds() {
    for (target, seeds) in seeds::all() {
        assert!(seeds.len() >= 6, "{target}");
    }
}
