//! Joins a [`Session`] to a Network Connection, the clock, the signals and the terminal, for
//! commands that wait for one thing after the other.
//!
//! One thread and one poll: nothing here may block except the poll itself, and looking up a host
//! and connecting to it. Bytes move in `transfer`, through the `channel`s of the connection;
//! `data_streams` opens and ends those beside the first; `loss` says what its end means.

mod channel;
mod data_streams;
mod loss;
mod transfer;

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use channel::Channel;
use loss::{LostIn, lost};
use midge_codec::{ProtocolVersion, QoS};
use midge_net::Poller;

use super::connection::{Opener, failed};
use super::error::ClientError;
use super::property::PropertySet;
use super::reason;
use super::session::{CONTROL, ConnectOptions, Event, Fault, Publication, Session};
use super::signals::Signals;
use super::terminal::Terminal;
use crate::endpoint::{Endpoint, Waker};

/// The signals' number in the poller. Streams have the numbers that the session gives them.
const SIGNALS: usize = usize::MAX - 1;

const READ_BYTES: usize = 64 * 1024;
/// With more unsent bytes than this, [`Driver::can_publish`] says no.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// How long the broker may take to read the last bytes and close the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A Client that a command drives.
pub(crate) struct Driver {
    opener: Opener,
    version: ProtocolVersion,
    session: Session,
    terminal: Terminal,
    sources: EventSources,
    woken: bool,
    /// The control stream of the connection, and the data streams beside it. Empty: there is no
    /// connection.
    streams: Vec<Channel>,
    phase: LostIn,
    lost: Option<ClientError>,
    /// The error with which a data stream ended. Its cause may be the end of the connection, or the
    /// stream alone.
    stream_error: Option<String>,
    scratch: Box<[u8]>,
}

/// What can end a wait, besides the connection.
struct EventSources {
    poller: Poller,
    signals: Signals,
    waker: Waker,
}

impl EventSources {
    fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let signals = Signals::register(&poller, SIGNALS)?;
        let waker = Waker::new(&poller);
        Ok(Self { poller, signals, waker })
    }
}

/// Why [`Driver::wait`] returned.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Something that concerns the command; never `Refused`, `Disconnected` or `Trace`.
    Event(Event),
    /// Everything that was to be sent has been sent.
    Sent,
    /// The waker was used.
    Woken,
    /// The time is over.
    Deadline,
}

