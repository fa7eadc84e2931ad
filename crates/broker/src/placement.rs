//! Which worker a Client belongs to: where new connections go, and when Clients move.
//!
//! At low load all Clients live on one worker, so that a message needs no second thread. A worker
//! that is busy gives Clients away to one that is not. Between the two bounds nobody moves, so that
//! Clients do not wander. docs/decisions/0019-clients-gather-at-low-load-and-spread-at-high.md has
//! the figures.
//!
//! This module decides from numbers that others measure. It must never know a Session or a socket.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How Clients are placed on the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Each new Client on the worker with the fewest connections, or with hardly more, where it
    /// stays.
    Even,
    /// All on one worker while the load is low; a busy worker gives Clients away.
    #[default]
    Auto,
}

/// What a worker tells the others about its load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Thousandths of a processor that it has used lately.
    busy: AtomicU32,
    /// Connections that it had when it told its load last.
    known: AtomicUsize,
}

/// What a worker does about its Clients now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    Stay,
    /// Give so many Clients to this worker.
    Give {
        to: usize,
        clients: usize,
    },
}

/// What a worker remembers from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Placing {
    /// Looks in a row at which it was busy.
    busy_looks: u32,
    /// Looks in a row at which all workers together were calm.
    calm_looks: u32,
}

impl Load {
    pub(crate) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Sets what the worker has used lately, with as many connections as it has now.
    pub(crate) fn tell(&self, busy: u32, connections: usize) {
        self.busy.store(busy, Ordering::Relaxed);
        self.known.store(connections, Ordering::Relaxed);
    }

    /// Returns whether others are told of any load, so that the worker has to tell when it is over.
    pub(crate) fn has_any(&self, connections: usize) -> bool {
        self.busy() > 0 || self.fresh(connections) > 0
    }

    /// How many more connections the worker has than when it told its load. Those that come and go
    /// do not count: what they cost is told.
    fn fresh(&self, connections: usize) -> usize {
        connections.saturating_sub(self.known.load(Ordering::Relaxed))
    }
}

impl Placing {
    /// Milliseconds between two looks.
    pub(crate) const LOOK_MS: u64 = 100;
    /// A worker is busy from this load on, and gives Clients away.
    const BUSY: u32 = 600;
    /// How much less another one has to have to be given some.
    const LESS: u32 = 250;
    /// Clients gather on one worker while all together have no more load than this.
    const CALM: u32 = 200;
    /// For how many looks it has to be so.
    const BUSY_LOOKS: u32 = 2;
    const CALM_LOOKS: u32 = 30;
    /// The most Clients that a worker gives away at a look.
    const GIVEN_MAX: usize = 32;
    /// How many connections a worker may gain before it has told what they cost.
    const FRESH_MAX: usize = 64;
    /// A worker has hardly more connections than another one if it has up to this part more.
    const HARDLY: usize = 32;
    /// How many more make no difference for who watches the listeners, so that this does not change
    /// each time that a few come and go.
    const FEW: usize = 16;

    /// Says what a worker has to do that has so many Clients. `loads` are those of all workers, its
    /// own among them. `active` says how many of its Clients can move and make up its load; it is
    /// asked only if some may have to go.
    pub(crate) fn look(
        &mut self,
        own: usize,
        clients: usize,
        active: impl FnOnce() -> usize,
        loads: &[u32],
    ) -> Advice {
        let (mine, all) = (loads[own], loads.iter().sum::<u32>());
        let count = |is_so: bool, looks: u32| if is_so { looks.saturating_add(1) } else { 0 };
        self.busy_looks = count(mine >= Self::BUSY, self.busy_looks);
        self.calm_looks = count(all <= Self::CALM, self.calm_looks);
        if self.busy_looks >= Self::BUSY_LOOKS {
            let least = (0..loads.len()).min_by_key(|&worker| loads[worker]).unwrap_or(own);
            let more = mine.saturating_sub(loads[least]);
            if least != own && more >= Self::LESS && clients > 1 {
                self.busy_looks = 0; // it takes a moment until the loads tell what has changed
                // Half of what it has more, as if all active Clients were alike.
                let active = active();
                let share = active * more as usize / (2 * mine as usize);
                let clients = share.clamp(1, Self::GIVEN_MAX).min(active.saturating_sub(1));
                return match clients {
                    0 => Advice::Stay, // all the load is one Client's, or that of none
                    _ => Advice::Give { to: least, clients },
                };
            }
        }
        let gathers = self.calm_looks >= Self::CALM_LOOKS && own != 0 && clients > 0;
        match if gathers { active().min(Self::GIVEN_MAX) } else { 0 } {
            0 => Advice::Stay,
            clients => Advice::Give { to: 0, clients },
        }
    }

