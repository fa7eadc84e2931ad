//! From readable sockets to Control Packets in the core.

use std::io;
use std::sync::Arc;

use midge_codec::{Decoded, Packet, PacketType, decode};
use midge_core::{ConnectionId, Opening, Output, Timestamp, Tracing};
use midge_net::{Received, Stream};

use crate::directory::Ownership;
use crate::greeting::{Expected, Greeting};
use crate::inbox::{Letter, Newcomer};
use crate::listener_terms::ListenerTerms;
use crate::worker::sockets::{Arrival, Socket};
use crate::worker::{Stage, WaysIn, Worker};

/// What to do after some bytes were decoded.
enum Outcome {
    /// `consumed` bytes made up packets; the rest waits for more.
    GoOn { consumed: usize },
    /// The connection is closed, or belongs to another worker.
    Gone,
}

/// Where a packet is handled.
enum Handover {
    /// Here.
    Stays,
    /// Not yet. Of a CONNECT, it may not be known where before the Session of its Client has moved.
    Waits,
    /// At another worker, or nowhere: the connection is gone.
    Gone,
}

impl Worker {
    /// Partial packets up to this size are moved into the scratch buffer and completed there;
    /// larger ones grow in place.
    pub(crate) const MOVED_PARTIAL_BYTES_MAX: usize = 16 * 1024;
    /// The room that streams with layers need for a read. Other streams can be read into less.
    pub(crate) const LAYERED_READ_BYTES: usize = 128 * 1024;
    /// Handshake steps in a turn. One step can cost as much as a thousand messages, and connected
    /// Clients wait for it.
    const TURN_HANDSHAKES_MAX: usize = 8;

    /// Accepts the connections that wait at listeners. This worker opens its own at once, so that
    /// they need no second thread; others go on to their workers.
    pub(crate) fn accept_callers(&mut self) {
        if self.callers.is_empty() {
            return;
        }
        let WaysIn { entrance, passing_on } = self.node.ways_in.clone();
        let mut callers = std::mem::take(&mut self.callers);
        let mut own = std::mem::take(&mut self.newcomers);
        // While the listeners are held, so that each connection has the terms that it came by.
        let this = self.id.index();
        let mut place = |accepted| match passing_on.place(accepted, Some(this)) {
            Some((worker, newcomer)) if worker == this => own.push(newcomer),
            Some((worker, newcomer)) => passing_on.send(worker, newcomer),
            None => (),
        };
        callers.retain(|number| entrance.accept(*number, &mut place));
        self.callers = callers;
        own.drain(..).for_each(|newcomer| self.open_accepted(newcomer));
        self.newcomers = own;
    }

    /// Takes a connection that a listener has accepted.
    pub(crate) fn open_accepted(&mut self, newcomer: Newcomer) {
        let Newcomer { stream, terms, opened, is_turned_away } = newcomer;
        // The time taken by the handshake counts.
        let taken_ms = u32::try_from(opened.elapsed().as_millis()).unwrap_or(u32::MAX);
        let deadline_ms = terms.connect_deadline_ms.saturating_sub(taken_ms);
        let opened = self.node.clock.now().minus_millis(taken_ms.into());
        self.open(
            Arrival { stream, terms, opened, is_turned_away, bytes: Vec::new() },
            deadline_ms,
        );
    }

    /// Takes a connection of which another worker has read the CONNECT.
    pub(crate) fn open_handed_over(
        &mut self,
        stream: Stream,
        terms: Arc<ListenerTerms>,
        opened: Timestamp,
        bytes: Vec<u8>,
    ) {
        let deadline_ms = terms.connect_deadline_ms;
        self.open(Arrival { stream, terms, opened, is_turned_away: false, bytes }, deadline_ms);
    }

