//! Templates as they are compared: levels with numbered variables, whose values a Client has.
//!
//! A topic and a Topic Filter compare with a pattern in the same way: a pattern that matches the
//! levels of a filter, taken as they stand, covers the filter. `+` matches every level but `#`.

use std::collections::HashMap;

use midge_core::Identity;

use crate::rule::TopicPattern;
use crate::template::{Part, TemplateLevel, Variable};

/// A template with numbered variables.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) levels: Box<[PatternLevel]>,
    pub(crate) kind: PatternKind,
}

/// What a pattern is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternKind {
    /// With everything that the statement is about.
    Plain,
    /// With requests and PUBLISH packets, letter by letter: wildcards are levels as others.
    Exact,
    /// With messages that a subscription to an exact filter brings.
    BroughtByExact,
}

#[derive(Clone, Debug)]
pub(crate) enum PatternLevel {
    Literal(Box<str>),
    Single,
    /// At the end.
    Multi,
    Mixed(Box<[Piece]>),
}

/// A piece of a level with variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Piece {
    Text(Box<str>),
    /// The value of the variable with this number.
    Value(u32),
}

/// Variables, and the number of each.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    list: Vec<Variable>,
    numbers: HashMap<Variable, u32>,
}

/// The values that one Client has, by the numbers of the variables; those that can be part of a
/// level only.
#[derive(Debug, Default)]
pub(crate) struct Values(Box<[(u32, Box<str>)]>);

impl Pattern {
    /// Appends what `topics` is compared by to `patterns`; nothing if it stands for no topics.
    pub(crate) fn compile(
        topics: &TopicPattern,
        variables: &mut Variables,
        patterns: &mut Vec<Self>,
    ) {
        if !topics.template.is_usable() {
            return;
        }
        let mut levels = Vec::new();
        for level in topics.template.levels() {
            levels.push(PatternLevel::new(level, variables));
            if matches!(level, TemplateLevel::Multi) {
                break;
            }
        }
        if topics.is_exact {
            let levels = levels.iter().map(PatternLevel::as_literal).collect();
            patterns.push(Self { levels, kind: PatternKind::Exact });
        }
        // The same as `#`, which covers both of them.
        if let [PatternLevel::Single, PatternLevel::Multi] = &levels[..] {
            levels.remove(0);
        }
        let kind = if topics.is_exact { PatternKind::BroughtByExact } else { PatternKind::Plain };
        patterns.push(Self { levels: levels.into(), kind });
    }
}

impl PatternLevel {
    fn new(level: &TemplateLevel, variables: &mut Variables) -> Self {
        let parts = match level {
            TemplateLevel::Single => return Self::Single,
            TemplateLevel::Multi => return Self::Multi,
            TemplateLevel::Parts(parts) => parts,
        };
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            let texts = parts.iter().map(|part| match part {
                Part::Text(text) => &**text,
                Part::Variable(_) => "",
            });
            return Self::Literal(texts.collect::<String>().into());
        }
        let pieces = parts.iter().map(|part| match part {
            Part::Text(text) => Piece::Text(text.clone()),
            Part::Variable(variable) => Piece::Value(variables.number(variable)),
        });
        Self::Mixed(pieces.collect())
    }

    fn as_literal(&self) -> Self {
        match self {
            Self::Single => Self::Literal("+".into()),
            Self::Multi => Self::Literal("#".into()),
            other => other.clone(),
        }
    }
}

/// Returns whether `pieces`, one after the other, are `level`. Values hold no `/` and no wildcard,
/// so a level of a filter that is a wildcard is none of them.
pub(crate) fn are_level(pieces: &[Piece], level: &str, is_first: bool, values: &Values) -> bool {
    let mut rest = level;
    for (index, piece) in pieces.iter().enumerate() {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Value(number) => match values.get(*number) {
                // A Client must not choose to be among the broker's own topics.
                Some(value) if !(is_first && index == 0 && value.starts_with('$')) => value,
                _ => return false,
            },
        };
        match rest.strip_prefix(text) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}

impl Piece {
    /// Returns the text, which is empty where a variable stands.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Value(_) => "",
        }
    }
}

impl Variables {
    fn number(&mut self, variable: &Variable) -> u32 {
        if let Some(number) = self.numbers.get(variable) {
            return *number;
        }
        let number = self.list.len() as u32;
        self.list.push(variable.clone());
        self.numbers.insert(variable.clone(), number);
        number
    }

    /// Returns the values that `client` has.
    pub(crate) fn values(&self, client: &Identity) -> Values {
        let values = self.list.iter().zip(0..).filter_map(|(variable, number)| {
            let value = variable.value(client)?;
            Some((number, value.into()))
        });
        Values(values.collect())
    }
}

impl Values {
    fn get(&self, number: u32) -> Option<&str> {
        let index = self.0.binary_search_by_key(&number, |it| it.0).ok()?;
        Some(&self.0[index].1)
    }
}
