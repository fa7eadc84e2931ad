//! How much QUIC connections may hold, and how long they may be silent.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::listen::QuicOptions;

/// Bytes of one stream that the peer may send before they are read.
const STREAM_WINDOW: u32 = 128 * 1024;

/// Bytes of a connection without data streams that the peer may send before they are read.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The same for a connection before it is known whose it is.
const FIRST_WINDOW: u32 = 32 * 1024;

/// The most bytes that a connection's streams may have unread together, however many streams there
/// are.
const CONNECTION_WINDOW_MAX: u32 = 16 * 1024 * 1024;

/// Bytes that were written and that the peer has not acknowledged.
const SEND_WINDOW: u64 = 1024 * 1024;

/// Returns the configuration for connections that a listener accepts.
pub(super) fn server_transport(options: &QuicOptions) -> Arc<TransportConfig> {
    // The control stream is one of them.
    let streams = 1 + u32::from(options.data_streams_max);
    let mut config = transport(options, streams);
    config.receive_window(FIRST_WINDOW.into());
    Arc::new(config)
}

/// Returns the configuration for connections of a client. A server opens no streams.
#[cfg(feature = "client")]
pub(super) fn client_transport(options: &QuicOptions) -> Arc<TransportConfig> {
    Arc::new(transport(options, 0))
}

fn transport(options: &QuicOptions, streams_of_peer: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(streams_of_peer.into())
        .max_concurrent_uni_streams(0u8.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .keep_alive_interval(Some(options.keep_alive).filter(|interval| !interval.is_zero()))
        .max_idle_timeout(idle_timeout(options.idle_timeout));
    config
}

/// Returns how many bytes the peer may send before they are read, once it is known whose connection
/// it is.
pub(super) fn window() -> VarInt {
    VarInt::from(CONNECTION_WINDOW)
}

/// Returns how many bytes the peer may send before they are read, on a connection with data
/// streams: all streams but one may be full, and that one still goes on.
pub(super) fn window_with_data_streams(options: &QuicOptions) -> VarInt {
    let window = STREAM_WINDOW.saturating_mul(1 + u32::from(options.data_streams_max));
    VarInt::from(window.clamp(CONNECTION_WINDOW, CONNECTION_WINDOW_MAX))
}

/// Returns the timeout as QUIC has it. More than QUIC can express means never.
fn idle_timeout(timeout: Duration) -> Option<IdleTimeout> {
    IdleTimeout::try_from(timeout).ok().filter(|_| !timeout.is_zero())
}
