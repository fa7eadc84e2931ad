//! mosquitto's `acl_file`, with mosquitto's meaning.
//!
//! - Lines `topic` are for the user of the last line `user`; before the first one, for anonymous
//!   Clients. Lines `pattern` are for all, after those, with the Client's names for `%c` and `%u`.
//! - Prohibitions (`deny`) come before permissions, wherever they stand.
//! - All subscriptions are granted; rules that let read decide about each delivery.
//!
//! It is stricter in one thing: with a name that is empty, holds a slash, or would begin a topic
//! with `$`, a pattern permits nothing. (What it prohibits, it prohibits as mosquitto does.)
//!
//! This module never decides about what no rule is about: the broker has a default for that.

mod line;
mod pattern;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use midge_core::Identity;

use crate::policy_file::{self, PolicyFileError};
use crate::rule_source::{Action, Judge, Opinion, RuleSource};
use crate::topic_filter;
use line::{Access, Line};

/// An access file as mosquitto has it.
#[derive(Clone, Debug)]
pub struct AclFile {
    name: Box<str>,
    /// In the order of the file.
    rules: Box<[Rule]>,
    users: HashMap<Box<str>, Arc<[Entry]>>,
    anonymous: Arc<[Entry]>,
    /// With the variables still in them.
    patterns: Box<[Entry]>,
}

/// A rule as it stands.
#[derive(Clone, Debug)]
struct Rule {
    line: usize,
    keyword: &'static str,
    access: Access,
    topic: Box<str>,
}

/// A rule among those that are asked one after the other.
#[derive(Clone, Debug)]
struct Entry {
    rule: u32,
    access: Access,
    filter: Box<str>,
}

/// The number of what grants subscriptions. Rules have the numbers from 1 on.
const GRANT: u32 = 0;

impl AclFile {
    /// The most bytes that a file may have.
    pub const BYTES_MAX: usize = 16 * 1024 * 1024;

    /// The most bytes that a line may have, with its line feed: room for the longest Topic Filter.
    pub const LINE_BYTES_MAX: usize = 66_000;

    /// The most rules that a file may have.
    pub const RULES_MAX: usize = 100_000;

    /// Reads a file. A reload is another `load`; if it fails, the old value is as good as before.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or [`AclFile::parse`] refuses it.
    pub fn load(path: &Path) -> Result<Self, PolicyFileError> {
        Self::parse(&path.to_string_lossy(), &policy_file::read(path, Self::BYTES_MAX)?)
    }

    /// Reads the bytes of a file that has this name. Without rules it has nothing to say.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, or a limit that is exceeded.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let mut rules = Vec::new();
        let mut users: HashMap<Box<str>, Vec<Entry>> = HashMap::new();
        let mut anonymous = Vec::new();
        let mut patterns = Vec::new();
        let mut user: Option<&str> = None;
        for (index, bytes) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let (keyword, access, topic) = match Self::read_line(name, index, bytes)? {
                Line::Nothing => continue,
                Line::User(name) => {
                    user = Some(name);
                    continue;
                }
                Line::Topic(access, topic) => ("topic", access, topic),
                Line::Pattern(access, topic) => ("pattern", access, topic),
            };
            if rules.len() == Self::RULES_MAX {
                let detail = format!("there are more than {} rules", Self::RULES_MAX);
                return Err(PolicyFileError { place: Some((index + 1, 1)), ..error(name, detail) });
            }
            rules.push(Rule { line: index + 1, keyword, access, topic: topic.into() });
            let rule = u32::try_from(rules.len()).expect("at most RULES_MAX");
            let entries = match (keyword, user) {
                ("pattern", _) => &mut patterns,
                (_, Some(user)) => users.entry(user.into()).or_default(),
                (_, None) => &mut anonymous,
            };
            entries.push(Entry { rule, access, filter: topic.into() });
        }
        let users = users.into_iter().map(|(name, entries)| (name, denials_first(entries).into()));
        Ok(Self {
            name: name.into(),
            rules: rules.into(),
            users: users.collect(),
            anonymous: denials_first(anonymous).into(),
            patterns: denials_first(patterns).into(),
        })
    }

    fn read_line<'a>(
        name: &str,
        index: usize,
        bytes: &'a [u8],
    ) -> Result<Line<'a>, PolicyFileError> {
        let place = |column| Some((index + 1, column));
        if bytes.len() > Self::LINE_BYTES_MAX {
            let detail = format!("the line has more than {} bytes", Self::LINE_BYTES_MAX);
            return Err(PolicyFileError { place: place(1), ..error(name, detail) });
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        line::read(bytes).map_err(|mistake| {
            let before = String::from_utf8_lossy(&bytes[..mistake.offset]);
            let place = place(before.chars().count() + 1);
            PolicyFileError { place, ..error(name, mistake.detail) }
        })
    }

    /// Returns how many rules there are.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// Fills in the patterns for a Client.
    fn resolve_patterns(&self, client: &Identity) -> Patterns {
        let Some(first) = self.patterns.first() else {
            return Patterns::Entries([].into());
        };
        if pattern::is_dangerous(client) {
            return Patterns::Refused(first.rule);
        }
        let resolve = |entry: &Entry| {
            let filter = match entry.access {
                Access::Deny => pattern::fill(&entry.filter, client)?,
                _ => pattern::fill_narrowly(&entry.filter, client)?,
            };
            Some(Entry { filter: filter.into(), ..entry.clone() })
        };
        Patterns::Entries(self.patterns.iter().filter_map(resolve).collect())
    }
}

