//! What is reported about messages that did not reach somebody. Similar drops of a turn become one
//! [`DropNote`], so that a Client that takes nothing costs no allocation for each message.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::base::drop_reason::DropReason;
use crate::base::identity::Identity;
use crate::boundary::effects::Effects;

/// Messages that were dropped in one turn, for the same reason, and concern the same Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropNote {
    /// The Client that should have received them or, if `is_refusal`, that published them; absent
    /// if it was nobody in particular, or if too many Clients were concerned.
    pub client: Option<Arc<Identity>>,
    /// Whether the messages were refused from `client`, rather than not delivered to it.
    pub is_refusal: bool,
    /// The topic of the first message; empty if it is not known any more.
    pub topic: Box<str>,
    /// Why.
    pub reason: DropReason,
    /// How many messages.
    pub count: u64,
}

impl Effects {
    /// From this many notes in one turn on, new ones name no Client: further drops for the same
    /// reason share one.
    const DROP_NOTES_MAX: usize = 64;

    /// Notes for the log that `count` messages were dropped, together with similar drops of this
    /// turn.
    pub(crate) fn note_drops(
        &mut self,
        client: Option<&Arc<Identity>>,
        is_refusal: bool,
        topic: &str,
        reason: DropReason,
        count: u64,
    ) {
        if self.drops.is_empty() {
            self.drop_index.0.clear(); // the driver has taken them
        }
        let has_room = self.drops.len() < Self::DROP_NOTES_MAX;
        let mut add = |client| {
            let index = self.drop_index.0.get(&DropIndex::key(client, is_refusal, reason));
            let note = index.and_then(|&index| self.drops.get_mut(index));
            note.map(|note| note.count += count)
        };
        if add(client).or_else(|| if has_room { None } else { add(None) }).is_none() {
            let client = client.filter(|_| has_room);
            let key = DropIndex::key(client, is_refusal, reason);
            self.drop_index.0.insert(key, self.drops.len());
            let (client, topic) = (client.map(Arc::clone), topic.into());
            self.drops.push(DropNote { client, is_refusal, topic, reason, count });
        }
    }
}

/// The indices of the notes of one turn, so that a fan-out to many absent Clients does not search
/// all notes for each of them.
#[derive(Default)]
pub(crate) struct DropIndex(HashMap<DropKey, usize, foldhash::fast::FixedState>);

/// Whom the drop concerns (the address of the identity in the note, 0 for nobody), whether it is a
/// refusal, and why.
type DropKey = (usize, bool, DropReason);

impl DropIndex {
    fn key(client: Option<&Arc<Identity>>, is_refusal: bool, reason: DropReason) -> DropKey {
        (client.map_or(0, |client| Arc::as_ptr(client).addr()), is_refusal, reason)
    }
}

impl fmt::Debug for DropIndex {
    /// Shows no addresses, since they differ in each run.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("DropIndex").field(&self.0.len()).finish()
    }
}
