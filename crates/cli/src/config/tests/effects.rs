//! Keys that would have no effect: each is an error, with its place.

use super::super::flags::Flags;
use super::{Variables, error, file, load, load_text, variables};

/// Returns the message of the only problem of `text`, and what helps.
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
        "[limits]\nstore_bytes_max = 100000000",
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
    let text = "[storage]\ndurability = 'interval'\ninterval_ms = 10";
    let other = variables(&[("MIDGE_STORAGE_DURABILITY", "fsync")]);
    load(file(text), &other, &Flags::default()).unwrap();
}

#[test]
fn a_backlog_that_is_off_has_no_limits() {
    let text = "[limits]\nshared_backlog_bytes_max = 5\n[shared_subscriptions]\nbacklog = false";
    assert!(problem(text).contains("shared subscriptions keep nothing"));
    assert_right(&text.replace("false", "true"));
    assert_right(&text.replace("= 5", "= 0"));
}

#[test]
fn clients_of_each_version_have_a_bound_of_their_own_under_way() {
    for text in [
        "[limits]\nreceive_maximum = 200",
        "[limits]\nawaiting_release_max = 50",
        "[capabilities]\nversions = ['5.0']\n[limits]\nreceive_maximum = 500",
        "[capabilities]\nqos_max = 1\n[limits]\nreceive_maximum = 500",
    ] {
        assert_right(text);
    }
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
        ("$events", "`to` is a topic of the broker's own"),
        ("$queue", "`to` begins with $queue/"),
        ("$delayed", "not of the form $delayed/SECONDS/TOPIC"),
        ("$delayed/5", "not of the form $delayed/SECONDS/TOPIC"),
        ("$delayed/x/b", "not of the form $delayed/SECONDS/TOPIC"),
        ("b/$0", "`to` has $0, which stands for nothing"),
        ("b/$99999999999999999999", "which stands for nothing"),
        ("a/$1", "it gives topics the name that they have"),
    ] {
        let said = problem(&rule(to));
        assert!(said.contains(expected), "{said}");
    }
    assert_right(&(rule("b/+") + "publish = false"));
    assert_right(&rule("b/$1"));
    assert_right(&rule("$SYS/broker/connection/$1/state"));
    assert_right(&rule("$SYS/$1").replace("a/+", "a/#"));
    let neither = rule("b") + "publish = false\nsubscribe = false";
    assert!(problem(&neither).contains("this rule has no effect"));
}

#[test]
fn rewrites_to_delayed_topics_can_be_applied() {
    let rule = |from: &str, to: &str| format!("[[rewrite]]\nfrom = '{from}'\nto = '{to}'\n");
    for (from, to) in [
        ("a/+", "$delayed/5/b"),
        ("a/+", "$delayed/5/$1"),
        ("a/+", "$delayed/$1/b"),
        ("a/+/+", "$delayed/$1/$2"),
        ("a/#", "$delayed/$1"),
        ("a/+/#", "$delayed/$1$2"),
    ] {
        assert_right(&rule(from, to));
    }
    for (from, to) in [
        ("a/+", "$delayed/$1"), // one level, and it would have to be two
        ("a/+/+", "$delayed/$1$2"),
        ("a/#", "$delayed/x$1"),
        ("a/#", "$delayed/x/$1"),
    ] {
        let said = problem(&rule(from, to));
        assert!(said.contains("not of the form $delayed/SECONDS/TOPIC"), "{to}: {said}");
    }
    let said = problem(&(rule("a/+", "$delayed/5/b") + "publish = false"));
    assert!(said.contains("nobody can subscribe to that"), "{said}");
    let neither = rule("a/+", "$delayed/5/b") + "publish = false\nsubscribe = false";
    assert!(problem(&neither).contains("this rule has no effect"));
    for (limit, to, expected) in [
        ("delay_seconds_max = 59", "$delayed/60/$1", "more than `delay_seconds_max` (59)"),
        ("delay_seconds_max = 0", "$delayed/60/$1", "more than `delay_seconds_max` (0)"),
        (
            "topic_levels_max = 9",
            "$delayed/99999999999999999999/$1",
            "more than `delay_seconds_max`",
        ),
        ("delayed_messages_max = 0", "$delayed/60/$1", "`delayed_messages_max` is 0"),
        ("delayed_bytes_max = 0", "$delayed/$1", "`delayed_bytes_max` is 0"),
        ("topic_levels_max = 2", "$delayed/60/a/b/c", "has 3 levels"),
    ] {
        let said = problem(&format!("[limits]\n{limit}\n{}", rule("a/#", to)));
        assert!(said.contains(expected), "{said}");
    }
    assert_right(&format!("[limits]\ndelay_seconds_max = 60\n{}", rule("a/#", "$delayed/60/$1")));
    assert_right(&format!("[limits]\ntopic_levels_max = 2\n{}", rule("a/#", "$delayed/$1/b/c/d")));
    let none = variables(&[("MIDGE_LIMITS_DELAY_SECONDS_MAX", "0")]);
    load(file(&rule("a/#", "$delayed/60/$1")), &none, &Flags::default()).unwrap();
}

