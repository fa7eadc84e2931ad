//! What the store keeps of a Session, besides its messages.
//!
//! Nothing here waits: whoever promises something about what is kept waits for the store.

use std::sync::Arc;

use crate::base::identity::{SessionId, SessionSlot};
use crate::base::time::Timestamp;
use crate::boundary::store_records::{SessionRecord, StoreOp, SubscriptionRecord, WillRecord};
use crate::clients::Clients;
use crate::session::outgoing::Outgoing;
use crate::session::{Session, Will};
use crate::waiting::rounds::Held;

impl Clients {
    /// Tells the store what may be sent soon, if it is time.
    #[inline]
    pub(crate) fn look_ahead(&mut self, slot: SessionSlot) {
        let session = &mut self.sessions[slot as usize];
        if session.number() == 0 || session.connection().is_none() {
            return;
        }
        let outgoing = session.outgoing_mut();
        if let Some(sent_before) = outgoing.and_then(Outgoing::tell_ahead) {
            let (number, durability) = (session.number(), session.durability());
            self.rounds.keep(StoreOp::SentAhead { session: number, sent_before });
            let held = Held::Ahead(self.session_id(slot), sent_before);
            self.rounds.hold(held, durability);
        }
    }

    /// Notes that the store knows that messages below `sent_before` may be sent.
    pub(crate) fn note_ahead(&mut self, session: SessionId, sent_before: u64) {
        if let Some(slot) = self.slot_of(session)
            && let Some(outgoing) = self.sessions[slot as usize].outgoing_mut()
        {
            outgoing.note_ahead(sent_before);
        }
    }

    /// Writes the present state of a Session in the store, without subscriptions and messages.
    pub(crate) fn store_record(&mut self, slot: SessionSlot) {
        let session = &self.sessions[slot as usize];
        if session.number() > 0 {
            // After the end of an earlier Will Message, which may wait for other workers.
            let op = StoreOp::Session(Box::new(record_of(session)));
            self.rounds.keep_behind_round(op);
            let session = &mut self.sessions[slot as usize];
            let (number, durability) = (session.number(), session.durability());
            let outgoing = session.outgoing_mut();
            if let Some(sent_before) = outgoing.and_then(Outgoing::tell_ahead_again) {
                let op = StoreOp::SentAhead { session: number, sent_before };
                self.rounds.keep_behind_round(op);
                let held = Held::Ahead(self.session_id(slot), sent_before);
                self.rounds.hold(held, durability);
            }
        }
    }

    pub(crate) fn store_subscriptions(&mut self, slot: SessionSlot) {
        let session = &self.sessions[slot as usize];
        let number = session.number();
        for (filter, subscribed) in session.subscriptions() {
            let subscription = SubscriptionRecord {
                filter: filter.clone(),
                options: subscribed.options,
                identifier: subscribed.identifier,
            };
            let op = StoreOp::Subscribed { session: number, subscription };
            self.rounds.keep(op);
        }
    }

    /// Tells the store that the Network Connection of a Session that lives on has ended.
    pub(crate) fn store_detached(&mut self, slot: SessionSlot, now: Timestamp) {
        let session = &mut self.sessions[slot as usize];
        if session.number() == 0 {
            return;
        }
        let outgoing = session.outgoing_mut();
        let sent_before = outgoing.map_or(0, |outgoing| {
            outgoing.leave_to_store();
            outgoing.sent().to_store()
        });
        let op = StoreOp::Detached { session: session.number(), at: now, sent_before };
        self.rounds.keep_behind_round(op);
    }

    /// Tells the store that the Will Message of a Session is published, or is not to be.
    pub(crate) fn forget_will(&mut self, slot: SessionSlot) {
        let session = self.sessions[slot as usize].number();
        if session > 0 {
            // After what others have kept of the Will Message: it must not be lost between the two.
            self.rounds.keep_behind_round(StoreOp::WillGone { session });
        }
    }
}

pub(crate) fn record_of(session: &Session) -> SessionRecord {
    SessionRecord {
        number: session.number(),
        client_id: session.identity().client_id.clone(),
        user_name: session.identity().user_name.clone(),
        expiry_seconds: session.expiry_seconds(),
        will: session.will().map(|will: &Will| WillRecord {
            message: Arc::clone(&will.message),
            delay_seconds: will.delay_seconds,
            expiry_seconds: will.expiry_seconds,
        }),
    }
}
