//! Thousands of sockets that claim, drip, or are silent: what they cost, and whom they disturb.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Directory, Memory, PATIENCE, affordable, free_address, wait_until};
use crate::mqtt;
use crate::pair::{Latencies, Pair, client, dial};
use crate::secure::Authority;

/// What a connection that has sent nothing but a claim may cost.
const BYTES_PER_CLAIM: u64 = 4 * 1024;
/// What an unfinished TLS handshake may cost until its deadline.
const BYTES_PER_HANDSHAKE: u64 = 16 * 1024;
/// How much an allocator may take in advance; believing the crowd's claims would take a thousand
/// times as much.
const ASKED_FOR_MAX: u64 = 4 << 30;
/// What an idle TLS connection may cost, including its Client's Session.
const BYTES_PER_IDLE_TLS: u64 = 8 * 1024;
/// The limit on the 99th percentile of the latency between other Clients meanwhile.
const P99: Duration = Duration::from_millis(50);

/// Opens `count` sockets that each send `first`.
fn crowd(count: usize, address: SocketAddr, first: &[u8]) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = dial(address);
        stream.write_all(first).expect("a fresh socket takes some bytes");
        stream
    };
    (0..count).map(one).collect()
}

/// Waits until the broker has closed all of them; returns how long that took.
fn wait_for_ends(crowd: &mut [TcpStream]) -> Duration {
    let start = Instant::now();
    for stream in crowd {
        let left = PATIENCE.saturating_sub(start.elapsed());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        let mut said = Vec::new();
        match stream.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("still open after {:?}: {error}", start.elapsed()),
        }
    }
    start.elapsed()
}

