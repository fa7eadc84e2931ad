//! Looks at the worker's load from time to time, tells the others, and gives Clients away if
//! [`crate::placement`] says so.

use std::time::{Duration, Instant};

use midge_core::{Timestamp, WorkerId};

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
        let load = &self.node.inboxes[self.id.index()].load;
        load.is_any().then_some(Duration::from_millis(Placing::LOOK_MS))
    }

    /// Tells the worker's load, if it is time, and gives Clients away if that is too much, or if
    /// all can live on one worker.
    pub(crate) fn look_at_load(&mut self) {
        let Some(place) = self.place.as_mut().filter(|it| it.next_look <= self.turn.now) else {
            return;
        };
        place.next_look = self.turn.now + Placing::LOOK_MS;
        let (own, inboxes) = (self.id.index(), &self.node.inboxes);
        inboxes[own].load.tell(place.meter.ask(Instant::now()));
        let loads: Vec<_> = inboxes.iter().map(|inbox| inbox.load.busy()).collect();
        let clients = self.core.usage().connected;
        match place.placing.look(own, clients, &loads) {
            Advice::Stay => (),
            Advice::Give { to, clients, gathers } => self.give_away(to, clients, gathers),
        }
    }

    /// Gives up to `count` Clients to another worker. Unless all are to gather there, Clients that
    /// nothing has come from lately make no difference and stay.
    fn give_away(&mut self, to: usize, count: usize, gathers: bool) {
        let Some(place) = &mut self.place else {
            return;
        };
        let first = place.next_slot;
        let ids = self.sockets.choose_to_give(first, Self::SEARCHED_MAX, gathers);
        place.next_slot = first + Self::SEARCHED_MAX;
        if place.next_slot >= self.sockets.len() {
            place.next_slot = 0;
        }
        let to = WorkerId::new(to);
        let mut given = 0;
        for id in ids {
            let client = self.core.client_of(id).map(|client| client.client_id.clone());
            given += client.map_or(0, |client_id| usize::from(self.begin_move(&client_id, to)));
            if given >= count {
                break;
            }
        }
        if given > 0 {
            let worker = self.id.index();
            log::debug!("worker {worker} gives {given} clients to worker {}", to.index());
        }
    }
}
