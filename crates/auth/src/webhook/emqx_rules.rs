//! Access rules as EMQX writes them, as rules of a credential.
//!
//! A rule that cannot be said exactly makes the whole answer malformed: left out, a denial would be
//! missing; put in other words, an allowance might be wider.

use midge_core::CredentialRule;
use serde::Deserialize;

use crate::template::Template;

/// A rule as EMQX writes it. A condition that is not known here must not be overlooked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    permission: Permission,
    action: Action,
    topic: String,
    qos: Option<Levels>,
    retain: Option<Retain>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Permission {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Publish,
    Subscribe,
    All,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Levels {
    One(u8),
    Several(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Retain {
    Flag(bool),
    Word(Both),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Both {
    All,
}

/// All levels of QoS.
const QOS_ALL: u8 = 0b111;

/// Returns what the rules mean, in their order.
pub(super) fn credential_rules(rules: Vec<Rule>) -> Result<Box<[CredentialRule]>, String> {
    let mut meant = Vec::with_capacity(rules.len());
    for rule in rules {
        let topics = template(&rule.topic).ok_or("a `topic` in `acl` cannot be understood")?;
        let topics: Box<str> = topics.into();
        let allows = matches!(rule.permission, Permission::Allow);
        let qos = qos_bits(rule.qos).ok_or("a `qos` in `acl` is 0, 1, 2 or a list of these")?;
        let retain = match rule.retain {
            Some(Retain::Flag(flag)) => Some(flag),
            Some(Retain::Word(Both::All)) | None => None,
        };
        let (publish, subscribe) = match rule.action {
            Action::Publish => (true, false),
            Action::Subscribe => (false, true),
            Action::All => (true, true),
        };
        // Only a PUBLISH has a RETAIN flag to speak of.
        let common = CredentialRule { allows, publish, subscribe, topics, qos, retain: None };
        match retain {
            Some(_) if publish => {
                let publishing = CredentialRule { subscribe: false, retain, ..common.clone() };
                meant.push(publishing);
                if subscribe {
                    meant.push(CredentialRule { publish: false, ..common });
                }
            }
            _ => meant.push(common),
        }
    }
    Ok(meant.into())
}

fn qos_bits(levels: Option<Levels>) -> Option<u8> {
    let levels = match levels {
        None => return Some(QOS_ALL),
        Some(Levels::One(level)) => vec![level],
        Some(Levels::Several(levels)) => levels,
    };
    let mut bits = 0;
    for level in levels {
        bits |= (level <= 2).then(|| 1 << level)?;
    }
    (bits != 0).then_some(bits)
}

/// Returns the template that means the same as a topic of EMQX.
fn template(topic: &str) -> Option<String> {
    let (literal, topic) = match topic.strip_prefix("eq ") {
        Some(topic) => (true, topic),
        None => (false, topic),
    };
    // `eq` means this filter and no topic that it matches; without wildcards both are the same.
    if literal && (topic.contains(['+', '#']) || topic.contains("${")) {
        return None;
    }
    let mut template = String::with_capacity(topic.len());
    let mut rest = topic;
    while let Some((before, after)) = rest.split_once("${") {
        template.push_str(before);
        let (name, after) = after.split_once('}')?;
        match name {
            "clientid" => template.push_str("${client.id}"),
            "username" => template.push_str("${client.username}"),
            // A template has no other way to say `${`.
            "$" if after.starts_with('{') => return None,
            "$" => template.push('$'),
            _ => {
                let name = name.strip_prefix("client_attrs.")?;
                let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-".contains(it);
                if name.is_empty() || !name.chars().all(is_plain) {
                    return None;
                }
                template.push_str(&format!("${{client.attributes.{name}}}"));
            }
        }
        rest = after;
    }
    template.push_str(rest);
    // Rules are about the filter inside of a shared subscription.
    let is_good = !template.starts_with("$share/") && Template::parse(&template).is_ok();
    is_good.then_some(template)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_mean_the_same() {
        for (topic, expected) in [
            ("a/+/#", Some("a/+/#")),
            ("a/${clientid}/${username}", Some("a/${client.id}/${client.username}")),
            ("${client_attrs.plant}/x", Some("${client.attributes.plant}/x")),
            ("x-${clientid}-y", Some("x-${client.id}-y")),
            ("${$}SYS/x", Some("$SYS/x")),
            ("eq a/b", Some("a/b")),
            ("$share/g/a", None),
            ("${$}share/g/a", None),
            ("eq a/#", None),
            ("eq a/${clientid}", None),
            ("${$}{clientid}", None),
            ("${peerhost}", None),
            ("${client_attrs.}", None),
            ("${client_attrs.a|/#}", None),
            ("${client.id}", None),
            ("${clientid", None),
            ("a#", None),
            ("", None),
        ] {
            assert_eq!(template(topic).as_deref(), expected, "{topic}");
        }
    }

    #[test]
    fn rules_are_read_exactly() {
        let rules = |text: &str| credential_rules(vec![serde_json::from_str(text).ok()?]).ok();
        let all = rules(r#"{"permission":"allow","action":"all","topic":"a"}"#).unwrap();
        let [all] = &*all else { panic!("{all:?}") };
        assert!(all.allows && all.publish && all.subscribe);
        assert_eq!((all.qos, all.retain), (0b111, None));
        let rule = |action: &str| {
            let more = r#""topic":"a","qos":[0,2],"retain":true"#;
            let text = format!(r#"{{"permission":"deny","action":"{action}",{more}}}"#);
            let rules = rules(&text).unwrap();
            assert!(rules.iter().all(|rule| !rule.allows && rule.qos == 0b101));
            let parts = rules.iter().map(|rule| (rule.publish, rule.subscribe, rule.retain));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(rule("publish"), [(true, false, Some(true))]);
        assert_eq!(rule("subscribe"), [(false, true, None)], "it has no RETAIN flag");
        assert_eq!(rule("all"), [(true, false, Some(true)), (false, true, None)]);
        for more in [
            r#""ipaddr":"127.0.0.1""#,
            r#""qos":3"#,
            r#""qos":[]"#,
            r#""qos":"1""#,
            r#""retain":"maybe""#,
        ] {
            let text = format!(r#"{{"permission":"allow","action":"all","topic":"a",{more}}}"#);
            assert_eq!(rules(&text), None, "{more}");
        }
        assert_eq!(rules(r#"{"permission":"maybe","action":"all","topic":"a"}"#), None);
        assert_eq!(rules(r#"{"permission":"allow","topic":"a"}"#), None);
        assert_eq!(rules(r#"{"action":"all","topic":"a"}"#), None);
    }

    proptest! {
        #[test]
        fn a_template_comes_out_or_nothing(
            topic in r"(\$\{|\}|clientid|client_attrs\.|[a$+#/|{ ]){0,8}",
        ) {
            if let Some(template) = template(&topic) {
                prop_assert!(Template::parse(&template).is_ok());
                let has_variable = topic.contains("${");
                prop_assert!(has_variable || topic.ends_with(&template));
            }
        }
    }
}
