//! What quinn's errors mean for whoever reads and writes a stream.

use std::io;

use quinn::{ConnectionError, ReadError, TransportErrorCode, WriteError};

use super::code;

/// Whether the connection has ended as it should: by the peer's application, with the normal code.
pub(super) fn is_normal_end(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == code::NORMAL)
}

/// The error of a connection that is lost.
pub(super) fn connection_lost(error: &ConnectionError) -> io::Error {
    let kind = match error {
        ConnectionError::TimedOut => io::ErrorKind::TimedOut,
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            io::ErrorKind::ConnectionRefused
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => io::ErrorKind::ConnectionReset,
        ConnectionError::LocallyClosed => io::ErrorKind::ConnectionAborted,
        ConnectionError::TransportError(_) => io::ErrorKind::InvalidData,
        ConnectionError::VersionMismatch => io::ErrorKind::Unsupported,
        ConnectionError::CidsExhausted => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

/// The error of a read, or none if the connection has ended as it should.
pub(super) fn read_failed(error: &ReadError) -> Option<io::Error> {
    match error {
        ReadError::ConnectionLost(error) if is_normal_end(error) => None,
        ReadError::ConnectionLost(error) => Some(connection_lost(error)),
        ReadError::Reset(code) => Some(io::Error::new(
            io::ErrorKind::ConnectionReset,
            format!("the peer reset the stream with code {code}"),
        )),
        ReadError::ClosedStream => None,
        ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
            Some(io::Error::other(error.to_string()))
        }
    }
}

/// The error of a write.
pub(super) fn write_failed(error: &WriteError) -> io::Error {
    match error {
        WriteError::ConnectionLost(error) if is_normal_end(error) => {
            io::Error::new(io::ErrorKind::BrokenPipe, "the peer closed the connection")
        }
        WriteError::ConnectionLost(error) => connection_lost(error),
        WriteError::Stopped(code) => io::Error::new(
            io::ErrorKind::ConnectionReset,
            format!("the peer stopped reading the stream with code {code}"),
        ),
        WriteError::ClosedStream => {
            io::Error::new(io::ErrorKind::BrokenPipe, "the stream was shut down")
        }
        WriteError::ZeroRttRejected => io::Error::other(error.to_string()),
    }
}
