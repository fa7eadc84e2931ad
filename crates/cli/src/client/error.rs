//! Why a client command ends before it has done what it was asked for, and the exit code for it.
//!
//! Messages say what failed, where, and what the user can do. Printing them is `terminal`'s work.

use std::fmt;

/// Why a client command ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// The command line asks for something impossible.
    Usage(String),
    /// There is no Network Connection, or it ended; `transient` says that trying again may help.
    Connection { message: String, transient: bool },
    /// The broker, or a file, refused what was asked of it.
    Refused(String),
    /// The time of `-W` is over.
    TimedOut(String),
    /// A signal, by its number, asked the command to end.
    Interrupted(i32),
    /// Nobody reads standard output any more.
    OutputClosed,
}

/// The exit code of `mosquitto_sub` when its `-W` is over, kept because scripts test for it.
const EXIT_TIMED_OUT: u8 = 27;

impl ClientError {
    /// A connection that failed for a reason that may be over in a moment.
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self::Connection { message: message.into(), transient: true }
    }

    /// A connection that will fail in the same way the next time.
    pub(crate) fn permanent(message: impl Into<String>) -> Self {
        Self::Connection { message: message.into(), transient: false }
    }

    /// Returns the exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Connection { .. } | Self::Refused(_) => 1,
            Self::TimedOut(_) => EXIT_TIMED_OUT,
            // What a shell reports for a process that a signal has ended.
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(1),
            Self::OutputClosed => 0,
        }
    }

    /// Whether the user need not be told, because a signal or a closed pipe is the user's own
    /// doing.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Interrupted(_) | Self::OutputClosed)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message)
            | Self::Connection { message, .. }
            | Self::Refused(message)
            | Self::TimedOut(message) => f.write_str(message),
            Self::Interrupted(signal) => write!(f, "ended by signal {signal}"),
            Self::OutputClosed => f.write_str("standard output was closed"),
        }
    }
}
