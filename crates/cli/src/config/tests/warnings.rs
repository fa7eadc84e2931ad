//! Settings that a broker starts with, but that do less than they seem to.

use super::super::effect_warnings::warnings;
use super::load_text;

/// Returns what is warned of in `text`.
#[track_caller]
fn warned(text: &str) -> Vec<String> {
    warnings(&load_text(text).unwrap())
}

#[test]
fn a_listener_has_no_more_connections_than_the_broker() {
    let listener = "[[listener]]\nbind = '127.0.0.1:0'\nconnections_max = 9\n";
    let text = format!("{listener}[limits]\nconnections_max = 8");
    let said = warned(&text);
    let expected = "midge.toml:3:19: `connections_max` (9) is never reached, as [limits] lets in \
                    8 for all listeners together";
    assert_eq!(said, [expected]);
    assert!(warned(&text.replace("= 8", "= 9")).is_empty());
    assert!(warned(listener).is_empty());
    assert_eq!(warned(&listener.replace("= 9", "= 1_000_001")).len(), 1);
}

#[test]
fn a_traced_client_is_one_that_may_connect() {
    for (client_id, expected) in [
        ("$broker", "begin with $"),
        ("a-name-of-twenty-four-by", "`client_identifier_bytes_max` (23)"),
        ("a-name-of-twenty-three-b", ""),
        ("a$b", ""),
    ] {
        let bytes_max = if expected.is_empty() { 24 } else { 23 };
        let said = warned(&format!(
            "[log]\ntrace_client = '{client_id}'\n[limits]\n\
             client_identifier_bytes_max = {bytes_max}"
        ));
        assert_eq!(said.is_empty(), expected.is_empty(), "{said:?}");
        assert!(said.iter().all(|it| it.contains(expected) && it.starts_with("midge.toml:2:")));
    }
}

#[test]
fn user_names_are_not_authenticated() {
    let said = warned("[[auto_subscribe]]\nfilter = 'a/${user_name}'");
    assert!(said[0].contains("this version authenticates nobody"), "{said:?}");
    assert!(warned("[[auto_subscribe]]\nfilter = 'a/${client_id}'").is_empty());
}

#[test]
fn an_automatic_subscription_is_granted_no_more_than_clients_may_have() {
    let text = "[[auto_subscribe]]\nfilter = 'a'\nqos = 2\n[capabilities]\nqos_max = 1\n";
    let expected = "midge.toml:3:7: `qos` (2) is granted as 1, as `qos_max` is not above that for \
                    any Client";
    assert_eq!(warned(text), [expected]);
    assert!(warned(&text.replace("qos = 2", "qos = 1")).is_empty());
    let listener = "[[listener]]\nbind = '127.0.0.1:0'\n";
    assert_eq!(warned(&format!("{text}{listener}")).len(), 1);
    assert!(warned(&format!("{text}{listener}capabilities.qos_max = 2")).is_empty());
}
