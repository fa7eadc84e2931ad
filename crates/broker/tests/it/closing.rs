//! How connections end: which are closed at once, and that no Client loses its last bytes by it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::raw::{CONNACK, Raw, connect, connect_v5};
use crate::support::{address, broker};

const DISCONNECT: &[u8] = &[0xE0, 0];

/// A PUBLISH of QoS 1 to `t`, whose payload is `x`.
fn publish(packet_id: u16) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    vec![0x32, 6, 0, 1, b't', high, low, b'x']
}

/// Reads until the end; fails if the connection breaks instead.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the broker says that it sends nothing more");
    bytes
}

/// Whether a descriptor of the broker still stands for its side of a connection.
#[cfg(target_os = "linux")]
fn has_descriptor(broker: std::net::SocketAddr, client: std::net::SocketAddr) -> bool {
    const INODE: usize = 9;
    let of = |address: std::net::SocketAddr| {
        let std::net::SocketAddr::V4(address) = address else { panic!("{address}") };
        let ip = u32::from_ne_bytes(address.ip().octets());
        format!("{ip:08X}:{:04X}", address.port())
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1..3] == [of(broker), of(client)] && fields[INODE] != "0"
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_whose_client_has_left_is_closed_at_once() {
    let broker = broker(1);
    let address = address(&broker);
    let mut leaving = TcpStream::connect(address).unwrap();
    leaving.write_all(&connect("leaving")).unwrap();
    leaving.read_exact(&mut [0; 4]).unwrap();
    let own_address = leaving.local_addr().unwrap();
    assert!(has_descriptor(address, own_address), "it can be seen while it is there");
    leaving.write_all(DISCONNECT).unwrap();
    assert_eq!(read_to_end(&mut leaving), b"");
    // Answered by the same thread later, when it is done with the other connection.
    let mut other = Raw::open(address);
    other.write(&[&connect("other")]);
    other.expect(CONNACK);
    assert!(!has_descriptor(address, own_address));
    broker.stop(Duration::from_secs(5));
}

#[test]
fn acknowledgements_arrive_before_the_end_that_a_disconnect_asks_for() {
    let broker = broker(1);
    for round in 0..20 {
        let mut client = TcpStream::connect(address(&broker)).unwrap();
        let mut packets = connect(&format!("client-{round}"));
        (1..=200).for_each(|number| packets.extend(publish(number)));
        packets.extend_from_slice(DISCONNECT);
        client.write_all(&packets).unwrap();
        let answers = read_to_end(&mut client);
        assert_eq!(answers.len(), 4 + 200 * 4, "round {round}");
        assert_eq!(answers[..8], [0x20, 2, 0, 0, 0x40, 2, 0, 1]);
        assert_eq!(answers[800..], [0x40, 2, 0, 200]);
    }
    broker.stop(Duration::from_secs(5));
}

#[test]
fn a_client_that_talks_on_behind_its_disconnect_gets_its_acknowledgements_all_the_same() {
    let broker = broker(1);
    for round in 0..5 {
        let mut client = TcpStream::connect(address(&broker)).unwrap();
        let mut packets = connect(&format!("client-{round}"));
        packets.extend(publish(7));
        packets.extend_from_slice(DISCONNECT);
        // More than the broker reads at a time.
        packets.resize(400_000, 0);
        client.write_all(&packets).unwrap();
        assert_eq!(read_to_end(&mut client), [0x20, 2, 0, 0, 0x40, 2, 0, 7], "round {round}");
    }
    broker.stop(Duration::from_secs(5));
}

#[test]
fn a_client_that_has_ended_its_side_learns_why_the_broker_ends_the_other() {
    let broker = broker(1);
    for round in 0..20 {
        let mut client = TcpStream::connect(address(&broker)).unwrap();
        let again = connect_v5("client", &[]);
        client.write_all(&[&*again, &again].concat()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let answers = read_to_end(&mut client);
        let connack_len = 2 + usize::from(answers[1]);
        let disconnect = &answers[connack_len..];
        assert_eq!((answers[0], disconnect[0], disconnect[2]), (0x20, 0xE0, 0x82), "{round}");
        assert_eq!(disconnect.len(), 2 + usize::from(disconnect[1]));
    }
    broker.stop(Duration::from_secs(5));
}
