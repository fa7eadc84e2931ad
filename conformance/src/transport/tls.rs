//! TLS by rustls over a TCP connection, and the settings that QUIC shares with it.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::stream::{Stream, TcpStream};
use crate::endpoint::{Endpoint, Trust};

/// MQTT's protocol name in TLS, as registered with IANA.
const PROTOCOL: &[u8] = b"mqtt";

/// A TLS connection whose handshake is complete.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tls: ClientConnection,
    below: TcpStream,
}

impl TlsStream {
    pub(crate) fn open(below: TcpStream, endpoint: &Endpoint) -> io::Result<Self> {
        let mut config = client_config(&endpoint.trust).map_err(io::Error::other)?;
        if !endpoint.carrier.is_websocket() {
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
        }
        let name = server_name(&endpoint.host)?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = Self { tls, below };
        stream.tls.set_buffer_limit(None);
        while stream.tls.is_handshaking() {
            stream.tls.complete_io(&mut stream.below)?;
        }
        Ok(stream)
    }

    fn send_sealed(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.below)?;
        }
        Ok(())
    }
}

impl Read for TlsStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                // The broker closed TCP without `close_notify`, as some brokers do.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.tls.read_tls(&mut self.below)?;
            let processed = self.tls.process_new_packets();
            // This sends an alert if something was wrong.
            let sent = self.send_sealed();
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            // If the broker accepts no more, the end of what it sent shows that.
            let _ = sent;
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.writer().write(bytes)?;
        self.send_sealed()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_sealed()
    }
}

impl Stream for TlsStream {
    fn set_wait(&mut self, wait: Duration) -> io::Result<()> {
        self.below.set_wait(wait)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.send_sealed()?;
        self.below.finish()
    }

    fn cut(&mut self) {
        self.below.cut();
    }
}

/// Returns the name to request: a domain name or an address.
fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))
}

/// Returns the settings for QUIC: TLS 1.3, and MQTT's protocol name.
pub(crate) fn quic_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let mut config = client_config(trust)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

fn client_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(match trust {
        Trust::Authority(certificate) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone())?;
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anybody => {
            let verifier = Arc::new(Anybody(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
    })
}

/// Accepts every certificate, but not every signature: the handshake has to be correct.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
