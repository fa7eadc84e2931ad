//! A Client of MQTT over QUIC with any number of streams. It encodes with the codec and does
//! nothing by itself.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use midge_broker::{ProtocolVersion, QoS, ReasonCode, Transport, UserProperties};
use midge_codec::{
    Connect, Decoded, Packet, PacketIdentifier, PacketType, Subscribe, Subscription,
    SubscriptionOptions, decode,
};
use midge_net::{
    Connector, Poller, Received as Arrived, Scratch, Stream, Target, TlsClientOptions,
};

use crate::client::{
    Message, Received, acknowledgement, bytes_of, connect_packet, owned, publish_packet,
};
use crate::support::{DEADLINE, until};

/// The stream that carries the CONNECT.
pub(crate) const CONTROL: usize = 0;

/// A connection. Streams go by their numbers; 0 is the control stream.
pub(crate) struct Link {
    streams: Vec<One>,
    poller: Poller,
    scratch: Scratch,
    next_id: u16,
    // Dropped last: it sends off what the streams have left.
    _connector: Connector,
}

struct One {
    stream: Option<Stream>,
    out: Vec<u8>,
    buffer: Vec<u8>,
    early: VecDeque<Received>,
    /// How the stream has ended: well, or with this error.
    end: Option<Result<(), String>>,
    /// Whether arriving data is read.
    reads: bool,
}

impl Link {
    /// Begins to connect to `localhost`.
    pub(crate) fn open(address: SocketAddr, tls: &TlsClientOptions) -> Self {
        let target = Target {
            transport: Transport::Quic,
            host: "localhost".into(),
            port: address.port(),
            path: String::new(),
        };
        let mut connector = Connector::new(target, tls).unwrap();
        let stream = connector.open(Some(address)).unwrap();
        let mut link = Self {
            streams: Vec::new(),
            poller: Poller::new().unwrap(),
            scratch: Scratch::new(),
            next_id: 1,
            _connector: connector,
        };
        link.add(stream);
        link
    }

    /// Connects a Client of MQTT 5.0 with Clean Start.
    pub(crate) fn connect(address: SocketAddr, tls: &TlsClientOptions, client_id: &str) -> Self {
        Self::open(address, tls).connected(&connect_packet(ProtocolVersion::V5, client_id))
    }

    /// Sends this CONNECT and expects to be accepted.
    pub(crate) fn connected(mut self, connect: &Connect<'_>) -> Self {
        self.send_connect(connect);
        self.expect_connack();
        self
    }

    pub(crate) fn send_connect(&mut self, connect: &Connect<'_>) {
        self.send(CONTROL, &Packet::Connect(Box::new(connect.clone())));
    }

