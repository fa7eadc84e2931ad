//! A dense list to walk, whose entries are told apart by a key. From a certain length on, a table
//! says where each key is, so that to join and to leave cost the same however many there are.

use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// An entry of a [`KeyedList`].
pub(crate) trait Keyed {
    type Key: Copy + Eq + Hash;

    fn key(&self) -> Self::Key;
}

#[derive(Debug)]
pub(crate) struct KeyedList<T: Keyed> {
    list: Vec<T>,
    positions: HashMap<T::Key, u32, FixedState>,
}

impl<T: Keyed> KeyedList<T> {
    /// Lists up to this length are searched; longer ones have a table of positions.
    const SEARCHED_LENGTH_MAX: usize = 64;

    /// Makes a list of entries with different keys.
    pub(crate) fn of<const N: usize>(entries: [T; N]) -> Self {
        Self { list: entries.into(), positions: HashMap::default() }
    }

    pub(crate) fn list(&self) -> &[T] {
        &self.list
    }

    /// Adds an entry or replaces the one with the same key. Returns true if there was none.
    pub(crate) fn insert(&mut self, entry: T) -> bool {
        let key = entry.key();
        if let Some(position) = self.position(key) {
            self.list[position] = entry;
            return false;
        }
        self.list.push(entry);
        if !self.positions.is_empty() {
            self.positions.insert(key, (self.list.len() - 1) as u32);
        } else if self.list.len() > Self::SEARCHED_LENGTH_MAX {
            self.positions = (0..).zip(&self.list).map(|(at, entry)| (entry.key(), at)).collect();
        }
        true
    }

    /// Removes the entry with this key; the last one takes its place. Returns true if there was
    /// one.
    pub(crate) fn remove(&mut self, key: T::Key) -> bool {
        let Some(position) = self.position(key) else {
            return false;
        };
        self.list.swap_remove(position);
        if !self.positions.is_empty() {
            self.positions.remove(&key);
            if let Some(moved) = self.list.get(position) {
                self.positions.insert(moved.key(), position as u32);
            }
        }
        true
    }

    fn position(&self, key: T::Key) -> Option<usize> {
        if self.positions.is_empty() {
            self.list.iter().position(|entry| entry.key() == key)
        } else {
            self.positions.get(&key).map(|&at| at as usize)
        }
    }
}

impl<T: Keyed> Default for KeyedList<T> {
    fn default() -> Self {
        Self { list: Vec::new(), positions: HashMap::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Keyed, KeyedList};

    impl Keyed for u16 {
        type Key = Self;

        fn key(&self) -> Self {
            *self
        }
    }

    #[test]
    fn many_come_and_go_in_any_order() {
        let (mut list, mut expected) = (KeyedList::default(), BTreeSet::new());
        let mut state = 1_u32;
        for round in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (state >> 16) as u16 % 300;
            // It grows to most of them and shrinks to a few, again and again.
            match (state >> 8) % 4 < 1 + round / 1_000 % 3 {
                true => assert_eq!(list.insert(key), expected.insert(key)),
                false => assert_eq!(list.remove(key), expected.remove(&key)),
            }
            assert_eq!(list.list().len(), expected.len());
        }
        let mut found = list.list().to_vec();
        found.sort_unstable();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}
