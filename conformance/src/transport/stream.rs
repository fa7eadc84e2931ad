//! A blocking stream of bytes below MQTT or WebSocket, and its plain form.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::PATIENCE;

/// Bytes in both directions; a read waits no longer than it was told.
pub(crate) trait Stream: Read + Write + Debug + Send {
    /// Sets how long the next reads wait, which is more than zero.
    fn set_wait(&mut self, wait: Duration) -> io::Result<()>;

    /// Announces that nothing more comes.
    fn finish(&mut self) -> io::Result<()>;

    /// Ends both directions without announcing it.
    fn cut(&mut self);
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct TcpStream(std::net::TcpStream);

impl TcpStream {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }
}

impl Read for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for TcpStream {
    fn set_wait(&mut self, wait: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(wait))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    fn cut(&mut self) {
        // An error means that the broker ended the connection first.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
