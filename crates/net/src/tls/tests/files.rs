//! The messages about files that cannot be used.

use std::path::Path;

use rcgen::DnType;

use super::pki::{Authority, Directory};
use crate::tls::{TlsClient, TlsClientOptions, TlsServer};
use crate::{CertificateFiles, ClientCertificates, TlsOptions};

/// Returns the message, without the path of the file, with which it has to begin.
fn refusal(options: &TlsOptions, file: &Path) -> String {
    let error = TlsServer::load(options, &[]).unwrap_err();
    assert_eq!(error.file(), Some(file), "{error}");
    let message = error.to_string();
    message.strip_prefix(&format!("{}: ", file.display())).unwrap().to_string()
}

fn general_refusal(options: &TlsOptions) -> String {
    let error = TlsServer::load(options, &[]).unwrap_err();
    assert_eq!(error.file(), None);
    error.to_string()
}

#[test]
fn certificates_that_cannot_be_used() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let options = directory.listener(&authority);
    let CertificateFiles { certificate, key } = &options.certificates[0];
    let pem = std::fs::read_to_string(certificate).unwrap();
    let broken = pem.replace("MII", "M!!");
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, words) in [
        ("", "it is empty"),
        (" \n", "it is empty"),
        (&pem[..pem.len() / 2], "it ends in the middle of a PEM block"),
        ("hello", "it is not PEM"),
        (&broken, "it is no well-formed PEM: a block is no base64"),
        (no_der, "a certificate in it cannot be used"),
        (&authority.revoke(&[]).pem().unwrap(), "it has no certificate"),
    ] {
        std::fs::write(certificate, content).unwrap();
        let message = refusal(&options, certificate);
        assert!(message.starts_with(words), "{message}");
    }
    std::fs::write(certificate, authority.der()).unwrap();
    let message = refusal(&options, certificate);
    assert!(message.starts_with("it is DER; convert it to PEM"), "{message}");
    std::fs::write(certificate, std::fs::read(key).unwrap()).unwrap();
    let message = refusal(&options, certificate);
    assert!(message.ends_with("are the two files swapped?"), "{message}");
    std::fs::remove_file(certificate).unwrap();
    assert_eq!(refusal(&options, certificate), "there is no such file; check the path");
    std::fs::create_dir(certificate).unwrap();
    assert_eq!(refusal(&options, certificate), "it is not a file; give the path of one");
}

/// The certificate is like those that older versions of `openssl x509 -req` make without an
/// extension.
#[test]
fn the_key_of_a_certificate_of_the_first_version_is_compared_too() {
    let directory = Directory::new();
    let certificate = directory.write("v1.crt", VERSION_1);
    let key = Authority::new("CA").host(&[]).key_pem;
    let key = directory.write("v1.key", key);
    let message = refusal(&TlsOptions::new(&certificate, &key), &key);
    assert!(message.starts_with("the private key does not belong to the certificate"), "{message}");
}

#[test]
fn keys_that_cannot_be_used() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let options = directory.listener(&authority);
    let CertificateFiles { certificate, key } = &options.certificates[0];
    let other = authority.host(&["localhost"]);
    let pem = std::fs::read_to_string(key).unwrap();
    let encrypted = pem.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let old_encrypted =
        pem.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\n");
    let no_der = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let belongs =
        format!("the private key does not belong to the certificate in {}", certificate.display());
    for (content, words) in [
        ("", "it is empty"),
        (&pem[..pem.len() / 2], "it ends in the middle of a PEM block"),
        (&encrypted, "the private key is encrypted"),
        (&old_encrypted, "the private key is encrypted"),
        (&other.pem, "it has no private key"),
        (no_der, "the private key cannot be used"),
        (&format!("{pem}{pem}"), "it has several private keys"),
        (&other.key_pem, &belongs),
    ] {
        std::fs::write(key, content).unwrap();
        let message = refusal(&options, key);
        assert!(message.starts_with(words), "{message}");
    }
    // The right chain, in the wrong order.
    std::fs::write(certificate, format!("{}{}", authority.pem(), other.pem)).unwrap();
    let message = refusal(&options, key);
    assert!(message.starts_with("the private key belongs to certificate 2 of"), "{message}");
}

