//! Topic Filters with variables in them, of which each Client gets its own.
//!
//! A value never widens what a template stands for: one that holds a wildcard, a slash or nothing
//! at all makes the template stand for no topic (CVE-2017-7650).

use std::borrow::Cow;
use std::fmt;

use midge_core::{Identity, UserAttribute};

/// A Topic Filter with variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    levels: Box<[TemplateLevel]>,
}

/// A level of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TemplateLevel {
    /// `+`.
    Single,
    /// `#`, at the end.
    Multi,
    /// Text and variables, one after the other; empty for an empty level.
    Parts(Box<[Part]>),
}

/// A part of a level.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// As it stands.
    Text(Box<str>),
    /// The value that the Client has.
    Variable(Variable),
}

/// What a Client has a value for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `${client.id}`: the Client Identifier.
    ClientId,
    /// `${client.username}` or `${client.authenticationName}`: the name of the user.
    UserName,
    /// `${client.attributes.NAME}`: a text or a number that the user has.
    Attribute(Box<str>),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Where in the text, in bytes.
    pub offset: usize,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl Template {
    /// The most bytes that a template may have.
    pub const BYTES_MAX: usize = 4096;

    /// Reads a template such as `plants/${client.attributes.plant}/${client.id|-state}/#`.
    ///
    /// A variable may be a part of a level. What follows `|` inside of the braces is put behind the
    /// value.
    ///
    /// # Errors
    ///
    /// The text is empty, too long, no Topic Filter, or names a variable that there is not.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let error = |offset, detail: &str| Err(TemplateError { offset, detail: detail.into() });
        if text.is_empty() {
            return error(0, "a template has at least one character");
        }
        if text.len() > Self::BYTES_MAX {
            return error(Self::BYTES_MAX, "a template has at most 4096 bytes");
        }
        let mut levels = Vec::new();
        let mut parts = Vec::new();
        let (mut offset, mut is_wildcard) = (0, false);
        while offset < text.len() {
            let rest = &text[offset..];
            if let Some(body) = rest.strip_prefix("${") {
                let Some(length) = body.find('}') else {
                    return error(offset, "a variable ends with `}`");
                };
                if is_wildcard {
                    return error(offset, "`+` and `#` are levels of their own");
                }
                if levels.is_empty() && begins_reserved(&parts) {
                    return error(offset, "a first level that begins with `$` has no variables");
                }
                Self::parse_variable(&body[..length], offset, &mut parts)?;
                offset += length + 3;
                continue;
            }
            match rest.as_bytes()[0] {
                b'/' => {
                    Self::end_level(&mut levels, &mut parts, &mut is_wildcard);
                    offset += 1;
                    if offset == text.len() {
                        levels.push(TemplateLevel::Parts([].into()));
                        return Ok(Self { levels: levels.into() });
                    }
                }
                wildcard @ (b'+' | b'#') => {
                    let is_last = offset + 1 == text.len();
                    if !parts.is_empty() || is_wildcard || !(is_last || rest[1..].starts_with('/'))
                    {
                        return error(offset, "`+` and `#` are levels of their own");
                    }
                    if wildcard == b'#' && !is_last {
                        return error(offset, "`#` is the last level");
                    }
                    let single = wildcard == b'+';
                    levels.push(if single { TemplateLevel::Single } else { TemplateLevel::Multi });
                    is_wildcard = true;
                    offset += 1;
                }
                0 => return error(offset, "a topic holds no U+0000"),
                _ => {
                    // A `$` that begins no variable is text.
                    let ends = |&(_, it): &(usize, char)| "/+#$\0".contains(it);
                    let end = rest.char_indices().skip(1).find(ends);
                    let length = end.map_or(rest.len(), |(end, _)| end);
                    push_text(&mut parts, &rest[..length]);
                    offset += length;
                }
            }
        }
        Self::end_level(&mut levels, &mut parts, &mut is_wildcard);
        Ok(Self { levels: levels.into() })
    }

    fn end_level(levels: &mut Vec<TemplateLevel>, parts: &mut Vec<Part>, is_wildcard: &mut bool) {
        // A wildcard is there already.
        if !std::mem::take(is_wildcard) {
            levels.push(TemplateLevel::Parts(std::mem::take(parts).into()));
        }
    }

    fn parse_variable(
        body: &str,
        offset: usize,
        parts: &mut Vec<Part>,
    ) -> Result<(), TemplateError> {
        let (name, suffix) = body.split_once('|').unwrap_or((body, ""));
        let variable = match name {
            "client.id" => Variable::ClientId,
            "client.username" | "client.authenticationName" => Variable::UserName,
            _ => match name.strip_prefix("client.attributes.") {
                Some(name) if !name.is_empty() => Variable::Attribute(name.into()),
                _ => {
                    let detail = format!(
                        "there is no variable `{name}`; there are client.id, client.username, \
                         client.authenticationName and client.attributes.NAME"
                    );
                    return Err(TemplateError { offset, detail });
                }
            },
        };
        if suffix.contains(['/', '+', '#', '\0']) {
            let detail = "what follows `|` holds no `/`, `+` or `#`".into();
            return Err(TemplateError { offset, detail });
        }
        parts.push(Part::Variable(variable));
        if !suffix.is_empty() {
            push_text(parts, suffix);
        }
        Ok(())
    }

    /// Makes a template of these levels. `Multi` counts as the end.
    pub fn from_levels(levels: Vec<TemplateLevel>) -> Self {
        Self { levels: levels.into() }
    }

    /// Returns the levels.
    pub fn levels(&self) -> &[TemplateLevel] {
        &self.levels
    }

    /// Returns whether the template is the same for all Clients.
    pub fn is_constant(&self) -> bool {
        let is_variable = |part: &Part| matches!(part, Part::Variable(_));
        !self.levels.iter().any(|level| match level {
            TemplateLevel::Parts(parts) => parts.iter().any(is_variable),
            TemplateLevel::Single | TemplateLevel::Multi => false,
        })
    }

    /// Returns whether the template can stand for topics. One whose first level begins with `$` and
    /// has variables never does: a Client must not choose to be among the broker's own topics.
    pub fn is_usable(&self) -> bool {
        match self.levels.first() {
            Some(TemplateLevel::Parts(parts)) => {
                let is_variable = |part: &Part| matches!(part, Part::Variable(_));
                !(begins_reserved(parts) && parts.iter().any(is_variable))
            }
            _ => true,
        }
    }

    /// Returns the Topic Filter that the template is for this Client; `None` if it is none: a
    /// variable has no value, or one that must not be part of a level, or the template is not
    /// [usable](Self::is_usable).
    pub fn resolve(&self, client: &Identity) -> Option<String> {
        if !self.is_usable() {
            return None;
        }
        let mut filter = String::new();
        for (index, level) in self.levels.iter().enumerate() {
            if index > 0 {
                filter.push('/');
            }
            match level {
                TemplateLevel::Single => filter.push('+'),
                TemplateLevel::Multi => filter.push('#'),
                TemplateLevel::Parts(parts) => {
                    let begins = filter.len();
                    for part in &**parts {
                        match part {
                            Part::Text(text) => filter.push_str(text),
                            Part::Variable(variable) => {
                                let is_first = filter.len() == begins && begins == 0;
                                variable.append_value(client, is_first, &mut filter)?;
                            }
                        }
                    }
                }
            }
        }
        (!filter.is_empty() && filter.len() <= usize::from(u16::MAX)).then_some(filter)
    }
}

