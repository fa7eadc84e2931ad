//! Resumed sessions are no way around the verification of certificates.

use std::sync::Arc;

use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, SupportedProtocolVersion};

use super::pair::{BOTH, Pair, client_config};
use super::pki::{Authority, Directory};
use crate::TlsOptions;
use crate::tls::TlsServer;

struct Scene {
    authority: Authority,
    directory: Directory,
    server: TlsServer,
}

impl Scene {
    /// Makes a listener that requires certificates, with a list that revokes nobody yet.
    fn new() -> Self {
        let (authority, directory) = (Authority::new("CA"), Directory::new());
        let ca = directory.write("ca.crt", authority.pem());
        let list = directory.write("list.crl", authority.revoke(&[]).pem().unwrap());
        let options = directory.listener(&authority).client_ca(ca);
        let options = TlsOptions { client_crl: vec![list], ..options };
        let server = TlsServer::load(&options, &[]).unwrap();
        Self { authority, directory, server }
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let issued = self.authority.client("sensor", 13);
        Arc::new(client_config(&self.authority, version, Some(&issued)))
    }

    fn revoke(&self) {
        let list = self.authority.revoke(&[13]).pem().unwrap();
        self.directory.write("list.crl", list);
        assert!(self.server.reload().unwrap());
    }

    fn connect(&self, config: &Arc<ClientConfig>) -> Pair {
        Pair::connect(&self.server, config, "localhost")
    }
}

fn kind(pair: &Pair) -> HandshakeKind {
    pair.theirs.handshake_kind().unwrap()
}

#[test]
fn a_session_is_resumed_with_its_certificate() {
    let scene = Scene::new();
    for version in BOTH {
        let config = scene.client(version);
        let first = scene.connect(&config);
        first.assert_open();
        let mut second = scene.connect(&config);
        second.assert_talks();
        assert_eq!(kind(&first), HandshakeKind::Full);
        assert_eq!(kind(&second), HandshakeKind::Resumed);
        let certificate = |pair: &Pair| pair.ours.info().unwrap().certificate.clone().unwrap();
        assert_eq!(certificate(&first), certificate(&second));
        assert_eq!(second.ours.info().unwrap().server_name.as_deref(), Some("localhost"));
    }
}

/// New server certificates are no reason to begin a new session.
#[test]
fn a_session_outlives_a_reload_of_the_servers_certificate() {
    let scene = Scene::new();
    for version in BOTH {
        let config = scene.client(version);
        scene.connect(&config).assert_open();
        scene.directory.write_pair("server", &scene.authority.host(&["localhost"]));
        assert!(scene.server.reload().unwrap());
        let second = scene.connect(&config);
        second.assert_open();
        assert_eq!(kind(&second), HandshakeKind::Resumed);
    }
}

#[test]
fn a_certificate_that_was_revoked_meanwhile_does_not_resume() {
    for version in BOTH {
        let scene = Scene::new();
        let config = scene.client(version);
        scene.connect(&config).assert_open();
        scene.revoke();
        let second = scene.connect(&config);
        let error = second.our_error.as_ref().unwrap().to_string();
        assert_eq!(error, "the peer's certificate was revoked");
        let alert = Error::AlertReceived(AlertDescription::CertificateRevoked);
        assert_eq!(second.their_error, Some(alert));
    }
}

/// The list changes in the middle of the second handshake: the ticket is accepted already, so only
/// another look at the certificate can refuse it. What the Client sent with its last message does
/// not count.
#[test]
fn a_certificate_that_is_revoked_while_it_resumes_is_refused() {
    for version in BOTH {
        let scene = Scene::new();
        let config = scene.client(version);
        scene.connect(&config).assert_open();

        let ours = scene.server.open().unwrap();
        let mut second = Pair::new(ours, super::pair::client(&config, "localhost"));
        let mut hello = Vec::new();
        second.theirs.write_tls(&mut hello).unwrap();
        let out = second.deliver(&hello);
        assert!(second.ours.is_handshaking());
        scene.revoke();
        second.deliver_to_them(&out);
        assert_eq!(kind(&second), HandshakeKind::Resumed);
        assert!(!second.theirs.is_handshaking());
        second.write(b"let me in");

        let error = second.our_error.as_ref().unwrap().to_string();
        assert_eq!(error, "the peer's certificate was revoked");
        assert_eq!(second.received, b"");
        assert_eq!(second.ours.info(), None);
        assert!(second.their_end, "{:?}", second.their_error);
    }
}

/// The list changes in the middle of a first handshake.
#[test]
fn a_certificate_that_is_revoked_while_it_is_shown_is_refused() {
    for version in BOTH {
        let scene = Scene::new();
        let ours = scene.server.open().unwrap();
        let mut pair = Pair::new(ours, super::pair::client(&scene.client(version), "localhost"));
        let mut hello = Vec::new();
        pair.theirs.write_tls(&mut hello).unwrap();
        let out = pair.deliver(&hello);
        scene.revoke();
        pair.deliver_to_them(&out);
        pair.run();
        let error = pair.our_error.as_ref().unwrap().to_string();
        assert_eq!(error, "the peer's certificate was revoked");
    }
}

#[test]
fn a_chain_can_be_looked_at_again() {
    let scene = Scene::new();
    let chain = scene.authority.client("sensor", 13).chain();
    assert!(scene.server.verify_again(Some(&chain)).is_ok());
    assert!(scene.server.verify_again(None).is_err());
    scene.revoke();
    let error = scene.server.verify_again(Some(&chain)).unwrap_err().to_string();
    assert_eq!(error, "the peer's certificate was revoked");
}