impl Driver {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: ConnectOptions,
        terminal: Terminal,
    ) -> Result<Self, ClientError> {
        let version = options.version;
        let sources = EventSources::new().map_err(|error| {
            ClientError::permanent(format!("cannot set up waiting for events: {error}"))
        })?;
        Ok(Self {
            opener: Opener::new(endpoint)?,
            version,
            session: Session::new(options),
            terminal,
            sources,
            woken: false,
            streams: Vec::new(),
            phase: LostIn::BeforeConnAck { version },
            lost: None,
            stream_error: None,
            scratch: vec![0; READ_BYTES].into(),
        })
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(crate) fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// Lets another thread end a [`Self::wait`].
    pub(crate) fn waker(&self) -> Waker {
        self.sources.waker.clone()
    }

    /// Connects, and waits until the broker has accepted.
    pub(crate) fn connect(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        self.drop_connection();
        self.sources.signals.set_deadly(true);
        let connection = self.opener.open(deadline, &self.sources.poller, CONTROL);
        self.sources.signals.set_deadly(false);
        self.streams = vec![Channel::new(connection?)];
        self.session.connect(Instant::now());
        loop {
            match self.wait(deadline) {
                // A signal that came with the CONNACK is reported at the next wait: a connected
                // Client says goodbye.
                Err(ClientError::Interrupted(_)) if self.session.is_connected() => {
                    self.phase = LostIn::Connected;
                    return Ok(());
                }
                Ok(Wake::Event(Event::Connected { .. })) => {
                    self.phase = LostIn::Connected;
                    return Ok(());
                }
                Ok(Wake::Deadline) => return Err(self.opener.not_in_time()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether another message of this QoS may be sent now.
    pub(crate) fn can_publish(&self, qos: QoS) -> bool {
        self.session.unsent_bytes() < UNSENT_BYTES_MAX
            && (qos == QoS::AtMostOnce || self.session.send_quota() > 0)
    }

    /// Sends a message; the error says why the broker would not take it.
    pub(crate) fn publish(&mut self, publication: &Publication) -> Result<(), ClientError> {
        self.session.publish(publication, Instant::now()).map_err(|reason| {
            ClientError::Refused(format!("cannot publish to '{}': {reason}", publication.topic))
        })
    }

    /// Whether everything has been sent and, where necessary, acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.session.is_settled() && self.session.unsent_bytes() == 0
    }

    /// Returns the next event from what was received already, without waiting.
    pub(crate) fn ready_event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(signal) = self.sources.signals.last() {
                return Err(ClientError::Interrupted(signal));
            }
            match self.session.poll_event(Instant::now()) {
                Ok(Some(Event::Trace(line))) => self.terminal.debug(&line),
                Ok(Some(Event::Refused(answer))) => {
                    self.drop_connection();
                    return Err(reason::refused(self.opener.endpoint(), &answer));
                }
                Ok(Some(Event::Disconnected(answer))) => {
                    // The end of the connection follows, and need not be reported [MQTT-3.14.4-1].
                    self.drop_connection();
                    return Err(reason::disconnected(self.opener.endpoint(), &answer));
                }
                Ok(event) => return Ok(event),
                Err(fault) => return Err(self.fault(&fault)),
            }
        }
    }

    /// Sends what is to be sent and waits for something to happen, until `deadline` at most. It
    /// works without a connection, too, as a pause that a signal can end.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<Wake, ClientError> {
        loop {
            if let Some(event) = self.ready_event()? {
                return Ok(Wake::Event(event));
            }
            let now = Instant::now();
            self.session.handle_timeout(now).map_err(|fault| self.fault(&fault))?;
            if self.transmit() {
                return Ok(Wake::Sent);
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Wake::Deadline);
            }
            if self.is_readable() {
                self.receive();
            } else if let Some(error) = self.lost.take() {
                self.drop_connection();
                return Err(error);
            } else if std::mem::take(&mut self.woken) {
                // Last, so that nothing more is sent on a connection whose end can be read already.
                return Ok(Wake::Woken);
            } else {
                self.poll(deadline, now)?;
            }
        }
    }

    /// Waits until the handshakes under way are complete, but takes no more messages. Gives up
    /// after a few seconds, or when the connection ends.
    pub(crate) fn settle(&mut self) {
        self.session.stop_messages();
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !self.is_settled() {
            if matches!(self.wait(Some(deadline)), Ok(Wake::Deadline) | Err(_)) {
                return;
            }
        }
    }

    /// Ends the connection with a DISCONNECT, after everything that was to be sent before.
    pub(crate) fn close(&mut self, properties: &PropertySet) {
        self.sources.signals.set_deadly(true);
        self.finish_data_streams();
        self.session.disconnect(properties, Instant::now());
        if self.terminal_trace().is_err() || self.streams.is_empty() {
            return;
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while self.lost.is_none() && Instant::now() < deadline {
            self.transmit();
            self.finish_sending(CONTROL);
            if self.is_readable() {
                self.receive();
            } else if self.poll(Some(deadline), Instant::now()).is_err() {
                break;
            }
        }
        self.drop_connection();
    }

    /// Shows the packets that were sent last; a message that comes now is too late.
    fn terminal_trace(&mut self) -> Result<(), Fault> {
        while let Some(event) = self.session.poll_event(Instant::now())? {
            if let Event::Trace(line) = event {
                self.terminal.debug(&line);
            }
        }
        Ok(())
    }

    fn poll(&mut self, deadline: Option<Instant>, now: Instant) -> Result<(), ClientError> {
        let due = [deadline, self.session.poll_timeout()].into_iter().flatten().min();
        let timeout = due.map(|due| due.saturating_duration_since(now));
        let EventSources { poller, signals, waker } = &mut self.sources;
        poller
            .wait(timeout)
            .map_err(|error| ClientError::permanent(format!("cannot wait for events: {error}")))?;
        for ready in poller.ready() {
            match ready.number {
                SIGNALS => signals.drain(),
                number => {
                    if let Some(channel) = self.streams.get_mut(number) {
                        channel.readable |= ready.readable && !channel.has_ended;
                    }
                }
            }
        }
        self.woken |= waker.take();
        Ok(())
    }

    fn fault(&mut self, fault: &Fault) -> ClientError {
        let control = self.streams.first();
        let is_complete = control.is_none_or(|channel| channel.connection.is_complete());
        // Sends the DISCONNECT that says which rule was broken; nobody waits for it.
        self.transmit();
        self.drop_connection();
        let endpoint = self.opener.endpoint();
        match fault {
            Fault::Protocol(text) => ClientError::permanent(format!("{endpoint} {text}")),
            Fault::Silence(_) if !is_complete => {
                failed(endpoint.cannot_connect(&ErrorKind::TimedOut.into(), None))
            }
            Fault::Silence(text) => ClientError::transient(format!("{endpoint} {text}")),
        }
    }

    fn drop_connection(&mut self) {
        self.streams.clear();
        self.phase = LostIn::BeforeConnAck { version: self.version };
        self.lost = None;
        self.stream_error = None;
        self.session.connection_lost();
    }

    /// Notes that writing failed. The control stream is still read: the broker may have said why
    /// before it closed.
    fn lose_at_write(&mut self, error: &io::Error) {
        self.lose(Some(error));
        self.streams[CONTROL].readable = true;
    }

    /// Notes that the connection has ended, by an error or in good order.
    fn lose(&mut self, error: Option<&io::Error>) {
        let is_handshaking =
            self.streams.first().is_some_and(|channel| channel.connection.is_handshaking());
        self.lost = Some(lost(self.opener.endpoint(), self.phase, is_handshaking, error));
    }
}
