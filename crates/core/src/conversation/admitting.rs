//! Admission of Clients: the Session of a Client is counted once all other checks have passed.
//! Packets are checked for too many User Properties here as well. This module must never touch
//! anything that belongs to a Client that it refuses.

use std::num::NonZeroU64;
use std::sync::Arc;

use midge_codec::{Packet, ReasonCode, UserProperties};

use crate::base::identity::{ConnectionId, Identity};
use crate::base::time::Timestamp;
use crate::base::timers::Kind;
use crate::boundary::turn::Turn;
use crate::connection::capabilities::Refusal;
use crate::connection::{PendingConnect, Phase};
use crate::conversation::connect::Terms;
use crate::core::Core;

impl Core {
    /// Returns the Network Connection of the Session with this Client Identifier, if it has one.
    pub fn connection_of(&self, client_id: &str) -> Option<ConnectionId> {
        let slot = self.ground.clients.session_by_client_id(client_id)?;
        self.ground.clients.session(slot).attached_or_accepted()
    }

    /// Returns the Client Identifier of a CONNECT whose authentication is not decided yet.
    pub fn authenticating_client_id(&self, id: ConnectionId) -> Option<&str> {
        let connection = self.ground.clients.connection(id)?;
        match connection.phase() {
            Phase::Authenticating(pending) => Some(&pending.client_id),
            _ => None,
        }
    }

    /// Sets the time by which a CONNECT that was kept waiting has to be decided.
    pub fn set_connect_deadline(&mut self, id: ConnectionId, at: Timestamp) {
        if self.awaits_connect(id) {
            self.set_connection_timer(id, at);
        }
    }

    /// Admits an authenticated Client, or says why it is refused.
    pub(crate) fn admit<'d>(
        &mut self,
        id: ConnectionId,
        identity: &Arc<Identity>,
        pending: &PendingConnect,
        data: Option<&'d [u8]>,
        turn: &mut Turn,
    ) -> Result<Terms<'d>, Refusal> {
        if !self.call_off_move(&identity.client_id, turn) {
            // The driver lets such a CONNECT wait, so this one is not in order.
            return Err((ReasonCode::ServerBusy, "the session is on its way to another worker"));
        }
        self.check_identity(id, identity, pending)?;
        self.check_order(pending.number, identity)?;
        let terms = self.terms(id, pending, data)?;
        self.count_session(identity, turn)?;
        Ok(terms)
    }

    /// Checks that a Network Connection is taken over only by a CONNECT that came after its own.
    /// The authentications of two CONNECTs may be decided in the opposite order.
    fn check_order(&self, connect_number: NonZeroU64, identity: &Identity) -> Result<(), Refusal> {
        let old = self.connection_of(&identity.client_id);
        let old = old.and_then(|old| self.ground.clients.connection(old));
        match old.and_then(|old| old.phase().connect_number()) > Some(connect_number) {
            true => Err((ReasonCode::ServerBusy, "a later CONNECT of this Client was let in")),
            false => Ok(()),
        }
    }

    /// Counts the Session of a Client that is admitted now. Sessions that are overdue end to make
    /// room for it.
    fn count_session(&mut self, identity: &Identity, turn: &mut Turn) -> Result<(), Refusal> {
        while !self.ground.clients.count_accepted(&identity.client_id) {
            let Some(timer) = self.ground.timers.pop_due_of(Kind::Session, turn.now) else {
                self.ground.clients.counters.limits_exceeded += 1;
                return Err((ReasonCode::QuotaExceeded, "there are too many sessions"));
            };
            self.handle_timer(timer, turn);
        }
        Ok(())
    }

    /// Whether a packet of a connected Client has more User Properties than the limit allows. A
    /// PUBLISH is checked where it is handled.
    pub(crate) fn has_too_many_user_properties(&mut self, packet: &Packet<'_>) -> bool {
        let user_properties = match packet {
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => &ack.user_properties,
            Packet::Subscribe(packet) => &packet.user_properties,
            Packet::Unsubscribe(packet) => &packet.user_properties,
            Packet::Disconnect(packet) => &packet.user_properties,
            Packet::Auth(packet) => &packet.user_properties,
            _ => return false,
        };
        let has_more = has_more(user_properties, self.ground.config.limits.user_properties_max);
        self.ground.clients.counters.limits_exceeded += u64::from(has_more);
        has_more
    }
}

/// Whether there are more than `limit` User Properties.
pub(crate) fn has_more(user_properties: &UserProperties<'_>, limit: u16) -> bool {
    user_properties.iter().nth(usize::from(limit)).is_some()
}