    /// Takes a new connection, which has so many milliseconds for its CONNECT.
    pub(crate) fn open(&mut self, arrival: Arrival, deadline_ms: u32) {
        let Arrival { mut stream, terms, opened, is_turned_away, bytes } = arrival;
        let opening = Opening {
            listener: Some(terms.place.number),
            connect_deadline_ms: Some(deadline_ms),
            is_handed_over: !bytes.is_empty(),
            is_turned_away,
            capabilities: terms.capabilities,
            durability: terms.durability,
        };
        let id = self.core.open_connection(opening, self.turn.now);
        // Its listener may have gone while the connection came or was handed over.
        if self.stage != Stage::Running || terms.place.is_removed() {
            self.core.handle_closed(id, &mut self.turn);
            return self.count_closed(is_turned_away);
        }
        if let Err(error) = self.poller.register(&mut stream, id.slot()) {
            log::error!("{}: cannot watch the connection: {error}", stream.address());
            self.core.handle_closed(id, &mut self.turn);
            return self.count_closed(is_turned_away);
        }
        // The poller reports what has come or comes, mostly behind what has come on older
        // connections; in any case a CONNECT waits until the old connection of its Client was read.
        // But of one that was handed over, a CONNECT was read already, and must be handled after
        // those that came before it.
        let is_postponed = !bytes.is_empty();
        let (is_readable, is_queued) = (is_postponed, is_postponed);
        let socket = Socket { is_readable, is_queued, ..Socket::new(id, stream, terms, opened) };
        self.sockets.insert(Socket { is_turned_away, partial: bytes, is_postponed, ..socket });
        self.opened.extend(is_postponed.then_some(id));
    }

    /// Looks at the sockets before CONNECTs are handled that other workers have read, so that older
    /// connections come first: a DISCONNECT that came before a CONNECT of the same Client takes
    /// effect before it.
    pub(crate) fn put_new_behind_old(&mut self) {
        if !self.opened.is_empty() {
            self.look();
            self.readable.extend(self.opened.drain(..));
        }
    }

    /// Begins a turn with a new share of bytes.
    pub(crate) fn begin_reading(&mut self) {
        self.turn_bytes = 0;
        self.turn_handshakes = 0;
        self.core.set_congested(self.is_congested());
    }

    /// Reads every socket that has something, once each and within the turn's share of bytes. A
    /// socket that has more is read again next turn.
    pub(crate) fn read_sockets(&mut self) {
        if self.is_overfull() {
            return;
        }
        self.look_at_held_connects();
        // Connections listed from now on come after those that were not reached.
        self.to_read = self.readable.len();
        let mut is_first = true;
        // At least one is read, however much of the turn's share letters have used up.
        while self.to_read > 0
            && (is_first || self.has_share())
            && let Some(id) = self.readable.pop_front()
        {
            self.to_read -= 1;
            is_first = false;
            self.read_listed(id);
        }
    }

    /// Returns whether the turn may read more.
    pub(crate) fn has_share(&self) -> bool {
        self.turn_bytes < self.turn_bytes_max && !self.core.is_turn_over()
    }

    pub(crate) fn read_socket(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        let is_postponed = std::mem::take(&mut socket.is_postponed);
        if !socket.is_reading || socket.reservation.waits() {
            return;
        }
        if is_postponed {
            return self.resume_reading(id); // with what the last turn had no time for
        }
        if !socket.is_readable {
            return;
        }
        if socket.stream.is_handshaking() {
            if self.turn_handshakes == Self::TURN_HANDSHAKES_MAX {
                return self.list(id);
            }
            self.turn_handshakes += 1;
        }
        if !socket.is_broken && self.is_choked(id) {
            self.choke(id);
            return self.take_data_streams(id);
        }
        self.read_stream(id);
        self.take_data_streams(id);
    }

    /// Takes the data streams that the peer has opened, once its CONNECT is accepted.
    fn take_data_streams(&mut self, id: ConnectionId) {
        while let Some(socket) = self.sockets.of(id)
            && socket.stream.may_have_data_streams()
            && socket.control.is_none()
            && self.core.protocol(id).is_some_and(|(_, is_connected)| is_connected)
        {
            let Some(mut stream) = socket.stream.accept_data_stream() else {
                return;
            };
            let (terms, opened) = (Arc::clone(&socket.terms), socket.opened);
            let Some(data_stream) = self.core.open_data_stream(id, self.turn.now) else {
                return;
            };
            if self.poller.register(&mut stream, data_stream.slot()).is_err() {
                return self.core.handle_closed(data_stream, &mut self.turn);
            }
            let control = Some(id);
            let socket = Socket::new(data_stream, stream, terms, opened);
            self.sockets.insert(Socket { control, ..socket });
            self.readable.push_back(data_stream);
        }
    }

