//! Brokers that go away and come back, in an orderly way or not, and how the client commands react.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::broker::{free_port, start_broker_on, start_durable_broker_on};
use crate::command::midge;
use crate::directory::Directory;

#[test]
fn a_subscriber_outlives_every_restart() {
    for version in ["5", "311"] {
        let port = free_port();
        let mut broker = start_broker_on(port);
        let mut receiver = midge(&format!("sub -p {port} -V {version} -d -t t -C 2 -W 60"))
            .wait_for("received SUBACK");
        // In an orderly shutdown a 5.0 client is sent DISCONNECT 0x8B, and the connection ends
        // right after that.
        for signal in ["TERM", "KILL"] {
            broker.signal(signal);
            receiver = receiver.wait_for("Connecting again in");
            broker = start_broker_on(port);
            receiver = receiver.wait_for("received SUBACK");
            midge(&format!("pub -p {port} -t t -m {signal}")).end().text();
        }
        assert_eq!(receiver.end().text(), "TERM\nKILL\n", "version {version}");
    }
}

/// Publishes lines that are written before, during and after a broker's absence.
fn publish_lines_over_restarts(version: &str, qos: u8) {
    let what = format!("version {version}, QoS {qos}");
    let (port, directory) = (free_port(), Directory::empty());
    let data = directory.path().join("data");
    let mut broker = start_durable_broker_on(port, &data);
    let session = format!("sub -p {port} -c -i reader -q 2 -t lines/#");
    midge(&format!("{session} -E -W 30")).end().text();
    let mut publisher = midge(&format!("pub -p {port} -V {version} -q {qos} -t lines/text -l -d"))
        .wait_for("received CONNACK");
    let mut written = Vec::new();
    let mut lines = || {
        let block: Vec<_> = (0..50).map(|number| written.len() + number).collect();
        let block: Vec<_> = block.iter().map(|number| format!("line {number}")).collect();
        written.extend_from_slice(&block);
        format!("{}\n", block.join("\n")).into_bytes()
    };
    for signal in ["TERM", "KILL", "TERM"] {
        publisher = publisher.type_in(&lines()).wait_for("sending PUBLISH");
        broker.signal(signal);
        publisher = publisher.type_in(&lines()).wait_for("Connecting again in");
        publisher = publisher.type_in(&lines());
        broker = start_durable_broker_on(port, &data);
        publisher = publisher.wait_for("received CONNACK");
    }
    publisher.end().text();
    midge(&format!("pub -p {port} -q 1 -t lines/end -m end")).end().text();
    let reader = midge(&format!("{session} -d")).wait_for("'lines/end'");
    let text = reader.signal("TERM").end().text();
    let received: Vec<_> = text.lines().filter(|line| *line != "end").collect();
    if qos == 2 && version == "5" {
        assert_eq!(received, written, "{what}: every line once, in order");
    }
    let mut seen = HashSet::new();
    let first: Vec<_> = received.into_iter().filter(|line| seen.insert(*line)).collect();
    assert_eq!(first, written, "{what}: every line, in order");
    drop(broker);
}

#[test]
fn a_publisher_of_lines_outlives_every_restart_at_qos_1() {
    publish_lines_over_restarts("5", 1);
    publish_lines_over_restarts("311", 1);
}

#[test]
fn a_publisher_of_lines_outlives_every_restart_at_qos_2() {
    publish_lines_over_restarts("5", 2);
    publish_lines_over_restarts("311", 2);
}

#[test]
fn lines_that_come_while_there_is_no_broker_are_kept_at_qos_0() {
    let port = free_port();
    let broker = start_broker_on(port);
    let publisher = midge(&format!("pub -p {port} -t t -l -d")).wait_for("received CONNACK");
    broker.signal("TERM");
    let publisher = publisher.wait_for("Connecting again in").type_in(b"1\n2\n3\n");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(stream.read(&mut [0; 1024]).unwrap() > 0, "a CONNECT");
    stream.write_all(b"\x20\x03\x00\x00\x00").unwrap();
    let mut messages = [0; 21];
    stream.read_exact(&mut messages).unwrap();
    assert_eq!(&messages, b"0\x05\0\x01t\x0010\x05\0\x01t\x0020\x05\0\x01t\x003");
    drop(publisher);
}

#[test]
fn a_single_message_is_not_tried_again_unless_asked_to() {
    let port = free_port();
    let stderr = midge(&format!("pub -p {port} -t t -m x -r")).end().failure(1);
    assert!(stderr.contains("connection refused"), "{stderr}");
    let patient = midge(&format!("pub -p {port} -t t -m x -r -q 1 --retry always -d"));
    let patient = patient.wait_for("Connecting again in");
    let _broker = start_broker_on(port);
    assert_eq!(patient.end().code, Some(0));
    let text = midge(&format!("sub -p {port} -t t -C 1 -W 10")).end().text();
    assert_eq!(text, "x\n");
}

#[test]
fn a_command_does_not_come_back_where_it_is_not_wanted() {
    let port = free_port();
    let _broker = start_broker_on(port);
    let session = format!("sub -p {port} -i same -t t -d -W 30");
    let first = midge(&session).wait_for("received SUBACK");
    let second = midge(&session).wait_for("received SUBACK");
    let stderr = first.end().failure(1);
    assert!(stderr.contains("Another client uses this client identifier"), "{stderr}");
    assert_eq!(second.signal("INT").end().code, Some(0));
}

#[test]
fn a_signal_ends_the_pause_and_says_what_was_left() {
    let port = free_port();
    let broker = start_broker_on(port);
    let publisher = midge(&format!("pub -p {port} -t t -q 1 -l -d")).wait_for("received CONNACK");
    let receiver = midge(&format!("sub -p {port} -t t -d")).wait_for("received SUBACK");
    broker.freeze();
    let publisher = publisher.type_in(b"x\n").wait_for("sending PUBLISH");
    broker.signal("KILL");
    let receiver = receiver.wait_for("Connecting again in").signal("TERM").end();
    assert_eq!(receiver.code, Some(0));
    let publisher = publisher.wait_for("Connecting again in").signal("INT").end();
    assert_eq!(publisher.code, Some(130), "{publisher:?}");
    assert!(publisher.stderr.contains("1 message not acknowledged"), "{publisher:?}");
}
