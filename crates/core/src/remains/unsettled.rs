//! Sessions that have ended without the store knowing it yet.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::durability::Durability;
use crate::base::identity::Identity;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::remains::Remains;
use crate::session::Session;
use crate::waiting::rounds::Held;

/// Sessions that have ended, though the store may not know it yet. Until it does, their Clients are
/// not told, and no other worker may have these Clients.
#[derive(Debug, Default)]
pub(crate) struct UnsettledEnds {
    by_client_id: HashMap<Box<str>, UnsettledEnd, foldhash::fast::FixedState>,
}

#[derive(Debug)]
struct UnsettledEnd {
    /// How many Sessions of this Client have ended without the store knowing it yet.
    count: u32,
    /// The strongest promise that any of these Sessions had.
    durability: Durability,
}

impl UnsettledEnds {
    fn note(&mut self, client_id: &str, durability: Durability) {
        let new = UnsettledEnd { count: 0, durability };
        let end = self.by_client_id.entry_ref(client_id).or_insert(new);
        end.count += 1;
        end.durability = end.durability.max(durability);
    }

    /// Notes that the store knows of one ended Session of this Client. True if it was the last one.
    fn settle(&mut self, client_id: &str) -> bool {
        let Some(end) = self.by_client_id.get_mut(client_id) else {
            return false;
        };
        end.count -= 1;
        let is_last = end.count == 0;
        if is_last {
            self.by_client_id.remove(client_id);
        }
        is_last
    }

    /// Returns what durability is needed before this Client may be told that its Session is gone.
    /// `None` if the store knows of all ends.
    pub(crate) fn durability(&self, client_id: &str) -> Option<Durability> {
        self.by_client_id.get(client_id).map(|end| end.durability)
    }
}

impl Remains {
    /// Notes that a Session with this number in the store has ended; the store is told so in this
    /// round.
    pub(crate) fn note_unsettled_end(
        &mut self,
        ground: &mut Ground,
        session: &Session,
        number: u64,
    ) {
        let (client, durability) = (session.identity(), session.durability());
        self.unsettled.note(&client.client_id, durability);
        ground.clients.rounds.hold(Held::Ended(Arc::clone(client), number), durability);
    }

    /// Notes that the store knows of the end of a Session. After the last one, any worker may have
    /// the Client.
    pub(crate) fn settle_end(&mut self, client: Arc<Identity>, turn: &mut Turn) {
        if self.unsettled.settle(&client.client_id) {
            turn.fx.disowned.push(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::UnsettledEnds;
    use crate::base::durability::Durability::{Fsync, Interval};

    #[test]
    fn the_strongest_promise_counts_until_the_last_end_is_settled() {
        let mut ends = UnsettledEnds::default();
        assert_eq!(ends.durability("a"), None);
        ends.note("a", Fsync);
        ends.note("a", Interval);
        assert_eq!(ends.durability("a"), Some(Fsync));
        assert!(!ends.settle("a"));
        assert_eq!(ends.durability("a"), Some(Fsync));
        assert!(ends.settle("a"));
        assert_eq!(ends.durability("a"), None);
        assert!(!ends.settle("a"), "of what was never noted nothing is left");
    }
}
