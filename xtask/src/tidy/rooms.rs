//! The rooms of `crates/core` and `crates/broker`, in the order in which they stand on each other
//! (ARCHITECTURE.md).
//!
//! A room is a folder of the crate, or a file beside the folders. It may use rooms below it and
//! nothing above it, so that what a room does can be understood without those that use it. Only the
//! doors know the whole house.

use super::{Finding, SourceFile, imports::imports, mask::is_word};

/// A crate that is made of rooms.
struct House {
    sources: &'static str,
    /// From the bottom up. Each may use those before it.
    rooms: &'static [&'static str],
    /// What comes in is handled there, and they may use every room and each other.
    doors: &'static [&'static str],
    /// Whether a room's types are plain values or change only by what their room offers.
    hides_fields: bool,
}

const CORE: House = House {
    sources: "crates/core/src/",
    rooms: &[
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
    ],
    doors: &[
        "core",
        "conversation",
        "receive",
        "storage",
        "holding",
        "lib",
        "listing",
        "moving",
        "peer_gone",
        "peers",
        "reconfiguring",
        "revoking",
        "strain",
        "usage",
    ],
    hides_fields: true,
};

const BROKER: House = House {
    sources: "crates/broker/src/",
    rooms: &[
        "busy",
        "certificate_watch",
        "clock",
        "directory",
        "drop_log",
        "figures",
        "greeting",
        "pending_bytes",
        "placement",
        "random",
        "spares",
        "subscription_log",
        "program",
        "memory",
        "listener_terms",
        "inbox",
        "passing_on",
        "hook",
        "access",
        "listeners",
        "storage",
        "handle",
        "own_topics",
        "pulse",
        "watch",
        "worker",
    ],
    doors: &["broker", "lib"],
    hides_fields: false,
};

/// Fields that a room's type shows although it hides others: each is a part with a life of its own,
/// whose own fields are hidden, or one that the whole worker shares. A `Publication` is a view of
/// what was published; what it hides is the copy that its receivers share.
const PARTS: &[(&str, &[&str])] = &[
    ("BufferPool", &["turn"]),
    ("Clients", &["budget", "counters", "crossings", "policy", "rounds"]),
    ("Publication", &["attributes", "payload", "properties", "publisher", "topic"]),
    ("Remains", &["queues", "unsettled"]),
    ("Retained", &["beginnings", "own_topics", "requests"]),
    ("Router", &["delayed", "put_off", "retained", "shared"]),
    ("Shared", &["flushes", "groups", "presences"]),
];

/// Returns every room that reaches up, and every part of the crates that is no room.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let rust = files.iter().filter(|file| file.is_rust());
    rust.flat_map(|file| [&CORE, &BROKER].map(|house| (file, house)))
        .filter_map(|(file, house)| Some((file, house, file.path.strip_prefix(house.sources)?)))
        .flat_map(|(file, house, path)| check_file(file, house, room_of(path)))
        .collect()
}

/// Returns the room of a path below the crate's sources: `a` of `a/b.rs` and of `a.rs`.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn check_file(file: &SourceFile, house: &House, room: &str) -> Vec<Finding> {
    if house.doors.contains(&room) {
        return Vec::new();
    }
    let Some(place) = house.rooms.iter().position(|&other| other == room) else {
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
        let is_below = house.rooms[..=place].contains(&used.as_str());
        if !is_below {
            let message = format!(
                "{room} must not use {used}, which stands above it: take what is needed as an \
                 argument, or return what follows"
            );
            findings.push(Finding::new(&file.path, line, "rooms", message));
        }
    }
    if !house.hides_fields {
        return findings;
    }
    for (line, text) in (1..).zip(code.lines()) {
        if text.starts_with("impl Core ") {
            let message = format!("{room} is no door: it must not add to `Core`");
            findings.push(Finding::new(&file.path, line, "rooms", message));
        }
    }
    findings.extend(check_fields(file, code));
    findings
}

/// Checks that a type is either a plain value, all of whose fields are open, or changes only by
/// what its room offers: then other rooms see none of its fields but [`PARTS`].
fn check_fields(file: &SourceFile, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, fields) in structs(code) {
        let (open, closed): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.is_open);
        let parts = PARTS.iter().find(|(part_of, _)| *part_of == name).map_or(&[][..], |it| it.1);
        let odd = open.iter().filter(|field| !parts.contains(&field.name));
        if !closed.is_empty() {
            findings.extend(odd.map(|field| {
                let message = format!(
                    "{name} hides other fields, but not {}: let its room say how it changes",
                    field.name
                );
                Finding::new(&file.path, field.line, "rooms", message)
            }));
        }
    }
    findings
}

struct Field<'c> {
    name: &'c str,
    line: usize,
    /// Whether the whole crate can write it.
    is_open: bool,
}

/// Returns the structs of formatted code with their fields.
fn structs(code: &str) -> Vec<(&str, Vec<Field<'_>>)> {
    let mut found: Vec<(&str, Vec<Field<'_>>)> = Vec::new();
    let mut is_inside = false;
    for (line, text) in (1..).zip(code.lines()) {
        if let Some((_, rest)) = text.split_once("struct ")
            && text.ends_with('{')
            && !text.starts_with(' ')
        {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            found.push((&rest[..end], Vec::new()));
            is_inside = true;
        } else if text == "}" {
            is_inside = false;
        } else if let (true, Some(text), Some((_, fields))) =
            (is_inside, text.strip_prefix("    "), found.last_mut())
            && let Some((head, _)) = text.split_once(": ")
            && let Some(name) = head.rsplit(' ').next()
            && !name.is_empty()
            && name.chars().all(is_word)
        {
            let is_open = head.starts_with("pub ") || head.starts_with("pub(crate) ");
            fields.push(Field { name, line, is_open });
        }
    }
    found
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
    fn the_broker_is_a_house_of_its_own() {
        let found = |path: &str, text| check(&[SourceFile::new(path, text)]).len();
        let up = "use crate::worker::Worker;\n";
        assert_eq!(found("crates/broker/src/inbox.rs", up), 1);
        assert_eq!(found("crates/broker/src/worker/closing.rs", up), 0);
        assert_eq!(found("crates/broker/src/broker.rs", up), 0);
        assert_eq!(found("crates/broker/src/worker/mod.rs", "use crate::inbox::Inbox;\n"), 0);
    }

    #[test]
    fn tests_may_use_everything() {
        let text = "#[cfg(test)]\nmod tests {\n    use crate::core::Core;\n}\n";
        assert_eq!(found("tree/a.rs", text), []);
    }

    #[test]
    fn a_type_shows_all_of_its_fields_or_none() {
        let value = "pub(crate) struct A {\n    pub(crate) a: u8,\n    pub(crate) b: u8,\n}\n";
        assert_eq!(found("tree/a.rs", value), []);
        let hidden = "pub(crate) struct A {\n    a: u8,\n    pub(super) b: u8,\n}\n";
        assert_eq!(found("tree/a.rs", hidden), []);
        let mixed = "//! a\npub(crate) struct A<T> {\n    a: u8,\n    pub(crate) b: T,\n}\n";
        let mixed = found("tree/a.rs", mixed);
        assert_eq!((mixed.len(), mixed[0].0), (1, 4), "{mixed:?}");
        let parts = "struct Router {\n    pub(crate) shared: Shared,\n    scratch: u8,\n}\n";
        assert_eq!(found("route/mod.rs", parts), []);
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
