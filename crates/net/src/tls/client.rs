//! The client's side of TLS, for the commands that connect to brokers and for bridges.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore};

use super::error::{ContentProblem, TlsError, TlsFileError};
use super::files::{Content, certified_key};
use super::pinned::Pinned;
use super::provider;
use super::session::TlsSession;
use super::signatures::{Signatures, verify_signatures};
use crate::CertificateFiles;

/// How a Client verifies servers and shows who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsClientOptions {
    /// Certificates of the authorities that servers' certificates have to come from; absent: the
    /// system's authorities.
    pub ca: Option<PathBuf>,
    /// With `ca`: trust the system's authorities, too.
    pub system_ca: bool,
    /// The certificate to show to servers that ask for one.
    pub certificate: Option<CertificateFiles>,
    /// Verify nothing and believe whoever answers. For tests only.
    pub insecure: bool,
    /// The protocols to offer, the best first.
    pub alpn: Vec<Vec<u8>>,
}

/// Makes TLS sessions to servers.
#[derive(Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// Reads the files of `options`.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, or the system has no certificates of authorities.
    pub fn new(options: &TlsClientOptions) -> Result<Self, TlsFileError> {
        let provider = provider();
        let refused = |error| TlsFileError::general(ContentProblem::Refused(error));
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(refused)?;
        let verifier = verifier(options, &provider)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match certificate(options, &provider)? {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&options.alpn);
        Ok(Self { config: Arc::new(config) })
    }

    /// Opens a session to the server of this name, which is a host name or an IP address.
    pub(crate) fn open(&self, server_name: &str) -> Result<TlsSession, TlsError> {
        let name = ServerName::try_from(server_name.to_string())
            .map_err(|_| TlsError::BadName(server_name.to_string()))?;
        TlsSession::client(self.config.clone(), name)
    }

    /// Returns the configuration, for QUIC.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

pub(super) fn verifier(
    options: &TlsClientOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsFileError> {
    if options.insecure {
        return Ok(Arc::new(Anybody { signatures: Signatures::new(provider, Vec::new()) }));
    }
    let mut pinned = Vec::new();
    let roots = match &options.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let content = Content::read(path)?;
            content.add_to(&mut roots)?;
            pinned = content.certificates()?;
            if options.system_ca {
                roots.extend(system_roots()?.roots);
            }
            roots
        }
        None => system_roots()?,
    };
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    match builder.build() {
        Ok(chains) => {
            let signatures = Signatures::new(provider, pinned);
            Ok(Arc::new(Pinned::<dyn ServerCertVerifier>::new(signatures, chains)))
        }
        Err(error) => {
            let error = Error::General(error.to_string());
            Err(TlsFileError::general(ContentProblem::Refused(error)))
        }
    }
}

/// Returns the system's authorities that can be read: one odd file among hundreds is no reason to
/// trust nobody.
fn system_roots() -> Result<RootCertStore, TlsFileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or("none was found".to_string(), ToString::to_string);
        return Err(TlsFileError::general(ContentProblem::NoSystemRoots(why)));
    }
    Ok(roots)
}

fn certificate(
    options: &TlsClientOptions,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, TlsFileError> {
    let Some(files) = &options.certificate else { return Ok(None) };
    let certificate = Content::read(&files.certificate)?;
    let key = Content::read(&files.key)?;
    certified_key(&certificate, &key, provider).map(Some)
}

/// Accepts every certificate. The handshake's signatures are still verified: the server has the key
/// of the certificate that it shows.
#[derive(Debug)]
struct Anybody {
    signatures: Signatures,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    verify_signatures!();
}
