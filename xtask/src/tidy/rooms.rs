//! The rooms of `crates/core`, in the order in which they stand on each other (ARCHITECTURE.md).
//!
//! A room is a folder of the crate, or a file beside the folders. It may use rooms below it and
//! nothing above it, so that what a room does can be understood without those that use it. Only the
//! doors know the whole worker.

use super::{Finding, SourceFile, imports::imports, mask::is_word};

/// The rooms, from the bottom up. Each may use those before it.
const ROOMS: &[&str] = &[
    "base",
    "tree",
    "topics",
    "boundary",
    "gate",
    "config",
    "session",
    "connection",
    "waiting",
    "clients",
    "ground",
    "retained",
    "shared",
    "route",
    "subscribe",
    "remains",
];

/// The doors: what comes in is handled there, and they may use every room and each other.
const DOORS: &[&str] = &[
    "core",
    "conversation",
    "receive",
    "storage",
    "holding",
    "lib",
    "listing",
    "peers",
    "reconfiguring",
    "strain",
    "usage",
];

const SOURCES: &str = "crates/core/src/";

/// Returns every room that reaches up, and every part of the crate that is no room.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let rust = files.iter().filter(|file| file.is_rust());
    rust.filter_map(|file| Some((file, file.path.strip_prefix(SOURCES)?)))
        .flat_map(|(file, path)| check_file(file, room_of(path)))
        .collect()
}

/// Returns the room of a path below the crate's sources: `a` of `a/b.rs` and of `a.rs`.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn check_file(file: &SourceFile, room: &str) -> Vec<Finding> {
    if DOORS.contains(&room) {
        return Vec::new();
    }
    let Some(place) = ROOMS.iter().position(|&other| other == room) else {
        let message = format!(
            "{room} is no room: give it a place in xtask/src/tidy/rooms.rs and ARCHITECTURE.md, or \
             put the file into a room"
        );
        return vec![Finding::new(&file.path, 1, "rooms", message)];
    };
    // Tests may use whatever they need.
    let code = file.code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut findings = Vec::new();
    for (used, line) in used_parts(code) {
        let is_below = ROOMS[..=place].contains(&used.as_str());
        if !is_below {
            let message = format!(
                "{room} must not use {used}, which stands above it: take what is needed as an \
                 argument, or return what follows"
            );
            findings.push(Finding::new(&file.path, line, "rooms", message));
        }
    }
    for (line, text) in (1..).zip(code.lines()) {
        if text.starts_with("impl Core ") {
            let message = format!("{room} is no door: it must not add to `Core`");
            findings.push(Finding::new(&file.path, line, "rooms", message));
        }
    }
    findings
}

/// Returns the parts of the crate that masked code names, in a `use` or in the middle of a line,
/// with the lines where it does.
fn used_parts(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for import in imports(code) {
        let path = import.path.strip_prefix("crate::");
        if let Some(part) = path.and_then(|path| path.split("::").next()) {
            found.push((part.to_owned(), import.line));
        }
    }
    for (line, text) in (1..).zip(code.lines()) {
        if text.trim_start().contains("use crate::") {
            continue;
        }
        for (at, name) in text.match_indices("crate::") {
            let part: String =
                text[at + name.len()..].chars().take_while(|&c| is_word(c)).collect();
            // `pub(in crate::a)` and the like say who may use this, not what this uses.
            if !part.is_empty() && !text[..at].ends_with("(in ") {
                found.push((part, line));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, check};

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let file = SourceFile::new(&format!("crates/core/src/{path}"), text);
        check(&[file]).into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    #[test]
    fn rooms_use_those_below_them() {
        assert_eq!(found("route/routing.rs", "use crate::tree::A;\nuse crate::route::B;\n"), []);
        assert_eq!(found("core.rs", "use crate::route::B;\nuse crate::storage::C;\n"), []);
        let up = found("tree/a.rs", "use std::fmt;\nuse crate::{base::A, route::B};\n");
        assert_eq!(up.len(), 1, "{up:?}");
        assert_eq!(up[0].0, 2);
        assert!(up[0].1.starts_with("tree must not use route"), "{up:?}");
        assert_eq!(found("ground.rs", "use crate::core::Core;\n").len(), 1);
        let inline = found("tree/a.rs", "fn f() {\n    crate::route::b(crate::base::c);\n}\n");
        assert_eq!((inline.len(), inline[0].0), (1, 2), "{inline:?}");
    }

    #[test]
    fn tests_may_use_everything() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::core::Core;\n}\n";
        assert_eq!(found("tree/a.rs", text), []);
    }

    #[test]
    fn only_doors_add_to_the_core() {
        assert_eq!(found("shared/mod.rs", "//! a\nimpl Core {\n}\n")[0].0, 2);
        assert_eq!(found("conversation/connect.rs", "impl Core {\n}\n"), []);
    }

    #[test]
    fn every_file_is_in_a_room() {
        assert!(found("attic/a.rs", "")[0].1.contains("is no room"));
        assert!(found("attic.rs", "")[0].1.contains("is no room"));
    }
}
