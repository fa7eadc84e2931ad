//! Whole configurations, line by line.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::draft::{Draft, NoteKind};
use super::meaning::Meaning;
use super::output::Imported;
use super::source;
use crate::config::{File, Flags};

/// A directory that is removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("midge-import-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn import(&self, text: &str) -> Imported {
        let path = self.write("mosquitto.conf", text.as_bytes());
        Imported::of(Draft::of(&source::read(&path).unwrap()), "mosquitto.conf")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the lines of the midge.toml that mean something, without those of access.
fn keys(imported: &Imported) -> Vec<&str> {
    let lines = imported.toml.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_access = |line: &&str| {
        !["[auth", "anonymous", "default", "password_file", "acl_file"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    lines.filter(is_access).collect()
}

/// Returns the lines of access.
fn access(imported: &Imported) -> Vec<&str> {
    let lines = imported.toml.lines().filter(|line| !line.starts_with('#'));
    let others = keys(imported);
    lines.filter(|line| !line.is_empty() && !others.contains(line)).collect()
}

fn notes(imported: &Imported, kind: NoteKind) -> Vec<(usize, &str)> {
    let notes = imported.notes.iter().filter(|note| note.kind == kind);
    notes.map(|note| (note.place.line, note.text.as_str())).collect()
}

#[test]
fn listeners_are_carried_over() {
    let directory = Directory::new("listeners");
    let imported = directory.import(
        "listener 1883\n\
         max_connections 100\n\
         listener 1884 192.168.1.2\n\
         max_connections -1\n\
         max_qos 1\n\
         listener 1885 ::1\n\
         listener 1886\n\
         socket_domain ipv4\n\
         listener 9001 example.org # a comment\n\
         protocol websockets\n\
         websockets_origin https://example.org\n\
         listener 0 /run/mosquitto.sock\n\
         set_tcp_nodelay true\n",
    );
    assert_eq!(
        keys(&imported),
        [
            "[[listener]]",
            "bind = \"[::]:1883\"",
            "connections_max = 100",
            "tcp.no_delay = true",
            "[[listener]]",
            "bind = \"192.168.1.2:1884\"",
            "capabilities.qos_max = 1",
            "tcp.no_delay = true",
            "[[listener]]",
            "bind = \"[::1]:1885\"",
            "tcp.no_delay = true",
            "[[listener]]",
            "bind = \"0.0.0.0:1886\"",
            "tcp.no_delay = true",
            "[[listener]]",
            "bind = \"example.org:9001\"",
            "protocol = \"websocket\"",
            "tcp.no_delay = true",
            "websocket.origins = [\"https://example.org\"]",
            "[[listener]]",
            "bind = \"unix:/run/mosquitto.sock\"",
        ]
    );
    assert_eq!((imported.carried, imported.left()), (13, 0));
}

#[test]
fn tls_is_carried_over() {
    let directory = Directory::new("tls");
    let imported = directory.import(
        "listener 8883\n\
         cafile /etc/ca.crt\n\
         certfile /etc/server.crt\n\
         keyfile /etc/server.key\n\
         require_certificate true\n\
         crlfile /etc/ca.crl\n\
         tls_version tlsv1.3\n\
         ciphers HIGH\n\
         listener 8884\n\
         cafile /etc/ca.crt\n\
         certfile /etc/server.crt\n\
         keyfile /etc/server.key\n\
         require_certificate false\n",
    );
    assert_eq!(
        keys(&imported),
        [
            "[[listener]]",
            "bind = \"[::]:8883\"",
            "tls.certificate = \"/etc/server.crt\"",
            "tls.client_ca = \"/etc/ca.crt\"",
            "tls.client_certificates = \"required\"",
            "tls.client_crl = \"/etc/ca.crl\"",
            "tls.key = \"/etc/server.key\"",
            "tls.version_min = \"1.3\"",
            "[[listener]]",
            "bind = \"[::]:8884\"",
            "tls.certificate = \"/etc/server.crt\"",
            "tls.key = \"/etc/server.key\"",
        ]
    );
    assert_eq!(imported.left(), 0);
    assert_eq!(notes(&imported, NoteKind::Unneeded), [(8, "ciphers HIGH")]);
}

#[test]
fn a_listener_that_would_be_more_open_stays_closed() {
    let directory = Directory::new("closed");
    for line in [
        "mount_point tenants/1/",
        "bind_interface eth0",
        "psk_hint x",
        "require_certificate true",
        "require_certificate maybe",
        "capath /etc/ssl\nrequire_certificate true",
        "socket_domain ipv6",
        "proxy_protocol_v2_require_tls true",
        "use_username_as_clientid true",
        "certfile /etc/server.crt",
        "tls_engine e",
        "protocol mqttsn",
        "accept_protocol_versions 6",
    ] {
        let imported = directory.import(&format!("listener 1884\n{line}\nlistener 1885\n"));
        assert_eq!(keys(&imported), ["[[listener]]", "bind = \"[::]:1885\""], "{line}");
        assert!(imported.toml.contains("\n#[[listener]]\n#bind = \"[::]:1884\"\n"), "{line}");
        let only = directory.import(&format!("listener 1884\n{line}\n"));
        assert!(only.toml.contains("# No listener is left"), "{}", only.toml);
    }
}

#[test]
fn what_restricts_all_clients_closes_all_listeners() {
    let directory = Directory::new("all-closed");
    let imported = directory.import("listener 1884\nclientid_prefixes a\nlistener 1885\n");
    assert!(keys(&imported).is_empty(), "{}", imported.toml);
    let closed =
        ["[authentication]", "anonymous = false", "[authorization]", "default = \"allow\""];
    assert_eq!(access(&imported), closed);
    // The listener that a broker has without any is not as closed as those were.
    let imported = directory.import("listener 1884\nallow_anonymous true\nmount_point t/\n");
    assert!(keys(&imported).is_empty(), "{}", imported.toml);
    assert_eq!(access(&imported), closed);
}

#[test]
fn what_stands_before_the_first_listener_is_about_another_one() {
    let directory = Directory::new("default");
    let imported = directory.import("max_connections 5\nmax_qos x\nlistener 1884\n");
    assert_eq!(keys(&imported), ["[[listener]]", "bind = \"[::]:1884\""]);
    let left = notes(&imported, NoteKind::Left);
    assert_eq!(left, [(2, "max_qos x"), (1, "max_connections 5")]);
    assert_eq!(imported.carried, 1);
    let imported = directory.import("port 1884\nbind_address 127.0.0.1\nmax_connections 5\n");
    let expected = ["[[listener]]", "bind = \"127.0.0.1:1884\"", "connections_max = 5"];
    assert_eq!(keys(&imported), expected);
    let imported = directory.import("max_qos 0\n");
    let binds = ["bind = \"127.0.0.1:1883\"", "bind = \"[::1]:1883\""];
    assert_eq!(keys(&imported)[1], binds[0]);
    assert_eq!(keys(&imported)[4], binds[1]);
    assert!(keys(&directory.import("")).is_empty());
}

#[test]
fn limits_and_files_are_carried_over() {
    let directory = Directory::new("limits");
    let imported = directory.import(
        "persistence true\n\
         persistence_location /data/mosquitto/\n\
         max_packet_size 2000\n\
         max_inflight_messages 0\n\
         max_queued_messages 0\n\
         max_queued_bytes 70000\n\
         max_keepalive 100\n\
         max_topic_alias 5\n\
         memory_limit 0\n\
         persistent_client_expiration 2w\n\
         retain_available false\n\
         allow_zero_length_clientid false\n\
         sys_interval 0\n\
         log_type error\n\
         log_type notice\n\
         log_dest stderr\n\
         queue_qos0_messages false\n",
    );
    assert_eq!(
        keys(&imported),
        [
            "[storage]",
            "path = \"/data/mosquitto/midge\"",
            "[capabilities]",
            "assigned_client_identifiers = false",
            "retain = false",
            "[limits]",
            "inflight_messages_max = 65535",
            "inflight_messages_mqtt3_max = 65535",
            "keep_alive_seconds_max = 100",
            "packet_bytes_max = 2000",
            "queue_bytes_max = 70000",
            "queue_messages_max = 4294967295",
            "receive_maximum = 65535",
            "session_expiry_seconds_max = 1209600",
            "topic_alias_maximum = 5",
            "[sys_topics]",
            "interval_seconds = 0",
            "[log]",
            "level = \"info\"",
        ]
    );
    assert_eq!((imported.carried, imported.left()), (17, 0));
    let imported = directory.import("persistence false\nlog_type all\nlog_dest none\n");
    assert_eq!(keys(&imported), ["[storage]", "in_memory = true", "[log]", "level = \"off\""]);
    let imported = directory.import("persistence_location /var/lib/mosquitto/\n");
    assert!(keys(&imported).is_empty());
    let lines = "allow_zero_length_clientid false\nallow_zero_length_clientid true\n";
    let expected = ["[capabilities]", "assigned_client_identifiers = false"];
    assert_eq!(keys(&directory.import(lines)), expected);
}

#[test]
fn access_is_never_wider_than_it_was() {
    let directory = Directory::new("access");
    let open = ["[authentication]", "anonymous = true", "[authorization]", "default = \"allow\""];
    let shut = ["[authentication]", "anonymous = false", "[authorization]", "default = \"allow\""];
    let deny = ["[authentication]", "anonymous = false", "[authorization]", "default = \"deny\""];
    let passwords = "password_file = \"/p\"";
    let rules = "acl_file = \"/a\"";
    let both = [shut[0], shut[1], passwords, shut[2], rules, deny[3]];
    for (text, expected) in [
        ("", &open[..]),
        ("allow_anonymous false\n", &open),
        ("listener 1883\n", &shut),
        ("listener 1883\nallow_anonymous true\n", &open),
        ("allow_anonymous true\nlistener 1883\n", &open),
        ("listener 1883\nallow_anonymous yes\n", &shut),
        ("listener 1883\npassword_file /p\nacl_file /a\n", &both),
        ("listener 1883\nplugin /lib/mosquitto_dynamic_security.so\n", &deny),
        (
            "listener 1883\nplugin /lib/mosquitto_password_file.so\nplugin_opt_password_file /p\n\
             global_plugin /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /a\n",
            &both,
        ),
        (
            "per_listener_settings true\nlistener 1\nallow_anonymous true\nlistener 2\n\
             allow_anonymous true\n",
            &open,
        ),
        (
            "per_listener_settings true\nlistener 1\nallow_anonymous true\nlistener 2\n\
             password_file /p\n",
            &shut,
        ),
        (
            "per_listener_settings true\nlistener 1\npassword_file /p\nacl_file /a\nlistener 2\n\
             password_file /p\nacl_file /a\n",
            &both,
        ),
        ("per_listener_settings true\nlistener 1\nacl_file /a\nlistener 2\nacl_file /b\n", &deny),
        ("per_listener_settings true\nlistener 1\nacl_file /a\nlistener 2\n", &deny),
        ("listener 1\nacl_file /a\nauth_plugin /lib/other.so\n", &deny),
        (
            "per_listener_settings true\nglobal_plugin /lib/mosquitto_password_file.so\n\
             plugin_opt_password_file /p\nglobal_plugin /lib/mosquitto_acl_file.so\n\
             plugin_opt_acl_file /a\nlistener 1\nlistener 2\n",
            &both,
        ),
        (
            "per_listener_settings true\nglobal_plugin /lib/mosquitto_acl_file.so\n\
             plugin_opt_acl_file /a\nlistener 1\nacl_file /b\nlistener 2\n",
            &deny,
        ),
    ] {
        assert_eq!(access(&directory.import(text)), expected, "{text}");
    }
}

#[test]
fn what_is_left_is_told_with_its_line() {
    let directory = Directory::new("left");
    let imported = directory.import(
        "# a comment\n\
         pid_file /run/mosquitto.pid\n\
         log_dest file /var/log/mosquitto.log\n\
         max_conections 5\n\
         max_keepalive soon\n\
         connection home\n\
         address example.org\n\
         remote_password secret\n\
         auth_opt_pg_pass secret\n\
         topic # both\n",
    );
    let lines = |kind| notes(&imported, kind).iter().map(|(line, _)| *line).collect::<Vec<_>>();
    assert_eq!(lines(NoteKind::Left), [2, 3, 4, 5, 9]);
    assert_eq!(lines(NoteKind::Bridge), [6, 7, 8, 10]);
    for part in [
        "# 9 lines without an equivalent: see the end.\n",
        "mosquitto.conf:2: pid_file /run/mosquitto.pid\n#   the service manager",
        "mosquitto.conf:4: max_conections 5\n#   mosquitto 2.0 and 2.1 have no such key",
        "mosquitto.conf:5: max_keepalive soon\n#   it is no number",
        "mosquitto.conf:6: connection home\n# ",
        "mosquitto.conf:8: remote_password (not shown)\n",
    ] {
        assert!(imported.toml.contains(part), "{part} is not in {}", imported.toml);
    }
    assert!(!imported.toml.contains("secret"));
    assert_eq!(imported.summary(), "0 lines carried over, 0 not needed, 9 without an equivalent");
}

#[test]
fn files_are_included_where_they_are_named() {
    let directory = Directory::new("include");
    directory.write("conf.d/b.conf", b"max_connections 7\n");
    directory.write("conf.d/A.conf", b"listener 1884\n# caf\xe9\nmax_connections 6\n");
    directory.write("conf.d/note.txt", b"nonsense\n");
    let include = format!("include_dir {}/conf.d\n", directory.0.display());
    let imported = directory.import(&format!("listener 1883\n{include}max_connections 5\n"));
    assert_eq!(
        keys(&imported),
        [
            "[[listener]]",
            "bind = \"[::]:1883\"",
            "connections_max = 5",
            "[[listener]]",
            "bind = \"[::]:1884\"",
            "connections_max = 6",
        ]
    );
    assert!(imported.toml.contains("conf.d/b.conf:1: max_connections 7\n"), "{}", imported.toml);
    let path = directory.write("conf.d/c.conf", include.as_bytes());
    let error = source::read(&path).unwrap_err();
    assert!(error.contains("without end"), "{error}");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let directory = Directory::new("unreadable");
    let error = source::read(&directory.0.join("none")).unwrap_err();
    assert!(error.contains("none: "), "{error}");
    let path = directory.write("m.conf", b"pid_file \xff\n");
    assert!(source::read(&path).unwrap_err().contains("m.conf:1: it is not UTF-8"));
}

#[test]
fn all_keys_of_mosquitto_are_known() {
    let unknown: Vec<_> =
        MOSQUITTO.split_whitespace().filter(|key| Meaning::of(key).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The keys of mosquitto 2.0 and 2.1, by its manual.
const MOSQUITTO: &str = "
    accept_protocol_versions acl_file address addresses allow_anonymous allow_duplicate_messages
    allow_zero_length_clientid auth_opt_x auth_plugin auth_plugin_deny_special_chars auto_id_prefix
    autosave_interval autosave_on_changes bind_address bind_interface bridge_alpn
    bridge_attempt_unsubscribe bridge_bind_address bridge_cafile bridge_capath bridge_certfile
    bridge_ciphers bridge_identity bridge_insecure bridge_keyfile bridge_max_packet_size
    bridge_max_topic_alias bridge_outgoing_retain bridge_protocol_version bridge_psk
    bridge_receive_maximum bridge_reload_type bridge_require_ocsp bridge_session_expiry_interval
    bridge_tcp_keepalive bridge_tcp_user_timeout bridge_tls_use_os_certs bridge_tls_version cafile
    capath certfile check_retain_source ciphers ciphers_tls1.3 cleansession clientid
    clientid_prefixes connection connection_messages crlfile dhparamfile
    disable_client_cert_date_checks enable_control_api enable_proxy_protocol global_max_clients
    global_max_connections global_plugin http_dir idle_timeout include_dir keepalive_interval
    keyfile listener local_cleansession local_clientid local_password local_username log_dest
    log_facility log_timestamp log_timestamp_format log_type max_connections max_inflight_bytes
    max_inflight_messages max_keepalive max_packet_size max_qos max_queued_bytes max_queued_messages
    max_topic_alias max_topic_alias_broker maximum_qos memory_limit message_size_limit mount_point
    notification_topic notifications notifications_local_only password password_file
    per_listener_settings persistence persistence_file persistence_location
    persistent_client_expiration pid_file plugin plugin_load plugin_opt_x plugin_use port protocol
    proxy_protocol_v2_require_tls psk_file psk_hint queue_qos0_messages remote_clientid
    remote_password remote_username require_certificate restart_timeout retain_available
    retained_persistence retry_interval round_robin set_tcp_nodelay socket_domain start_type
    sys_interval threshold tls_engine tls_engine_kpass_sha1 tls_keyform tls_version topic
    try_private upgrade_outgoing_qos use_identity_as_username use_subject_as_username
    use_username_as_clientid user username websockets_headers_size websockets_log_level
    websockets_origin";

/// A key of mosquitto, and a value that it may or may not have.
fn line() -> impl Strategy<Value = String> {
    let keys: Vec<_> = MOSQUITTO.split_whitespace().filter(|key| *key != "include_dir").collect();
    let values = ["true", "false", "0", "-1", "7", "1883", "1884 ::1", "0 /s", "a b", "tlsv1.3"];
    let value = prop_oneof![
        4 => prop::sample::select(values.to_vec()).prop_map(String::from),
        1 => "\\PC{0,12}",
    ];
    (prop::sample::select(keys), value).prop_map(|(key, value)| format!("{key} {value}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever lines there are, a TOML file comes out in which each of them is accounted for.
    #[test]
    fn all_lines_are_accounted_for(lines in prop::collection::vec(line(), 0..12)) {
        let directory = Directory::new("any");
        let text = lines.concat();
        let count = text.lines().count();
        let imported = directory.import(&text);
        prop_assert_eq!(imported.carried + imported.notes.len(), count);
        let table: Result<toml::Table, _> = toml::from_str(&imported.toml);
        prop_assert!(table.is_ok(), "{:?}\n{}", table, imported.toml);
    }
}

/// Lines that mosquitto takes, at the ends of what it takes.
const BROKER_LINES: [&str; 27] = [
    "max_packet_size 20",
    "max_packet_size 268435455",
    "message_size_limit 1",
    "message_size_limit 268435455",
    "max_inflight_messages 0",
    "max_inflight_messages 65535",
    "max_inflight_bytes 0",
    "max_inflight_bytes 9999999999",
    "max_queued_bytes 1",
    "max_queued_bytes 99999999999",
    "max_queued_messages 1",
    "max_queued_messages 0",
    "max_keepalive 0",
    "max_keepalive 65535",
    "max_topic_alias_broker 0",
    "memory_limit 1",
    "memory_limit 9999999999",
    "global_max_clients 1",
    "global_max_connections -1",
    "persistent_client_expiration 1h",
    "persistent_client_expiration 9999y",
    "sys_interval 0",
    "sys_interval 99999999",
    "persistence false",
    "persistence_location /data",
    "retain_available false",
    "set_tcp_nodelay false",
];

/// The same for a listener.
const LISTENER_LINES: [&str; 18] = [
    "max_qos 0",
    "accept_protocol_versions 5",
    "maximum_qos 1",
    "max_connections 0",
    "max_connections 99999999999",
    "max_topic_alias 0",
    "max_topic_alias 65535",
    "socket_domain ipv4",
    "accept_protocol_versions 3, 5",
    "enable_proxy_protocol 2",
    "protocol websockets",
    "certfile server.pem\nkeyfile server.key",
    "cafile ca.pem",
    "require_certificate true",
    "crlfile devices.crl",
    "tls_version tlsv1.3",
    "websockets_origin https://example.org",
    "allow_zero_length_clientid false",
];

/// Some of these lines.
fn some_of(lines: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::subsequence(lines, 0..lines.len())
        .prop_map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
}

proptest! {
    /// What mosquitto takes becomes something that a broker starts with.
    #[test]
    fn the_result_is_a_right_configuration(
        broker in some_of(&BROKER_LINES),
        listeners in prop::array::uniform3(some_of(&LISTENER_LINES)),
    ) {
        let directory = Directory::new("right");
        let starts = ["listener 1884", "listener 1885 127.0.0.1", "listener 0 /run/m.sock"];
        let listeners = starts.into_iter().zip(listeners);
        let listeners = listeners.map(|(start, rest)| format!("{start}\n{rest}"));
        let imported = directory.import(&format!("{broker}{}", listeners.collect::<String>()));
        let text = imported.toml;
        let file = File { path: "midge.toml".into(), text: text.clone() };
        let loaded = crate::config::load(Some(file), &Vec::new(), &Flags::default());
        prop_assert!(loaded.is_ok(), "{}\n{}", loaded.unwrap_err(), text);
    }
}
