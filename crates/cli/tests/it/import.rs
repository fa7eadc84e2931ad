//! `midge import`: a midge.toml from a mosquitto.conf that a real broker starts with.

use std::fs;
use std::path::Path;

use crate::broker::free_port;
use crate::command::{Ended, midge, midge_in};
use crate::directory::Directory;

/// A configuration with a value for all that Midge has a key for.
const WHOLE: &str = "\
per_listener_settings false
allow_anonymous true
persistence true
persistence_location data
autosave_interval 60
max_packet_size 100000
max_inflight_messages 20
max_inflight_bytes 0
max_queued_messages 500
max_queued_bytes 1000000
max_keepalive 3600
max_topic_alias 10
max_topic_alias_broker 10
memory_limit 1000000000
global_max_connections 5000
global_max_clients 5000
persistent_client_expiration 1m
retain_available true
allow_zero_length_clientid true
set_tcp_nodelay true
sys_interval 20
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
accept_protocol_versions 4,5
";

fn write(directory: &Path, text: &str) {
    fs::write(directory.join("mosquitto.conf"), text).unwrap();
}

fn import(directory: &Path, arguments: &str) -> Ended {
    midge_in(directory, &[], &format!("import mosquitto.conf {arguments}")).end()
}

#[test]
fn a_broker_starts_with_what_was_made_and_carries_a_message() {
    let directory = Directory::empty();
    let (port, web_port) = (free_port(), free_port());
    let listeners = format!(
        "listener {port} 127.0.0.1\nmax_connections 100\nmax_qos 1\n\
         accept_protocol_versions 3,4,5\nlistener {web_port} 127.0.0.1\nprotocol websockets\n\
         listener 0 {}/m.sock\n",
        directory.path().display()
    );
    write(directory.path(), &format!("{WHOLE}{listeners}"));
    let text = import(directory.path(), "").text();
    directory.write(&text);
    let check = midge_in(directory.path(), &[], "config check midge.toml").end();
    assert_eq!(check.text(), "midge.toml: no errors\n");
    let variables = [("MIDGE_STORAGE_IN_MEMORY", "false")];
    let broker = midge_in(directory.path(), &variables, "serve").wait_for("documentation");
    let url = format!("ws://127.0.0.1:{web_port}/mqtt");
    let subscriber = format!("sub --url {url} -t t/# -C 1 -W 15 -d");
    let subscriber = midge(&subscriber).wait_for("SUBACK");
    midge(&format!("pub -p {port} -t t/a -q 1 -m carried")).end().text();
    assert_eq!(subscriber.end().text(), "carried\n");
    assert!(directory.path().join("data/midge").is_dir());
    let ended = broker.signal("TERM").end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_file_is_written_once_and_tells_what_was_left() {
    let directory = Directory::empty();
    write(directory.path(), "listener 1883\nallow_anonymous true\npid_file /run/m.pid\n");
    let told = import(directory.path(), "--output made.toml");
    let summary = "2 lines carried over, 0 not needed, 1 without an equivalent";
    assert_eq!((told.code, told.stderr.trim()), (Some(0), summary), "{told:?}");
    let made = fs::read_to_string(directory.path().join("made.toml")).unwrap();
    assert!(made.contains("# mosquitto.conf:3: pid_file /run/m.pid\n"), "{made}");
    let again = import(directory.path(), "--output made.toml").failure(1);
    assert!(again.contains("add --force to replace it"), "{again}");
    write(directory.path(), "listener 1884\n");
    assert_eq!(import(directory.path(), "--output made.toml --force").code, Some(0));
    let made = fs::read_to_string(directory.path().join("made.toml")).unwrap();
    assert!(made.contains("[::]:1884") && !made.contains("pid_file"), "{made}");
}

#[test]
fn programs_get_a_summary() {
    let directory = Directory::empty();
    write(directory.path(), "listener 1883\nmount_point a/\nciphers HIGH\nlistener 1884\n");
    let text = import(directory.path(), "--json").text();
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, expected) in
        [("carried", 2), ("unneeded", 1), ("left", 1), ("listeners", 1), ("closed_listeners", 1)]
    {
        assert_eq!(answer[key], expected, "{key} in {text}");
    }
    let note = &answer["notes"][0];
    assert_eq!((&note["line"], &note["kind"]), (&2.into(), &"left".into()));
    assert!(answer["toml"].as_str().unwrap().contains("[[listener]]"));
    let text = import(directory.path(), "--json --output made.toml").text();
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&answer["output"], &answer["toml"]), (&"made.toml".into(), &().into()));
}

#[test]
fn exit_codes_say_whether_all_is_there() {
    let directory = Directory::empty();
    let missing = import(directory.path(), "").failure(1);
    assert!(missing.contains("mosquitto.conf: "), "{missing}");
    write(directory.path(), "listener 1883\nciphers HIGH\n");
    assert_eq!(import(directory.path(), "--strict").code, Some(0));
    write(directory.path(), "listener 1883\npid_file /run/m.pid\n");
    let strict = import(directory.path(), "--strict");
    assert_eq!(strict.code, Some(1), "{strict:?}");
    assert!(!strict.stdout.is_empty());
    assert_eq!(midge("import").end().code, Some(2));
}