#[test]
fn automatic_subscriptions_ask_for_a_qos_that_is_granted() {
    for (qos_max, qos, is_granted) in [(0, 1, false), (0, 2, false), (0, 0, true), (1, 2, true)] {
        let text = format!(
            "[capabilities]\nqos_max = {qos_max}\n[[auto_subscribe]]\nfilter = 'a'\nqos = {qos}\n"
        );
        if is_granted {
            assert_right(&text);
            continue;
        }
        let said = problem(&text);
        assert!(said.contains("`qos` has no effect, as `qos_max` is 0"), "{said}");
        let listener = "[[listener]]\nbind = '127.0.0.1:0'\ncapabilities.qos_max = 2";
        assert_right(&format!("{text}{listener}"));
    }
    let most = variables(&[("MIDGE_CAPABILITIES_QOS_MAX", "0")]);
    let two = file("[[auto_subscribe]]\nfilter = 'a'\nqos = 2");
    load(two, &most, &Flags::default()).unwrap();
}

#[test]
fn automatic_subscriptions_are_not_to_topics_where_nothing_is_told() {
    let off = "[sys_topics]\ninterval_seconds = 0\n[[auto_subscribe]]\nfilter = ";
    for filter in ["$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/broker/+"] {
        let text = format!("{off}'{filter}'");
        let is_right = filter == "$SYS/#"; // bridges publish there, too
        if is_right {
            assert_right(&text);
        } else {
            assert!(problem(&text).contains("nothing is ever sent for"), "{filter}");
        }
        assert_right(&text.replace("= 0", "= 5"));
    }
    assert_right(&format!("{off}'$SYS/broker/connection/+/state'"));
}

#[test]
fn answers_go_to_topics_that_are_not_too_deep() {
    let text = "[limits]\ntopic_levels_max = 2\n[requests]\nresponse_prefix = 'a/b'";
    let said = problem(text);
    assert!(said.contains("has 3 levels") && said.contains("`topic_levels_max` (2)"), "{said}");
    assert_right(&text.replace("a/b", "a"));
    assert_right(&text.replace("a/b", ""));
    assert_right(&text.replace("= 2", "= 3"));
}

#[test]
fn memory_suffices_for_a_broker() {
    for (bytes, is_enough) in [(1, false), (8_388_607, false), (8_388_608, true), (0, true)] {
        let text = format!("[limits]\nmemory_bytes_max = {bytes}");
        if is_enough {
            assert_right(&text);
        } else {
            let said = problem(&text);
            assert!(said.contains("is too small"), "{said}");
        }
    }
}

