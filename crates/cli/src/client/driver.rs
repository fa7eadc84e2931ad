//! Joins a [`Session`] to a Network Connection, the clock, the signals and the terminal, for
//! commands that wait for one thing after the other.
//!
//! One thread and one poll: nothing here may block but the poll itself, and looking up a host and
//! connecting to it.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use midge_codec::{ProtocolVersion, QoS};
use midge_net::Poller;

use super::connection::{Connection, Opener, failed};
use super::error::ClientError;
use super::property::PropertySet;
use super::reason;
use super::session::{ConnectOptions, Event, Fault, Publication, Session};
use super::signals::Signals;
use super::terminal::Terminal;
use crate::endpoint::{Endpoint, Waker, greeting_of_another_protocol};

const CONNECTION: usize = 0;
const SIGNALS: usize = 1;

const READ_BYTES: usize = 64 * 1024;
/// Above this many unsent bytes [`Driver::can_publish`] says no.
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
    connection: Option<Connection>,
    phase: LostIn,
    /// Whether the connection may have bytes to read: readiness is told once, until it is used up.
    readable: bool,
    lost: Option<ClientError>,
    scratch: Box<[u8]>,
}

/// How far a connection had come; the error for its loss depends on it.
#[derive(Clone, Copy, Debug)]
enum LostIn {
    BeforeConnAck { version: ProtocolVersion },
    Connected,
}

