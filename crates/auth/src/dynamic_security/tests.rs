//! Whole files of dynamic security: who has which roles, in which order, and what is refused.

use midge_codec::QoS;
use proptest::prelude::*;

use super::*;

const FILE: &str = r#"{
  "defaultACLAccess": { "publishClientSend": false, "publishClientReceive": true,
                        "subscribe": true, "unsubscribe": true },
  "clients": [
    { "username": "alice", "textname": "Alice", "clientid": "c1",
      "password": "aGFzaA==", "salt": "c2FsdA==", "iterations": 101,
      "roles": [ { "rolename": "low", "priority": 1 }, { "rolename": "high", "priority": 9 } ] },
    { "username": "bob", "encoded_password": "$7$1000$c2FsdA==$aGFzaA==", "disabled": true,
      "password": "eA==", "salt": "eA==", "iterations": 1 },
    { "username": "carol", "password": "aGFzaA==", "salt": "c2FsdA==", "iterations": 0 }
  ],
  "groups": [
    { "groupname": "z", "roles": [ { "rolename": "high" } ],
      "clients": [ { "username": "bob", "priority": 2 }, { "username": "ghost" } ] },
    { "groupname": "y", "roles": [ { "rolename": "own" } ],
      "clients": [ { "username": "bob", "priority": 1 }, { "username": "carol" } ] }
  ],
  "roles": [
    { "rolename": "low", "acls": [
      { "acltype": "publishClientSend", "topic": "a/#", "allow": true },
      { "acltype": "publishClientSend", "topic": "a/b", "allow": true } ] },
    { "rolename": "high", "allowwildcardsubs": false, "acls": [
      { "acltype": "publishclientsend", "topic": "a/+", "priority": 1, "allow": true },
      { "acltype": "publishClientSend", "topic": "a/b", "priority": 5 },
      { "acltype": "publishClientReceive", "topic": "a/b", "allow": false },
      { "acltype": "subscribeLiteral", "topic": "s", "allow": false } ] },
    { "rolename": "own", "acls": [
      { "acltype": "publishClientSend", "topic": "%u/%c/#", "allow": true },
      { "acltype": "publishClientSend", "topic": "x%c", "allow": true },
      { "acltype": "subscribePattern", "topic": "%u/#", "allow": false },
      { "acltype": "subscribeLiteral", "topic": "carol/+", "allow": true } ] }
  ],
  "anonymousGroup": "y"
}"#;

fn client(client_id: &str, user_name: Option<&str>) -> Identity {
    Identity::new(client_id.into(), user_name.map(Into::into))
}

fn file(text: &str) -> DynamicSecurity {
    DynamicSecurity::parse("ds.json", text.as_bytes()).unwrap()
}

fn publish(topic: &str) -> Action<'_> {
    Action::Publish { topic, qos: QoS::AtMostOnce, retain: false }
}

fn receive(topic: &str) -> Action<'_> {
    Action::Receive { topic }
}

fn subscribe(filter: &str) -> Action<'_> {
    Action::Subscribe { filter, qos: QoS::AtMostOnce }
}

const DEFAULT: &str = "ds.json, defaultACLAccess: ";

#[test]
fn the_first_rule_of_the_highest_role_decides() {
    let file = file(FILE);
    let expect = |user: Option<&str>, id, action, expected: Option<(bool, &str)>| {
        let judge = file.judge(&client(id, user)).unwrap();
        let opinion = judge.opinion(action);
        let opinion = opinion.map(|it| (it.allows, file.describe(it.rule).replace(DEFAULT, "D ")));
        let opinion = opinion.as_ref().map(|(allows, rule)| (*allows, &**rule));
        assert_eq!(opinion, expected, "{user:?} {id} {action:?}");
    };
    let alice = Some("alice");
    let denied = Some((false, "ds.json, role \"high\": publishClientSend a/b deny"));
    expect(alice, "c", publish("a/b"), denied);
    let allowed = Some((true, "ds.json, role \"high\": publishclientsend a/+ allow"));
    expect(alice, "c", publish("a/c"), allowed);
    let allowed = Some((true, "ds.json, role \"low\": publishClientSend a/# allow"));
    expect(alice, "c", publish("a"), allowed);
    expect(alice, "c", publish("b"), None);
    expect(alice, "c", receive("b"), Some((true, "D publishClientReceive")));
    expect(alice, "c", receive("$CONTROL/b"), None);
    let no_wildcards = Some((false, "ds.json, role \"high\": no subscriptions with wildcards"));
    expect(alice, "c", subscribe("t/+"), no_wildcards);
    expect(alice, "c", subscribe("t"), Some((true, "D subscribe")));
    // The group with the higher priority comes first, whatever its name.
    expect(Some("bob"), "c", subscribe("bob/#"), no_wildcards);
    let carol = Some("carol");
    let own = Some((true, "ds.json, role \"own\": publishClientSend %u/%c/# allow"));
    expect(carol, "c", publish("carol/c/x"), own);
    expect(carol, "d", publish("carol/c/x"), None);
    expect(carol, "x/y", publish("carol/x/y"), None);
    expect(carol, "c", publish("xc"), None);
    let literal = Some((true, "ds.json, role \"own\": subscribeLiteral carol/+ allow"));
    expect(carol, "c", subscribe("carol/+"), literal);
    let pattern = Some((false, "ds.json, role \"own\": subscribePattern %u/# deny"));
    expect(carol, "c", subscribe("carol/a/#"), pattern);
    expect(None, "c", subscribe("carol/a/#"), Some((true, "D subscribe")));
    expect(None, "c", publish("xc"), None);
    assert!(file.judge(&client("c", Some("ghost"))).is_none());
}