#[test]
fn files_that_do_not_go_together() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let ca = directory.write("ca.crt", authority.pem());
    let list = directory.write("list.crl", authority.revoke(&[1]).pem().unwrap());
    let base = directory.listener(&authority);
    assert_eq!(
        general_refusal(&TlsOptions::default()),
        "a TLS listener needs a certificate; give a certificate and its key"
    );
    let required = ClientCertificates::Required;
    let alone = TlsOptions { client_certificates: required, ..base.clone() };
    assert!(general_refusal(&alone).contains("but of no authority"));
    let only_list = TlsOptions { client_crl: vec![list.clone()], ..alone.clone() };
    let message = refusal(&only_list, &list);
    assert!(message.starts_with("a revocation list says nothing without"), "{message}");
    let not_asked = TlsOptions { client_ca: vec![ca.clone()], ..base.clone() };
    let message = refusal(&not_asked, &ca);
    assert!(message.contains("Clients are not asked for one"), "{message}");
    // A file of authorities that has no certificate, and a file of lists that has no list.
    let swapped = TlsOptions {
        client_ca: vec![ca.clone(), list.clone()],
        client_crl: vec![list.clone()],
        ..alone.clone()
    };
    assert!(refusal(&swapped, &list).starts_with("it has no certificate"));
    let swapped =
        TlsOptions { client_ca: vec![ca.clone()], client_crl: vec![list, ca.clone()], ..alone };
    assert!(refusal(&swapped, &ca).starts_with("it has no revocation list"));
    let no_der = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let bad = directory.write("bad.crl", no_der);
    let options = TlsOptions { client_crl: vec![bad.clone()], ..swapped };
    assert!(refusal(&options, &bad).starts_with("its revocation list cannot be used"));
}

#[test]
fn an_expired_certificate_works_and_is_told() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let issued = authority.issue(&["a.example", "127.0.0.1"], |params| {
        params.distinguished_name.push(DnType::CommonName, "old");
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let files = directory.write_pair("old", &issued);
    let options = TlsOptions::new(&files.certificate, &files.key);
    let server = TlsServer::load(&options, &[]).unwrap();
    let info = &server.certificate_infos()[0];
    assert_eq!(info.file, files.certificate);
    assert_eq!(info.subject, "CN=old");
    assert_eq!(info.names, ["a.example", "127.0.0.1"]);
    assert_eq!((info.not_before, info.not_after), (1_546_300_800, 1_577_836_800));
    assert_eq!(info.warning(1_577_836_800), None);
    let warning = info.warning(1_577_836_800 + 3 * 86_400 + 5).unwrap();
    assert!(warning.ends_with("the certificate of CN=old expired 3 days ago"), "{warning}");
    let warning = info.warning(1_577_836_801).unwrap();
    assert!(warning.ends_with("the certificate of CN=old expired today"), "{warning}");
    let warning = info.warning(1_546_300_799).unwrap();
    assert!(warning.ends_with("the certificate of CN=old is not valid yet"), "{warning}");
}

/// A Client checks the dates of all certificates that it is shown.
#[test]
fn an_issuer_that_has_expired_is_told() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let leaf = authority.issue(&["a.example"], |_| {});
    let between = authority.issue(&[], |params| {
        params.distinguished_name.push(DnType::CommonName, "between");
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let chain = directory.write("chain.crt", [leaf.pem, between.pem].concat());
    let key = directory.write("chain.key", &leaf.key_pem);
    let server = TlsServer::load(&TlsOptions::new(&chain, &key), &[]).unwrap();
    assert_eq!(server.certificate_infos().len(), 1);
    let warnings = server.warnings(1_577_836_801 + 86_400);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let told = warnings[0].ends_with("the certificate of CN=between expired yesterday");
    assert!(told, "{warnings:?}");
}

#[test]
fn clients_files_that_cannot_be_used() {
    let directory = Directory::new();
    let missing = directory.path("missing.crt");
    let options = TlsClientOptions { ca: Some(missing.clone()), ..TlsClientOptions::default() };
    let error = TlsClient::new(&options).unwrap_err();
    assert_eq!(error.file(), Some(missing.as_path()));
}

const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBGDCBvwIUF+k5bBhFL4UkT1yRCmT5ghGPGYwwCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyMTE2NTgzOVoYDzIxMjYxMDI4MTY1ODM5WjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATY9gIoYL+QIOG4
MghtNkqHTcQtPNDRmcYgb4XlD+/1PXKXFCg/aCfOUPbTgPSQiOe6zHsNVUPD4Vbe
qi8tHIgAMAoGCCqGSM49BAMCA0gAMEUCIQDK1E0H6rdSVB5HBVVR0bAjEl47uz4R
6Ni7YDfKuWplXAIgUhCHw+F4UAGAhXXsDIhoRSapT1DcvIV/pMeAohlwWWM=
-----END CERTIFICATE-----
";
