//! Ending the connections of listeners that are gone, a part of them in each turn.

use std::collections::VecDeque;
use std::sync::Arc;

use midge_codec::ReasonCode;

use crate::listener_terms::ListenerPlace;
use crate::worker::Worker;

/// The listeners whose connections a worker has not yet ended.
#[derive(Default)]
pub(crate) struct Departures {
    /// Each listener with the first slot that was not looked at. While a listener is here, no other
    /// gets its number.
    listeners: VecDeque<(Arc<ListenerPlace>, usize)>,
}

impl Departures {
    /// Slots that are looked at in a turn. Each may hold a Client that has a Will Message.
    const SLOTS: usize = 1024;

    /// Begins to end the connections of a listener, which gets no new ones.
    pub(crate) fn begin(&mut self, listener: Arc<ListenerPlace>) {
        self.listeners.push_back((listener, 0));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }
}

impl Worker {
    /// Ends some of the connections whose listeners are gone: MQTT 5 Clients are told, Sessions
    /// stay.
    pub(crate) fn end_departing(&mut self) {
        let Some((listener, first)) = self.departures.listeners.front_mut() else {
            return;
        };
        let departing = self.sockets.came_by(listener.number, *first, Departures::SLOTS);
        *first += Departures::SLOTS;
        if *first >= self.sockets.len() {
            self.departures.listeners.pop_front();
        }
        for id in departing {
            let code = ReasonCode::AdministrativeAction;
            self.core.end_connection(id, code, &mut self.turn);
        }
    }
}
