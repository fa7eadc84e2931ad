//! The text of each error that is about a listener, as the user sees it.

use super::{assert_error, error, load_text, variables};
use crate::config::flags::Flags;
use crate::config::load;

/// Returns the errors of a listener with these lines, each on one line.
fn lines(text: &str) -> Vec<String> {
    match load_text(&format!("[[listener]]\n{text}\n")) {
        Ok(_) => Vec::new(),
        Err(report) => report.lines().collect(),
    }
}

/// Returns the only error of a TCP listener with these lines, without its place.
#[track_caller]
fn message(text: &str) -> String {
    let lines = lines(&format!("bind = '0.0.0.0:1'\n{text}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].splitn(4, ':').nth(3).unwrap().trim().to_string()
}

const TLS: &str = "tls = { certificate = 'a', key = 'b' }\n";

#[test]
fn unknown_keys_of_tables() {
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:8883'\ntls = { certifcate = 'a.pem', key = 'a.key' }\n",
        "
error: there is no key `tls.certifcate` in [[listener]]
  --> midge.toml:3:9
  |
3 | tls = { certifcate = 'a.pem', key = 'a.key' }
  |         ^^^^^^^^^^
  = the nearest key is `tls.certificate`

error: `tls.key` needs `tls.certificate` beside it
  --> midge.toml:3:37
  |
3 | tls = { certifcate = 'a.pem', key = 'a.key' }
  |                                     ^^^^^^^
  = for example: tls.certificate = \"server.pem\"",
    );
    let there = |key: &str| format!("there is no key `{key}` in [[listener]]");
    assert_eq!(
        message("certificate = 'a'"),
        format!("{} (the nearest key is `tls.certificate`)", there("certificate"))
    );
    assert_eq!(
        message("tsl = { key = 'a' }"),
        format!("{} (the nearest key is `tls`)", there("tsl"))
    );
    assert_eq!(
        message("websocket.hosts = 'a'"),
        format!(
            "{} (the keys of `websocket` are `websocket.path`, `websocket.origins`)",
            there("websocket.hosts")
        )
    );
    assert_eq!(
        message("'tls.key' = 'a'"),
        format!("{} (write it without quotes: tls.key)", there("tls.key"))
    );
    assert_eq!(
        message("tls = 'server.pem'"),
        "`tls` in [[listener]] must be a table, but is a string \
         (write its keys, such as `tls.certificate`)"
    );
    assert_eq!(
        message("tcp = {}"),
        "`tcp` in [[listener]] has no keys \
         (its keys are `tcp.no_delay`, `tcp.keep_alive_seconds`, `tcp.backlog`)"
    );
}

#[test]
fn keys_outside_of_their_listener() {
    assert_error(
        "[tls]\nkey = 'a'\n",
        "
error: `tls` stands outside of its section
  --> midge.toml:1:2
  |
1 | [tls]
  |  ^^^
  = write it below [[listener]]",
    );
    assert_error(
        "[broker]\nconnections_max = 5\n",
        "
error: there is no key `connections_max` in [broker]
  --> midge.toml:2:1
  |
2 | connections_max = 5
  | ^^^^^^^^^^^^^^^
  = `connections_max` belongs to [[listener]] or [limits]",
    );
}

#[test]
fn wrong_values_in_lists() {
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:1'\nproxy_protocol = 'required'\n\
         proxy_protocol_from = ['10.0.0.0/8', '10.0.0.0/80']\n",
        r#"
error: `proxy_protocol_from` in [[listener]] has "10.0.0.0/80", which is no network
  --> midge.toml:4:38
  |
4 | proxy_protocol_from = ['10.0.0.0/8', '10.0.0.0/80']
  |                                      ^^^^^^^^^^^^^
  = such as "10.0.0.0/8", "fd00::/8" or one address, "10.1.2.3""#,
    );
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:1'\ntls = { certificate = ['a', 5], key = [] }\n",
        &r#"
error: `tls.certificate` in [[listener]] must be {FILES}, but is an integer
  --> midge.toml:3:29
  |
3 | tls = { certificate = ['a', 5], key = [] }
  |                             ^

error: `tls.key` in [[listener]] must be {FILES}, but is an empty list
  --> midge.toml:3:39
  |
3 | tls = { certificate = ['a', 5], key = [] }
  |                                       ^^"#
            .replace("{FILES}", "a file, such as \"server.pem\", or a list of files"),
    );
    assert_error(
        "[[listener]]\nbind = ['0.0.0.0:1']\n",
        &r#"
error: `bind` in [[listener]] must be "ADDRESS:PORT", such as {EXAMPLES}, but is a list
  --> midge.toml:2:8
  |
2 | bind = ['0.0.0.0:1']
  |        ^^^^^^^^^^^^^"#
            .replace("{EXAMPLES}", r#""0.0.0.0:1883" or "[::]:1883", or "unix:PATH""#),
    );
}

