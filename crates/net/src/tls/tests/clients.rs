//! Certificates of Clients: which Clients are let in, and what is known of them.

use std::path::Path;
use std::sync::Arc;

use rcgen::{DnType, DnValue, SanType, SerialNumber};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, Error};

use super::pair::{BOTH, Pair, client_config};
use super::pki::{Authority, Directory, Issued};
use crate::tls::files::{Content, Files};
use crate::tls::trust::verifier;
use crate::tls::{TlsClientOptions, TlsServer, peer_certificate, provider};
use crate::{AlternativeName, ClientCertificates, TlsOptions};

struct Scene {
    authority: Authority,
    directory: Directory,
    options: TlsOptions,
}

impl Scene {
    fn new(client_certificates: ClientCertificates) -> Self {
        let (authority, directory) = (Authority::new("CA"), Directory::new());
        let ca = directory.write("ca.crt", authority.pem());
        let options = TlsOptions {
            client_certificates,
            client_ca: vec![ca],
            ..directory.listener(&authority)
        };
        Self { authority, directory, options }
    }

    fn server(&self) -> TlsServer {
        TlsServer::load(&self.options, &[]).unwrap()
    }

    /// Connects one pair for each version.
    fn connect(&self, server: &TlsServer, certificate: Option<&Issued>) -> Vec<Pair> {
        let pairs = BOTH.into_iter().map(|version| {
            let config = client_config(&self.authority, version, certificate);
            Pair::connect(server, &Arc::new(config), "localhost")
        });
        pairs.collect()
    }

    fn assert_refused(
        &self,
        server: &TlsServer,
        certificate: Option<&Issued>,
        words: &str,
        alerts: &[AlertDescription],
    ) {
        for pair in self.connect(server, certificate) {
            assert_eq!(pair.our_error.as_ref().unwrap().to_string(), words);
            let alert = pair.their_error.as_ref();
            let is_expected =
                |alert: &Error| matches!(alert, Error::AlertReceived(of) if alerts.contains(of));
            assert!(alert.is_some_and(is_expected), "{alert:?}");
            assert_eq!(pair.ours.info(), None);
            assert_eq!(pair.received, b"");
        }
    }
}

#[test]
fn a_required_certificate_must_be_shown_and_be_good() {
    let scene = Scene::new(ClientCertificates::Required);
    let server = scene.server();
    let good = scene.authority.client("sensor-7", 0xabcd);
    for mut pair in scene.connect(&server, Some(&good)) {
        pair.assert_talks();
        let info = pair.ours.info().unwrap();
        let certificate = info.certificate.as_ref().unwrap();
        assert_eq!(certificate.subject, "CN=sensor-7");
        assert_eq!(certificate.serial, "abcd");
    }
    scene.assert_refused(
        &server,
        None,
        "the peer showed no certificate",
        &[AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure],
    );
    let stranger = Authority::new("another").client("sensor-7", 0xabcd);
    scene.assert_refused(
        &server,
        Some(&stranger),
        "the peer's certificate is not of an authority that is trusted here",
        &[AlertDescription::UnknownCA],
    );
    let expired = scene.authority.issue(&[], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    scene.assert_refused(
        &server,
        Some(&expired),
        "the peer's certificate has expired",
        &[AlertDescription::CertificateExpired],
    );
}

/// The certificate is like those that `openssl req -x509` makes.
#[test]
fn a_certificate_of_an_authority_is_no_clients() {
    let scene = Scene::new(ClientCertificates::Required);
    let wrong = scene.authority.issue(&[], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    for pair in scene.connect(&scene.server(), Some(&wrong)) {
        let error = pair.our_error.unwrap().to_string();
        assert!(error.starts_with("the peer's certificate is that of an authority; "), "{error}");
        assert!(matches!(pair.their_error, Some(Error::AlertReceived(_))));
    }
}

/// The same kind of certificate, given as its own authority: whoever shows it has the key that is
/// trusted.
#[test]
fn a_certificate_that_is_its_own_authority_is_good_until_it_is_out_of_date() {
    let directory = Directory::new();
    let own = |name: &str, expired: bool| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "localhost");
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let certificate = params.self_signed(&key).unwrap();
        (certificate.der().clone(), directory.write(name, certificate.pem()))
    };
    let (good, file) = own("good.pem", false);
    let (expired, expired_file) = own("expired.pem", true);
    let files = [file.clone(), expired_file.clone()];
    let authorities = files.iter().map(|file| Content::read(file).unwrap()).collect();
    let scene = Scene::new(ClientCertificates::Required);
    let files = Files { certificates: Vec::new(), authorities, revoked: Vec::new() };
    let verifier = verifier(&scene.options, &files, &provider()).unwrap().unwrap();
    let now = UnixTime::now();
    verifier.verify_client_cert(&good, &[], now).unwrap();
    let error = verifier.verify_client_cert(&expired, &[], now).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    let (stranger, _) = own("stranger.pem", false);
    assert!(verifier.verify_client_cert(&stranger, &[], now).is_err());

    let named = |name: &str, file: &Path, shown: &CertificateDer<'_>| {
        let options = TlsClientOptions { ca: Some(file.into()), ..TlsClientOptions::default() };
        let verifier = crate::tls::client::verifier(&options, &provider()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], now).map(drop)
    };
    named("localhost", &file, &good).unwrap();
    for (name, file, shown) in [
        ("example.org", &file, &good),
        ("localhost", &file, &stranger),
        ("localhost", &expired_file, &expired),
    ] {
        assert!(named(name, file, shown).is_err(), "{name}");
    }
}

