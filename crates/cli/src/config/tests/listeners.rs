//! What a `[[listener]]` becomes, in whichever way it is written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use midge_broker::{Capabilities, Durability};
use midge_net::{
    CertificateFiles, ClientCertificates, Listen, ListenAddress, ListenerLimits, Protocol,
    ProxyMode, QuicOptions, TcpOptions, TlsOptions, TlsVersion, UnixOptions, WebSocketOptions,
};

use super::{error, file, load_text, variables};
use crate::config::environment::Variables;
use crate::config::flags::Flags;
use crate::config::{Loaded, load};

/// The only listener of a file.
fn listen(text: &str) -> Listen {
    let loaded = load_text(text).unwrap_or_else(|report| panic!("{report}"));
    only(&loaded)
}

fn only(loaded: &Loaded) -> Listen {
    let [listener] = &loaded.configuration.listeners[..] else { panic!("not one listener") };
    listener.listen.clone()
}

fn tls(text: &str) -> TlsOptions {
    listen(&format!("[[listener]]\nbind = '0.0.0.0:8883'\n{text}")).tls.expect("it has TLS")
}

#[test]
fn a_listener_is_plain_unless_told_otherwise() {
    let listen = listen("[[listener]]\nbind = '[::]:1883'\n");
    assert_eq!(listen.address, ListenAddress::Network("[::]:1883".into()));
    assert_eq!(listen.protocol, Protocol::Mqtt);
    assert_eq!(listen.tls, None);
    assert_eq!(listen.proxy.mode, ProxyMode::Off);
    assert_eq!(listen.tcp, TcpOptions::default());
    assert_eq!(listen.limits, ListenerLimits::default());
}

#[test]
fn tables_of_keys_are_written_in_three_ways() {
    let inline = "tls = { certificate = 'server.pem', key = 'server.key', client_ca = 'ca.pem' }";
    let dotted = "tls.certificate = 'server.pem'\ntls.key = 'server.key'\ntls.client_ca = 'ca.pem'";
    let table = "[listener.tls]\ncertificate = ['server.pem']\nkey = 'server.key'\n\
                 client_ca = ['ca.pem']";
    let expected = TlsOptions::new("server.pem", "server.key").client_ca("ca.pem");
    assert_eq!(expected.client_certificates, ClientCertificates::Required);
    for text in [inline, dotted, table] {
        assert_eq!(tls(text), expected, "{text}");
    }
}