#[test]
fn wrong_values() {
    let wrong = |key: &str, rest: &str| format!("`{key}` in [[listener]] {rest}");
    assert_eq!(
        message("protocol = 'websockets'"),
        wrong(
            "protocol",
            "must be \"mqtt\", \"websocket\" or \"quic\", but is \"websockets\" (the nearest is \
             \"websocket\")"
        )
    );
    let unix = |text: &str| lines(&format!("bind = 'unix:a'\n{text}"))[0].clone();
    assert!(unix("unix.mode = 0o660").ends_with("(write it in quotes, such as \"0660\")"));
    assert!(unix("unix.mode = '0999'").contains("must be three octal digits, but is \"0999\""));
    assert!(unix("unix.owner = 1000").ends_with("(write it in quotes: \"1000\")"));
    let websocket = |text: &str| message(&format!("protocol = 'websocket'\n{text}"));
    assert!(websocket("websocket.path = 'mqtt'").ends_with("(write \"/mqtt\")"));
    assert!(websocket("websocket.origins = '*'").contains("pages of any origin"));
}

#[test]
fn certificates_and_keys_belong_together() {
    assert_eq!(
        message("tls.certificate = 'a'"),
        "`tls.certificate` needs `tls.key` beside it (for example: tls.key = \"server.key\")"
    );
    assert_eq!(
        message("tls.key = 'a'"),
        "`tls.key` needs `tls.certificate` beside it \
         (for example: tls.certificate = \"server.pem\")"
    );
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:1'\ntls = { certificate = ['a', 'b'], key = 'c' }\n",
        "
error: `tls.certificate` names 2 files, but `tls.key` 1 file
  --> midge.toml:3:41
  |
3 | tls = { certificate = ['a', 'b'], key = 'c' }
  |                                         ^^^
  = each certificate has a key, in the same order; a chain is one file",
    );
    assert_eq!(
        message("tls.client_ca = 'ca.pem'"),
        "`tls.client_ca` needs `tls.certificate` and `tls.key` (write both, or leave it out)"
    );
}

#[test]
fn client_certificates_need_an_authority() {
    let ca = "(for example: tls.client_ca = \"devices-ca.pem\")";
    assert_eq!(
        message("tls = { certificate = 'a', key = 'b', client_certificates = 'required' }"),
        format!(
            "`tls.client_certificates` is \"required\", but there is no `tls.client_ca` to \
             verify certificates with {ca}"
        )
    );
    assert_eq!(
        message("tls = { certificate = 'a', key = 'b', client_crl = 'c' }"),
        format!("`tls.client_crl` needs `tls.client_ca` beside it {ca}")
    );
    let off = "client_ca = 'c', client_crl = 'd', client_certificates = 'off'";
    assert_eq!(
        message(&format!("tls = {{ certificate = 'a', key = 'b', {off} }}")),
        "`tls.client_crl` has no effect, as `tls.client_certificates` is \"off\" (write \
         \"optional\" or \"required\", or leave it out)"
    );
}

#[test]
fn a_quic_connection_is_asked_before_it_ends() {
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:1'\nprotocol = 'quic'\n\
         tls = { certificate = 'a', key = 'b' }\nquic.idle_timeout_seconds = 5\n",
        "
error: `quic.keep_alive_seconds` (20) has to be below `quic.idle_timeout_seconds` (5), or quiet \
connections end
  --> midge.toml:5:29
  |
5 | quic.idle_timeout_seconds = 5
  |                             ^
  = a third of it is usual; 0 never asks",
    );
}

#[test]
fn keys_of_another_transport() {
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:1'\nwebsocket = { path = '/mqtt' }\n",
        "
error: `websocket.path` is for WebSocket, but `protocol` is \"mqtt\"
  --> midge.toml:3:22
  |
3 | websocket = { path = '/mqtt' }
  |                      ^^^^^^^
  = write protocol = \"websocket\", or leave it out",
    );
    assert_eq!(
        message("quic.early_data = false"),
        "`quic.early_data` is for QUIC, but `protocol` is \"mqtt\" \
         (write protocol = \"quic\", or leave it out)"
    );
    assert_eq!(
        message("unix.mode = '0660'"),
        "`unix.mode` is for Unix sockets, but `bind` is \"0.0.0.0:1\" \
         (write bind = \"unix:PATH\", or leave it out)"
    );
    let unix =
        "midge.toml:3:16: `tcp.no_delay` is for TCP, but `bind` is \"unix:a\" (leave it out)";
    assert_eq!(lines("bind = 'unix:a'\ntcp.no_delay = true"), [unix]);
    assert_eq!(
        message(&format!("protocol = 'quic'\n{TLS}tcp.backlog = 5")),
        "`tcp.backlog` is for TCP, but QUIC goes over UDP \
         (leave it out; QUIC has keys of its own, quic.*)"
    );
}

