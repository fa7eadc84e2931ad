//! The tables of Sessions and Network Connections: who is there, by slot and by name, and what all
//! of them share. This module must never decide what happens to them.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::base::hashing::hash_str;
use crate::base::identity::{ConnectionId, GroupId, Identity, SessionId, SessionSlot};
use crate::base::limits::Limits;
use crate::base::time::Timestamp;
use crate::boundary::packet_lines::Tracing;
use crate::clients::Clients;
use crate::connection::Connection;
use crate::connection::output::BufferPool;
use crate::session::Session;
use crate::waiting::rounds::Rounds;

impl Clients {
    pub(crate) fn session_by_client_id(&self, client_id: &str) -> Option<SessionSlot> {
        let is_it =
            |&slot: &SessionSlot| *self.sessions[slot as usize].identity().client_id == *client_id;
        self.by_client_id.find(hash_str(self.seed, client_id), is_it).copied()
    }

    /// Makes a Session for a Client and returns its slot. The caller counts it for the node.
    pub(crate) fn insert_session(&mut self, identity: Arc<Identity>) -> SessionSlot {
        let generation = self.next_generation().get();
        let hash = hash_str(self.seed, &identity.client_id);
        let session = Session::new(identity, generation, self.seed);
        let slot = self.sessions.insert(session) as SessionSlot;
        let (sessions, seed) = (&self.sessions, self.seed);
        self.by_client_id.insert_unique(hash, slot, |&other| {
            hash_str(seed, &sessions[other as usize].identity().client_id)
        });
        slot
    }

    /// Takes a Session out. Its place is not used again until it is vacated: the tree may refer to
    /// it.
    pub(crate) fn take_session(&mut self, slot: SessionSlot) -> Session {
        let identity = Arc::clone(self.sessions[slot as usize].identity());
        let hash = hash_str(self.seed, &identity.client_id);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        let mut nobody = Session::new(identity, self.next_generation().get(), self.seed);
        nobody.end();
        self.over += 1;
        let session = std::mem::replace(&mut self.sessions[slot as usize], nobody);
        self.budget.sessions.give_back(u64::from(session.has_place()), 0);
        session
    }

    /// Frees the place of a Session that was taken out, once nothing refers to it any more.
    pub(crate) fn vacate(&mut self, slot: SessionSlot) {
        self.sessions.remove(slot as usize);
        self.over -= 1;
    }

    /// Returns a new generation, which tells what is in a slot now from whatever was there before.
    fn next_generation(&mut self) -> NonZeroU32 {
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.generation
    }

    pub(crate) fn session_mut(&mut self, slot: SessionSlot) -> &mut Session {
        &mut self.sessions[slot as usize]
    }

    pub(crate) fn session_id(&self, slot: SessionSlot) -> SessionId {
        let generation = self.sessions[slot as usize].generation();
        SessionId { worker: self.worker, slot, generation }
    }

    /// Returns the slot of a Session, if it still lives.
    pub(crate) fn slot_of(&self, id: SessionId) -> Option<SessionSlot> {
        let session = self.sessions.get(id.slot as usize)?;
        (session.generation() == id.generation).then_some(id.slot)
    }

