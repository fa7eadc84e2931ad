//! When more comes than can be passed on or kept: publishers are held back, and memory is made
//! free.
//!
//! Only a PUBLISH adds to what has to be passed on. So a connection is held back at its first
//! PUBLISH that cannot be taken; acknowledgements, PINGREQ, SUBSCRIBE and DISCONNECT, which make
//! room or cost none, are taken from everybody. This module must never stop what frees memory.

use midge_codec::{Publish, ReasonCode};

use crate::core::Core;
use crate::effects::{DisconnectReason, Effects};
use crate::identity::ConnectionId;
use crate::session::Session;
use crate::time::Timestamp;

/// How short of memory the process is; see the limit `memory_bytes_max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryPressure {
    /// There is enough.
    #[default]
    None,
    /// New connections are refused.
    High,
    /// QoS 0 is dropped as well, and publishers are not read.
    Severe,
    /// The Clients with the largest queues are disconnected as well.
    Critical,
}

/// What this worker has too much of.
#[derive(Debug, Default)]
pub(crate) struct Strain {
    pub(crate) pressure: MemoryPressure,
    /// What publishers bring could not be passed on, says the driver.
    is_congested: bool,
}

impl Core {
    /// The driver tells whether what publishers bring can be passed on: to the store, to other
    /// workers.
    pub fn set_congested(&mut self, is_congested: bool) {
        self.strain.is_congested = is_congested;
    }

    /// Whether this worker has put off so much that others shall send it no more messages. It ends
    /// by itself: what is put off is worked off.
    pub fn is_congested(&self) -> bool {
        self.backlog.is_full()
    }

    /// Whether connections wait at a PUBLISH that the driver may have taken soon.
    pub fn has_held_back(&self) -> bool {
        self.backlog.has_held_back()
    }

    /// Whether a PUBLISH of this connection is taken now, `None` if it is a large one of which only
    /// the beginning has come. If not, the driver keeps it, with all that is behind it, until
    /// `Effects::reading` says that the connection goes on.
    #[inline]
    pub fn takes_publish(
        &mut self,
        id: ConnectionId,
        publish: Option<&Publish<'_>>,
        fx: &mut Effects,
    ) -> bool {
        !self.holds_publishers_back() || self.takes_though_held(id, publish, fx)
    }

    /// Whether publishers are held back.
    #[inline]
    pub fn holds_publishers_back(&self) -> bool {
        self.backlog.is_full()
            || self.strain.is_congested
            || self.strain.pressure >= MemoryPressure::Severe
    }

    fn takes_though_held(
        &mut self,
        id: ConnectionId,
        publish: Option<&Publish<'_>>,
        fx: &mut Effects,
    ) -> bool {
        let is_short_only = !self.backlog.is_full() && !self.strain.is_congested;
        if is_short_only && publish.is_some_and(removes_retained) {
            return true; // It frees memory.
        }
        let connection = self.clients.connection(id);
        if connection.is_none_or(|connection| connection.session().is_none()) {
            return true; // It is no publisher yet, and will not be by this packet.
        }
        self.backlog.hold_back(id);
        self.clients.set_reading(id, false, fx);
        false
    }

    /// Lets those go on who were held back, if they may.
    pub(crate) fn release_publishers(&mut self, fx: &mut Effects) {
        if !self.holds_publishers_back() {
            for publisher in self.backlog.take_released() {
                self.clients.set_reading(publisher, true, fx);
            }
        }
    }

    /// Sets how short of memory the process is.
    pub fn set_memory_pressure(
        &mut self,
        pressure: MemoryPressure,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        self.strain.pressure = pressure;
        self.clients.drop_qos0 = pressure >= MemoryPressure::Severe;
        if pressure == MemoryPressure::Critical {
            self.shed_worst_offender(now, fx);
        }
    }

    /// Disconnects the Client for which most bytes are kept in memory, and ends its Session unless
    /// that is in the store.
    fn shed_worst_offender(&mut self, now: Timestamp, fx: &mut Effects) {
        let sessions = self.clients.sessions.iter();
        // Of one in the store, only what its connection has can be given up.
        let sessions =
            sessions.filter(|(_, it)| it.number == 0 || it.network_connection().is_some());
        let worst = sessions.max_by_key(|(_, session)| self.kept_bytes(session));
        let Some((slot, session)) = worst.filter(|(_, session)| self.kept_bytes(session) > 0)
        else {
            return;
        };
        self.clients.counters.limits_exceeded += 1;
        if let Some(id) = session.network_connection() {
            let code = ReasonCode::QuotaExceeded;
            self.close(id, Some(code), &DisconnectReason::ByServer(code), now, fx);
        }
        // What is in the store takes no memory once nobody is connected.
        let session = self.clients.sessions.get(slot);
        if session.is_some_and(|session| session.number == 0) {
            self.end_session(slot as u32, now, fx);
        }
    }

