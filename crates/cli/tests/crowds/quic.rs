//! A client of MQTT over QUIC that is read and written like a socket. By itself it sends only what
//! QUIC does.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use midge_broker::Transport;
use midge_net::{Connector, Poller, Received, Scratch, Stream, Target, TlsClientOptions};

use crate::broker::PATIENCE;

pub(crate) struct QuicClient {
    stream: Stream,
    poller: Poller,
    scratch: Scratch,
    // Dropped last: it sends off what the stream has left.
    _connector: Connector,
}

impl QuicClient {
    /// Begins to connect. Any server certificate is accepted.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let target = Target {
            transport: Transport::Quic,
            host: "localhost".into(),
            port: address.port(),
            path: String::new(),
        };
        let tls = TlsClientOptions { insecure: true, ..TlsClientOptions::default() };
        let mut connector = Connector::new(target, &tls).unwrap();
        let mut stream = connector.open(Some(address)).unwrap();
        let poller = Poller::new().unwrap();
        poller.register(&mut stream, 0).unwrap();
        Self { stream, poller, scratch: Scratch::new(), _connector: connector }
    }

    /// Tries again whenever something has happened.
    fn wait_for<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Stream, &mut Scratch) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt(&mut self.stream, &mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.poller.wait(Some(left))?;
            self.poller.ready().for_each(drop);
        }
    }
}

impl Read for QuicClient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wait_for(|stream, scratch| match stream.read(into, scratch)? {
            Received::Bytes { count, .. } => Ok(count),
            Received::End => Ok(0),
        })
    }
}

impl Write for QuicClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait_for(|stream, scratch| stream.write_vectored(&[IoSlice::new(bytes)], scratch))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