#[test]
fn quic_needs_tls_and_udp() {
    assert_eq!(
        message("protocol = 'quic'"),
        "`protocol` is \"quic\", which always uses TLS, but there is no `tls.certificate` \
         (for example: tls = { certificate = \"server.pem\", key = \"server.key\" })"
    );
    let unix = "midge.toml:3:12: `protocol` is \"quic\", which goes over UDP, but `bind` names a \
                Unix socket (write bind = \"ADDRESS:PORT\")";
    assert_eq!(lines(&format!("bind = 'unix:a'\nprotocol = 'quic'\n{TLS}")), [unix]);
    assert_eq!(
        message(&format!("protocol = 'quic'\n{TLS}proxy_protocol = 'optional'")),
        "`proxy_protocol` is not possible with QUIC: there is no place for the header \
         (leave it out; a load balancer for QUIC has to preserve the address itself)"
    );
    let off = lines(&format!("bind = '[::]:1'\nprotocol = 'quic'\n{TLS}proxy_protocol = 'off'"));
    assert!(off.is_empty(), "{off:?}");
}

#[test]
fn networks_of_proxies_need_proxies() {
    assert_eq!(
        message("proxy_protocol_from = '10.0.0.0/8'"),
        "`proxy_protocol_from` has no effect without `proxy_protocol` \
         (write proxy_protocol = \"required\", or leave it out)"
    );
    let unix = "bind = 'unix:a'\nproxy_protocol = 'required'\nproxy_protocol_from = '10.0.0.0/8'";
    let expected = "midge.toml:4:23: `proxy_protocol_from` names networks, but the peers of a Unix \
                    socket are in none (leave it out; unix.owner, unix.group and unix.mode say \
                    who may connect)";
    assert_eq!(lines(unix), [expected]);
}

#[test]
fn a_wrong_value_makes_no_second_error() {
    for text in [
        "protocol = 'websockets'\nwebsocket.path = '/a'",
        "protocol = 5\nquic.early_data = true",
        "proxy_protocol = 'on'\nproxy_protocol_from = '10.0.0.0/8'",
        "tls = { certificate = 5, key = 'b', client_ca = 'c' }",
        "tls = { certificate = 'a', key = 'b', client_ca = 5, client_certificates = 'required' }",
    ] {
        message(text);
    }
    assert_eq!(lines("bind = 'unix:'\nunix.mode = '0600'").len(), 1);
    assert_eq!(lines("bind = '1883'\ntcp.backlog = 5").len(), 1);
}

#[test]
fn two_listeners_at_one_place() {
    let two = |one: &str, other: &str| {
        load_text(&format!("[[listener]]\n{one}\n[[listener]]\n{other}\n"))
            .map_or_else(|report| report.lines().collect(), |_| Vec::new())
    };
    let quic = |bind: &str| format!("bind = '{bind}'\nprotocol = 'quic'\n{TLS}");
    let tcp = |bind: &str| format!("bind = '{bind}'");
    assert!(two(&tcp("[::]:8883"), &quic("[::]:8883")).is_empty());
    let expected = "midge.toml:7:8: [::]:8883 is listened on twice";
    assert_eq!(two(&quic("[::]:8883"), &quic("[::]:8883")), [expected]);
    let expected = "midge.toml:4:8: unix:./a is listened on twice";
    assert_eq!(two(&tcp("unix:a"), &tcp("unix:./a")), [expected]);
}

#[test]
fn variables_are_named_in_errors() {
    let text = "[[listener]]\nbind = '0.0.0.0:1'\n";
    let one = |name: &str, value: &str| {
        let file = super::file(text);
        error(load(file, &variables(&[(name, value)]), &Flags::default()))
    };
    assert_eq!(
        one("MIDGE_LISTENER_0_TLS_CERTIFICATE", "a,,b"),
        "error: MIDGE_LISTENER_0_TLS_CERTIFICATE must name a file\n  --> environment\n"
    );
    assert_eq!(
        one("MIDGE_LISTENER_0_TLS_CERTIFICAT", "a"),
        "error: MIDGE_LISTENER_0_TLS_CERTIFICAT names no key of the configuration\n  \
         --> environment\n  = the nearest is MIDGE_LISTENER_N_TLS_CERTIFICATE\n"
    );
    assert_eq!(
        one("MIDGE_LISTENER_0_UNIX_MODE", "0600"),
        "error: `unix.mode` is for Unix sockets, but `bind` is \"0.0.0.0:1\"\n  \
         --> environment\n  = write bind = \"unix:PATH\", or leave it out\n"
    );
}
