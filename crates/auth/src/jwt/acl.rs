//! Permissions in a token: the claim `acl`, in both forms that EMQX knows.
//!
//! A rule that is not understood in full makes the whole claim invalid. Nothing is left out.

use midge_core::CredentialRule;
use serde_json::{Map, Value};

use super::placeholder;

const EVERY_QOS: u8 = 0b111;

/// Reads permissions.
///
/// A list has rules, of which the first that is about something decides:
/// `[{"permission": "allow", "action": "publish", "topic": "a/#", "qos": [0], "retain": false}]`.
/// An object has the topics that are allowed, `{"pub": [], "sub": [], "all": []}`; all other topics
/// are denied.
///
/// # Errors
///
/// A text for the log: there are more than `rules_max`, or one of them cannot be expressed.
pub fn rules(acl: &Value, rules_max: usize) -> Result<Box<[CredentialRule]>, String> {
    let mut rules = Vec::new();
    match acl {
        Value::Array(list) => {
            for (index, rule) in list.iter().enumerate() {
                push_rule(rule, &mut rules).map_err(|text| in_rule(index + 1, &text))?;
                check_count(&rules, rules_max)?;
            }
        }
        Value::Object(lists) => {
            push_allowed(lists, &mut rules)?;
            check_count(&rules, rules_max)?;
            // Not counted: they are not the token's.
            rules.extend(["#", "$SYS/#"].map(|topics| rule(false, topics.into())));
        }
        _ => return Err("the permissions of the token are neither a list nor an object".into()),
    }
    Ok(rules.into())
}

fn in_rule(number: usize, text: &str) -> String {
    format!("permission {number} of the token: {text}")
}

fn check_count(rules: &[CredentialRule], rules_max: usize) -> Result<(), String> {
    match rules.len() > rules_max {
        true => Err(format!("the token has more than {rules_max} permissions")),
        false => Ok(()),
    }
}

fn rule(allows: bool, topics: Box<str>) -> CredentialRule {
    let (publish, subscribe) = (true, true);
    CredentialRule { allows, publish, subscribe, topics, qos: EVERY_QOS, retain: None }
}

/// Appends the rules of `{"pub": [], "sub": [], "all": []}`.
fn push_allowed(lists: &Map<String, Value>, rules: &mut Vec<CredentialRule>) -> Result<(), String> {
    for (name, topics) in lists {
        let (publish, subscribe) = match name.as_str() {
            "pub" => (true, false),
            "sub" => (false, true),
            "all" => (true, true),
            _ => return Err("the permissions of the token have more than pub, sub, all".into()),
        };
        let Value::Array(topics) = topics else {
            return Err(format!("`{name}` in the permissions of the token is no list"));
        };
        for topic in topics {
            let topics = template(topic).map_err(|text| format!("permission `{name}`: {text}"))?;
            rules.push(CredentialRule { publish, subscribe, ..rule(true, topics) });
        }
    }
    Ok(())
}

/// Appends what an object of the list says.
fn push_rule(value: &Value, rules: &mut Vec<CredentialRule>) -> Result<(), String> {
    const KNOWN: [&str; 6] = ["permission", "action", "topic", "topics", "qos", "retain"];
    let Value::Object(object) = value else {
        return Err("it is no object".into());
    };
    if object.keys().any(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("it has a condition that is not known; there are {KNOWN:?}"));
    }
    let text = |name| object.get(name).and_then(Value::as_str);
    let allows = match text("permission") {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err("`permission` is neither allow nor deny".into()),
    };
    let (publish, subscribe) = match text("action") {
        Some("publish" | "pub") => (true, false),
        Some("subscribe" | "sub") => (false, true),
        Some("all") => (true, true),
        _ => return Err("`action` is none of publish, subscribe and all".into()),
    };
    let (qos, retain) = (qos(object.get("qos"))?, retain(object.get("retain"))?);
    for topics in topics(object)? {
        let rule = CredentialRule { qos, ..rule(allows, topics) };
        // Only a PUBLISH has a RETAIN flag to speak of.
        match retain {
            Some(_) if publish && subscribe => {
                let topics = rule.topics.clone();
                rules.push(CredentialRule { subscribe: false, retain, topics, ..rule });
                rules.push(CredentialRule { publish: false, ..rule });
            }
            _ => {
                let retain = retain.filter(|_| publish);
                rules.push(CredentialRule { publish, subscribe, retain, ..rule });
            }
        }
    }
    Ok(())
}

fn topics(object: &Map<String, Value>) -> Result<Vec<Box<str>>, String> {
    match (object.get("topic"), object.get("topics")) {
        (Some(topic), None) => Ok(vec![template(topic)?]),
        (None, Some(Value::Array(topics))) if !topics.is_empty() => {
            topics.iter().map(template).collect()
        }
        _ => Err("it has neither a `topic` nor a list of `topics`, or both".into()),
    }
}

fn template(topic: &Value) -> Result<Box<str>, String> {
    let topic = topic.as_str().ok_or("a topic is no text")?;
    placeholder::template(topic)
}

