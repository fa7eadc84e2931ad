//! An `acl_file`: a table of Clients, topics and actions, and odd files.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use midge_auth::{AclFile, Action, RuleSource};
use midge_codec::QoS;
use midge_core::Identity;

use crate::mosquitto::{Directory, KEEPER, Mosquitto, Person, add_password};

/// Odd in every way that mosquitto accepts: a tab, blanks around and in topics, line ends of
/// Windows, prohibitions at the end, users in two places, variables where they mean nothing.
const FILE: &str = "\
# Anonymous Clients, and a comment in Latin-1 follows.
topic read $end/x
topic open/#
topic read $x/info
topic %c/literal
topic deny open/but/#
pattern readwrite dev/%c/#
pattern read by/%u/%c
pattern deny dev/+/secret
pattern write %u
pattern read %c/up
pattern write mid-%c-dle/+
pattern constant/a

user keeper
topic readwrite #
topic $x/#
topic $end/#

user alice
topic read $end/x
topic write w/+
topic read r/+
topic readwrite   rw/a b \t\r
topic read
topic $x/#
topic write +/a
   topic read lead
user \t bob ross \r
topic read $end/x
topic read #
topic deny r/a
topic write open/a
topic read deny
user alice
topic deny w/no
user +
topic read $end/x
topic own/a
user a/b
topic read $end/x
user none
topic read $end/x
user %c
topic read $end/x
";

const TOPICS: [&str; 33] = [
    "open/a",
    "open/but/a",
    "open",
    "$x/info",
    "$x/other",
    "%c/literal",
    "c1/literal",
    "c1/up",
    "dev/c1/a",
    "dev/c1",
    "dev/c2/a",
    "dev/c1/secret",
    "dev/a/b/x",
    "dev/#1",
    "by/alice/c1",
    "by/a/b/c1",
    "alice",
    "bob ross",
    "mid-c1-dle/x",
    "constant/a",
    "w/a",
    "w/no",
    "w/a/b",
    "r/a",
    "r/b",
    "rw/a b",
    "read",
    "lead",
    "own/a",
    "$SYS/broker/connection/c1/state",
    "/a",
    "deny",
    "c1",
];

const PEOPLE: [Person; 18] = [
    person("c1", None),
    person("c2", None),
    person("a/b", None),
    person("+", None),
    person("#", None),
    person("c1+", None),
    person("$x", None),
    person("%c", None),
    person("c1", Some("alice")),
    person("+", Some("alice")),
    person("a b\u{e9}", Some("alice")),
    person("c1", Some("bob ross")),
    person("c1", Some("+")),
    person("c1", Some("a/b")),
    person("c1", Some("none")),
    person("%u", Some("%c")),
    person("by", Some("none")),
    person("/", None),
];

const fn person(id: &'static str, user: Option<&'static str>) -> Person {
    Person { id, user }
}

/// Topic Names without those that nobody can publish to.
fn topics() -> Vec<&'static str> {
    TOPICS.into_iter().filter(|topic| !topic.contains(['#', '+'])).collect()
}

/// Whether a name makes patterns permit less than they do for mosquitto.
fn is_stricter(person: Person) -> bool {
    let is_odd = |name: &str| name.contains('/') || name.starts_with('$');
    is_odd(person.id) || person.user.is_some_and(is_odd)
}

#[test]
fn mosquitto_judges_a_table_alike() {
    let directory = Directory::new();
    let text = FILE.replacen("Latin-1", "Latin-1\u{1}", 1);
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
    let file = directory.path("acl.conf");
    std::fs::write(&file, &bytes).unwrap();
    let passwords = directory.path("passwords");
    let mut users: Vec<_> = PEOPLE.iter().filter_map(|person| person.user).collect();
    users.push(KEEPER);
    users.iter().for_each(|user| add_password(&passwords, user));
    let lines = format!(
        "allow_anonymous true\nacl_file {}\npassword_file {}\n",
        file.display(),
        passwords.display()
    );
    let mosquitto = Mosquitto::start(&directory, &lines);
    let source = AclFile::load(&file).unwrap();
    let topics = topics();
    let retained: Vec<_> =
        topics.iter().copied().filter(|topic| !topic.starts_with("$SYS")).collect();
    mosquitto.retain(&retained);
    let mut allowed = 0;
    for person in PEOPLE {
        let client = Identity::new(person.id.into(), person.user.map(Into::into));
        let judge = source.judge(&client).unwrap();
        let allows = |action| judge.opinion(action).is_some_and(|opinion| opinion.allows);
        let received = mosquitto.received(person, &["#", "$x/#"]);
        let mut judged = Vec::new();
        for topic in &retained {
            let theirs = received.iter().any(|received| received == topic);
            judged.push(("receive", *topic, allows(Action::Receive { topic }), theirs));
        }
        for topic in &topics {
            let action = Action::Publish { topic, qos: QoS::AtLeastOnce, retain: false };
            let theirs = mosquitto.lets_publish(person, topic);
            judged.push(("publish", *topic, allows(action), theirs));
        }
        for (action, topic, ours, theirs) in judged {
            let agrees = ours == theirs || theirs && is_stricter(person);
            assert!(agrees, "{person:?} {action} {topic}: ours {ours}, mosquitto {theirs}");
            allowed += usize::from(ours);
        }
    }
    assert!(allowed > 60, "the table has to try something: {allowed}");
}

/// Files that mosquitto and this crate take, and files that both refuse.
const ODD_FILES: [(&[u8], bool); 16] = [
    (b"", true),
    (b"\n \n\t\n", true),
    (b"topic a\r\n\r\nuser x\r\n", true),
    (b"  topic a", true),
    (b"pattern no/variable", true),
    (b"topic read write", true),
    (b"\xef\xbb\xbftopic a\n", false),
    (b"\xef\xbb\xbf# comment\n", false),
    (b"topic\ta\n", false),
    (b"\ttopic a\n", false),
    (b" # comment\n", false),
    (b"topic two words\n", false),
    (b"topic readwrite a+\n", false),
    (b"topic #/a\n", false),
    (b"user\n", false),
    (b"topic a\nallow b\n", false),
];

#[test]
fn mosquitto_takes_the_same_files() {
    let directory = Directory::new();
    // The port is taken: mosquitto ends at the latest when it opens its listener.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for (bytes, is_taken) in ODD_FILES {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(AclFile::parse("f", bytes).is_ok(), is_taken, "{text:?}");
        let file = directory.path("acl.conf");
        std::fs::write(&file, bytes).unwrap();
        let lines = format!("user root\nlistener {port} 127.0.0.1\nacl_file {}\n", file.display());
        let configuration = directory.write("mosquitto.conf", &lines);
        let mut command = Command::new("/usr/sbin/mosquitto");
        let command = command.arg("-c").arg(configuration).stdin(Stdio::null());
        let output = command.output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{log}");
        let is_refused = log.contains("acl_file");
        assert_eq!(is_refused, !is_taken, "{text:?}: {log}");
    }
}
