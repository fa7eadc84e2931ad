//! The Client's side of MQTT without I/O: bytes that were received go in, events and bytes to be
//! sent come out, and the time is an argument.
//!
//! A received packet is handled only when [`Session::poll_event`] is asked for the next event, so a
//! message that the command has not taken is not acknowledged. This module must never touch a
//! socket, a clock or the terminal; `client::driver` does that.

mod describe;
mod encode;
mod in_flight;
mod options;
mod receive;
mod redeliver;
mod send;
mod streams;

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use midge_codec::{
    Decoded, Packet, PacketIdentifier, ProtocolVersion, QoS, ReasonCode, Rule, decode,
};

use super::message::Message;
use in_flight::InFlight;
pub(crate) use options::{ConnectOptions, Publication, WillOptions};
pub(crate) use streams::CONTROL;
use streams::StreamBytes;

/// How long the Server may take to answer a CONNECT.
const CONNACK_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time that the Server gets to answer a PINGREQ.
const PINGRESP_TIMEOUT_MIN: Duration = Duration::from_secs(5);
/// The largest packet whose length MQTT can express: 1 + 4 + 268,435,455 bytes.
const PACKET_SIZE_MAX: u32 = 268_435_460;

/// The state of one Client, over as many Network Connections as it needs.
#[derive(Debug)]
pub(crate) struct Session {
    options: Rc<ConnectOptions>,
    phase: Phase,
    limits: ServerLimits,
    /// The control stream and the data streams beside it.
    streams: Vec<StreamBytes>,
    /// The stream whose packets are handled now; answers go there.
    handled: usize,
    /// The stream for what the command publishes and subscribes to.
    asks_on: usize,
    events: VecDeque<Event>,
    in_flight: InFlight,
    /// QoS 2 messages that were delivered and not yet released by a PUBREL.
    unreleased: HashSet<PacketIdentifier>,
    /// QoS 0 messages that were not sent when a Network Connection was lost.
    unsent_messages: Vec<Publication>,
    requests: HashMap<PacketIdentifier, Vec<String>>,
    takes_messages: bool,
    last_sent: Option<Instant>,
    ping_sent: Option<Instant>,
    connected_before: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    NoConnection,
    AwaitingConnAck { since: Instant },
    Connected,
}

/// What the Server said in its CONNACK that it allows.
#[derive(Clone, Debug)]
struct ServerLimits {
    receive_maximum: u16,
    maximum_packet_size: u32,
    maximum_qos: QoS,
    retain_available: bool,
    topic_alias_maximum: u16,
    keep_alive: Duration,
    response_information: Option<String>,
}

/// What the command has to know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The Server accepted the connection.
    Connected { session_present: bool },
    /// The Server refused the connection.
    Refused(Answer),
    /// An Application Message.
    Message(Box<Message>),
    /// A QoS 1 or 2 message was acknowledged, or refused when the Reason Code is 0x80 or above.
    Published { topic: String, answer: Answer },
    /// The answer to a SUBSCRIBE, filter by filter.
    Subscribed { results: Vec<(String, ReasonCode)>, reason_string: Option<String> },
    /// The answer to an UNSUBSCRIBE, filter by filter; always Success before 5.0.
    Unsubscribed { results: Vec<(String, ReasonCode)>, reason_string: Option<String> },
    /// The Server sent a DISCONNECT.
    Disconnected(Answer),
    /// With `ConnectOptions::trace`: a packet that was sent or received.
    Trace(String),
}

/// A Reason Code with what may come beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) reason_code: ReasonCode,
    pub(crate) reason_string: Option<String>,
    pub(crate) server_reference: Option<String>,
}

/// Why the Network Connection has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The Server broke the protocol, or speaks another one.
    Protocol(String),
    /// The Server owed an answer for too long.
    Silence(String),
}

