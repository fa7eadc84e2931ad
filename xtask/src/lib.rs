//! What the repository asks of itself, as commands: `cargo xtask tidy`, `test`, `clients`, `ci`.
//!
//! Nothing here is part of the broker. [`tidy`] has the rules that a reviewer would otherwise
//! repeat, [`suites`] is the one test command, [`install`] fetches what the tests need, and
//! [`broker`] starts the broker that the real clients talk to.

#![allow(clippy::print_stdout, reason = "its commands speak to the person at the terminal")]

pub mod broker;
pub mod certificates;
pub mod clients;
pub mod failure;
pub mod fuzz;
pub mod install;
pub mod process;
pub mod suites;
pub mod tally;
pub mod tidy;
pub mod transports;

use std::path::{Path, PathBuf};

/// Returns the root of the repository, found from where this crate was compiled.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
