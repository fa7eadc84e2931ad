//! Topic Filters with EMQX's placeholders, turned into templates.
//!
//! What a template cannot say is an error. It is never left out, as a rule that is about other
//! topics than its author meant may open something up.

use super::quoting::quoted;
use crate::template::Template;

/// Turns a topic of an `acl` claim, such as `plants/${client_attrs.plant}/${clientid}/#`, into a
/// template, such as `plants/${client.attributes.plant}/${client.id}/#`.
///
/// `${$}` stands for `$`. What follows `eq ` stands as it is, and wildcards there are characters.
pub(crate) fn template(topic: &str) -> Result<Box<str>, String> {
    let error = |text: &str| Err(format!("the topic {}: {text}", quoted(topic)));
    let text = match topic.strip_prefix("eq ") {
        Some(literal) if literal.contains("${") => {
            return error("what follows `eq ` stands as it is, and `${` cannot");
        }
        Some(literal) if literal.split('/').any(|level| level == "+" || level == "#") => {
            return error("a wildcard that is only a character cannot be expressed");
        }
        Some(literal) => literal.to_string(),
        None => match translate(topic) {
            Ok(text) => text,
            Err(text) => return error(&text),
        },
    };
    if text.starts_with("$share/") {
        return error(
            "rules are about the filter in a shared subscription: leave out `$share/...`",
        );
    }
    match Template::parse(&text) {
        Ok(_) => Ok(text.into()),
        Err(wrong) => error(&wrong.detail),
    }
}

fn translate(topic: &str) -> Result<String, String> {
    let mut text = String::with_capacity(topic.len() + 16);
    let mut rest = topic;
    while let Some(begins) = rest.find("${") {
        push_literal(&rest[..begins], &mut text)?;
        let body = &rest[begins + 2..];
        let Some(length) = body.find('}') else {
            return Err("a placeholder ends with `}`".into());
        };
        match &body[..length] {
            "$" => push_literal("$", &mut text)?,
            "clientid" => text.push_str("${client.id}"),
            "username" => text.push_str("${client.username}"),
            name => match name.strip_prefix("client_attrs.") {
                Some(attribute) if !attribute.is_empty() && !attribute.contains('|') => {
                    text.push_str(&format!("${{client.attributes.{attribute}}}"));
                }
                _ => {
                    let name = quoted(name);
                    return Err(format!(
                        "the placeholder {name} is not known; there are clientid, username, \
                         client_attrs.NAME and $"
                    ));
                }
            },
        }
        rest = &body[length + 1..];
    }
    push_literal(rest, &mut text)?;
    Ok(text)
}

/// Appends characters that must not be read as the beginning of a variable.
fn push_literal(literal: &str, text: &mut String) -> Result<(), String> {
    if text.ends_with('$') && literal.starts_with('{') {
        return Err("`${` cannot be part of a topic".into());
    }
    text.push_str(literal);
    Ok(())
}

#[cfg(test)]
mod tests {
    use midge_core::Identity;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_become_variables() {
        for (topic, expected) in [
            ("a/+/#", "a/+/#"),
            ("${clientid}", "${client.id}"),
            ("a/${username}-x/#", "a/${client.username}-x/#"),
            ("p/${client_attrs.plant.name}/x", "p/${client.attributes.plant.name}/x"),
            ("${$}SYS/${$}${clientid}", "$SYS/$${client.id}"),
            ("eq a/b c+", "a/b c+"),
            ("eqa", "eqa"),
            ("a/$b/{c}", "a/$b/{c}"),
        ] {
            // A plus sign in a level is no Topic Filter, so that one cannot be expressed.
            match topic.contains("c+") {
                true => assert!(template(topic).is_err(), "{topic}"),
                false => assert_eq!(template(topic).as_deref(), Ok(expected), "{topic}"),
            }
        }
    }

    #[test]
    fn topics_that_cannot_be_expressed_are_refused() {
        for topic in [
            "",
            "eq ",
            "eq a/#",
            "eq +/a",
            "eq a/${clientid}",
            "${",
            "a/${clientid",
            "${peerhost}/a",
            "${client_attrs.}",
            "${client_attrs.a|b}",
            "${client.id}",
            "${$}{clientid}",
            "${$}{client.id}",
            "a/#/b",
            "a+",
            "$share/g/a",
            "${$}share/g/a",
            "a/${zone}",
        ] {
            assert!(template(topic).is_err(), "{topic}");
        }
    }

    proptest! {
        #[test]
        fn a_topic_without_placeholders_stays_itself(topic: String) {
            let outcome = template(&topic);
            if let (Ok(text), false) = (outcome, topic.contains("${") || topic.starts_with("eq ")) {
                prop_assert_eq!(&*text, &topic);
                let client = Identity::new("c".into(), None);
                let filter = Template::parse(&text).unwrap().resolve(&client);
                prop_assert_eq!(filter, Some(topic));
            }
        }

        #[test]
        fn a_dollar_sign_that_is_written_out_begins_no_variable(
            before in "[a${}]{0,6}", after in "[a${}]{0,6}",
        ) {
            if let Ok(text) = template(&format!("{before}${{$}}{after}")) {
                prop_assert!(Template::parse(&text).unwrap().is_constant());
            }
        }
    }
}
