//! A `dynamic-security.json` that mosquitto_ctrl has made: a table of users, topics and actions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use midge_auth::{Action, DynamicSecurity, RuleSource};
use midge_codec::QoS;
use midge_core::Identity;

use crate::mosquitto::{ADMIN, Directory, Mosquitto, PASSWORD, Person};

/// What mosquitto_ctrl is told, word by word. A client gets its password besides.
const COMMANDS: &str = "\
setDefaultACLAccess publishClientReceive deny
createRole keeper
addRoleACL keeper publishClientSend # allow
addRoleACL keeper publishClientSend $x/# allow
addRoleACL keeper publishClientSend $end/# allow
createClient keeper
addClientRole keeper keeper
createRole all
addRoleACL all subscribeLiteral # allow
addRoleACL all subscribeLiteral $x/# allow
addRoleACL all subscribeLiteral $end/x allow
addRoleACL all publishClientReceive $end/x allow
createRole low
addRoleACL low publishClientSend a/# allow
addRoleACL low publishClientReceive a/+ allow
addRoleACL low publishClientReceive a/b/c deny
addRoleACL low subscribePattern s/# allow
createRole high
addRoleACL high publishClientSend a/b deny 7
addRoleACL high publishClientSend a/+ allow 9
addRoleACL high publishClientSend a/d deny 11
addRoleACL high publishClientReceive a/b deny
addRoleACL high subscribeLiteral s/a deny
addRoleACL high subscribePattern s/+/x deny 3
addRoleACL high subscribePattern s/+/+ allow 2
addRoleACL high subscribePattern $y/# allow
createRole same-a
addRoleACL same-a publishClientSend same deny
createRole same-b
addRoleACL same-b publishClientSend same allow
addRoleACL same-b publishClientReceive # allow
addRoleACL same-b subscribePattern /# allow
createRole everything
addRoleACL everything publishClientReceive # allow
addRoleACL everything publishClientReceive $x/# allow
addRoleACL everything subscribePattern # allow
createGroup everybody
addGroupRole everybody all
createGroup first
addGroupRole first high
createGroup second
addGroupRole second low
setAnonymousGroup everybody
createClient low
addClientRole low low
addGroupClient everybody low -5
createClient both
addClientRole both low 1
addClientRole both high 2
addGroupClient everybody both
createClient reverse
addClientRole reverse low 2
addClientRole reverse high 1
addGroupClient everybody reverse
createClient groups
addGroupClient first groups 1
addGroupClient second groups 2
addGroupClient everybody groups
createClient unranked
addGroupClient second unranked
addGroupClient first unranked
addGroupClient everybody unranked
createClient same
addClientRole same same-b
addClientRole same same-a
addGroupClient everybody same
createClient everything
addClientRole everything everything
addGroupClient everybody everything
createClient nothing
addGroupClient everybody nothing
createClient off
disableClient off
createClient one -c one-id
";

const USERS: [Option<&str>; 9] = [
    None,
    Some("low"),
    Some("both"),
    Some("reverse"),
    Some("groups"),
    Some("unranked"),
    Some("same"),
    Some("everything"),
    Some("nothing"),
];

const TOPICS: [&str; 10] = ["a", "a/b", "a/c", "a/d", "a/b/c", "same", "$x/a", "$x/b/c", "b", "/a"];

const FILTERS: [&str; 17] = [
    "#", "$x/#", "$x/+", "s/#", "s/+", "s/a", "s/b", "s/b/x", "s/+/+", "s/+/x", "s/+/#", "s/#/b",
    "$y/a", "$y/#", "+/a", "/#", "/+",
];

/// Returns where Debian's mosquitto has its plugin.
fn plugin() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut plugins = directories.map(|path| path.join("mosquitto_dynamic_security.so"));
    plugins.find(|path| path.exists()).expect("Debian's package mosquitto is installed")
}

/// Makes a file with an administrator.
fn initialize(file: &Path) {
    let mut command = Command::new("mosquitto_ctrl");
    let output = command.args(["dynsec", "init"]).arg(file).args([ADMIN, PASSWORD]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn start(directory: &Directory, file: &Path, defaults: &[&str]) -> Mosquitto {
    initialize(file);
    let lines = format!(
        "allow_anonymous true\nplugin {}\nplugin_opt_config_file {}\n",
        plugin().display(),
        file.display()
    );
    let mosquitto = Mosquitto::start(directory, &lines);
    for line in COMMANDS.lines().chain(defaults.iter().copied()) {
        let mut words: Vec<_> = line.split(' ').collect();
        if words[0] == "createClient" {
            words.extend(["-p", PASSWORD]);
        }
        mosquitto.control(&words);
    }
    mosquitto
}

/// Lets both judge everything that is in the table.
fn compare(defaults: &[&str]) {
    let directory = Directory::new();
    let file = directory.path("dynamic-security.json");
    let mosquitto = start(&directory, &file, defaults);
    let source = DynamicSecurity::load(&file).unwrap();
    mosquitto.retain(&TOPICS);
    let mut counts = [0, 0];
    for user in USERS {
        let person = Person { id: "c1", user };
        let client = Identity::new("c1".into(), user.map(Into::into));
        let judge = source.judge(&client).unwrap();
        let allows = |action| judge.opinion(action).is_some_and(|opinion| opinion.allows);
        let received = mosquitto.received(person, &["#", "$x/#"]);
        let mut judged = Vec::new();
        for topic in TOPICS {
            let theirs = received.iter().any(|received| received == topic);
            judged.push(("receive", topic, allows(Action::Receive { topic }), theirs));
            let action = Action::Publish { topic, qos: QoS::AtLeastOnce, retain: false };
            judged.push(("publish", topic, allows(action), mosquitto.lets_publish(person, topic)));
        }
        // mosquitto_sub itself refuses what is no Topic Filter.
        for filter in FILTERS.into_iter().filter(|filter| !filter.contains("#/")) {
            let ours = allows(Action::Subscribe { filter, qos: QoS::AtMostOnce });
            judged.push(("subscribe", filter, ours, mosquitto.lets_subscribe(person, filter)));
        }
        for (action, what, ours, theirs) in judged {
            // mosquitto 2.1, whose meaning this is, and 2.0 differ: there `#` is also about topics
            // that begin with `$`.
            let is_stricter = action == "subscribe" && what.starts_with('$') && theirs;
            let agrees = ours == theirs || is_stricter && user == Some("everything");
            assert!(agrees, "{user:?} {action} {what}: ours {ours}, mosquitto {theirs}");
            counts[usize::from(ours)] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 60), "the table has to try both: {counts:?}");
}

#[test]
fn mosquitto_judges_a_table_alike() {
    compare(&[]);
}

#[test]
fn mosquitto_judges_alike_where_it_allows_by_default() {
    compare(&[
        "setDefaultACLAccess publishClientSend allow",
        "setDefaultACLAccess subscribe allow",
    ]);
}

#[test]
fn users_are_those_that_mosquitto_made() {
    let directory = Directory::new();
    let file = directory.path("dynamic-security.json");
    let mosquitto = start(&directory, &file, &[]);
    let source = DynamicSecurity::load(&file).unwrap();
    let user = |name: &str| source.users().iter().find(|user| &*user.name == name).unwrap();
    let hash = user("low").password_hash.as_deref().unwrap();
    assert!(hash.starts_with("$7$101$") && hash.split('$').count() == 5, "{hash}");
    assert!(user("off").is_disabled && !user("low").is_disabled);
    assert_eq!(user("one").client_id.as_deref(), Some("one-id"));
    assert_eq!(user("low").client_id, None);
    drop(mosquitto);
}
