//! One MQTT client of the generator: a link, how far its handshake is, and its part in the run.

use std::io::{self, ErrorKind};

use midge_net::{Poller, Scratch};

use super::super::error::BenchError;
use super::flow::Flow;
use super::handshake::{self, Introduction, Protocol};
use super::link::{Dialer, Link};
use super::publisher::Publisher;
use super::subscriber::{Arrival, Source, Subscriber, record_latency};
use super::wire::{self, Frame};
use crate::endpoint::{Endpoint, Secret};

/// What all clients of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    pub(crate) qos: u8,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Secret>,
    /// Whether everything after the CONNACK goes on data streams.
    pub(crate) data_streams: bool,
}

/// A client's part in the run.
#[derive(Debug)]
pub(crate) enum Part {
    Publisher(Publisher),
    Subscriber(Subscriber),
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Offline,
    Connecting,
    AwaitsConnAck,
    AwaitsSubAck,
    Ready,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    /// The filter to subscribe to after the CONNACK, unless the session is there already.
    pub(crate) filter: Option<String>,
    pub(crate) clean_start: bool,
    pub(crate) persistent: bool,
    pub(crate) part: Part,
    pub(crate) phase: Phase,
    pub(crate) link: Option<Link>,
    /// Whether it is in the list of clients to be read.
    pub(crate) is_readable: bool,
    /// Whether it is in the list of clients to be flushed.
    pub(crate) is_dirty: bool,
}

impl Client {
    pub(crate) fn new(client_id: String, filter: Option<String>, part: Part) -> Self {
        Self {
            client_id,
            filter,
            clean_start: true,
            persistent: false,
            part,
            phase: Phase::Offline,
            link: None,
            is_readable: false,
            is_dirty: false,
        }
    }

    /// Begins to connect.
    pub(crate) fn open(
        &mut self,
        common: &Common,
        dialer: &mut Dialer,
        poller: &Poller,
        number: usize,
    ) -> Result<(), BenchError> {
        let link = dialer.open(poller, number);
        self.link = Some(link.map_err(|error| common.cannot_connect(&error))?);
        self.phase = Phase::Connecting;
        Ok(())
    }

    /// Ends the connection in good order.
    pub(crate) fn close(
        &mut self,
        common: &Common,
        scratch: &mut Scratch,
    ) -> Result<(), BenchError> {
        if let Some(mut link) = self.link.take() {
            let ended = link.end_data_stream(scratch);
            ended.map_err(|error| self.broken(common, &error))?;
            handshake::disconnect(common.protocol, &mut link.out)?;
            link.finish(scratch).map_err(|error| self.broken(common, &error))?;
        }
        self.phase = Phase::Offline;
        Ok(())
    }

    /// Sends CONNECT as soon as the connection is established.
    pub(crate) fn introduce(&mut self, common: &Common) -> Result<(), BenchError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.is_established().map_err(|error| common.cannot_connect(&error))? {
            let introduction = Introduction {
                protocol: common.protocol,
                client_id: &self.client_id,
                clean_start: self.clean_start,
                persistent: self.persistent,
                keep_alive_seconds: common.keep_alive_seconds,
                user_name: common.user_name.as_deref(),
                password: common.password.as_ref().map(Secret::expose),
            };
            introduction.append(&mut link.out)?;
            self.phase = Phase::AwaitsConnAck;
        }
        Ok(())
    }

    /// Changes to a data stream, if that is asked for.
    pub(crate) fn begin_data_stream(
        &mut self,
        common: &Common,
        poller: &Poller,
        number: usize,
    ) -> Result<(), BenchError> {
        let Some(link) = self.link.as_mut().filter(|_| common.data_streams) else {
            return Ok(());
        };
        link.use_data_stream(poller, number).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => BenchError::run("the broker takes no data streams"),
            _ => BenchError::run(format!("{}: no data stream: {error}", self.client_id)),
        })
    }

    /// Takes the bytes of one read. Returns `true` if they made the client ready.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        common: &Common,
        flow: &mut Flow,
    ) -> Result<bool, BenchError> {
        let was_ready = self.phase == Phase::Ready;
        let Some(link) = &mut self.link else { return Ok(false) };
        let (phase, part, filter) = (&mut self.phase, &mut self.part, self.filter.as_deref());
        let handled = link.split(bytes, |frame, out| match *phase {
            Phase::Ready => part.handle(frame, out, flow),
            Phase::AwaitsSubAck if frame.kind() == wire::PUBLISH => part.handle(frame, out, flow),
            _ => phase.advance(frame, filter, part, common, out),
        });
        handled.map_err(|error| BenchError::run(format!("{}: {error}", self.client_id)))?;
        self.part.settle(flow);
        Ok(!was_ready && self.phase == Phase::Ready)
    }

    /// Makes the error for a failed read or write.
    pub(crate) fn broken(&self, common: &Common, error: &io::Error) -> BenchError {
        if matches!(self.phase, Phase::Connecting | Phase::AwaitsConnAck) {
            return common.cannot_connect(error);
        }
        BenchError::run(format!("{}: the connection broke: {error}", self.client_id))
    }
}

