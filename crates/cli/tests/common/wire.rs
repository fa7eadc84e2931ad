//! A Network Connection of a test's client: Control Packets out, Control Packets in. It knows bytes
//! and deadlines, but not what packets mean.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use midge_codec::{Decoded, Packet, ProtocolVersion, QoS, ReasonCode, decode};

/// Packets are small in these tests.
const PACKET_BYTES_MAX: u32 = 1 << 20;

/// How long a write may take before the broker counts as stuck.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// A Network Connection.
pub(crate) struct Connection {
    stream: TcpStream,
    version: ProtocolVersion,
    input: Vec<u8>,
    /// How many bytes of `input` have been decoded.
    taken: usize,
    output: Vec<u8>,
    read_timeout: Option<Duration>,
}

/// A packet from the broker.
#[derive(Debug)]
pub(crate) enum Incoming {
    ConnAck { session_present: bool, code: ReasonCode },
    Publish(Received),
    PubAck(u16, ReasonCode),
    PubRec(u16, ReasonCode),
    PubRel(u16),
    PubComp(u16),
    SubAck(u16, Vec<ReasonCode>),
    UnsubAck(u16),
    PingResp,
    Disconnect(ReasonCode),
}

/// A PUBLISH from the broker.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    /// The Packet Identifier; 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) payload: Vec<u8>,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) topic_alias: Option<u16>,
}

/// Why the Network Connection has ended or cannot continue.
#[derive(Debug)]
pub(crate) enum Gone {
    /// The other side has closed it.
    Ended,
    /// The broker has done this, which it must not do.
    Broken(String),
}

impl Connection {
    pub(crate) fn open(port: u16, version: ProtocolVersion) -> Result<Self, Gone> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|_| Gone::Ended)?;
        // Packets leave when they are flushed, not when Nagle's algorithm decides.
        stream.set_nodelay(true).map_err(|_| Gone::Ended)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE)).map_err(|_| Gone::Ended)?;
        let (input, output) = (Vec::new(), Vec::new());
        Ok(Self { stream, version, input, taken: 0, output, read_timeout: None })
    }

    /// Returns a handle of the same connection, for whoever will cut it.
    pub(crate) fn stream(&self) -> Result<TcpStream, Gone> {
        self.stream.try_clone().map_err(|_| Gone::Ended)
    }

    /// Adds a packet to those that leave with the next flush.
    pub(crate) fn put(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.output).unwrap();
    }

    /// Adds only the first bytes of a packet, for a connection that ends in the middle of it.
    pub(crate) fn put_beginning(&mut self, packet: &Packet<'_>, bytes: usize) {
        let length = self.output.len();
        self.put(packet);
        self.output.truncate((length + bytes).min(self.output.len() - 1));
    }

    /// Writes what was put. Only reading shows that a broker is gone, after everything that it had
    /// sent before.
    pub(crate) fn flush(&mut self) {
        let _ = self.stream.write_all(&self.output);
        self.output.clear();
    }

    /// Flushes; returns the next packet, or `None` if none comes before the deadline.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<Option<Incoming>, Gone> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(Some(incoming));
            }
            self.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.set_read_timeout(left)?;
            let mut bytes = [0; 16_384];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Gone::Ended),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => (),
                    _ => return Err(Gone::Ended),
                },
            }
        }
    }

    fn set_read_timeout(&mut self, left: Duration) -> Result<(), Gone> {
        // The kernel's own clock is coarser, and zero would mean forever.
        let left = left.max(Duration::from_millis(1));
        if self.read_timeout != Some(left) {
            self.stream.set_read_timeout(Some(left)).map_err(|_| Gone::Ended)?;
            self.read_timeout = Some(left);
        }
        Ok(())
    }

    /// Returns the next packet from the bytes already read.
    fn take(&mut self) -> Result<Option<Incoming>, Gone> {
        let bytes = &self.input[self.taken..];
        match decode(bytes, self.version, PACKET_BYTES_MAX) {
            Ok(Decoded::Packet { packet, length }) => {
                let incoming = Incoming::of(&packet)?;
                self.taken += length;
                Ok(Some(incoming))
            }
            Ok(Decoded::Incomplete { .. }) => {
                self.input.drain(..self.taken);
                self.taken = 0;
                Ok(None)
            }
            Err(error) => Err(Gone::Broken(format!("sends what is no packet: {error:?}"))),
        }
    }
}

impl Incoming {
    fn of(packet: &Packet<'_>) -> Result<Self, Gone> {
        Ok(match packet {
            Packet::ConnAck(connack) => Self::ConnAck {
                session_present: connack.session_present,
                code: connack.reason_code,
            },
            Packet::Publish(publish) => Self::Publish(Received {
                dup: publish.dup,
                qos: publish.qos,
                retain: publish.retain,
                topic: publish.topic.as_str().to_owned(),
                packet_id: publish.packet_id.map_or(0, midge_codec::PacketIdentifier::get),
                payload: publish.payload.to_vec(),
                expiry_seconds: publish.properties.message_expiry_interval_seconds,
                topic_alias: publish.properties.topic_alias.map(NonZeroU16::get),
            }),
            Packet::PubAck(ack) => Self::PubAck(ack.packet_id.get(), ack.reason_code),
            Packet::PubRec(ack) => Self::PubRec(ack.packet_id.get(), ack.reason_code),
            Packet::PubRel(ack) => Self::PubRel(ack.packet_id.get()),
            Packet::PubComp(ack) => Self::PubComp(ack.packet_id.get()),
            Packet::SubAck(ack) => Self::SubAck(ack.packet_id.get(), ack.reason_codes.to_vec()),
            Packet::UnsubAck(ack) => Self::UnsubAck(ack.packet_id.get()),
            Packet::PingResp => Self::PingResp,
            Packet::Disconnect(disconnect) => Self::Disconnect(disconnect.reason_code),
            other => {
                let name = other.packet_type().name();
                return Err(Gone::Broken(format!("sends a {name} to a Client")));
            }
        })
    }
}
