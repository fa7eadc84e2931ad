//! A Client that writes and reads bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        Self(stream)
    }

    pub(crate) fn write(&mut self, packets: &[&[u8]]) {
        self.0.write_all(&packets.concat()).expect("the broker reads");
    }

    /// Expects these bytes next.
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.0.read_exact(&mut read).expect("something comes within five seconds");
        assert_eq!(read, bytes);
    }

    /// Expects the broker to close the connection without sending anything more.
    pub(crate) fn expect_end(&mut self) {
        let mut read = [0];
        assert_eq!(self.0.read(&mut read).expect("it ends within five seconds"), 0);
    }
}

/// A CONNECT of MQTT 3.1.1 with Clean Session and without Keep Alive.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let length = client_id.len() as u8;
    let mut packet = vec![0x10, 12 + length, 0, 4];
    packet.extend_from_slice(b"MQTT\x04\x02\0\0\0");
    packet.push(length);
    packet.extend_from_slice(client_id.as_bytes());
    packet
}

/// A CONNECT of MQTT 5.0 with Clean Start, these properties and without Keep Alive.
pub(crate) fn connect_v5(client_id: &str, properties: &[u8]) -> Vec<u8> {
    let lengths = (properties.len() as u8, client_id.len() as u8);
    let mut packet = vec![0x10, 13 + lengths.0 + lengths.1, 0, 4];
    packet.extend_from_slice(b"MQTT\x05\x02\0\0");
    packet.push(lengths.0);
    packet.extend_from_slice(properties);
    packet.extend_from_slice(&[0, lengths.1]);
    packet.extend_from_slice(client_id.as_bytes());
    packet
}

pub(crate) const CONNACK: &[u8] = &[0x20, 2, 0, 0];
