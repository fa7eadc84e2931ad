//! The subscriptions of the Sessions, and what their Clients are offered.

use midge_codec::Subscribe;

use crate::base::identity::{ConnectionId, GroupId, SessionId, SessionSlot};
use crate::boundary::store_records::StoreOp;
use crate::clients::Clients;
use crate::connection::capabilities::{Capabilities, Refusal};
use crate::session::Subscribed;

impl Clients {
    /// Takes a subscription out of its Session. The caller gives up what it holds elsewhere.
    pub(crate) fn take_subscription(&mut self, slot: SessionSlot, key: &str) -> Option<Subscribed> {
        let subscribed = self.session_mut(slot).unsubscribe(key)?;
        self.forget_stream(slot, key);
        Some(subscribed)
    }

    /// Writes to the store that a subscription has ended.
    pub(crate) fn forget_subscription(&mut self, slot: SessionSlot, key: &str) {
        if let Some(number) = self.session(slot).number() {
            let op = StoreOp::Unsubscribed { session: number.get(), filter: key.into() };
            self.rounds.keep(op);
        }
    }

    /// Takes back a subscription that a home has not granted, here and in the store.
    pub(crate) fn withdraw(&mut self, slot: SessionSlot, key: &str) {
        self.take_subscription(slot, key);
        self.forget_stream(slot, key);
        self.forget_subscription(slot, key);
    }

    /// Returns what is offered by the listener through which the Client of a Session connected.
    pub(crate) fn offered_to(&self, slot: SessionSlot) -> Capabilities {
        let connection = self.sessions[slot as usize].attached();
        let connection = connection.and_then(|id| self.connections.get(id.slot()));
        connection.map(|connection| connection.offer().capabilities).unwrap_or_default()
    }

    /// Checks the filters of a SUBSCRIBE from an MQTT 5 Client, which was told what is not offered,
    /// and breaks a rule if it asks for that. Other Clients are told filter by filter, in the
    /// SUBACK.
    pub(crate) fn check_offered_filters(
        &mut self,
        id: ConnectionId,
        packet: &Subscribe<'_>,
    ) -> Result<(), Refusal> {
        let connection = self.connection(id);
        let Some(connection) = connection.filter(|connection| connection.is_v5()) else {
            return Ok(());
        };
        let offered = connection.offer().capabilities;
        offered.check_identifier(packet.subscription_identifier.is_some())?;
        packet.subscriptions.iter().try_for_each(|entry| offered.check_filter(entry.filter))
    }

    /// Notes in a Session which group its subscription belongs to.
    pub(crate) fn set_group(&mut self, slot: SessionSlot, key: &str, group: GroupId) {
        self.session_mut(slot).set_group(key, group);
    }

    /// Whether the Client of a Session of this worker is connected.
    pub(crate) fn is_connected(&self, session: SessionId) -> bool {
        self.slot_of_receiver(session).is_some_and(|slot| self.is_online(slot))
    }
}
