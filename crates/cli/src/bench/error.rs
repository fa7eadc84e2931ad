//! Why a benchmark could not be run, or not to its end.

use std::fmt;

/// An error with the exit code that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BenchError {
    /// The request makes no sense: exit code 2.
    Usage(String),
    /// The connection, the protocol or the machine failed: exit code 1.
    Run(String),
}

impl BenchError {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self::Run(message.into())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Run(_) => 1,
        }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Run(message) => f.write_str(message),
        }
    }
}
