//! What an authority does: it issues certificates for servers and clients, and the list of revoked
//! ones.
//!
//! All keys are on the curve P-256. This module must never touch a file of an authority; it reads
//! only the machine's name.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

use super::CertsError;

/// The beginning of an authority's name.
const AUTHORITY: &str = "Midge throwaway authority";
const AUTHORITY_DAYS_MIN: u32 = 3650;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// An authority with its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    not_after: u64,
}

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
    /// When the certificate ends, in seconds since 1970.
    pub(super) not_after: u64,
}

/// A name or an address by which a server can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Authority {
    /// Makes a new authority.
    pub(super) fn new(days: u32) -> Result<Self, CertsError> {
        let key = KeyPair::generate()?;
        let mut params = params(&name_of_authority(&key), days.max(AUTHORITY_DAYS_MIN));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let not_after = seconds(params.not_after.unix_timestamp());
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, not_after })
    }

    /// Reads the authority of an earlier run. The error completes "ca.pem and ca.key ...".
    pub(super) fn from_pem(certificate: &str, key: &str) -> Result<Self, &'static str> {
        let parsed = Certificate::from_pem(certificate)
            .map_err(|_| "are no use: ca.pem is not a certificate in PEM")?;
        let key = KeyPair::from_pem(key)
            .map_err(|_| "are no use: ca.key is not a private key in PEM (PKCS #8)")?;
        let parsed = parsed.tbs_certificate();
        let public_key = parsed.subject_public_key_info().to_der();
        if public_key.ok().as_deref() != Some(&key.subject_public_key_info()[..]) {
            return Err("do not belong together");
        }
        let name = name_of_authority(&key);
        if parsed.subject().to_string() != format!("CN={name}") {
            return Err("were not made by this command, and it leaves other authorities alone");
        }
        let not_after = parsed.validity().not_after.to_unix_duration().as_secs();
        if not_after <= now() {
            return Err("are over: the authority was not made for so long");
        }
        let mut params = params(&name, AUTHORITY_DAYS_MIN);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = certificate.to_owned();
        Ok(Self { issuer: Issuer::new(params, key), certificate, not_after })
    }

    /// Returns when the authority's certificate ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Gives the authority's own certificate and key.
    pub(super) fn to_pair(&self) -> Pair {
        let (certificate, key) = (self.certificate.clone(), self.issuer.key().serialize_pem());
        Pair { certificate, key, not_after: self.not_after }
    }

    /// Issues a certificate for a server that is known by all of `hosts`, of which there is at
    /// least one.
    pub(super) fn issue_server(&self, hosts: &[Host], days: u32) -> Result<Pair, CertsError> {
        let name = hosts.first().map(ToString::to_string).unwrap_or_default();
        let mut params = params(&name, days);
        params.subject_alt_names = hosts.iter().map(Host::to_san).collect::<Result<_, _>>()?;
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate for a client; `name` is its Common Name.
    pub(super) fn issue_client(&self, name: &str, days: u32) -> Result<Pair, CertsError> {
        self.issue(params(name, days), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Pair, CertsError> {
        let key = KeyPair::generate()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            not_after: seconds(params.not_after.unix_timestamp()),
        })
    }

    /// Makes a list, in PEM, of the certificates with these serial numbers, revoked at these times
    /// (seconds since 1970).
    pub(super) fn revocation_list(
        &self,
        revoked: &[(Vec<u8>, u64)],
        days: u32,
    ) -> Result<String, CertsError> {
        let (epoch, now) = (rcgen::date_time_ymd(1970, 1, 1), now());
        let revoked_certs = revoked.iter().map(|(serial, at)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: epoch + Duration::from_secs(*at),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: epoch + Duration::from_secs(now.saturating_sub(CLOCK_SKEW_SECONDS)),
            next_update: epoch + Duration::from_secs(now + u64::from(days) * SECONDS_PER_DAY),
            // Each list of an authority needs a higher number than the one before.
            crl_number: SerialNumber::from(now),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

impl Host {
    /// Reads a name or an address; `*.` may stand before a name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address));
        }
        let labels = text.strip_prefix("*.").unwrap_or(text).split('.');
        let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(is_good);
        if text.len() > 253 || !labels.into_iter().all(is_label) {
            return Err("neither a host name (such as mqtt.lan or *.lan) nor an address".to_owned());
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }

    fn to_san(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            Self::Name(name) => SanType::DnsName(name.as_str().try_into()?),
            Self::Address(address) => SanType::IpAddress(*address),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Gives `hosts`, then the names that every machine has, then the name of this machine.
pub(super) fn hosts_with_own(hosts: &[Host]) -> Vec<Host> {
    let mut all = hosts.to_vec();
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for text in ["localhost", "127.0.0.1", "::1", own.trim()] {
        // A machine can have a name that no certificate can hold; it has other names.
        if let Ok(host) = Host::parse(text) {
            all.push(host);
        }
    }
    let mut seen = Vec::new();
    all.retain(|host| {
        !seen.contains(host) && {
            seen.push(host.clone());
            true
        }
    });
    all
}

/// Returns the time in seconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Certificates hold from this long before now, so that machines whose clock is slow accept them.
const CLOCK_SKEW_SECONDS: u64 = 60 * 60;

/// Gives each authority a name of its own, made from its key: a user who mixes up two authorities
/// is told so, and not that a signature is wrong.
fn name_of_authority(key: &KeyPair) -> String {
    let identifier = CertificateParams::default().key_identifier(key);
    let digits: String = identifier.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{AUTHORITY} {digits}")
}

fn params(name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // A longer Common Name is not allowed. Only a server's name can be longer, and that is also
    // among its alternative names.
    let name: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    let (epoch, now) = (rcgen::date_time_ymd(1970, 1, 1), now());
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(CLOCK_SKEW_SECONDS));
    params.not_after = epoch + Duration::from_secs(now + u64::from(days) * SECONDS_PER_DAY);
    params
}

fn seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or_default()
}