impl Session {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        let limits = ServerLimits::before_connack(&options);
        Self {
            options: options.into(),
            phase: Phase::NoConnection,
            limits,
            streams: vec![StreamBytes::default()],
            handled: CONTROL,
            asks_on: CONTROL,
            events: VecDeque::new(),
            in_flight: InFlight::default(),
            unreleased: HashSet::new(),
            unsent_messages: Vec::new(),
            requests: HashMap::new(),
            takes_messages: true,
            last_sent: None,
            ping_sent: None,
            connected_before: false,
        }
    }

    /// Begins a Network Connection with a CONNECT.
    pub(crate) fn connect(&mut self, now: Instant) {
        self.connection_lost();
        self.phase = Phase::AwaitingConnAck { since: now };
        let options = Rc::clone(&self.options);
        let clean_start = options.clean_start && !self.resumes();
        self.send(&Packet::Connect(Box::new(encode::connect(&options, clean_start))), now);
    }

    /// Whether the Server has accepted the Network Connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Whether another connection may find the session that the last one left: with a Session
    /// Expiry Interval it may, even if the first connection began clean.
    fn resumes(&self) -> bool {
        let expiry = self.options.properties.number("session-expiry-interval").unwrap_or(0);
        self.connected_before && self.options.version == ProtocolVersion::V5 && expiry > 0
    }

    /// Forgets what belonged to the Network Connection. Messages in flight stay, and so do messages
    /// that never left.
    pub(crate) fn connection_lost(&mut self) {
        self.phase = Phase::NoConnection;
        let streams = self.streams.iter_mut();
        self.unsent_messages.extend(streams.flat_map(StreamBytes::take_unsent_messages));
        self.limits = ServerLimits::before_connack(&self.options);
        self.streams = vec![StreamBytes::default()];
        (self.handled, self.asks_on) = (CONTROL, CONTROL);
        self.requests.clear();
        self.ping_sent = None;
        self.last_sent = None;
    }

    /// Ignores PUBLISH packets from now on: they are neither delivered nor acknowledged.
    pub(crate) fn stop_messages(&mut self) {
        self.takes_messages = false;
    }

    /// Whether every handshake is complete, in both directions.
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.len() == 0
            && self.unsent_messages.is_empty()
            && self.unreleased.is_empty()
            && self.requests.is_empty()
    }

    /// How many QoS 1 and 2 messages are not yet acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns `qos`, or the highest QoS below it that the Server takes.
    pub(crate) fn supported_qos(&self, qos: QoS) -> QoS {
        qos.min(self.limits.maximum_qos)
    }

    /// Returns the Response Information of the CONNACK.
    pub(crate) fn response_information(&self) -> Option<&str> {
        self.limits.response_information.as_deref()
    }

    /// Takes note that a data stream was opened beside the control stream; returns its number.
    pub(crate) fn open_stream(&mut self) -> usize {
        self.streams.push(StreamBytes::default());
        self.streams.len() - 1
    }

    /// Publishes and subscribes on this stream from now on.
    pub(crate) fn ask_on(&mut self, stream: usize) {
        self.asks_on = stream;
    }

    /// Takes bytes that were received on a stream.
    pub(crate) fn handle_bytes(&mut self, stream: usize, bytes: &[u8]) {
        self.streams[stream].receive(bytes);
    }

    /// Returns the next event, from the packets received so far.
    pub(crate) fn poll_event(&mut self, now: Instant) -> Result<Option<Event>, Fault> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if !self.handle_packets_of_a_stream(now)? {
                return Ok(self.events.pop_front());
            }
        }
    }

    /// Handles the next packet of some stream; returns false if there is none.
    fn handle_packets_of_a_stream(&mut self, now: Instant) -> Result<bool, Fault> {
        for _ in 0..self.streams.len() {
            let stream = &mut self.streams[self.handled];
            // Taken out of the stream, because the packet borrows from it while it is handled.
            let (inbound, start) = (std::mem::take(&mut stream.inbound), stream.inbound_start);
            let outcome = self.handle_next_packet(&inbound[start..], now);
            let stream = &mut self.streams[self.handled];
            stream.inbound = inbound;
            match outcome {
                Ok(0) => self.handled = (self.handled + 1) % self.streams.len(),
                Ok(length) => {
                    stream.inbound_start += length;
                    return Ok(true);
                }
                Err((fault, reason_code)) => {
                    self.send_disconnect(reason_code, None, now);
                    return Err(fault);
                }
            }
        }
        Ok(false)
    }

    /// Handles the packet at the start of `bytes` and returns its length; 0 if the packet is
    /// incomplete.
    fn handle_next_packet(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> Result<usize, (Fault, ReasonCode)> {
        if self.phase == Phase::NoConnection {
            return Ok(0);
        }
        let maximum = self.options.properties.number("maximum-packet-size");
        match decode(bytes, self.options.version, maximum.unwrap_or(PACKET_SIZE_MAX)) {
            Ok(Decoded::Incomplete { .. }) => Ok(0),
            Ok(Decoded::Packet { packet, length }) => {
                if self.options.trace {
                    let line = describe::received(&packet);
                    self.events.push_back(Event::Trace(line));
                }
                self.handle_packet(&packet, now)
                    .map_err(|(text, reason_code)| (Fault::Protocol(text), reason_code))?;
                Ok(length)
            }
            Err(error) => {
                let text = match error.rule {
                    Rule::PacketTooLarge => {
                        "sent a packet above the maximum packet size".to_owned()
                    }
                    _ => format!("sent what is not MQTT: {error}"),
                };
                Err((Fault::Protocol(text), error.rule.reason_code()))
            }
        }
    }

    /// Returns when [`Self::handle_timeout`] has to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::NoConnection => None,
            Phase::AwaitingConnAck { since } => Some(since + CONNACK_TIMEOUT),
            Phase::Connected if self.limits.keep_alive.is_zero() => None,
            Phase::Connected => match self.ping_sent {
                Some(sent) => Some(sent + self.pingresp_timeout()),
                None => self.last_sent.map(|sent| sent + self.limits.keep_alive),
            },
        }
    }

    /// Sends a PINGREQ that is due, or finds that an answer is overdue.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Ok(());
        }
        if self.phase != Phase::Connected {
            let seconds = CONNACK_TIMEOUT.as_secs();
            return Err(Fault::Silence(format!("did not answer CONNECT within {seconds} s")));
        }
        if self.ping_sent.is_some() {
            let seconds = self.pingresp_timeout().as_secs();
            return Err(Fault::Silence(format!("did not answer PINGREQ within {seconds} s")));
        }
        self.send(&Packet::PingReq, now);
        self.ping_sent = Some(now);
        Ok(())
    }

    fn pingresp_timeout(&self) -> Duration {
        self.limits.keep_alive.max(PINGRESP_TIMEOUT_MIN)
    }

    /// Returns the bytes to be sent next on a stream.
    pub(crate) fn outbound(&self, stream: usize) -> &[u8] {
        self.streams[stream].unsent()
    }

    /// Returns how many bytes are to be sent, on all streams together.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.streams.iter().map(|stream| stream.unsent().len()).sum()
    }

    /// Takes note that the first `length` bytes of [`Self::outbound`] were sent.
    pub(crate) fn handle_sent(&mut self, stream: usize, length: usize) {
        self.streams[stream].note_sent(length);
    }

    /// Drops the packets that were not sent, so that messages that they would acknowledge stay with
    /// the Server. Does nothing in the middle of a packet.
    pub(crate) fn discard_outbound(&mut self) {
        self.streams.iter_mut().for_each(StreamBytes::discard_unsent);
    }
}

impl ServerLimits {
    /// The limits that hold until the Server names its own.
    fn before_connack(options: &ConnectOptions) -> Self {
        Self {
            receive_maximum: u16::MAX,
            maximum_packet_size: PACKET_SIZE_MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: 0,
            keep_alive: Duration::from_secs(options.keep_alive_seconds.into()),
            response_information: None,
        }
    }
}

#[cfg(test)]
mod tests;