#[test]
fn tls_has_all_its_options() {
    let options = tls("[listener.tls]
        certificate = ['one.pem', 'two.pem']
        key = ['one.key', 'two.key']
        client_ca = ['a.pem', 'b.pem']
        client_certificates = 'optional'
        client_crl = 'revoked.crl'
        version_min = '1.3'");
    let files = |name: &str| CertificateFiles {
        certificate: format!("{name}.pem").into(),
        key: format!("{name}.key").into(),
    };
    let expected = TlsOptions {
        certificates: vec![files("one"), files("two")],
        client_certificates: ClientCertificates::Optional,
        client_ca: vec!["a.pem".into(), "b.pem".into()],
        client_crl: vec!["revoked.crl".into()],
        version_min: TlsVersion::Tls13,
    };
    assert_eq!(options, expected);
}

#[test]
fn clients_show_certificates_only_if_there_is_an_authority() {
    let files = "tls.certificate = 'a'\ntls.key = 'b'\n";
    let mode = |text: &str| tls(&format!("{files}{text}")).client_certificates;
    assert_eq!(mode(""), ClientCertificates::Off);
    assert_eq!(mode("tls.client_ca = 'ca.pem'"), ClientCertificates::Required);
    assert_eq!(mode("tls.client_certificates = 'off'"), ClientCertificates::Off);
    let optional = "tls.client_ca = 'ca.pem'\ntls.client_certificates = 'optional'";
    assert_eq!(mode(optional), ClientCertificates::Optional);
}

#[test]
fn websocket_has_a_path_and_origins() {
    let text = "[[listener]]\nbind = '0.0.0.0:8083'\nprotocol = 'websocket'\n";
    assert_eq!(listen(text).protocol, Protocol::WebSocket(WebSocketOptions::default()));
    let more = "websocket = { path = '/', origins = ['https://Example.org', 'http://a:8080'] }";
    let expected = WebSocketOptions {
        path: "/".into(),
        origins: vec!["https://example.org".into(), "http://a:8080".into()],
    };
    assert_eq!(listen(&format!("{text}{more}")).protocol, Protocol::WebSocket(expected));
}

#[test]
fn quic_has_its_options() {
    let text = "[[listener]]\nbind = '0.0.0.0:14567'\nprotocol = 'quic'\n\
                tls = { certificate = 'a', key = 'b' }\n";
    assert_eq!(listen(text).protocol, Protocol::Quic(QuicOptions::default()));
    let more = "[listener.quic]\nidle_timeout_seconds = 0\nkeep_alive_seconds = 7\n\
                early_data = true\ndata_streams_max = 0\n";
    let expected = QuicOptions {
        idle_timeout: Duration::ZERO,
        keep_alive: Duration::from_secs(7),
        early_data: true,
        data_streams_max: 0,
    };
    assert_eq!(listen(&format!("{text}{more}")).protocol, Protocol::Quic(expected));
}

#[test]
fn a_unix_socket_has_an_owner_and_a_mode() {
    let text = "[[listener]]\nbind = 'unix:run/midge.sock'\n";
    let plain = listen(text);
    assert_eq!(plain.address, ListenAddress::Unix("run/midge.sock".into()));
    assert_eq!(plain.unix.mode, Some(0o660));
    let unix = listen(&format!("{text}unix = {{ owner = 'midge', group = '20', mode = '600' }}"));
    let expected =
        UnixOptions { owner: Some("midge".into()), group: Some("20".into()), mode: Some(0o600) };
    assert_eq!(unix.unix, expected);
    // TLS and WebSocket are possible there.
    let both = "protocol = 'websocket'\ntls = { certificate = 'a', key = 'b' }";
    assert!(listen(&format!("{text}{both}")).tls.is_some());
}

#[test]
fn proxies_are_believed_from_their_networks() {
    let text = "[[listener]]\nbind = '0.0.0.0:1883'\nproxy_protocol = 'required'\n";
    let any = listen(text).proxy;
    assert!(any.mode == ProxyMode::Required && any.trusts("192.0.2.1".parse().unwrap()));
    let some = "proxy_protocol_from = ['10.0.0.0/8', '192.0.2.7', 'fd00::/8']";
    let proxy = listen(&format!("{text}{some}")).proxy;
    for (address, is_trusted) in
        [("10.1.2.3", true), ("192.0.2.7", true), ("192.0.2.8", false), ("fd12::1", true)]
    {
        assert_eq!(proxy.trusts(address.parse().unwrap()), is_trusted, "{address}");
    }
}

#[test]
fn a_listener_has_limits_of_its_own() {
    let listen = listen(
        "[[listener]]
        bind = '0.0.0.0:1883'
        protocol = 'websocket'
        durability = 'memory'
        connections_max = 4
        connection_rate_max = 3
        connection_rate_per_address_max = 2
        handshakes_max = 1
        connect_deadline_ms = 5_000
        packet_before_connect_bytes_max = 600
        tcp = { no_delay = false, keep_alive_seconds = 0, backlog = 8 }",
    );
    let limits = ListenerLimits {
        connections_max: 4,
        connection_rate_max: 3,
        connection_rate_per_address_max: 2,
        handshakes_max: 1,
        connect_deadline: Some(Duration::from_secs(5)),
        packet_before_connect_bytes_max: Some(600),
    };
    assert_eq!(listen.limits, limits);
    let tcp = TcpOptions { no_delay: false, keep_alive: Duration::ZERO, backlog: 8 };
    assert_eq!(listen.tcp, tcp);
}

#[test]
fn what_the_newcomer_sees_is_right() {
    let text = r#"
        [[listener]]
        bind = "0.0.0.0:1883"
        durability = "interval"
        [[listener]]
        bind = "0.0.0.0:8883"
        tls = { certificate = "server.pem", key = "server.key", client_ca = "devices-ca.pem" }
        [[listener]]
        bind = "0.0.0.0:8083"
        protocol = "websocket"
        [[listener]]
        bind = "0.0.0.0:8883"
        protocol = "quic"
        tls = { certificate = "server.pem", key = "server.key" }
        "#;
    let listeners = load_text(text).unwrap().configuration.listeners;
    let durabilities: Vec<_> = listeners.iter().map(|listener| listener.durability).collect();
    assert_eq!(durabilities, [Some(Durability::Interval), None, None, None]);
    let have_tls: Vec<_> = listeners.iter().map(|listener| listener.listen.tls.is_some()).collect();
    assert_eq!(have_tls, [false, true, false, true]);
}

#[test]
fn variables_reach_into_tables_and_have_lists() {
    let text = "[[listener]]\nbind = '0.0.0.0:8883'\ntls = { certificate = 'a', key = 'b' }\n";
    let pairs = [
        ("MIDGE_LISTENER_0_TLS_CERTIFICATE", "one.pem, two.pem"),
        ("MIDGE_LISTENER_0_TLS_KEY", "one.key,two.key"),
        ("MIDGE_LISTENER_0_TLS_CLIENT_CA", "ca.pem"),
        ("MIDGE_LISTENER_0_PROXY_PROTOCOL", "optional"),
        ("MIDGE_LISTENER_0_PROXY_PROTOCOL_FROM", "10.0.0.0/8,127.0.0.1"),
        ("MIDGE_LISTENER_0_TCP_NO_DELAY", "false"),
    ];
    let listen = only(&load(file(text), &variables(&pairs), &Flags::default()).unwrap());
    let tls = listen.tls.unwrap();
    let certificates: Vec<&Path> =
        tls.certificates.iter().map(|files| files.certificate.as_path()).collect();
    assert_eq!(certificates, [Path::new("one.pem"), Path::new("two.pem")]);
    assert_eq!(tls.client_ca, [PathBuf::from("ca.pem")]);
    assert_eq!(listen.proxy.mode, ProxyMode::Optional);
    assert_eq!(listen.proxy.from.len(), 2);
    assert!(!listen.tcp.no_delay);
}

#[test]
fn listen_takes_a_unix_socket() {
    let listen = vec!["unix:midge.sock".to_string()];
    let flags = Flags { listen, ..Flags::default() };
    let loaded = load(None, &Variables::new(), &flags).unwrap();
    assert_eq!(only(&loaded).address, ListenAddress::Unix("midge.sock".into()));
}

#[test]
fn only_what_means_something_is_in_effect() {
    let names = |text: &str| -> Vec<String> {
        let loaded = load_text(text).unwrap();
        let lines = loaded.effective.iter().filter(|line| line.section == "listener");
        lines.map(|line| line.key.to_string()).collect()
    };
    let has = |names: &[String], group: &str| names.iter().any(|name| name.starts_with(group));
    let tcp = names("[[listener]]\nbind = '0.0.0.0:1883'\n");
    assert!(has(&tcp, "tcp.") && has(&tcp, "tls.certificate"));
    for group in ["websocket.", "quic.", "unix.", "tls.client", "proxy_protocol_from"] {
        assert!(!has(&tcp, group), "{group}");
    }
    let unix = names("[[listener]]\nbind = 'unix:a'\nprotocol = 'websocket'\n");
    assert!(has(&unix, "unix.") && has(&unix, "websocket.") && !has(&unix, "tcp."));
}

#[test]
fn capabilities_of_a_listener_are_above_those_of_the_broker() {
    let text = "
        [capabilities]
        versions = ['3.1.1', '5.0']
        qos_max = 1
        retain = false
        [[listener]]
        bind = '127.0.0.1:1'
        [[listener]]
        bind = '127.0.0.1:2'
        packet_bytes_max = 100
        capabilities = { versions = '5.0', retain = true, wildcard_subscriptions = false }
        ";
    let configuration = load_text(text).unwrap().configuration;
    let broker = Capabilities {
        mqtt_3_1: false,
        qos_max: midge_codec::QoS::AtLeastOnce,
        retain: false,
        ..Capabilities::default()
    };
    assert_eq!(configuration.capabilities, broker);
    assert_eq!(configuration.listeners[0].capabilities, broker);
    let own = Capabilities {
        mqtt_3_1_1: false,
        retain: true,
        wildcard_subscriptions: false,
        packet_bytes_max: Some(100),
        ..broker
    };
    assert_eq!(configuration.listeners[1].capabilities, own);
    let said = error(load_text("[capabilities]\nversions = ['4']"));
    assert!(said.contains("must be a list with some of \"3.1\""), "{said}");
    assert!(load_text("[capabilities]\nversions = []").is_err());
}
