//! SIGHUP: listeners that come, change and go while Clients are there, and what the log says.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::broker::free_port;
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;

/// A word in the last line of the start message.
const STARTED: &str = "documentation";

/// A part of the log line for a reload that changes nothing.
const NOTHING_NEW: &str = "nothing in it has changed";

fn start(directory: &Directory) -> Running {
    midge_in(directory.path(), &[], "").wait_for(STARTED)
}

fn listener(port: u16, rest: &str) -> String {
    format!("[[listener]]\nbind = '127.0.0.1:{port}'\n{rest}\n")
}

fn reload(directory: &Directory, broker: Running, text: &str) -> Running {
    directory.write(text);
    broker.signal("HUP")
}

/// Connects a Client of MQTT 5.
fn connect(port: u16, client_id: u8) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let packet = [b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01", &[client_id][..]].concat();
    stream.write_all(&packet).unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut connack = vec![0; head[1].into()];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!((head[0], connack[1]), (0x20, 0));
    stream
}

fn assert_serves(stream: &mut TcpStream) {
    stream.write_all(b"\xc0\x00").unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\xd0\x00");
}

fn is_refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port))
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn listeners_come_change_and_go() {
    let [old, new, stays] = [(); 3].map(|()| free_port());
    let directory = Directory::with_configuration(&(listener(old, "") + &listener(stays, "")));
    let broker = start(&directory);
    let (mut goes, mut waits) = (connect(old, b'g'), connect(stays, b'w'));

    let text = listener(stays, "capabilities.qos_max = 0") + &listener(new, "");
    let broker = reload(&directory, broker, &text)
        .wait_for(&format!(
            "mqtt://127.0.0.1:{old}: listens no longer; its connections end (0x98 Administrative \
             action)"
        ))
        .wait_for(&format!("mqtt://127.0.0.1:{stays}: other settings are in effect"))
        .wait_for(&format!("mqtt://127.0.0.1:{new}: listens from now on"));
    let mut said = Vec::new();
    goes.read_to_end(&mut said).unwrap();
    assert_eq!((said[0], said[2]), (0xe0, 0x98), "{said:?}");
    assert!(is_refused(old));
    assert_serves(&mut waits);
    assert_serves(&mut connect(new, b'n'));

    let broker = broker.signal("HUP").wait_for(NOTHING_NEW);
    for key in [
        format!("listener[127.0.0.1:{old}] is gone"),
        format!("listener[127.0.0.1:{stays}].capabilities.qos_max is 0 now"),
        format!("listener[127.0.0.1:{new}] is new, and in effect"),
    ] {
        assert!(broker.stderr().contains(&key), "{key}: {}", broker.stderr());
    }
    midge(&format!("pub -p {stays} -t t -m x -q 1")).end().failure(1);
    // The first listener again, on the port that it had.
    let broker = reload(&directory, broker, &(listener(old, "") + &text))
        .wait_for(&format!("mqtt://127.0.0.1:{old}: listens from now on"));
    assert_serves(&mut connect(old, b'o'));
    assert_serves(&mut waits);
    broker.signal("TERM").end().text();
}

#[test]
fn every_kind_of_listener_can_come_and_go() {
    let directory = Directory::empty();
    midge_in(directory.path(), &[], "certs --directory .").end().text();
    let [mqtt, mqtts, wss, quic] = [(); 4].map(|()| free_port());
    let files = "tls = { certificate = 'server.pem', key = 'server.key' }";
    let first = listener(mqtt, "");
    let all = [
        first.clone(),
        listener(mqtts, files),
        listener(wss, &format!("protocol = 'websocket'\n{files}")),
        listener(quic, &format!("protocol = 'quic'\n{files}")),
        "[[listener]]\nbind = 'unix:midge.sock'\n".to_string(),
    ];
    directory.write(&first);
    let mut broker = start(&directory);
    let socket = directory.path().join("midge.sock");
    let authority = directory.path().join("ca.pem").display().to_string();
    let urls = [
        format!("mqtts://localhost:{mqtts}"),
        format!("wss://localhost:{wss}/mqtt"),
        format!("quic://localhost:{quic}"),
    ];
    for round in 0..3 {
        broker = reload(&directory, broker, &all.concat())
            .wait_for("unix:midge.sock: listens from now on");
        for url in &urls {
            let publish = format!("pub -L {url} -t t --cafile {authority} -m x -q 1");
            midge(&publish).end().text();
        }
        let mut local = UnixStream::connect(&socket).unwrap();
        // The port of QUIC is needed until this Client is told.
        let staying = format!("sub -L {} -t t -d --cafile {authority}", urls[2]);
        let staying = midge(&staying).wait_for("received SUBACK");
        local.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c").unwrap();
        let mut connack = [0; 4];
        local.read_exact(&mut connack).unwrap();
        assert_eq!(connack, *b"\x20\x02\x00\x00", "round {round}");

        broker = reload(&directory, broker, &first)
            .wait_for("unix:midge.sock: listens no longer")
            .wait_for("listener[unix:midge.sock] is gone");
        assert_eq!(local.read(&mut [0; 8]).unwrap(), 0);
        assert!(!socket.exists());
        assert!(is_refused(mqtts) && is_refused(wss));
        assert_serves(&mut connect(mqtt, b'm'));
        drop(staying.wait_for("dministrative"));
    }
    broker.signal("TERM").end().text();
}

