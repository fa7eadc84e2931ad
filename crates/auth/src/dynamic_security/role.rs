//! A role: its rules in the order in which they are asked.

use midge_codec::TopicFilter;

use super::document;
use crate::template::{Part, Template, TemplateLevel, Variable};

/// A role.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// The rule that refuses all subscriptions with wildcards, if there is one.
    pub(super) no_wildcards: Option<u32>,
    pub(super) publish: Vec<Entry>,
    pub(super) receive: Vec<Entry>,
    /// For exactly one Topic Filter each.
    pub(super) literal: Vec<Entry>,
    /// For all Topic Filters that lie inside of one.
    pub(super) pattern: Vec<Entry>,
}

/// A rule of a role.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rule: u32,
    pub(super) allows: bool,
    pub(super) topic: Topic,
}

/// Which topics a rule is about.
#[derive(Debug)]
pub(super) enum Topic {
    /// The same ones for all Clients.
    Constant(Box<str>),
    /// `%c` or `%u` is a level.
    Variable(Template),
}

/// The types of rules, and that of one that Midge needs no rule for: everybody may unsubscribe.
const TYPES: [&str; 6] = [
    "publishClientSend",
    "publishClientReceive",
    "subscribeLiteral",
    "subscribePattern",
    "unsubscribeLiteral",
    "unsubscribePattern",
];

impl Role {
    /// Makes a role of what the file says. `describe` takes the text of a rule and numbers it.
    ///
    /// # Errors
    ///
    /// What is wrong with a rule.
    pub(super) fn new(
        role: &document::Role,
        mut describe: impl FnMut(String) -> u32,
    ) -> Result<Self, String> {
        let name = &role.name;
        let mut made = Self::default();
        if !role.allows_wildcards {
            let text = format!("role {name:?}: no subscriptions with wildcards");
            made.no_wildcards = Some(describe(text));
        }
        let mut acls: Vec<_> = role.acls.iter().collect();
        acls.sort_by_key(|acl| std::cmp::Reverse(acl.priority));
        for acl in acls {
            let document::Acl { acltype, topic, allow, .. } = acl;
            let kind = TYPES.iter().position(|word| word.eq_ignore_ascii_case(acltype));
            let entries = match kind {
                Some(0) => &mut made.publish,
                Some(1) => &mut made.receive,
                Some(2) => &mut made.literal,
                Some(3) => &mut made.pattern,
                Some(_) => continue,
                None => {
                    let types = TYPES.join(", ");
                    return Err(format!(
                        "role {name:?} has the unknown acltype {acltype:?}; there are {types}"
                    ));
                }
            };
            if TopicFilter::parse(topic).is_err() {
                return Err(format!("role {name:?}: {topic:?} is no Topic Filter"));
            }
            let word = if *allow { "allow" } else { "deny" };
            let rule = describe(format!("role {name:?}: {acltype} {topic} {word}"));
            let topic =
                if kind == Some(2) { Topic::Constant(topic.clone()) } else { Topic::parse(topic) };
            entries.push(Entry { rule, allows: *allow, topic });
        }
        Ok(made)
    }

    /// Iterates over the rules with variables.
    pub(super) fn variable(&self) -> impl Iterator<Item = (u32, &Template)> {
        let entries = self.publish.iter().chain(&self.receive).chain(&self.pattern);
        entries.filter_map(|entry| match &entry.topic {
            Topic::Variable(template) => Some((entry.rule, template)),
            Topic::Constant(_) => None,
        })
    }
}

impl Topic {
    /// Reads a Topic Filter in which `%c` and `%u` may be levels.
    fn parse(filter: &str) -> Self {
        let level = |level| match level {
            "+" => TemplateLevel::Single,
            "#" => TemplateLevel::Multi,
            "%c" => TemplateLevel::Parts([Part::Variable(Variable::ClientId)].into()),
            "%u" => TemplateLevel::Parts([Part::Variable(Variable::UserName)].into()),
            "" => TemplateLevel::Parts([].into()),
            text => TemplateLevel::Parts([Part::Text(text.into())].into()),
        };
        let template = Template::from_levels(filter.split('/').map(level).collect());
        if template.is_constant() {
            Self::Constant(filter.into())
        } else {
            Self::Variable(template)
        }
    }
}