impl Variable {
    /// Returns the value that `client` has, if it can be part of a level: it has one that is not
    /// empty and holds no `/`, `+`, `#` or U+0000. A value that begins with `$` must not begin a
    /// topic, besides.
    pub fn value<'a>(&self, client: &'a Identity) -> Option<Cow<'a, str>> {
        let value: Cow<'_, str> = match self {
            Self::ClientId => Cow::Borrowed(&client.client_id),
            Self::UserName => Cow::Borrowed(client.user_name.as_deref()?),
            Self::Attribute(name) => match client.facts.as_ref()?.attributes.get(name)? {
                UserAttribute::Text(text) => Cow::Borrowed(text),
                UserAttribute::Number(number) => Cow::Owned(number.to_string()),
                UserAttribute::List(_) => return None,
            },
        };
        let is_part = !value.is_empty() && !value.contains(['/', '+', '#', '\0']);
        is_part.then_some(value)
    }

    /// Appends the value that `client` has; `None` if it has none that can stand there.
    fn append_value(&self, client: &Identity, is_first: bool, filter: &mut String) -> Option<()> {
        let value = self.value(client)?;
        // A Client must not choose to be among the topics that wildcards do not match.
        let is_reserved = is_first && value.starts_with('$');
        (!is_reserved).then(|| filter.push_str(&value))
    }
}

fn begins_reserved(parts: &[Part]) -> bool {
    matches!(parts.first(), Some(Part::Text(text)) if text.starts_with('$'))
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => *last = [last, text].concat().into(),
        _ => parts.push(Part::Text(text.into())),
    }
}

