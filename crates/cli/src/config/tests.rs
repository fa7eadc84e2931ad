//! The configuration as a whole: sources in, values or the text of an error out.

mod any_text;
mod effects;
mod listener_messages;
mod listeners;
mod messages;
mod sources;
mod warnings;

use super::environment::Variables;
use super::flags::Flags;
use super::problem::File;
use super::{Loaded, Report, load};

fn file(text: &str) -> Option<File> {
    Some(File { path: "midge.toml".into(), text: text.into() })
}

/// Loads a file for a broker that may let everybody in.
fn load_text(text: &str) -> Result<Loaded, Report> {
    load(file(text), &variables(&[]), &Flags::default())
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let pairs = pairs.iter().chain(&[("MIDGE_AUTHENTICATION_ANONYMOUS", "true")]);
    pairs.map(|(name, value)| ((*name).to_string(), Some((*value).to_string()))).collect()
}

/// The error as the user sees it.
fn error(result: Result<Loaded, Report>) -> String {
    result.expect_err("the configuration is wrong").to_string()
}

/// Compares the error of `text` with `expected`, whose lines are written with their indent.
#[track_caller]
fn assert_error(text: &str, expected: &str) {
    assert_eq!(error(load_text(text)), format!("{}\n", expected.trim()));
}
