//! `midge serve` as a process: how it starts, refuses to start, reloads and ends.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{free_port, start_broker};
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;
use crate::raw::Client;

/// A word in the last line of the start message.
const STARTED: &str = "documentation";

fn start(port: u16) -> Running {
    midge(&format!("--listen 127.0.0.1:{port}")).wait_for(STARTED)
}

#[test]
fn it_says_where_it_is_and_ends_when_asked() {
    for signal in ["TERM", "INT"] {
        let port = free_port();
        let broker = start(port);
        let said = broker.stderr().to_string();
        assert!(said.starts_with("Midge "), "{said}");
        assert!(said.contains(&format!("listens on     mqtt://127.0.0.1:{port}\n")), "{said}");
        assert!(said.contains("only this machine can connect"), "{said}");
        assert!(said.contains("without a file"), "{said}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        let ended = broker.signal(signal).end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("ended"), "{ended:?}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

#[test]
fn the_documentation_that_it_names_is_there() {
    let broker = start(free_port());
    let line = broker.stderr().lines().find(|line| line.contains(STARTED)).unwrap().to_string();
    broker.signal("TERM").end().text();
    for command in line.trim_start().trim_start_matches(STARTED).split(',') {
        let arguments = command.trim().strip_prefix("midge ").unwrap_or_else(|| panic!("{line}"));
        assert!(!midge(arguments).end().text().is_empty(), "{command}");
    }
}

#[test]
fn serve_is_what_plain_midge_does() {
    let port = free_port();
    let broker = midge(&format!("serve --listen 127.0.0.1:{port} --workers 1")).wait_for(STARTED);
    assert!(broker.stderr().contains("workers        1\n"), "{}", broker.stderr());
    let url = format!("mqtt://127.0.0.1:{port}/t");
    midge(&format!("pub -L {url} -m hello -q 1")).end().text();
    broker.signal("TERM").end().text();
}

#[test]
fn a_port_in_use_is_named() {
    let other = start_broker();
    let stderr = midge(&format!("--listen 127.0.0.1:{}", other.port())).end().failure(1);
    let expected = format!("cannot listen on 127.0.0.1:{}: the port is in use", other.port());
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let port = free_port();
    let text = format!("[[listener]]\nbind = '127.0.0.1:{port}'\n[limits]\nreceive_maximum = 0\n");
    let directory = Directory::with_configuration(&text);
    let stderr = midge_in(directory.path(), &[], "").end().failure(2);
    assert!(stderr.contains("midge.toml:4:19"), "{stderr}");
    assert!(stderr.contains("must be an integer from 1 to 65535, but is 0"), "{stderr}");
    assert!(stderr.contains("nothing was started"), "{stderr}");
    let stderr = midge("--listen 1883").end().failure(2);
    assert!(stderr.contains("--listen is only a port"), "{stderr}");
}

#[test]
fn a_file_that_nobody_named_is_mentioned() {
    let port = free_port();
    let directory =
        Directory::with_configuration(&format!("[[listener]]\nbind = '127.0.0.1:{port}'\n"));
    let broker = midge_in(directory.path(), &[], "").wait_for(STARTED);
    assert!(broker.stderr().contains(&format!("127.0.0.1:{port}\n")), "{}", broker.stderr());
    assert!(
        broker.stderr().contains("midge.toml (in the current directory)"),
        "{}",
        broker.stderr()
    );
    let broker = broker.signal("TERM").end();
    assert_eq!(broker.code, Some(0), "{broker:?}");
}

#[test]
fn a_reload_tells_what_it_changes() {
    let bind = format!("[[listener]]\nbind = '127.0.0.1:{}'\n", free_port());
    let directory = Directory::with_configuration(&bind);
    let broker = midge_in(directory.path(), &[], "").wait_for(STARTED);

    let broker = broker.signal("HUP").wait_for("nothing in it has changed");

    directory.write(&format!("{bind}[limits]\nreceive_maximum = 7\n"));
    let broker = broker.signal("HUP").wait_for("limits.receive_maximum is 7 now, no longer 64");

    directory.write(&format!("{bind}[limits]\nmemory_bytes_max = 1000000000\n"));
    let broker = broker
        .signal("HUP")
        .wait_for("limits.memory_bytes_max is 0 until the next start; then it is 1000000000");

    let rules = "[limits]\npacket_bytes_max = 1048576\nqueue_messages_max = 5\n\
                 [[rewrite]]\nfrom = 'old/+'\nto = 'new/$1'\n";
    directory.write(&format!("{bind}{rules}"));
    let broker = broker
        .signal("HUP")
        .wait_for("limits.queue_messages_max is 5 now, no longer 1000")
        .wait_for("rewrite.0 is new, and in effect: { from = \"old/+\", to = \"new/$1\" }");
    let port = bind.rsplit(':').next().unwrap().trim_end_matches("'\n").to_string();
    midge(&format!("pub -p {port} -t old/t -m kept -r -q 1")).end().text();
    let kept = midge(&format!("sub -p {port} -t new/t -C 1 -W 10")).end().text();
    assert_eq!(kept, "kept\n");

    directory.write(&format!("{bind}[[listener]]\nbind = 'unix:midge.sock'\n"));
    let broker = broker.signal("HUP").wait_for(
        "listener[unix:midge.sock] is new, and in effect: { bind = \"unix:midge.sock\" }",
    );

    directory.write("[limits]\nreceive_maximm = 7\n");
    let broker = broker
        .signal("HUP")
        .wait_for("midge.toml:2:1: there is no key `receive_maximm`")
        .wait_for("the one in effect stays");

    directory.write(&format!("{bind}[log]\nlevel = 'warn'\n"));
    // Messages of the level that no longer applies are not logged.
    let broker = broker.signal("HUP");
    thread::sleep(Duration::from_millis(200));
    directory.write(&format!("{bind}[log]\nlevel = 'debug'\n"));
    let broker = broker.signal("HUP").wait_for("log.level is \"debug\" now, no longer \"warn\"");
    broker.signal("TERM").end().text();
}

#[test]
fn logs_are_json_if_asked_for() {
    let arguments = format!("--listen 127.0.0.1:{}", free_port());
    let variables = [("MIDGE_LOG_FORMAT", "json")];
    let directory = Directory::empty();
    let broker = midge_in(directory.path(), &variables, &arguments).wait_for(STARTED);
    let ended = broker.signal("TERM").end();
    assert_eq!(ended.code, Some(0));
    for line in ended.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "info", "{line}");
    }
}

#[test]
fn nothing_is_said_at_level_off() {
    let port = free_port();
    let broker = midge(&format!("--listen 127.0.0.1:{port} --log-level off"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the broker does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    let ended = broker.signal("TERM").end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn an_echo_of_a_signal_is_no_second_one() {
    // Two in a row, as `timeout` and some supervisors send them.
    let ended = start(free_port()).signal("TERM").signal("TERM").end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The broker has begun to end and waits for a Client that does not read what it is sent.
#[test]
fn a_second_signal_ends_a_broker_that_is_stuck() {
    let port = free_port();
    let broker = start(port);
    let mut client = Client::connect(port, "c");
    client.subscribe("t", 0);
    client.stop_reading();
    let broker = broker.signal("TERM").wait_for("SIGTERM");
    thread::sleep(Duration::from_millis(1_000));
    let broker = broker.assert_runs();
    let ended = broker.signal("TERM").end();
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");
}