#[test]
fn an_optional_certificate_may_be_left_out_but_not_be_wrong() {
    let scene = Scene::new(ClientCertificates::Optional);
    let server = scene.server();
    for mut pair in scene.connect(&server, None) {
        pair.assert_talks();
        assert_eq!(pair.ours.info().unwrap().certificate, None);
    }
    for pair in scene.connect(&server, Some(&scene.authority.client("sensor", 1))) {
        pair.assert_open();
        assert!(pair.ours.info().unwrap().certificate.is_some());
    }
    let stranger = Authority::new("another").client("sensor", 1);
    scene.assert_refused(
        &server,
        Some(&stranger),
        "the peer's certificate is not of an authority that is trusted here",
        &[AlertDescription::UnknownCA],
    );
}

#[test]
fn nobody_is_asked_where_certificates_are_off() {
    let mut scene = Scene::new(ClientCertificates::Off);
    scene.options.client_ca.clear();
    let server = scene.server();
    for pair in scene.connect(&server, Some(&scene.authority.client("sensor", 1))) {
        pair.assert_open();
        assert_eq!(pair.ours.info().unwrap().certificate, None);
    }
}

#[test]
fn a_revoked_certificate_is_refused() {
    for as_der in [false, true] {
        let mut scene = Scene::new(ClientCertificates::Required);
        let list = scene.authority.revoke(&[13, 14]);
        let file = match as_der {
            true => scene.directory.write("list.crl", list.der()),
            false => scene.directory.write("list.crl", list.pem().unwrap()),
        };
        scene.options.client_crl.push(file);
        let server = scene.server();
        scene.assert_refused(
            &server,
            Some(&scene.authority.client("stolen", 13)),
            "the peer's certificate was revoked",
            &[AlertDescription::CertificateRevoked],
        );
        let good = scene.authority.client("good", 12);
        scene.connect(&server, Some(&good)).iter().for_each(Pair::assert_open);
    }
}

/// If there are lists, an authority without one is an oversight.
#[test]
fn an_authority_without_a_list_is_refused_beside_one_with() {
    let mut scene = Scene::new(ClientCertificates::Required);
    let other = Authority::new("other");
    scene.options.client_ca.push(scene.directory.write("other.crt", other.pem()));
    let list = scene.directory.write("list.crl", scene.authority.revoke(&[13]).pem().unwrap());
    scene.options.client_crl.push(list);
    scene.assert_refused(
        &scene.server(),
        Some(&other.client("sensor", 1)),
        "the peer's certificate is of an authority without a revocation list here, so that nobody \
         knows whether it was revoked",
        &[AlertDescription::UnknownCA, AlertDescription::CertificateUnknown],
    );
    let warnings = |scene: &Scene, now| scene.server().warnings(now);
    let told = warnings(&scene, 1_800_000_000);
    assert!(told.len() == 1 && told[0].contains("of CN=other"), "{told:?}");
    let list = scene.directory.write("other.crl", other.revoke(&[]).pem().unwrap());
    scene.options.client_crl.push(list);
    assert_eq!(warnings(&scene, 1_800_000_000), [""; 0]);
    let overdue = warnings(&scene, i64::MAX).into_iter();
    assert_eq!(overdue.filter(|told| told.contains("should have been renewed")).count(), 2);
    let pairs = scene.connect(&scene.server(), Some(&other.client("sensor", 1)));
    pairs.iter().for_each(Pair::assert_open);
}

#[test]
fn what_a_certificate_says_is_told() {
    let authority = Authority::new("Roots, Inc.");
    let issued = authority.issue(&[], |params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap()));
        name.push(DnType::OrganizationName, "Exämple, Ltd. + Co \"x\"");
        name.push(DnType::CommonName, "#sensor <7>");
        params.serial_number = Some(SerialNumber::from_slice(&[0xfe, 1, 2]));
        params.not_after = rcgen::date_time_ymd(2050, 1, 2);
        params.subject_alt_names = vec![
            SanType::DnsName("sensor-7.example.org".try_into().unwrap()),
            SanType::Rfc822Name("me@example.org".try_into().unwrap()),
            SanType::URI("spiffe://example.org/sensor/7".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 7].into()),
            SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "upn".into())),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ];
    });
    let chain = [issued.chain(), vec![authority.der()]].concat();
    let certificate = peer_certificate(&chain).unwrap();
    assert_eq!(certificate.subject, r#"CN=\#sensor \<7\>,O=Exämple\, Ltd. \+ Co \"x\",C=DE"#);
    assert_eq!(certificate.common_name.as_deref(), Some("#sensor <7>"));
    assert_eq!(certificate.issuer, r"CN=Roots\, Inc.");
    assert_eq!(certificate.serial, "fe0102");
    assert_eq!(certificate.not_after, 2_524_694_400);
    assert_eq!(
        certificate.alternative_names,
        [
            AlternativeName::Dns("sensor-7.example.org".into()),
            AlternativeName::Email("me@example.org".into()),
            AlternativeName::Uri("spiffe://example.org/sensor/7".into()),
            AlternativeName::Address([192, 0, 2, 7].into()),
            AlternativeName::Address("2001:db8::7".parse().unwrap()),
        ]
    );
    let der: Vec<_> = chain.iter().map(|certificate| certificate.to_vec()).collect();
    assert_eq!(certificate.chain, der);
    assert_eq!(certificate.thumbprint, crate::tls::sha256([der[0].as_slice()]));
}

/// The example is from FIPS 180-4.
#[test]
fn sha256_is_sha256() {
    let digest = crate::tls::sha256([b"ab".as_slice(), b"c"]);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn what_is_no_certificate_says_nothing() {
    assert_eq!(peer_certificate(&[]), None);
    assert_eq!(peer_certificate(&[CertificateDer::from(vec![0x30, 3, 1, 2, 3])]), None);
}