    fn kept_bytes(&self, session: &Session) -> usize {
        let queued = session.outgoing.as_ref().map_or(0, |outgoing| outgoing.bytes_in_memory());
        queued + session.connection.map_or(0, |id| self.clients.unwritten_bytes(id))
    }
}

/// Whether a PUBLISH does nothing but remove a retained message.
fn removes_retained(publish: &Publish<'_>) -> bool {
    publish.retain && publish.payload.is_empty()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_codec::{Decoded, Packet, ProtocolVersion, decode};

    use crate::connection::Opening;
    use crate::core::{Core, CoreConfig};
    use crate::durability::DurabilityRules;
    use crate::effects::{AuthAnswer, Effects};
    use crate::gate::AllowAll;
    use crate::identity::{ConnectionId, WorkerId};
    use crate::limits::Limits;
    use crate::rewrite::TopicRules;
    use crate::strain::MemoryPressure;
    use crate::strategy::SharedStrategy;
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn core() -> Core {
        Core::new(CoreConfig {
            worker: WorkerId::new(0),
            workers: 1,
            seed: 1,
            secret: [1, 1],
            limits: Arc::new(Limits::default()),
            budget: Arc::default(),
            policy: Arc::new(AllowAll),
            topics: Arc::new(TopicRules::default()),
            shared_strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: None,
            tell_drops: false,
            durability: DurabilityRules::default(),
        })
    }

    /// Hands a packet in as a driver does; false if it is not taken.
    fn handle(core: &mut Core, id: ConnectionId, bytes: &[u8], fx: &mut Effects) -> bool {
        let Ok(Decoded::Packet { packet, .. }) = decode(bytes, ProtocolVersion::V3_1_1, 1000)
        else {
            panic!("half a packet");
        };
        if let Packet::Publish(publish) = &packet
            && !core.takes_publish(id, Some(publish), fx)
        {
            return false;
        }
        core.handle_packet(id, &packet, NOW, fx);
        true
    }

    /// A core with one connected Client.
    fn connected() -> (Core, ConnectionId, Effects) {
        let (mut core, mut fx) = (core(), Effects::new(1));
        let id = core.open_connection(Opening::default(), NOW);
        assert!(handle(&mut core, id, b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01p", &mut fx));
        let allowed = AuthAnswer::Allow { user_name: None, data: None };
        core.handle_auth_answer(id, allowed, NOW, &mut fx);
        (core, id, Effects::new(1))
    }

    const PINGREQ: &[u8] = b"\xC0\0";
    const PUBLISH: &[u8] = b"\x30\x04\0\x01tx";
    const REMOVE: &[u8] = b"\x31\x03\0\x01t";

    #[test]
    fn short_of_memory_only_publishers_are_not_read_and_only_until_there_is_enough() {
        let (mut core, id, mut fx) = connected();
        core.set_memory_pressure(MemoryPressure::Severe, NOW, &mut fx);
        assert!(handle(&mut core, id, PINGREQ, &mut fx));
        assert!(fx.reading.is_empty() && !core.is_congested());
        assert!(!handle(&mut core, id, PUBLISH, &mut fx));
        core.run_backlog(NOW, &mut fx);
        assert_eq!(std::mem::take(&mut fx.reading), [(id, false)]);
        core.set_memory_pressure(MemoryPressure::High, NOW, &mut fx);
        core.run_backlog(NOW, &mut fx);
        assert_eq!(fx.reading, [(id, true)]);
        assert!(handle(&mut core, id, PUBLISH, &mut fx));
    }

    #[test]
    fn a_retained_message_can_be_removed_when_memory_is_short() {
        let (mut core, id, mut fx) = connected();
        core.set_memory_pressure(MemoryPressure::Severe, NOW, &mut fx);
        assert!(handle(&mut core, id, REMOVE, &mut fx));
        core.set_congested(true);
        assert!(!handle(&mut core, id, REMOVE, &mut fx), "what it says could not be passed on");
    }

    #[test]
    fn what_cannot_be_passed_on_holds_back_publishers_and_nobody_else() {
        let (mut core, id, mut fx) = connected();
        core.set_congested(true);
        assert!(handle(&mut core, id, PINGREQ, &mut fx));
        assert!(!core.has_held_back());
        assert!(!core.takes_publish(id, None, &mut fx), "not even the rest of a large one");
        assert!(core.has_held_back());
        core.set_congested(false);
        core.run_backlog(NOW, &mut fx);
        assert_eq!(fx.reading, [(id, false), (id, true)]);
        assert!(!core.has_held_back() && handle(&mut core, id, PUBLISH, &mut fx));
    }
}
