//! Looks at the clocks once a second, outside the workers. It tells the store that the broker is
//! alive and when the machine's clock was set, and wakes the workers after the machine was
//! suspended. It never decides what follows.

use std::sync::Arc;
use std::time::Instant;

use midge_core::Timestamp;
use midge_store::Engine;

use crate::clock::Clock;
use crate::inbox::{Inbox, Letter};
use crate::storage::{Order, Orders};

/// The state of what looks at the clocks.
pub(crate) struct Pulse {
    clock: Clock,
    inboxes: Arc<[Arc<Inbox>]>,
    /// The way to the store, if there is one.
    orders: Option<Arc<Orders>>,
    /// When the store was told last, and how far the time of day was ahead of the clock then.
    told: (Timestamp, i128),
    /// When the clocks were last looked at, by two clocks: one of them stands still while the
    /// machine is suspended, and so do waiting threads.
    looked: (Timestamp, Instant),
}

impl Pulse {
    /// How far the clock must have been set, or how long the machine suspended, to be noted.
    const STEP_MS: u64 = 1000;

    pub(crate) fn new(
        clock: Clock,
        inboxes: Arc<[Arc<Inbox>]>,
        orders: Option<Arc<Orders>>,
    ) -> Self {
        let now = clock.now();
        let told = (now, ahead(&clock).1);
        Self { clock, inboxes, orders, told, looked: (now, Instant::now()) }
    }

    pub(crate) fn look(&mut self) {
        let (now, ahead) = ahead(&self.clock);
        if let Some(orders) = &self.orders {
            let is_set = ahead.abs_diff(self.told.1) >= u128::from(Self::STEP_MS);
            if is_set {
                log::warn!("the machine's clock was set; intervals that run are not changed by it");
            }
            if is_set || now - self.told.0 >= Engine::BEAT_MS {
                self.told = (now, ahead);
                orders.send([Order::Beat]);
            }
        }
        let (then, instant) = self.looked;
        let awake = u64::try_from(instant.elapsed().as_millis()).unwrap_or(u64::MAX);
        if (now - then).saturating_sub(awake) >= Self::STEP_MS {
            // Workers wait for deadlines by the clock that stood still.
            self.inboxes.iter().for_each(|inbox| inbox.send(Letter::Wake));
        }
        self.looked = (now, Instant::now());
    }
}

/// Returns the time, and how many milliseconds the time of day is ahead of it.
fn ahead(clock: &Clock) -> (Timestamp, i128) {
    let (now, reading) = clock.read();
    (now, i128::from(reading.wall_ms) - i128::from(now.as_millis()))
}
