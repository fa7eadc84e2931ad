//! What becomes known of a message that did not reach somebody.
//!
//! Code that gives up a message, or a copy of one, calls [`Clients::note_drop`]. That counts the
//! drop under a [`DropReason`], and notes for the log of this turn whom it concerns.

use std::sync::Arc;

use crate::base::drop_reason::DropReason;
use crate::base::identity::{ConnectionId, Identity, SessionSlot};
use crate::boundary::effects::Event;
use crate::boundary::turn::Turn;
use crate::clients::Clients;

/// Whom a drop concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Party<'p> {
    /// The Session that does not get the message.
    Receiver(SessionSlot),
    /// A receiver that is gone, or its Session.
    Former(&'p Arc<Identity>),
    /// The publisher whose message is refused.
    Publisher(&'p Arc<Identity>),
    Nobody,
}

impl Clients {
    /// Counts a dropped message, and reports it.
    pub(crate) fn note_drop(
        &mut self,
        party: Party<'_>,
        topic: &str,
        reason: DropReason,
        turn: &mut Turn,
    ) {
        self.note_drops(party, topic, reason, 1, turn);
    }

    /// Does the same for several messages.
    pub(crate) fn note_drops(
        &mut self,
        party: Party<'_>,
        topic: &str,
        reason: DropReason,
        count: u64,
        turn: &mut Turn,
    ) {
        self.counters.drop_messages(reason, count);
        if count == 0 || !reason.is_loss() && !self.tell_drops {
            return;
        }
        let (receiver, publisher) = match party {
            Party::Receiver(slot) => (Some(self.sessions[slot as usize].identity()), None),
            Party::Former(identity) => (Some(identity), None),
            Party::Publisher(identity) => (None, Some(identity)),
            Party::Nobody => (None, None),
        };
        if self.tell_drops {
            let (receiver, publisher) = (receiver.cloned(), publisher.cloned());
            let topic = topic.into();
            turn.fx.events.push(Event::Dropped { receiver, publisher, topic, reason, count });
        }
        if reason.is_loss() {
            let client = receiver.or(publisher);
            turn.fx.note_drops(client, publisher.is_some(), topic, reason, count);
        }
    }

    /// Gives up what a connection has to write. The messages of QoS 0 in it are lost to `receiver`;
    /// the others are still its Session's.
    pub(crate) fn drop_output(
        &mut self,
        id: ConnectionId,
        receiver: Option<&Arc<Identity>>,
        reason: DropReason,
        turn: &mut Turn,
    ) {
        let Some((connection, pool)) = self.connection_and_pool(id) else {
            return;
        };
        let output = connection.output_mut();
        let count = receiver.map_or(0, |_| output.count_qos0(&pool.turn));
        output.clear(pool);
        let party = receiver.map_or(Party::Nobody, Party::Former);
        self.note_drops(party, "", reason, count, turn);
    }
}
