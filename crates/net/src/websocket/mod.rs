//! WebSocket (RFC 6455) as a layer below the protocol: the payload of binary messages is the
//! stream.
//!
//! Bytes in, bytes out: a session has no socket and no clock. Payload is unmasked in place and
//! passed on as it arrives; messages are not assembled, so a peer that announces a long one costs
//! nothing. tungstenite reads requests, responses and the headers of frames; this module decides
//! which of them may follow which. It must never keep more than an HTTP head during the handshake,
//! and the header and the payload of one control frame after it.

mod client_handshake;
mod error;
mod frames;
mod head;
mod mask;
mod server_handshake;
mod session;
#[cfg(test)]
mod tests;

#[cfg(feature = "fuzzing")]
pub(crate) use error::WebSocketError;
#[cfg(feature = "fuzzing")]
pub(crate) use frames::Role;
#[cfg(test)]
pub(crate) use session::WebSocketProgress;
pub(crate) use session::WebSocketSession;

/// Subprotocols that a server accepts, the best first. A client offers the first.
const SUBPROTOCOLS: [&str; 3] = ["mqtt", "mqttv3.1", "mqttv3.1.1"];

/// The longest head of a request or response, with the empty line at its end.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The longest payload of a frame: 256 MiB, and some more for headers of what is in it.
const FRAME_BYTES_MAX: u64 = (256 << 20) + 1024;

/// The longest payload of a control frame. RFC 6455, 5.5
const CONTROL_BYTES_MAX: usize = 125;

/// With more than this to be sent already, pings are answered later, and only the newest.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;
