//! What `midge serve` writes into its log, and what it does when nobody reads it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::free_port;
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;
use crate::raw::{Client, Connect};

/// A word in the last line of the start message.
const STARTED: &str = "documentation";

fn start(directory: &Directory, port: u16, format: &str, level: &str) -> Running {
    let arguments = format!("--listen 127.0.0.1:{port} --workers 2 --log-level {level}");
    let variables = [("MIDGE_LOG_FORMAT", format), ("MIDGE_LIMITS_QUEUE_MESSAGES_MAX", "2")];
    midge_in(directory.path(), &variables, &arguments).wait_for(STARTED)
}

/// Runs some Clients; the queue of one of them overflows.
fn run_clients(port: u16) {
    let absent = Connect { client_id: "absent", clean: false, user: Some(("ann", "c4n4ry-1")) };
    let mut receiver = Client::connect_with(port, &absent);
    receiver.subscribe("alarms/#", 1);
    receiver.disconnect();
    let mut publisher = Client::connect(port, "publisher");
    for number in 0..5 {
        publisher.publish(&format!("alarms/{number}"), b"c4n4ry-2");
    }
    publisher.disconnect();
}

#[test]
fn a_full_queue_leaves_a_trace() {
    let (directory, port) = (Directory::empty(), free_port());
    let broker = start(&directory, port, "text", "info");
    run_clients(port);
    let broker = broker.wait_for("1 message for \"absent\" dropped, topic \"alarms/2\"");
    assert!(broker.stderr().contains("limits.queue_messages_max"), "{}", broker.stderr());
    let ended = broker.signal("TERM").end();
    let rest = "2 messages for \"absent\" dropped, the last one of topic \"alarms/4\"";
    assert!(ended.stderr.contains(rest), "{ended:?}");
    assert!(
        ended.stderr.contains("messages dropped since the start: 5 (queue_full 3, broker_ended 2)"),
        "{ended:?}"
    );
}