fn error(name: &str, detail: String) -> PolicyFileError {
    PolicyFileError::whole(name, detail)
}

/// Puts the prohibitions first; the order stays otherwise.
fn denials_first(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.access != Access::Deny);
    entries
}

impl RuleSource for AclFile {
    fn judge(&self, client: &Identity) -> Option<Box<dyn Judge>> {
        if self.rules.is_empty() {
            return None;
        }
        let own = match &client.user_name {
            Some(name) => self.users.get(name).cloned().unwrap_or_default(),
            None => self.anonymous.clone(),
        };
        Some(Box::new(ClientRules { own, patterns: self.resolve_patterns(client) }))
    }

    fn describe(&self, rule: u32) -> String {
        let index = usize::try_from(rule).ok().and_then(|rule| rule.checked_sub(1));
        match index.and_then(|index| self.rules.get(index)) {
            Some(Rule { line, keyword, access, topic }) => {
                let access = access.word();
                format!("{}, line {line}: {keyword} {access} {topic}", self.name)
            }
            None => format!("{}: a file in this form grants every subscription", self.name),
        }
    }
}

/// The rules for one Client.
struct ClientRules {
    own: Arc<[Entry]>,
    patterns: Patterns,
}

/// The patterns for one Client.
enum Patterns {
    Entries(Box<[Entry]>),
    /// The Client has a name that is a wildcard: it may do nothing that its own rules do not
    /// permit. This is the first pattern.
    Refused(u32),
}

impl ClientRules {
    fn decide(&self, topic: &str, is_about: fn(Access) -> bool) -> Option<Opinion> {
        let find = |entries: &[Entry]| {
            let decides = |entry: &&Entry| {
                is_about(entry.access) && topic_filter::matches(&entry.filter, topic)
            };
            let entry = entries.iter().find(decides)?;
            Some(Opinion { allows: entry.access != Access::Deny, rule: entry.rule })
        };
        find(&self.own).or_else(|| match &self.patterns {
            Patterns::Entries(entries) => find(entries),
            Patterns::Refused(rule) => Some(Opinion { allows: false, rule: *rule }),
        })
    }
}

impl Judge for ClientRules {
    fn opinion(&self, action: Action<'_>) -> Option<Opinion> {
        match action {
            Action::Subscribe { .. } => Some(Opinion { allows: true, rule: GRANT }),
            Action::Publish { topic, .. } => {
                self.decide(topic, |access| !matches!(access, Access::Read))
            }
            Action::Receive { topic } => {
                self.decide(topic, |access| !matches!(access, Access::Write))
            }
        }
    }
}

#[cfg(test)]
mod tests;