/// Asserts that all of them are open and have received nothing.
fn expect_open(crowd: &[TcpStream]) {
    for mut stream in crowd {
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.read(&mut [0]);
        let is_open = matches!(&peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
        assert!(is_open, "not open: {peeked:?}");
        stream.set_nonblocking(false).unwrap();
    }
}

fn expect_undisturbed(pair: Pair) {
    let Latencies { count, p99 } = pair.stop();
    assert!(count > 20, "only {count} messages");
    assert!(p99 < P99, "one of a hundred messages took {p99:?}");
}

/// Memory that is asked for and never touched is not used yet, but the machine has promised it.
fn expect_growth(broker: &Broker, before: Memory, count: usize, bytes_each: u64) {
    let now = broker.memory();
    let growth = now.resident.saturating_sub(before.resident);
    let asked_for = now.asked_for.saturating_sub(before.asked_for);
    let each = growth / count as u64;
    eprintln!(
        "{count} sockets took {} KB, {each} bytes each; {} MB were asked for",
        growth >> 10,
        asked_for >> 20
    );
    assert!(each <= bytes_each, "{each} bytes for each of {count} sockets");
    assert!(asked_for < ASKED_FOR_MAX, "{asked_for} bytes were asked for");
}

/// Connects new clients: when the broker answers them, it has read what was sent before.
fn settle(address: SocketAddr, name: &str) {
    for round in 0..4 {
        drop(client(address, &format!("{name}-{round}")));
    }
}

/// Starts a broker with the largest possible limits, so that claims are allowed and all stay open.
fn start_generous(directory: &Directory, address: SocketAddr) -> Broker {
    let configuration = format!(
        "[[listener]]\nbind = '{address}'\nconnect_deadline_ms = 600000\n\
         [limits]\npacket_bytes_max = 268435460\npacket_before_connect_bytes_max = 268435460\n\
         [log]\nlevel = 'warn'\n"
    );
    Broker::start(directory, &configuration, &[address])
}

#[test]
fn ten_thousand_that_claim_256_mb_before_they_connect() {
    let count = affordable(10_000);
    let (directory, address) = (Directory::new(), free_address());
    let broker = start_generous(&directory, address);
    let pair = Pair::start(address);
    settle(address, "before");
    let before = broker.memory();
    let claim = [&[0x10][..], &mqtt::LARGEST, &mqtt::connect("claims")[2..]].concat();
    let crowd = crowd(count, address, &claim);
    settle(address, "after");
    expect_open(&crowd);
    expect_growth(&broker, before, count, BYTES_PER_CLAIM);
    expect_undisturbed(pair);
}

#[test]
fn ten_thousand_that_connect_and_then_claim_256_mb() {
    let count = affordable(10_000);
    let (directory, address) = (Directory::new(), free_address());
    let broker = start_generous(&directory, address);
    let pair = Pair::start(address);
    settle(address, "before");
    let before = broker.memory();
    let mut crowd: Vec<_> =
        (0..count).map(|number| client(address, &format!("claims-{number}"))).collect();
    let claim = [&[mqtt::PUBLISH][..], &mqtt::LARGEST, &[0, 5], b"topic", b"payload"].concat();
    for stream in &mut crowd {
        stream.write_all(&claim).expect("an open connection");
    }
    settle(address, "after");
    expect_open(&crowd);
    // The cost includes their Sessions.
    expect_growth(&broker, before, count, BYTES_PER_CLAIM);
    expect_undisturbed(pair);
}

#[test]
fn claims_beyond_the_limit_are_not_waited_for() {
    let count = affordable(2_000);
    let (directory, address) = (Directory::new(), free_address());
    let configuration = format!("[[listener]]\nbind = '{address}'\n[log]\nlevel = 'error'\n");
    let broker = Broker::start(&directory, &configuration, &[address]);
    let pair = Pair::start(address);
    settle(address, "before");
    let before = broker.memory();
    let claim = [&[0x10][..], &mqtt::LARGEST].concat();
    for _ in 0..5 {
        let took = wait_for_ends(&mut crowd(count, address, &claim));
        // This is long before the deadline for CONNECT, which is 5 seconds.
        assert!(took < Duration::from_secs(4), "closed after {took:?}");
    }
    expect_growth(&broker, before, count, BYTES_PER_CLAIM);
    expect_undisturbed(pair);
}

#[test]
fn connect_that_drips_hits_the_deadline() {
    let count = affordable(1_000);
    let (directory, address) = (Directory::new(), free_address());
    let deadline = Duration::from_secs(2);
    let configuration = format!(
        "[[listener]]\nbind = '{address}'\nconnect_deadline_ms = {}\n[log]\nlevel = 'error'\n",
        deadline.as_millis()
    );
    let broker = Broker::start(&directory, &configuration, &[address]);
    let pair = Pair::start(address);
    settle(address, "before");
    let before = broker.memory();
    let connect = mqtt::connect("drips-so-slowly-that-it-never-gets-anywhere");
    let start = Instant::now();
    let mut crowd = crowd(count, address, &connect[..1]);
    for byte in &connect[1..] {
        if start.elapsed() > deadline * 2 {
            break;
        }
        // An error means that the broker ended that connection first.
        crowd.iter_mut().for_each(|stream| drop(stream.write_all(&[*byte])));
        thread::sleep(Duration::from_millis(200));
    }
    expect_growth(&broker, before, crowd.len(), BYTES_PER_CLAIM);
    wait_for_ends(&mut crowd);
    let took = start.elapsed();
    assert!(took >= deadline && took < deadline * 4, "closed after {took:?}");
    expect_undisturbed(pair);
}

/// Returns a configuration with a plain listener and an impatient TLS listener; writes the
/// certificate files.
fn secure_configuration(
    directory: &Directory,
    authority: &Authority,
    plain: SocketAddr,
    secure: SocketAddr,
) -> String {
    let certificate = authority.certificate();
    directory.write("server.pem", &certificate.pem);
    directory.write("server.key", &certificate.key);
    format!(
        "[[listener]]\nbind = '{plain}'\n\
         [[listener]]\nbind = '{secure}'\nconnect_deadline_ms = 4000\n\
         tls.certificate = 'server.pem'\ntls.key = 'server.key'\n[log]\nlevel = 'error'\n"
    )
}

/// Half a ClientHello, or nothing, from 2,000 sockets each.
#[test]
fn handshakes_that_never_end_hit_the_deadline() {
    let count = affordable(4_000) / 2;
    let (directory, authority) = (Directory::new(), Authority::new());
    let (plain, secure) = (free_address(), free_address());
    let configuration = secure_configuration(&directory, &authority, plain, secure);
    let broker = Broker::start(&directory, &configuration, &[plain, secure]);
    let pair = Pair::start(plain);
    drop(authority.open(secure).expect("a handshake"));
    settle(plain, "before");
    let before = broker.memory();
    let hello = authority.client_hello();
    let start = Instant::now();
    let mut crowd = [&hello[..hello.len() / 2], &[]]
        .into_iter()
        .flat_map(|first| crowd(count, secure, first))
        .collect::<Vec<_>>();
    settle(plain, "after");
    let opened = start.elapsed();
    eprintln!("{} sockets were opened within {opened:?}", crowd.len());
    if opened < Duration::from_millis(3500) {
        expect_open(&crowd);
    }
    expect_growth(&broker, before, crowd.len(), BYTES_PER_HANDSHAKE);
    // An honest client gets through meanwhile.
    drop(authority.open(secure).expect("a handshake"));
    let took = wait_for_ends(&mut crowd);
    assert!(took < Duration::from_secs(8), "closed after {took:?}");
    wait_until("a handshake after it", || authority.open(secure).is_ok());
    expect_undisturbed(pair);
}

#[test]
fn idle_tls_connections_own_no_buffers() {
    let count = affordable(2_000);
    let (directory, authority) = (Directory::new(), Authority::new());
    let (plain, secure) = (free_address(), free_address());
    let configuration = secure_configuration(&directory, &authority, plain, secure);
    let broker = Broker::start(&directory, &configuration, &[plain, secure]);
    drop(authority.open(secure).expect("a handshake"));
    settle(plain, "before");
    let before = broker.memory();
    let crowd: Vec<_> = (0..count)
        .map(|number| {
            let mut stream = authority.open(secure).expect("a handshake");
            stream.write_all(&mqtt::connect(&format!("idle-{number}"))).unwrap();
            mqtt::receive_connack(&mut stream).expect("a CONNACK");
            stream
        })
        .collect();
    expect_growth(&broker, before, crowd.len(), BYTES_PER_IDLE_TLS);
}

/// Two claims at once: that of a WebSocket frame, and that of the packet in it.
#[test]
fn ten_thousand_websockets_that_claim_256_mb() {
    let count = affordable(10_000);
    let (directory, address, plain) = (Directory::new(), free_address(), free_address());
    let configuration = format!(
        "[[listener]]\nbind = '{plain}'\n\
         [[listener]]\nbind = '{address}'\nprotocol = 'websocket'\nconnect_deadline_ms = 600000\n\
         [limits]\npacket_bytes_max = 268435460\npacket_before_connect_bytes_max = 268435460\n\
         [log]\nlevel = 'warn'\n"
    );
    let broker = Broker::start(&directory, &configuration, &[plain, address]);
    let pair = Pair::start(plain);
    settle(plain, "before");
    let before = broker.memory();
    // A binary frame of 256 MB whose mask changes nothing.
    let frame = [&[0x82, 0xFF][..], &(1_u64 << 28).to_be_bytes(), &[0; 4]].concat();
    let claim = [&frame[..], &[0x10], &mqtt::LARGEST, &mqtt::connect("claims")[2..]].concat();
    let mut crowd = crowd(count, address, WEBSOCKET_REQUEST.as_bytes());
    for stream in &mut crowd {
        expect_websocket(stream);
        stream.write_all(&claim).expect("an open connection");
    }
    settle(plain, "after");
    expect_open(&crowd);
    expect_growth(&broker, before, count, BYTES_PER_CLAIM);
    expect_undisturbed(pair);
}

const WEBSOCKET_REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Expects the answer to the request, and nothing after it.
fn expect_websocket(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
}
