//! The Network Connection below a session: it opens a stream to the broker, or says why it could
//! not.
//!
//! There is one [`Connection`], whatever the transport. It must never know about Control Packets.

use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use midge_net::{Connector, Poller, Received, Scratch, Stream};

use super::error::ClientError;
use crate::endpoint::{Endpoint, Failure};

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections to one endpoint.
pub(crate) struct Opener {
    endpoint: Endpoint,
    connector: Connector,
}

/// An open, non-blocking stream of bytes to a broker, with the buffers that it works with.
pub(crate) struct Connection {
    stream: Stream,
    scratch: Scratch,
}

impl Opener {
    /// Makes an opener, and reads the TLS files if the endpoint has TLS.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, ClientError> {
        let connector = endpoint.connector().map_err(ClientError::permanent)?;
        Ok(Self { endpoint, connector })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to the first address of the host that accepts, and gives up at `deadline`.
    pub(crate) fn open(
        &mut self,
        deadline: Option<Instant>,
        poller: &Poller,
        number: usize,
    ) -> Result<Connection, ClientError> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(CONNECT_TIMEOUT, |left| left.min(CONNECT_TIMEOUT));
        let mut stream = self.connector.connect(timeout).map_err(|error| {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return self.not_in_time();
            }
            // Only after a failure: otherwise every host would be looked up twice.
            let host_error = self.connector.addresses().err();
            failed(self.endpoint.cannot_connect(&error, host_error.as_ref()))
        })?;
        poller.register(&mut stream, number).map_err(|error| {
            ClientError::permanent(format!("cannot wait for {}: {error}", self.endpoint))
        })?;
        Ok(Connection { stream, scratch: Scratch::new() })
    }

    /// Says that there was no connection by the deadline.
    pub(crate) fn not_in_time(&self) -> ClientError {
        ClientError::TimedOut(format!("{} did not accept the connection in time", self.endpoint))
    }
}

impl Connection {
    /// Opens a stream beside this one. `WouldBlock`: the broker takes no more streams.
    pub(crate) fn open_data_stream(&mut self, poller: &Poller, number: usize) -> io::Result<Self> {
        let mut stream = self.stream.open_data_stream()?;
        poller.register(&mut stream, number)?;
        Ok(Self { stream, scratch: Scratch::new() })
    }

    /// Reads what has arrived; 0 is the end. `WouldBlock`: nothing has arrived.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(into, &mut self.scratch)? {
                // These bytes were only for a layer.
                Received::Bytes { count: 0, more: true } => {}
                Received::Bytes { count: 0, more: false } => {
                    return Err(ErrorKind::WouldBlock.into());
                }
                Received::Bytes { count, .. } => return Ok(count),
                Received::End => return Ok(0),
            }
        }
    }

    /// Writes as much as there is room for. `WouldBlock`: there is no room, or a handshake is under
    /// way.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_vectored(&[IoSlice::new(bytes)], &mut self.scratch)
    }

    /// Whether everything that was written, and everything that layers have to send, has left.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.stream.wants_write()
    }

    /// Writes what layers have kept back, as far as there is room.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }

    /// Whether a layer's handshake is under way.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.stream.is_handshaking()
    }

    /// Whether the transport is established, with all its layers.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.stream.is_established(), Ok(true)) && !self.is_handshaking()
    }

    /// Tells the other side that nothing more will be sent.
    pub(crate) fn finish_sending(&mut self) {
        self.stream.shutdown_write(&mut self.scratch);
    }
}

/// The error of a command whose connection could not be made.
pub(crate) fn failed(failure: Failure) -> ClientError {
    if failure.is_transient {
        ClientError::transient(failure.text)
    } else {
        ClientError::permanent(failure.text)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::endpoint::TlsArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tls: TlsArgs,
    }

    #[test]
    fn says_what_to_do_when_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let tls = Line::parse_from(["x"]).tls;
        let endpoint = Endpoint::of_host("127.0.0.1", Some(port), &tls).unwrap();
        let poller = Poller::new().unwrap();
        let error = Opener::new(endpoint).unwrap().open(None, &poller, 0).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot connect to 127.0.0.1:{port}: connection refused. \
                 Is a broker running there? Start one with: midge"
            )
        );
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn says_that_the_time_is_over_when_it_ends_before_there_is_a_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = Line::parse_from(["x"]).tls;
        let endpoint = Endpoint::of_host("127.0.0.1", Some(port), &tls).unwrap();
        let (mut opener, poller) = (Opener::new(endpoint).unwrap(), Poller::new().unwrap());
        let error = opener.open(Some(Instant::now()), &poller, 0).err().unwrap();
        drop(listener);
        let expected = format!("127.0.0.1:{port} did not accept the connection in time");
        assert_eq!((error.to_string(), error.exit_code()), (expected, 27));
    }
}
