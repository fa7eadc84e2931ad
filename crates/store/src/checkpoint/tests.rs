//! The bytes of checkpoints, and what damage does to them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use midge_codec::PacketIdentifier;
use midge_core::{Kept, Owner, Round, Timestamp, WorkerId};
use proptest::prelude::*;

use super::content::encode;
use super::decoding::{self, Loaded, NotUsable};
use crate::clock::{Mark, Reading, Uptime};
use crate::engine::{Engine, Options};
use crate::error::StoreError;
use crate::index::{Detachment, Held, Index, KeptEntry};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places};
use crate::testing::FaultyDisk;

/// Decodes a checkpoint with one thread and with several, which must not make a difference.
fn decode(number: u64, bytes: &[u8]) -> Result<Loaded, NotUsable> {
    let alone = decoding::decode(number, bytes, NonZeroUsize::MIN);
    let several = decoding::decode(number, bytes, NonZeroUsize::new(3).unwrap());
    assert_eq!(alone.map(|_| ()), several.as_ref().map(|_| ()).map_err(|error| *error));
    several
}

fn at(offset: u32) -> Location {
    Location::new(2, offset).unwrap()
}

fn held(offset: u32) -> Held {
    Held { place: at(offset), bytes: 30 }
}

fn example() -> Index {
    let mut index = Index::new();
    index.begin_boot(5);
    index.set_head(Owner::Session(7), held(64));
    index.log_subscription(7, held(100));
    index.await_release(7, PacketIdentifier::new(300).unwrap());
    let places = Places::inline(at(200));
    index.keep(
        9,
        KeptEntry { what: Kept::Delayed(Timestamp::from_millis(1)), places, size: 5 },
        40,
    );
    let round = |number| Round { worker: WorkerId::new(1), number };
    let entry = index.owners.get_mut(&Owner::Session(7)).unwrap();
    entry.detached = Some(Detachment { at: Timestamp::from_millis(2), sent_before: u64::MAX });
    entry.will_gone = true;
    let flags = Flags::default().with(Flags::PROVISIONAL, true);
    entry.queue_mut().push(Entry { sequence: 3, places: Some(places), size: 5, flags });
    index.holdings.hold_message(places, 5);
    index.queued += 1;
    index.rounds.add(round(8), Owner::Session(7), 3);
    index.confirm(round(6));
    index
}

#[test]
fn the_bytes_of_a_checkpoint_are_as_they_always_were() {
    let bytes = encode(4, at(500), &example());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

#[test]
fn a_checkpoint_of_version_1_is_read() {
    let mut bytes = encode(4, at(500), &example());
    bytes[8] = 1;
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    let loaded = decode(4, &bytes);
    assert!(loaded.is_ok_and(|loaded| loaded.index.mark.is_none() && loaded.index.queued == 1));
}

const GOLDEN: &str = "\
    4d49444745434b5002000000c2460b98010a000000571ff51ff401000002000000050a0231000000\
    a8ba2dad00071740000000020000001e02ffffffffffffffffff01010164000000020000001e01ac\
    020401030107040590838080400314000000470c8605090101c800000002000000c8000000020000\
    00050409000000522ea77b0101080100070301060504000000d4821d0002647100060800000016f1\
    f6b305000000432c54bd";

#[test]
fn a_checkpoint_comes_back_as_it_was_written() {
    let bytes = encode(4, at(500), &example());
    let Ok(Loaded { index, position }) = decode(4, &bytes) else {
        panic!("it cannot be read");
    };
    assert_eq!(position, at(500));
    assert_eq!(encode(4, position, &index), bytes);
    assert_eq!((index.queued, index.next_number), (1, 10));
    assert_eq!(index.holdings.get(2), example().holdings.get(2));
    assert!(index.rounds.is_confirmed(Round { worker: WorkerId::new(1), number: 6 }));
    let uptime = Some(Uptime { boot: 3, millis: 4 });
    let mark = Mark { at: Timestamp::from_millis(5), reading: Reading { wall_ms: 6, uptime } };
    let marked = encode(4, position, &Index { mark: Some(mark), ..index });
    assert!(decode(4, &marked).is_ok_and(|loaded| loaded.index.mark == Some(mark)));
}

#[test]
fn every_bit_flip_and_truncation_of_a_checkpoint_is_noticed() {
    let bytes = encode(4, at(500), &example());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(decode(4, &flipped), Err(NotUsable::Damaged(_))), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(matches!(decode(4, &bytes[..len]), Err(NotUsable::Damaged(_))), "cut to {len}");
    }
    assert!(decode(5, &bytes).is_err(), "it is the checkpoint of another number");
}