    fn read_stream(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        let mut partial = std::mem::take(&mut socket.partial);
        let is_moved = partial.len() <= Self::MOVED_PARTIAL_BYTES_MAX;
        let start = if is_moved { partial.len() } else { 0 };
        self.scratch[..start].copy_from_slice(&partial[..start]);
        // The bytes after a PUBLISH that is not taken have to be kept.
        let is_tight = self.core.holds_publishers_back() || self.node.unfinished.is_tight();
        let room = match (is_tight, socket.stream.reads_any_length()) {
            (false, _) => self.scratch.len(),
            (true, false) => start + Self::LAYERED_READ_BYTES,
            (true, true) => start + Self::MOVED_PARTIAL_BYTES_MAX,
        };
        let received = socket.stream.read(&mut self.scratch[start..room], &mut self.stream_scratch);
        self.turn.now = self.node.clock.now();
        match received {
            Ok(Received::End) => {
                // The bytes that came with the stream from another worker were not decoded yet.
                if self.core.protocol(id).is_some_and(|(_, is_connected)| !is_connected) {
                    self.decode_and_keep(id, partial);
                }
                return self.note_end(id);
            }
            Ok(Received::Bytes { count, more }) => {
                socket.is_active = true;
                socket.is_readable = more || socket.ends;
                socket.is_drained = !more;
                if socket.is_readable {
                    self.list(id);
                }
                let taken = count.max(self.stream_scratch.take_count());
                self.turn_bytes += taken;
                self.core.count_bytes_received(count as u64);
                if is_moved {
                    drop(partial);
                    self.decode_scratch(id, start + count);
                } else {
                    partial.extend_from_slice(&self.scratch[..count]);
                    self.decode_and_keep(id, partial);
                }
                return self.note_arriving(id, taken);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.turn_bytes += self.stream_scratch.take_count();
                if socket.is_broken {
                    return self.lost(id);
                }
                socket.is_readable = false;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.list(id),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return self.end_invalid(id, &error);
            }
            Err(_) => return self.lost(id),
        }
        if let Some(socket) = self.sockets.of(id) {
            socket.partial = partial;
        }
    }

    /// Notes that `bytes` bytes have come. If they belong to an incomplete packet, they are a sign
    /// of life.
    fn note_arriving(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(socket) = self.sockets.of(id)
            && (!socket.partial.is_empty() || socket.stream.has_partial_record())
        {
            self.core.note_arriving(id, bytes, self.turn.now);
        }
    }

    /// Ends a connection whose peer has broken a rule of a layer below MQTT. The layer has already
    /// written its answer; the peer gets a moment to read it.
    fn end_invalid(&mut self, id: ConnectionId, error: &io::Error) {
        let is_stranger = !self.core.protocol(id).is_some_and(|(_, is_connected)| is_connected);
        if !is_stranger || self.log_limit.allows(self.turn.now) {
            self.log_broken(id, error, is_stranger);
        }
        self.end_connection(id);
    }

    /// Returns whether the peer leaves more unread than the core sends unasked. The excess must be
    /// answers that the peer does not read, and reading more of its requests would only add to
    /// them.
    fn is_choked(&mut self, id: ConnectionId) -> bool {
        let unread = self.core.output(id).map_or(0, Output::pending);
        unread / 2 > self.output_bytes_max as usize
    }

    fn choke(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.of(id) {
            socket.is_choked = true;
        }
    }

    fn unchoke(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.of(id) {
            socket.is_choked = false;
            self.list(id);
        }
    }

    /// Goes on with what waited, after bytes were written.
    pub(crate) fn note_flushed(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        if socket.is_closing {
            return self.end_if_written(id);
        }
        if socket.is_choked && !self.is_choked(id) {
            self.unchoke(id);
        }
    }

