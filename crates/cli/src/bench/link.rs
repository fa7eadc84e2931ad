//! A Network Connection of the generator: a socket, the start of a packet that is not all there
//! yet, and the bytes that leave at the end of the turn.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::error::BenchError;
use super::wire::Frame;

/// One connection, registered edge triggered for both directions.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    partial: Vec<u8>,
    /// What is to be sent; callers append.
    pub(crate) out: Vec<u8>,
    /// How much of `out` was written already.
    written: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Nothing: wait for the next event.
    Nothing,
    /// So many bytes are in the scratch buffer; `more` may be waiting.
    Bytes { length: usize, more: bool },
    /// The broker has closed the connection.
    Closed,
}

impl Link {
    /// Begins to connect. The token's first writable event says that it has come about.
    pub(crate) fn connect(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, partial: Vec::new(), out: Vec::new(), written: 0 })
    }

    /// Whether the connection has come about; an error if it cannot.
    pub(crate) fn is_established(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => self.stream.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads once into `scratch`, behind the start of a packet that an earlier read left over.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Received> {
        let kept = self.partial.len();
        match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => Ok(Received::Closed),
            Ok(count) => {
                scratch[..kept].copy_from_slice(&self.partial);
                self.partial.clear();
                let length = kept + count;
                Ok(Received::Bytes { length, more: length == scratch.len() })
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Received::Nothing),
                ErrorKind::ConnectionReset => Ok(Received::Closed),
                _ => Err(error),
            },
        }
    }

    /// Calls `handle` for each whole packet of `bytes` and keeps what is left for the next read.
    #[inline]
    pub(crate) fn split<'a>(
        &mut self,
        bytes: &'a [u8],
        mut handle: impl FnMut(Frame<'a>, &mut Vec<u8>) -> Result<(), BenchError>,
    ) -> Result<(), BenchError> {
        let mut rest = bytes;
        while let Some((frame, length)) = Frame::next(rest)? {
            handle(frame, &mut self.out)?;
            rest = &rest[length..];
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what is to be sent, as far as the socket takes it; the rest waits for its event.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Frees the buffers, for a connection that will be idle.
    pub(crate) fn shrink(&mut self) {
        self.partial.shrink_to_fit();
        self.out.shrink_to_fit();
    }
}