/// Reads levels of QoS: 1, "1", "0,1", [0, "1"].
fn qos(value: Option<&Value>) -> Result<u8, String> {
    let level = |value: &Value| match (value.as_u64(), value.as_str().map(str::trim)) {
        (Some(0), _) | (_, Some("0")) => Some(0b001),
        (Some(1), _) | (_, Some("1")) => Some(0b010),
        (Some(2), _) | (_, Some("2")) => Some(0b100),
        _ => None,
    };
    let all = |levels: &[Value]| {
        levels.iter().try_fold(0, |bits, it| Some(bits | level(it)?)).filter(|bits| *bits != 0)
    };
    let bits = match value {
        None | Some(Value::Null) => Some(EVERY_QOS),
        Some(Value::Array(levels)) => all(levels),
        Some(Value::String(text)) => all(&text.split(',').map(Value::from).collect::<Vec<_>>()),
        Some(other) => level(other),
    };
    bits.ok_or_else(|| "`qos` is not one or several of 0, 1 and 2".into())
}

fn retain(value: Option<&Value>) -> Result<Option<bool>, String> {
    let Some(value) = value else {
        return Ok(None);
    };
    match (value.as_bool(), value.as_u64(), value.as_str()) {
        (Some(retain), ..) => Ok(Some(retain)),
        (_, Some(0), _) | (.., Some("0" | "false")) => Ok(Some(false)),
        (_, Some(1), _) | (.., Some("1" | "true")) => Ok(Some(true)),
        (.., Some("all")) => Ok(None),
        _ if value.is_null() => Ok(None),
        _ => Err("`retain` is none of true, false and all".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A rule in short: `+pub,sub a/# 0 1 2 r`.
    fn short(rule: &CredentialRule) -> String {
        let sign = if rule.allows { '+' } else { '-' };
        let what = match (rule.publish, rule.subscribe) {
            (true, true) => "all",
            (true, false) => "pub",
            (false, true) => "sub",
            (false, false) => "nothing",
        };
        let retain = match rule.retain {
            None => "",
            Some(true) => " retained",
            Some(false) => " not retained",
        };
        format!("{sign}{what} {} {:03b}{retain}", rule.topics, rule.qos)
    }

    fn read(acl: &Value) -> Result<Vec<String>, String> {
        rules(acl, 10).map(|rules| rules.iter().map(short).collect())
    }

    #[test]
    fn a_list_of_rules_keeps_its_order() {
        let acl = json!([
            {"permission": "allow", "action": "publish", "topic": "a/${clientid}", "qos": [0, 1],
             "retain": false},
            {"permission": "deny", "action": "all", "topic": "b/#", "qos": null},
            {"permission": "allow", "action": "subscribe", "topics": ["c", "eq d"], "qos": "0,2",
             "retain": true},
            {"permission": "allow", "action": "all", "topic": "e", "retain": 1, "qos": 2},
        ]);
        let expected = [
            "+pub a/${client.id} 011 not retained",
            "-all b/# 111",
            "+sub c 101",
            "+sub d 101",
            "+pub e 100 retained",
            "+sub e 100",
        ];
        assert_eq!(read(&acl).unwrap(), expected);
        assert_eq!(read(&json!([])).unwrap(), [""; 0]);
    }

    #[test]
    fn an_object_allows_its_topics_and_denies_all_others() {
        let acl = json!({"pub": ["a/${username}"], "sub": ["b/#"], "all": ["c"]});
        let mut read_rules = read(&acl).unwrap();
        let denied = read_rules.split_off(3);
        read_rules.sort();
        assert_eq!(read_rules, ["+all c 111", "+pub a/${client.username} 111", "+sub b/# 111"]);
        assert_eq!(denied, ["-all # 111", "-all $SYS/# 111"]);
        // An empty one allows nothing.
        assert_eq!(read(&json!({})).unwrap(), denied);
    }

    #[test]
    fn a_rule_that_is_not_understood_makes_the_claim_invalid() {
        let good = json!({"permission": "allow", "action": "publish", "topic": "a"});
        assert!(read(&json!([good])).is_ok());
        for (name, value) in [
            ("permission", json!("maybe")),
            ("permission", json!(true)),
            ("action", json!("receive")),
            ("action", json!(null)),
            ("topic", json!(["a"])),
            ("topic", json!("${peerhost}")),
            ("topic", json!("eq #")),
            ("topic", json!("")),
            ("topics", json!(["a"])),
            ("qos", json!(3)),
            ("qos", json!([])),
            ("qos", json!([0, 3])),
            ("qos", json!(-1)),
            ("qos", json!("")),
            ("retain", json!("maybe")),
            ("retain", json!(2)),
            ("ipaddr", json!("127.0.0.1")),
            ("clientid_re", json!("^x")),
        ] {
            let mut rule = good.clone();
            rule[name] = value;
            assert!(read(&json!([good, rule])).is_err(), "{rule}");
        }
        for acl in [
            json!("allow"),
            json!(["a"]),
            json!([{}]),
            json!({"pub": "a"}),
            json!({"pub": ["a"], "del": ["b"]}),
            json!({"pub": [1]}),
            json!({"sub": ["a/#/b"]}),
        ] {
            assert!(read(&acl).is_err(), "{acl}");
        }
    }

    #[test]
    fn there_are_only_so_many_rules() {
        let rule = json!({"permission": "allow", "action": "publish", "topic": "a"});
        assert!(read(&Value::Array(vec![rule.clone(); 10])).is_ok());
        assert!(read(&Value::Array(vec![rule; 11])).is_err());
        assert!(read(&json!({"pub": vec!["a"; 10]})).is_ok());
        assert!(read(&json!({"pub": vec!["a"; 11]})).is_err());
    }
}
