//! The queue against a plain list.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::record::bytes::Reader;

fn at(segment: u32, offset: u32) -> Location {
    Location::new(segment, offset).unwrap()
}

fn inline_entry(sequence: u64, place: Location, size: u32) -> Entry {
    Entry { sequence, places: Some(Places::inline(place)), size, flags: Flags::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Push { count: u16, gap: u8, from_group: bool, provisional: bool, elsewhere: bool },
    Finish(u16),
    FinishFirst(u16),
    Take(u16),
    Confirm(u16),
    InsertAgain(u16),
    Move(u16),
    Dump,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (1..400u16, 0..3u8, any::<[bool; 3]>()).prop_map(|(count, gap, flags)| {
        let [from_group, provisional, elsewhere] = flags;
        Step::Push { count, gap, from_group, provisional, elsewhere }
    });
    let step = prop_oneof![
        4 => push,
        4 => any::<u16>().prop_map(Step::Finish),
        4 => (0..600u16).prop_map(Step::FinishFirst),
        2 => any::<u16>().prop_map(Step::Take),
        2 => any::<u16>().prop_map(Step::Confirm),
        2 => any::<u16>().prop_map(Step::InsertAgain),
        2 => any::<u16>().prop_map(Step::Move),
        1 => Just(Step::Dump),
    ];
    prop::collection::vec(step, 1..30)
}

#[derive(Default)]
struct Pair {
    queue: Queue,
    naive: BTreeMap<u64, Entry>,
    finished: Vec<Entry>,
    offset: u32,
}

impl Pair {
    fn nth(&self, n: u16) -> Option<u64> {
        let len = self.naive.len().max(1);
        self.naive.keys().nth(usize::from(n) % len).copied()
    }

    fn push(&mut self, gap: u8, flags: Flags, elsewhere: bool) {
        self.offset += 100 + self.offset % 7;
        let record = at(1 + self.offset / 4096, self.offset % 4096);
        let message = if elsewhere { at(1, 64) } else { record };
        let sequence = self.queue.next() + u64::from(gap);
        let size = 50 + self.offset % 300;
        let entry = Entry { sequence, places: Some(Places { record, message }), size, flags };
        self.queue.push(entry);
        self.naive.insert(sequence, entry);
    }

    fn finish(&mut self, sequence: Option<u64>) {
        let Some(sequence) = sequence else {
            assert_eq!(self.queue.finish(3), None);
            return;
        };
        let finished = self.queue.finish(sequence);
        assert_eq!(finished, self.naive.remove(&sequence));
        self.finished.extend(finished);
        assert_eq!(self.queue.finish(sequence), None);
    }

    fn update(&mut self, sequence: Option<u64>, update: impl Fn(&mut Entry)) {
        if let Some(sequence) = sequence {
            let naive = self.naive.get_mut(&sequence).unwrap();
            assert_eq!(self.queue.update(sequence, &update), Some(*naive));
            update(naive);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Push { count, gap, from_group, provisional, elsewhere } => {
                let flags = Flags::default()
                    .with(Flags::FROM_GROUP, from_group)
                    .with(Flags::PROVISIONAL, provisional);
                for _ in 0..count {
                    self.push(gap, flags, elsewhere);
                }
            }
            Step::Finish(n) => self.finish(self.nth(n)),
            Step::FinishFirst(n) => {
                for _ in 0..n {
                    self.finish(self.nth(0));
                }
            }
            Step::Take(n) => self.update(self.nth(n), |entry| {
                entry.flags.set(Flags::TAKEN, true);
                entry.places = None;
            }),
            Step::Confirm(n) => {
                self.update(self.nth(n), |entry| entry.flags.set(Flags::PROVISIONAL, false));
            }
            Step::InsertAgain(n) => {
                let len = self.finished.len().max(1);
                if let Some(entry) = self.finished.get(usize::from(n) % len) {
                    assert_eq!(
                        self.queue.insert(*entry),
                        self.naive.insert(entry.sequence, *entry)
                    );
                }
            }
            Step::Move(n) => {
                let place = at(900, u32::from(n));
                self.update(self.nth(n), |entry| entry.places = Some(Places::inline(place)));
            }
            Step::Dump => {
                let mut bytes = Vec::new();
                let blocks = self.queue.to_blocks();
                blocks.iter().for_each(|block| block.encode(&mut bytes));
                let mut reader = Reader::new(&bytes);
                let (next, count) = (self.queue.next(), blocks.len() as u64);
                let mut visited = Vec::new();
                let visit = |entry: &Entry| visited.push(*entry);
                self.queue = Queue::decode(next, count, &mut reader, visit).unwrap();
                let mut all = Vec::new();
                self.queue.for_each(|entry| all.push(entry));
                assert_eq!(visited, all);
                reader.finish().unwrap();
            }
        }
    }

    fn compare(&self) {
        let mut all = Vec::new();
        self.queue.for_each(|entry| all.push(entry));
        assert!(all.iter().eq(self.naive.values()));
        assert_eq!(self.queue.len(), self.naive.len() as u64);
        let waiting = || self.naive.values().filter(|entry| !entry.flags.has(Flags::TAKEN));
        assert_eq!(
            self.queue.waiting(),
            Waiting {
                messages: waiting().count() as u64,
                bytes: waiting().map(|entry| u64::from(entry.size)).sum(),
                of_groups: waiting().filter(|e| e.flags.has(Flags::FROM_GROUP)).count() as u64,
            }
        );
        let first = self.naive.keys().next().copied();
        assert_eq!(self.queue.first(), first.unwrap_or(self.queue.next()));
        for entry in self.naive.values() {
            for place in entry.places.iter().flat_map(|places| [places.record, places.message]) {
                assert!(self.queue.may_be_in(place.segment()));
            }
        }
    }

    fn compare_from(&self, from: u64) {
        let mut some = Vec::new();
        let _ = self.queue.visit_from(from, |entry| {
            some.push(entry);
            if some.len() < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(some.iter().eq(self.naive.range(from..).take(5).map(|(_, entry)| entry)));
        assert_eq!(self.queue.get(from), self.naive.get(&from).copied());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_queue_behaves_like_a_plain_list(steps in steps(), from: prop::sample::Index) {
        let mut pair = Pair::default();
        for step in &steps {
            pair.step(step);
            pair.compare();
            pair.compare_from(from.index(pair.queue.next() as usize + 2) as u64);
        }
        pair.queue.tighten_segments();
        pair.compare();
    }

    #[test]
    fn any_bytes_are_survived_as_a_block(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(block) = Block::decode(&mut reader, |_| ()) {
            let all: Vec<Entry> = block.iter().collect();
            prop_assert_eq!(all.len(), block.len());
            prop_assert_eq!(all.last().map(|entry| entry.sequence), Some(block.last()));
        }
    }
}

#[test]
fn a_queue_of_100_000_messages_costs_less_than_12_bytes_for_each() {
    for elsewhere in [false, true] {
        let mut pair = Pair::default();
        for _ in 0..100_000 {
            pair.push(0, Flags::default(), elsewhere);
        }
        let each = pair.queue.memory_bytes() as f64 / 100_000.0;
        assert!(each < 12.0, "{each} bytes (elsewhere: {elsewhere})");
    }
}

#[test]
fn what_changes_in_order_unpacks_each_block_once_and_one_at_a_time() {
    let mut pair = Pair::default();
    for _ in 0..2000 {
        pair.push(0, Flags::default(), false);
    }
    let is_open = |stretch: &&Stretch| matches!(stretch, Stretch::Open(_));
    for sequence in 0..1500 {
        assert!(pair.queue.take(sequence).is_some());
        assert_eq!(pair.queue.take(sequence), None, "it is taken");
        let open: Vec<u64> =
            pair.queue.stretches.iter().filter(is_open).map(Stretch::first).collect();
        assert_eq!(open, [sequence - sequence % BLOCK_LEN as u64]);
    }
    assert!((0..1500).all(|sequence| pair.queue.finish(sequence).is_some()));
    assert_eq!((pair.queue.len(), pair.queue.waiting().messages), (500, 500));
}

#[test]
fn a_jump_in_the_sequences_costs_nothing() {
    let mut queue = Queue::default();
    for step in 0..1000 {
        queue.push(inline_entry(step * 1_000_000_007, at(1, 64 + step as u32), 10));
    }
    assert!(queue.memory_bytes() < 40_000);
    assert_eq!(queue.finish(500 * 1_000_000_007).map(|entry| entry.size), Some(10));
    assert_eq!(queue.len(), 999);
}
