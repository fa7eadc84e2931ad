//! Where nonces and salts come from: an argument, so that tests can know them.

/// A source of bytes that nobody can guess.
pub trait Random: Send + Sync {
    /// Fills `bytes`. Returns whether there was something to fill them with.
    fn fill(&self, bytes: &mut [u8]) -> bool;
}

/// The machine's source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> bool {
        aws_lc_rs::rand::fill(bytes).is_ok()
    }
}
