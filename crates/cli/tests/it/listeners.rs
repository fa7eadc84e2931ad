//! The listeners of a broker process: what it says about them, who gets in, what a reload does.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::broker::start_broker_with_descriptors;
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;

/// A word in the last line of the start message.
const STARTED: &str = "documentation";

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
const CONNECT_WITHOUT_NAME: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";

/// Makes a directory with this configuration and certificates for trying TLS out.
fn directory(text: &str) -> Directory {
    let directory = Directory::with_configuration(text);
    midge_in(directory.path(), &[], "certs --directory .").end().text();
    directory
}

fn start(directory: &Directory) -> Running {
    midge_in(directory.path(), &[], "").wait_for(STARTED)
}

/// Returns the address of the first URL with this scheme in the start message.
fn address(broker: &Running, scheme: &str) -> String {
    let words = broker.stderr().split_whitespace();
    let mut urls = words.filter_map(|word| word.strip_prefix(scheme));
    let url = urls.next().unwrap_or_else(|| panic!("{scheme} is not in {}", broker.stderr()));
    url.split('/').next().unwrap().to_string()
}

fn assert_connack(mut stream: impl Read + Write) {
    stream.write_all(CONNECT).unwrap();
    let mut answer = [0; CONNACK.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, CONNACK);
}

/// Replaces a file atomically, as programs that renew certificates do.
fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(&aside, path).unwrap();
}

#[test]
fn each_listener_is_named_with_its_transport() {
    let directory = directory(
        "[[listener]]
        bind = '127.0.0.1:0'
        connections_max = 5
        [[listener]]
        bind = '127.0.0.1:0'
        tls = { certificate = 'server.pem', key = 'server.key', client_ca = 'ca.pem' }
        [[listener]]
        bind = '127.0.0.1:0'
        protocol = 'websocket'
        websocket.path = '/broker'
        [[listener]]
        bind = 'unix:midge.sock'
        unix.mode = '0600'",
    );
    let broker = start(&directory);
    let said = broker.stderr().to_string();
    assert!(said.contains("unix:midge.sock\n"), "{said}");
    assert!(said.contains("/broker\n"), "{said}");
    assert!(said.contains("only this machine can connect"), "{said}");
    assert!(!address(&broker, "mqtts://").ends_with(":0"), "{said}");

    assert_connack(TcpStream::connect(address(&broker, "mqtt://")).unwrap());
    let socket = directory.path().join("midge.sock");
    let metadata = fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_connack(UnixStream::connect(&socket).unwrap());

    let mut stream = TcpStream::connect(address(&broker, "ws://")).unwrap();
    stream.write_all(b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("/broker"), "{answer}");

    broker.signal("TERM").end().text();
    assert!(!socket.exists());
}

#[test]
fn a_unix_socket_needs_no_file() {
    let directory = Directory::empty();
    let broker = midge_in(directory.path(), &[], "--listen unix:a.sock").wait_for(STARTED);
    assert!(broker.stderr().contains("listens on     unix:a.sock\n"), "{}", broker.stderr());
    assert_connack(UnixStream::connect(directory.path().join("a.sock")).unwrap());
    broker.signal("TERM").end().text();
}

#[test]
fn certificates_are_renewed_and_broken_ones_left_alone() {
    let directory = directory(
        "[[listener]]
        bind = '127.0.0.1:0'
        tls = { certificate = 'server.pem', key = 'server.key' }",
    );
    let certificate = directory.path().join("server.pem");
    let good = fs::read_to_string(&certificate).unwrap();
    let broker = start(&directory).signal("HUP").wait_for("the certificates have not changed");

    replace(&certificate, "no certificate\n");
    let broker = broker.signal("HUP").wait_for("the certificates in effect stay: ");
    assert!(broker.stderr().contains("server.pem"), "{}", broker.stderr());
    assert!(TcpStream::connect(address(&broker, "mqtts://")).is_ok());

    replace(&certificate, &good);
    let broker = broker.signal("HUP").wait_for("the certificates have not changed");

    // The broker also watches the files itself; whichever notices first reports it.
    midge_in(directory.path(), &[], "certs --directory . --force").end().text();
    let broker = broker.wait_for("are in effect");
    broker.signal("TERM").end().text();
}

#[test]
fn a_broker_without_its_certificate_does_not_start() {
    let directory = Directory::with_configuration(
        "[[listener]]
        bind = '127.0.0.1:0'
        tls = { certificate = 'none.pem', key = 'none.key' }",
    );
    let stderr = midge_in(directory.path(), &[], "").end().failure(1);
    assert!(stderr.contains("none.pem"), "{stderr}");
}

#[test]
fn a_listener_offers_what_its_configuration_says() {
    let directory = directory(
        "[[listener]]
        bind = '127.0.0.1:0'
        packet_bytes_max = 40
        capabilities = { versions = '3.1.1', retain = false }
        [storage]
        in_memory = true",
    );
    let broker = start(&directory);
    let port = address(&broker, "mqtt://").split(':').nth(1).unwrap().to_string();
    let publish = |options: &str| midge(&format!("pub -p {port} -t t {options}")).end();
    publish("-V 311 -m hello").text();
    let refused = publish("-V 5 -m hello").failure(1);
    assert!(refused.contains("version"), "{refused}");
    publish("-V 311 -q 1 -r -m hello").failure(1);
    publish("-V 311 -q 1 -m 01234567890123456789012345678901234567890123456789").failure(1);
    let said = broker.signal("TERM").end().stderr;
    assert!(said.contains("does not speak this version of MQTT"), "{said}");
}

/// More Clients come than the broker has descriptors for: the others wait until some have gone.
#[test]
fn clients_that_wait_for_a_descriptor_are_let_in_when_there_is_one() {
    const DESCRIPTORS: usize = 64;
    let broker = start_broker_with_descriptors(DESCRIPTORS);
    let connect = |_| {
        let mut client = TcpStream::connect(("127.0.0.1", broker.port())).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(CONNECT_WITHOUT_NAME).unwrap();
        client
    };
    let assert_let_in = |mut client: TcpStream| {
        let mut answer = [0; CONNACK.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, CONNACK);
    };
    let mut clients: Vec<_> = (0..DESCRIPTORS).map(connect).collect();
    let last = clients.pop().unwrap();
    last.set_nonblocking(true).unwrap();
    assert!(last.peek(&mut [0]).is_err(), "the broker has descriptors of its own");
    last.set_nonblocking(false).unwrap();
    drop(clients.drain(..DESCRIPTORS / 2));
    assert_let_in(last);
    assert_let_in(connect(0));
}
