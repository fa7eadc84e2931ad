//! What QUIC needs of TLS, and how quinn gets it.

use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::{
    HandshakeData, NoInitialCipherSuite, QuicClientConfig, QuicServerConfig,
};
use rustls::pki_types::CertificateDer;

use super::ALPN;
use crate::peer::{PeerCertificate, TlsInfo};

/// Certificates of a listener, always the newest good ones.
pub(crate) trait ServerTls: Send + Sync {
    /// The configuration of now: the same `Arc` as long as nothing has changed.
    fn server_config(&self) -> Arc<rustls::ServerConfig>;

    /// The Client's certificate as a value, after it has been verified once more, because the
    /// handshake of a resumed session does not. `chain` begins with it; empty: there is none.
    ///
    /// # Errors
    ///
    /// It is not, or no longer, good, or it is missing: why.
    fn certificate(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<Option<Arc<PeerCertificate>>, String>;
}

/// Turns the newest configuration of TLS into quinn's, once for each change.
pub(super) struct ServerCrypto {
    tls: Arc<dyn ServerTls>,
    early_data: bool,
    newest: Mutex<Option<Newest>>,
}

struct Newest {
    from: Arc<rustls::ServerConfig>,
    crypto: Arc<QuicServerConfig>,
}

impl ServerCrypto {
    pub(super) fn new(tls: Arc<dyn ServerTls>, early_data: bool) -> Self {
        Self { tls, early_data, newest: Mutex::new(None) }
    }

    pub(super) fn newest(&self) -> Result<Arc<QuicServerConfig>, NoInitialCipherSuite> {
        let from = self.tls.server_config();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = &*newest
            && Arc::ptr_eq(&newest.from, &from)
        {
            return Ok(Arc::clone(&newest.crypto));
        }
        let mut config = rustls::ServerConfig::clone(&from);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // QUIC knows only these two values (RFC 9001, 4.6.1).
        config.max_early_data_size = if self.early_data { u32::MAX } else { 0 };
        let crypto = Arc::new(QuicServerConfig::try_from(config)?);
        *newest = Some(Newest { from, crypto: Arc::clone(&crypto) });
        Ok(crypto)
    }

    /// What the handshake of `connection` has found.
    pub(super) fn info(&self, connection: &quinn::Connection) -> Result<TlsInfo, String> {
        let mut info = info(connection);
        info.certificate = self.tls.certificate(&chain(connection))?;
        Ok(info)
    }
}

/// A Client's configuration.
pub(super) fn client_crypto(
    config: &rustls::ClientConfig,
) -> Result<QuicClientConfig, NoInitialCipherSuite> {
    let mut config = config.clone();
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicClientConfig::try_from(config)
}

/// What the handshake of `connection` has found, without the peer's certificate. quinn does not
/// tell the cipher suite.
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

fn chain(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let chain = connection.peer_identity().and_then(|identity| identity.downcast().ok());
    chain.map(|chain| *chain).unwrap_or_default()
}
