//! QUIC streams as the rest of the crate sees them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use quinn::VarInt;

use super::connection::Connection;
use super::halves::Halves;
use super::meeting::Meeting;
use crate::peer::{Peer, PeerAddress, Transport};
use crate::poller::Signal;
use crate::stream::Received;

/// A connection, with the bytes of its control stream. Dropping it still delivers what was written
/// (for at most a second) and then closes the connection.
///
/// It is not registered with the operating system: its owner gives it a [`Waker`], which is called
/// when a read, a write or [`QuicStream::accept_data_stream`] may do more than before. The waker is
/// called under locks of QUIC, so it must not touch the stream.
#[derive(Debug)]
pub(crate) struct QuicStream {
    state: State,
    address: SocketAddr,
    waker: Waker,
}

#[derive(Debug)]
enum State {
    /// A client's stream whose handshake is under way.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only clients connect"))]
    Connecting(Meeting),
    Open(Box<Connection>),
    Failed(io::ErrorKind, String),
}

/// A further stream of a connection. Dropping it still delivers what was written, as long as the
/// connection exists.
#[derive(Debug)]
pub(crate) struct QuicDataStream {
    halves: Halves,
}

impl QuicStream {
    pub(super) fn open(connection: Connection, address: SocketAddr) -> Self {
        let state = State::Open(Box::new(connection));
        Self { state, address, waker: Waker::noop().clone() }
    }

    #[cfg(feature = "client")]
    pub(super) fn connecting(meeting: Meeting, address: SocketAddr) -> Self {
        Self { state: State::Connecting(meeting), address, waker: Waker::noop().clone() }
    }

    /// Has a worker's signal given from now on, or no longer any.
    pub(crate) fn set_signal(&mut self, signal: Option<Arc<Signal>>) {
        self.set_waker(waker(signal));
    }

    /// Has `waker` called from now on, instead of the previous one. It is called once immediately,
    /// because what has become ready before is not reported again.
    pub(crate) fn set_waker(&mut self, waker: Waker) {
        match &mut self.state {
            State::Open(connection) => connection.set_waker(waker.clone()),
            State::Connecting(meeting) => meeting.set_waker(waker.clone()),
            State::Failed(..) => {}
        }
        waker.wake_by_ref();
        self.waker = waker;
    }

    /// Reads what has arrived until `into` (not empty) is full. `more`: there may be more, and the
    /// waker will not be called for it.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: nothing has arrived. `ConnectionReset`: the peer reset the stream or the
    /// connection. `TimedOut`: the peer has been silent for too long. An end that the peer wants is
    /// no error.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Received> {
        self.connected()?.read(into)
    }

    /// Writes as much as there is room for. If that is less than everything, the waker will be
    /// called.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: there is no room. `BrokenPipe`: the peer has ended the connection, or
    /// [`QuicStream::shutdown_write`] was called before. Otherwise the same as for
    /// [`QuicStream::read`].
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connected()?.write_vectored(slices)
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn shutdown_write(&mut self) {
        if let Ok(connection) = self.connected() {
            connection.finish();
        }
    }

    /// Lets the connection have more under way from now on, because it is known whose it is.
    pub(crate) fn widen(&mut self) {
        if let State::Open(connection) = &mut self.state {
            connection.widen();
        }
    }

    /// Ends the connection at once, with all its streams. What the peer has not received is lost.
    pub(crate) fn close(mut self, code: u32) {
        if let State::Open(connection) = &mut self.state {
            connection.close(VarInt::from_u32(code));
        }
    }

    /// Returns the next data stream that the peer has opened, if there is one. Its first bytes are
    /// there already.
    pub(crate) fn accept_data_stream(&mut self) -> Option<QuicDataStream> {
        match &mut self.state {
            State::Open(connection) => connection.accept_data_stream(&self.waker),
            State::Connecting(_) | State::Failed(..) => None,
        }
    }

    /// Opens a data stream, as a client. The peer learns of it when something has been written.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: the peer takes no more streams, or the handshake is under way. Otherwise the
    /// same as for [`QuicStream::read`].
    #[cfg(feature = "client")]
    pub(crate) fn open_data_stream(&mut self) -> io::Result<QuicDataStream> {
        self.connected()?.open_data_stream()
    }

    /// Returns whether the handshake of a client is complete.
    ///
    /// # Errors
    ///
    /// Why the handshake has failed.
    pub(crate) fn is_established(&self) -> io::Result<bool> {
        match &self.state {
            State::Open(_) => Ok(true),
            State::Connecting(meeting) => meeting.is_over(),
            State::Failed(kind, words) => Err(io::Error::new(*kind, words.clone())),
        }
    }

    /// Returns where the peer is now: it may move.
    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress::Network(match &self.state {
            State::Open(connection) => connection.address(),
            State::Connecting(_) | State::Failed(..) => self.address,
        })
    }

    /// Returns what is known of the peer.
    pub(crate) fn peer(&self) -> Peer {
        let tls = match &self.state {
            State::Open(connection) => Some(connection.tls()),
            State::Connecting(_) | State::Failed(..) => None,
        };
        Peer { address: self.address(), transport: Transport::Quic, proxy: None, tls }
    }

    fn connected(&mut self) -> io::Result<&mut Connection> {
        if let State::Connecting(meeting) = &self.state {
            self.state = match meeting.take() {
                None => return Err(io::ErrorKind::WouldBlock.into()),
                Some(Ok(mut connection)) => {
                    connection.set_waker(self.waker.clone());
                    State::Open(Box::new(connection))
                }
                Some(Err(error)) => State::Failed(error.kind(), error.to_string()),
            };
        }
        match &mut self.state {
            State::Open(connection) => Ok(connection),
            State::Failed(kind, words) => Err(io::Error::new(*kind, words.clone())),
            State::Connecting(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl QuicDataStream {
    pub(super) fn new(halves: Halves) -> Self {
        Self { halves }
    }

    /// Returns the stream's number within its connection: 4 for the first one of a client, then 8,
    /// 12 and so on.
    #[cfg(test)]
    pub(super) fn number(&self) -> u64 {
        self.halves.number()
    }

    /// Does the same as [`QuicStream::set_signal`].
    pub(crate) fn set_signal(&mut self, signal: Option<Arc<Signal>>) {
        self.set_waker(waker(signal));
    }

    /// Does the same as [`QuicStream::set_waker`].
    pub(crate) fn set_waker(&mut self, waker: Waker) {
        waker.wake_by_ref();
        self.halves.set_waker(waker);
    }

    /// Does the same as [`QuicStream::read`].
    ///
    /// # Errors
    ///
    /// The same as for [`QuicStream::read`].
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Received> {
        self.halves.read(into)
    }

    /// Does the same as [`QuicStream::write_vectored`].
    ///
    /// # Errors
    ///
    /// The same as for [`QuicStream::write_vectored`].
    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.halves.write_vectored(slices)
    }

    /// Tells the peer that nothing more will come on this stream.
    pub(crate) fn shutdown_write(&mut self) {
        self.halves.finish();
    }

    /// Ends this stream at once, in both directions, and tells the peer `code`. What the peer has
    /// not received is lost.
    pub(crate) fn abort(mut self, code: u32) {
        self.halves.abort(VarInt::from_u32(code));
    }
}

fn waker(signal: Option<Arc<Signal>>) -> Waker {
    signal.map_or_else(|| Waker::noop().clone(), Waker::from)
}