    /// Says which worker gets a new connection: the first one that has room for its load, otherwise
    /// the one with the fewest. `load` and `connections` are those of a worker. `own` is the worker
    /// that has accepted it, if one has: it keeps it if it has hardly more than any other, because
    /// giving it away wakes a second thread.
    pub(crate) fn choose(
        placement: Placement,
        workers: usize,
        own: Option<usize>,
        load: impl Fn(usize) -> (u32, usize),
        connections: impl Fn(usize) -> usize,
    ) -> usize {
        let has_room = |&worker: &usize| {
            let (busy, fresh) = load(worker);
            busy < Self::BUSY && fresh < Self::FRESH_MAX
        };
        let first = match placement {
            Placement::Auto => (0..workers).find(has_room),
            Placement::Even => None,
        };
        first.unwrap_or_else(|| {
            let fewest = (0..workers).min_by_key(|&worker| connections(worker)).unwrap_or(0);
            let least = connections(fewest);
            own.filter(|&own| connections(own) <= least + least / Self::HARDLY).unwrap_or(fewest)
        })
    }

    /// Says which worker is to watch the listeners: the first one to which new connections go, so
    /// that they need not go on to another one. `None`: all workers are busy, and a connection must
    /// not wait until one of them has time to accept it.
    pub(crate) fn watcher(
        placement: Placement,
        workers: usize,
        busy: impl Fn(usize) -> u32,
        connections: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let least = (0..workers).map(&connections).min().unwrap_or(0);
        let most = least + least / Self::HARDLY + Self::FEW;
        (0..workers).find(|&worker| match placement {
            Placement::Auto => busy(worker) < Self::BUSY,
            Placement::Even => connections(worker) <= most,
        })
    }

    /// The worker's load as [`Placing::choose`] wants to know it.
    pub(crate) fn told(load: &Load, connections: usize) -> (u32, usize) {
        (load.busy(), load.fresh(connections))
    }
}

#[cfg(test)]
mod tests {
    use super::{Advice, Load, Placement, Placing};

    fn advice(own: usize, clients: usize, loads: &[u32], looks: u32) -> Advice {
        let mut placing = Placing::default();
        (0..looks).fold(Advice::Stay, |_, _| placing.look(own, clients, || clients, loads))
    }

    #[test]
    fn a_busy_worker_gives_to_the_idlest_one() {
        assert_eq!(advice(0, 100, &[900, 400, 100], 1), Advice::Stay, "it may pass");
        let given = |to, clients| Advice::Give { to, clients };
        assert_eq!(advice(0, 100, &[900, 400, 100], 2), given(2, 32));
        assert_eq!(advice(0, 10, &[1000, 500, 500], 2), given(1, 2));
        assert_eq!(advice(0, 2, &[1000, 0], 2), given(1, 1));
        assert_eq!(advice(0, 1, &[1000, 0], 2), Advice::Stay, "that would change nothing");
        assert_eq!(advice(0, 100, &[700, 600], 9), Advice::Stay, "nobody has much less");
        assert_eq!(advice(1, 100, &[1000, 100], 9), Advice::Stay);
    }

    #[test]
    fn only_clients_that_do_something_count() {
        let advice = |active| {
            let mut placing = Placing::default();
            placing.look(0, 100, || active, &[1000, 0]);
            placing.look(0, 100, || active, &[1000, 0])
        };
        assert_eq!(advice(4), Advice::Give { to: 1, clients: 2 });
        assert_eq!(advice(2), Advice::Give { to: 1, clients: 1 });
        assert_eq!(advice(1), Advice::Stay, "the other worker would be as busy with it");
        assert_eq!(advice(0), Advice::Stay);
        let gathered = |active| {
            let mut placing = Placing::default();
            let look = |_| placing.look(1, 100, || active, &[0, 50]);
            (0..Placing::CALM_LOOKS).map(look).last()
        };
        assert_eq!(gathered(3), Some(Advice::Give { to: 0, clients: 3 }));
        assert_eq!(gathered(100), Some(Advice::Give { to: 0, clients: Placing::GIVEN_MAX }));
        assert_eq!(gathered(0), Some(Advice::Stay), "they would only cost memory twice");
    }

