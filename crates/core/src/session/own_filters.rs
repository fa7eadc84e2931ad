//! The subscriptions of one Session by filter, in as few bytes as it gets: there are Sessions with
//! one, and Sessions with a hundred thousand.
//!
//! Each subscription is one allocation with its filter; the table has only references to them.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU32;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, IntoIter};
use midge_codec::SubscriptionOptions;
use triomphe::{Arc, ThinArc};

use crate::base::identity::GroupId;
use crate::session::{Subscribed, SubscriptionKind};

/// What is in front of a filter's bytes.
#[derive(Debug)]
struct Packed {
    /// The options byte of MQTT 5.0.
    options: u8,
    kind: PackedKind,
    identifier: Option<NonZeroU32>,
    group: Option<Box<GroupId>>,
}

#[derive(Clone, Copy, Debug)]
enum PackedKind {
    Plain,
    Shared,
    Exclusive,
}

/// Filters with what is subscribed under them. A subscription is given out by value.
#[derive(Debug)]
pub(crate) struct OwnFilters {
    table: HashTable<ThinArc<Packed, u8>>,
    hasher: FixedState,
}

impl OwnFilters {
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.table.find(hash(&self.hasher, filter.as_bytes()), is(filter)).is_some()
    }

    pub(crate) fn get(&self, filter: &str) -> Option<Subscribed> {
        let found = self.table.find(hash(&self.hasher, filter.as_bytes()), is(filter))?;
        Some(found.header.header.unpacked())
    }

    /// Adds a subscription, or replaces the one with this filter and returns it.
    pub(crate) fn insert(&mut self, filter: &str, subscribed: Subscribed) -> Option<Subscribed> {
        let (bytes, hasher) = (filter.as_bytes(), &self.hasher);
        let packed = ThinArc::from_header_and_slice(Packed::of(subscribed), bytes);
        let rehash = |other: &ThinArc<Packed, u8>| hash(hasher, &other.slice);
        match self.table.entry(hash(hasher, bytes), is(filter), rehash) {
            Entry::Occupied(mut known) => {
                let replaced = std::mem::replace(known.get_mut(), packed);
                Some(replaced.header.header.unpacked())
            }
            Entry::Vacant(vacant) => {
                vacant.insert(packed);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, filter: &str) -> Option<Subscribed> {
        let hash = hash(&self.hasher, filter.as_bytes());
        let (removed, _) = self.table.find_entry(hash, is(filter)).ok()?.remove();
        Some(removed.header.header.unpacked())
    }

    /// Notes which group a shared subscription belongs to.
    pub(crate) fn set_group(&mut self, filter: &str, group: GroupId) {
        let hash = hash(&self.hasher, filter.as_bytes());
        if let Some(found) = self.table.find_mut(hash, is(filter)) {
            found.with_arc_mut(|only| {
                if let Some(packed) = Arc::get_mut(only) {
                    let packed = packed.header_mut();
                    (packed.kind, packed.group) = (PackedKind::Shared, Some(Box::new(group)));
                }
            });
        }
    }

    /// All filters, in an order that says nothing.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &str> {
        self.table.iter().map(text)
    }

    /// All filters with what is subscribed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Subscribed)> {
        self.table.iter().map(|entry| (text(entry), entry.header.header.unpacked()))
    }

    /// Takes the exclusive subscriptions out, one after the other.
    pub(crate) fn take_exclusive(&mut self) -> impl Iterator<Item = (Box<str>, Subscribed)> {
        let is_exclusive = |entry: &mut ThinArc<Packed, u8>| {
            matches!(entry.header.header.kind, PackedKind::Exclusive)
        };
        self.table.extract_if(is_exclusive).map(|entry| parts(&entry))
    }
}

/// Subscriptions that are given up one after the other.
#[derive(Debug)]
pub(crate) struct IntoOwnFilters(IntoIter<ThinArc<Packed, u8>>);

impl IntoIterator for OwnFilters {
    type Item = (Box<str>, Subscribed);
    type IntoIter = IntoOwnFilters;

    fn into_iter(self) -> IntoOwnFilters {
        IntoOwnFilters(self.table.into_iter())
    }
}

