//! Why a WebSocket fails, in words and in the codes of HTTP and of close frames.

use std::fmt;

/// Why a WebSocket failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebSocketError {
    /// The request was refused.
    Request {
        /// The status of the HTTP response that says so.
        status: u16,
        /// What was wrong.
        reason: String,
    },
    /// The server's response opens no WebSocket.
    Response(String),
    /// A frame broke a rule.
    Frame(Violation),
}

/// A rule of frames that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    ReservedBits,
    UnknownOpcode,
    NotMasked,
    Masked,
    LengthNotShortest,
    FrameTooLong,
    ControlFragmented,
    ControlTooLong,
    MessageInMessage,
    NothingToContinue,
    Text,
    CloseWithHalfACode,
    CloseCode(u16),
    CloseReason,
}

impl Violation {
    /// Returns the code of the close frame that answers the violation. RFC 6455, 7.4.1
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            Self::CloseReason => 1007,
            Self::FrameTooLong => 1009,
            _ => 1002,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "a frame has reserved bits set, but no extension was agreed on",
            Self::UnknownOpcode => "a frame has an unknown opcode",
            Self::NotMasked => "a frame of a client is not masked",
            Self::Masked => "a frame of a server is masked",
            Self::LengthNotShortest => "a frame's length is not written in the fewest bytes",
            Self::FrameTooLong => "a frame is longer than 256 MiB",
            Self::ControlFragmented => "a control frame is fragmented",
            Self::ControlTooLong => "a control frame has more than 125 bytes",
            Self::MessageInMessage => "a message begins before the one before it is complete",
            Self::NothingToContinue => "a frame continues a message that never began",
            Self::Text => "a message is text; only binary ones are taken",
            Self::CloseWithHalfACode => "a close frame has one byte, half a code",
            Self::CloseCode(code) => {
                return write!(f, "a close frame has the code {code}, which must not be sent");
            }
            Self::CloseReason => "the reason in a close frame is not UTF-8",
        })
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { status, reason } => {
                write!(f, "the request for a WebSocket was refused with {status}: {reason}")
            }
            Self::Response(reason) => write!(f, "the server opens no WebSocket: {reason}"),
            Self::Frame(violation) => write!(f, "the WebSocket is broken: {violation}"),
        }
    }
}

impl std::error::Error for WebSocketError {}
