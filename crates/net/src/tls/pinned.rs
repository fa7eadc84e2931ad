//! Certificates that stand themselves in the file of those that are trusted.
//!
//! The usual recipes (`openssl req -x509`) make a certificate that is marked as an authority's and
//! names its host only in its Common Name; its users give it as its own authority. Rules about
//! chains refuse that, but there is no chain: whoever shows it has the key of the very certificate
//! that is trusted. Nothing else is believed here, and never one that is out of date.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::certificate::{certificate_info, peer_certificate, public_key_of_version_1};
use super::provider;

/// Certificates that are trusted as they are, and the verifier of all others.
#[derive(Debug)]
pub(super) struct Pinned<V: ?Sized> {
    certificates: Vec<CertificateDer<'static>>,
    chains: Arc<V>,
}

impl<V: ?Sized> Pinned<V> {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, chains: Arc<V>) -> Self {
        Self { certificates, chains }
    }

    /// The key of a certificate of X.509 version 1, which rustls reads nothing of, if it is
    /// trusted. With TLS 1.2 there is no way to use it.
    fn raw_key(&self, shown: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let key = self.has(shown).then(|| public_key_of_version_1(shown)).flatten();
        key.map(SubjectPublicKeyInfoDer::from)
    }

    fn has(&self, shown: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|certificate| certificate.as_ref() == shown.as_ref())
    }
}

/// Whether a certificate is refused only because it is marked as that of an authority.
pub(super) fn is_of_authority(error: &CertificateError) -> bool {
    // rustls has no kind of its own for it.
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEnd"))
}

/// Whether a certificate is refused only because it was made by a usual recipe.
fn is_of_recipe(error: &CertificateError) -> bool {
    is_of_authority(error) || is_of_version_1(error)
}

/// Whether a certificate is refused because it is of X.509 version 1.
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

/// By its alternative names, or where it has none, by its Common Name.
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

fn verify_by_raw_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = provider().signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, key, signed, &algorithms)
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
                if self.has(shown) && (is_of_recipe(&error) || is_of_other_name(&error)) =>
            {
                verify_time(shown, now)?;
                verify_name(shown, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.raw_key(certificate) {
            Some(key) => verify_by_raw_key(message, &key, signed),
            None => self.chains.verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
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
            Err(Error::InvalidCertificate(error)) if self.has(shown) && is_of_recipe(&error) => {
                verify_time(shown, now)?;
                Ok(ClientCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.raw_key(certificate) {
            Some(key) => verify_by_raw_key(message, &key, signed),
            None => self.chains.verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
