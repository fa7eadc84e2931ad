//! Folds the records about a Session's subscriptions into what is subscribed.

use hashbrown::HashMap;
use midge_core::SubscriptionRecord;

use crate::record::{BadRecord, subscribed, subscription_image, unsubscribed};

/// The subscriptions that result from the records about them, read one after the other.
#[derive(Default)]
pub(crate) struct Folded {
    list: Vec<Option<SubscriptionRecord>>,
    /// Where each filter is in the list, if that is long: short ones are searched.
    places: HashMap<Box<str>, usize, foldhash::fast::FixedState>,
}

/// Lists of subscriptions up to this length are searched.
const SEARCHED_MAX: usize = 8;

impl Folded {
    pub(crate) fn read(&mut self, number: u64, tag: u8, body: &[u8]) -> Result<(), BadRecord> {
        let session = match tag {
            subscribed::TAG => {
                let (session, subscription) = subscribed::decode(body)?;
                self.add(subscription);
                session
            }
            unsubscribed::TAG => {
                let (session, filter) = unsubscribed::decode(body)?;
                if let Some(place) = self.place(filter) {
                    self.list[place] = None;
                    self.places.remove(filter);
                }
                session
            }
            subscription_image::TAG => {
                let (session, subscriptions) = subscription_image::decode(body)?;
                *self = Self::default();
                subscriptions.into_iter().for_each(|subscription| self.add(subscription));
                session
            }
            _ => return Err(BadRecord("it is no record about subscriptions")),
        };
        if session == number { Ok(()) } else { Err(BadRecord("it is about another Session")) }
    }

    /// Returns the subscriptions that are left, in the order in which they were made.
    pub(crate) fn into_subscriptions(self) -> Vec<SubscriptionRecord> {
        self.list.into_iter().flatten().collect()
    }

    fn add(&mut self, subscription: SubscriptionRecord) {
        if let Some(place) = self.place(&subscription.filter) {
            self.list[place] = Some(subscription);
            return;
        }
        if self.list.len() > SEARCHED_MAX {
            self.places.insert(subscription.filter.clone(), self.list.len());
        }
        self.list.push(Some(subscription));
        if self.list.len() == SEARCHED_MAX + 1 {
            let filters = self.list.iter().map(|it| it.as_ref().map(|it| it.filter.clone()));
            let places = filters.enumerate().filter_map(|(place, filter)| Some((filter?, place)));
            self.places = places.collect();
        }
    }

    fn place(&self, filter: &str) -> Option<usize> {
        if self.list.len() > SEARCHED_MAX {
            return self.places.get(filter).copied();
        }
        self.list.iter().position(|it| it.as_ref().is_some_and(|it| &*it.filter == filter))
    }
}

#[cfg(test)]
mod tests {
    use super::{Folded, SEARCHED_MAX};
    use crate::record::{subscribed, unsubscribed};
    use crate::testing::samples::subscription;

    #[test]
    fn few_and_many_subscriptions_are_folded_alike() {
        for count in [1, SEARCHED_MAX, SEARCHED_MAX + 1, 5 * SEARCHED_MAX] {
            let filters: Vec<_> = (0..count).map(|number| format!("filter/{number}")).collect();
            let mut folded = Folded::default();
            let mut body = Vec::new();
            let mut subscribe = |folded: &mut Folded, filter: &str| {
                body.clear();
                subscribed::encode(1, &subscription(filter), &mut body);
                folded.read(1, subscribed::TAG, &body).unwrap();
            };
            filters.iter().for_each(|filter| subscribe(&mut folded, filter));
            filters.iter().for_each(|filter| subscribe(&mut folded, filter));
            let mut gone = Vec::new();
            unsubscribed::encode(1, &filters[0], &mut gone);
            folded.read(1, unsubscribed::TAG, &gone).unwrap();
            folded.read(1, unsubscribed::TAG, &gone).unwrap();
            subscribe(&mut folded, "one more");
            let left = folded.into_subscriptions();
            let left: Vec<_> = left.iter().map(|subscription| &*subscription.filter).collect();
            let expected = filters[1..].iter().map(String::as_str).chain(["one more"]);
            assert_eq!(left, expected.collect::<Vec<_>>(), "{count}");
        }
    }
}
