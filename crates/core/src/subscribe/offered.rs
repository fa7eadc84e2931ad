//! Whether what a SUBSCRIBE asks for is offered to its Client at all.

use midge_codec::Subscribe;

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::connection::capabilities::{Capabilities, Refusal};
use crate::ground::Ground;
use crate::subscribe::Subscriptions;

impl Subscriptions {
    /// Checks the filters of a SUBSCRIBE from an MQTT 5 Client, which was told what is not offered,
    /// and breaks a rule if it asks for that. Other Clients are told filter by filter, in the
    /// SUBACK.
    pub(crate) fn check_offered_filters(
        &mut self,
        ground: &mut Ground,
        id: ConnectionId,
        packet: &Subscribe<'_>,
    ) -> Result<(), Refusal> {
        let connection = ground.clients.connection(id);
        let Some(connection) = connection.filter(|connection| connection.is_v5()) else {
            return Ok(());
        };
        let offered = connection.offer.capabilities;
        offered.check_identifier(packet.subscription_identifier.is_some())?;
        packet.subscriptions.iter().try_for_each(|entry| offered.check_filter(entry.filter))
    }

    /// Returns what is offered by the listener through which the Client of a Session connected.
    pub(crate) fn offered_to(&self, ground: &Ground, slot: SessionSlot) -> Capabilities {
        let connection = ground.clients.sessions[slot as usize].connection;
        let connection = connection.and_then(|id| ground.clients.connections.get(id.slot()));
        connection.map(|connection| connection.offer.capabilities).unwrap_or_default()
    }
}
