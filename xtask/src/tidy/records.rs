//! Decision records are numbered 0001, 0002, ... without gaps, and crates opt into the lints.
//!
//! A gap would be a decision that somebody deleted; a crate outside the workspace lints would be
//! one that may contain `unsafe`.

use super::{Finding, SourceFile};

const DIRECTORY: &str = "docs/decisions/";

/// Every record that is out of order and every manifest without the workspace lints.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = misnumbered_records(files);
    findings.extend(files.iter().filter_map(missing_lints));
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

fn missing_lints(file: &SourceFile) -> Option<Finding> {
    let is_manifest = file.path.ends_with("/Cargo.toml");
    // A package outside the workspace (it says so by an own `[workspace]`) cannot inherit.
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
    fn a_crate_without_the_workspace_lints_is_found() {
        let path = "crates/net/Cargo.toml";
        let found = [(path.to_owned(), "workspace-lints")];
        assert_eq!(rules(&[(path, "[package]\n")]), found);
        assert_eq!(rules(&[(path, "[lints]\n[dependencies]\nworkspace = true\n")]), found);
        assert_eq!(rules(&[(path, "[package]\n[lints]\nworkspace = true\n")]), []);
        assert_eq!(rules(&[("fuzz/Cargo.toml", "[package]\n[workspace]\n")]), []);
    }
}
