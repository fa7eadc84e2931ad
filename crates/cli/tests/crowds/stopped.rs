//! A broker that stands still for a while, as a stopped process or a suspended machine does: no
//! client is found to have been silent meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Directory, free_address, wait_until};
use crate::mqtt;
use crate::pair::dial;
use crate::quic::QuicClient;
use crate::secure::{Authority, finish};

/// Longer than any deadline of these tests.
const STANDSTILL: Duration = Duration::from_secs(4);
const CLIENTS: usize = 2_000;

fn expect_pong(stream: &mut impl Read, name: &str) {
    let packet = mqtt::receive(stream).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(packet.0, mqtt::PINGRESP, "{name}");
}

/// Connects a client with a Keep Alive of one second.
fn hasty(mut stream: TcpStream, client_id: &str) -> TcpStream {
    stream.write_all(&mqtt::connect_for(client_id, 2, 1)).unwrap();
    mqtt::receive_connack(&mut stream).expect("a CONNACK");
    stream
}

#[test]
fn who_spoke_while_the_broker_stood_still_was_not_silent() {
    let (directory, authority) = (Directory::new(), Authority::new());
    let (plain, secure) = (free_address(), free_address());
    let certificate = authority.certificate();
    directory.write("server.pem", &certificate.pem);
    directory.write("server.key", &certificate.key);
    let configuration = format!(
        "[limits]\nconnect_deadline_ms = 2000\n[[listener]]\nbind = '{plain}'\n\
         [[listener]]\nbind = '{secure}'\n\
         tls.certificate = 'server.pem'\ntls.key = 'server.key'\n"
    );
    let broker = Broker::start(&directory, &configuration, &[plain, secure]);
    // So many that one look at the broker's sockets does not find all of them.
    let count = crate::broker::affordable(CLIENTS);
    let patient: Vec<_> = (0..count)
        .map(|number| {
            let mut stream = dial(plain);
            stream.write_all(&mqtt::connect_for(&format!("c-{number}"), 2, 3)).unwrap();
            mqtt::receive_connack(&mut stream).expect("a CONNACK");
            stream
        })
        .collect();
    let mut patient = patient;
    // These come last: they have two seconds.
    let mut before_connect = dial(plain);
    let mut in_handshake = authority.begin(secure).unwrap();
    let mut ping = hasty(dial(plain), "hasty");
    ping.write_all(&mqtt::PINGREQ).unwrap();
    expect_pong(&mut ping, "hasty");

    broker.stop();
    for stream in patient.iter_mut().chain([&mut ping]) {
        stream.write_all(&mqtt::PINGREQ).unwrap();
    }
    before_connect.write_all(&mqtt::connect("late")).unwrap();
    thread::sleep(STANDSTILL);
    broker.go_on();

    expect_pong(&mut ping, "hasty");
    for (number, stream) in patient.iter_mut().enumerate() {
        expect_pong(stream, &format!("c-{number}"));
    }
    mqtt::receive_connack(&mut before_connect).expect("its CONNECT had come");
    finish(&mut in_handshake).expect("time in which the broker stood still does not count");
    in_handshake.write_all(&mqtt::connect("secure")).unwrap();
    mqtt::receive_connack(&mut in_handshake).expect("a CONNACK");
    // A Client that is silent from now on is found to be.
    wait_until("the Keep Alive of one of them ends", || broker.log().contains("Keep Alive"));
}

/// QUIC has its own clock for silence. Each of these clients says something while the broker stands
/// still, and thereby restarts its own idle timeout. The broker's timeout is over when it resumes.
#[test]
fn who_spoke_over_quic_while_the_broker_stood_still_was_not_silent() {
    const IDLE: Duration = Duration::from_secs(5);
    const CLIENTS: usize = 40;
    let (directory, authority) = (Directory::new(), Authority::new());
    let (plain, quic) = (free_address(), free_address());
    let certificate = authority.certificate();
    directory.write("server.pem", &certificate.pem);
    directory.write("server.key", &certificate.key);
    let configuration = format!(
        "[[listener]]\nbind = '{plain}'\n[[listener]]\nbind = '{quic}'\nprotocol = 'quic'\n\
         tls.certificate = 'server.pem'\ntls.key = 'server.key'\n\
         quic.idle_timeout_seconds = {}\nquic.keep_alive_seconds = 1\n",
        IDLE.as_secs()
    );
    let broker = Broker::start(&directory, &configuration, &[plain]);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = QuicClient::open(quic);
            client.write_all(&mqtt::connect(&format!("q-{number}"))).unwrap();
            mqtt::receive_connack(&mut client).expect("a CONNACK");
            client
        })
        .collect();
    broker.stop();
    let stopped = Instant::now();
    // Each client and the broker have heard from each other within the last second.
    thread::sleep(IDLE - Duration::from_secs(2));
    for client in &mut clients {
        client.write_all(&mqtt::PINGREQ).unwrap();
    }
    thread::sleep((IDLE + Duration::from_millis(300)).saturating_sub(stopped.elapsed()));
    broker.go_on();
    for (number, client) in clients.iter_mut().enumerate() {
        expect_pong(client, &format!("q-{number}"));
    }
    // Each client sends off its last bytes.
    thread::scope(|scope| {
        clients.into_iter().for_each(|client| drop(scope.spawn(|| drop(client))));
    });
}
