//! How many files the operating system lets the process have: a connection is one of them.

use log::Level;
use midge_core::{Limits, counted};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for the store, for Clients that are told to come later, and for connections that are
/// closing.
const RESERVED_MAX: u64 = 4096;

/// Raises the limit of open files as far as this user may, and lowers the limit of connections
/// below it. A Client beyond that limit is told so, and everything that the broker has to open can
/// be opened.
pub(crate) fn provide(limits: &mut Limits) {
    let Some(files) = raise() else {
        return;
    };
    let connections = connections_within(files);
    if u64::from(limits.connections_max) > connections {
        // A user who has not asked for a number need not be warned.
        let is_asked_for = limits.connections_max != Limits::default().connections_max;
        let level = if is_asked_for { Level::Warn } else { Level::Debug };
        limits.connections_max = u32::try_from(connections).unwrap_or(u32::MAX);
        log::log!(
            level,
            "at most {} at a time: the system lets this process have {} (ulimit -n, LimitNOFILE)",
            counted(connections, "connection"),
            counted(files, "file"),
        );
    }
}

fn connections_within(files: u64) -> u64 {
    files - (files / 4).min(RESERVED_MAX)
}

/// Raises the limit of open files and returns the one that holds; `None` if the system does not
/// tell it, or has none.
fn raise() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let files = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    (files != nix::sys::resource::RLIM_INFINITY).then_some(files)
}

#[cfg(test)]
mod tests {
    use super::connections_within;

    #[test]
    fn some_files_are_kept_for_other_things() {
        let within = [64, 1024, 20_000, 1_000_000].map(connections_within);
        assert_eq!(within, [48, 768, 15_904, 995_904]);
    }
}