    /// Decodes the first `length` bytes of the scratch buffer, and keeps an incomplete packet at
    /// the end.
    fn decode_scratch(&mut self, id: ConnectionId, length: usize) {
        let scratch = std::mem::take(&mut self.scratch);
        if let Outcome::GoOn { consumed } = self.decode(id, &scratch[..length])
            && consumed < length
            && let Some(socket) = self.sockets.of(id)
        {
            let rest = &scratch[consumed..length];
            // Reserves room for the whole packet if memory is reserved for it: growing step by step
            // would take twice as much.
            socket.partial = Vec::with_capacity(rest.len().max(socket.reservation.bytes()));
            socket.partial.extend_from_slice(rest);
        }
        self.scratch = scratch;
    }

    /// Decodes bytes that the connection owns, and keeps an incomplete packet at the end.
    fn decode_and_keep(&mut self, id: ConnectionId, mut bytes: Vec<u8>) {
        if let Outcome::GoOn { consumed } = self.decode(id, &bytes)
            && consumed < bytes.len()
            && let Some(socket) = self.sockets.of(id)
        {
            bytes.drain(..consumed);
            bytes.reserve_exact(socket.reservation.bytes().saturating_sub(bytes.len()));
            if bytes.capacity() > 2 * bytes.len().max(socket.reservation.bytes()) {
                bytes.shrink_to_fit();
            }
            socket.partial = bytes;
        }
    }

    /// Goes on with a connection that was not read for a while.
    pub(crate) fn resume_reading(&mut self, id: ConnectionId) {
        // The connection may have been paused or closed again since it was put on the list.
        let Some(socket) = self.sockets.of(id).filter(|it| it.is_reading && !it.is_postponed)
        else {
            return;
        };
        let partial = std::mem::take(&mut socket.partial);
        if !partial.is_empty() {
            self.decode_and_keep(id, partial);
        }
        self.list(id);
        // Data streams may have come while the CONNECT waited.
        self.take_data_streams(id);
    }

    fn decode(&mut self, id: ConnectionId, bytes: &[u8]) -> Outcome {
        let mut consumed = 0;
        let Some((mut version, mut is_connected)) = self.core.protocol(id) else {
            return Outcome::Gone;
        };
        let (before_connect_max, connected_max) = self.packet_bytes_max(id);
        if !is_connected
            && self.core.awaits_connect(id)
            && let Some(outcome) = self.look_for_foreign(id, bytes)
        {
            return outcome;
        }
        let had_large = self.sockets.of(id).is_some_and(|it| it.reservation.bytes() > 0);
        while consumed < bytes.len() {
            let packet_bytes_max = match is_connected {
                true => connected_max,
                false => before_connect_max,
            };
            let rest = &bytes[consumed..];
            match decode(rest, version, packet_bytes_max) {
                Ok(Decoded::Packet { packet, length }) => {
                    match self.whose(id, &packet, rest, is_connected) {
                        Handover::Stays => (),
                        Handover::Waits => break,
                        Handover::Gone => return Outcome::Gone,
                    }
                    consumed += length;
                    if self.tracing != Tracing::Off {
                        self.log_received(id, &packet, length);
                    }
                    self.core.handle_packet(id, &packet, &mut self.turn);
                }
                Ok(Decoded::Incomplete { needed }) => {
                    if had_large && consumed > 0 {
                        self.give_back_reservation(id); // that packet is complete
                    }
                    self.note_incomplete(id, rest, needed);
                    return Outcome::GoOn { consumed };
                }
                Err(error) => {
                    self.core.handle_malformed(id, &error, rest, &mut self.turn);
                    return Outcome::Gone;
                }
            }
            if !self.turn.fx.authenticate.is_empty() {
                self.authenticate(&bytes[consumed..]);
            }
            if !self.turn.fx.reading.is_empty() {
                self.note_reading();
                let reads = self.sockets.of(id).is_some_and(|socket| socket.is_reading);
                if !reads {
                    break;
                }
            }
            match self.core.protocol(id) {
                Some(protocol) => (version, is_connected) = protocol,
                None => return self.note_gone(id, consumed < bytes.len()),
            }
            if self.core.is_turn_over() && consumed < bytes.len() {
                self.postpone(id);
                break;
            }
        }
        if had_large && consumed > 0 {
            self.give_back_reservation(id);
        }
        Outcome::GoOn { consumed }
    }

