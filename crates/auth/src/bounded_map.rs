//! A table of limited size that forgets first what was longest not touched.
//!
//! For what attackers can fill: the work of each call is bounded, whatever is in the table. This
//! module must never ask a clock.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::num::NonZeroUsize;

/// A table of limited size.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The keys by the time of their last touch.
    by_touch: BTreeMap<u64, K>,
    touches: u64,
    entries_max: NonZeroUsize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    touched: u64,
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    pub(crate) fn new(entries_max: NonZeroUsize) -> Self {
        Self { entries: HashMap::new(), by_touch: BTreeMap::new(), touches: 0, entries_max }
    }

    /// Returns the value of a key, and counts that as a touch.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        self.touches += 1;
        self.by_touch.remove(&entry.touched);
        entry.touched = self.touches;
        self.by_touch.insert(self.touches, key.clone());
        Some(&mut entry.value)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets the value of a key. Returns whether another key was forgotten for that.
    pub(crate) fn insert(&mut self, key: K, value: V) -> bool {
        self.remove(&key);
        let is_full = self.entries.len() >= self.entries_max.get();
        if is_full && let Some((_, oldest)) = self.by_touch.pop_first() {
            self.entries.remove(&oldest);
        }
        self.touches += 1;
        self.by_touch.insert(self.touches, key.clone());
        self.entries.insert(key, Entry { value, touched: self.touches });
        is_full
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.by_touch.remove(&entry.touched);
        Some(entry.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_longest_not_touched_goes_first() {
        let mut map = BoundedMap::new(NonZeroUsize::new(2).unwrap());
        assert!(!map.insert("a", 1));
        assert!(!map.insert("b", 2));
        assert_eq!(map.touch(&"a"), Some(&mut 1));
        assert!(map.insert("c", 3));
        assert_eq!((map.get(&"a"), map.get(&"b"), map.get(&"c")), (Some(&1), None, Some(&3)));
        assert!(!map.insert("a", 4), "a key that is there needs no room");
        assert_eq!(map.remove(&"a"), Some(4));
        assert_eq!(map.len(), 1);
    }

    proptest! {
        #[test]
        fn it_is_as_a_list_of_the_last_ones(
            steps in prop::collection::vec((0..3_u8, 0..8_u8), 0..100),
            entries_max in 1..5_usize,
        ) {
            let mut map = BoundedMap::new(NonZeroUsize::new(entries_max).unwrap());
            let mut model: Vec<u8> = Vec::new();
            for (step, key) in steps {
                let at = model.iter().position(|it| *it == key);
                if let Some(at) = at {
                    model.remove(at);
                }
                match step {
                    0 => {
                        map.insert(key, ());
                        model.push(key);
                    }
                    1 => {
                        prop_assert_eq!(map.touch(&key).is_some(), at.is_some());
                        model.extend(at.map(|_| key));
                    }
                    _ => prop_assert_eq!(map.remove(&key).is_some(), at.is_some()),
                }
                let surplus = model.len().saturating_sub(entries_max);
                model.drain(..surplus);
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.by_touch.len(), model.len());
                prop_assert!(model.iter().all(|key| map.get(key).is_some()));
            }
        }
    }
}
