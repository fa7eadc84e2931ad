//! Peer messages as bytes, for those that leave the process: what the nodes of a cluster say to
//! each other. Workers of one node hand the messages over as they are and never come here.
//!
//! A message is a byte with the version, a length, and as many bytes: a tag and the fields. Tags
//! and the order of fields are fixed: a tag is never given to anything else, and what changes gets
//! a new tag, or a new version. An unknown version, an unknown tag and bytes that are left over are
//! errors: nothing is guessed, and nothing is skipped.
//!
//! A message has exactly one encoding. Nothing here decides anything, and nothing that a peer sends
//! makes this module panic, or allocate more than some tens of times as much as it has sent.

#[cfg(test)]
mod golden;
mod messages;
mod parts;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use crate::base::time::Timestamp;
use crate::boundary::peer_messages::{Peer, PeerMessage};
use wire::{Reader, Wire, Writer};

/// Why bytes are no peer message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerDecodeError {
    /// The sender speaks a version that this node does not know.
    UnknownVersion(u8),
    /// There is no such message, or no such value, in this version; the text says of what.
    UnknownTag(&'static str, u64),
    /// The bytes end in the middle.
    Truncated,
    /// It is longer than [`PeerMessage::BYTES_MAX`].
    TooLong(u64),
    /// Something in it is not what it should be.
    Invalid(&'static str),
    /// Bytes follow the end of its last field.
    LeftOver(usize),
}

impl PeerMessage {
    /// The version of the encoding, the first byte of each message.
    pub const ENCODING_VERSION: u8 = 1;

    /// The most bytes that a message may have behind its head: more than the largest Application
    /// Message together with what is said about it.
    pub const BYTES_MAX: usize = 300 << 20;

    /// Appends the message to `out`. Moments are written as what is left of them at `now`, because
    /// every node has a time of its own.
    pub fn encode(&self, now: Timestamp, out: &mut Vec<u8>) {
        let Self(message) = self;
        let mut body = Vec::new();
        message.write(&mut Writer::new(now, &mut body));
        let mut head = Writer::new(now, out);
        head.byte(Self::ENCODING_VERSION);
        head.bytes(&body);
    }

    /// Reads the message at the beginning of `bytes`; returns it with its length.
    ///
    /// # Errors
    ///
    /// Fails if there is no whole message, or none that this version knows.
    pub fn decode(bytes: &[u8], now: Timestamp) -> Result<(Self, usize), PeerDecodeError> {
        let mut reader = Reader::new(now, bytes);
        match reader.byte()? {
            Self::ENCODING_VERSION => (),
            version => return Err(PeerDecodeError::UnknownVersion(version)),
        }
        let length = reader.number()?;
        if length > Self::BYTES_MAX as u64 {
            return Err(PeerDecodeError::TooLong(length));
        }
        let mut body = Reader::new(now, reader.take(length)?);
        let message = Peer::read(&mut body)?;
        if body.left() > 0 {
            return Err(PeerDecodeError::LeftOver(body.left()));
        }
        messages::check(&message)?;
        Ok((Self(message), bytes.len() - reader.left()))
    }
}

impl fmt::Display for PeerDecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => write!(f, "version {version} is not known"),
            Self::UnknownTag(what, tag) => write!(f, "{what} {tag} is not known"),
            Self::Truncated => f.write_str("it ends in the middle"),
            Self::TooLong(length) => {
                write!(f, "{length} bytes, at most {}", PeerMessage::BYTES_MAX)
            }
            Self::Invalid(what) => f.write_str(what),
            Self::LeftOver(count) => write!(f, "{count} bytes follow its end"),
        }
    }
}

impl std::error::Error for PeerDecodeError {}
