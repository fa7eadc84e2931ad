//! The house rules, checked: layers, rooms, file openings, lengths, forbidden names, numbering.
//!
//! Each rule is a function from what it reads to [`Finding`]s, so that its unit test can show that
//! it fires. [`check`] reads the repository once and runs all rules; [`exemptions`] lists the files
//! that may break one, and why. No rule may write anything.

pub mod exemptions;
mod imports;
pub mod layers;
pub mod mask;
pub mod names;
pub mod records;
pub mod rooms;
pub mod sizes;

use crate::failure::{Failure, Result};
use std::{fmt, path::Path, process::Command};

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path from the root of the repository.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// The rule's name, as [`exemptions`] uses it.
    pub rule: &'static str,
    /// What is wrong here and what to do about it.
    pub message: String,
}

impl Finding {
    /// Makes a finding at `path`:`line`.
    pub fn new(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.message)
    }
}

/// A text file of the repository, as it is and as code alone.
#[derive(Debug)]
pub struct SourceFile {
    /// Path from the root of the repository, with `/` between its parts.
    pub path: String,
    /// The text as it stands.
    pub text: String,
    /// For Rust files: the text with comments and literals blanked (see [`mask::mask`]); else
    /// empty.
    pub code: String,
}

impl SourceFile {
    /// Makes a file with this text; Rust files are masked.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { mask::mask(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// Whether this is a Rust file.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Runs every rule on the repository at `root`.
///
/// # Errors
/// Fails if git or cargo cannot say what is in the repository.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let files = tracked_files(root)?;
    let workspace = layers::Workspace::load(root)?;
    let mut findings = layers::check(&workspace);
    findings.extend(sizes::check(&files));
    findings.extend(names::check(&files));
    findings.extend(records::check(&files));
    findings.extend(rooms::check(&files));
    let mut findings = exemptions::apply(findings, exemptions::EXEMPTIONS);
    findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
    Ok(findings)
}

/// Reads the files that git tracks, and those that it would track after `git add`, so that a rule
/// speaks before the commit does.
fn tracked_files(root: &Path) -> Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| Failure::because("git ls-files", error))?;
    if !output.status.success() {
        return Err(Failure::because("git ls-files", String::from_utf8_lossy(&output.stderr)));
    }
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // A file that is deleted but not yet staged, or that is not text, has no lines to judge.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(SourceFile::new(path, &text));
        }
    }
    Ok(files)
}