impl Common {
    /// Makes the error for a failure before the broker has said anything.
    pub(crate) fn cannot_connect(&self, error: &io::Error) -> BenchError {
        let failure = match error.kind() {
            ErrorKind::UnexpectedEof => self.endpoint.ended_in_handshake(),
            _ => self.endpoint.cannot_connect(error, None),
        };
        BenchError::run(failure.text)
    }
}

impl Phase {
    /// Takes a packet of the handshake, and goes on to the next one.
    fn advance(
        &mut self,
        frame: Frame<'_>,
        filter: Option<&str>,
        part: &mut Part,
        common: &Common,
        out: &mut Vec<u8>,
    ) -> Result<(), BenchError> {
        if *self == Self::AwaitsSubAck {
            handshake::subscribed(common.protocol, frame, common.qos)?;
            *self = Self::Ready;
            return Ok(());
        }
        let welcome = handshake::welcome(common.protocol, frame)?;
        if let Part::Publisher(publisher) = part {
            if welcome.qos_max < common.qos {
                return Err(BenchError::run("the broker does not support this QoS"));
            }
            publisher.limit_in_flight(welcome.receive_maximum);
        }
        match filter {
            Some(filter) if !welcome.session_present => {
                handshake::subscribe(common.protocol, filter, common.qos, out)?;
                *self = Self::AwaitsSubAck;
            }
            _ => *self = Self::Ready,
        }
        Ok(())
    }
}

impl Part {
    #[inline]
    fn handle(
        &mut self,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
        flow: &mut Flow,
    ) -> Result<(), BenchError> {
        match frame.kind() {
            wire::PINGRESP => return Ok(()),
            wire::DISCONNECT => {
                let reason = frame.body.first().copied().unwrap_or(0);
                return Err(BenchError::run(format!("the broker disconnects: 0x{reason:02X}")));
            }
            _ => {}
        }
        match self {
            Self::Publisher(publisher) => {
                if let Some(written_at) = publisher.handle(frame, flow.now, out)? {
                    flow.acknowledge(written_at);
                }
                Ok(())
            }
            Self::Subscriber(subscriber) => receive(subscriber, frame, out, flow),
        }
    }

    /// Tells the flow, after a read, what has changed for the publisher's window.
    fn settle(&mut self, flow: &mut Flow) {
        match self {
            Self::Publisher(publisher) => flow.mark_due(publisher.index),
            Self::Subscriber(subscriber) => {
                if let Source::Only(publisher) = subscriber.source {
                    flow.credit(publisher, subscriber.take_uncredited());
                }
            }
        }
    }
}

#[inline]
fn receive(
    subscriber: &mut Subscriber,
    frame: Frame<'_>,
    out: &mut Vec<u8>,
    flow: &mut Flow,
) -> Result<(), BenchError> {
    let payload = match subscriber.handle(frame, out)? {
        Arrival::Message(payload) => payload,
        Arrival::Duplicate => {
            flow.duplicates += 1;
            return Ok(());
        }
        Arrival::Exchange => return Ok(()),
    };
    flow.delivered += 1;
    match subscriber.source {
        Source::Only(_) => {}
        Source::Broadcast => flow.reach(subscriber.received),
        Source::Marked => flow.credit_marked(wire::mark_of(payload)?)?,
    }
    if flow.timed.deliveries {
        record_latency(payload, flow.now, &mut flow.latency)?;
    }
    Ok(())
}
