//! Handshakes of the layers below MQTT that do not end.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use midge_broker::{Limits, Listen, ListenerAddress, ProxyMode, TlsOptions, WebSocketOptions};

use crate::client::Client;
use crate::support::{builder, until};

/// Nobody knows whose they are, but they can be as many as connections.
#[test]
fn unfinished_handshakes_are_given_up_like_incomplete_packets() {
    // The process takes more than this anyway: memory is as short as it can be.
    let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let beginnings = [
        "GET /mqtt HTTP/1.1\r\nX: ",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\x0F\0", // of a PROXY header with 3840 bytes
        "\x16\x03\x01\x40\0\x01",             // of a TLS record with 16384 bytes
    ];
    let mut builder = builder(1).limits(limits);
    let directory = std::env::temp_dir().join(format!("midge-handshakes-{}", std::process::id()));
    for mut listen in with_layers(&directory) {
        listen.limits.connect_deadline = Some(Duration::from_secs(600));
        builder = builder.listen(listen);
    }
    let broker = builder.start().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let addresses = broker.local_addresses();
    let addresses: Vec<_> = addresses.iter().filter_map(ListenerAddress::network).collect();
    // Whose bytes are few does not make memory short.
    let mut small = begin(addresses[1], b"GET /mqtt HTTP/1.1\r\n");
    let mut strangers = Vec::new();
    for (address, beginning) in addresses[1..].iter().zip(&beginnings) {
        let bytes = [beginning.as_bytes(), &[b'y'; 3000]].concat();
        strangers.extend((0..4).map(|_| begin(*address, &bytes)));
    }
    // A worker looks at the memory while it has something to do.
    let mut busy = Client::connect(addresses[0], "busy");
    until("unfinished handshakes are ended", || {
        busy.ping();
        strangers.retain_mut(|stranger| !has_ended(stranger));
        strangers.is_empty()
    });
    let rest = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    small.write_all(rest.as_bytes()).unwrap();
    let mut answer = [0; 12];
    small.set_nonblocking(false).unwrap();
    small.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

/// Returns listeners for WebSocket, for connections that begin with a PROXY header, and for TLS.
fn with_layers(directory: &Path) -> [Listen; 3] {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    fs::create_dir_all(directory).unwrap();
    let [certificate, private] = ["c.pem", "k.pem"].map(|name| directory.join(name));
    fs::write(&certificate, key.cert.pem()).unwrap();
    fs::write(&private, key.signing_key.serialize_pem()).unwrap();
    let [websocket, mut proxied, tls] = [(); 3].map(|()| Listen::new("127.0.0.1:0"));
    proxied.proxy.mode = ProxyMode::Required;
    let websocket = websocket.websocket(WebSocketOptions::default());
    [websocket, proxied, tls.tls(TlsOptions::new(certificate, private))]
}

/// Connects and sends the beginning of a handshake.
fn begin(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