    /// Says whether a packet is handled here and now. `rest` begins with it.
    fn whose(
        &mut self,
        id: ConnectionId,
        packet: &Packet<'_>,
        rest: &[u8],
        is_connected: bool,
    ) -> Handover {
        let handover = match is_connected {
            true => Handover::Stays,
            false => self.hand_over(id, packet, rest),
        };
        let stays = matches!(handover, Handover::Stays);
        if stays && self.has_to_wait(id, packet, is_connected) { Handover::Waits } else { handover }
    }

    /// Notes whether something has come behind the last packet of a connection. A Client that talks
    /// on behind its DISCONNECT may have more under way.
    fn note_gone(&mut self, id: ConnectionId, has_rest: bool) -> Outcome {
        if let Some(socket) = self.sockets.of(id) {
            socket.is_drained &= !has_rest;
        }
        Outcome::Gone
    }

    /// Notes that a packet, of which `bytes` have come, needs `needed` bytes in all. A large
    /// PUBLISH is not read on while it would not be taken.
    fn note_incomplete(&mut self, id: ConnectionId, bytes: &[u8], needed: usize) {
        let is_publish = bytes.first().is_some_and(|first| first >> 4 == PacketType::Publish as u8);
        if is_publish
            && needed > Self::MOVED_PARTIAL_BYTES_MAX
            && !self.core.takes_publish(id, None, &mut self.turn)
        {
            self.note_reading();
        }
        if bytes.len() > Self::MOVED_PARTIAL_BYTES_MAX {
            self.reserve(id, needed);
        }
    }

    /// Looks whether the first bytes of a connection belong to another protocol. If so, ends it; if
    /// more bytes have to tell, waits for them, at most until the deadline of the CONNECT.
    fn look_for_foreign(&mut self, id: ConnectionId, bytes: &[u8]) -> Option<Outcome> {
        if self.refuse_foreign(id, bytes) {
            return Some(Outcome::Gone);
        }
        Greeting::may_become_foreign(bytes).then_some(Outcome::GoOn { consumed: 0 })
    }

    /// Ends a connection whose first bytes belong to another protocol. Returns true if they do.
    fn refuse_foreign(&mut self, id: ConnectionId, bytes: &[u8]) -> bool {
        let Some(greeting) = Greeting::of(bytes) else {
            return false;
        };
        // Layers are already removed here, so MQTT is expected, whatever the listener's layers are.
        // A PROXY header that gets here came to a listener that takes none.
        let expected = Expected::default();
        let Some(complaint) = expected.complaint(greeting) else {
            return false;
        };
        let answer = if greeting == Greeting::Http { Greeting::HTTP_ANSWER } else { "" };
        self.core.handle_foreign(id, complaint, answer.as_bytes(), &mut self.turn);
        true
    }

    /// Returns whether a packet must not be handled yet. It then stays where it is.
    fn has_to_wait(&mut self, id: ConnectionId, packet: &Packet<'_>, is_connected: bool) -> bool {
        match packet {
            Packet::Publish(publish) => {
                let waits = !self.core.takes_publish(id, Some(publish), &mut self.turn);
                if waits {
                    self.note_reading();
                }
                waits
            }
            Packet::Connect(connect) if !is_connected => {
                self.has_connect_to_wait(id, connect.client_id)
            }
            _ => false,
        }
    }

    pub(crate) fn postpone(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.of(id) {
            socket.is_postponed = true;
            self.list(id);
        }
    }

    /// Puts a connection on the list of those to be read, unless it is there already.
    pub(crate) fn list(&mut self, id: ConnectionId) {
        if self.sockets.of(id).is_some_and(Socket::goes_on_list) {
            self.readable.push_back(id);
        }
    }

