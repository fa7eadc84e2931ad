//! Pages of a queue in the store that is searched for what has expired.

use std::num::NonZeroU64;

use crate::base::drop_reason::DropReason;
use crate::base::identity::SessionSlot;
use crate::boundary::store_records::{Fetched, FetchedEntry, StoredDelivery};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::core::Core;

impl Core {
    /// Takes a page if it belongs to the queue that is being swept. True if it does.
    pub(crate) fn take_page(&mut self, fetched: &Fetched, turn: &mut Turn) -> bool {
        let is_it = self.ground.clients.end_sweep_fetch(fetched.session, fetched.ticket);
        if is_it {
            if let Some(slot) = self.ground.clients.slot_of(fetched.session) {
                self.sweep_page(slot, fetched, turn);
            }
            self.ground.clients.run_sweeps(turn);
        }
        is_it
    }

    fn sweep_page(&mut self, slot: SessionSlot, page: &Fetched, turn: &mut Turn) {
        let Some(outgoing) = self.ground.clients.session_mut(slot).outgoing_mut() else {
            return;
        };
        if !outgoing.takes_page(page.ticket) {
            return; // a connection has begun or ended meanwhile
        }
        let over: Vec<(u64, &StoredDelivery)> = {
            let over =
                page.entries.iter().filter_map(|FetchedEntry { sequence, delivery, .. }| {
                    let delivery = delivery.as_ref()?;
                    outgoing.sweep(*sequence, delivery, turn.now).then_some((*sequence, delivery))
                });
            over.collect()
        };
        let goes_on = outgoing.end_page(page.next, turn.now);
        for (sequence, delivery) in over {
            let group =
                delivery.group.and_then(|number| self.router.shared.groups.by_number(number));
            let topic = delivery.message.topic();
            self.ground.clients.note_drop(Party::Receiver(slot), topic, DropReason::Expired, turn);
            self.ground.clients.note_failure(slot, group);
            self.ground.clients.forget_stored(slot, NonZeroU64::new(sequence));
        }
        if goes_on {
            self.ground.clients.sweep_on(page.session);
        }
        // Sending goes first: it may end the sweep, which begins anew when needed.
        self.router.go_on(&mut self.ground, slot, turn);
    }
}
