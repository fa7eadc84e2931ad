//! What all threads of a run share: the history, where the broker is, in which phase the run is,
//! and whether somebody has given the nemesis an occasion.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::history::{History, What};

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) history: History,
    pub(crate) port: u16,
    phase: AtomicU8,
    /// For each Client, whether it waits for an answer while things settle.
    pub(crate) is_busy: Vec<AtomicBool>,
    occasion: (Mutex<bool>, Condvar),
}

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Everybody connects and subscribes; nothing goes wrong.
    SetUp,
    /// Everybody works, and everything goes wrong.
    Chaos,
    /// Nothing goes wrong any more; nobody publishes anything new, and all receive what is theirs.
    Settling,
    Over,
}

impl Scene {
    pub(crate) fn new(history: History, port: u16, clients: usize) -> Self {
        Self {
            history,
            port,
            phase: AtomicU8::new(Phase::SetUp as u8),
            is_busy: (0..clients).map(|_| AtomicBool::new(true)).collect(),
            occasion: Default::default(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::SetUp,
            1 => Phase::Chaos,
            2 => Phase::Settling,
            _ => Phase::Over,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.is_busy.iter().for_each(|it| it.store(true, Ordering::SeqCst));
        self.phase.store(phase as u8, Ordering::SeqCst);
        self.offer();
    }

    /// Returns how many Clients still wait for an answer.
    pub(crate) fn busy(&self) -> usize {
        self.is_busy.iter().filter(|it| it.load(Ordering::SeqCst)).count()
    }

    /// Offers an occasion: after what has just happened, a kill is most instructive.
    pub(crate) fn offer(&self) {
        *self.occasion.0.lock().unwrap() = true;
        self.occasion.1.notify_all();
    }

    /// Waits for an occasion that comes from now on, but no longer than `patience`.
    pub(crate) fn wait_for_occasion(&self, patience: Duration) {
        let mut occasion = self.occasion.0.lock().unwrap();
        *occasion = false;
        let deadline = Instant::now() + patience;
        while !*occasion {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            occasion = self.occasion.1.wait_timeout(occasion, left).unwrap().0;
        }
    }

    pub(crate) fn note_pace(&self, each_ms: u32) {
        let at = self.history.now();
        let event = crate::history::Event::of_broker(at, What::Pace(each_ms));
        self.history.lock().events.push(event);
    }
}
