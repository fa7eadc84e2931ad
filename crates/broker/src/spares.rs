//! Empty lists that go back to the thread that fills them, so that it does not ask for memory anew
//! for whatever it gives to others. Bounded: what a peak has needed is given up.

/// Lists without content that wait for their next use.
pub(crate) struct Spares<T> {
    lists: Vec<Vec<T>>,
}

impl<T> Spares<T> {
    /// How many lists wait at most.
    const LISTS_MAX: usize = 8;
    /// The largest list that waits, in bytes.
    const BYTES_MAX: usize = 64 << 10;

    /// Returns an empty list, with room if one has come back.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.lists.pop().unwrap_or_default()
    }

    /// Keeps the room of a list. Its content is dropped.
    pub(crate) fn put(&mut self, mut list: Vec<T>) {
        let bytes = list.capacity() * size_of::<T>();
        if self.lists.len() < Self::LISTS_MAX && (1..=Self::BYTES_MAX).contains(&bytes) {
            list.clear();
            self.lists.push(list);
        }
    }

    /// Takes over the lists of `other`, as far as there is room for them.
    pub(crate) fn append(&mut self, other: &mut Self) {
        other.lists.drain(..).for_each(|list| self.put(list));
    }
}

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self { lists: Vec::new() }
    }
}

/// Gives a list that was emptied elsewhere its room back, unless it has got content meanwhile.
pub(crate) fn give_back<T>(list: &mut Vec<T>, mut emptied: Vec<T>) {
    if list.is_empty() && emptied.capacity() * size_of::<T>() <= Spares::<T>::BYTES_MAX {
        emptied.clear();
        *list = emptied;
    }
}

#[cfg(test)]
mod tests {
    use super::{Spares, give_back};

    #[test]
    fn a_list_comes_back_with_its_room_and_without_its_content() {
        let mut spares = Spares::default();
        assert_eq!(spares.take().capacity(), 0);
        spares.put(vec![1_u64; 100]);
        let list = spares.take();
        assert!(list.is_empty() && list.capacity() >= 100);
    }

    #[test]
    fn neither_many_lists_nor_large_ones_wait() {
        let (mut spares, mut others) = (Spares::default(), Spares::default());
        for _ in 0..20 {
            spares.put(Vec::<u64>::with_capacity(4));
            others.put(Vec::<u64>::with_capacity(4));
        }
        spares.append(&mut others);
        assert_eq!(spares.lists.len(), Spares::<u64>::LISTS_MAX);
        assert!(others.lists.is_empty());
        others.put(Vec::with_capacity(Spares::<u64>::BYTES_MAX));
        others.put(Vec::new());
        assert!(others.lists.is_empty());
    }

    #[test]
    fn what_has_come_meanwhile_stays() {
        let mut list = vec![7];
        give_back(&mut list, Vec::with_capacity(10));
        assert_eq!(list, [7]);
        list.clear();
        give_back(&mut list, Vec::with_capacity(10_000));
        assert!(list.is_empty() && list.capacity() >= 10_000);
    }
}