#[test]
fn rules_are_about_topics_and_answers_go_to_topics_of_clients() {
    for filter in ["$share/g/a", "$queue/a", "$exclusive/a", "$delayed/1/a"] {
        let said = problem(&format!("[[rewrite]]\nfrom = '{filter}'\nto = 'b'"));
        assert!(said.contains("this rule is never applied"), "{said}");
        let said = problem(&format!("[[durability]]\nfilter = '{filter}'\nlevel = 'memory'"));
        assert!(said.contains("this rule is never applied"), "{said}");
    }
    let undelayed = "[[rewrite]]\nfrom = '$delayed/+/#'\nto = '$2'\npublish = false";
    assert_right(undelayed);
    let auto = format!("{undelayed}\n[[auto_subscribe]]\nfilter = '$delayed/5/a'");
    assert_right(&auto);
    for prefix in ["$SYS", "$events/a", "$share/g", "$queue", "$exclusive", "$delayed/1"] {
        let said = problem(&format!("[requests]\nresponse_prefix = '{prefix}'"));
        assert!(said.contains("nobody could answer there"), "{said}");
    }
    for prefix in ["$reply", "$SYSTEM", "", "a/b"] {
        assert_right(&format!("[requests]\nresponse_prefix = '{prefix}'"));
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
fn a_rule_that_changes_nothing_keeps_topics_from_those_below() {
    let rule = |from: &str, to: &str| format!("[[rewrite]]\nfrom = '{from}'\nto = '{to}'\n");
    for (from, to) in [("a", "a"), ("a/+/c", "a/$1/c"), ("a/#", "a/$1")] {
        let said = problem(&(rule(from, to) + &rule("b/#", "c")));
        assert!(said.contains("it gives topics the name that they have"), "{said}");
        assert_right(&(rule(from, to) + &rule("+/#", "c")));
    }
    // Rules are applied once: two that name each other's topics do not go round in circles.
    assert_right(&(rule("a", "b") + &rule("b", "a")));
}

#[test]
fn a_rule_about_durability_is_about_messages_that_are_kept() {
    let rule = |filter: &str| format!("[[durability]]\nfilter = '{filter}'\nlevel = 'memory'");
    for filter in ["$SYS", "$SYS/broker/uptime", "$SYS/broker/+", "$events/#"] {
        let said = problem(&rule(filter));
        assert!(said.contains("which no store keeps"), "{said}");
    }
    for filter in ["$SYS/#", "$SYS/+/+/edge/state", "$SYS/broker/connection/+/state"] {
        assert_right(&rule(filter));
    }
}

#[test]
fn automatic_subscriptions_can_be_made() {
    for (filter, expected) in [
        ("$delayed/5/a", "nothing is ever sent"),
        ("$share/g/$delayed/#", "nothing is ever sent"),
        ("$share/g/$share/h/a", "nobody can subscribe"),
        ("$exclusive/$queue/a", "nobody can subscribe"),
        ("$exclusive/$exclusive/a", "nobody can subscribe"),
    ] {
        let said = problem(&format!("[[auto_subscribe]]\nfilter = '{filter}'"));
        assert!(said.contains(expected), "{filter}: {said}");
    }
    assert_right("[[auto_subscribe]]\nfilter = '$queue/$SYS/broker/#'");
    let two = "[[auto_subscribe]]\nfilter = 'a'\n[[auto_subscribe]]\nfilter = 'b'\n[limits]\n";
    let said = problem(&format!("{two}subscriptions_per_session_max = 1"));
    assert!(said.contains("a Session may have 1") && said.contains(":3:"), "{said}");
    assert_right(&format!("{two}subscriptions_per_session_max = 2"));
    // Clients without a user name get the second one.
    let some = format!("{two}subscriptions_per_session_max = 1").replace("'a'", "'${user_name}'");
    assert_right(&some);
    let most = variables(&[("MIDGE_LIMITS_SUBSCRIPTIONS_PER_SESSION_MAX", "1")]);
    load(file(two.trim_end_matches("[limits]\n")), &most, &Flags::default()).unwrap();
}

#[test]
fn no_rule_is_about_more_levels_than_a_topic_may_have() {
    let limit = "[limits]\ntopic_levels_max = 2\n";
    for rule in [
        "[[rewrite]]\nfrom = 'a'\nto = 'a/b/c'",
        "[[durability]]\nfilter = 'a/b/+/#'\nlevel = 'memory'",
        "[[auto_subscribe]]\nfilter = '$share/g/a/b/#'",
    ] {
        let said = problem(&format!("{limit}{rule}"));
        assert!(said.contains("has 3 levels"), "{said}");
    }
    assert_right(&format!("{limit}[[durability]]\nfilter = 'a/b/#'\nlevel = 'memory'"));
    assert_right(&format!("{limit}[[auto_subscribe]]\nfilter = '$share/g/a/b'"));
    // Rules are applied before levels are counted.
    let shorter = "[[rewrite]]\nfrom = 'a/b/c'\nto = 'a'";
    assert_right(&format!("{limit}{shorter}"));
    assert_right(&format!("{limit}{shorter}\n[[auto_subscribe]]\nfilter = 'a/${{client_id}}/c'"));
    assert_right(&format!("{limit}[[rewrite]]\nfrom = 'a'\nto = '$delayed/5/a'"));
}

#[test]
fn a_switch_that_is_off_makes_its_keys_useless() {
    for (switch, key, why) in [
        ("shared_subscriptions = false", "[shared_subscriptions]\nstrategy = 'random'", "is false"),
        ("shared_subscriptions = false", "[shared_subscriptions]\nbacklog = true", "is false"),
        ("shared_subscriptions = false", "[limits]\nshared_backlog_bytes_max = 9", "is false"),
        ("retain = false", "[limits]\nretained_messages_max = 9", "nothing is retained"),
        ("retain = false", "[limits]\nretained_bytes_max = 9", "nothing is retained"),
        ("qos_max = 0", "[limits]\ninflight_bytes_max = 9", "no message is acknowledged"),
        ("qos_max = 0", "[limits]\nreceive_maximum = 9", "no message is acknowledged"),
        ("qos_max = 1", "[limits]\nawaiting_release_max = 100", "no PUBREL to wait for"),
        ("versions = '5.0'", "[limits]\ninflight_messages_mqtt3_max = 9", "MQTT 3 Clients"),
        ("versions = ['3.1', '3.1.1']", "[limits]\ntopic_alias_maximum = 9", "only MQTT 5"),
        ("versions = '3.1.1'", "[limits]\nuser_properties_max = 9", "only MQTT 5"),
        ("versions = '3.1.1'", "[requests]\nresponse_prefix = 'r'", "only MQTT 5"),
    ] {
        let text = format!("[capabilities]\n{switch}\n{key}\n");
        let said = problem(&text);
        assert!(said.contains("has no effect") && said.contains(why), "{said}");
        // A listener with the switch on gives the key its meaning.
        let (name, _) = switch.split_once(" = ").unwrap();
        let on = match name {
            "qos_max" => "2",
            "versions" => "['3.1', '5.0']",
            _ => "true",
        };
        let listener = "[[listener]]\nbind = '127.0.0.1:0'\n";
        assert_right(&format!("{text}{listener}capabilities.{name} = {on}"));
        assert!(problem(&format!("{text}{listener}")).contains(why));
    }
    let text = "[[listener]]\nbind = '127.0.0.1:0'\ncapabilities.retain = false\n\
                [limits]\nretained_messages_max = 9";
    assert!(problem(text).contains("nothing is retained"));
    let text = "[capabilities]\nversions = '3.1.1'\nsubscription_identifiers = true";
    assert!(problem(text).contains("only MQTT 5"));
    let text = "[[listener]]\nbind = '127.0.0.1:0'\n\
                capabilities = { versions = '3.1', subscription_identifiers = true }";
    assert!(problem(text).contains("no \"5.0\" is spoken there"));
    assert_right(&text.replace("true", "false"));
}

#[test]
fn what_is_off_may_be_said_to_be_off_twice() {
    for text in [
        "retain = false\n[limits]\nretained_messages_max = 0\nretained_bytes_max = 0",
        "shared_subscriptions = false\n[shared_subscriptions]\nbacklog = false",
        "versions = '3.1.1'\nsubscription_identifiers = false",
        "versions = '3.1.1'\n[limits]\ntopic_alias_maximum = 0",
        "versions = '3.1.1'\n[requests]\nresponse_prefix = ''",
    ] {
        assert_right(&format!("[capabilities]\n{text}"));
    }
}

#[test]
fn what_a_listener_switches_off_is_not_said_of_the_broker() {
    let text = "[[listener]]\nbind = '127.0.0.1:0'\ncapabilities.qos_max = 0\n\
                [limits]\ninflight_bytes_max = 9";
    let said = problem(text);
    assert!(said.contains("`qos_max` is 0 for all Clients"), "{said}");
    assert!(!said.contains("[capabilities]"), "{said}");
}

#[test]
fn automatic_subscriptions_are_such_as_clients_may_make() {
    for (switch, filter) in [
        ("shared_subscriptions", "$share/g/a"),
        ("shared_subscriptions", "$queue/a"),
        ("wildcard_subscriptions", "a/#"),
    ] {
        let text = format!("[capabilities]\n{switch} = false\n[[auto_subscribe]]\nfilter = ");
        let said = problem(&format!("{text}'{filter}'"));
        assert!(said.contains(&format!("`{switch}` is false")), "{said}");
        assert_right(&format!("{text}'a'"));
        let off =
            variables(&[(&*format!("MIDGE_CAPABILITIES_{}", switch.to_uppercase()), "false")]);
        let in_file = file(&format!("[[auto_subscribe]]\nfilter = '{filter}'"));
        load(in_file, &off, &Flags::default()).unwrap();
    }
    assert_right(
        "[capabilities]\nwildcard_subscriptions = false\n[[auto_subscribe]]\nfilter = 'a/+'\n\
         [[rewrite]]\nfrom = 'a/+'\nto = 'b'\npublish = false",
    );
}

#[test]
fn a_limit_of_nothing_needs_no_other() {
    for (zero, other) in [
        ("retained_messages_max", "retained_bytes_max"),
        ("retained_bytes_max", "retained_messages_max"),
        ("delayed_messages_max", "delayed_bytes_max"),
        ("delayed_bytes_max", "delay_seconds_max"),
        ("shared_backlog_messages_max", "shared_backlog_bytes_max"),
    ] {
        let said = problem(&format!("[limits]\n{zero} = 0\n{other} = 5"));
        assert!(said.contains(&format!("`{zero}` is 0")), "{said}");
        assert_right(&format!("[limits]\n{zero} = 0"));
        assert_right(&format!("[limits]\n{zero} = 0\n{other} = 0"));
    }
}

#[test]
fn a_store_has_room_for_messages() {
    for (bytes, is_enough) in [(20_000_000, false), (25_165_824, true), (33_554_432, true)] {
        let text = format!("[limits]\nstore_bytes_max = {bytes}");
        if is_enough {
            assert_right(&text);
        } else {
            let said = problem(&text);
            assert!(said.contains("no message could be kept"), "{said}");
        }
    }
    let text = "[storage]\nsegment_bytes = 1073741824\n[limits]\nstore_bytes_max = 2147483648";
    assert!(problem(text).contains("no message could be kept"));
    assert_right(&text.replace("2147483648", "3221225472"));
}

#[test]
fn a_bound_may_be_so_large_that_another_one_comes_first() {
    let listener = "[[listener]]\nbind = '127.0.0.1:0'\n";
    for text in [
        "[limits]\nconnections_max = 9\nsessions_max = 8",
        "[limits]\ninflight_messages_mqtt3_max = 9\ninflight_messages_max = 8",
        "[limits]\nclient_identifier_bytes_max = 65535",
        &format!("{listener}connections_max = 9\n[limits]\nconnections_max = 8"),
        &format!("{listener}connection_rate_max = 8\nconnection_rate_per_address_max = 9"),
        &format!("{listener}protocol = 'websocket'\nconnections_max = 8\nhandshakes_max = 4096"),
    ] {
        assert_right(text);
    }
}

#[test]
fn a_client_to_be_traced_can_be_named_before_the_level_is_raised() {
    for text in ["trace_client = 'pump'", "trace_client = 'pump'\nlevel = 'debug'"] {
        assert_right(&format!("[log]\n{text}"));
    }
}

#[test]
fn a_list_has_each_thing_once() {
    for list in ["['5.0', '3.1', '5.0']", "['3.1', '3.1']"] {
        let said = problem(&format!("[capabilities]\nversions = {list}"));
        assert!(said.contains("` has \"") && said.contains("\" twice"), "{said}");
    }
    let text = "[[listener]]\nbind = '127.0.0.1:0'\nproxy_protocol = 'required'\n\
                proxy_protocol_from = ['10.0.0.0/8', '10.0.0.0/8']";
    assert!(problem(text).contains("\"10.0.0.0/8\" twice"));
    let tls = "[[listener]]\nbind = '127.0.0.1:0'\n\
               tls = { certificate = ['a', 'b'], key = ['k', 'k'] }";
    assert_right(tls);
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
    let off = "[[listener]]\nbind = '127.0.0.1:0'\ntls = { certificate = 'a', key = 'b', \
               client_ca = 'c', client_certificates = 'off' }";
    assert!(problem(off).contains("`tls.client_ca` has no effect"));
    let unix = "[[listener]]\nbind = 'unix:a'\nconnection_rate_per_address_max = 5";
    assert!(problem(unix).contains("whose Clients have no addresses"));
    assert_right(&format!("{unix}\nproxy_protocol = 'required'"));
}

#[test]
fn the_defaults_are_right() {
    load(None, &Variables::new(), &Flags::default()).unwrap();
}