/// What can end a wait, beside the connection.
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
    /// Everything that was to be sent is sent.
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
            connection: None,
            phase: LostIn::BeforeConnAck { version },
            readable: false,
            lost: None,
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
        let connection = self.opener.open(deadline, &self.sources.poller, CONNECTION);
        self.sources.signals.set_deadly(false);
        self.connection = Some(connection?);
        self.session.connect(Instant::now());
        loop {
            match self.wait(deadline) {
                // A signal that came with the CONNACK is told at the next wait: who is connected
                // says goodbye.
                Err(ClientError::Interrupted(_)) if self.session.is_connected() => {
                    self.phase = LostIn::Connected;
                    return Ok(());
                }
                Ok(Wake::Event(Event::Connected { .. })) => {
                    self.phase = LostIn::Connected;
                    return Ok(());
                }
                Ok(Wake::Deadline) => {
                    let endpoint = self.opener.endpoint();
                    let text = format!("{endpoint} did not accept the connection in time");
                    return Err(ClientError::TimedOut(text));
                }
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether another message of this QoS may be sent now.
    pub(crate) fn can_publish(&self, qos: QoS) -> bool {
        self.session.outbound().len() < UNSENT_BYTES_MAX
            && (qos == QoS::AtMostOnce || self.session.send_quota() > 0)
    }

    /// Sends a message, or says why the broker would not take it.
    pub(crate) fn publish(&mut self, publication: &Publication) -> Result<(), ClientError> {
        self.session.publish(publication, Instant::now()).map_err(|reason| {
            ClientError::Refused(format!("cannot publish to '{}': {reason}", publication.topic))
        })
    }

    /// Whether everything is sent and, where it has to be, acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.session.is_settled() && self.session.outbound().is_empty()
    }

    /// The next event of what was received already, without waiting.
    pub(crate) fn ready_event(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(signal) = self.sources.signals.last() {
                return Err(ClientError::Interrupted(signal));
            }
            match self.session.poll_event(Instant::now()) {
                Ok(Some(Event::Trace(line))) => self.terminal.debug(&line),
                Ok(Some(Event::Refused(answer))) => {
                    return Err(reason::refused(self.opener.endpoint(), &answer));
                }
                Ok(Some(Event::Disconnected(answer))) => {
                    return Err(reason::disconnected(self.opener.endpoint(), &answer));
                }
                Ok(event) => return Ok(event),
                Err(fault) => return Err(self.fault(&fault)),
            }
        }
    }

    /// Sends what is to be sent and waits for something to happen, until `deadline` at most. Works
    /// without a connection too, as a pause that a signal can end.
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
            if std::mem::take(&mut self.woken) {
                return Ok(Wake::Woken);
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Wake::Deadline);
            }
            if self.readable {
                self.receive();
            } else if let Some(error) = self.lost.take() {
                self.drop_connection();
                return Err(error);
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

    /// Ends the connection with a DISCONNECT, once all that was to be sent before it is sent.
    pub(crate) fn close(&mut self, properties: &PropertySet) {
        self.sources.signals.set_deadly(true);
        self.session.disconnect(properties, Instant::now());
        if self.terminal_trace().is_err() || self.connection.is_none() {
            return;
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let mut finished = false;
        while self.lost.is_none() && Instant::now() < deadline {
            self.transmit();
            if let Some(connection) = &mut self.connection
                && self.session.outbound().is_empty()
                && connection.is_flushed()
                && !finished
            {
                finished = true;
                connection.finish_sending();
            }
            if self.readable {
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

    /// Writes what the connection takes; true when that emptied what was to be sent.
    fn transmit(&mut self) -> bool {
        let mut progress = false;
        while self.lost.is_none()
            && let Some(connection) = &mut self.connection
            && !self.session.outbound().is_empty()
        {
            match connection.write(self.session.outbound()) {
                Ok(0) => self.lose(None),
                Ok(length) => {
                    self.session.handle_sent(length);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => self.lose_at_write(&error),
            }
        }
        if self.lost.is_none()
            && let Some(connection) = &mut self.connection
            && let Err(error) = connection.flush()
        {
            self.lose_at_write(&error);
        }
        progress && self.session.outbound().is_empty()
    }

    /// Reads once.
    fn receive(&mut self) {
        self.readable = false;
        let Some(connection) = &mut self.connection else { return };
        match connection.read(&mut self.scratch) {
            Ok(0) => self.lose(None),
            Ok(length) => self.take(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.readable = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.lose(Some(&error)),
        }
    }

    /// Gives what was read to the session.
    fn take(&mut self, length: usize) {
        let bytes = &self.scratch[..length];
        if matches!(self.phase, LostIn::BeforeConnAck { .. })
            && let Some(what) = greeting_of_another_protocol(bytes)
        {
            let endpoint = self.opener.endpoint();
            let text = format!("{endpoint} sent what is not MQTT: {what}");
            self.lost = Some(ClientError::permanent(text));
            return;
        }
        self.session.handle_bytes(bytes);
        self.readable = true;
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
                _ => self.readable |= ready.readable,
            }
        }
        self.woken |= waker.take();
        Ok(())
    }

    fn fault(&mut self, fault: &Fault) -> ClientError {
        let is_complete = self.connection.as_ref().is_none_or(Connection::is_complete);
        // The DISCONNECT that says which rule was broken; nobody waits for it.
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
        self.connection = None;
        self.phase = LostIn::BeforeConnAck { version: self.version };
        self.readable = false;
        self.lost = None;
        self.session.connection_lost();
    }

    /// Writing fails; the broker may have said why before it closed.
    fn lose_at_write(&mut self, error: &io::Error) {
        self.lose(Some(error));
        self.readable = true;
    }

    /// The connection ends, by an error or in good order.
    fn lose(&mut self, error: Option<&io::Error>) {
        let is_handshaking = self.connection.as_ref().is_some_and(Connection::is_handshaking);
        self.lost = Some(lost(self.opener.endpoint(), self.phase, is_handshaking, error));
    }
}

/// What the end of a connection means to the user.
fn lost(
    endpoint: &Endpoint,
    phase: LostIn,
    is_handshaking: bool,
    error: Option<&io::Error>,
) -> ClientError {
    if let LostIn::BeforeConnAck { .. } = phase {
        match error {
            Some(error) if is_of_connecting(error) => {
                return failed(endpoint.cannot_connect(error, None));
            }
            _ if is_handshaking => return failed(endpoint.ended_in_handshake()),
            _ => {}
        }
    }
    let event = match error {
        Some(error) => format!("the connection to {endpoint} broke ({error})"),
        None => format!("{endpoint} closed the connection"),
    };
    ClientError::transient(match phase {
        LostIn::Connected => event,
        LostIn::BeforeConnAck { version: ProtocolVersion::V5 } => format!(
            "{event} without an answer to CONNECT. \
             Is it an MQTT broker, and does it speak MQTT 5.0? If not, try -V 311"
        ),
        LostIn::BeforeConnAck { .. } => {
            format!("{event} without an answer to CONNECT. Is it an MQTT broker?")
        }
    })
}

/// Whether a layer has failed, or a transport that connects while it is read and written.
fn is_of_connecting(error: &io::Error) -> bool {
    let kinds = [ErrorKind::InvalidData, ErrorKind::TimedOut, ErrorKind::ConnectionRefused];
    kinds.contains(&error.kind())
}