#[test]
fn what_cannot_be_changes_nothing() {
    let port = free_port();
    let first = listener(port, "");
    let directory = Directory::with_configuration(&first);
    let mut broker = start(&directory);
    let mut client = connect(port, b'c');
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port();
    let limits = "[capabilities]\nversions = '3.1.1'\n[limits]\nqueue_messages_max = 5\n";
    let free = free_port();
    for (wrong, why) in [
        (listener(taken, ""), format!("cannot listen on 127.0.0.1:{taken}: the port is in use")),
        ("[[listener]]\nbind = 'unix:none/a.sock'\n".into(), "there is no directory 'none'".into()),
        (
            listener(free_port(), "tls = { certificate = 'none.pem', key = 'none.key' }"),
            "none.pem".into(),
        ),
    ] {
        broker = reload(&directory, broker, &(listener(free, "") + &wrong + limits))
            .wait_for(&why)
            .wait_for("nothing has changed; the configuration in effect stays");
        assert!(is_refused(free));
        assert_serves(&mut client);
        drop(connect(port, b'd'));
    }
    // When nothing is wrong, all of the configuration takes effect.
    let broker = reload(&directory, broker, &(listener(port, "") + &listener(free, "") + limits))
        .wait_for("limits.queue_messages_max is 5 now");
    assert!(!is_refused(free));
    broker.signal("TERM").end().text();
}

/// A file that was found at the start is the broker's file: while it is gone, the defaults do not
/// take its place.
#[test]
fn a_file_that_is_gone_changes_nothing() {
    let port = free_port();
    let directory = Directory::with_configuration(&listener(port, ""));
    let broker = start(&directory);
    let mut client = connect(port, b'c');
    let (file, elsewhere) =
        (directory.path().join("midge.toml"), directory.path().join("moved.toml"));
    fs::rename(&file, &elsewhere).unwrap();
    let broker = broker
        .signal("HUP")
        .wait_for("the configuration cannot be read")
        .wait_for("the configuration has errors; the one in effect stays");
    assert_serves(&mut client);
    fs::rename(&elsewhere, &file).unwrap();
    let broker = broker.signal("HUP").wait_for(NOTHING_NEW);
    assert_serves(&mut client);
    broker.signal("TERM");
}

#[test]
fn an_address_becomes_a_wider_one_at_its_port() {
    let port = free_port();
    let directory = Directory::with_configuration(&listener(port, ""));
    let broker = start(&directory);
    let broker = reload(
        &directory,
        broker,
        &format!("[[listener]]\nbind = '0.0.0.0:{port}'\n[authentication]\nanonymous = true\n"),
    )
    .wait_for(&format!("mqtt://127.0.0.1:{port}: listens no longer"))
    .wait_for(&format!("mqtt://0.0.0.0:{port}: listens from now on"));
    assert_serves(&mut connect(port, b'c'));
    broker.signal("TERM").end().text();
}

#[test]
fn another_client_can_be_followed_while_it_runs() {
    let port = free_port();
    let directory = Directory::with_configuration(&listener(port, ""));
    let broker = start(&directory);
    let log =
        |client| listener(port, &format!("[log]\nlevel = 'trace'\ntrace_client = '{client}'"));
    let broker = reload(&directory, broker, &log("a")).wait_for("log.trace_client is \"a\" now");
    let (mut one, mut other) = (connect(port, b'a'), connect(port, b'b'));
    let broker = reload(&directory, broker, &log("b")).wait_for("log.trace_client is \"b\" now");
    assert_serves(&mut one);
    assert_serves(&mut other);
    let ended = broker.signal("TERM").end();
    let packets = ended.stderr.lines().filter_map(|line| line.split_once("packet_log: "));
    let packets = packets.map(|(_, packet)| packet.split([',', ':']).next().unwrap_or_default());
    let packets: Vec<_> = packets.filter(|packet| !packet.contains("DISCONNECT")).collect();
    let expected =
        ["\"a\" -> CONNECT", "\"a\" <- CONNACK", "\"b\" -> PINGREQ", "\"b\" <- PINGRESP"];
    assert_eq!(packets, expected, "{}", ended.stderr);
}

#[test]
fn a_thousand_reloads_leave_nothing_behind() {
    let [port, other] = [(); 2].map(|()| free_port());
    let first = listener(port, "");
    let directory = Directory::with_configuration(&first);
    let mut broker = start(&directory);
    let mut client = connect(port, b's');
    let socket = "[[listener]]\nbind = 'unix:midge.sock'\n";
    let with_others = first.clone() + socket + &listener(other, "");
    let mut begin = None;
    for round in 0..500 {
        let limit = format!("[limits]\nqueue_messages_max = {}\n", 100 + round % 2);
        broker = reload(&directory, broker, &(with_others.clone() + &limit))
            .wait_for("limits.queue_messages_max is");
        if round % 10 == 0 {
            drop(connect(other, b'o'));
        }
        let plain = first.clone() + "tcp.backlog = 100\n";
        broker = reload(&directory, broker, &plain).wait_for("limits.queue_messages_max is");
        // By now, everything that is allocated only once has been allocated.
        if round == 100 {
            begin = Some((descriptors(&broker), resident_kilobytes(&broker)));
        }
    }
    let (descriptors_before, memory_before) = begin.unwrap();
    assert_serves(&mut client);
    assert!(descriptors(&broker) <= descriptors_before + 4, "{descriptors_before} before");
    let memory = resident_kilobytes(&broker);
    assert!(memory < memory_before + 4_096, "{memory_before} kB before, {memory} kB now");
    broker.signal("TERM").end().text();
}

fn descriptors(broker: &Running) -> usize {
    fs::read_dir(format!("/proc/{}/fd", broker.id())).unwrap().count()
}

fn resident_kilobytes(broker: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
