//! Looks at the worker's load from time to time, tells the others, and gives Clients away if
//! [`crate::placement`] says so.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use midge_core::{ConnectionId, Timestamp, WorkerId};

use crate::busy::BusyMeter;
use crate::placement::{Advice, Placement, Placing};
use crate::worker::Worker;

/// What a worker needs to place its Clients; absent if there is one worker only, or Clients stay
/// where they are.
pub(crate) struct Place {
    placing: Placing,
    meter: BusyMeter,
    next_look: Timestamp,
    /// The slot of the socket where the next search begins.
    next_slot: usize,
}

impl Place {
    /// Begins to measure the present thread.
    pub(crate) fn of_this_thread(placement: Placement, workers: usize) -> Option<Self> {
        let moves = workers > 1 && placement == Placement::Auto;
        moves.then(|| Self {
            placing: Placing::default(),
            meter: BusyMeter::of_this_thread(),
            next_look: Timestamp::default(),
            next_slot: 0,
        })
    }
}

impl Worker {
    /// How many sockets are looked at to find Clients that can be given away.
    const SEARCHED_MAX: usize = 4_096;

    pub(crate) fn note_sleep(&mut self) {
        if let Some(place) = &mut self.place {
            place.meter.sleep();
        }
    }

    pub(crate) fn note_wake(&mut self) {
        if let Some(place) = &mut self.place {
            place.meter.wake();
        }
    }

    /// How long the worker may wait until it tells its load again: for ever, if the others know
    /// that it has none.
    pub(crate) fn until_next_look(&self) -> Option<Duration> {
        self.place.as_ref()?;
        let inbox = &self.node.inboxes[self.id.index()];
        let has_any = inbox.load.has_any(inbox.connections.load(Ordering::Relaxed));
        has_any.then_some(Duration::from_millis(Placing::LOOK_MS))
    }

    /// Tells the worker's load, if it is time, and gives Clients away if that is too much, or if
    /// all can live on one worker.
    pub(crate) fn look_at_load(&mut self) {
        let Some(place) = self.place.as_mut().filter(|it| it.next_look <= self.turn.now) else {
            return;
        };
        place.next_look = self.turn.now + Placing::LOOK_MS;
        let (own, inboxes) = (self.id.index(), &self.node.inboxes);
        let connections = inboxes[own].connections.load(Ordering::Relaxed);
        inboxes[own].load.tell(place.meter.ask(Instant::now()), connections);
        let loads: Vec<_> = inboxes.iter().map(|inbox| inbox.load.busy()).collect();
        let clients = self.core.usage().connected;
        let Place { placing, next_slot, .. } = place;
        let sockets = &mut self.sockets;
        let mut active = Vec::new();
        let count_active = || {
            let first = if *next_slot < sockets.len() { *next_slot } else { 0 };
            *next_slot = first + Self::SEARCHED_MAX;
            active = sockets.choose_to_give(first, Self::SEARCHED_MAX);
            active.len()
        };
        if let Advice::Give { to, clients } = placing.look(own, clients, count_active, &loads) {
            self.give_away(to, clients, active);
        }
    }

    /// Gives up to `count` of these Clients to another worker.
    fn give_away(&mut self, to: usize, count: usize, ids: Vec<ConnectionId>) {
        let to = WorkerId::new(to);
        let mut given = 0;
        for id in ids {
            let client = self.core.client_of(id).map(|client| client.client_id.clone());
            given += client.map_or(0, |client_id| usize::from(self.begin_move(&client_id, to)));
            if given >= count {
                // A Client that comes back, and so gets this slot again, is not the first to go.
                if let Some(place) = &mut self.place {
                    place.next_slot = id.slot() + 1;
                }
                break;
            }
        }
        if given > 0 {
            let worker = self.id.index();
            log::debug!("worker {worker} gives {given} clients to worker {}", to.index());
        }
    }
}
