//! What SUBSCRIBE and UNSUBSCRIBE packets wait for arrives: fences that other workers have passed,
//! answers, first retained messages, the store.

use crate::base::identity::WorkerId;
use crate::boundary::peer_messages::Ticket;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::route::Router;
use crate::subscribe::Subscriptions;

impl Subscriptions {
    /// Handles the answer of another worker to a fence.
    pub(crate) fn handle_fence_passed(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        by: WorkerId,
        ticket: Ticket,
        turn: &mut Turn,
    ) {
        for ticket in ground.pending.pass_fence(by, ticket, turn) {
            self.arrive(router, ground, ticket, turn);
        }
    }

    /// Ends a turn: raises the fence behind everything that it has told the other workers.
    pub(crate) fn raise_fence(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        turn: &mut Turn,
    ) {
        let others = ground.other_workers();
        for ticket in ground.pending.raise_fence(others, turn) {
            self.arrive(router, ground, ticket, turn);
        }
    }

    /// Notes that one thing that a pending SUBSCRIBE or UNSUBSCRIBE waits for has come.
    pub(crate) fn arrive(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        ticket: Ticket,
        turn: &mut Turn,
    ) {
        if let Some(subscribe) = ground.pending.arrive(ticket) {
            self.complete_subscribe(router, ground, ticket, subscribe, turn);
        }
    }

    /// Goes on with the SUBSCRIBE packets whose first retained messages have come.
    pub(crate) fn take_retained_arrivals(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        turn: &mut Turn,
    ) {
        while let Some(ticket) = router.retained.next_arrival() {
            self.arrive(router, ground, ticket, turn);
        }
    }
}