    /// Takes the CONNACK and returns whether the Session was present.
    pub(crate) fn expect_connack(&mut self) -> bool {
        match self.receive(CONTROL) {
            Received::ConnAck { code: ReasonCode::Success, session_present, .. } => session_present,
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    fn add(&mut self, mut stream: Stream) -> usize {
        let number = self.streams.len();
        self.poller.register(&mut stream, number).unwrap();
        self.streams.push(One {
            stream: Some(stream),
            out: Vec::new(),
            buffer: Vec::new(),
            early: VecDeque::new(),
            end: None,
            reads: true,
        });
        number
    }

    /// Opens a data stream as soon as the broker allows one.
    pub(crate) fn open_stream(&mut self) -> usize {
        let mut opened = None;
        until("a data stream may be opened", || {
            opened = self.try_open_stream();
            opened.is_some()
        });
        opened.unwrap()
    }

    /// Opens a data stream, if the broker accepts another one.
    pub(crate) fn try_open_stream(&mut self) -> Option<usize> {
        let control = self.streams[CONTROL].stream.as_mut().unwrap();
        match control.open_data_stream() {
            Ok(stream) => Some(self.add(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.step(); // otherwise the handshake does not proceed
                None
            }
            Err(error) => panic!("opening a data stream: {error}"),
        }
    }

    pub(crate) fn send(&mut self, stream: usize, packet: &Packet<'_>) {
        self.send_bytes(stream, &bytes_of(packet, ProtocolVersion::V5));
    }

    pub(crate) fn send_bytes(&mut self, stream: usize, bytes: &[u8]) {
        self.streams[stream].out.extend_from_slice(bytes);
        self.drive("the broker takes it", |link| link.streams[stream].out.is_empty().then_some(()));
    }

    /// Subscribes and expects success, on the same stream.
    pub(crate) fn subscribe(&mut self, stream: usize, filter: &str, qos: QoS) {
        let id = self.send_subscribe(stream, filter, qos);
        self.expect_suback(stream, id);
    }

    /// Sends a SUBSCRIBE and returns its Packet Identifier.
    pub(crate) fn send_subscribe(&mut self, stream: usize, filter: &str, qos: QoS) -> u16 {
        let packet_id = PacketIdentifier::new(self.packet_id()).unwrap();
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        self.send(
            stream,
            &Packet::Subscribe(Subscribe {
                packet_id,
                subscription_identifier: None,
                user_properties: UserProperties::default(),
                subscriptions: (&[Subscription { filter, options }][..]).into(),
            }),
        );
        packet_id.get()
    }

    pub(crate) fn expect_suback(&mut self, stream: usize, expected: u16) {
        let is_it = |received: &Received| match received {
            Received::SubAck { id, codes } if *id == expected => Some(codes[0]),
            _ => None,
        };
        let code = self.receive_first(stream, is_it);
        assert!(!code.is_error(), "{code:?}");
    }

    /// Sends a PUBLISH and returns its Packet Identifier.
    pub(crate) fn publish(&mut self, stream: usize, topic: &str, payload: &[u8], qos: QoS) -> u16 {
        let id = if qos == QoS::AtMostOnce { 0 } else { self.packet_id() };
        self.send(stream, &publish_packet(topic, payload, qos, Some(id).filter(|&id| id > 0)));
        id
    }

    /// Publishes at QoS 1; the answer has to come on the same stream.
    pub(crate) fn publish_acknowledged(&mut self, stream: usize, topic: &str, payload: &[u8]) {
        let expected = self.publish(stream, topic, payload, QoS::AtLeastOnce);
        self.receive_first(stream, |received| match received {
            Received::Ack { kind: PacketType::PubAck, id, .. } if *id == expected => Some(()),
            _ => None,
        });
    }

    /// Receives the next PUBLISH on this stream, and acknowledges it there if necessary.
    pub(crate) fn message(&mut self, stream: usize) -> Message {
        let message = self.receive_first(stream, |received| match received {
            Received::Publish(message) => Some(message.clone()),
            _ => None,
        });
        if let (QoS::AtLeastOnce, Some(id)) = (message.qos, message.id) {
            self.send(stream, &acknowledgement(PacketType::PubAck, id));
        }
        message
    }

    /// Receives the next PUBLISH and returns its payload.
    pub(crate) fn text(&mut self, stream: usize) -> String {
        String::from_utf8(self.message(stream).payload).unwrap()
    }

    /// Sends a PINGREQ and waits for the answer. By then the broker has handled what was sent
    /// before on the control stream, and what the broker sent before has arrived.
    pub(crate) fn ping(&mut self) {
        self.send(CONTROL, &Packet::PingReq);
        self.receive_first(CONTROL, |received| (*received == Received::PingResp).then_some(()));
    }

    /// Receives the next packet on this stream, or its end.
    pub(crate) fn receive(&mut self, stream: usize) -> Received {
        if let Some(received) = self.streams[stream].early.pop_front() {
            return received;
        }
        self.drive("a packet comes", |link| link.streams[stream].next())
    }

    /// Takes what has arrived on this stream and was not taken yet.
    pub(crate) fn waiting(&mut self, stream: usize) -> Vec<Received> {
        self.step();
        let one = &mut self.streams[stream];
        let mut all: Vec<_> = one.early.drain(..).collect();
        all.extend(std::iter::from_fn(|| one.next().filter(|it| *it != Received::Closed)));
        all
    }

    /// Waits for the error with which a stream ends, and returns its text.
    pub(crate) fn failure(&mut self, stream: usize) -> String {
        self.drive("it fails", |link| {
            let end = link.streams[stream].end.as_ref()?;
            Some(end.as_ref().expect_err("it has ended well").clone())
        })
    }

    /// Sets whether data arriving on this stream is read.
    pub(crate) fn set_reading(&mut self, stream: usize, reads: bool) {
        self.streams[stream].reads = reads;
    }

    /// Ends the sending direction of this stream, but reads on.
    pub(crate) fn finish(&mut self, stream: usize) {
        let Self { streams, scratch, .. } = self;
        streams[stream].stream.as_mut().unwrap().shutdown_write(scratch);
    }

    /// Resets this stream.
    pub(crate) fn reset(&mut self, stream: usize) {
        self.streams[stream].stream.take().unwrap().abort(0);
    }

    fn receive_first<T>(&mut self, stream: usize, wanted: impl Fn(&Received) -> Option<T>) -> T {
        let early = &mut self.streams[stream].early;
        if let Some(place) = early.iter().position(|received| wanted(received).is_some()) {
            return wanted(&early.remove(place).unwrap()).unwrap();
        }
        self.drive("a packet comes", |link| {
            let one = &mut link.streams[stream];
            let received = one.next()?;
            assert!(received != Received::Closed, "it has ended: {:?}", one.end);
            let found = wanted(&received);
            if found.is_none() {
                one.early.push_back(received);
            }
            found
        })
    }

    /// Tries again whenever something has happened.
    fn drive<T>(&mut self, what: &str, mut attempt: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let progress = self.step();
            if let Some(result) = attempt(self) {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what}: not within {DEADLINE:?}");
            if !progress {
                self.poller.wait(Some(left.min(Duration::from_secs(1)))).unwrap();
                self.poller.ready().for_each(drop);
            }
        }
    }

    /// Writes and reads what it can; returns whether more may be possible without a notification.
    fn step(&mut self) -> bool {
        let Self { streams, scratch, .. } = self;
        streams.iter_mut().fold(false, |progress, one| one.step(scratch) | progress)
    }

    fn packet_id(&mut self) -> u16 {
        self.next_id += 1;
        self.next_id
    }
}

impl One {
    fn step(&mut self, scratch: &mut Scratch) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let mut progress = false;
        while !self.out.is_empty() {
            match stream.write_vectored(&[IoSlice::new(&self.out)], scratch) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The next read returns the reason.
                Err(_) => self.out.clear(),
            }
            progress = true;
        }
        let mut into = [0; 16 * 1024];
        while self.reads && self.end.is_none() {
            match stream.read(&mut into, scratch) {
                Ok(Arrived::Bytes { count, .. }) => self.buffer.extend_from_slice(&into[..count]),
                Ok(Arrived::End) => self.end = Some(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.end = Some(Err(error.to_string())),
            }
            progress = true;
        }
        progress
    }

    fn next(&mut self) -> Option<Received> {
        let decoded = decode(&self.buffer, ProtocolVersion::V5, u32::MAX).unwrap();
        if let Decoded::Packet { packet, length } = decoded {
            let received = owned(&packet);
            self.buffer.drain(..length);
            return Some(received);
        }
        self.end.is_some().then_some(Received::Closed)
    }
}
