//! What quinn's errors mean for the owner of a stream.

use std::io;

use quinn::{ConnectionError, ReadError, TransportErrorCode, WriteError};
use rustls::{AlertDescription, CertificateError, Error};

use super::code;
use crate::tls::TlsError;

/// Returns whether the connection has ended as it should: by the peer's application, with the
/// normal code.
pub(super) fn is_normal_end(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == code::NORMAL)
}

/// Returns the error of a connection that is lost.
pub(super) fn connection_lost(error: &ConnectionError) -> io::Error {
    if let Some(words) = handshake_failed(error) {
        return io::Error::new(io::ErrorKind::InvalidData, words);
    }
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

/// Returns what TLS says of a handshake that it has ended, in the same words as without QUIC.
fn handshake_failed(error: &ConnectionError) -> Option<String> {
    match error {
        ConnectionError::ConnectionClosed(close) => {
            let alert = AlertDescription::from(alert_of(close.error_code)?);
            Some(TlsError::Rule(Error::AlertReceived(alert)).to_string())
        }
        ConnectionError::TransportError(error) => {
            let alert = AlertDescription::from(alert_of(error.code)?);
            // quinn keeps the alert and the text of the error, but not the error itself.
            let has = |part| error.reason.contains(part);
            let fault = match alert {
                AlertDescription::UnknownCA if has("UnknownIssuer") => {
                    CertificateError::UnknownIssuer
                }
                AlertDescription::BadCertificate if has("not valid for name") => {
                    CertificateError::NotValidForName
                }
                AlertDescription::CertificateRevoked => CertificateError::Revoked,
                AlertDescription::CertificateExpired if has("not valid yet") => {
                    CertificateError::NotValidYet
                }
                AlertDescription::CertificateExpired => CertificateError::Expired,
                _ if error.reason.is_empty() => return None,
                _ => return Some(error.reason.clone()),
            };
            Some(TlsError::Rule(Error::InvalidCertificate(fault)).to_string())
        }
        _ => None,
    }
}

/// Returns the TLS alert that a code stands for. RFC 9001, 4.8
fn alert_of(code: TransportErrorCode) -> Option<u8> {
    u8::try_from(u64::from(code).checked_sub(0x100)?).ok()
}

/// Returns the error of a read, or none if the connection has ended as it should.
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

/// Returns the error of a write.
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
