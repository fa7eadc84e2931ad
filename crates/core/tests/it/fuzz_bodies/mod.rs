//! What the fuzz target in `fuzz/` does with its bytes. The target includes the file, so that the
//! ordinary tests run the same code.

pub(crate) mod peer;
