//! Clients that use the wrong port or the wrong kind of URL: the log says which, in words.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::broker::free_port;
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03abcdefghijklmnop";
const PROXY: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 1883\r\n";
const PROXY_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x13\x88\x07\x5b";
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\n";
const AMQP: &[u8] = b"AMQP\0\0\x09\x01";

/// Sends bytes and returns the answer, up to the end of the connection.
fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // The connection may be reset, because what was sent is not read to its end.
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The ports of a broker that is reached in four ways.
struct Ports {
    plain: u16,
    tls: u16,
    websocket: u16,
    proxied: u16,
}

fn broker(directory: &Directory) -> (Running, Ports) {
    midge_in(directory.path(), &[], "certs --directory certs").end().text();
    let [plain, tls, websocket, proxied] = std::array::from_fn(|_| free_port());
    directory.write(&format!(
        "[[listener]]\nbind = '127.0.0.1:{plain}'\n\
         [[listener]]\nbind = '127.0.0.1:{tls}'\n\
         tls = {{ certificate = 'certs/server.pem', key = 'certs/server.key' }}\n\
         [[listener]]\nbind = '127.0.0.1:{websocket}'\nprotocol = 'websocket'\n\
         [[listener]]\nbind = '127.0.0.1:{proxied}'\nproxy_protocol = 'required'\n"
    ));
    let broker = midge_in(directory.path(), &[], "").wait_for("documentation");
    (broker, Ports { plain, tls, websocket, proxied })
}

/// Asserts that the log names each case. At most ten, because a worker writes only that many lines
/// about strangers in a second.
fn assert_named<const N: usize>(mut broker: Running, cases: [(u16, &[u8], &str); N]) -> Running {
    const { assert!(N <= 10) };
    for (port, bytes, words) in cases {
        send(port, bytes);
        broker = broker.wait_for(words);
    }
    broker
}

#[test]
fn what_came_instead_is_said_in_words() {
    let directory = Directory::empty();
    let (broker, Ports { plain, tls, websocket, proxied }) = broker(&directory);
    let cases: [(u16, &[u8], &str); 9] = [
        (plain, CLIENT_HELLO, "a TLS ClientHello came to a listener without TLS"),
        (plain, HTTP, "an HTTP request came to a listener for MQTT"),
        (plain, PROXY, "a PROXY header came to a listener that takes none"),
        (tls, CONNECT, "MQTT without TLS came to a listener with TLS"),
        (tls, HTTP, "an HTTP request without TLS came to a listener with TLS"),
        (tls, PROXY, "a PROXY header came to a listener that takes none"),
        (websocket, CONNECT, "MQTT came to a listener for WebSocket"),
        (websocket, CLIENT_HELLO, "a TLS ClientHello came to a listener without TLS"),
        (proxied, CONNECT, "no PROXY header came, though the listener requires one"),
    ];
    let broker = assert_named(broker, cases);
    // A client that speaks MQTT is let in.
    midge(&format!("pub -L mqtt://127.0.0.1:{plain}/t -m x -q 1")).end().text();
    broker.signal("TERM").end().text();
}

#[test]
fn protocols_that_are_spoken_nowhere_are_named() {
    let directory = Directory::empty();
    let (broker, Ports { plain, tls, websocket, .. }) = broker(&directory);
    let cases: [(u16, &[u8], &str); 9] = [
        (plain, HTTP_2, "HTTP/2 came to a listener for MQTT"),
        (tls, HTTP_2, "HTTP/2 without TLS came to a listener with TLS"),
        (websocket, HTTP_2, "HTTP/2 came to a listener for WebSocket"),
        (plain, SSH, "an SSH client came to a listener for MQTT"),
        (tls, SSH, "connect to the port of the SSH server"),
        (websocket, SSH, "an SSH client came to a listener for MQTT"),
        (plain, AMQP, "AMQP came to a listener for MQTT"),
        (tls, AMQP, "connect with an MQTT client"),
        (websocket, AMQP, "AMQP came to a listener for MQTT"),
    ];
    assert_named(broker, cases).signal("TERM").end().text();
}

#[test]
fn both_versions_of_a_proxy_header_are_known_where_none_is_due() {
    let directory = Directory::empty();
    let (broker, Ports { plain, tls, websocket, .. }) = broker(&directory);
    let words = "a PROXY header came to a listener that takes none";
    let ports = [plain, tls, websocket];
    let broker = assert_named(broker, ports.map(|port| (port, PROXY, words)));
    let broker = assert_named(broker, ports.map(|port| (port, PROXY_2, words)));
    broker.signal("TERM").end().text();
}

#[test]
fn a_request_of_http_is_answered_as_one() {
    let directory = Directory::empty();
    let (broker, Ports { plain, .. }) = broker(&directory);
    let answer = String::from_utf8_lossy(&send(plain, HTTP)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("speaks MQTT"), "{answer}");
    // The first bytes come one by one, each in a segment of its own.
    let mut stream = TcpStream::connect(("127.0.0.1", plain)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    HTTP[..4].chunks(1).for_each(|byte| stream.write_all(byte).unwrap());
    let mut in_pieces = String::new();
    stream.read_to_string(&mut in_pieces).unwrap();
    assert_eq!(in_pieces, answer);
    broker.signal("TERM").end().text();
}
