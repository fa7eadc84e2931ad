//! Which stream of a Network Connection something goes on.

use midge_codec::PacketIdentifier;

use crate::base::identity::{ConnectionId, SessionSlot};
use crate::base::time::Timestamp;
use crate::clients::Clients;
use crate::connection::data_streams::DataStreams;
use crate::connection::{Connection, Phase};
use crate::session::outgoing::Waiting;

impl Clients {
    /// Adds a data stream to a connection with this Session, and returns its name.
    pub(crate) fn add_data_stream(
        &mut self,
        control: ConnectionId,
        session: SessionSlot,
        now: Timestamp,
    ) -> Option<ConnectionId> {
        let id = self.next_connection_id();
        let seed = self.seed;
        self.note_window(session);
        let connection = self.connection_mut(control)?;
        connection.add_data_stream(id, seed);
        let stream = Connection::data_stream(id, connection, session, now);
        self.add_connection(stream);
        Some(id)
    }

    /// Returns the stream of a Network Connection that messages of this topic go on.
    #[inline]
    pub(crate) fn stream_for(&mut self, control: ConnectionId, topic: &str) -> ConnectionId {
        match self.connections[control.slot()].data_streams_mut() {
            None => control,
            Some(streams) => streams.stream_of(topic).unwrap_or(control),
        }
    }

    /// Whether some messages of a Network Connection go on data streams.
    #[inline]
    pub(crate) fn has_routes(&self, control: ConnectionId) -> bool {
        let streams = self.connections[control.slot()].data_streams();
        streams.is_some_and(DataStreams::has_routes)
    }

    /// Returns the control stream of a data stream, and any other connection itself.
    pub(crate) fn control_of(&mut self, id: ConnectionId) -> ConnectionId {
        match self.connection(id).map(Connection::phase) {
            Some(&Phase::Stream { control, .. }) => control,
            _ => id,
        }
    }

    /// Returns where an answer goes: the stream that the question came by or, if that has ended,
    /// the control stream.
    pub(crate) fn stream_or_control(
        &mut self,
        stream: ConnectionId,
        control: ConnectionId,
    ) -> ConnectionId {
        let is_open = self.connection(stream).is_some_and(|stream| !stream.is_closing());
        if is_open { stream } else { control }
    }

    /// Returns all streams of a Network Connection.
    pub(crate) fn streams(&self, control: ConnectionId) -> impl Iterator<Item = &Connection> {
        let connection = &self.connections[control.slot()];
        let open = connection.data_streams().into_iter().flat_map(DataStreams::open);
        let data = open.filter_map(|id| self.connections.get(id.slot()));
        std::iter::once(connection).chain(data)
    }

    /// Whether the driver was told not to read some stream of a Network Connection.
    pub(crate) fn is_any_paused(&self, control: ConnectionId) -> bool {
        self.streams(control).any(Connection::is_paused)
    }

    /// Whether `is_so` holds for any stream of a Network Connection.
    pub(crate) fn is_any_stream(
        &self,
        control: ConnectionId,
        is_so: &dyn Fn(ConnectionId) -> bool,
    ) -> bool {
        self.streams(control).any(|stream| is_so(stream.id()))
    }

    /// How many bytes a Network Connection holds on all of its streams.
    pub(crate) fn connection_bytes(&self, control: ConnectionId) -> usize {
        self.streams(control).map(Connection::held_bytes).sum()
    }

    /// Whether the stream that a message of this topic goes on has room for more than this one. If
    /// not, the Session is woken as soon as it has.
    pub(crate) fn has_output_for(&mut self, slot: SessionSlot, topic: &str) -> bool {
        let control = self.session(slot).attached().filter(|&control| self.has_routes(control));
        let Some(control) = control else {
            return true;
        };
        let stream = self.stream_for(control, topic);
        let connection = &mut self.connections[stream.slot()];
        let has_output = connection.output().pending() <= self.limits.output_bytes_max as usize / 2;
        if !has_output {
            connection.wait_for_output();
        }
        has_output
    }

    /// Takes the next message from a Session's queue that its stream has room for. Returns it with
    /// that stream.
    pub(crate) fn next_of_any_stream(
        &mut self,
        slot: SessionSlot,
        control: ConnectionId,
    ) -> Option<(Waiting, ConnectionId)> {
        let outgoing = self.sessions[slot as usize].outgoing_mut()?;
        let mut streams = self.connections[control.slot()].take_data_streams()?;
        let mut held_back = streams.take_held_back();
        let open = streams.open().to_vec();
        let named = |generation| open.iter().find(|id| id.generation == generation);
        let stream_of = |topic: &str| streams.stream_of(topic).unwrap_or(control);
        let has_output = |generation| {
            let stream = named(generation).unwrap_or(&control);
            let connection = &mut self.connections[stream.slot()];
            let has_output = connection.output().pending() <= self.limits.output_bytes_max as usize;
            if !has_output {
                connection.wait_for_output();
            }
            has_output
        };
        let may_send = |round| self.rounds.is_confirmed(round);
        let waiting = outgoing.dequeue_any(stream_of, has_output, may_send, &mut held_back);
        let stream = waiting.as_ref().and_then(|waiting| named(waiting.stream?)).copied();
        streams.keep_held_back(held_back);
        self.connections[control.slot()].put_data_streams(streams);
        Some((waiting?, stream.unwrap_or(control)))
    }

    /// Notes on which stream a message in flight was sent again.
    pub(crate) fn note_stream(
        &mut self,
        slot: SessionSlot,
        packet_id: PacketIdentifier,
        stream: ConnectionId,
    ) {
        let outgoing = self.sessions[slot as usize].outgoing_mut();
        if let Some(entry) = outgoing.and_then(|outgoing| outgoing.find(packet_id)) {
            entry.stream = Some(stream.generation);
        }
    }

    /// Routes the messages of a subscription to the stream that its SUBSCRIBE came on.
    pub(crate) fn route_to_stream(
        &mut self,
        slot: SessionSlot,
        key: &str,
        filter: &str,
        id: ConnectionId,
    ) {
        if let Some(control) = self.control_with_streams(slot)
            && let Some(streams) = self.connections[control.slot()].data_streams_mut()
        {
            match streams.open().contains(&id) {
                true => streams.note(key, filter, id),
                false => streams.forget(key),
            }
        }
    }

    /// Forgets the stream of a subscription that has ended.
    pub(crate) fn forget_stream(&mut self, slot: SessionSlot, key: &str) {
        if let Some(control) = self.control_with_streams(slot)
            && let Some(streams) = self.connections[control.slot()].data_streams_mut()
        {
            streams.forget(key);
        }
    }

    /// Returns the control stream of a Session, if it has data streams beside it.
    pub(crate) fn control_with_streams(&mut self, slot: SessionSlot) -> Option<ConnectionId> {
        let control = self.session(slot).attached()?;
        self.connections[control.slot()].data_streams().is_some().then_some(control)
    }
}
