//! One Network Connection's bytes, in both directions, without blocking.
//!
//! A stream is read and written in the same way, whatever is below: plain sockets directly, sockets
//! with layers (PROXY protocol, TLS, WebSocket) through these, QUIC through its own streams. It
//! never knows what the bytes mean.

use std::io::{self, IoSlice};
use std::time::Instant;

use crate::admission::{Refusal, Slot};
use crate::layered::{Layered, Milestone};
#[cfg(feature = "quic")]
use crate::peer::Transport;
use crate::peer::{Peer, PeerAddress};
#[cfg(feature = "quic")]
use crate::quic::{QuicDataStream, QuicStream};
use crate::scratch::Scratch;
use crate::socket::PlainSocket;

/// A non-blocking stream of bytes.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    address: PeerAddress,
    /// Its share of its listener's limits; absent for streams that this side has opened.
    slot: Option<Slot>,
}

#[derive(Debug)]
enum Kind {
    Plain(PlainSocket),
    Layered(Box<Layered>),
    #[cfg(feature = "quic")]
    Quic(Box<QuicStream>),
    #[cfg(feature = "quic")]
    QuicData(Box<QuicDataStream>),
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes have come. With `more`, further ones may be there already; without it, readiness is
    /// reported when there are.
    Bytes {
        /// How many; with `more` there may be none.
        count: usize,
        /// Whether to read again without waiting for readiness.
        more: bool,
    },
    /// The peer sends nothing more.
    End,
}

