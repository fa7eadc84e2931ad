//! What QUIC needs from TLS, and how quinn gets it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::{HandshakeData, NoInitialCipherSuite, QuicServerConfig};
use rustls::pki_types::CertificateDer;

use super::ALPN;
use crate::peer::TlsInfo;
use crate::tls::{TlsError, TlsServer, peer_certificate};

/// Turns the newest certificates of a listener into quinn's configuration, once for each change.
pub(super) struct ServerCrypto {
    tls: Arc<TlsServer>,
    early_data: bool,
    newest: Mutex<Option<Newest>>,
}

struct Newest {
    edition: Arc<dyn Any + Send + Sync>,
    crypto: Arc<QuicServerConfig>,
}

impl ServerCrypto {
    pub(super) fn new(tls: Arc<TlsServer>, early_data: bool) -> Self {
        Self { tls, early_data, newest: Mutex::new(None) }
    }

    pub(super) fn newest(&self) -> Result<Arc<QuicServerConfig>, NoInitialCipherSuite> {
        let edition = self.tls.edition();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = &*newest
            && Arc::ptr_eq(&newest.edition, &edition)
        {
            return Ok(Arc::clone(&newest.crypto));
        }
        let mut config = self.tls.quic_server_config(self.early_data);
        config.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = Arc::new(QuicServerConfig::try_from(config)?);
        *newest = Some(Newest { edition, crypto: Arc::clone(&crypto) });
        Ok(crypto)
    }

    /// Returns what the handshake of `connection` has found. A Client's certificate is verified
    /// once more, because the handshake of a resumed session has not verified it.
    pub(super) fn info(&self, connection: &quinn::Connection) -> Result<TlsInfo, TlsError> {
        let chain = chain(connection);
        self.tls.verify_again(chain.as_deref())?;
        let certificate = match chain.as_deref().filter(|chain| !chain.is_empty()) {
            Some(chain) => {
                Some(Arc::new(peer_certificate(chain).ok_or(TlsError::UnreadableCertificate)?))
            }
            None => None,
        };
        Ok(TlsInfo { certificate, ..info(connection) })
    }
}

/// Returns a client's configuration.
#[cfg(feature = "client")]
pub(super) fn client_crypto(
    config: &rustls::ClientConfig,
) -> Result<quinn::crypto::rustls::QuicClientConfig, NoInitialCipherSuite> {
    let mut config = config.clone();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.try_into()
}

/// Returns what the handshake of `connection` has found, without the peer's certificate. quinn does
/// not tell the cipher suite.
pub(super) fn info(connection: &quinn::Connection) -> TlsInfo {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let (alpn, server_name) =
        data.map(|data| (data.protocol, data.server_name)).unwrap_or_default();
    TlsInfo {
        version: "TLSv1.3",
        cipher_suite: String::new(),
        alpn,
        server_name,
        certificate: None,
    }
}

fn chain(connection: &quinn::Connection) -> Option<Vec<CertificateDer<'static>>> {
    connection.peer_identity()?.downcast().ok().map(|chain| *chain)
}
