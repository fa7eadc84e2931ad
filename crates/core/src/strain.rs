//! What the broker does when more comes than can be passed on or kept: it holds publishers back and
//! frees memory.
//!
//! Only a PUBLISH adds to what has to be passed on. So a connection is held back at its first
//! PUBLISH that cannot be taken; acknowledgements, PINGREQ, SUBSCRIBE and DISCONNECT, which make
//! room or cost none, are taken from everybody.
//!
//! Short of memory, the broker lets in few Clients that have no Session yet, keeps nothing more for
//! good, and makes publishers wait. If that does not help, it disconnects the Clients for which
//! most is kept, and drops what shared subscriptions keep in memory only. This module must never
//! stop what frees memory: acknowledging, removing a retained message, coming back for a queue.

use std::cmp::Reverse;

use midge_codec::{Publish, ReasonCode};

use crate::base::identity::{ConnectionId, GroupId, SessionSlot};
use crate::base::strain::MemoryPressure;
use crate::base::work::Work;
use crate::boundary::effects::DisconnectReason;
use crate::boundary::turn::Turn;
use crate::connection::Phase;
use crate::core::Core;
use crate::session::Session;

/// What a broker has kept for one Client or shared subscription, and can give up.
struct Offender {
    bytes: usize,
    who: Who,
}

enum Who {
    Session(SessionSlot),
    /// A connection whose CONNECT is incomplete.
    Stranger(ConnectionId),
    /// A shared subscription, which belongs to no Client.
    Group(GroupId),
}

impl Core {
    /// How many new Sessions a worker lets in while memory is short: somebody has to remove what
    /// fills it.
    const RESERVE_MAX: usize = 8;
    /// How long publishers wait for memory before their messages are refused.
    const PATIENCE_MS: u64 = 10_000;
    const SMALL_WILL_BYTES: usize = 1024;
    /// Clients for which less is kept cannot be what makes memory short.
    const OFFENCE_BYTES_MIN: usize = 1024;
    /// If more bytes than this wait to be written when a connection ends for its memory, they are
    /// dropped.
    const LAST_WORDS_BYTES_MAX: usize = 16 * 1024;

    /// Notes whether what publishers bring cannot be passed on, to the store or to other workers,
    /// as the driver says.
    pub fn set_congested(&mut self, is_congested: bool) {
        self.ground.strain.is_congested = is_congested;
    }

    /// Whether this worker has put off so much that others should send it no more messages. This
    /// ends by itself as the worker catches up.
    pub fn is_congested(&self) -> bool {
        self.router.put_off.is_full()
    }

    /// Whether connections wait at a PUBLISH because of what the driver said last. It then has to
    /// say soon whether that still holds.
    pub fn waits_for_driver(&self) -> bool {
        self.ground.strain.is_congested && self.router.put_off.has_held_back()
    }

    /// Whether a PUBLISH of this connection is taken now. `publish` is `None` if only the beginning
    /// of a large one has come. If it is not taken, the driver keeps it and all that comes after it
    /// until `Effects::reading` says that the connection goes on.
    #[inline]
    pub fn takes_publish(
        &mut self,
        id: ConnectionId,
        publish: Option<&Publish<'_>>,
        turn: &mut Turn,
    ) -> bool {
        !self.holds_publishers_back() || self.takes_though_held(id, publish, turn)
    }

    /// Whether publishers are held back.
    #[inline]
    pub fn holds_publishers_back(&self) -> bool {
        self.router.put_off.is_full()
            || self.ground.strain.is_congested
            || self.ground.strain.severe_since.is_some() && !self.ground.strain.refuses_messages
    }

    /// Whether a message is refused because it has not helped that publishers waited for memory.
    pub(crate) fn refuses(&self, publish: &Publish<'_>) -> bool {
        self.ground.strain.refuses_messages && !removes_retained(publish)
    }

