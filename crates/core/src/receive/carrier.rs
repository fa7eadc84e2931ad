//! What a PUBLISH needs to know of the Network Connection that it has come by: looked up once for
//! each packet, however many steps ask.

use crate::base::durability::Durability;
use crate::base::identity::ConnectionId;
use crate::connection::capabilities::Capabilities;
use crate::connection::{Connection, Told};

/// A Network Connection as it was when a PUBLISH came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    pub(crate) id: ConnectionId,
    pub(crate) is_v5: bool,
    pub(crate) is_bridge: bool,
    /// An earlier message of it got no answer.
    pub(crate) is_unanswered: bool,
    /// How many PUBACKs are held back.
    pub(crate) held_pubacks: u32,
    pub(crate) capabilities: Capabilities,
    /// What its listener promises, if it says so.
    pub(crate) durability: Option<Durability>,
    pub(crate) told: Told,
}

impl Carrier {
    /// Returns what there is to know of this connection. It may be a data stream, which has all of
    /// that from its control stream but for one thing: only there an answer is said to be missing.
    #[inline]
    pub(crate) fn of(connection: &Connection) -> Self {
        let offer = connection.offer();
        Self {
            id: connection.id(),
            is_v5: connection.is_v5(),
            is_bridge: connection.is_bridge(),
            is_unanswered: connection.is_unanswered(),
            held_pubacks: connection.held_pubacks(),
            capabilities: offer.capabilities,
            durability: offer.durability,
            told: offer.told,
        }
    }
}
