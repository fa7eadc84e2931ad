//! How many bytes a Network Connection holds, about.

use crate::connection::accepted::AcceptedConnect;
use crate::connection::{Connection, PendingConnect, PendingWill, Phase};

impl Connection {
    /// Counts what waits to be written, the topic aliases of both directions, and what is kept
    /// until the CONNECT is answered.
    pub(crate) fn held_bytes(&self) -> usize {
        let incoming = self.incoming_aliases_bytes();
        let outgoing = self.outgoing_aliases.as_ref().map_or(0, |aliases| aliases.bytes());
        self.output.held_bytes() + incoming + outgoing + self.phase.held_bytes()
    }
}

impl Phase {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Authenticating(pending) => pending.held_bytes(),
            Self::Accepted(accepted) => accepted.held_bytes(),
            _ => 0,
        }
    }
}

impl PendingConnect {
    fn held_bytes(&self) -> usize {
        let will = |it: &PendingWill| it.topic.len() + it.properties.len() + it.payload.len();
        self.client_id.len() + self.will.as_ref().map_or(0, will)
    }
}

impl AcceptedConnect {
    fn held_bytes(&self) -> usize {
        self.connack.len() + self.earlier.as_ref().map_or(0, |earlier| earlier.will.message.size())
    }
}
