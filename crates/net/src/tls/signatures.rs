//! The signatures of handshakes: whoever shows a certificate must have its key. This is the same
//! for all verifiers, whatever certificates each of them trusts. It says nothing about that trust.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::public_key_of_version_1;

/// Verifies signatures.
#[derive(Debug)]
pub(super) struct Signatures {
    algorithms: WebPkiSupportedAlgorithms,
    /// Certificates that are trusted as they are.
    trusted: Vec<CertificateDer<'static>>,
}

impl Signatures {
    pub(super) fn new(provider: &CryptoProvider, trusted: Vec<CertificateDer<'static>>) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, trusted }
    }

    /// Returns whether this very certificate is trusted.
    pub(super) fn trust(&self, shown: &CertificateDer<'_>) -> bool {
        self.trusted.iter().any(|certificate| certificate.as_ref() == shown.as_ref())
    }

    pub(super) fn verify_tls12(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    pub(super) fn verify_tls13(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.raw_key(shown) {
            Some(key) => {
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            None => verify_tls13_signature(message, shown, signed, &self.algorithms),
        }
    }

    pub(super) fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    /// Returns the key of a certificate of X.509 version 1, which rustls cannot read, if the
    /// certificate is trusted. With TLS 1.2 there is no way to use it.
    fn raw_key(&self, shown: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let key = self.trust(shown).then(|| public_key_of_version_1(shown)).flatten();
        key.map(SubjectPublicKeyInfoDer::from)
    }
}

/// The signature methods of a verifier of servers' or of Clients' certificates: both traits ask for
/// the same ones. The verifier has a field `signatures`.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            shown: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.signatures.verify_tls12(message, shown, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            shown: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.signatures.verify_tls13(message, shown, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.signatures.schemes()
        }
    };
}

pub(super) use verify_signatures;
