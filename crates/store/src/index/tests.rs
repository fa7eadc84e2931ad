//! Tests of what the index counts.

use midge_codec::PacketIdentifier;
use midge_core::{Kept, Owner, Round, WorkerId};

use super::{Held, Index, KeptEntry};
use crate::location::Location;
use crate::queue::{Entry, Flags, Places};

fn at(segment: u32, offset: u32) -> Location {
    Location::new(segment, offset).unwrap()
}

fn held(segment: u32, offset: u32) -> Held {
    Held { place: at(segment, offset), bytes: 100 }
}

fn push(index: &mut Index, owner: Owner, places: Places, flags: Flags) -> u64 {
    let queue = index.owners.get_mut(&owner).unwrap().queue_mut();
    let sequence = queue.next();
    let entry = Entry { sequence, places: Some(places), size: 10, flags };
    queue.push(entry);
    index.holdings.hold_new_message(places, 10, 40);
    index.queued += 1;
    sequence
}

fn live(index: &Index) -> Vec<(u32, u64)> {
    let mut live: Vec<_> =
        index.holdings.iter().map(|(segment, held)| (segment, held.live)).collect();
    live.sort_unstable();
    live
}

#[test]
fn a_segment_is_held_by_everything_that_refers_to_it() {
    let mut index = Index::new();
    let session = Owner::Session(5);
    index.set_head(session, held(1, 64));
    index.log_subscription(5, held(1, 100));
    index.log_subscription(5, held(2, 100));
    let first = push(&mut index, session, Places::inline(at(2, 200)), Flags::default());
    let places = Places { record: at(3, 64), message: at(2, 200) };
    let second = push(&mut index, session, places, Flags::default());
    index.keep(9, KeptEntry { what: Kept::Retained, places, size: 10 }, 40);
    assert_eq!(live(&index), [(1, 2), (2, 4), (3, 2)]);
    assert_eq!((index.queued, index.next_number), (2, 10));

    assert!(index.finish(session, first));
    assert!(!index.finish(session, first));
    assert_eq!(live(&index), [(1, 2), (2, 3), (3, 2)]);
    assert!(index.take(session, second));
    assert!(!index.take(session, second));
    assert_eq!(live(&index), [(1, 2), (2, 2), (3, 1)]);
    index.replace_subscriptions(5, held(3, 500), 1);
    assert_eq!(live(&index), [(1, 1), (2, 1), (3, 2)]);
    assert!(index.end(session));
    assert_eq!(live(&index), [(1, 0), (2, 1), (3, 1)]);
    assert!(index.unkeep(9));
    assert_eq!(live(&index), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!((index.queued, index.next_number), (0, 10));
    assert_eq!(index.holdings.bytes_alive(), 0);
}

#[test]
fn what_was_not_confirmed_is_dropped_with_the_next_life_of_the_process() {
    let mut index = Index::new();
    let session = Owner::Session(5);
    index.begin_boot(1);
    index.set_head(session, held(1, 64));
    let flags = Flags::default().with(Flags::PROVISIONAL, true);
    let round = |number| Round { worker: WorkerId::new(2), number };
    for number in [1, 2, 3] {
        let sequence = push(&mut index, session, Places::inline(at(1, 200)), flags);
        index.rounds.add(round(number), session, sequence);
    }
    index.confirm(round(2));
    assert!(index.rounds.is_confirmed(round(2)) && !index.rounds.is_confirmed(round(1)));
    assert!(index.finish(session, 2));
    assert_eq!(index.begin_boot(2), 1);
    assert!(!index.rounds.is_confirmed(round(2)));
    let queue = index.owners[&session].queue.as_ref().unwrap();
    assert_eq!((queue.first(), queue.next(), queue.waiting().messages), (1, 3, 1));
    assert_eq!(live(&index), [(1, 2)]);
}

#[test]
fn many_records_about_subscriptions_ask_to_be_folded_once() {
    let mut index = Index::new();
    index.set_head(Owner::Session(5), held(1, 64));
    for offset in 0..40 {
        index.log_subscription(5, held(1, 100 + offset));
    }
    assert_eq!(index.to_fold, [5]);
    let log = &mut index.owners.get_mut(&Owner::Session(5)).unwrap().subscriptions;
    assert!(log.look(3));
    assert!(!log.look(12));
}

#[test]
fn releases_keep_their_order() {
    let mut index = Index::new();
    index.set_head(Owner::Session(5), held(1, 64));
    let id = |value| PacketIdentifier::new(value).unwrap();
    for (value, new) in [(9, true), (3, true), (7, true), (3, false)] {
        assert_eq!(index.await_release(5, id(value)), new);
    }
    assert!(index.release(5, id(3)) && !index.release(5, id(3)));
    assert_eq!(index.owners[&Owner::Session(5)].awaiting_release, [id(9), id(7)]);
}
