//! From a publication to everybody who gets it.
//!
//! A publication first passes the publish gate here; a delayed one, once more when it is due.
//! Nothing here decides by itself whether a Client may publish or receive.

pub(crate) mod delayed;
pub(crate) mod put_off;
pub(crate) mod routing;

use crate::base::delivery::Delivery;
use crate::base::identity::SessionSlot;
use crate::boundary::store_records::StoredDelivery;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::retained::Retained;
use crate::route::delayed::Delayed;
use crate::route::put_off::PutOff;
use crate::shared::Shared;
use crate::tree::subscription_tree::MatchScratch;

/// Where admitted publications go.
pub(crate) struct Router {
    pub(crate) shared: Shared,
    pub(crate) retained: Retained,
    pub(crate) delayed: Delayed,
    pub(crate) put_off: PutOff,
    scratch: MatchScratch,
    match_stamp: u64,
}

impl Router {
    pub(crate) fn new(shared: Shared, retained: Retained, put_off: PutOff) -> Self {
        Self {
            shared,
            retained,
            delayed: Delayed::default(),
            put_off,
            scratch: MatchScratch::default(),
            match_stamp: 0,
        }
    }

    /// Goes on with a Session that may take more: from its queue, then the retained messages that
    /// it has asked for.
    pub(crate) fn go_on(&mut self, ground: &mut Ground, slot: SessionSlot, turn: &mut Turn) {
        ground.clients.pump(slot, turn);
        self.retained.requests.wake(ground.clients.session_id(slot));
    }

    /// Moves waiting messages to other streams, as their subscriptions may have moved there.
    pub(crate) fn go_on_with_streams(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        turn: &mut Turn,
    ) {
        if ground.clients.control_with_streams(slot).is_none() {
            return;
        }
        if let Some(outgoing) = ground.clients.session_mut(slot).outgoing_mut() {
            outgoing.forget_streams();
        }
        self.go_on(ground, slot, turn);
    }

    /// Returns a delivery that the store has kept.
    pub(crate) fn delivery_of(&self, stored: StoredDelivery) -> Delivery {
        let StoredDelivery { message, qos, retain, identifiers, group } = stored;
        let group = group.and_then(|number| self.shared.groups.by_number(number));
        Delivery { message, qos, retain, identifiers, group }
    }
}
