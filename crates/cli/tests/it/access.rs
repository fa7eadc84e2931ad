//! Who comes in and what Clients may do: a real broker, its files, and what becomes of Clients when
//! these change.

use std::fs;

use crate::broker::free_port;
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;

/// A word in the last line of the start message.
const STARTED: &str = "documentation";

/// Gives a user a password.
fn add_user(directory: &Directory, user: &str, password: &str) {
    let file = directory.path().join("passwd");
    let command = format!("passwd --stdin {} {user}", file.display());
    midge(&command).feed(password.as_bytes()).end().text();
}

/// A broker that lets users of `passwd` in, with these sections besides.
fn start(directory: &Directory, port: u16, more: &str) -> Running {
    directory.write(&configuration(port, more));
    midge_in(directory.path(), &[], "").wait_for(STARTED)
}

fn configuration(port: u16, more: &str) -> String {
    format!(
        "[[listener]]\nbind = '127.0.0.1:{port}'\n[authentication]\npassword_file = 'passwd'\n\
         {more}\n[storage]\nin_memory = true\n"
    )
}

fn publish(port: u16, credentials: &str, topic: &str) -> Running {
    midge(&format!("pub -h 127.0.0.1 -p {port} {credentials} -q 1 -V 5 -t {topic} -m hello"))
}

/// Subscribes; returns when the SUBACK is there.
fn subscribe(port: u16, credentials: &str, filter: &str) -> Running {
    let command = format!("sub -h 127.0.0.1 -p {port} {credentials} -q 1 -V 5 -t {filter} -v -d");
    midge(&command).wait_for("SUBACK")
}

/// What a publisher is told that is refused for its topic.
const NOT_AUTHORIZED: &str = "0x87";

#[test]
fn users_come_in_with_their_passwords_and_nobody_else_does() {
    let (port, directory) = (free_port(), Directory::with_configuration(""));
    add_user(&directory, "ada", "canary-7");
    let broker = start(&directory, port, "");
    publish(port, "-u ada -P canary-7", "a").end().text();
    for wrong in ["-u ada -P wrong", "-u nobody -P canary-7", "-u ada"] {
        let said = publish(port, wrong, "a").end().failure(1);
        assert!(said.contains("Bad User Name or Password (0x86)"), "{wrong}: {said}");
    }
    let said = publish(port, "", "a").end().failure(1);
    assert!(said.contains("Not authorized (0x87)"), "{said}");
    let log = broker.signal("TERM").end().stderr;
    assert!(log.contains("\"ada\"") && !log.contains("canary"), "{log}");
    assert!(!log.contains("argon2"), "{log}");
}

/// A broker that others can reach says at the start that anybody could come.
#[test]
fn nobody_opens_a_broker_to_others_by_mistake() {
    let directory = Directory::with_configuration("[[listener]]\nbind = '0.0.0.0:0'\n");
    let said = midge_in(directory.path(), &[], "").end().failure(2);
    assert!(said.contains("no users are configured"), "{said}");
    assert!(said.contains("anonymous = true"), "{said}");
    let variable = ("MIDGE_AUTHENTICATION_ANONYMOUS", "true");
    let broker = midge_in(directory.path(), &[variable], "--in-memory").wait_for(STARTED);
    assert!(broker.stderr().contains("whoever reaches it can connect"), "{}", broker.stderr());
    broker.signal("TERM").end().text();
}

#[test]
fn who_is_taken_out_of_the_file_or_gets_another_password_is_disconnected() {
    let (port, directory) = (free_port(), Directory::with_configuration(""));
    for user in ["ada", "bob", "cyd"] {
        add_user(&directory, user, "old");
    }
    let broker = start(&directory, port, "");
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(|user| {
        let command = format!("sub -h 127.0.0.1 -p {port} -u {user} -P old -V 5 -t {user} -d");
        midge(&command).wait_for("SUBACK")
    });
    let file = directory.path().join("passwd");
    midge(&format!("passwd -D {} ada", file.display())).end().text();
    let broker = broker.wait_for("removed 1");
    let ada = ada.wait_for("ended the connection: Not authorized");
    add_user(&directory, "bob", "new");
    let broker = broker.wait_for("changed 1");
    let bob = bob.wait_for("ended the connection: Not authorized");
    publish(port, "-u bob -P new", "a").end().text();
    publish(port, "-u cyd -P old", "cyd").end().text();
    let cyd = cyd.assert_runs();
    for client in [ada, bob, cyd] {
        drop(client);
    }

    // A file that cannot be used changes nothing.
    fs::write(&file, "cyd\n").unwrap();
    let broker = broker.wait_for("the users in force stay");
    publish(port, "-u cyd -P old", "a").end().text();
    broker.signal("TERM").end().text();
}