impl Iterator for IntoOwnFilters {
    type Item = (Box<str>, Subscribed);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| parts(&entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for IntoOwnFilters {}

impl Packed {
    fn of(subscribed: Subscribed) -> Self {
        let Subscribed { options, identifier, kind } = subscribed;
        let (kind, group) = match kind {
            SubscriptionKind::Plain => (PackedKind::Plain, None),
            SubscriptionKind::Shared(group) => (PackedKind::Shared, group.map(Box::new)),
            SubscriptionKind::Exclusive => (PackedKind::Exclusive, None),
        };
        Self { options: options.to_byte(), kind, identifier, group }
    }

    fn unpacked(&self) -> Subscribed {
        let kind = match self.kind {
            PackedKind::Plain => SubscriptionKind::Plain,
            PackedKind::Shared => SubscriptionKind::Shared(self.group.as_deref().copied()),
            PackedKind::Exclusive => SubscriptionKind::Exclusive,
        };
        let options = SubscriptionOptions::from_byte(self.options).unwrap_or_default();
        Subscribed { options, identifier: self.identifier, kind }
    }
}

fn hash(hasher: &FixedState, filter: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(filter);
    hasher.finish()
}

fn is(filter: &str) -> impl Fn(&ThinArc<Packed, u8>) -> bool {
    move |entry| entry.slice == *filter.as_bytes()
}

fn parts(entry: &ThinArc<Packed, u8>) -> (Box<str>, Subscribed) {
    (text(entry).into(), entry.header.header.unpacked())
}

fn text(entry: &ThinArc<Packed, u8>) -> &str {
    std::str::from_utf8(&entry.slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{OwnFilters, Packed};
    use crate::base::identity::{GroupId, WorkerId};
    use crate::session::{Subscribed, SubscriptionKind};

    fn group(number: u64) -> GroupId {
        GroupId { home: WorkerId::new(1), number }
    }

    fn subscribed(number: u32) -> Subscribed {
        let kind = match number % 4 {
            0 => SubscriptionKind::Plain,
            1 => SubscriptionKind::Exclusive,
            2 => SubscriptionKind::Shared(None),
            _ => SubscriptionKind::Shared(Some(group(u64::from(number)))),
        };
        let options = midge_codec::SubscriptionOptions::from_byte((number % 3) as u8).unwrap();
        Subscribed { options, identifier: std::num::NonZeroU32::new(number / 2), kind }
    }

    #[test]
    fn what_is_in_front_of_a_filter_is_small() {
        assert_eq!(size_of::<Packed>(), 16);
    }

    #[test]
    fn it_has_what_a_map_has() {
        let (mut filters, mut map) = (OwnFilters::new(5), BTreeMap::new());
        for number in 0..2_000_u32 {
            let filter = format!("site/{}/+", number * 7 % 300);
            if number % 3 == 0 {
                assert_eq!(filters.remove(&filter), map.remove(&filter));
            } else {
                let replaced = filters.insert(&filter, subscribed(number));
                assert_eq!(replaced, map.insert(filter, subscribed(number)));
            }
        }
        assert_eq!((filters.len(), filters.is_empty()), (map.len(), map.is_empty()));
        let all: BTreeMap<_, _> = filters.iter().map(|(key, it)| (key.to_owned(), it)).collect();
        assert_eq!(all, map);
        assert_eq!(filters.filters().count(), map.len());
        let is_exclusive = |it: &Subscribed| it.kind == SubscriptionKind::Exclusive;
        let mut expected = map.clone();
        expected.retain(|_, it| is_exclusive(it));
        map.retain(|_, it| !is_exclusive(it));
        let exclusive: BTreeMap<_, _> =
            filters.take_exclusive().map(|(key, it)| (key.into(), it)).collect();
        assert!(!exclusive.is_empty() && exclusive == expected);
        assert!(map.keys().all(|filter| filters.contains(filter)) && !filters.contains("site"));
        let taken: BTreeMap<_, _> = filters.into_iter().map(|(key, it)| (key.into(), it)).collect();
        assert_eq!(taken, map);
    }

    #[test]
    fn a_group_is_noted_where_the_subscription_is() {
        let mut filters = OwnFilters::new(5);
        filters.insert("$share/g/a", subscribed(2));
        filters.set_group("$share/g/a", group(9));
        filters.set_group("$share/g/b", group(9));
        let kind = filters.get("$share/g/a").map(|it| it.kind);
        assert_eq!((kind, filters.len()), (Some(SubscriptionKind::Shared(Some(group(9)))), 1));
    }
}
