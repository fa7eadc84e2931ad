//! One step of rustls' unbuffered connections, the same for both sides.
//!
//! This module knows what each state wants; what the bytes mean is the session's business.

use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};

use super::error::TlsError;

/// The most plain bytes that a record has.
const RECORD_PLAIN_BYTES_MAX: usize = 16 * 1024;
/// More than what any suite adds to a record.
const RECORD_OVERHEAD_BYTES_MAX: usize = 64;

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Take the next step.
    Again,
    /// Take the next step; the peer will send nothing more.
    Ended,
    /// Wait until more arrives. If there was a wish, it is granted.
    Blocked,
}

/// What to do as soon as the connection may send.
#[derive(Debug)]
pub(super) enum Wish<'p> {
    Seal(&'p [u8]),
    Close,
}

/// Does what the state asks for. Returns how many bytes of the input are done with.
pub(super) fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    wish: Option<&Wish<'_>>,
    out: &mut Vec<u8>,
    plain: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Next, TlsError>) {
    let UnbufferedStatus { mut discard, state } = status;
    let next = state.map_err(TlsError::from).and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                plain(record.payload);
            }
            Ok(Next::Again)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            append(out, 0, |room| {
                data.encode(room).map_err(|error| match error {
                    EncodeError::InsufficientSize(needed) => Short::Room(needed),
                    EncodeError::AlreadyEncoded => Short::Never(TlsError::OutOfTurn),
                })
            })?;
            Ok(Next::Again)
        }
        // The encoded bytes are in `out`, where they belong to the caller.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Next::Again)
        }
        ConnectionState::WriteTraffic(traffic) => grant(traffic, wish, out),
        ConnectionState::PeerClosed => Ok(Next::Ended),
        ConnectionState::BlockedHandshake | ConnectionState::Closed => match wish {
            Some(_) => Err(TlsError::OutOfTurn),
            None => Ok(Next::Blocked),
        },
        // Nobody was allowed to send early data.
        _ => Err(TlsError::OutOfTurn),
    });
    (discard, next)
}

fn grant<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    wish: Option<&Wish<'_>>,
    out: &mut Vec<u8>,
) -> Result<Next, TlsError> {
    let short = |error| match error {
        EncryptError::InsufficientSize(needed) => Short::Room(needed),
        EncryptError::EncryptExhausted => Short::Never(TlsError::Exhausted),
    };
    match wish {
        None => {}
        Some(Wish::Seal(plain)) => {
            let records = plain.len().div_ceil(RECORD_PLAIN_BYTES_MAX);
            let room = plain.len() + records * RECORD_OVERHEAD_BYTES_MAX;
            append(out, room, |room| traffic.encrypt(plain, room).map_err(short))?;
        }
        Some(Wish::Close) => {
            append(out, RECORD_OVERHEAD_BYTES_MAX, |room| {
                traffic.queue_close_notify(room).map_err(short)
            })?;
        }
    }
    Ok(Next::Blocked)
}

/// Why nothing was written.
enum Short {
    Room(InsufficientSizeError),
    Never(TlsError),
}

/// Appends what `write` writes into `room` bytes, or into as many as it then asks for.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>,
) -> Result<(), TlsError> {
    let start = out.len();
    let mut attempt = |out: &mut Vec<u8>, room: usize| {
        out.resize(start + room, 0);
        let written = write(&mut out[start..]);
        out.truncate(start + *written.as_ref().unwrap_or(&0));
        written.map(drop)
    };
    let result = match attempt(out, room) {
        Err(Short::Room(needed)) => attempt(out, needed.required_size),
        result => result,
    };
    result.map_err(|short| match short {
        Short::Room(_) => TlsError::OutOfTurn,
        Short::Never(error) => error,
    })
}
