//! Certificates that are themselves in the file of trusted certificates.
//!
//! The usual recipes (`openssl req -x509`) make a certificate that is marked as an authority's and
//! names its host only in its Common Name; its users give it as its own authority. Rules about
//! chains refuse that, but there is no chain: whoever shows the certificate has the key of the very
//! certificate that is trusted. Nothing else is believed here, and never a certificate that is out
//! of date.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error};

use super::certificate::{certificate_info, peer_certificate};
use super::signatures::{Signatures, verify_signatures};

/// Certificates that are trusted as they are, and the verifier of all others.
#[derive(Debug)]
pub(super) struct Pinned<V: ?Sized> {
    /// Knows the certificates that are trusted as they are.
    signatures: Signatures,
    chains: Arc<V>,
}

impl<V: ?Sized> Pinned<V> {
    pub(super) fn new(signatures: Signatures, chains: Arc<V>) -> Self {
        Self { signatures, chains }
    }
}

/// Returns whether a certificate is refused only because it is marked as an authority's.
pub(super) fn is_of_authority(error: &CertificateError) -> bool {
    // rustls has no error kind for this.
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEnd"))
}

/// Returns whether a certificate is refused only because it was made by a usual recipe.
fn is_of_recipe(error: &CertificateError) -> bool {
    is_of_authority(error) || is_of_version_1(error)
}

/// Returns whether a certificate is refused because it is of X.509 version 1.
pub(super) fn is_of_version_1(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CertVersion"))
}

fn is_of_other_name(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}

fn verify_time(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let info = certificate_info("".into(), shown).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > info.not_after {
        return Err(CertificateError::Expired.into());
    }
    if now < info.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// Verifies the name by the certificate's alternative names, or if it has none, by its Common Name.
fn verify_name(shown: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let said = peer_certificate(std::slice::from_ref(shown));
    let said = said.ok_or(CertificateError::BadEncoding)?;
    if !said.alternative_names.is_empty() {
        return verify_server_name(&ParsedCertificate::try_from(shown)?, name);
    }
    let common = said.common_name.unwrap_or_default();
    if common.eq_ignore_ascii_case(&name.to_str()) {
        return Ok(());
    }
    let presented = vec![common];
    Err(CertificateError::NotValidForNameContext { expected: name.to_owned(), presented }.into())
}

impl ServerCertVerifier for Pinned<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.chains.verify_server_cert(shown, others, name, ocsp_response, now) {
            Err(Error::InvalidCertificate(error))
                if self.signatures.trust(shown)
                    && (is_of_recipe(&error) || is_of_other_name(&error)) =>
            {
                verify_time(shown, now)?;
                verify_name(shown, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    verify_signatures!();
}

impl ClientCertVerifier for Pinned<dyn ClientCertVerifier> {
    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.chains.verify_client_cert(shown, others, now) {
            Err(Error::InvalidCertificate(error))
                if self.signatures.trust(shown) && is_of_recipe(&error) =>
            {
                verify_time(shown, now)?;
                Ok(ClientCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    verify_signatures!();
}
