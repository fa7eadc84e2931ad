//! MQTT's bytes in QUIC streams, by quinn.
//!
//! One thread with a small runtime (`thread`) drives UDP sockets, timers and handshakes. The owners
//! of streams poll them on their own threads: a worker's waker is called when there is something to
//! do, so no byte is copied from thread to thread and no task stands in between. Nothing here may
//! block the QUIC thread, or read or write on behalf of a stream's owner; only the last bytes of a
//! dropped stream are delivered here.

#[cfg(feature = "client")]
mod client;
mod clock;
mod config;
mod connection;
mod failure;
mod halves;
mod listeners;
mod meeting;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod thread;
mod tls;

#[cfg(feature = "client")]
pub(crate) use client::QuicRuntime;
pub(crate) use listeners::{QuicListeners, ReadyListener, ReadyTerms};
pub(crate) use socket::{QuicSocket, QuicTerms};
pub(crate) use stream::{QuicDataStream, QuicStream};

/// The name of MQTT in the handshake (ALPN).
const ALPN: &[u8] = b"mqtt";

/// Codes that a connection ends with.
mod code {
    use quinn::VarInt;

    /// Everything that was to be sent has been sent.
    pub(super) const NORMAL: VarInt = VarInt::from_u32(0);
    /// The control stream is gone, or never came.
    pub(super) const NO_CONTROL_STREAM: VarInt = VarInt::from_u32(1);
    /// The listener's settings have changed meanwhile: come again.
    pub(super) const SERVER_BUSY: VarInt = VarInt::from_u32(0x89);
    /// The Client's certificate is no longer good.
    pub(super) const NOT_AUTHORIZED: VarInt = VarInt::from_u32(0x87);
}
