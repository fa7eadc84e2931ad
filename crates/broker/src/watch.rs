//! Looks at memory, refusals and clocks once a second, outside the workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use midge_core::counted;
use midge_net::{ListenerControl, Refusal};

use crate::inbox::{Inbox, Letter};
use crate::memory::MemoryGauge;
use crate::memory::unfinished::Unfinished;
use crate::program::guard::note_thread;
use crate::pulse::Pulse;

/// What was logged about a listener: refusals in the order of [`Refusal::ALL`], and failed
/// handshakes.
type Told = ([u64; Refusal::ALL.len()], u64);

/// The state of what looks once a second.
pub(crate) struct Watch {
    memory: Arc<MemoryGauge>,
    unfinished: Arc<Unfinished>,
    pulse: Pulse,
    inboxes: Arc<[Arc<Inbox>]>,
    listeners: Arc<ListenerControl>,
    /// Connections beyond the broker's own limit; `beyond_told` of them were logged already.
    beyond: Arc<AtomicU64>,
    beyond_told: u64,
    last_look: Instant,
    /// What was logged already, by the numbers of the listeners.
    told: BTreeMap<usize, Told>,
}

impl Watch {
    const INTERVAL: Duration = Duration::from_secs(1);

    pub(crate) fn new(
        memory: Arc<MemoryGauge>,
        unfinished: Arc<Unfinished>,
        inboxes: Arc<[Arc<Inbox>]>,
        listeners: Arc<ListenerControl>,
        beyond: Arc<AtomicU64>,
        pulse: Pulse,
    ) -> Self {
        Self {
            memory,
            unfinished,
            pulse,
            inboxes,
            listeners,
            beyond,
            beyond_told: 0,
            last_look: Instant::now(),
            told: BTreeMap::new(),
        }
    }

    /// Looks, if a second has passed. The thread that accepts connections calls this first of all.
    pub(crate) fn look(&mut self) {
        note_thread();
        if self.last_look.elapsed() < Self::INTERVAL {
            return;
        }
        self.last_look = Instant::now();
        self.pulse.look();
        if let Some(shortage) = self.memory.look() {
            self.inboxes.iter().for_each(|inbox| inbox.send(Letter::Shortage(shortage)));
        }
        if self.unfinished.is_waited_for() {
            // Connections that keep others waiting may belong to a worker that has nothing to do.
            self.inboxes.iter().for_each(|inbox| inbox.send(Letter::Look));
        }
        self.tell_refusals();
    }

    /// Logs one line a second for each reason, however many refusals there were.
    fn tell_refusals(&mut self) {
        let beyond = self.beyond.load(Ordering::Relaxed);
        if beyond > self.beyond_told {
            let count = beyond - self.beyond_told;
            let connections = counted(count, "connection");
            log::warn!("{connections} refused: limits.connections_max is reached");
            self.beyond_told = beyond;
        }
        let figures = self.listeners.figures();
        self.told.retain(|number, _| figures.iter().any(|(it, ..)| it == number));
        for (number, address, figures) in &figures {
            let (told, told_failed) = self.told.entry(*number).or_default();
            for ((refusal, count), told) in figures.refused.iter().zip(told) {
                if *count > *told {
                    let connections = counted(*count - *told, "connection");
                    log::warn!("{address}: {connections} refused: {refusal}");
                }
                *told = *count;
            }
            let failed = figures.failed_handshakes.saturating_sub(*told_failed);
            if failed > 0 {
                log::debug!("{address}: handshakes that failed: {failed}");
            }
            *told_failed = figures.failed_handshakes;
        }
    }
}
