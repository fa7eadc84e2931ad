//! What a read has brought.

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes.
    Bytes {
        /// How many; they are at the front of what was lent.
        count: usize,
        /// Whether there may be more without a further signal.
        more: bool,
    },
    /// Nothing more will come.
    End,
}
