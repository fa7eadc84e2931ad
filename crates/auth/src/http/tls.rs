//! Reads certificates and keys for requests, and says what is wrong with a file. What ureq would
//! only find out when it connects, or panic about, is checked here.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

use super::error::HttpSetupError;
use super::{HttpOptions, provider};

/// No file of certificates or with a key is longer.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Returns what TLS needs.
pub(super) fn config(options: &HttpOptions) -> Result<TlsConfig, HttpSetupError> {
    let authorities = match &options.authorities {
        Some(path) => authorities(path)?,
        // There may be none; then no certificate is believed, and each error says so.
        None => rustls_native_certs::load_native_certs().certs,
    };
    let authorities = authorities.iter().map(|it| Certificate::from_der(it).to_owned());
    let certificate = match &options.certificate {
        Some((certificate, key)) => Some(client_certificate(certificate, key)?),
        None => None,
    };
    let config = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::Specific(Arc::new(authorities.collect())))
        .client_cert(certificate);
    Ok(config.build())
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpSetupError> {
    let certificates = certificates(path)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        let added = store.add(certificate.clone());
        added.map_err(|error| file_error(path, format!("an authority is not usable: {error}")))?;
    }
    Ok(certificates)
}

fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert, HttpSetupError> {
    let chain = certificates(certificate)?;
    let pem = read(key)?;
    // The parsers' own errors might quote the key.
    let no_key = || file_error(key, "it has no private key in PEM, or an encrypted one");
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key())?;
    CertifiedKey::from_der(chain.clone(), der, &provider())
        .map_err(|error| file_error(key, format!("it does not fit the certificate: {error}")))?;
    let chain: Vec<_> = chain.iter().map(|it| Certificate::from_der(it).to_owned()).collect();
    let key = PrivateKey::from_pem(&pem).map_err(|_| no_key())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// Returns the certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpSetupError> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(file_error(path, "it has no certificate in PEM")),
        Err(_) => Err(file_error(path, "it is no valid PEM")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HttpSetupError> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| file_error(path, error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(file_error(path, "it is longer than 4 MB"));
    }
    Ok(bytes)
}

fn file_error(path: &Path, detail: impl Into<Box<str>>) -> HttpSetupError {
    HttpSetupError::new(path.display().to_string(), detail)
}
