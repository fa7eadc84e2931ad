//! Those who have taken the wrong port, or the wrong kind of URL: the log says which, in words.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::broker::free_port;
use crate::command::{midge, midge_in};
use crate::directory::Directory;

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03abcdefghijklmnop";
const PROXY: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 1883\r\n";

/// What comes back, to the end of the connection.
fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // It may be reset: what was sent is not read to its end.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn what_came_instead_is_said_in_words() {
    let directory = Directory::empty();
    midge_in(directory.path(), &[], "certs --directory certs").end().text();
    let ports: [u16; 4] = std::array::from_fn(|_| free_port());
    let [plain, tls, websocket, proxied] = ports;
    directory.write(&format!(
        "[[listener]]\nbind = '127.0.0.1:{plain}'\n\
         [[listener]]\nbind = '127.0.0.1:{tls}'\n\
         tls = {{ certificate = 'certs/server.pem', key = 'certs/server.key' }}\n\
         [[listener]]\nbind = '127.0.0.1:{websocket}'\nprotocol = 'websocket'\n\
         [[listener]]\nbind = '127.0.0.1:{proxied}'\nproxy_protocol = 'required'\n"
    ));
    let mut broker = midge_in(directory.path(), &[], "").wait_for("documentation");
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let cases: [(u16, &[u8], &str); 9] = [
        (plain, CLIENT_HELLO, "a TLS ClientHello came to a listener without TLS"),
        (plain, http, "an HTTP request came to a listener for MQTT"),
        (plain, PROXY, "a PROXY header came to a listener that takes none"),
        (tls, CONNECT, "MQTT without TLS came to a listener with TLS"),
        (tls, http, "an HTTP request without TLS came to a listener with TLS"),
        (tls, PROXY, "a PROXY header came to a listener that takes none"),
        (websocket, CONNECT, "MQTT came to a listener for WebSocket"),
        (websocket, CLIENT_HELLO, "a TLS ClientHello came to a listener without TLS"),
        (proxied, CONNECT, "no PROXY header came, though the listener requires one"),
    ];
    for (port, bytes, words) in cases {
        let answer = String::from_utf8_lossy(&send(port, bytes)).into_owned();
        broker = broker.wait_for(words);
        if (port, bytes) == (plain, http) {
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert!(answer.contains("speaks MQTT"), "{answer}");
        }
    }
    // Who speaks what is spoken there is let in.
    midge(&format!("pub -L mqtt://127.0.0.1:{plain}/t -m x -q 1")).end().text();
    broker.signal("TERM").end().text();
}