#[test]
fn lines_of_json_have_fields() {
    let (directory, port) = (Directory::empty(), free_port());
    let broker = start(&directory, port, "json", "debug");
    run_clients(port);
    let ended = broker.signal("TERM").end();
    assert_eq!(ended.code, Some(0));
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |part: &str| {
        let is_it = |line: &&Value| line["message"].as_str().is_some_and(|it| it.contains(part));
        lines.iter().find(is_it).unwrap_or_else(|| panic!("no line with {part}: {lines:#?}"))
    };
    let connected = find("\"absent\" connected");
    assert_eq!(connected["client_id"], "absent");
    assert_eq!(connected["user_name"], "ann");
    assert_eq!(connected["listener"], format!("127.0.0.1:{port}"));
    assert!(connected["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(connected["protocol"], "3.1.1");
    assert_eq!(connected["transport"], "tcp");
    assert_eq!(connected["keep_alive_seconds"], 60);
    assert_eq!(
        (&connected["clean_start"], &connected["session_present"]),
        (&false.into(), &false.into())
    );
    let disconnected = find("\"absent\" disconnected");
    assert_eq!(
        (&disconnected["client_id"], &disconnected["reason_code"]),
        (&"absent".into(), &0.into())
    );
    let subscribed = find("subscription of \"absent\"");
    assert_eq!(
        (&subscribed["filter"], &subscribed["reason_code"]),
        (&"alarms/#".into(), &1.into())
    );
    let dropped = find("1 message for \"absent\"");
    assert_eq!((&dropped["topic"], &dropped["reason"]), (&"alarms/2".into(), &"queue_full".into()));
    assert_eq!((&dropped["count"], &dropped["level"]), (&1.into(), &"warn".into()));
}

#[test]
fn each_listener_has_a_line_of_json_at_the_start() {
    let directory = Directory::empty();
    let ports = [free_port(), free_port()];
    let arguments = format!(
        "--listen 127.0.0.1:{} --listen 127.0.0.1:{} --listen unix:{}",
        ports[0],
        ports[1],
        directory.path().join("s").display()
    );
    let broker = midge_in(directory.path(), &[("MIDGE_LOG_FORMAT", "json")], &arguments);
    let ended = broker.wait_for(STARTED).signal("TERM").end();
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().filter(|line| line.get("listener").is_some()).collect();
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    assert_eq!(told.len(), 3, "{lines:#?}");
    for (line, address) in told.iter().zip(&addresses) {
        assert_eq!(line["listener"], **address);
        assert_eq!(line["url"], format!("mqtt://{address}"));
        assert_eq!(line["message"], format!("listens on mqtt://{address}"));
    }
    let path = directory.path().join("s");
    assert_eq!(told[2]["listener"], format!("unix:{}", path.display()));
}

#[test]
fn s19_no_password_and_no_payload_is_written() {
    for format in ["text", "json"] {
        let (directory, port) = (Directory::empty(), free_port());
        let broker = start(&directory, port, format, "trace");
        run_clients(port);
        let ended = broker.signal("TERM").end();
        assert!(ended.stderr.contains("absent"), "{ended:?}");
        assert!(!ended.stderr.contains("c4n4ry"), "{ended:?}");
    }
}

#[test]
fn a_client_forges_no_line_and_commands_no_terminal() {
    for format in ["text", "json"] {
        let (directory, port) = (Directory::empty(), free_port());
        let broker = start(&directory, port, format, "debug");
        let client_id = "x\n2026-01-01 INFO forged\x1b[2J\u{9b}2J\u{202e}";
        let user = Some((client_id, "p"));
        let mut client = Client::connect_with(port, &Connect { client_id, clean: true, user });
        client.subscribe("u/\x1b[2J", 1);
        client.publish("t/\x1b[2J", b"x");
        drop(client);
        let broker = broker.wait_for("disconnected");
        let ended = broker.signal("TERM").end();
        let forged = ended.stderr.lines().find(|line| line.starts_with("2026-01-01"));
        assert_eq!(forged, None, "{format}");
        let commands = ended.stderr.contains(['\x1b', '\u{9b}', '\u{202e}']);
        assert!(!commands, "{format}: {ended:?}");
    }
}

/// Starts a broker whose log nobody reads, and fills the pipe with log lines.
fn unread_broker(port: u16) -> Child {
    let mut broker = Command::new(env!("CARGO_BIN_EXE_midge"))
        .args(["--in-memory", "--listen", &format!("127.0.0.1:{port}"), "--workers", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(broker.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(STARTED) {
        line.clear();
        stderr.read_line(&mut line).unwrap();
    }
    // A pipe holds 64 KB; each connection logs more than 200 bytes.
    for _ in 0..1000 {
        Client::connect(port, "c").disconnect();
    }
    broker.stderr = Some(stderr.into_inner());
    broker
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let port = free_port();
    let mut broker = unread_broker(port);
    let mut client = Client::connect(port, "another");
    client.subscribe("t", 1);
    drop(client);
    let status = Command::new("kill").arg(broker.id().to_string()).status().unwrap();
    assert!(status.success());
    let deadline = Instant::now() + Duration::from_secs(9);
    let status = loop {
        match broker.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                broker.kill().unwrap();
                panic!("the broker does not end");
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn figures_can_be_read_while_it_runs() {
    let (directory, port) = (Directory::empty(), free_port());
    let variables =
        [("MIDGE_SYS_TOPICS_INTERVAL_SECONDS", "1"), ("MIDGE_LIMITS_QUEUE_MESSAGES_MAX", "2")];
    let arguments = format!("--listen 127.0.0.1:{port} --workers 2");
    let broker = midge_in(directory.path(), &variables, &arguments).wait_for(STARTED);
    run_clients(port);
    let deadline = Instant::now() + Duration::from_secs(20);
    let figures: Value = loop {
        let text = midge(&format!("stats --json -p {port}")).end().text();
        let figures: Value = serde_json::from_str(&text).unwrap();
        if figures["publish/messages/dropped"] == 3 {
            break figures;
        }
        assert!(Instant::now() < deadline, "{figures:#}");
    };
    assert_eq!(figures["publish/messages/dropped/queue_full"], 3);
    assert_eq!(figures["publish/messages/received"], 5);
    // It depends on the moment whether the reader itself was counted.
    assert_eq!(figures["clients/disconnected"], 1);
    assert_eq!(figures["retained messages/count"], 0);
    let text = midge(&format!("stats -p {port}")).end().text();
    let line = text.lines().find(|line| line.starts_with("publish/messages/dropped/queue_full "));
    assert!(line.is_some_and(|line| line.ends_with("  3")), "{text}");
    broker.signal("TERM").end().text();
}

#[test]
fn figures_are_those_of_now_whatever_the_interval() {
    let (directory, port) = (Directory::empty(), free_port());
    let variables = [("MIDGE_SYS_TOPICS_INTERVAL_SECONDS", "86400")];
    let arguments = format!("--listen 127.0.0.1:{port} --workers 2");
    let broker = midge_in(directory.path(), &variables, &arguments).wait_for(STARTED);
    midge(&format!("pub -p {port} -q 1 -t t -m m")).end().text();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = midge(&format!("stats --json -p {port}")).end().text();
        let figures: Value = serde_json::from_str(&text).unwrap();
        if figures["publish/messages/received"] == 1 {
            break;
        }
        // On a slow machine a change can become visible after the command has ended.
        assert!(Instant::now() < deadline, "{figures:#}");
    }
    broker.signal("TERM").end().text();
}

#[test]
fn a_broker_that_tells_nothing_is_named() {
    let (directory, port) = (Directory::empty(), free_port());
    let variables = [("MIDGE_SYS_TOPICS_INTERVAL_SECONDS", "0")];
    let arguments = format!("--listen 127.0.0.1:{port} --workers 1");
    let broker = midge_in(directory.path(), &variables, &arguments).wait_for(STARTED);
    let stderr = midge(&format!("stats -p {port}")).end().failure(1);
    assert!(stderr.contains("[sys_topics]"), "{stderr}");
    broker.signal("TERM").end().text();
}

#[test]
fn a_data_directory_that_cannot_be_used_is_explained() {
    let directory = Directory::empty();
    let place = directory.path();
    std::fs::write(place.join("file"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", place.join("link")).unwrap();
    std::fs::create_dir(place.join("foreign")).unwrap();
    std::fs::write(place.join("foreign/other.txt"), "x").unwrap();
    let variables = [("MIDGE_STORAGE_IN_MEMORY", "false")];
    let start = |data: &str| {
        midge_in(place, &variables, &format!("--listen 127.0.0.1:0 --workers 1 --data {data}"))
    };
    let first = start("used").wait_for(STARTED);
    for (data, words) in [
        ("used", "is used by another broker: stop that one"),
        ("file", "it is not a directory: name one"),
        ("link", "it is a file, or a link that leads nowhere: name a directory"),
        ("foreign", "is not a data directory: other.txt is in it"),
        ("/proc/x", "does its parent directory exist?"),
    ] {
        let stderr = start(data).end().failure(1);
        assert!(stderr.contains("ERROR") && stderr.contains(words), "{data}: {stderr}");
    }
    first.signal("TERM").end().text();
}

#[test]
fn the_packets_of_one_client_can_be_followed() {
    let (directory, port) = (Directory::empty(), free_port());
    let arguments = format!("--listen 127.0.0.1:{port} --workers 2 --log-level trace");
    let variables = [("MIDGE_LOG_FORMAT", "json"), ("MIDGE_LOG_TRACE_CLIENT", "publisher")];
    let broker = midge_in(directory.path(), &variables, &arguments).wait_for(STARTED);
    run_clients(port);
    let ended = broker.signal("TERM").end();
    let lines = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let packets: Vec<_> = lines.filter(|line| line.get("packet").is_some()).collect();
    assert!(packets.iter().all(|line| line["client_id"] == "publisher"), "{packets:#?}");
    let summary = packets.iter().map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_string();
        (text("direction"), text("packet"), text("topic"))
    });
    let summary: Vec<_> = summary.take(4).collect();
    let expected = [
        ("received", "CONNECT", ""),
        ("sent", "CONNACK", ""),
        ("received", "PUBLISH", "alarms/0"),
        ("sent", "PUBACK", ""),
    ];
    let expected = expected.map(|(a, b, c)| (a.to_string(), b.to_string(), c.to_string()));
    assert_eq!(summary, expected);
    let publish = packets.iter().find(|line| line["packet"] == "PUBLISH").unwrap();
    assert_eq!((&publish["packet_id"], &publish["qos"]), (&7.into(), &1.into()));
    assert_eq!((&publish["retain"], &publish["bytes"]), (&false.into(), &22.into()));
}
