//! Whole access files: what they say, what is refused, and an evaluation without any preparation.

use std::fs;

use midge_codec::QoS;
use proptest::prelude::*;

use super::*;

fn client(client_id: &str, user_name: Option<&str>) -> Identity {
    Identity::new(client_id.into(), user_name.map(Into::into))
}

fn file(text: &str) -> AclFile {
    AclFile::parse("acl.conf", text.as_bytes()).unwrap()
}

fn publish(topic: &str) -> Action<'_> {
    Action::Publish { topic, qos: QoS::AtMostOnce, retain: false }
}

fn receive(topic: &str) -> Action<'_> {
    Action::Receive { topic }
}

/// Returns whether the file allows it, and the text of the rule.
fn opinion(file: &AclFile, client: &Identity, action: Action<'_>) -> Option<(bool, String)> {
    let opinion = file.judge(client)?.opinion(action)?;
    Some((opinion.allows, file.describe(opinion.rule)))
}

const FILE: &str = "\
# Everybody without a name.
topic read public/#

user alice
topic readwrite alice/#
topic read shared/#
topic deny alice/secret/#

pattern write up/%c
user bob
topic write b
";

#[test]
fn rules_are_for_whom_they_stand_under() {
    let file = file(FILE);
    let expect = |client: &Identity, action, expected: Option<(bool, &str)>| {
        let opinion = opinion(&file, client, action);
        let opinion = opinion.as_ref().map(|(allows, rule)| (*allows, rule.as_str()));
        assert_eq!(opinion, expected, "{client:?} {action:?}");
    };
    let nobody = client("c", None);
    expect(&nobody, receive("public/a"), Some((true, "acl.conf, line 2: topic read public/#")));
    expect(&nobody, publish("public/a"), None);
    expect(&nobody, publish("up/c"), Some((true, "acl.conf, line 9: pattern write up/%c")));
    expect(&nobody, publish("up/d"), None);
    let alice = client("c", Some("alice"));
    expect(&alice, receive("public/a"), None);
    let secret = Some((false, "acl.conf, line 7: topic deny alice/secret/#"));
    expect(&alice, publish("alice/secret/x"), secret);
    expect(&alice, receive("alice/secret/x"), secret);
    let own = Some((true, "acl.conf, line 5: topic readwrite alice/#"));
    expect(&alice, publish("alice/x"), own);
    expect(&alice, publish("$alice"), None);
    let carol = client("c", Some("carol"));
    expect(&carol, publish("b"), None);
    expect(&carol, publish("up/c"), Some((true, "acl.conf, line 9: pattern write up/%c")));
}

#[test]
fn subscriptions_are_granted() {
    let subscribe = Action::Subscribe { filter: "#", qos: QoS::AtMostOnce };
    let (allows, rule) = opinion(&file(FILE), &client("c", Some("zoe")), subscribe).unwrap();
    assert!(allows);
    assert_eq!(rule, "acl.conf: a file in this form grants every subscription");
}

#[test]
fn a_file_without_rules_has_nothing_to_say() {
    for text in ["", "# nothing\n\n", "user alice\n"] {
        assert!(file(text).judge(&client("c", Some("alice"))).is_none(), "{text:?}");
    }
}

#[test]
fn a_name_that_is_a_wildcard_is_refused_behind_its_own_rules() {
    let file = file("user +\ntopic own\npattern read %u/x\npattern deny y\n");
    let client = client("c", Some("+"));
    assert!(opinion(&file, &client, publish("own")).unwrap().0);
    let (allows, rule) = opinion(&file, &client, receive("anything")).unwrap();
    assert!(!allows);
    assert_eq!(rule, "acl.conf, line 4: pattern deny y");
}

#[test]
fn one_mistake_refuses_the_file() {
    let error =
        AclFile::parse("acl.conf", b"topic a\n\ntopic r\xc3\xa9ad \xc3\xa9+\n").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("acl.conf:3:7: `r\u{e9}ad` is not `read`"), "{text}");
    let error = AclFile::parse("acl.conf", b"topic read \xc3\xa9/\xc3\xa9+").unwrap_err();
    assert_eq!(error.place, Some((1, 12)));
}

#[test]
fn limits_hold() {
    let long = format!("topic {}", "a".repeat(AclFile::LINE_BYTES_MAX));
    assert_eq!(AclFile::parse("f", long.as_bytes()).unwrap_err().place, Some((1, 1)));
    let many = "topic a\n".repeat(AclFile::RULES_MAX);
    assert_eq!(file(&many).rule_count(), AclFile::RULES_MAX);
    let error = AclFile::parse("f", format!("{many}topic a\n").as_bytes()).unwrap_err();
    assert_eq!(error.place, Some((AclFile::RULES_MAX + 1, 1)));
}

#[test]
fn a_reload_that_fails_says_why() {
    let path = std::env::temp_dir().join(format!("midge-acl-{}", std::process::id()));
    let error = AclFile::load(&path).unwrap_err().to_string();
    assert!(error.contains("it cannot be read"), "{error}");
    fs::write(&path, "topic a\ntop").unwrap();
    let error = AclFile::load(&path).unwrap_err();
    assert_eq!(error.place, Some((2, 1)));
    fs::write(&path, vec![b'#'; AclFile::BYTES_MAX + 1]).unwrap();
    let error = AclFile::load(&path).unwrap_err();
    assert_eq!(error.place, None);
    fs::write(&path, "topic a\n").unwrap();
    assert_eq!(AclFile::load(&path).unwrap().rule_count(), 1);
    fs::remove_file(&path).unwrap();
}

