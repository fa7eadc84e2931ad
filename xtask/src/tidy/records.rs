//! Decision records are numbered 0001, 0002, ... without gaps, crates opt into the lints, and
//! `unsafe` stays in modules with a record.
//!
//! A gap would be a decision that somebody deleted. A crate without the workspace's lints could
//! contain `unsafe` anywhere.

use super::{Finding, SourceFile};

const DIRECTORY: &str = "docs/decisions/";

/// The modules that may contain `unsafe`, each with its decision record.
const AUDITED: &[&str] = &["crates/cli/src/allocator.rs"]; // 0012

/// Returns every record that is out of order, every manifest without the workspace's lints, and
/// every file outside the list that allows `unsafe`.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = misnumbered_records(files);
    findings.extend(files.iter().filter_map(missing_lints));
    findings.extend(files.iter().flat_map(unaudited));
    findings
}

fn misnumbered_records(files: &[SourceFile]) -> Vec<Finding> {
    let records = files.iter().filter_map(|file| file.path.strip_prefix(DIRECTORY));
    let mut records: Vec<&str> = records.filter(|name| *name != "README.md").collect();
    records.sort_unstable();
    let mut findings = Vec::new();
    for (index, name) in records.into_iter().enumerate() {
        let expected = format!("{:04}-", index + 1);
        if !name.starts_with(&expected) || !name.ends_with(".md") {
            let message = format!("expected a record named {expected}title.md here: renumber it");
            let path = format!("{DIRECTORY}{name}");
            findings.push(Finding::new(&path, 1, "decision-number", message));
        }
    }
    findings
}

/// Finds files that allow `unsafe` again, which the compiler denies, and are not in the list above.
fn unaudited(file: &SourceFile) -> Vec<Finding> {
    if !file.path.ends_with(".rs") || AUDITED.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate();
    let allowed = lines.filter(|(_, line)| line.contains(concat!("allow(", "unsafe_code")));
    let finding = |(index, _): (usize, &str)| {
        let message = "`unsafe` belongs in one audited module with a decision record: see \
                       xtask/src/tidy/records.rs";
        Finding::new(&file.path, index + 1, "unsafe", message.to_owned())
    };
    allowed.map(finding).collect()
}

fn missing_lints(file: &SourceFile) -> Option<Finding> {
    let is_manifest = file.path.ends_with("/Cargo.toml");
    // A package outside the workspace (it has a `[workspace]` of its own) cannot inherit the lints.
    let stands_alone = file.text.lines().any(|line| line.trim() == "[workspace]");
    let mut lines = file.text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    let inherits =
        lines.by_ref().take_while(|line| !line.starts_with('[')).any(|l| l == "workspace = true");
    (is_manifest && !stands_alone && !inherits).then(|| {
        let message = "add `[lints]` with `workspace = true`: the lints hold for every crate";
        Finding::new(&file.path, 1, "workspace-lints", message)
    })
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, check};

    fn rules(files: &[(&str, &str)]) -> Vec<(String, &'static str)> {
        let files: Vec<_> = files.iter().map(|(path, text)| SourceFile::new(path, text)).collect();
        check(&files).into_iter().map(|finding| (finding.path, finding.rule)).collect()
    }

    #[test]
    fn a_gap_a_double_and_a_nameless_record_are_found() {
        let record = |name: &str| format!("docs/decisions/{name}");
        for names in [
            ["0001-a.md", "0003-b.md"],
            ["0001-a.md", "0001-b.md"],
            ["0001-a.md", "0002.md"],
            ["0001-a.md", "notes.txt"],
        ] {
            let paths = names.map(record);
            let found = rules(&[(&paths[0], ""), (&paths[1], "")]);
            assert_eq!(found, [(paths[1].clone(), "decision-number")]);
        }
        let paths = ["README.md", "0001-a.md", "0002-b.md"].map(record);
        assert_eq!(rules(&[(&paths[0], ""), (&paths[1], ""), (&paths[2], "")]), []);
    }

    #[test]
    fn unsafe_code_outside_the_audited_module_is_found() {
        let text = concat!("//! Text.\n#![allow(", "unsafe_code)]\n");
        assert_eq!(rules(&[("crates/cli/src/allocator.rs", text)]), []);
        let path = "crates/core/src/core.rs";
        assert_eq!(rules(&[(path, text)]), [(path.to_owned(), "unsafe")]);
    }

    #[test]
    fn a_crate_without_the_workspace_lints_is_found() {
        let path = "crates/net/Cargo.toml";
        let found = [(path.to_owned(), "workspace-lints")];
        assert_eq!(rules(&[(path, "[package]\n")]), found);
        assert_eq!(rules(&[(path, "[lints]\n[dependencies]\nworkspace = true\n")]), found);
        assert_eq!(rules(&[(path, "[package]\n[lints]\nworkspace = true\n")]), []);
        assert_eq!(rules(&[("fuzz/Cargo.toml", "[package]\n[workspace]\n")]), []);
    }
}
