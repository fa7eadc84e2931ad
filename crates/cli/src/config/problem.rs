//! What is wrong with a configuration, and how its user is told: the place, the line itself with a
//! caret, what is allowed.
//!
//! Text from the user never gets out unescaped: a configuration cannot write control sequences to a
//! terminal or lines of its own into a log.

use std::fmt::{self, Write};
use std::ops::Range;

use serde_json::json;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    /// A range of bytes in the file.
    File(Range<usize>),
    /// The name of the variable.
    Environment(String),
    /// The name of the flag, with its dashes.
    Flag(&'static str),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) origin: Origin,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// A configuration file as far as messages need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path as the user knows it.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    file: Option<File>,
    problems: Vec<Problem>,
}

/// A place in a file, as people count: from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Problems beyond this number are only counted.
const PROBLEMS_SHOWN_MAX: usize = 50;

/// How many characters of a long line are shown before the column, and in all.
const COLUMNS_BEFORE: usize = 60;
const COLUMNS_SHOWN: usize = 100;

impl Problem {
    pub(crate) fn new(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl File {
    /// Returns the line and the column of the byte `offset`.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let (start, line) = self.line_at(offset);
        let column = self.text[start..self.boundary(offset)].chars().count() + 1;
        Position { line, column }
    }

    /// Returns the start of the line that holds the byte `offset`, and the line's number.
    fn line_at(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.boundary(offset)];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (start, before.matches('\n').count() + 1)
    }

    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// Shows the line of `span` with carets below it.
    fn excerpt(&self, span: &Range<usize>) -> String {
        let Position { line, column } = self.position(span.start);
        let (start, _) = self.line_at(span.start);
        let text = self.text[start..].lines().next().unwrap_or_default();
        let end = self.boundary(span.end).clamp(start, start + text.len());
        let from = self.boundary(span.start).min(end);
        let width = self.text[from..end].chars().count();
        let skipped = (column - 1).saturating_sub(COLUMNS_BEFORE);
        let shown: String = text.chars().skip(skipped).take(COLUMNS_SHOWN).map(visible).collect();
        let carets = width.min(COLUMNS_SHOWN - (column - 1 - skipped)).max(1);
        let blanks = " ".repeat(column - 1 - skipped);
        let gutter = " ".repeat(line.to_string().len());
        let carets = "^".repeat(carets);
        format!("{gutter} |\n{line} | {shown}\n{gutter} | {blanks}{carets}\n")
    }
}

/// Returns the character, or in its place one that takes one column and commands nothing.
fn visible(char: char) -> char {
    match char {
        '\t' => ' ',
        char if char.is_control() => '\u{fffd}',
        char => char,
    }
}

/// Puts the text on one line, with control characters made visible.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut printable, char| {
        if char.is_control() {
            printable.extend(char.escape_default());
        } else {
            printable.push(char);
        }
        printable
    })
}

impl Report {
    /// Makes a report of what is wrong with the configuration that `file` is part of.
    pub(crate) fn new(file: Option<File>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File(span) => (0, span.start),
            Origin::Environment(_) => (1, 0),
            Origin::Flag(_) => (2, 0),
            Origin::Default => (3, 0),
        });
        Self { file, problems }
    }

    /// Makes a report about the file as a whole, which has no text to show.
    pub(crate) fn unreadable(path: &str, message: &str) -> Self {
        let problem = Problem::new(Origin::Default, format!("{path}: {message}"));
        Self { file: None, problems: vec![problem] }
    }

    /// Returns how many problems there are.
    pub(crate) fn len(&self) -> usize {
        self.problems.len()
    }

    /// Gives each problem on one line, for a log.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().take(PROBLEMS_SHOWN_MAX).map(|problem| {
            let place = self.place(problem).map_or(String::new(), |place| format!("{place}: "));
            let help = problem.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            printable(&format!("{place}{}{help}", problem.message))
        })
    }

    /// Gives the problems as JSON, for `midge config check --json`.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let problems = self.problems.iter();
        problems
            .map(|problem| {
                let mut object = json!({ "message": problem.message });
                if let Some(help) = &problem.help {
                    object["help"] = json!(help);
                }
                match (&problem.origin, &self.file) {
                    (Origin::File(span), Some(file)) => {
                        let Position { line, column } = file.position(span.start);
                        object["file"] = json!(file.path);
                        object["line"] = json!(line);
                        object["column"] = json!(column);
                    }
                    (Origin::Environment(name), _) => object["variable"] = json!(name),
                    (Origin::Flag(name), _) => object["flag"] = json!(name),
                    _ => {}
                }
                object
            })
            .collect()
    }

    fn place(&self, problem: &Problem) -> Option<String> {
        match (&problem.origin, &self.file) {
            (Origin::File(span), Some(file)) => {
                let Position { line, column } = file.position(span.start);
                Some(format!("{}:{line}:{column}", file.path))
            }
            // Messages about these begin with the name of the variable or flag.
            (Origin::Environment(_), _) => Some("environment".to_string()),
            (Origin::Flag(_), _) => Some("command line".to_string()),
            _ => None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(PROBLEMS_SHOWN_MAX).enumerate() {
            let mut text = format!("error: {}\n", printable(&problem.message));
            if let Some(place) = self.place(problem) {
                writeln!(text, "  --> {}", printable(&place))?;
            }
            if let (Origin::File(span), Some(file)) = (&problem.origin, &self.file) {
                text.push_str(&file.excerpt(span));
            }
            if let Some(help) = &problem.help {
                writeln!(text, "  = {}", printable(help))?;
            }
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{text}")?;
        }
        match self.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
            0 => Ok(()),
            more => writeln!(f, "\nand {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{File, Origin, Problem, Report};

    fn report(text: &str, span: std::ops::Range<usize>) -> String {
        let file = File { path: "midge.toml".into(), text: text.into() };
        let problem = Problem::new(Origin::File(span), "it is wrong").help("write it right");
        Report::new(Some(file), vec![problem]).to_string()
    }

    #[test]
    fn the_line_is_shown_with_carets() {
        assert_eq!(
            report("a = 1\n\tb\u{fc} = 22\n", 13..15),
            "error: it is wrong\n  --> midge.toml:2:7\n  |\n2 |  b\u{fc} = 22\n  |       ^^\n  \
             = write it right\n"
        );
    }

    #[test]
    fn any_span_is_survived() {
        let text = "\u{1f98b}\u{1b}[31m = '''\n\n\u{1f98b}'''\r\n";
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                assert!(!report(text, start..end).contains('\u{1b}'));
            }
        }
        assert!(report(&"x".repeat(100_000), 50_000..90_000).len() < 500);
    }
}
