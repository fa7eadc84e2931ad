//! What SUBSCRIBE and UNSUBSCRIBE packets wait for arrives: fences that other workers have passed,
//! answers, first retained messages, the store.

use crate::boundary::peer_messages::Ticket;
use crate::boundary::turn::Turn;
use crate::core::Core;

impl Core {
    pub(crate) fn handle_fence_passed(&mut self, ticket: Ticket, turn: &mut Turn) {
        for ticket in self.ground.pending.pass_fence(ticket, turn) {
            self.arrive(ticket, turn);
        }
    }

    /// Notes that one thing that a pending SUBSCRIBE or UNSUBSCRIBE waits for has come.
    pub(crate) fn arrive(&mut self, ticket: Ticket, turn: &mut Turn) {
        if let Some(subscribe) = self.ground.pending.arrive(ticket) {
            self.complete_subscribe(ticket, subscribe, turn);
        }
    }

    /// Goes on with the SUBSCRIBE packets whose first retained messages have come.
    pub(crate) fn take_arrivals_of_retained(&mut self, turn: &mut Turn) {
        while let Some(ticket) = self.router.retained.next_arrival() {
            self.arrive(ticket, turn);
        }
    }
}
