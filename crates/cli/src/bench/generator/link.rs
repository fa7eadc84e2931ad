//! A Network Connection of the generator: a socket, the start of a packet that has not arrived in
//! full, and the bytes that leave at the end of the turn. With QUIC there may be two streams: then
//! everything is sent on the data stream, and the control stream is only read.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use midge_net::{Connector, Poller, Received as Arrived, Scratch, Stream};

use super::super::error::BenchError;
use super::wire::Frame;
use crate::endpoint::Endpoint;

/// Opens the connections of a thread.
#[derive(Debug)]
pub(crate) struct Dialer {
    connector: Connector,
    /// The host's first address; a Unix socket has none.
    address: Option<SocketAddr>,
}

/// One connection, registered edge triggered for both directions.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    partial: Vec<u8>,
    /// The control stream and its start of a packet, if `stream` is a data stream.
    control: Option<(Stream, Vec<u8>)>,
    /// Whether the control stream was read last and stands in the place of the data stream.
    is_swapped: bool,
    /// The bytes to be sent; callers append.
    pub(crate) out: Vec<u8>,
    /// How much of `out` was written already.
    written: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Nothing: wait for the next event.
    Nothing,
    /// This many bytes are in the scratch buffer; `more` may be waiting.
    Bytes { length: usize, more: bool },
    /// The broker has closed the connection.
    Closed,
}

impl Dialer {
    /// Looks up the host, and reads the TLS files if the endpoint has TLS.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, BenchError> {
        let connector = endpoint.connector().map_err(BenchError::run)?;
        let addresses = connector
            .addresses()
            .map_err(|error| BenchError::run(endpoint.cannot_connect(&error, Some(&error)).text))?;
        Ok(Self { connector, address: addresses.first().copied() })
    }

    /// Begins to connect. The first writable event under `number` says that the connection is
    /// there.
    pub(crate) fn open(&mut self, poller: &Poller, number: usize) -> io::Result<Link> {
        let mut stream = self.connector.open(self.address)?;
        poller.register(&mut stream, number)?;
        let (partial, out, written) = (Vec::new(), Vec::new(), 0);
        Ok(Link { stream, partial, control: None, is_swapped: false, out, written })
    }
}

impl Link {
    /// Whether the connection is established. Fails if it cannot be.
    pub(crate) fn is_established(&self) -> io::Result<bool> {
        self.stream.is_established()
    }

    /// Sends everything on a data stream from now on.
    pub(crate) fn use_data_stream(&mut self, poller: &Poller, number: usize) -> io::Result<()> {
        let mut data = self.stream.open_data_stream()?;
        poller.register(&mut data, number)?;
        let control = std::mem::replace(&mut self.stream, data);
        self.control = Some((control, std::mem::take(&mut self.partial)));
        Ok(())
    }

    /// Sends what is to be sent, and returns to the control stream if there are two streams.
    pub(crate) fn end_data_stream(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        if self.control.is_some() {
            self.finish(scratch)?;
            self.swap();
            self.control = None;
        }
        Ok(())
    }

    fn swap(&mut self) {
        if let Some((control, partial)) = &mut self.control {
            std::mem::swap(&mut self.stream, control);
            std::mem::swap(&mut self.partial, partial);
        }
    }

    /// Reads once into `into`, behind the start of a packet that an earlier read has left.
    pub(crate) fn read(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Received> {
        let received = self.read_stream(into, scratch)?;
        if self.control.is_none() {
            return Ok(received);
        }
        match received {
            // Both streams report their events under one number.
            Received::Bytes { length, .. } => Ok(Received::Bytes { length, more: true }),
            Received::Closed => Ok(received),
            Received::Nothing => {
                self.swap();
                let received = self.read_stream(into, scratch);
                match received {
                    // The streams stay swapped until these bytes are split.
                    Ok(Received::Bytes { .. }) => self.is_swapped = true,
                    _ => self.swap(),
                }
                received
            }
        }
    }

    fn read_stream(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Received> {
        let kept = self.partial.len();
        match self.stream.read(&mut into[kept..], scratch) {
            Ok(Arrived::End) => Ok(Received::Closed),
            Ok(Arrived::Bytes { count: 0, more: false }) => Ok(Received::Nothing),
            Ok(Arrived::Bytes { count, more }) => {
                into[..kept].copy_from_slice(&self.partial);
                self.partial.clear();
                Ok(Received::Bytes { length: kept + count, more })
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Received::Nothing),
                ErrorKind::ConnectionReset => Ok(Received::Closed),
                _ => Err(error),
            },
        }
    }

    /// Calls `handle` for each whole packet of `bytes`, and keeps the rest for the next read.
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
        if std::mem::take(&mut self.is_swapped) {
            self.swap();
        }
        Ok(())
    }

    /// Writes what is to be sent, as far as the socket takes it; the rest waits for an event.
    pub(crate) fn flush(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        while self.written < self.out.len() {
            let rest = IoSlice::new(&self.out[self.written..]);
            match self.stream.write_vectored(&[rest], scratch) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        if self.stream.wants_write() { self.stream.flush() } else { Ok(()) }
    }

    /// Whether the link or a layer below it has something to flush.
    #[inline]
    pub(crate) fn wants_flush(&self) -> bool {
        !self.out.is_empty() || self.stream.wants_write()
    }

    /// Sends what is to be sent, and says that nothing more will come.
    pub(crate) fn finish(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        self.flush(scratch)?;
        self.stream.shutdown_write(scratch);
        Ok(())
    }

    /// Frees the buffers, for a connection that will be idle.
    pub(crate) fn shrink(&mut self) {
        self.partial.shrink_to_fit();
        self.out.shrink_to_fit();
    }
}
