//! What a file must open with, and what it must not name.
//!
//! The layers `codec`, `core` and `link` are deterministic because they cannot reach a clock, a
//! random source or a socket. Unfinished work and paths of one machine never reach the main branch.

use super::{Finding, SourceFile, imports::imports, mask::is_word};

/// Names that would end the determinism of these layers, and what to do instead.
const IMPURE_NAMES: &[(&str, &str)] = &[
    ("Instant::now", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("thread_rng", "take random numbers as an argument"),
    ("rand", "take random numbers as an argument"),
    ("getrandom", "take random numbers as an argument"),
    ("RandomState", "hash with a seed that is an argument"),
    ("std::collections::HashMap", "its order differs from run to run: use hashbrown with a seed"),
    ("std::collections::HashSet", "its order differs from run to run: use hashbrown with a seed"),
    ("std::net", "sockets belong to `net`; take what is said about them as an argument"),
    ("std::fs", "files belong to `store`"),
    ("std::env", "take configuration as an argument"),
    ("std::thread", "threads belong to `broker`"),
    ("tokio", "runtimes belong to `net` and `broker`"),
    ("mio", "readiness belongs to `net`"),
];

/// Code that says "later".
const UNFINISHED_CODE: &[&str] = &["todo!", "unimplemented!", "#[ignore"];

/// Words and paths that no file may contain. They are put together here so that this file does not.
const FORBIDDEN_TEXT: &[(&str, &str, &str)] = &[
    (concat!("FIX", "ME"), "unfinished", "finish it, or open an issue and describe the limit"),
    (concat!("/ho", "me/"), "machine-path", "name no path of one machine: make it relative"),
    (concat!("/ro", "ot/"), "machine-path", "name no path of one machine: make it relative"),
    (concat!("/wo", "rk/"), "machine-path", "name no path of one machine: make it relative"),
];

/// Returns every wrong opening and every forbidden name.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(missing_module_comment(file));
        findings.extend(impure_names(file));
        findings.extend(unfinished_code(file));
        findings.extend(forbidden_text(file));
    }
    findings
}

/// Checks that a module first says what it is responsible for; only inner attributes may precede
/// that.
fn missing_module_comment(file: &SourceFile) -> Option<Finding> {
    let mut lines = file.text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("#!["));
    let opens_well = first.is_some_and(|line| line.starts_with("//!"));
    (file.is_rust() && !opens_well).then(|| {
        let message = "open the file with `//!`: what it does, what it must never do, where it \
                       sits on the packet's path";
        Finding::new(&file.path, 1, "module-comment", message)
    })
}

/// Whether a file belongs to a deterministic layer, whose benchmarks may look at the clock.
fn is_deterministic(path: &str) -> bool {
    let layers = ["crates/codec/", "crates/core/", "crates/link/"];
    let layer = layers.into_iter().find_map(|layer| path.strip_prefix(layer));
    layer.is_some_and(|rest| rest.starts_with("src/") || rest.starts_with("tests/"))
}

fn impure_names(file: &SourceFile) -> Vec<Finding> {
    if !file.is_rust() || !is_deterministic(&file.path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut report = |line, name: &str, remedy: &str| {
        let message = format!("`{name}` in a deterministic layer: {remedy}");
        findings.push(Finding::new(&file.path, line, "determinism", message));
    };
    for (index, line) in file.code.lines().enumerate() {
        for (name, remedy) in IMPURE_NAMES.iter().filter(|(name, _)| names(line, name)) {
            report(index + 1, name, remedy);
        }
    }
    // Names in one piece on one line were found above; those in groups were not.
    let lines: Vec<&str> = file.code.lines().collect();
    for import in imports(&file.code) {
        for (name, remedy) in IMPURE_NAMES.iter().filter(|(name, _)| names(&import.path, name)) {
            if !names(lines[import.line - 1], name) {
                report(import.line, name, remedy);
            }
        }
    }
    findings
}

fn unfinished_code(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.code.lines().enumerate() {
        for code in UNFINISHED_CODE.iter().filter(|code| names(line, code)) {
            let message = format!("`{code}`: finish it before it is merged");
            findings.push(Finding::new(&file.path, index + 1, "unfinished", message));
        }
    }
    findings
}

fn forbidden_text(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (text, rule, remedy) in FORBIDDEN_TEXT.iter().filter(|(text, ..)| line.contains(text)) {
            let message = format!("`{text}`: {remedy}");
            findings.push(Finding::new(&file.path, index + 1, rule, message));
        }
    }
    findings
}

/// Whether `line` contains `name` as whole words.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        let opens = !before.is_some_and(is_word) || !name.starts_with(is_word);
        let closes = !after.is_some_and(is_word) || !name.ends_with(is_word);
        opens && closes
    })
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, check};

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let findings = check(&[SourceFile::new(path, text)]);
        findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_module_without_an_opening_is_found() {
        assert_eq!(rules("crates/net/src/a.rs", "fn a() {}\n"), [(1, "module-comment")]);
        assert_eq!(rules("crates/net/src/a.rs", ""), [(1, "module-comment")]);
        assert_eq!(rules("fuzz/a.rs", "#![no_main]\n//! A target.\n"), []);
        assert_eq!(rules("a.py", "a = 1\n"), []);
    }

    #[test]
    fn a_clock_a_socket_and_a_file_are_found_in_deterministic_layers_only() {
        for code in [
            "let now = Instant::now();",
            "use std::time::SystemTime;",
            "let r = rand::thread_rng();",
            "use std::net::IpAddr;",
            "use std::{fmt, fs};",
            "use std::{\n    fmt,\n    collections::{BTreeMap, HashMap},\n};",
            "use tokio::time;",
        ] {
            let text = format!("//! A module.\n{code}\n");
            let found = rules("crates/core/src/a.rs", &text);
            assert!(!found.is_empty(), "{code}");
            assert!(found.iter().all(|finding| *finding == (2, "determinism")), "{code}");
            assert_eq!(rules("crates/core/benches/a.rs", &text), [], "{code}");
            assert_eq!(rules("crates/broker/src/a.rs", &text), [], "{code}");
        }
    }

    #[test]
    fn prose_and_longer_words_are_not_names() {
        let text = "//! Never Instant::now.\nfn operand() { random(\"tokio\"); }\n";
        assert_eq!(rules("crates/codec/src/a.rs", text), []);
    }

    #[test]
    fn unfinished_work_is_found() {
        let text = "//! A module.\nfn a() { todo!() }\n#[ignore = \"slow\"]\n";
        assert_eq!(rules("xtask/src/a.rs", text), [(2, "unfinished"), (3, "unfinished")]);
        assert_eq!(rules("a.md", &["a ", "FIX", "ME"].concat()), [(1, "unfinished")]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for directory in ["home", "root", "work"] {
            assert_eq!(rules("a.toml", &format!("x = \"/{directory}/a\"")), [(1, "machine-path")]);
        }
    }
}
