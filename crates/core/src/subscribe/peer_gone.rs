//! What becomes of SUBSCRIBE and UNSUBSCRIBE packets when a worker is gone that had a part in them.
//! None of them must wait for it, and none must be granted what only it could have granted.

use midge_codec::{PacketType, ReasonCode};

use crate::base::identity::{SessionSlot, WorkerId};
use crate::boundary::peer_messages::Ticket;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::route::Router;
use crate::session::SubscriptionKind;
use crate::subscribe::Subscriptions;
use crate::topics::filter_request::EXCLUSIVE_PREFIX;
use crate::waiting::pending::RemoteStep;

impl Subscriptions {
    /// Takes a worker that is gone out of everything that waits for it.
    pub(crate) fn forget_worker(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        gone: WorkerId,
        turn: &mut Turn,
    ) {
        let (passed, undecided) = ground.pending.forget_worker(gone, turn);
        for ticket in undecided {
            self.give_up_step(router, ground, ticket, turn);
        }
        for subscribe in passed {
            self.arrive(router, ground, subscribe, turn);
        }
    }

    /// Answers in place of a home that is gone: a subscription that it has not granted is refused,
    /// and one that ends has ended.
    fn give_up_step(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        turn: &mut Turn,
    ) {
        let Some((step, slot)) = ground.resume_step(ticket) else {
            return;
        };
        let answer = ground.pending.subscribe(step.subscribe).map(|it| it.answer());
        if answer == Some(PacketType::UnsubAck) {
            return self.arrive(router, ground, step.subscribe, turn);
        }
        if let Some(slot) = slot {
            self.give_up_subscription(ground, slot, &step, turn);
        }
        let code = ReasonCode::ImplementationSpecificError;
        self.answer_step(router, ground, &step, code, turn);
    }

    fn give_up_subscription(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        step: &RemoteStep,
        turn: &mut Turn,
    ) {
        let subscribed = ground.clients.session(slot).subscriptions().get(&step.key);
        match subscribed.map(|subscribed| subscribed.kind) {
            // The subscription that it replaced goes on as it was.
            Some(SubscriptionKind::Shared(Some(_))) => (),
            Some(SubscriptionKind::Exclusive) => self.withdraw_claim(ground, slot, &step.key, turn),
            Some(_) => ground.clients.withdraw(slot, &step.key),
            None => (),
        }
    }

    /// Takes back an exclusive subscription that was not granted.
    pub(super) fn withdraw_claim(
        &mut self,
        ground: &mut Ground,
        slot: SessionSlot,
        key: &str,
        turn: &mut Turn,
    ) {
        ground.clients.withdraw(slot, key);
        // An earlier claim may have been granted and given up since.
        let filter = key.strip_prefix(EXCLUSIVE_PREFIX).unwrap_or(key);
        self.remove_from_tree(ground, slot, filter, turn);
    }

    /// Handles the answer of the home of a shared subscription that no worker chooses the member
    /// any more.
    pub(crate) fn handle_shared_left(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        turn: &mut Turn,
    ) {
        if let Some(step) = ground.pending.take_step(ticket) {
            self.arrive(router, ground, step.subscribe, turn);
        }
    }
}
