//! A Client of MQTT 3.1.1 byte by byte: it does what no client of ours would.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Client {
    stream: TcpStream,
}

/// A CONNECT, to be changed before it is sent.
pub(crate) struct Connect<'c> {
    pub(crate) client_id: &'c str,
    pub(crate) clean: bool,
    /// User Name and Password.
    pub(crate) user: Option<(&'c str, &'c str)>,
}

impl Client {
    /// Connects with Clean Session and expects to be accepted.
    pub(crate) fn connect(port: u16, client_id: &str) -> Self {
        Self::connect_with(port, &Connect { client_id, clean: true, user: None })
    }

    pub(crate) fn connect_with(port: u16, connect: &Connect<'_>) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { stream };
        let flags = u8::from(connect.clean) << 1 | if connect.user.is_some() { 0xc0 } else { 0 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 60];
        put_text(&mut body, connect.client_id);
        if let Some((user_name, password)) = connect.user {
            put_text(&mut body, user_name);
            put_text(&mut body, password);
        }
        client.send(0x10, &body);
        assert_eq!(client.packet()[3], 0, "it is let in");
        client
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 1];
        put_text(&mut body, filter);
        body.push(qos);
        self.send(0x82, &body);
        assert_eq!(self.packet()[4], qos);
    }

    /// Publishes at QoS 1 and waits for the PUBACK.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        body.extend_from_slice(&[0, 7]);
        body.extend_from_slice(payload);
        self.send(0x32, &body);
        assert_eq!(self.packet(), [0x40, 2, 0, 7]);
    }

    pub(crate) fn disconnect(mut self) {
        self.send(0xe0, &[]);
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
    }

    /// Publishes to itself at QoS 0 more than the broker and the kernels in between keep, and reads
    /// nothing any more.
    pub(crate) fn stop_reading(&mut self) {
        let mut body = Vec::new();
        put_text(&mut body, "t");
        body.resize(100_000, b'x');
        self.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        for _ in 0..400 {
            self.send(0x30, &body);
        }
    }

    /// Sends a packet with this first byte; it may block in the middle of the packet.
    fn send(&mut self, first: u8, body: &[u8]) {
        let mut packet = vec![first];
        let mut length = body.len();
        loop {
            let more = if length > 127 { 0x80 } else { 0 };
            packet.push((length % 128) as u8 | more);
            length /= 128;
            if length == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        match self.stream.write_all(&packet) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the next packet, which has to be a short one.
    fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet).unwrap();
        packet.resize(2 + usize::from(packet[1]), 0);
        self.stream.read_exact(&mut packet[2..]).unwrap();
        packet
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&(text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}