    /// Returns the connection, if it is still the one that `id` names.
    #[inline]
    pub(crate) fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot()).filter(|connection| connection.id() == id)
    }

    #[inline]
    pub(crate) fn session(&self, slot: SessionSlot) -> &Session {
        &self.sessions[slot as usize]
    }

    /// Returns a Session with the rounds that tell what of it may be sent.
    pub(crate) fn session_and_rounds(&mut self, slot: SessionSlot) -> (&mut Session, &Rounds) {
        (&mut self.sessions[slot as usize], &self.rounds)
    }

    /// All Sessions with their slots, also those that have ended and keep their places.
    pub(crate) fn all_sessions(&self) -> impl Iterator<Item = (SessionSlot, &Session)> {
        self.sessions.iter().map(|(slot, session)| (slot as SessionSlot, session))
    }

    /// The Session in this slot, if there is one; also one that has ended and keeps its place.
    pub(crate) fn session_at(&self, slot: SessionSlot) -> Option<&Session> {
        self.sessions.get(slot as usize)
    }

    /// How many slots there are: all Sessions have lower ones.
    pub(crate) fn places(&self) -> SessionSlot {
        self.sessions.capacity() as SessionSlot
    }

    /// How many Sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.by_client_id.len()
    }

    /// Whether a Session has ended and only keeps its place.
    #[inline]
    pub(crate) fn is_over(&self, slot: SessionSlot) -> bool {
        self.over > 0 && self.sessions[slot as usize].is_over()
    }

    /// Returns the connection, if it is still the one that `id` names.
    pub(crate) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.slot()).filter(|connection| connection.id() == id)
    }

    /// The connection that a Session is attached to.
    #[inline]
    pub(crate) fn connection_of(&self, session: &Session) -> Option<&Connection> {
        session.connection().map(|id| &self.connections[id.slot()])
    }

    pub(crate) fn all_connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().map(|(_, connection)| connection)
    }

    /// Returns a connection with the buffers that its output is made of.
    pub(crate) fn connection_and_pool(
        &mut self,
        id: ConnectionId,
    ) -> Option<(&mut Connection, &mut BufferPool)> {
        let connection = self.connections.get_mut(id.slot());
        let connection = connection.filter(|connection| connection.id() == id)?;
        Some((connection, &mut self.pool))
    }

    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// Gives back the buffers that nothing is in.
    pub(crate) fn clear_pool(&mut self) {
        self.pool.clear();
    }

    /// Returns the name of the connection that is added next.
    pub(crate) fn next_connection_id(&mut self) -> ConnectionId {
        let slot = self.connections.vacant_key() as u32;
        ConnectionId { slot, generation: self.next_generation() }
    }

    /// Adds the connection that has the next name.
    pub(crate) fn add_connection(&mut self, connection: Connection) {
        let id = connection.id();
        let slot = self.connections.insert(connection);
        debug_assert_eq!(slot, id.slot(), "another one was added meanwhile");
    }

    /// Takes a connection out, and gives up what it had to write.
    pub(crate) fn remove_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        self.connection(id)?;
        let mut connection = self.connections.remove(id.slot());
        connection.output_mut().clear(&mut self.pool);
        Some(connection)
    }

    /// Adds a data stream to a connection with this Session, and returns its name.
    pub(crate) fn add_data_stream(
        &mut self,
        control: ConnectionId,
        session: SessionSlot,
        now: Timestamp,
    ) -> Option<ConnectionId> {
        let id = self.next_connection_id();
        let seed = self.seed;
        let connection = self.connection_mut(control)?;
        connection.add_data_stream(id, seed);
        let stream = Connection::data_stream(id, connection, session, now);
        self.add_connection(stream);
        Some(id)
    }

    /// Attaches a Session to its connection: its Client is there from now on.
    pub(crate) fn attach(&mut self, slot: SessionSlot, id: ConnectionId) {
        self.sessions[slot as usize].attach(id);
        let is_local = self.connections[id.slot()].is_local();
        self.attached += 1;
        self.locals += usize::from(is_local);
    }

    /// Detaches a Session from its connection. Returns who was there: nobody, if the CONNACK had
    /// not left.
    pub(crate) fn detach(&mut self, slot: SessionSlot, is_local: bool) -> Option<Arc<Identity>> {
        let client = self.sessions[slot as usize].detach();
        self.attached -= usize::from(client.is_some());
        self.locals -= usize::from(client.is_some() && is_local);
        client
    }

    /// How many Clients are connected, and how many subscribers inside the process there are.
    pub(crate) fn present(&self) -> (usize, usize) {
        (self.attached - self.locals, self.locals)
    }

    /// Notes that the list of connections to be written to is taken: from now on they are put on
    /// the next one.
    pub(crate) fn begin_flush(&mut self, flush: &[ConnectionId]) {
        for id in flush {
            if let Some(connection) = self.connections.get_mut(id.slot()) {
                connection.begin_flush();
            }
        }
    }

    /// Copies what connections still need of the bytes that they share in this turn.
    pub(crate) fn end_flush(&mut self) {
        let holders = self.pool.turn.take_holders();
        for id in &holders {
            if let Some(connection) = self.connections.get_mut(id.slot()) {
                connection.output_mut().keep_part(&mut self.pool);
            }
        }
        self.pool.turn.clear(holders);
    }

    /// Begins a publication that goes to so many receivers.
    #[inline]
    pub(crate) fn begin_publication(&mut self, receivers: usize) {
        self.layouts.begin(receivers);
    }

    pub(crate) fn has_unsendable(&self) -> bool {
        !self.unsendable.is_empty()
    }

    /// Takes the connections that wait for an answer larger than their peers accept.
    pub(crate) fn take_unsendable(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.unsendable)
    }

    /// Takes the shared messages that were not sent after all.
    pub(crate) fn take_failed_of_groups(&mut self) -> Vec<(SessionId, GroupId)> {
        std::mem::take(&mut self.failed_of_groups)
    }

    /// Sets whose packets are traced as they leave.
    pub(crate) fn set_tracing(&mut self, tracing: Tracing) {
        self.traces = tracing != Tracing::Off;
        self.tracing = tracing;
    }

    pub(crate) fn set_limits(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets whether messages of QoS 0 are dropped, because memory is short.
    pub(crate) fn set_drop_qos0(&mut self, drop_qos0: bool) {
        self.drop_qos0 = drop_qos0;
    }
}