/// A line as a test makes it: who it is for, whether it is a pattern, its access and its topic.
type Made = (Option<&'static str>, bool, Access, &'static str);

const TOPICS: [&str; 9] = ["#", "a", "a/+", "a/b", "$s/#", "%c/#", "x/%u/y", "a/%c%u", "+/b"];

const USERS: [Option<&str>; 6] = [None, Some("u"), Some("v"), Some("w"), Some("a/b"), Some("+")];

const PUBLISHED: [&str; 8] = ["a", "a/b", "c/x", "x/u/y", "a/cu", "$s/x", "b", "x/a/b/y"];

fn made() -> impl Strategy<Value = Vec<Made>> {
    let user = prop::sample::select(vec![None, Some("u"), Some("v")]);
    let access = [Access::Read, Access::Write, Access::ReadWrite, Access::Deny];
    let access = prop::sample::select(access.to_vec());
    let topic = prop::sample::select(TOPICS.to_vec());
    prop::collection::vec((user, any::<bool>(), access, topic), 0..8).prop_map(|mut lines| {
        // Lines for anonymous Clients can stand only in front.
        lines.sort_by_key(|(user, ..)| user.is_some());
        lines
    })
}

fn text_of(made: &[Made]) -> String {
    let mut text = String::new();
    for (user, is_pattern, access, topic) in made {
        if let Some(user) = user {
            text += &format!("user {user}\n");
        }
        let keyword = if *is_pattern { "pattern" } else { "topic" };
        text += &format!("{keyword} {} {topic}\n", access.word());
    }
    text
}

/// What the lines say, one after the other, twice.
fn naive(made: &[Made], client: &Identity, topic: &str, wanted: Access) -> Option<bool> {
    let own = made.iter().filter(|made| !made.1 && made.0 == client.user_name.as_deref());
    let patterns = made.iter().filter(|made| made.1);
    let fits = |made: &Made| {
        let mut filter = made.3.to_owned();
        if made.1 {
            let user = client.user_name.as_deref();
            if filter.contains("%u") && user.is_none() {
                return false;
            }
            let values = [&*client.client_id, user.unwrap_or("-")];
            for (sign, value) in ["%c", "%u"].into_iter().zip(values) {
                let is_narrow =
                    !value.is_empty() && !value.contains('/') && !value.starts_with('$');
                if filter.contains(sign) && made.2 != Access::Deny && !is_narrow {
                    return false;
                }
                filter = filter.replace(sign, value);
            }
        }
        topic_filter::matches(&filter, topic)
    };
    let is_wild = |name: &str| name.contains(['+', '#']);
    for lines in [own.collect::<Vec<_>>(), patterns.collect()] {
        let is_pattern = lines.first().is_some_and(|made| made.1);
        let user = client.user_name.as_deref();
        if is_pattern && (is_wild(&client.client_id) || user.is_some_and(is_wild)) {
            return Some(false);
        }
        if lines.iter().any(|made| made.2 == Access::Deny && fits(made)) {
            return Some(false);
        }
        let allows = |made: &&&Made| made.2 == wanted || made.2 == Access::ReadWrite;
        if lines.iter().filter(allows).any(|made| fits(made)) {
            return Some(true);
        }
    }
    None
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = AclFile::parse("f", &bytes);
    }

    #[test]
    fn parsing_lines_never_panics(
        text in "(user|topic|pattern|read|deny|#|\\+|/| |\\t|\\n|\\PC){0,30}",
    ) {
        if let Ok(file) = AclFile::parse("f", text.as_bytes()) {
            let _ = opinion(&file, &client("c", Some("u")), publish("a/b"));
        }
    }

    #[test]
    fn a_naive_evaluation_agrees(
        made in made(),
        id in prop::sample::select(vec!["c", "a", "b", "+", "a/b", "#", "x"]),
        user in prop::sample::select(USERS.to_vec()),
        topic in prop::sample::select(PUBLISHED.to_vec()),
    ) {
        let file = file(&text_of(&made));
        let client = client(id, user);
        for (action, wanted) in [(publish(topic), Access::Write), (receive(topic), Access::Read)] {
            let found = opinion(&file, &client, action).map(|(allows, _)| allows);
            prop_assert_eq!(found, naive(&made, &client, topic, wanted), "{:?}", action);
        }
    }

    /// Whatever a Client is called, a pattern permits it topics with its name, and no others.
    #[test]
    fn a_name_never_widens_a_pattern(name in any::<String>(), topic in "[a+#/$]{1,6}") {
        let file = file("pattern x/%c/y\npattern %u/y\n");
        let found = opinion(&file, &client(&name, Some(&name)), receive(&topic));
        if found.is_some_and(|(allows, _)| allows) {
            let literal = [format!("x/{name}/y"), format!("{name}/y")];
            prop_assert!(literal.contains(&topic));
        }
    }
}

/// Opening a named pipe waits until somebody writes to it.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let error = AclFile::load(&std::env::temp_dir()).err().unwrap();
    assert!(error.detail.contains("not a regular file"), "{error}");
}
