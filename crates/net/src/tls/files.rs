//! Reads files of certificates, keys and revocation lists, and says what is wrong with one.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use super::certificate::public_key_of_version_1;
use super::error::{ContentProblem, FileProblem, TlsFileError, certificate_fault};
use super::sha256;
use crate::{CertificateFiles, TlsOptions};

/// The longest files are lists of revoked certificates; those of whole countries have some dozens
/// of megabytes.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A file as it was read.
pub(super) struct Content {
    pub(super) path: PathBuf,
    bytes: Vec<u8>,
}

/// All files of a listener, read at about the same time.
pub(super) struct Files {
    pub(super) certificates: Vec<(Content, Content)>,
    pub(super) authorities: Vec<Content>,
    pub(super) revoked: Vec<Content>,
}

/// Returns the paths of all files that `options` name.
pub(super) fn paths(options: &TlsOptions) -> impl Iterator<Item = &Path> {
    let pairs = options.certificates.iter();
    let pairs = pairs.flat_map(|files| [files.certificate.as_path(), files.key.as_path()]);
    pairs.chain(options.client_ca.iter().chain(&options.client_crl).map(PathBuf::as_path))
}

impl Files {
    pub(super) fn read(options: &TlsOptions) -> Result<Self, TlsFileError> {
        let pair = |files: &CertificateFiles| {
            Ok((Content::read(&files.certificate)?, Content::read(&files.key)?))
        };
        let read_all = |paths: &[PathBuf]| {
            paths.iter().map(|path| Content::read(path)).collect::<Result<_, _>>()
        };
        Ok(Self {
            certificates: options.certificates.iter().map(pair).collect::<Result<_, _>>()?,
            authorities: read_all(&options.client_ca)?,
            revoked: read_all(&options.client_crl)?,
        })
    }

    /// Returns a digest of the certificates and keys, for comparing.
    pub(super) fn certificates_digest(&self) -> [u8; 32] {
        digest(self.certificates.iter().flat_map(|(certificate, key)| [certificate, key]))
    }

    /// Returns a digest of what decides whose certificates are good, for comparing.
    pub(super) fn trust_digest(&self) -> [u8; 32] {
        digest(self.authorities.iter().chain(&self.revoked))
    }
}

/// Returns a digest of several files. The lengths go first, so that bytes that move from one file
/// to the next make a difference.
fn digest<'c>(contents: impl Iterator<Item = &'c Content> + Clone) -> [u8; 32] {
    let lengths: Vec<u8> =
        contents.clone().flat_map(|content| (content.bytes.len() as u64).to_be_bytes()).collect();
    sha256([lengths.as_slice()].into_iter().chain(contents.map(|content| content.bytes.as_slice())))
}

