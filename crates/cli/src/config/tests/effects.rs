//! Keys that would have no effect: each is an error, with its place.

use super::super::flags::Flags;
use super::{Variables, error, file, load, load_text, variables};

/// The message of the only problem of `text`, and what helps.
#[track_caller]
fn problem(text: &str) -> String {
    let all = error(load_text(text));
    assert_eq!(all.matches("error: ").count(), 1, "{all}");
    all
}

#[track_caller]
fn assert_right(text: &str) {
    if let Err(report) = load_text(text) {
        panic!("{report}");
    }
}

#[test]
fn nothing_is_said_about_a_disk_that_is_not_used() {
    for other in [
        "path = 'data'",
        "durability = 'fsync'",
        "interval_ms = 10",
        "segment_bytes = 20000",
        "[limits]\nstore_bytes_max = 1000",
        "[[durability]]\nfilter = 'a'\nlevel = 'fsync'",
        "[[listener]]\nbind = '127.0.0.1:0'\ndurability = 'interval'",
    ] {
        let text = format!("[storage]\nin_memory = true\n{other}\n");
        let said = problem(&text);
        assert!(said.contains("has no effect, as `in_memory` is true"), "{said}");
        assert_right(&text.replace("true", "false").replace("interval_ms = 10", ""));
    }
    assert_right("[storage]\nin_memory = true\ndurability = 'memory'");
}

#[test]
fn a_flag_or_a_variable_overrides_what_a_file_says_about_the_disk() {
    let path = file("[storage]\npath = 'data'");
    let in_memory = variables(&[("MIDGE_STORAGE_IN_MEMORY", "true")]);
    load(path, &in_memory, &Flags::default()).unwrap();
    let in_file = file("[storage]\nin_memory = true");
    let path = variables(&[("MIDGE_STORAGE_PATH", "data")]);
    let said = error(load(in_file, &path, &Flags::default()));
    assert!(said.contains("MIDGE_STORAGE_PATH"), "{said}");
}

#[test]
fn an_interval_is_for_something() {
    let said = problem("[storage]\ninterval_ms = 10");
    assert!(said.contains("no durability is \"interval\""), "{said}");
    assert_right("[storage]\ninterval_ms = 10\n[[durability]]\nfilter = 'a'\nlevel = 'interval'");
}

#[test]
fn a_backlog_that_is_off_has_no_limits() {
    let text = "[limits]\nshared_backlog_bytes_max = 5\n[shared_subscriptions]\nbacklog = false";
    assert!(problem(text).contains("shared subscriptions keep nothing"));
    assert_right(&text.replace("false", "true"));
}

#[test]
fn what_a_client_may_have_under_way_is_not_held_against_it() {
    let said = problem("[limits]\nreceive_maximum = 500");
    assert!(said.contains("`awaiting_release_max` (100) is below"), "{said}");
    assert_right("[limits]\nreceive_maximum = 500\nawaiting_release_max = 500");
}

#[test]
fn rewrites_can_be_applied() {
    let rule = |to: &str| format!("[[rewrite]]\nfrom = 'a/+'\nto = '{to}'\n");
    for (to, expected) in [
        ("b/+", "`to` has a wildcard"),
        ("b/#", "`to` has a wildcard"),
        ("$share/g/b", "`to` begins with $share/"),
        ("$SYS/b", "`to` is a topic of the broker's own"),
        ("b/${client_id}", "there are no variables here"),
        ("$delayed/5/b", "a rule cannot delay a message"),
    ] {
        let said = problem(&rule(to));
        assert!(said.contains(expected), "{said}");
    }
    assert_right(&(rule("b/+") + "publish = false"));
    assert_right(&rule("b/$1"));
    let neither = rule("b") + "publish = false\nsubscribe = false";
    assert!(problem(&neither).contains("this rule has no effect"));
}

#[test]
fn rules_are_about_topics_and_answers_go_to_topics_of_clients() {
    for filter in ["$share/g/a", "$queue/a", "$exclusive/a", "$delayed/1/a"] {
        let said = problem(&format!("[[rewrite]]\nfrom = '{filter}'\nto = 'b'"));
        assert!(said.contains("this rule is never applied"), "{said}");
        let said = problem(&format!("[[durability]]\nfilter = '{filter}'\nlevel = 'memory'"));
        assert!(said.contains("this rule is never applied"), "{said}");
    }
    for prefix in ["$SYS", "$share/g", "$delayed/1"] {
        let said = problem(&format!("[requests]\nresponse_prefix = '{prefix}'"));
        assert!(said.contains("nobody could answer there"), "{said}");
    }
}

#[test]
fn every_rule_can_be_reached() {
    let rules = "[[rewrite]]\nfrom = 'a/#'\nto = 'b'\n[[rewrite]]\nfrom = 'a/c'\nto = 'd'\n";
    let said = problem(rules);
    assert!(said.contains("the rule for \"a/#\" above it") && said.contains(":5:"), "{said}");
    assert_right(&rules.replace("to = 'b'", "to = 'b'\nsubscribe = false"));
    let levels = "[[durability]]\nfilter = '#'\nlevel = 'memory'\n\
                  [[durability]]\nfilter = 'a'\nlevel = 'fsync'";
    assert!(problem(levels).contains("this rule is never reached"));
    let twice = "[[auto_subscribe]]\nfilter = 'a'\n[[auto_subscribe]]\nfilter = 'a'\nqos = 1";
    assert!(problem(twice).contains("is subscribed to twice"));
}

#[test]
fn automatic_subscriptions_know_their_variables() {
    let said = problem("[[auto_subscribe]]\nfilter = 'a/${clientid}'");
    assert!(said.contains("the variable ${clientid}"), "{said}");
    assert!(said.contains("the nearest is ${client_id}"), "{said}");
    let said = problem("[[auto_subscribe]]\nfilter = '$share/g/a'\nretain_handling = 1");
    assert!(said.contains("which gets no retained messages"), "{said}");
}

#[test]
fn a_listener_has_no_key_without_effect() {
    let quic = "[[listener]]\nbind = '127.0.0.1:0'\nprotocol = 'quic'\n\
                tls = { certificate = 'a', key = 'b', version_min = '1.3' }";
    assert!(problem(quic).contains("QUIC always has TLS 1.3"));
    let plain = "[[listener]]\nbind = '127.0.0.1:0'\nhandshakes_max = 5";
    assert!(problem(plain).contains("there are no handshakes"));
    let unix = "[[listener]]\nbind = 'unix:a'\nconnection_rate_per_address_max = 5";
    assert!(problem(unix).contains("whose Clients have no addresses"));
    assert_right(&format!("{unix}\nproxy_protocol = 'required'"));
}

#[test]
fn the_defaults_are_right() {
    load(None, &Variables::new(), &Flags::default()).unwrap();
}
