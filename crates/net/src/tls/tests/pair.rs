//! A session of ours and a buffered connection of rustls, joined in memory.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, SupportedProtocolVersion};

use super::pki::{Authority, Issued};
use crate::plain::Plain;
use crate::tls::{TlsError, TlsServer, TlsSession, provider};

pub(super) const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// How bytes on their way to our session are cut.
pub(super) type Cut<'c> = &'c mut dyn FnMut() -> usize;

pub(super) struct Pair {
    pub(super) ours: TlsSession,
    pub(super) theirs: Connection,
    /// What our session has decrypted.
    pub(super) received: Vec<u8>,
    /// What their connection has decrypted.
    pub(super) their_received: Vec<u8>,
    pub(super) our_error: Option<TlsError>,
    pub(super) their_error: Option<rustls::Error>,
    pub(super) has_ended: bool,
    pub(super) their_end: bool,
    pub(super) kept_max: usize,
}

/// Returns the configuration of a rustls client that trusts `authority`.
pub(super) fn client_config(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    certificate: Option<&Issued>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots);
    match certificate {
        Some(issued) => {
            builder.with_client_auth_cert(issued.chain(), issued.private_key()).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

pub(super) fn client(config: &Arc<ClientConfig>, name: &str) -> Connection {
    let name = ServerName::try_from(name.to_string()).unwrap();
    ClientConnection::new(config.clone(), name).unwrap().into()
}

impl Pair {
    pub(super) fn new(ours: TlsSession, theirs: impl Into<Connection>) -> Self {
        Self {
            ours,
            theirs: theirs.into(),
            received: Vec::new(),
            their_received: Vec::new(),
            our_error: None,
            their_error: None,
            has_ended: false,
            their_end: false,
            kept_max: 0,
        }
    }

    /// Connects a session of `server` with a Client that connects to `name`.
    pub(super) fn connect(server: &TlsServer, config: &Arc<ClientConfig>, name: &str) -> Self {
        let mut pair = Self::new(server.open().unwrap(), client(config, name));
        pair.run();
        pair
    }

    pub(super) fn assert_open(&self) {
        assert!(self.our_error.is_none(), "ours: {}", self.our_error.as_ref().unwrap());
        assert!(self.their_error.is_none(), "theirs: {}", self.their_error.as_ref().unwrap());
        assert!(!self.ours.is_handshaking() && !self.theirs.is_handshaking());
    }

    /// Moves bytes in both directions until none are left.
    pub(super) fn run(&mut self) {
        self.run_cut(&mut || usize::MAX);
    }

    pub(super) fn run_cut(&mut self, cut: Cut<'_>) {
        loop {
            let mut bytes = Vec::new();
            while self.theirs.wants_write() {
                self.theirs.write_tls(&mut bytes).unwrap();
            }
            if bytes.is_empty() {
                return;
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() && self.our_error.is_none() {
                let (piece, after) = rest.split_at(cut().clamp(1, rest.len()));
                rest = after;
                let out = self.deliver(piece);
                self.deliver_to_them(&out);
            }
        }
    }

    /// Gives `piece` to our session. Returns what it answers.
    pub(super) fn deliver(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut input = [self.ours.kept(), piece].concat();
        let mut room = vec![0; input.len()];
        let mut plain = Plain::new(&mut room);
        let mut out = Vec::new();
        let was_handshaking = self.ours.is_handshaking();
        let result = self.ours.receive(&mut input, &mut plain, &mut out);
        let count = plain.len();
        match result {
            Ok(progress) => {
                self.has_ended |= progress.has_ended;
                self.received.extend_from_slice(&room[..count]);
            }
            Err(error) => {
                assert!(count == 0 || !was_handshaking, "bytes of a peer that was refused");
                self.our_error = Some(error);
            }
        }
        self.kept_max = self.kept_max.max(self.ours.kept().len());
        out
    }

    pub(super) fn deliver_to_them(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.their_error.is_none() {
            self.theirs.read_tls(&mut bytes).unwrap();
            match self.theirs.process_new_packets() {
                Ok(state) => {
                    self.their_end |= state.peer_has_closed();
                    let mut plain = vec![0; state.plaintext_bytes_to_read()];
                    self.theirs.reader().read_exact(&mut plain).unwrap();
                    self.their_received.extend(plain);
                }
                Err(error) => self.their_error = Some(error),
            }
            if self.their_end {
                return;
            }
        }
    }

    /// Sends from our session to theirs.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let mut out = Vec::new();
        self.ours.seal(bytes, &mut out).unwrap();
        self.deliver_to_them(&out);
    }

    /// Writes into their connection; `run` delivers it.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = self.theirs.writer().write(bytes).unwrap();
            bytes = &bytes[written..];
            self.run();
        }
    }

    /// Asserts that both directions work.
    pub(super) fn assert_talks(&mut self) {
        let (ours, theirs) = (self.their_received.len(), self.received.len());
        self.send(b"from us");
        self.write(b"from them");
        self.assert_open();
        assert_eq!(&self.their_received[ours..], b"from us");
        assert_eq!(&self.received[theirs..], b"from them");
        assert_eq!(self.ours.kept(), b"");
    }
}