    #[test]
    fn clients_gather_when_it_has_been_calm_for_a_while() {
        let loads = [50, 60, 0];
        assert_eq!(advice(1, 5, &loads, Placing::CALM_LOOKS - 1), Advice::Stay);
        let given = Advice::Give { to: 0, clients: 5 };
        assert_eq!(advice(1, 5, &loads, Placing::CALM_LOOKS), given);
        assert_eq!(advice(0, 5, &loads, Placing::CALM_LOOKS), Advice::Stay, "they are there");
        assert_eq!(advice(2, 0, &loads, Placing::CALM_LOOKS), Advice::Stay);
    }

    /// What the first worker has after all have gathered must not make it busy, and what is left
    /// after some were given away must not count as calm.
    #[test]
    fn between_calm_and_busy_nobody_moves() {
        const { assert!(2 * Placing::CALM <= Placing::BUSY) };
        for all in (Placing::CALM + 1..Placing::BUSY).step_by(7) {
            assert_eq!(advice(0, 100, &[all, 0], 100), Advice::Stay, "{all}");
            assert_eq!(advice(1, 100, &[all / 2, all - all / 2], 100), Advice::Stay, "{all}");
        }
    }

    #[test]
    fn a_worker_that_gets_new_connections_watches_the_listeners() {
        let watcher = |placement, busy: [u32; 3], connections: [usize; 3]| {
            Placing::watcher(placement, 3, |it| busy[it], |it| connections[it])
        };
        assert_eq!(watcher(Placement::Auto, [599, 0, 0], [9, 0, 0]), Some(0));
        assert_eq!(watcher(Placement::Auto, [600, 10, 0], [9, 9, 0]), Some(1));
        assert_eq!(watcher(Placement::Auto, [600; 3], [0; 3]), None, "all are busy");
        assert_eq!(watcher(Placement::Even, [999; 3], [9, 8, 7]), Some(0));
        assert_eq!(watcher(Placement::Even, [0; 3], [99, 8, 7]), Some(1));
    }

    #[test]
    fn new_connections_fill_one_worker_after_the_other() {
        let choose = |placement, loads: [(u32, usize); 3], connections: [usize; 3]| {
            Placing::choose(placement, 3, None, |it| loads[it], |it| connections[it])
        };
        assert_eq!(choose(Placement::Auto, [(10, 0), (0, 0), (0, 0)], [9, 0, 0]), 0);
        assert_eq!(choose(Placement::Auto, [(900, 0), (10, 3), (0, 0)], [9, 9, 0]), 1);
        assert_eq!(choose(Placement::Auto, [(0, 64), (0, 64), (0, 3)], [9, 9, 9]), 2, "a storm");
        assert_eq!(choose(Placement::Auto, [(900, 0), (900, 0), (900, 0)], [9, 8, 9]), 1);
        assert_eq!(choose(Placement::Even, [(0, 0), (0, 0), (0, 0)], [9, 8, 9]), 1);
    }

    #[test]
    fn connections_that_come_and_go_do_not_count() {
        let load = Load::default();
        assert_eq!(Placing::told(&load, 7), (0, 7));
        assert!(load.has_any(7));
        load.tell(0, 7);
        assert_eq!([5, 7, 9].map(|connections| Placing::told(&load, connections).1), [0, 0, 2]);
        assert!(!load.has_any(7));
        load.tell(1, 7);
        assert!(load.has_any(7));
    }

    #[test]
    fn a_worker_keeps_what_it_has_accepted_unless_it_has_more_than_others() {
        let choose = |own, connections: [usize; 3]| {
            let load = |_| (1000, 0);
            Placing::choose(Placement::Even, 3, own, load, |it| connections[it])
        };
        assert_eq!(choose(Some(2), [0, 0, 0]), 2);
        assert_eq!(choose(Some(2), [31, 31, 32]), 0, "it is one of a few");
        assert_eq!(choose(Some(2), [33, 32, 33]), 2, "it is one of many");
        assert_eq!(choose(Some(2), [640, 641, 660]), 2);
        assert_eq!(choose(Some(2), [640, 641, 661]), 0);
    }
}