impl Content {
    pub(super) fn read(path: &Path) -> Result<Self, TlsFileError> {
        let unreadable = |error| TlsFileError::new(path, FileProblem::Unreadable(error));
        // Opening a pipe would block.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(TlsFileError::new(path, FileProblem::NoFile));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(TlsFileError::new(path, FileProblem::TooLong { max: FILE_BYTES_MAX }));
        }
        let content = Self { path: path.to_path_buf(), bytes };
        match content.bytes.trim_ascii().is_empty() {
            true => Err(content.error(FileProblem::Empty)),
            false => Ok(content),
        }
    }

    pub(super) fn error(&self, problem: impl Into<FileProblem>) -> TlsFileError {
        TlsFileError::new(&self.path, problem)
    }

    /// Returns the file's certificates in their order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let sections = self.sections()?;
        let has_key = sections.iter().any(|(kind, _)| is_key(*kind));
        let of_kind = sections.into_iter().filter(|(kind, _)| *kind == SectionKind::Certificate);
        let certificates: Vec<_> = of_kind.map(|(_, der)| CertificateDer::from(der)).collect();
        match (certificates.is_empty(), has_key) {
            (false, _) => Ok(certificates),
            (true, true) => Err(self.error(ContentProblem::OnlyKey)),
            (true, false) => Err(self.error(ContentProblem::NoCertificate)),
        }
    }

    /// Returns the file's private key; it must have exactly one.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        // Both ways of encrypting keys have this word in a line of their own, one in the label and
        // the other in a header. It cannot be part of the key, since such a line is no base64.
        if self.bytes.windows(9).any(|window| window == b"ENCRYPTED") {
            return Err(self.error(ContentProblem::EncryptedKey));
        }
        let sections = self.sections()?;
        let mut keys =
            sections.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        let key = keys.next().ok_or_else(|| self.error(ContentProblem::NoKey))?;
        match keys.next() {
            Some(_) => Err(self.error(ContentProblem::SeveralKeys)),
            None => Ok(key),
        }
    }

    /// Returns the file's lists of revoked certificates, at least one. DER is accepted, too,
    /// because authorities publish lists in that form.
    pub(super) fn lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
        if self.is_der() {
            return Ok(vec![CertificateRevocationListDer::from(self.bytes.clone())]);
        }
        let sections = self.sections()?;
        let of_kind = sections.into_iter().filter(|(kind, _)| *kind == SectionKind::Crl);
        let lists: Vec<_> =
            of_kind.map(|(_, der)| CertificateRevocationListDer::from(der)).collect();
        match lists.is_empty() {
            true => Err(self.error(ContentProblem::NoList)),
            false => Ok(lists),
        }
    }

    /// Adds the file's certificates to `roots`, as those of authorities.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), TlsFileError> {
        for certificate in self.certificates()? {
            let bad = |error: rustls::Error| {
                self.error(ContentProblem::BadCertificate(certificate_fault(&error)))
            };
            roots.add(certificate).map_err(bad)?;
        }
        Ok(())
    }

    /// Returns whether the file is DER, which begins with a long sequence. No text begins like
    /// that.
    fn is_der(&self) -> bool {
        matches!(self.bytes.as_slice(), [0x30, 0x80..=0x84, ..])
    }

    fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, TlsFileError> {
        if self.is_der() {
            return Err(self.error(FileProblem::Der));
        }
        if !self.bytes.windows(11).any(|window| window == b"-----BEGIN ") {
            return Err(self.error(FileProblem::NotPem));
        }
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.bytes).collect();
        let sections: Result<Vec<_>, PemError> = sections;
        sections.map_err(|error| {
            self.error(match error {
                PemError::MissingSectionEnd { .. } => FileProblem::HalfWritten,
                PemError::IllegalSectionStart { .. } => {
                    FileProblem::Malformed("a line begins a block, but does not end".to_string())
                }
                PemError::Base64Decode(_) => {
                    FileProblem::Malformed("a block is no base64".to_string())
                }
                other => FileProblem::Malformed(other.to_string()),
            })
        })
    }
}

/// Returns a chain with its key, which must belong to the chain's first certificate.
pub(super) fn certified_key(
    certificate: &Content,
    key: &Content,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsFileError> {
    let chain = certificate.certificates()?;
    let der = key.key()?;
    let bad_key = |error: rustls::Error| key.error(ContentProblem::BadKey(error.to_string()));
    let signing_key = provider.key_provider.load_private_key(der).map_err(bad_key)?;
    let certified = CertifiedKey::new(chain, signing_key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(key.error(mismatch(certificate, &certified)))
        }
        Err(error) => match key_of_version_1(&certified) {
            Some(true) => Ok(Arc::new(certified)),
            Some(false) => {
                let path = certificate.path.clone();
                Err(key.error(ContentProblem::KeyOfAnother { certificate: path }))
            }
            None => {
                Err(certificate.error(ContentProblem::BadCertificate(certificate_fault(&error))))
            }
        },
    }
}

/// Returns whether the key belongs to a certificate of X.509 version 1; `None` if the certificate
/// is of another version. rustls does not read version 1, but shows such certificates to peers that
/// do, so this has to be found out here.
fn key_of_version_1(certified: &CertifiedKey) -> Option<bool> {
    let in_certificate = public_key_of_version_1(certified.end_entity_cert().ok()?)?;
    let of_key = certified.key.public_key()?;
    Some(of_key.as_ref() == in_certificate)
}

/// Returns why a key does not match. The usual reason is a chain in the wrong order.
fn mismatch(certificate: &Content, certified: &CertifiedKey) -> ContentProblem {
    let belongs = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], certified.key.clone()).keys_match().is_ok()
    };
    let path = certificate.path.clone();
    match certified.cert.iter().position(belongs) {
        Some(index) => ContentProblem::KeyOfLater { certificate: path, number: index + 1 },
        None => ContentProblem::KeyOfAnother { certificate: path },
    }
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}
