//! WebSocket (RFC 6455) as a layer below the protocol: payload of binary messages is the stream.
//!
//! Bytes in, bytes out: a session has no socket and no clock. Payload is unmasked where it lies and
//! passed on as it arrives; no message is put together, so a peer that claims a long one costs
//! nothing. Reading a request, a response and the header of a frame is left to tungstenite; what
//! is allowed after what is decided here. Must never keep more than a head of HTTP during the
//! handshake, and the header and the payload of one control frame after it.

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

/// Subprotocols that a server takes, the best first. A client offers the first.
const SUBPROTOCOLS: [&str; 3] = ["mqtt", "mqttv3.1", "mqttv3.1.1"];

/// The head of a request or response, with the empty line at its end.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The payload of a frame: 256 MiB, and some more for headers of what is in it.
const FRAME_BYTES_MAX: u64 = (256 << 20) + 1024;

/// The payload of a control frame. RFC 6455, 5.5
const CONTROL_BYTES_MAX: usize = 125;

/// With so much to be sent already, pings are answered later, and only the newest.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;
