//! Everything that can be wrong with certificate files and TLS connections, in words that help.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};

use rustls::{
    AlertDescription, CertificateError, ExtendedKeyPurpose, InvalidMessage, PeerIncompatible,
};

use super::pinned::{is_of_authority, is_of_version_1};

/// A file of certificates, keys or revoked certificates that cannot be used. Its message names the
/// file, what is wrong with it and what to do.
#[derive(Debug)]
pub struct TlsFileError {
    file: Option<PathBuf>,
    problem: FileProblem,
}

/// What is wrong with a file, or with what it says.
#[derive(Debug)]
pub(super) enum FileProblem {
    Unreadable(io::Error),
    NoFile,
    TooLong { max: u64 },
    Empty,
    NotPem,
    Der,
    HalfWritten,
    Malformed(String),
    Content(ContentProblem),
}

/// What is wrong with what files say, alone or together.
#[derive(Debug)]
pub(super) enum ContentProblem {
    NoCertificate,
    OnlyKey,
    BadCertificate(String),
    NoKey,
    SeveralKeys,
    EncryptedKey,
    BadKey(String),
    KeyOfAnother { certificate: PathBuf },
    KeyOfLater { certificate: PathBuf, number: usize },
    NoList,
    BadList(String),
    ListWithoutAuthority,
    AuthorityWithoutAsking,
    NoCertificates,
    NoAuthorities,
    NoSystemRoots(String),
    Refused(rustls::Error),
}

impl TlsFileError {
    pub(super) fn new(file: &Path, problem: impl Into<FileProblem>) -> Self {
        Self { file: Some(file.to_path_buf()), problem: problem.into() }
    }

    /// Returns an error about no file in particular.
    pub(super) fn general(problem: ContentProblem) -> Self {
        Self { file: None, problem: problem.into() }
    }

    /// Returns the file that the error is about, if any.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for TlsFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            FileProblem::Unreadable(error) => Some(error),
            FileProblem::Content(ContentProblem::Refused(error)) => Some(error),
            _ => None,
        }
    }
}

impl Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => match error.kind() {
                io::ErrorKind::NotFound => f.write_str("there is no such file; check the path"),
                io::ErrorKind::PermissionDenied => {
                    f.write_str("it may not be read; let the broker's user read it")
                }
                _ => write!(f, "it cannot be read: {error}"),
            },
            Self::NoFile => f.write_str("it is not a file; give the path of one"),
            Self::TooLong { max } => {
                write!(f, "it is longer than {max} bytes; is it the right one?")
            }
            Self::Empty => f.write_str("it is empty; write it again, or restore it"),
            Self::NotPem => f.write_str("it is not PEM: no line begins with -----BEGIN"),
            Self::Der => f.write_str("it is DER; convert it to PEM, such as with `openssl x509`"),
            Self::HalfWritten => {
                f.write_str("it ends in the middle of a PEM block; write it completely")
            }
            Self::Malformed(what) => write!(f, "it is no well-formed PEM: {what}"),
            Self::Content(problem) => problem.fmt(f),
        }
    }
}

impl From<ContentProblem> for FileProblem {
    fn from(problem: ContentProblem) -> Self {
        Self::Content(problem)
    }
}

impl Display for ContentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => {
                f.write_str("it has no certificate (-----BEGIN CERTIFICATE-----)")
            }
            Self::OnlyKey => {
                f.write_str("it has a private key, but no certificate; are the two files swapped?")
            }
            Self::BadCertificate(what) => write!(f, "a certificate in it cannot be used: {what}"),
            Self::NoKey => f.write_str("it has no private key (-----BEGIN PRIVATE KEY-----)"),
            Self::SeveralKeys => f.write_str("it has several private keys; leave the right one"),
            Self::EncryptedKey => f.write_str(
                "the private key is encrypted; write it without a passphrase, such as with \
                 `openssl pkey`, and let only the broker's user read it",
            ),
            Self::BadKey(what) => write!(
                f,
                "the private key cannot be used ({what}); it has to be one of RSA with at least \
                 2048 bits, of ECDSA (P-256, P-384, P-521) or of Ed25519"
            ),
            Self::KeyOfAnother { certificate } => write!(
                f,
                "the private key does not belong to the certificate in {}; give the key that the \
                 certificate was made for",
                certificate.display()
            ),
            Self::KeyOfLater { certificate, number } => write!(
                f,
                "the private key belongs to certificate {number} of {}; that one has to come first",
                certificate.display()
            ),
            Self::NoList => f.write_str("it has no revocation list (-----BEGIN X509 CRL-----)"),
            Self::BadList(what) => write!(f, "its revocation list cannot be used: {what}"),
            Self::ListWithoutAuthority => f.write_str(
                "a revocation list says nothing without its authority; give the authority's \
                 certificate as client CA, too",
            ),
            Self::AuthorityWithoutAsking => f.write_str(
                "it is for Clients' certificates, but Clients are not asked for one; make client \
                 certificates `optional` or `required`, or leave the file out",
            ),
            Self::NoCertificates => {
                f.write_str("a TLS listener needs a certificate; give a certificate and its key")
            }
            Self::NoAuthorities => f.write_str(
                "Clients are asked for certificates, but of no authority; give the authority's \
                 certificate as client CA",
            ),
            Self::NoSystemRoots(what) => write!(
                f,
                "the system has no certificates of authorities; install them (often the package \
                 ca-certificates), or give a file: {what}"
            ),
            Self::Refused(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

/// Why a TLS connection is over.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// A rule of TLS is broken, or a certificate is not good.
    Rule(rustls::Error),
    /// A handshake message does not end.
    TooLong,
    /// The certificate was good when it was shown, but no longer is.
    NoLongerGood(rustls::Error),
    /// A session was resumed without the certificate that is required.
    NoCertificate,
    /// The peer's certificate is verified, but what it says cannot be read.
    UnreadableCertificate,
    /// The request does not fit the session's state.
    OutOfTurn,
    /// The keys have encrypted as much as they may.
    Exhausted,
    /// The name to connect to is neither a host name nor an address.
    BadName(String),
}

