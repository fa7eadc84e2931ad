//! One connection's TLS, either side: bytes in, bytes out.
//!
//! It never touches a socket. What it keeps is bounded: the bytes of an incomplete record or
//! handshake message, and nothing at all while the connection is idle. No decrypted byte leaves
//! before the handshake is complete and the peer's certificate, even that of a resumed session, is
//! good by what is trusted at that moment.

use std::mem;
use std::sync::{Arc, OnceLock};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};

use super::certificate::peer_certificate;
use super::error::TlsError;
use super::trust::{Trust, Verifier};
use super::unbuffered::{self, Next, Wish};
use crate::TlsInfo;
use crate::plain::Plain;

/// The most bytes of an incomplete record or handshake message that are kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// About what the keys and messages of a handshake take that waits for its client.
const HANDSHAKE_BYTES: usize = 4 * 1024;

/// One connection's TLS.
#[derive(Debug)]
pub(crate) struct TlsSession {
    connection: Connection,
    phase: Phase,
    kept: Vec<u8>,
    has_ended: bool,
    has_closed: bool,
}

enum Connection {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

#[derive(Debug)]
enum Phase {
    Handshaking(Box<Opening>),
    Open(Arc<TlsInfo>),
    Failed,
}

/// What is needed until the handshake is complete.
#[derive(Debug)]
pub(super) enum Opening {
    Server {
        /// The name that the Client asks for, once it has.
        asked: Arc<OnceLock<String>>,
        trust: Arc<Trust>,
        /// The verifier of the handshake.
        verifier: Verifier,
    },
    Client {
        name: String,
    },
}

/// The result of `receive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsProgress {
    /// The peer has said that nothing more will come (close_notify).
    pub(crate) has_ended: bool,
}

impl TlsSession {
    pub(super) fn server(config: Arc<ServerConfig>, opening: Opening) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self::new(Connection::Server(Box::new(connection)), opening))
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let opening = Opening::Client { name: name.to_str().into_owned() };
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::new(Connection::Client(Box::new(connection)), opening))
    }

    fn new(connection: Connection, opening: Opening) -> Self {
        Self {
            connection,
            phase: Phase::Handshaking(Box::new(opening)),
            kept: Vec::new(),
            has_ended: false,
            has_closed: false,
        }
    }

    /// Appends a client's first message; a server says nothing first.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.receive(&mut [], &mut Plain::new(&mut []), out).map(drop)
    }

    /// Returns the bytes of an incomplete record, which the next `receive` needs before what
    /// arrives. They are not as they arrived, and must be given back unchanged.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes what arrived: `input` begins with the kept bytes. Appends decrypted bytes to `plain`,
    /// which has room for as many bytes as `input` has, and what is to be sent to `out`.
    ///
    /// # Errors
    ///
    /// If the connection is over. `out` may hold last words for the peer, and what is in `plain` is
    /// not to be used.
    pub(crate) fn receive(
        &mut self,
        input: &mut [u8],
        plain: &mut Plain<'_>,
        out: &mut Vec<u8>,
    ) -> Result<TlsProgress, TlsError> {
        debug_assert!(plain.room() >= input.len());
        if matches!(self.phase, Phase::Failed) {
            return Err(TlsError::OutOfTurn);
        }
        match self.process(input, plain, out) {
            Ok(processed) => {
                self.keep(&input[processed..]);
                Ok(TlsProgress { has_ended: self.has_ended })
            }
            Err(error) => {
                self.phase = Phase::Failed;
                self.kept = Vec::new();
                self.connection.send_pending(out);
                Err(error)
            }
        }
    }

    /// Encrypts `plain` and appends the records to `out`.
    ///
    /// # Errors
    ///
    /// If the handshake is not complete, or the connection is closed.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        if !matches!(self.phase, Phase::Open(_)) || self.has_closed {
            return Err(TlsError::OutOfTurn);
        }
        self.grant(&Wish::Seal(plain), out)
    }

    /// Appends close_notify, once, if the handshake is complete.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        if matches!(self.phase, Phase::Open(_)) && !mem::replace(&mut self.has_closed, true) {
            // It fails only if the connection is over already.
            let _ = self.grant(&Wish::Close, out);
        }
    }

    /// Returns whether the handshake is not complete yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshaking(_))
    }

    /// Returns about how many bytes are kept of what is incomplete, the handshake included.
    pub(crate) fn kept_bytes(&self) -> usize {
        let handshake = if self.is_handshaking() { HANDSHAKE_BYTES } else { 0 };
        handshake + self.kept.capacity()
    }

    /// Returns what the handshake has found, once it is complete.
    pub(crate) fn info(&self) -> Option<Arc<TlsInfo>> {
        match &self.phase {
            Phase::Open(info) => Some(info.clone()),
            Phase::Handshaking(_) | Phase::Failed => None,
        }
    }

    /// Processes `input` as far as possible. Returns how many bytes are done with.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut Plain<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, TlsError> {
        let mut start = 0;
        // Bytes that are decrypted in the step that completes the handshake.
        let mut held = Vec::new();
        loop {
            let is_handshaking = self.is_handshaking();
            let (discard, next) =
                self.connection.step(&mut input[start..], out, &mut |bytes| match is_handshaking {
                    true => held.extend_from_slice(bytes),
                    false => plain.push(bytes),
                });
            start += discard;
            let next = next?;
            if is_handshaking && !self.connection.state().is_handshaking() {
                if let Err(error) = self.complete() {
                    self.connection.close(&mut input[start..], out);
                    return Err(error);
                }
                plain.push(&mem::take(&mut held));
            }
            match next {
                Next::Again => {}
                Next::Ended => self.has_ended = true,
                Next::Blocked => break,
            }
        }
        match input.len() - start > KEPT_BYTES_MAX {
            true => Err(TlsError::TooLong),
            false => Ok(start),
        }
    }

    /// Keeps what is incomplete; after the end, nothing.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() || self.has_ended {
            self.kept = Vec::new();
        } else {
            self.kept.clear();
            self.kept.reserve_exact(rest.len());
            self.kept.extend_from_slice(rest);
        }
    }

    fn complete(&mut self) -> Result<(), TlsError> {
        let Phase::Handshaking(opening) = &self.phase else { return Ok(()) };
        let state = self.connection.state();
        let (server_name, certificate) = match opening.as_ref() {
            Opening::Client { name } => (Some(name.clone()), None),
            Opening::Server { asked, trust, verifier } => {
                let chain = state.peer_certificates();
                let is_resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
                if is_resumed || !trust.is_current(verifier) {
                    trust.verify(chain)?;
                }
                let read = |chain| peer_certificate(chain).ok_or(TlsError::UnreadableCertificate);
                (asked.get().cloned(), chain.map(read).transpose()?.map(Arc::new))
            }
        };
        self.phase = Phase::Open(Arc::new(TlsInfo {
            version: version(state),
            cipher_suite: cipher_suite(state),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            certificate,
        }));
        Ok(())
    }

    /// Has the connection carry out a wish when it may send.
    fn grant(&mut self, wish: &Wish<'_>, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut kept = mem::take(&mut self.kept);
        let (processed, granted) = self.connection.grant(&mut kept, wish, out);
        kept.drain(..processed);
        self.kept = kept;
        granted
    }
}

