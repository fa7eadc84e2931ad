//! The tables of Sessions and Network Connections: who is there, by slot and by name. This module
//! must never decide what happens to them.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::base::hashing::hash_str;
use crate::base::identity::{ConnectionId, Identity, SessionId, SessionSlot};
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

    /// Makes a Session for a Client and returns its slot. It is not counted yet.
    pub(crate) fn insert_session(&mut self, identity: Arc<Identity>) -> SessionSlot {
        let generation = self.next_generation().get();
        let session = Session::new(identity, generation, self.seed);
        let slot = self.sessions.insert(session) as SessionSlot;
        self.enter_name(slot);
        slot
    }

    /// Lets the Session in this slot be found by its Client Identifier.
    pub(super) fn enter_name(&mut self, slot: SessionSlot) {
        let hash = hash_str(self.seed, &self.sessions[slot as usize].identity().client_id);
        let (sessions, seed) = (&self.sessions, self.seed);
        self.by_client_id.insert_unique(hash, slot, |&other| {
            hash_str(seed, &sessions[other as usize].identity().client_id)
        });
    }

    /// Makes room for this many Sessions more.
    pub(crate) fn reserve_sessions(&mut self, count: usize) {
        self.sessions.reserve_exact(count);
        let (sessions, seed) = (&self.sessions, self.seed);
        self.by_client_id.reserve(count, |&other| {
            hash_str(seed, &sessions[other as usize].identity().client_id)
        });
    }

    /// Takes a Session out. Its slot is not used again until it is vacated: the tree may refer to
    /// it.
    pub(crate) fn take_session(&mut self, slot: SessionSlot) -> Session {
        let name = self.session_id(slot);
        self.crossings.end(slot, name);
        let session = self.replace_session(slot);
        self.count_off(&session);
        session
    }

    /// Puts a placeholder into the slot of a Session, and returns that.
    pub(super) fn replace_session(&mut self, slot: SessionSlot) -> Session {
        let identity = Arc::clone(self.sessions[slot as usize].identity());
        let hash = hash_str(self.seed, &identity.client_id);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        let nobody = Session::placeholder(identity, self.next_generation().get(), self.seed);
        self.over += 1;
        std::mem::replace(&mut self.sessions[slot as usize], nobody)
    }

    /// Frees the slot of a Session that was taken out, once nothing refers to it any more.
    pub(crate) fn vacate(&mut self, slot: SessionSlot) {
        self.sessions.remove(slot as usize);
        self.over -= 1;
    }

    /// Returns a new generation, which tells what is in a slot now from whatever was there before.
    pub(super) fn next_generation(&mut self) -> NonZeroU32 {
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.generation
    }

    pub(crate) fn session_mut(&mut self, slot: SessionSlot) -> &mut Session {
        &mut self.sessions[slot as usize]
    }

    /// Returns the name of a Session. It keeps that for its whole life, on whatever worker it is.
    #[inline]
    pub(crate) fn session_id(&self, slot: SessionSlot) -> SessionId {
        let session = &self.sessions[slot as usize];
        let of_slot = SessionId { worker: self.worker, slot, generation: session.generation() };
        session.name().unwrap_or(of_slot)
    }

    /// Returns the slot of a Session, if it still lives and is here.
    pub(crate) fn slot_of(&self, id: SessionId) -> Option<SessionSlot> {
        if let Some(slot) = self.crossings.slot_of_adopted(id) {
            return Some(slot);
        }
        let is_here = self.worker == id.worker && self.is_generation(id.slot, id.generation);
        is_here.then_some(id.slot)
    }

    /// Whether the slot has not been given to another Session since it had this generation.
    pub(crate) fn is_generation(&self, slot: SessionSlot, generation: u32) -> bool {
        self.sessions.get(slot as usize).is_some_and(|it| it.generation() == generation)
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

    /// All Sessions with their slots, also those that have ended and keep their slots.
    pub(crate) fn all_sessions(&self) -> impl Iterator<Item = (SessionSlot, &Session)> {
        self.sessions.iter().map(|(slot, session)| (slot as SessionSlot, session))
    }

    /// The Session in this slot, if there is one; also one that has ended and keeps its slot.
    pub(crate) fn session_at(&self, slot: SessionSlot) -> Option<&Session> {
        self.sessions.get(slot as usize)
    }

    /// The end of the slots: all Sessions have lower ones.
    pub(crate) fn slots_end(&self) -> SessionSlot {
        self.sessions.capacity() as SessionSlot
    }

    /// How many Sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.by_client_id.len()
    }

    /// Whether a Session has ended and only keeps its slot.
    #[inline]
    pub(crate) fn is_over(&self, slot: SessionSlot) -> bool {
        self.over > 0 && self.sessions[slot as usize].is_over()
    }

    /// Returns the connection, if it is still the one that `id` names.
    #[inline]
    pub(crate) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.slot()).filter(|connection| connection.id() == id)
    }

    /// The connection that a Session is attached to.
    #[inline]
    pub(crate) fn connection_of(&self, session: &Session) -> Option<&Connection> {
        session.attached().map(|id| &self.connections[id.slot()])
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
}