#[test]
fn a_checkpoint_that_needs_what_comes_behind_it_is_damaged() {
    let mut index = example();
    let place = Location::new(3, 64).unwrap();
    index.set_head(Owner::Session(8), Held { place, bytes: 30 });
    assert!(decode(4, &encode(4, place, &index)).is_ok());
    assert!(matches!(decode(4, &encode(4, at(500), &index)), Err(NotUsable::Damaged(_))));
}

#[test]
fn a_checkpoint_with_numbers_beyond_all_bounds_is_damaged() {
    let change: [fn(&mut Index); 2] = [
        |index| index.holdings.get_mut(2).held_bytes = u64::MAX,
        |index| index.holdings.get_mut(2).held_weight = u64::MAX - 100,
    ];
    for change in change {
        let mut index = example();
        change(&mut index);
        assert!(matches!(decode(4, &encode(4, at(500), &index)), Err(NotUsable::Damaged(_))));
    }
}

#[test]
fn a_number_that_is_in_use_is_not_given_again_whatever_a_checkpoint_says() {
    let mut index = example();
    index.unkeep(9);
    index.next_number = 3;
    let loaded = decode(4, &encode(4, at(500), &index)).ok().unwrap();
    assert_eq!(loaded.index.next_number, 8);
}

proptest! {
    #[test]
    fn any_content_with_sound_checksums_is_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        // The sections as they are, with rubbish in one of them.
        let whole = encode(4, self::at(500), &example());
        let mut sections = super::content::tests::split(&whole);
        let section = at.index(sections.len());
        sections[section].1 = bytes;
        let _ = decode(4, &super::content::tests::join(4, &sections));
    }
}

#[test]
fn after_a_failed_sync_of_a_checkpoint_nothing_is_accepted() {
    let disk = Arc::new(FaultyDisk::new(1));
    let options = Options { segment_bytes: 4096, ..Options::default() };
    let mut engine = Engine::open(disk.clone(), options, Timestamp::from_millis(0)).unwrap().engine;
    while engine.maintain().unwrap() {}
    engine.start_checkpoint().unwrap();
    disk.fail_next_sync();
    assert!(matches!(engine.maintain(), Err(StoreError::Fatal(_))));
    assert!(matches!(engine.maintain(), Err(StoreError::Fatal(_))));
    assert!(matches!(engine.write(), Err(StoreError::Fatal(_))));
    assert!(matches!(engine.sync(), Err(StoreError::Fatal(_))));
    assert!(matches!(engine.close(), Err(StoreError::Fatal(_))));
}

#[test]
fn one_long_queue_takes_no_room_for_owners_that_are_not_there() {
    let mut index = Index::new();
    for number in 1..=20_000 {
        index.set_head(Owner::Session(number), held(64));
    }
    let entry = index.owners.get_mut(&Owner::Session(20_000)).unwrap();
    for sequence in 0..300_000_u32 {
        let places = Some(Places::inline(at(64 + 200 * (sequence % 1000))));
        let flags = Flags::default();
        entry.queue_mut().push(Entry { sequence: sequence.into(), places, size: 5, flags });
    }
    let bytes = encode(4, at(1_000_000), &index);
    let loaded = decoding::decode(4, &bytes, NonZeroUsize::MIN).ok().unwrap();
    assert_eq!(loaded.index.owners.len(), 20_000);
    assert!(loaded.index.owners.capacity() < 60_000, "{}", loaded.index.owners.capacity());
}