impl Connection {
    fn state(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    fn step(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<Next, TlsError>) {
        match self {
            Self::Server(connection) => {
                unbuffered::step(connection.process_tls_records(input), None, out, plain)
            }
            Self::Client(connection) => {
                unbuffered::step(connection.process_tls_records(input), None, out, plain)
            }
        }
    }

    /// Steps until `wish` is granted. Returns how much of `input` is done with.
    fn grant(
        &mut self,
        input: &mut [u8],
        wish: &Wish<'_>,
        out: &mut Vec<u8>,
    ) -> (usize, Result<(), TlsError>) {
        let mut start = 0;
        loop {
            let input = &mut input[start..];
            let ignore = &mut |_: &[u8]| {};
            let (discard, next) = match self {
                Self::Server(connection) => {
                    let status = connection.process_tls_records(input);
                    unbuffered::step(status, Some(wish), out, ignore)
                }
                Self::Client(connection) => {
                    let status = connection.process_tls_records(input);
                    unbuffered::step(status, Some(wish), out, ignore)
                }
            };
            start += discard;
            match next {
                Ok(Next::Again | Next::Ended) => {}
                Ok(Next::Blocked) => return (start, Ok(())),
                Err(error) => return (start, Err(error)),
            }
        }
    }

    /// Appends close_notify, whatever is left in `input`.
    fn close(&mut self, input: &mut [u8], out: &mut Vec<u8>) {
        let _ = self.grant(input, &Wish::Close, out);
    }

    /// Appends what waits to be sent, such as the alert that goes with an error.
    fn send_pending(&mut self, out: &mut Vec<u8>) {
        // While there is something to be sent, no input is looked at.
        while self.state().wants_write() {
            if let (_, Err(_) | Ok(Next::Blocked)) = self.step(&mut [], out, &mut |_| {}) {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

fn version(state: &CommonState) -> &'static str {
    match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

/// Returns the registered name. rustls' own names of TLS 1.3 suites contain the version.
fn cipher_suite(state: &CommonState) -> String {
    let suite = state.negotiated_cipher_suite().map(|suite| suite.suite());
    let name = suite.and_then(|suite| suite.as_str()).unwrap_or("unknown");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_string(),
    }
}
