//! Decides whose certificates are good now.
//!
//! A resumed session shows no certificate, and the one that was good when it began may be revoked
//! by now. So its certificate is verified again, against what is trusted at that moment.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::error::{ContentProblem, TlsError, TlsFileError};
use super::files::Files;
use super::pinned::Pinned;
use super::signatures::Signatures;
use crate::{ClientCertificates, TlsOptions};

/// What verifies Clients' certificates; absent where Clients are not asked for any.
pub(super) type Verifier = Option<Arc<dyn ClientCertVerifier>>;

/// The newest verifier of a listener, shared with its sessions that are in their handshakes.
#[derive(Debug)]
pub(super) struct Trust(RwLock<Verifier>);

impl Trust {
    pub(super) fn new(verifier: Verifier) -> Self {
        Self(RwLock::new(verifier))
    }

    pub(super) fn current(&self) -> Verifier {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, verifier: Verifier) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = verifier;
    }

    /// Returns whether `verifier` is the newest one.
    pub(super) fn is_current(&self, verifier: &Verifier) -> bool {
        match (&self.current(), verifier) {
            (Some(current), Some(verifier)) => Arc::ptr_eq(current, verifier),
            (current, verifier) => current.is_none() && verifier.is_none(),
        }
    }

    /// Verifies the chain of a session as if it were shown now; `None` is a Client without a chain.
    pub(super) fn verify(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<(), TlsError> {
        let Some(verifier) = self.current() else { return Ok(()) };
        match chain.and_then(<[_]>::split_first) {
            Some((first, others)) => {
                let verified = verifier.verify_client_cert(first, others, UnixTime::now());
                verified.map(drop).map_err(TlsError::NoLongerGood)
            }
            None if verifier.client_auth_mandatory() => Err(TlsError::NoCertificate),
            None => Ok(()),
        }
    }
}

/// Returns the verifier that `options` ask for. If there are lists of revoked certificates, each
/// certificate of a chain has to be covered by one: so a missing list is found out at once, not
/// after a theft.
pub(super) fn verifier(
    options: &TlsOptions,
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TlsFileError> {
    let is_off = options.client_certificates == ClientCertificates::Off;
    if let (true, Some(file)) = (is_off, files.authorities.iter().chain(&files.revoked).next()) {
        return Err(file.error(ContentProblem::AuthorityWithoutAsking));
    }
    if is_off {
        return Ok(None);
    }
    if let ([], [list, ..]) = (files.authorities.as_slice(), files.revoked.as_slice()) {
        return Err(list.error(ContentProblem::ListWithoutAuthority));
    }
    let mut roots = RootCertStore::empty();
    let mut pinned = Vec::new();
    for file in &files.authorities {
        file.add_to(&mut roots)?;
        pinned.extend(file.certificates()?);
    }
    if roots.is_empty() {
        return Err(TlsFileError::general(ContentProblem::NoAuthorities));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut all = Vec::new();
    for file in &files.revoked {
        let lists = file.lists()?;
        // Each file on its own, so that the message names the one that is wrong.
        let alone = builder.clone().with_crls(lists.iter().cloned()).build();
        alone.map_err(|error| file.error(ContentProblem::BadList(error.to_string())))?;
        all.extend(lists);
    }
    let builder = match options.client_certificates {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required | ClientCertificates::Off => builder,
    };
    let verifier = builder.with_crls(all).build();
    let refused = |error: rustls::server::VerifierBuilderError| {
        let error = rustls::Error::General(error.to_string());
        TlsFileError::general(ContentProblem::Refused(error))
    };
    let verifier = verifier.map_err(refused)?;
    if !files.revoked.is_empty() {
        // Each certificate has to be covered by a list, and no list covers one that is its own
        // authority.
        return Ok(Some(verifier));
    }
    let signatures = Signatures::new(provider, pinned);
    Ok(Some(Arc::new(Pinned::<dyn ClientCertVerifier>::new(signatures, verifier))))
}