/// How the readiness of a stream is reported.
pub(crate) enum Source<'s> {
    /// The operating system reports it.
    System(&'s mut dyn mio::event::Source),
    /// The stream signals it.
    #[cfg(feature = "quic")]
    Signals(&'s mut QuicStream),
    /// The data stream signals it.
    #[cfg(feature = "quic")]
    DataSignals(&'s mut QuicDataStream),
}

impl Stream {
    /// Returns a stream of a socket whose bytes are read and written as they are.
    pub(crate) fn plain(socket: PlainSocket, address: PeerAddress, slot: Option<Slot>) -> Self {
        Self { kind: Kind::Plain(socket), address, slot }
    }

    /// Returns a stream of a socket with layers above it.
    pub(crate) fn layered(layered: Layered, address: PeerAddress, slot: Option<Slot>) -> Self {
        Self { kind: Kind::Layered(Box::new(layered)), address, slot }
    }

    /// Returns a stream of a QUIC connection with its control stream. It keeps its share of the
    /// limits itself, until its last bytes have arrived.
    #[cfg(feature = "quic")]
    pub(crate) fn quic(stream: QuicStream) -> Self {
        let address = stream.address();
        Self { kind: Kind::Quic(Box::new(stream)), address, slot: None }
    }

    /// Returns the next stream that the peer has opened beside this one, as QUIC Clients may. To be
    /// called whenever this stream is readable. The new stream is registered, read and written like
    /// any other; but only this one tells what is known of the peer.
    pub fn accept_data_stream(&mut self) -> Option<Self> {
        match &mut self.kind {
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => {
                let kind = Kind::QuicData(Box::new(stream.accept_data_stream()?));
                Some(Self { kind, address: stream.address(), slot: None })
            }
            _ => None,
        }
    }

    /// Opens a stream beside this one. The peer learns of it when something has been written.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: the peer takes no more streams for now. `Unsupported`: this is not QUIC.
    #[cfg(feature = "client")]
    pub fn open_data_stream(&mut self) -> io::Result<Self> {
        match &mut self.kind {
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => {
                let kind = Kind::QuicData(Box::new(stream.open_data_stream()?));
                Ok(Self { kind, address: stream.address(), slot: None })
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends the stream at once, and tells the peer `code` where that is possible: a data stream is
    /// reset, a QUIC connection is closed. Others are just dropped. What the peer has not received
    /// is lost.
    pub fn abort(self, code: u32) {
        match self.kind {
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.close(code),
            #[cfg(feature = "quic")]
            Kind::QuicData(stream) => stream.abort(code),
            Kind::Plain(_) | Kind::Layered(_) => {
                let _ = code;
            }
        }
    }

    #[cfg(all(test, feature = "quic"))]
    pub(crate) fn into_quic(self) -> Option<QuicStream> {
        match self.kind {
            Kind::Quic(stream) => Some(*stream),
            _ => None,
        }
    }

    /// Reads what has arrived.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: nothing has arrived. `InvalidData`: the peer has broken a rule of a layer, and
    /// the error says which. Other errors are the operating system's.
    #[inline]
    pub fn read(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Received> {
        match &mut self.kind {
            Kind::Plain(socket) => match socket.read(into)? {
                0 => Ok(Received::End),
                count => Ok(Received::Bytes { count, more: count == into.len() }),
            },
            Kind::Layered(_) => self.read_layered(into, scratch),
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.read(into),
            #[cfg(feature = "quic")]
            Kind::QuicData(stream) => stream.read(into),
        }
    }

    fn read_layered(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Received> {
        let Kind::Layered(layered) = &mut self.kind else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let result = layered.read(into, scratch);
        if let (Some(milestone), Ok(_)) = (layered.take_milestone(), &result) {
            self.pass(milestone).map_err(refused)?;
        }
        let Kind::Layered(layered) = &mut self.kind else {
            return result;
        };
        let is_refused =
            result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::InvalidData);
        match &mut self.slot {
            Some(slot) if is_refused => slot.handshake_failed(),
            Some(slot) if !layered.is_handshaking() => slot.handshake_done(),
            _ => (),
        }
        result
    }

    /// Decides whether the connection may go on from this milestone.
    fn pass(&mut self, milestone: Milestone) -> Result<(), Refusal> {
        if let Milestone::Located(Some(source)) = milestone {
            self.address = PeerAddress::Network(source);
        }
        let (Some(slot), address) = (&mut self.slot, self.address.ip()) else {
            return Ok(());
        };
        match (milestone, address) {
            (Milestone::Begun, _) => slot.begin_handshake(),
            (Milestone::Located(_), Some(address)) => slot.name_address(address, Instant::now()),
            (Milestone::Located(_), None) => Ok(()),
        }
    }

    /// Returns the first few bytes that came, as the peer sent them. Empty unless there are layers
    /// that take them.
    pub fn first_bytes(&self) -> &[u8] {
        match &self.kind {
            Kind::Layered(layered) => layered.first_bytes(),
            _ => &[],
        }
    }

    /// Returns whether a read may use a buffer of any length.
    pub fn reads_any_length(&self) -> bool {
        !matches!(self.kind, Kind::Layered(_))
    }

    /// Returns whether the peer's bytes are read as they come, so that after its last one nothing
    /// more of it is under way. Layers, and QUIC, have last words of their own.
    pub fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain(_))
    }

    /// Returns whether a layer has the beginning of something whose rest has not come yet.
    pub fn has_partial_record(&self) -> bool {
        match &self.kind {
            Kind::Layered(layered) => layered.has_partial_record(),
            _ => false,
        }
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: there is no room, or the handshake is not complete. Other errors are the
    /// operating system's.
    #[inline]
    pub fn write_vectored(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Scratch,
    ) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Plain(socket) => socket.write_vectored(slices),
            Kind::Layered(layered) => layered.write_vectored(slices, scratch),
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.write_vectored(slices),
            #[cfg(feature = "quic")]
            Kind::QuicData(stream) => stream.write_vectored(slices),
        }
    }

    /// Returns whether a write may take something after one that did not take everything. If not,
    /// readiness is reported.
    pub fn takes_more(&self) -> bool {
        match &self.kind {
            Kind::Plain(_) => false,
            // Layers take a chunk at a time.
            Kind::Layered(layered) => !layered.wants_write(),
            // The write has gone on until there was no room.
            #[cfg(feature = "quic")]
            Kind::Quic(_) | Kind::QuicData(_) => false,
        }
    }

    /// Returns whether bytes that were taken already, or a layer's own, wait for the socket.
    #[inline]
    pub fn wants_write(&self) -> bool {
        match &self.kind {
            Kind::Layered(layered) => layered.wants_write(),
            _ => false,
        }
    }

    /// Writes what waits for the socket, as far as there is room.
    ///
    /// # Errors
    ///
    /// The operating system's errors. Lack of room is none.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Layered(layered) => layered.flush(),
            _ => Ok(()),
        }
    }

    /// Notes that the stream is being closed, although bytes may still wait for the socket: a
    /// handshake under way has failed, and its place is free for another one.
    pub fn give_up_handshake(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.handshake_failed();
        }
    }

    /// Gives back the place among the connections of its listener: the conversation is over, and
    /// only the last bytes are still on their way.
    pub fn leave_listener(&mut self) {
        self.slot = None;
    }

    /// Tells the peer that nothing more will come, in the way of each layer. A handshake under way
    /// has failed.
    pub fn shutdown_write(&mut self, scratch: &mut Scratch) {
        self.give_up_handshake();
        match &mut self.kind {
            Kind::Plain(socket) => socket.shutdown_write(),
            Kind::Layered(layered) => layered.shutdown_write(scratch),
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.shutdown_write(),
            #[cfg(feature = "quic")]
            Kind::QuicData(stream) => stream.shutdown_write(),
        }
    }

    /// Lets the connection have more under way from now on, because it is known whose it is. Only
    /// some transports have a say in that.
    pub fn widen(&mut self) {
        match &mut self.kind {
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.widen(),
            _ => (),
        }
    }

    /// Says goodbye in the way of each layer to a peer that has said goodbye itself.
    pub fn answer_end(&mut self, scratch: &mut Scratch) {
        if let Kind::Layered(layered) = &mut self.kind {
            layered.shutdown_write(scratch);
        }
    }

    /// Returns whether the peer may open further streams beside this one.
    pub fn may_have_data_streams(&self) -> bool {
        match &self.kind {
            #[cfg(feature = "quic")]
            Kind::Quic(_) => true,
            _ => false,
        }
    }

    /// Returns whether a layer's handshake is under way: reading it may cost much more than its
    /// bytes.
    pub fn is_handshaking(&self) -> bool {
        match &self.kind {
            Kind::Layered(layered) => layered.is_handshaking(),
            // A stream from a listener has completed its handshake; a client's may not have.
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => matches!(stream.is_established(), Ok(false)),
            _ => false,
        }
    }

    /// Returns about how many bytes the layers keep: of a handshake or something else that is
    /// incomplete, and what waits for the socket.
    pub fn kept_bytes(&self) -> usize {
        match &self.kind {
            Kind::Layered(layered) => layered.kept_bytes(),
            _ => 0,
        }
    }

    /// Returns where the peer is: as the operating system says, or a trusted proxy.
    pub fn address(&self) -> PeerAddress {
        match &self.kind {
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.address(),
            _ => self.address,
        }
    }

    /// Returns all that is known of the peer. It is complete once no handshake is under way.
    pub fn peer(&self) -> Peer {
        let address = self.address();
        match &self.kind {
            Kind::Plain(socket) => {
                Peer { address, transport: socket.transport(), proxy: None, tls: None }
            }
            Kind::Layered(layered) => Peer {
                address,
                transport: layered.transport(),
                proxy: layered.proxy_info(),
                tls: layered.tls_info(),
            },
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.peer(),
            #[cfg(feature = "quic")]
            Kind::QuicData(_) => {
                Peer { address, transport: Transport::Quic, proxy: None, tls: None }
            }
        }
    }

    /// Returns whether a stream that this side opens is connected.
    ///
    /// # Errors
    ///
    /// Why it cannot be connected.
    pub fn is_established(&self) -> io::Result<bool> {
        match &self.kind {
            Kind::Plain(socket) => socket.is_established(),
            Kind::Layered(layered) => layered.is_established(),
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => stream.is_established(),
            #[cfg(feature = "quic")]
            Kind::QuicData(_) => Ok(true),
        }
    }

    pub(crate) fn readiness(&mut self) -> Source<'_> {
        match &mut self.kind {
            Kind::Plain(socket) => Source::System(socket.source()),
            Kind::Layered(layered) => Source::System(layered.source()),
            #[cfg(feature = "quic")]
            Kind::Quic(stream) => Source::Signals(stream),
            #[cfg(feature = "quic")]
            Kind::QuicData(stream) => Source::DataSignals(stream),
        }
    }
}

fn refused(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, refusal)
}