    /// Whether a CONNECT may come in as far as memory goes. A Client that has a Session always may:
    /// it comes for what waits there. Of the others, few may, and none whose Session would stay
    /// when it leaves.
    pub(crate) fn has_memory_for(
        &mut self,
        id: ConnectionId,
        client_id: &str,
        would_stay: bool,
    ) -> bool {
        if !self.ground.strain.is_short_of_memory() || self.has_session(client_id) {
            return true;
        }
        if would_stay {
            return false;
        }
        let clients = &self.ground.clients;
        let is_there = |id: &ConnectionId| clients.connection(*id).is_some();
        self.ground.strain.reserve.retain(is_there);
        let has_room = self.ground.strain.reserve.len() < Self::RESERVE_MAX;
        if has_room {
            self.ground.strain.reserve.push(id);
        }
        has_room
    }

    /// Whether a Will Message of this many bytes may be kept. A small one always may: it must not
    /// keep a Client from coming for what waits.
    pub(crate) fn has_memory_for_will(&self, bytes: usize) -> bool {
        bytes <= Self::SMALL_WILL_BYTES || !self.ground.strain.is_very_short_of_memory()
    }

    fn takes_though_held(
        &mut self,
        id: ConnectionId,
        publish: Option<&Publish<'_>>,
        turn: &mut Turn,
    ) -> bool {
        let is_short_only = !self.router.put_off.is_full() && !self.ground.strain.is_congested;
        if is_short_only && publish.is_some_and(removes_retained) {
            return true; // It frees memory.
        }
        let connection = self.ground.clients.connection(id);
        if connection.is_none_or(|connection| connection.session().is_none()) {
            return true; // It is no publisher yet, and this packet does not make it one.
        }
        self.router.put_off.hold_back(id);
        self.ground.clients.set_reading(id, false, turn);
        false
    }

    /// Lets the publishers that were held back go on, if they may.
    pub(crate) fn resume_publishers(&mut self, turn: &mut Turn) {
        if !self.holds_publishers_back() {
            for publisher in self.router.put_off.take_resumed() {
                self.ground.clients.set_reading(publisher, true, turn);
            }
        }
    }

    /// Sets how short of memory the process is.
    pub fn set_memory_pressure(&mut self, pressure: MemoryPressure, turn: &mut Turn) {
        self.ground.strain.pressure = pressure;
        self.ground.clients.set_drop_qos0(pressure >= MemoryPressure::Severe);
        self.router.retained.set_growing(pressure < MemoryPressure::High);
        self.router.retained.set_paused(pressure >= MemoryPressure::Severe);
        if pressure > MemoryPressure::None {
            self.give_back();
        }
        let strain = &mut self.ground.strain;
        if pressure >= MemoryPressure::Severe {
            let since = *strain.severe_since.get_or_insert(turn.now);
            strain.refuses_messages = turn.now - since >= Self::PATIENCE_MS;
            return;
        }
        (strain.severe_since, strain.refuses_messages) = (None, false);
        if pressure == MemoryPressure::None {
            strain.reserve.clear();
        }
        self.end_unanswered(turn);
    }

    /// Gives back what tables and pools keep for what may come.
    fn give_back(&mut self) {
        self.ground.clients.give_back();
        self.ground.tree.give_back();
        self.ground.pending.give_back();
        self.router.retained.give_back();
    }

