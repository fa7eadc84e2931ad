//! One Network Connection's bytes, in both directions, without blocking.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

/// A non-blocking stream of bytes. One kind per transport.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
}

impl Stream {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        // A broker writes whole packets, many at a time: waiting for more would only add latency.
        let _ = stream.set_nodelay(true);
        Self::Tcp(stream)
    }

    /// Reads what has arrived; 0 is the end. `WouldBlock`: nothing has.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
        }
    }

    /// Writes as much as there is room for. `WouldBlock`: there is none.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
        }
    }

    /// Tells the peer that nothing more will come.
    pub fn shutdown_write(&mut self) {
        match self {
            // It may be gone already: then there is nobody to be told.
            Self::Tcp(stream) => drop(stream.shutdown(Shutdown::Write)),
        }
    }

    /// The peer's address.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr(),
        }
    }

    pub(crate) fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Self::Tcp(stream) => stream,
        }
    }
}
