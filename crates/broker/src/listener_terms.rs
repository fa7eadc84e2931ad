//! The terms that the connections of a listener share.
//!
//! A connection keeps the terms that it came by until it ends. It refers to them directly, so the
//! listener may get other terms, or go, at any time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use midge_core::{Capabilities, Durability, Limits};
use midge_net::{Listen, ListenerAddress};

use crate::greeting::Expected;

/// A listener as a broker is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where the listener listens, by which transport, and for whom.
    pub listen: Listen,
    /// What an acknowledgement promises to Clients that come by this listener; `None` for what the
    /// whole broker promises.
    pub durability: Option<Durability>,
    /// What Clients that come by this listener may ask for.
    pub capabilities: Capabilities,
}

/// The terms for connections that come by a listener.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListenerTerms {
    pub(crate) place: Arc<ListenerPlace>,
    /// The layers and protocol that connections have to speak.
    pub(crate) expected: Expected,
    pub(crate) packet_before_connect_bytes_max: u32,
    pub(crate) packet_bytes_max: u32,
    pub(crate) connect_deadline_ms: u32,
    pub(crate) capabilities: Capabilities,
    pub(crate) durability: Option<Durability>,
}

/// The identity of a listener.
#[derive(Debug)]
pub(crate) struct ListenerPlace {
    pub(crate) number: u16,
    /// The address that it is bound to, which is its name in the log.
    pub(crate) name: Box<str>,
    is_removed: AtomicBool,
}

/// The terms of new connections, by the numbers of their listeners. A number is used again only
/// when no connection that came by its listener is left.
#[derive(Debug, Default)]
pub(crate) struct ListenerTable {
    rows: RwLock<Vec<Row>>,
}

#[derive(Debug, Default)]
struct Row {
    current: Option<Arc<ListenerTerms>>,
    place: Weak<ListenerPlace>,
}

impl ListenerSettings {
    /// Returns the settings of a listener on which everything in MQTT is allowed.
    pub fn new(listen: impl Into<Listen>) -> Self {
        let (listen, capabilities) = (listen.into(), Capabilities::default());
        Self { listen, durability: None, capabilities }
    }

    /// Returns the terms that follow from these settings and the broker's limits.
    pub(crate) fn terms(&self, place: Arc<ListenerPlace>, limits: &Limits) -> ListenerTerms {
        let own = &self.listen.limits;
        let packet_bytes_max =
            self.capabilities.packet_bytes_max.unwrap_or(limits.packet_bytes_max);
        let deadline = own.connect_deadline;
        ListenerTerms {
            place,
            expected: Expected::of(&self.listen),
            packet_before_connect_bytes_max: own
                .packet_before_connect_bytes_max
                .unwrap_or(limits.packet_before_connect_bytes_max),
            packet_bytes_max,
            connect_deadline_ms: deadline.map_or(limits.connect_deadline_ms, |deadline| {
                u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX)
            }),
            capabilities: Capabilities {
                packet_bytes_max: Some(packet_bytes_max),
                ..self.capabilities
            },
            durability: self.durability,
        }
    }
}

impl ListenerPlace {
    pub(crate) fn new(number: u16, address: &ListenerAddress) -> Self {
        let name = address.to_string().into();
        Self { number, name, is_removed: AtomicBool::new(false) }
    }

    /// Marks the listener as removed: nobody is let in by it any more.
    pub(crate) fn remove(&self) {
        self.is_removed.store(true, Ordering::Release);
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }
}

impl PartialEq for ListenerPlace {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for ListenerPlace {}

impl ListenerTable {
    /// How many numbers there are. Between nodes, the one after the last stands for no listener.
    const NUMBERS_MAX: usize = u16::MAX as usize;

    /// Returns the terms of a new connection; `None` if its listener is gone.
    pub(crate) fn get(&self, number: usize) -> Option<Arc<ListenerTerms>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(number)?.current.clone()
    }

    /// Returns `count` numbers that nobody has; `None` if there are not so many.
    pub(crate) fn free_numbers(&self, count: usize) -> Option<Vec<u16>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let is_free = |number: &usize| rows.get(*number).is_none_or(Row::is_free);
        let free = (0..Self::NUMBERS_MAX).filter(is_free).take(count).map(|it| it as u16);
        let free: Vec<_> = free.collect();
        (free.len() == count).then_some(free)
    }

    /// Sets the terms of new connections.
    pub(crate) fn set(&self, terms: ListenerTerms) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let number = usize::from(terms.place.number);
        if rows.len() <= number {
            rows.resize_with(number + 1, Row::default);
        }
        let place = Arc::downgrade(&terms.place);
        rows[number] = Row { current: Some(Arc::new(terms)), place };
    }

    /// Removes the terms of a listener that gets no new connections any more.
    pub(crate) fn remove(&self, number: u16) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(usize::from(number)) {
            row.current = None;
        }
    }
}

impl Row {
    fn is_free(&self) -> bool {
        self.current.is_none() && self.place.strong_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: &ListenerTable, number: u16) -> Arc<ListenerTerms> {
        let address = ListenerAddress::Unix("/s".into());
        let place = Arc::new(ListenerPlace::new(number, &address));
        table.set(ListenerSettings::new("unix:/s").terms(place, &Limits::default()));
        table.get(number.into()).unwrap()
    }

    #[test]
    fn a_number_is_free_when_nobody_has_it_any_more() {
        let table = ListenerTable::default();
        let terms = [0, 1].map(|number| row(&table, number));
        assert_eq!(table.free_numbers(2), Some(vec![2, 3]));
        table.remove(0);
        assert_eq!(table.get(0), None);
        assert_eq!(table.free_numbers(1), Some(vec![2]), "somebody has come by it");
        drop(terms);
        assert_eq!(table.free_numbers(2), Some(vec![0, 2]));
        assert_eq!(table.free_numbers(ListenerTable::NUMBERS_MAX), None);
    }

    #[test]
    fn thousands_of_listeners_after_each_other_take_no_more_numbers() {
        let table = ListenerTable::default();
        for _ in 0..10_000 {
            let number = table.free_numbers(1).unwrap()[0];
            drop(row(&table, number));
            table.remove(number);
        }
        assert_eq!(table.rows.read().unwrap().len(), 1);
    }

    #[test]
    fn a_listener_that_says_nothing_has_the_limits_of_the_broker() {
        let address = ListenerAddress::Unix("/s".into());
        let limits = Limits { packet_bytes_max: 7, connect_deadline_ms: 8, ..Limits::default() };
        let terms = |settings: &ListenerSettings| {
            settings.terms(Arc::new(ListenerPlace::new(0, &address)), &limits)
        };
        let mut settings = ListenerSettings::new("unix:/s");
        let said = terms(&settings);
        assert_eq!((said.packet_bytes_max, said.connect_deadline_ms), (7, 8));
        settings.capabilities.packet_bytes_max = Some(9);
        assert_eq!(terms(&settings).capabilities.packet_bytes_max, Some(9));
    }
}
