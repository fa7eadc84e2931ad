//! Command lines that are wrong, and brokers that are not there.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::broker::free_port;
use crate::command::midge;

#[test]
fn explains_a_wrong_command_line() {
    for (arguments, part) in [
        ("pub -m x", "add -t TOPIC"),
        ("pub -t a", "add -m TEXT"),
        ("pub -t a -m x -n", "cannot be used with"),
        ("pub -t a -l -m x", "cannot be used with"),
        ("pub -t a/# -m x", "'a/#' is not a topic to publish to"),
        ("pub -t a -m x -q 3", "QoS is 0, 1 or 2"),
        ("pub -t a -m x -D publish colour red", "no property 'colour' (it has: content-type"),
        ("pub -t a -m x -L mqtts://h", "not supported by this build"),
        ("pub -t a -m x -L h:1883", "no scheme"),
        ("sub", "add -t FILTER"),
        ("sub -t a/#/b", "'a/#/b' is not a topic filter"),
        ("sub -t a -F %s", "'%s' is not a part of a message"),
        ("sub -t a -c", "add -i ID"),
        ("sub -t a -V 311 --no-local", "--no-local needs MQTT 5.0"),
        ("sub -t $share/g/a --no-local", "shared subscription"),
        ("rr -t a", "add -m TEXT"),
        ("rr -m a", "add -t TOPIC"),
        ("rr -t a -m x -V 311", "add -e TOPIC"),
        ("rr -t a -m x -e b -D publish response-topic c", "twice"),
    ] {
        let stderr = midge(arguments).end().failure(2);
        assert!(stderr.contains(part), "{arguments}: {stderr}");
    }
}

#[test]
fn explains_that_nobody_listens() {
    let port = free_port();
    for command in ["pub -t a -m x", "sub -t a", "rr -t a -m x"] {
        let stderr = midge(&format!("{command} -h 127.0.0.1 -p {port}")).end().failure(1);
        assert_eq!(
            stderr,
            format!(
                "error: cannot connect to 127.0.0.1:{port}: connection refused. \
                 Is a broker running there? Start one with: midge"
            )
        );
    }
    let stderr = midge("pub -t a -m x -h no.such.host.invalid").end().failure(1);
    assert!(stderr.contains("cannot find the host 'no.such.host.invalid'"), "{stderr}");
}

#[test]
fn explains_that_something_else_listens() {
    for (bytes, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "sent what is not MQTT"),
        (b"", "closed the connection without an answer to CONNECT"),
        (b"\x20\x02\x00", "closed the connection without an answer to CONNECT"),
        (b"\x20\x03\x00\x84\x00", "Try another version, such as -V 311"),
        (b"\xd0\x00", "before the CONNACK"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Unread bytes would turn the end of the stream into a reset.
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(bytes).unwrap();
        });
        let stderr = midge(&format!("pub -t a -m x -h 127.0.0.1 -p {port}")).end().failure(1);
        server.join().unwrap();
        assert!(stderr.contains(part), "{bytes:?}: {stderr}");
    }
}
