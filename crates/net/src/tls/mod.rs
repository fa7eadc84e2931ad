//! TLS between a stream's bytes and the layer above: certificates from files, sessions that turn
//! records into bytes and back.
//!
//! A [`TlsSession`] does no I/O: bytes in, bytes out, and an idle one owns no buffer. It is made by
//! a [`TlsServer`], which knows the newest good certificates, or by a [`TlsClient`]. What it finds
//! out about its peer becomes a [`crate::TlsInfo`]. Nothing here knows a socket. When a file fails,
//! what was read from it before stays in effect.

mod certificate;
mod client;
mod error;
mod files;
mod pinned;
mod resolver;
mod revocations;
mod server;
mod session;
mod signatures;
#[cfg(test)]
pub(crate) mod tests;
mod trust;
mod unbuffered;
mod watch;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificate::CertificateInfo;
pub(crate) use certificate::peer_certificate;
pub use client::{TlsClient, TlsClientOptions};
pub(crate) use error::TlsError;
pub use error::TlsFileError;
pub use server::TlsServer;
pub(crate) use session::TlsSession;

/// Returns the one crypto provider. It is passed wherever it is needed, so that nothing depends on
/// a provider that something else in the process has installed.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Returns the SHA-256 of all `parts`, one after the other.
fn sha256<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("a suite of TLS 1.3");
    let mut hash = suite.common.hash_provider.start();
    for part in parts {
        hash.update(part);
    }
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