#[test]
fn rules_hold_for_what_is_published_and_for_what_is_received() {
    let (port, directory) = (free_port(), Directory::with_configuration(""));
    for user in ["ada", "bob"] {
        add_user(&directory, user, "pw");
    }
    let acl = directory.path().join("acl.conf");
    let rules = "user ada\ntopic readwrite a/#\n\nuser bob\ntopic read a/1\n";
    fs::write(&acl, rules).unwrap();
    let more = "[authorization]\ndefault = 'deny'\nacl_file = 'acl.conf'";
    let broker = start(&directory, port, more);
    let bob = subscribe(port, "-u bob -P pw", "a/#");
    publish(port, "-u ada -P pw", "a/2").end().text();
    publish(port, "-u ada -P pw", "a/1").end().text();
    let refused = publish(port, "-u bob -P pw", "a/1").end().failure(1);
    assert!(refused.contains(NOT_AUTHORIZED), "{refused}");
    let bob = bob.wait_for("PUBLISH");

    // What is not allowed any more stops at once.
    fs::write(&acl, rules.replace("topic readwrite a/#", "topic read a/#")).unwrap();
    let broker = broker.wait_for("are in force");
    let refused = publish(port, "-u ada -P pw", "a/1").end().failure(1);
    assert!(refused.contains(NOT_AUTHORIZED), "{refused}");

    // A file with a mistake, or none, opens nothing.
    fs::write(&acl, "user ada\ntopics readwrite a/#\n").unwrap();
    let broker = broker.wait_for("the rules in force stay");
    assert!(broker.stderr().contains("acl.conf:2:1: "), "{}", broker.stderr());
    publish(port, "-u ada -P pw", "a/1").end().failure(1);
    fs::remove_file(&acl).unwrap();
    let broker = broker.wait_for("the rules in force stay");
    publish(port, "-u ada -P pw", "a/1").end().failure(1);
    let received = bob.signal("INT").end().stdout;
    assert_eq!(String::from_utf8_lossy(&received), "a/1 hello\n");
    broker.signal("TERM").end().text();
}

#[test]
fn a_file_that_is_wrong_at_the_start_is_named() {
    let (port, directory) = (free_port(), Directory::with_configuration(""));
    directory.write(&configuration(port, ""));
    let said = midge_in(directory.path(), &[], "").end().failure(1);
    assert!(said.contains("passwd"), "{said}");
    fs::write(directory.path().join("passwd"), "").unwrap();
    let broker = midge_in(directory.path(), &[], "").wait_for(STARTED);
    publish(port, "-u ada -P pw", "a").end().failure(1);
    publish(port, "", "a").end().failure(1);
    broker.signal("TERM").end().text();
}

#[test]
fn users_and_rules_that_come_by_sighup_are_in_force() {
    let (port, directory) = (free_port(), Directory::with_configuration(""));
    add_user(&directory, "ada", "pw");
    let open = format!("[[listener]]\nbind = '127.0.0.1:{port}'\n[storage]\nin_memory = true\n");
    directory.write(&open);
    let broker = midge_in(directory.path(), &[], "").wait_for(STARTED);
    publish(port, "", "a").end().text();
    publish(port, "-u whoever -P anything", "a").end().text();
    let session = format!("sub -h 127.0.0.1 -p {port} -V 311 -i dev -c -q 1 -t mine");
    midge(&format!("{session} -E")).end().text();
    publish(port, "", "mine").end().text();
    directory.write(&configuration(port, "[authorization]\ndefault = 'deny'"));
    let broker = broker.signal("HUP").wait_for("authorization.default is \"deny\" now");
    publish(port, "", "a").end().failure(1);
    let refused = publish(port, "-u ada -P pw", "a").end().failure(1);
    assert!(refused.contains(NOT_AUTHORIZED), "{refused}");

    // A session from before is its user's from now on, with what waits for it.
    directory.write(&configuration(port, ""));
    let broker = broker.signal("HUP").wait_for("authorization.default is \"allow\" now");
    let claimed = midge(&format!("{session} -u ada -P pw -C 1")).end().text();
    assert_eq!(claimed, "hello\n");
    add_user(&directory, "eve", "pw");
    let broker = broker.wait_for("added 1");
    let said = midge(&format!("{session} -u eve -P pw -C 1")).end().failure(1);
    assert!(said.contains("refused the connection"), "{said}");
    broker.signal("TERM").end().text();
}
