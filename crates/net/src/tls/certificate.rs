//! The contents of certificates, as values without ASN.1.
//!
//! A peer's certificate comes here only after it was verified; nothing here decides whether it is
//! good.

use std::net::IpAddr;
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage};
use x509_cert::name::Name;

use super::sha256;
use crate::{AlternativeName, PeerCertificate};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// The purposes that allow a certificate to be a server's: serverAuth and anyExtendedKeyUsage.
const SERVERS_USAGES: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
];
/// RSA with MD5, RSA with SHA-1, ECDSA with SHA-1.
const OUTDATED_SIGNATURES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
];
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// A certificate that a listener shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The file that it comes from.
    pub file: PathBuf,
    /// The subject as RFC 4514 writes it.
    pub subject: String,
    /// The names and addresses that it is for; wildcards as they are (`*.example.org`).
    pub names: Vec<String>,
    /// When the certificate becomes valid, in seconds since 1970.
    pub not_before: i64,
    /// When the certificate expires, in seconds since 1970.
    pub not_after: i64,
    /// What makes Clients with strict rules refuse the certificate, although a listener works with
    /// it.
    pub oddity: Option<&'static str>,
}

impl CertificateInfo {
    /// Returns a warning about the certificate at `now`, in seconds since 1970, if one is due: a
    /// listener works with a certificate that has expired, but Clients will not accept it.
    pub fn warning(&self, now: i64) -> Option<String> {
        let fault = if now > self.not_after {
            let days = (now - self.not_after) / 86_400;
            Some(match days {
                0 => "expired today".to_owned(),
                1 => "expired yesterday".to_owned(),
                days => format!("expired {days} days ago"),
            })
        } else if now < self.not_before {
            Some("is not valid yet".to_owned())
        } else {
            self.oddity.map(|oddity| format!("{oddity}; some clients will refuse it"))
        };
        let (file, subject) = (self.file.display(), &self.subject);
        fault.map(|fault| format!("{file}: the certificate of {subject} {fault}"))
    }
}

/// Returns what a verified chain says about its owner, whose certificate is the first. `None` if
/// there is none, or if it is not what RFC 5280 describes.
pub(crate) fn peer_certificate(chain: &[CertificateDer<'_>]) -> Option<PeerCertificate> {
    let first = chain.first()?;
    let certificate = Certificate::from_der(first).ok()?;
    let content = certificate.tbs_certificate();
    Some(PeerCertificate {
        subject: content.subject().to_string(),
        common_name: common_name(content.subject()),
        issuer: content.issuer().to_string(),
        serial: serial(content.serial_number().as_bytes()),
        alternative_names: alternative_names(&certificate),
        not_after: seconds(content.validity().not_after),
        thumbprint: sha256([first.as_ref()]),
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
    })
}

/// Returns what a listener's own certificate says, or why it cannot be read.
pub(super) fn certificate_info(file: PathBuf, der: &[u8]) -> Result<CertificateInfo, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let content = certificate.tbs_certificate();
    Ok(CertificateInfo {
        file,
        subject: content.subject().to_string(),
        names: alternative_names(&certificate).iter().filter_map(host).collect(),
        not_before: seconds(content.validity().not_before),
        not_after: seconds(content.validity().not_after),
        oddity: oddity(&certificate),
    })
}

/// Returns what is odd about a certificate: something that the usual recipes leave out, or that has
/// gone out of use.
fn oddity(certificate: &Certificate) -> Option<&'static str> {
    if certificate.tbs_certificate().version() == Version::V1 {
        Some("is of X.509 version 1 (`openssl x509 -req` needs -extfile)")
    } else if is_of_authority(certificate) {
        Some("is marked as that of an authority (CA:TRUE)")
    } else if alternative_names(certificate).is_empty() {
        Some("names no host: it has no subjectAltName")
    } else if !is_for_servers(certificate) {
        Some("is not for servers: its extendedKeyUsage lacks serverAuth")
    } else if OUTDATED_SIGNATURES.contains(&certificate.signature_algorithm().oid) {
        Some("is signed with SHA-1 or MD5 (openssl has -sha256)")
    } else {
        None
    }
}

fn is_of_authority(certificate: &Certificate) -> bool {
    extension::<BasicConstraints>(certificate, BASIC_CONSTRAINTS)
        .is_some_and(|constraints| constraints.ca)
}

/// Returns whether a certificate may be a server's. One that names no purposes is for all of them.
fn is_for_servers(certificate: &Certificate) -> bool {
    extension::<ExtendedKeyUsage>(certificate, EXTENDED_KEY_USAGE)
        .is_none_or(|usage| usage.0.iter().any(|purpose| SERVERS_USAGES.contains(purpose)))
}

/// Returns the content of an extension, if it is there and well-formed.
fn extension<'a, T: Decode<'a>>(certificate: &'a Certificate, id: ObjectIdentifier) -> Option<T> {
    let mut extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    let extension = extensions.find(|extension| extension.extn_id == id)?;
    T::from_der(extension.extn_value.as_bytes()).ok()
}

/// Returns the key in a certificate of X.509 version 1, as DER.
pub(super) fn public_key_of_version_1(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    let content = certificate.tbs_certificate();
    let is_old = content.version() == Version::V1;
    is_old.then(|| content.subject_public_key_info().to_der().ok()).flatten()
}

/// Returns the name or address of a host; other kinds do not name servers.
fn host(name: &AlternativeName) -> Option<String> {
    match name {
        AlternativeName::Dns(name) => Some(name.clone()),
        AlternativeName::Address(address) => Some(address.to_string()),
        AlternativeName::Email(_) | AlternativeName::Uri(_) => None,
    }
}

/// Returns the last Common Name: names go from the most general to the most specific.
fn common_name(name: &Name) -> Option<String> {
    let value = name.iter().filter(|part| part.oid == COMMON_NAME).last()?;
    text(&value.value)
}

/// Returns a string of any of ASN.1's string types.
fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            String::from_utf8(value.value().to_vec()).ok()
        }
        // Meant to be T.61, but in practice everybody writes and reads Latin-1.
        Tag::TeletexString => Some(value.value().iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (units, _) = value.value().as_chunks::<2>();
            String::from_utf16(
                &units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>(),
            )
            .ok()
        }
        _ => None,
    }
}

/// Returns the alternative names. Each is read alone, so that one of an unknown kind does not hide
/// the others.
fn alternative_names(certificate: &Certificate) -> Vec<AlternativeName> {
    let extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    extensions
        .filter(|extension| extension.extn_id == SUBJECT_ALTERNATIVE_NAME)
        .filter_map(|extension| Vec::<Any>::from_der(extension.extn_value.as_bytes()).ok())
        .flatten()
        .filter_map(|name| alternative_name(&name))
        .collect()
}

fn alternative_name(name: &Any) -> Option<AlternativeName> {
    match GeneralName::from_der(&name.to_der().ok()?).ok()? {
        GeneralName::DnsName(name) => Some(AlternativeName::Dns(name.to_string())),
        GeneralName::Rfc822Name(name) => Some(AlternativeName::Email(name.to_string())),
        GeneralName::UniformResourceIdentifier(name) => {
            Some(AlternativeName::Uri(name.to_string()))
        }
        GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(AlternativeName::Address),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// Returns a serial number in hexadecimal, without the zero that ASN.1 puts before a large number.
fn serial(bytes: &[u8]) -> String {
    let bytes = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn seconds(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}