    /// Gives up `bytes` bytes, less those that become free already: disconnects the Clients for
    /// which most is kept, and ends their Sessions unless those are in the store; and drops the
    /// oldest messages of the shared subscriptions that keep most, unless those are in the store.
    /// `unfinished` says how many bytes of an incomplete packet the driver keeps for a connection.
    pub fn shed(
        &mut self,
        bytes: usize,
        unfinished: &dyn Fn(ConnectionId) -> usize,
        turn: &mut Turn,
    ) {
        let mut left = bytes.saturating_sub(self.bytes_becoming_free());
        // If a turn has no time for all messages, the rest goes when memory is still short: no
        // Client is given up in their place.
        let mut operations_left = Work::TURN_MAX;
        for Offender { bytes, who } in self.offenders(unfinished) {
            if left == 0 {
                return;
            }
            match who {
                Who::Session(slot) => self.give_up(slot, turn),
                Who::Stranger(id) => {
                    self.ground.clients.counters.limits_exceeded += 1;
                    self.end_for_memory(id, turn);
                }
                Who::Group(id) => {
                    let (shared, ground) = (&mut self.router.shared, &mut self.ground);
                    let operations = shared.shed(ground, id, left, operations_left, turn);
                    operations_left = operations_left.saturating_sub(operations);
                }
            }
            left = left.saturating_sub(bytes);
        }
    }

    /// Returns all for whom something is kept that can be given up, the largest first.
    fn offenders(&self, unfinished: &dyn Fn(ConnectionId) -> usize) -> Vec<Offender> {
        let clients = &self.ground.clients;
        // Of a Session in the store, only what its connection has can be given up.
        let sessions = clients
            .all_sessions()
            .filter(|(_, it)| !it.is_stored() || it.attached_or_accepted().is_some());
        // One that is about to leave is another worker's.
        let sessions = sessions.filter(|&(slot, _)| !clients.is_switching(slot));
        let sessions = sessions.map(|(slot, session): (SessionSlot, &Session)| Offender {
            bytes: self.bytes_to_give_up(session) + session.attached().map_or(0, unfinished),
            who: Who::Session(slot),
        });
        // Nobody knows yet who they are, but an incomplete CONNECT takes memory, too.
        let strangers =
            clients.all_connections().filter(|it| matches!(it.phase(), Phase::AwaitingConnect));
        let strangers = strangers.map(|connection| Offender {
            bytes: unfinished(connection.id()),
            who: Who::Stranger(connection.id()),
        });
        let is_one = |offender: &Offender| offender.bytes >= Self::OFFENCE_BYTES_MIN;
        let groups = self.router.shared.groups.volatile_bytes();
        let groups = groups.map(|(id, bytes)| Offender { bytes, who: Who::Group(id) });
        let mut offenders: Vec<_> =
            sessions.chain(strangers).filter(is_one).chain(groups).collect();
        offenders.sort_unstable_by_key(|offender| Reverse(offender.bytes));
        offenders
    }

    fn give_up(&mut self, slot: SessionSlot, turn: &mut Turn) {
        self.ground.clients.counters.limits_exceeded += 1;
        let session = self.ground.clients.session_id(slot);
        if let Some(id) = self.ground.clients.session(slot).attached_or_accepted() {
            self.end_for_memory(id, turn);
        }
        // What is in the store takes no memory once nobody is connected.
        if let Some(slot) = self.ground.clients.slot_of(session)
            && !self.ground.clients.session(slot).is_stored()
        {
            self.end_session(slot, turn);
        }
    }