#[test]
fn users_have_their_hashes() {
    let file = file(FILE);
    let users: Vec<_> = file.users().iter().collect();
    let hashes: Vec<_> = users.iter().map(|user| user.password_hash.as_deref()).collect();
    let expected = ["$7$101$c2FsdA==$aGFzaA==", "$7$1000$c2FsdA==$aGFzaA=="];
    assert_eq!(hashes, [Some(expected[0]), Some(expected[1]), None]);
    assert_eq!(users[0].client_id.as_deref(), Some("c1"));
    assert_eq!(users.iter().map(|user| user.is_disabled).collect::<Vec<_>>(), [false, true, false]);
    assert!(!format!("{users:?}").contains('$'));
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    for (text, told) in [
        ("", "ds.json:1:1: EOF"),
        ("{\n \"roles\": [", "ds.json:2:11: EOF"),
        ("{\"roles\": [{}]}", "missing field `rolename`; a dynamic-security.json is expected"),
        (r#"{"roles":[{"rolename":"r","acls":[{"acltype":"sub","topic":"a"}]}]}"#, "subscribePat"),
        (
            r#"{"roles":[{"rolename":"r","acls":[{"acltype":"subscribePattern","topic":"a+"}]}]}"#,
            "role \"r\": \"a+\" is no Topic Filter",
        ),
        (r#"{"roles":[{"rolename":"r"},{"rolename":"r"}]}"#, "two roles \"r\""),
        (r#"{"clients":[{"username":"u","roles":[{"rolename":"r"}]}]}"#, "there is no role \"r\""),
        (r#"{"clients":[{"username":"u"},{"username":"u"}]}"#, "two clients \"u\""),
        (r#"{"groups":[{"groupname":"g"},{"groupname":"g"}]}"#, "two groups \"g\""),
        (r#"{"anonymousGroup":"g"}"#, "there is no group \"g\""),
    ] {
        let error = DynamicSecurity::parse("ds.json", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn an_empty_file_allows_nothing() {
    let file = file("{}");
    assert!(file.judge(&client("c", Some("u"))).is_none());
    let judge = file.judge(&client("c", None)).unwrap();
    for action in [publish("a"), receive("a"), subscribe("a")] {
        assert_eq!(judge.opinion(action), None);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let error = DynamicSecurity::load(Path::new("/nonexistent/ds.json")).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/ds.json: it cannot be read"), "{error}");
}

proptest! {
    #[test]
    fn parsing_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        cut in 0..FILE.len(),
    ) {
        let _ = DynamicSecurity::parse("f", &bytes);
        let mut text = FILE.as_bytes().to_vec();
        text.splice(cut.., bytes);
        let _ = DynamicSecurity::parse("f", &text);
    }

    /// Whatever a Client is called, a variable stands for its name as one level.
    #[test]
    fn a_name_never_widens_a_rule(name in any::<String>(), topic in "[a+#/$]{1,6}") {
        let text = r#"{"clients":[{"username":"u","roles":[{"rolename":"r"}]}],
            "roles":[{"rolename":"r","acls":[
            {"acltype":"publishClientReceive","topic":"%c/y","allow":true},
            {"acltype":"publishClientReceive","topic":"x/%c/y","allow":true}]}]}"#;
        let judge = file(text).judge(&client(&name, Some("u"))).unwrap();
        if judge.opinion(receive(&topic)).is_some() {
            let literal = [format!("x/{name}/y"), format!("{name}/y")];
            prop_assert!(literal.contains(&topic));
        }
    }
}