/// As [`Template::parse`] reads it.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.levels.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match level {
                TemplateLevel::Single => f.write_str("+")?,
                TemplateLevel::Multi => f.write_str("#")?,
                TemplateLevel::Parts(parts) => {
                    parts.iter().try_for_each(|part| match part {
                        Part::Text(text) => f.write_str(text),
                        Part::Variable(Variable::ClientId) => f.write_str("${client.id}"),
                        Part::Variable(Variable::UserName) => f.write_str("${client.username}"),
                        Part::Variable(Variable::Attribute(name)) => {
                            write!(f, "${{client.attributes.{name}}}")
                        }
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.detail, self.offset)
    }
}

impl std::error::Error for TemplateError {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_core::UserFacts;
    use proptest::prelude::*;

    use super::*;
    use crate::topic_filter;

    fn client(client_id: &str, user_name: Option<&str>) -> Identity {
        Identity::new(client_id.into(), user_name.map(Into::into))
    }

    fn with_attributes(attributes: &[(&str, UserAttribute)]) -> Identity {
        let attributes = attributes.iter().map(|(name, value)| (Box::from(*name), value.clone()));
        let facts = UserFacts { attributes: attributes.collect(), ..UserFacts::default() };
        Identity { facts: Some(Arc::new(facts)), ..client("c", Some("u")) }
    }

    fn resolved(template: &str, client: &Identity) -> Option<String> {
        Template::parse(template).unwrap().resolve(client)
    }

    #[test]
    fn variables_have_the_values_of_the_client() {
        let client = with_attributes(&[
            ("floor", UserAttribute::Number(3)),
            ("plant", UserAttribute::Text("north".into())),
            ("tags", UserAttribute::List(["x".into()].into())),
        ]);
        for (template, expected) in [
            ("a/+/#", Some("a/+/#")),
            ("${client.id}/x", Some("c/x")),
            ("${client.username}/${client.authenticationName|.f}", Some("u/u.f")),
            ("p-${client.attributes.plant}-${client.attributes.floor}/+", Some("p-north-3/+")),
            ("a//${client.id}/", Some("a//c/")),
            ("/a/$b/c$d", Some("/a/$b/c$d")),
            ("a/${client.attributes.tags}", None),
            ("a/${client.attributes.absent}", None),
        ] {
            assert_eq!(resolved(template, &client).as_deref(), expected, "{template}");
        }
        assert_eq!(resolved("${client.username}", &self::client("c", None)), None);
    }

    #[test]
    fn who_is_named_like_a_wildcard_gets_nothing() {
        for name in ["+", "#", "a/b", "a+", "", "$SYS", "a\0"] {
            assert_eq!(resolved("${client.id}/x", &client(name, None)), None, "{name}");
        }
        assert_eq!(resolved("x/${client.id}", &client("$a", None)).as_deref(), Some("x/$a"));
        // However the template has come about.
        let dollar = Part::Text("$".into());
        let level = TemplateLevel::Parts([dollar, Part::Variable(Variable::ClientId)].into());
        assert_eq!(Template::from_levels(vec![level]).resolve(&client("SYS", None)), None);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (template, offset) in [
            ("", 0),
            ("a/b+", 3),
            ("a/#/b", 2),
            ("a/+b", 2),
            ("a/${client.id}+", 14),
            ("a/+${client.id}", 2),
            ("a/${client.id", 2),
            ("a/${client.nobody}", 2),
            ("a/${client.attributes.}", 2),
            ("a/${client.id|/x}", 2),
            ("a\0", 1),
            ("$${client.id}/x", 1),
            ("$SYS${client.id}", 4),
        ] {
            assert_eq!(Template::parse(template).unwrap_err().offset, offset, "{template:?}");
        }
        assert!(Template::parse(&"a".repeat(Template::BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_template_is_written_as_it_is_read() {
        for text in ["a/${client.id}x/+/#", "/", "//", "${client.attributes.a}", "$SYS/#", "a/"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }

    proptest! {
        /// For whatever name, a template stands for nothing, or for exactly the level of that name.
        #[test]
        fn a_value_never_widens_a_template(name in any::<String>(), other in any::<String>()) {
            let template = Template::parse("x/${client.id}/y").unwrap();
            let Some(filter) = template.resolve(&client(&name, None)) else {
                return Ok(());
            };
            prop_assert_eq!(&filter, &format!("x/{name}/y"));
            prop_assert_eq!(filter.split('/').count(), 3);
            let topic = format!("x/{other}/y");
            prop_assert_eq!(topic_filter::matches(&filter, &topic), name == other);
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            if let Ok(template) = Template::parse(&text) {
                let again = Template::parse(&template.to_string()).unwrap();
                prop_assert_eq!(again, template);
            }
        }
    }
}
