//! The topics below `$SYS`, in which the broker reports its state.
//!
//! Each worker is given all of them from time to time and delivers them to its own Clients: as
//! retained messages to a new subscription, and live when they have changed. No Client has
//! published them: they pass the delivery gate, but count against no limit. No store keeps them,
//! and no Session queues them.

use crate::boundary::turn::Turn;
use crate::core::Core;

impl Core {
    /// Sets what topics below `$SYS` say from now on, and delivers what has changed. All workers of
    /// a node are given the same.
    pub fn set_own_topics<'t>(
        &mut self,
        topics: impl IntoIterator<Item = (&'t str, &'t str)>,
        turn: &mut Turn,
    ) {
        for (topic, text) in topics {
            if let Some(message) = self.router.retained.own_topics.set(topic, text, &self.broker) {
                self.router.route_own(&mut self.ground, &message, turn);
            }
        }
        let edition = self.router.retained.own_topics.edition();
        self.ground.clients.crossings.forget_editions(edition);
    }
}
