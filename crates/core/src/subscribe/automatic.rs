//! Subscriptions that the configuration makes for every Client. They are made after the CONNACK
//! like any other, but no packet asks for them and none answers.

use std::sync::Arc;

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::boundary::effects::Event;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::route::Router;
use crate::subscribe::Subscriptions;
use crate::subscribe::subscribing::Asking;

impl Subscriptions {
    /// Makes the subscriptions that the configuration lists for every Client.
    pub(crate) fn subscribe_automatically(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        id: ConnectionId,
        slot: SessionSlot,
        turn: &mut Turn,
    ) {
        let topics = Arc::clone(&ground.config.topics);
        if topics.subscriptions.is_empty() {
            return;
        }
        let identity = Arc::clone(ground.clients.session(slot).identity());
        let mut filters = Vec::with_capacity(topics.subscriptions.len());
        for subscription in &topics.subscriptions {
            match subscription.filter_for(&identity) {
                Ok(filter) => filters.push((filter, subscription.options)),
                Err(detail) => turn.fx.events.push(Event::NotSubscribed {
                    client: Arc::clone(&identity),
                    filter: subscription.filter.as_str().into(),
                    detail,
                }),
            }
        }
        let filters = filters.iter().map(|(filter, options)| (filter.as_str(), *options));
        let asking = Asking { connection: id, slot, identifier: None };
        self.subscribe(router, ground, asking, filters, turn);
    }
}