    /// Ends a connection for the memory that is kept for it.
    pub fn end_for_memory(&mut self, id: ConnectionId, turn: &mut Turn) {
        let id = self.ground.clients.control_of(id);
        let code = ReasonCode::QuotaExceeded;
        self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
        // A peer that reads so slowly would not come to the last packet in time.
        let connection = self.ground.clients.connection(id);
        let pending = connection.map_or(0, |connection| connection.output().pending());
        if pending > Self::LAST_WORDS_BYTES_MAX {
            self.give_up_output(id, turn);
        }
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

    use crate::base::durability::DurabilityRules;
    use crate::base::identity::{ConnectionId, WorkerId};
    use crate::base::limits::Limits;
    use crate::base::strain::MemoryPressure;
    use crate::base::strategy::SharedStrategy;
    use crate::base::time::Timestamp;
    use crate::boundary::effects::AuthAnswer;
    use crate::boundary::turn::Turn;
    use crate::config::CoreConfig;
    use crate::connection::Opening;
    use crate::core::Core;
    use crate::gate::AllowAll;
    use crate::topics::rewrite::TopicRules;

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
    fn handle(core: &mut Core, id: ConnectionId, bytes: &[u8], turn: &mut Turn) -> bool {
        let Ok(Decoded::Packet { packet, .. }) = decode(bytes, ProtocolVersion::V3_1_1, 1000)
        else {
            panic!("half a packet");
        };
        if let Packet::Publish(publish) = &packet
            && !core.takes_publish(id, Some(publish), turn)
        {
            return false;
        }
        core.handle_packet(id, &packet, turn);
        true
    }

    /// A core with one connected Client.
    fn connected() -> (Core, ConnectionId, Turn) {
        let (mut core, mut turn) = (core(), Turn::new(NOW, 1));
        let id = core.open_connection(Opening::default(), NOW);
        assert!(handle(&mut core, id, b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01p", &mut turn));
        let allowed = AuthAnswer::allow(None);
        core.handle_auth_answer(id, allowed, None, &mut turn);
        (core, id, Turn::new(NOW, 1))
    }

    const PINGREQ: &[u8] = b"\xC0\0";
    const PUBLISH: &[u8] = b"\x30\x04\0\x01tx";
    const REMOVE: &[u8] = b"\x31\x03\0\x01t";

    #[test]
    fn short_of_memory_only_publishers_are_not_read_and_only_until_there_is_enough() {
        let (mut core, id, mut turn) = connected();
        core.set_memory_pressure(MemoryPressure::Severe, &mut turn);
        assert!(handle(&mut core, id, PINGREQ, &mut turn));
        assert!(turn.fx.reading.is_empty() && !core.is_congested());
        assert!(!handle(&mut core, id, PUBLISH, &mut turn));
        core.end_turn(&mut turn);
        assert_eq!(std::mem::take(&mut turn.fx.reading), [(id, false)]);
        core.set_memory_pressure(MemoryPressure::High, &mut turn);
        core.end_turn(&mut turn);
        assert_eq!(turn.fx.reading, [(id, true)]);
        assert!(handle(&mut core, id, PUBLISH, &mut turn));
    }

    #[test]
    fn a_retained_message_can_be_removed_when_memory_is_short() {
        let (mut core, id, mut turn) = connected();
        core.set_memory_pressure(MemoryPressure::Severe, &mut turn);
        assert!(handle(&mut core, id, REMOVE, &mut turn));
        core.set_congested(true);
        assert!(!handle(&mut core, id, REMOVE, &mut turn), "what it says could not be passed on");
    }

    #[test]
    fn what_cannot_be_passed_on_holds_back_publishers_and_nobody_else() {
        let (mut core, id, mut turn) = connected();
        core.set_congested(true);
        assert!(handle(&mut core, id, PINGREQ, &mut turn));
        assert!(!core.waits_for_driver());
        assert!(!core.takes_publish(id, None, &mut turn), "not even the rest of a large one");
        assert!(core.waits_for_driver());
        core.set_congested(false);
        core.end_turn(&mut turn);
        assert_eq!(turn.fx.reading, [(id, false), (id, true)]);
        assert!(!core.waits_for_driver() && handle(&mut core, id, PUBLISH, &mut turn));
    }
    /// Nobody knows whose they are, but they can be as many as connections.
    #[test]
    fn incomplete_connects_are_given_up_like_everything_else() {
        let (mut core, id, mut turn) = connected();
        let [large, small] = [(); 2].map(|()| core.open_connection(Opening::default(), NOW));
        let unfinished = |it| if it == large { 16_000 } else { 500 };
        core.shed(1, &unfinished, &mut turn);
        let closed: Vec<_> = turn.fx.close.iter().map(|it| it.connection).collect();
        assert_eq!(closed, [large]);
        core.shed(100_000, &unfinished, &mut turn);
        assert_eq!(turn.fx.close.len(), 1, "{id:?} and {small:?} hold less than is worth it");
    }
}
