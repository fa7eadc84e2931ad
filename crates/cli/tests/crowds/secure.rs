//! A certificate authority, server certificates, and a TLS client that inspects them.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::pair::dial;

const HOST: &str = "localhost";

/// A connection whose handshake is complete.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The authority that issues the broker's certificates, and the clients' trust in it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    config: Arc<ClientConfig>,
}

/// A certificate of the broker.
pub(crate) struct Certificate {
    /// The certificate that a client sees.
    pub(crate) shown: CertificateDer<'static>,
    /// The text of the certificate file.
    pub(crate) pem: String,
    /// The text of the key file.
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Self { issuer, config: Arc::new(config) }
    }

    pub(crate) fn certificate(&self) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            shown: certificate.der().clone(),
            pem: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Connects and completes the handshake.
    pub(crate) fn open(&self, address: SocketAddr) -> io::Result<Stream> {
        let mut stream = self.begin(address)?;
        finish(&mut stream)?;
        Ok(stream)
    }

    /// Connects and sends the first message of the handshake.
    pub(crate) fn begin(&self, address: SocketAddr) -> io::Result<Stream> {
        let name = ServerName::try_from(HOST).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut stream = StreamOwned::new(connection, dial(address));
        stream.conn.write_tls(&mut stream.sock)?;
        Ok(stream)
    }

    /// Returns the certificate that the broker shows to a new client.
    pub(crate) fn shown(&self, address: SocketAddr) -> CertificateDer<'static> {
        let stream = self.open(address).expect("a handshake");
        stream.conn.peer_certificates().expect("a certificate")[0].clone()
    }

    /// Returns the first message of a client's handshake.
    pub(crate) fn client_hello(&self) -> Vec<u8> {
        let name = ServerName::try_from(HOST).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        hello
    }
}

/// Completes the handshake.
pub(crate) fn finish(stream: &mut Stream) -> io::Result<()> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}
