//! The user that the claims of a checked token speak of.

use std::sync::Arc;

use midge_core::{Identity, User, UserAttribute, UserAttributes, UserFacts};
use serde_json::Value;

use super::acl;
use super::claims::{self, ClaimPath};
use super::compact::Claims;
use super::config::ClaimNames;
use super::quoting::quoted;
use crate::template::Template;

impl ClaimNames {
    /// The most bytes of the name of an attribute.
    const ATTRIBUTE_NAME_BYTES_MAX: usize = 128;

    /// Returns the user that the claims of a token speak of, for a Client with this identifier.
    pub(crate) fn user(&self, claims: &Claims, client_id: &str) -> Result<User, String> {
        let name = claims::text(claims, &self.user_name)?;
        check_name(name)?;
        if let Some(path) = &self.client_id
            && claims::text(claims, path)? != client_id
        {
            return Err(format!(
                "the token of {} is for another Client Identifier than {}",
                quoted(name),
                quoted(client_id)
            ));
        }
        let facts = UserFacts {
            attributes: self.attributes(claims)?,
            groups: self.groups(claims)?,
            is_superuser: self.is_superuser(claims)?,
            rules: match self.acl.as_ref().and_then(|path| path.find(claims)) {
                Some(permissions) => acl::rules(permissions, self.rules_max)?,
                None => Box::default(),
            },
            ..UserFacts::default()
        };
        check_prohibitions(&facts, name, client_id)?;
        Ok(User { name: Some(name.into()), facts, valid_for: None })
    }

    fn attributes(&self, claims: &Claims) -> Result<UserAttributes, String> {
        let mut attributes = UserAttributes::new();
        match self.client_attributes.as_ref().and_then(|path| path.find(claims)) {
            None => {}
            Some(Value::Object(values)) => {
                for (name, value) in values.iter().filter(|(_, value)| !value.is_null()) {
                    attributes.insert(name.as_str().into(), attribute(name, value)?);
                }
            }
            Some(_) => return Err("the attributes of the token are no object".into()),
        }
        for (name, path) in &self.attributes {
            if let Some(value) = path.find(claims) {
                attributes.insert(name.clone(), attribute(name, value)?);
            }
        }
        if attributes.len() > self.attributes_max {
            return Err(format!("the token has more than {} attributes", self.attributes_max));
        }
        let is_name = |name: &str| !name.is_empty() && name.len() <= Self::ATTRIBUTE_NAME_BYTES_MAX;
        match attributes.keys().all(|name| is_name(name)) {
            true => Ok(attributes),
            false => Err(format!(
                "the name of an attribute of the token is empty or longer than {} bytes",
                Self::ATTRIBUTE_NAME_BYTES_MAX
            )),
        }
    }

    fn groups(&self, claims: &Claims) -> Result<Box<[Box<str>]>, String> {
        let Some((path, value)) = found(self.groups.as_ref(), claims) else {
            return Ok(Box::default());
        };
        let Some(groups) = list(value) else {
            return Err(format!("the claim {} of the token is no list of texts", shown(path)));
        };
        if groups.len() > self.groups_max {
            return Err(format!("the token has more than {} groups", self.groups_max));
        }
        Ok(groups)
    }

    fn is_superuser(&self, claims: &Claims) -> Result<bool, String> {
        match found(self.superuser.as_ref(), claims) {
            None => Ok(false),
            Some((_, Value::Bool(is_superuser))) => Ok(*is_superuser),
            Some((path, _)) => {
                Err(format!("the claim {} of the token is neither true nor false", shown(path)))
            }
        }
    }
}

fn found<'a>(
    path: Option<&'a ClaimPath>,
    claims: &'a Claims,
) -> Option<(&'a ClaimPath, &'a Value)> {
    path.and_then(|path| Some((path, path.find(claims)?)))
}

fn shown(path: &ClaimPath) -> String {
    quoted(&path.to_string())
}

/// Checks the name of a user. What MQTT forbids in a User Name is no name here either.
fn check_name(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains('\0') || name.len() > usize::from(u16::MAX) {
        true => Err("the name of the user in the token is empty, too long, or has U+0000".into()),
        false => Ok(()),
    }
}

/// Checks that nothing is allowed because a prohibition has variables without a value: such a
/// template stands for no topic.
fn check_prohibitions(facts: &UserFacts, name: &str, client_id: &str) -> Result<(), String> {
    let mut prohibitions = facts.rules.iter().filter(|rule| !rule.allows).peekable();
    if prohibitions.peek().is_none() {
        return Ok(());
    }
    let client = Identity {
        facts: Some(Arc::new(facts.clone())),
        ..Identity::new(client_id.into(), Some(name.into()))
    };
    let is_void = |topics: &str| {
        let template = Template::parse(topics);
        template.is_ok_and(|template| template.resolve(&client).is_none())
    };
    match prohibitions.find(|rule| is_void(&rule.topics)) {
        Some(rule) => Err(format!(
            "the token denies {}, which has a variable that has no value, or none that can stand \
             in a topic",
            quoted(&rule.topics)
        )),
        None => Ok(()),
    }
}

fn attribute(name: &str, value: &Value) -> Result<UserAttribute, String> {
    let attribute = match value {
        Value::String(text) => Some(UserAttribute::Text(text.as_str().into())),
        Value::Bool(truth) => Some(UserAttribute::Text(truth.to_string().into())),
        Value::Number(number) => number.as_i64().map(UserAttribute::Number),
        other => list(other).map(UserAttribute::List),
    };
    attribute.ok_or_else(|| {
        let name = quoted(name);
        format!("the attribute {name} of the token is no text, whole number or list of texts")
    })
}

fn list(value: &Value) -> Option<Box<[Box<str>]>> {
    let texts = value.as_array()?.iter();
    texts.map(|it| it.as_str().map(Into::into)).collect()
}