impl Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(error) | Self::NoLongerGood(error) => fmt_rule(error, f),
            Self::TooLong => f.write_str("the peer's handshake message is too long"),
            Self::NoCertificate => f.write_str("the peer showed no certificate"),
            Self::UnreadableCertificate => f.write_str("the peer's certificate cannot be read"),
            Self::OutOfTurn => f.write_str("the TLS session is not open"),
            Self::Exhausted => f.write_str("the session's keys are used up"),
            Self::BadName(name) => write!(f, "{name:?} is neither a host name nor an IP address"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rule(error) | Self::NoLongerGood(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rule(error)
    }
}

fn fmt_rule(error: &rustls::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use rustls::Error;

    match error {
        Error::InvalidCertificate(error) => {
            write!(f, "the peer's certificate {}", certificate_words(error))
        }
        Error::NoCertificatesPresented => f.write_str("the peer showed no certificate"),
        Error::AlertReceived(alert) => fmt_alert(*alert, f),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => f.write_str("the peer does not speak TLS"),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => f.write_str("the peer offers no version of TLS that is allowed here"),
        Error::NoApplicationProtocol => {
            f.write_str("the peer offers only other application protocols (ALPN)")
        }
        Error::DecryptError => f.write_str("a record cannot be decrypted"),
        Error::PeerSentOversizedRecord => f.write_str("a record is too long"),
        other => other.fmt(f),
    }
}

/// Returns what is wrong with a certificate of ours, as a sentence.
pub(super) fn certificate_fault(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => format!("it {}", certificate_words(error)),
        other => other.to_string(),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::Revoked => "was revoked",
        CertificateError::UnknownIssuer => "is not of an authority that is trusted here",
        CertificateError::UnknownRevocationStatus => {
            "is of an authority without a revocation list here, so that nobody knows whether it \
             was revoked"
        }
        CertificateError::BadSignature => "is not signed by whom it names",
        CertificateError::NotValidForNameContext { presented, .. } => return names(presented),
        CertificateError::NotValidForName => "is for another name",
        CertificateError::InvalidPurposeContext { required, .. } => return purpose(required),
        CertificateError::InvalidPurpose => "is for another purpose",
        CertificateError::BadEncoding => "is malformed",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is not taken, such as with SHA-1 or a key that is too short; \
             have it signed again with SHA-256 and a key of at least 2048 bits"
        }
        other => return rare_words(other),
    };
    words.to_string()
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "is for another name: it names no host, because a Common Name does not count; make \
                it with -addext subjectAltName=DNS:HOST"
            .to_string();
    }
    // `DnsName("example.org")`.
    let bare = |name: &String| match name.split_once('(') {
        Some((_, name)) => name.trim_end_matches(')').trim_matches('"').to_string(),
        None => name.clone(),
    };
    let presented: Vec<_> = presented.iter().map(bare).collect();
    format!("is for another name: it is for {}", presented.join(", "))
}

fn purpose(required: &ExtendedKeyPurpose) -> String {
    let (kind, usage) = match required {
        ExtendedKeyPurpose::ClientAuth => ("clients", "clientAuth"),
        ExtendedKeyPurpose::ServerAuth => ("servers", "serverAuth"),
        ExtendedKeyPurpose::Other(_) => return "is for another purpose".to_string(),
    };
    format!(
        "is for another purpose: its extendedKeyUsage leaves {kind} out; make it with {usage}, or \
         without that extension"
    )
}

/// Returns words for errors that rustls has no kinds for, although certificates made by hand often
/// have them.
fn rare_words(error: &CertificateError) -> String {
    let text = error.to_string();
    if is_of_authority(error) {
        "is that of an authority; make one that is not (-addext basicConstraints=CA:FALSE), or \
         trust this one by itself, as its own authority"
            .to_string()
    } else if is_of_version_1(error) {
        "is of X.509 version 1; make it of version 3, which any extension does (`openssl x509 \
         -req` needs -extfile)"
            .to_string()
    } else if text.contains("UnsupportedCriticalExtension") {
        "has an extension that is marked as critical and that nobody knows here; make it without \
         that one, or not critical"
            .to_string()
    } else {
        format!("is not good: {text}")
    }
}

fn fmt_alert(alert: AlertDescription, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let words = match alert {
        AlertDescription::UnknownCA => "does not trust the authority of the certificate",
        AlertDescription::BadCertificate => "finds the certificate not good",
        AlertDescription::CertificateUnknown => "does not take the certificate",
        AlertDescription::UnsupportedCertificate => {
            "does not take a certificate of this kind or purpose"
        }
        AlertDescription::DecryptError => "finds a signature of the certificate not good",
        AlertDescription::CertificateExpired => "finds the certificate expired",
        AlertDescription::CertificateRevoked => "finds the certificate revoked",
        AlertDescription::CertificateRequired => "requires a certificate",
        AlertDescription::ProtocolVersion => "speaks no version of TLS that is allowed here",
        AlertDescription::HandshakeFailure => "finds no common ground",
        other => return write!(f, "the peer ended TLS with the alert {other:?}"),
    };
    write!(f, "the peer {words} (TLS alert {})", u8::from(alert))
}