    /// Returns how many bytes a packet may have: before the CONNECT is accepted, and after that.
    fn packet_bytes_max(&mut self, id: ConnectionId) -> (u32, u32) {
        let socket = self.sockets.of(id);
        socket.map_or((0, 0), |socket| {
            (socket.terms.packet_before_connect_bytes_max, socket.terms.packet_bytes_max)
        })
    }

    /// Hands a CONNECT for a Session of another worker over to that worker, with everything read so
    /// far.
    fn hand_over(&mut self, id: ConnectionId, packet: &Packet<'_>, rest: &[u8]) -> Handover {
        let (Some(directory), Packet::Connect(connect)) = (&self.node.directory, packet) else {
            return Handover::Stays;
        };
        let Some(socket) = self.sockets.of(id) else {
            return Handover::Stays;
        };
        let has_asked = std::mem::replace(&mut socket.has_asked, true);
        if has_asked || socket.is_turned_away || connect.client_id.is_empty() {
            return Handover::Stays;
        }
        let owner = match directory.owner_or_claim(connect.client_id, self.id) {
            Ownership::Own => {
                socket.claim = Some(Box::new(connect.client_id.into()));
                return Handover::Stays;
            }
            Ownership::Moving(from) => {
                socket.has_asked = false;
                let client_id = connect.client_id.into();
                self.node.inboxes[from.index()].send(Letter::CallOffMove { client_id });
                self.hold_connect(id);
                return Handover::Waits;
            }
            Ownership::Other(owner) => owner,
        };
        let Some(mut socket) = self.sockets.remove(id) else {
            return Handover::Gone;
        };
        self.end_reservation(&socket.reservation);
        if self.poller.deregister(&mut socket.stream).is_err() {
            self.core.handle_closed(id, &mut self.turn);
            self.count_closed(false);
            return Handover::Gone;
        }
        self.core.forget_connection(id);
        self.count_handed_over(owner);
        self.node.inboxes[owner.index()].send(Letter::HandedOver {
            stream: socket.stream,
            terms: socket.terms,
            opened: socket.opened,
            bytes: rest.to_vec(),
        });
        Handover::Gone
    }

    /// Notes which connections the core wants to be read and which not.
    pub(crate) fn note_reading(&mut self) {
        for (id, reads) in self.turn.fx.reading.drain(..) {
            let Some(socket) = self.sockets.of(id) else {
                continue;
            };
            if socket.is_closing {
                continue;
            }
            if reads && !socket.is_reading {
                self.resumed.push(id);
            }
            socket.is_reading = reads;
        }
    }

    /// Notes that nothing can be written any more, most likely because the peer has gone. What it
    /// sent before that is still read; then the connection counts as lost.
    pub(crate) fn note_broken(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        socket.is_broken = true;
        socket.is_readable = true;
        socket.ends = true;
        if socket.is_reading && socket.goes_on_list() {
            self.readable.push_back(id);
        }
    }

    /// Handles the end of what the peer sends. On a data stream, it may still wait for its last
    /// answers.
    fn note_end(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.of(id) else {
            return;
        };
        if socket.control.is_some() {
            return self.core.finish_data_stream(id, &mut self.turn);
        }
        socket.stream.answer_end(&mut self.stream_scratch);
        self.lost(id);
    }

    /// Ends a connection whose peer has gone.
    pub(crate) fn lost(&mut self, id: ConnectionId) {
        self.core.handle_closed(id, &mut self.turn);
        // While the address of the peer is still known.
        self.tell_events();
        if let Some(stream) = self.drop_socket(id) {
            self.poller.forget(stream);
        }
    }

    /// Takes a connection's stream, which the poller still watches.
    pub(crate) fn drop_socket(&mut self, id: ConnectionId) -> Option<Stream> {
        self.leave_connect_line(id);
        let socket = self.sockets.remove(id)?;
        self.end_reservation(&socket.reservation);
        if socket.control.is_none() {
            self.count_closed(socket.is_turned_away);
        }
        if let (Some(client_id), Some(directory)) = (socket.claim, &self.node.directory) {
            directory.end_claim(&client_id, self.id, self.core.owns(&client_id));
        }
        Some(socket.stream)
    }
}
