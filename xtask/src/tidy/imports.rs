//! What a masked Rust file imports, with groups split: `use std::{fs, net::IpAddr}` is two imports.
//!
//! Otherwise the rules about names would miss what a grouped import brings in.

use super::mask::is_word;

/// A path that a `use` brings in, and the line of its `use`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The path, such as `std::net::IpAddr`, without a rename.
    pub(crate) path: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
}

/// Returns every path that the `use` declarations of masked code bring in.
pub(crate) fn imports(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let inside_word = code[..at].chars().next_back().is_some_and(is_word);
        let Some((tree, _)) = code[at + 4..].split_once(';') else { continue };
        if !inside_word {
            let line = code[..at].matches('\n').count() + 1;
            let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
            flatten("", &tree, &mut |path| found.push(Import { path, line }));
        }
    }
    found
}

/// Calls `found` for every path below `prefix` in the tree of a `use` declaration.
fn flatten(prefix: &str, tree: &str, found: &mut impl FnMut(String)) {
    for branch in branches(tree) {
        match branch.split_once('{') {
            Some((path, group)) => {
                let group = group.trim_end().trim_end_matches('}');
                flatten(&format!("{prefix}{}", path.trim()), group, found);
            }
            None => {
                let path = branch.split(" as ").next().unwrap_or(branch).trim();
                if !path.is_empty() {
                    found(format!("{prefix}{path}"));
                }
            }
        }
    }
}

/// Splits a group at its own commas, but not at those of the groups inside it.
fn branches(tree: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn groups_are_taken_apart() {
        let code =
            "use a::b;\npub use std::{\n    fs, net::{IpAddr, SocketAddr as S},\n    io,\n};\n";
        let paths: Vec<_> = imports(code).into_iter().map(|i| (i.line, i.path)).collect();
        let expected = [
            (1, "a::b"),
            (2, "std::fs"),
            (2, "std::net::IpAddr"),
            (2, "std::net::SocketAddr"),
            (2, "std::io"),
        ];
        assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn other_words_that_end_in_use_are_no_imports() {
        assert_eq!(imports("let reuse = cause ;"), []);
    }
}
