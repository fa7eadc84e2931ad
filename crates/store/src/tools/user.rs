//! What authentication has found out about the user of a Session, as exports show it.

use std::collections::BTreeMap;

use midge_core::{CredentialRule, UserAttribute, UserFacts};
use serde::{Deserialize, Serialize};

use super::line::check_text;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<Box<str>, Attribute>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    groups: Box<[Box<str>]>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    superuser: bool,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    rules: Box<[Rule]>,
    /// When the credential ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Attribute {
    Number(i64),
    Text(Box<str>),
    List(Box<[Box<str>]>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    allow: bool,
    publish: bool,
    subscribe: bool,
    topics: Box<str>,
    /// In ascending order.
    qos: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
}

impl User {
    pub(crate) fn of(facts: &UserFacts) -> Self {
        let attribute = |value: &UserAttribute| match value {
            UserAttribute::Text(text) => Attribute::Text(text.clone()),
            UserAttribute::Number(number) => Attribute::Number(*number),
            UserAttribute::List(texts) => Attribute::List(texts.clone()),
        };
        let attributes = facts.attributes.iter();
        Self {
            member: facts.member.clone(),
            attributes: attributes.map(|(name, it)| (name.clone(), attribute(it))).collect(),
            groups: facts.groups.clone(),
            superuser: facts.is_superuser,
            rules: facts.rules.iter().map(Rule::of).collect(),
            expires_at: facts.expires_at,
        }
    }

    /// # Errors
    ///
    /// Why no broker could have written this.
    pub(crate) fn into_facts(self) -> Result<UserFacts, String> {
        let Self { member, attributes, groups, superuser, rules, expires_at } = self;
        check_text("member", member.as_deref().unwrap_or_default())?;
        for (name, value) in &attributes {
            check_text("attributes", name)?;
            match value {
                Attribute::Text(text) => check_text("attributes", text)?,
                Attribute::List(texts) => {
                    texts.iter().try_for_each(|text| check_text("attributes", text))?;
                }
                Attribute::Number(_) => {}
            }
        }
        groups.iter().try_for_each(|group| check_text("groups", group))?;
        let attribute = |value| match value {
            Attribute::Text(text) => UserAttribute::Text(text),
            Attribute::Number(number) => UserAttribute::Number(number),
            Attribute::List(texts) => UserAttribute::List(texts),
        };
        let attributes = attributes.into_iter();
        Ok(UserFacts {
            member,
            attributes: attributes.map(|(name, value)| (name, attribute(value))).collect(),
            groups,
            is_superuser: superuser,
            rules: rules.into_iter().map(Rule::into_rule).collect::<Result<_, _>>()?,
            expires_at,
        })
    }
}

impl Rule {
    fn of(rule: &CredentialRule) -> Self {
        let qos = (0..=2).filter(|level| rule.qos & 1 << level != 0);
        Self {
            allow: rule.allows,
            publish: rule.publish,
            subscribe: rule.subscribe,
            topics: rule.topics.clone(),
            qos: qos.collect(),
            retain: rule.retain,
        }
    }

    fn into_rule(self) -> Result<CredentialRule, String> {
        let Self { allow, publish, subscribe, topics, qos, retain } = self;
        check_text("topics", &topics)?;
        if let Some(level) = qos.iter().find(|&&level| level > 2) {
            return Err(format!("\"qos\" has {level} in it; there are 0, 1 and 2"));
        }
        let qos = qos.iter().fold(0, |bits, level| bits | 1 << level);
        Ok(CredentialRule { allows: allow, publish, subscribe, topics, qos, retain })
    }
}
