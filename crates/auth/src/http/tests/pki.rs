//! Authorities, certificates and files of both; and requests over TLS.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::*;

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Issued { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Returns what a server needs: with the certificate, and asking for one of `clients`.
    pub(crate) fn server(&self, issued: &Issued, clients: Option<&Self>) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
        let chain = vec![issued.certificate.der().clone()];
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

/// A directory that is removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-auth-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn answering(tls: Arc<ServerConfig>) -> Server {
    Server::start_with(Some(tls), |mut exchange| {
        loop {
            exchange.read_request()?;
            exchange.write(&ok("x"))?;
        }
    })
}

#[test]
fn a_server_is_believed_by_its_authority_only() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let ca = directory.write("ca.pem", &authority.pem());
    let server = answering(authority.server(&authority.issue("127.0.0.1"), None));
    let trusting = HttpOptions { authorities: Some(ca), ..options() };
    let client = client(trusting.clone());
    for _ in 0..3 {
        assert_eq!(client.get(&server.url("/"), &HttpHeaders::default()).unwrap().body, b"x");
    }
    assert_eq!(server.connections(), 1, "it is kept");
    let problem = get(&server, options()).unwrap_err();
    assert!(matches!(problem, HttpProblem::Tls(_)), "{problem:?}");
    let other_name = answering(authority.server(&authority.issue("auth.example"), None));
    let problem = get(&other_name, trusting).unwrap_err();
    assert!(matches!(problem, HttpProblem::Tls(_)), "{problem:?}");
}

#[test]
fn a_certificate_is_shown_where_it_is_asked_for() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let ca = directory.write("ca.pem", &authority.pem());
    let mine = authority.issue("midge");
    let certificate = directory.write("client.pem", &mine.certificate.pem());
    let key = directory.write("client.key", &mine.key.serialize_pem());
    let server = answering(authority.server(&authority.issue("127.0.0.1"), Some(&authority)));
    let without = HttpOptions { authorities: Some(ca), ..options() };
    let with = HttpOptions { certificate: Some((certificate, key)), ..without.clone() };
    assert_eq!(body(get(&server, with)), "x");
    assert!(get(&server, without).is_err());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let issued = authority.issue("midge");
    let good = directory.write("good.pem", &issued.certificate.pem());
    let key = directory.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    let text = directory.write("text.pem", "hello");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let encrypted = directory.write("encrypted.key", encrypted);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = directory.write("broken.pem", broken);
    let absent = directory.path().join("absent.pem");
    let authorities = |path: &Path| HttpOptions { authorities: Some(path.into()), ..options() };
    let pair = |certificate: &Path, key: &Path| HttpOptions {
        certificate: Some((certificate.into(), key.into())),
        ..options()
    };
    for (options, named) in [
        (authorities(&text), "text.pem"),
        (authorities(&broken), "broken.pem"),
        (authorities(&absent), "absent.pem"),
        (authorities(directory.path()), "midge-auth"),
        (pair(&text, &key), "text.pem"),
        (pair(&good, &key), "other.key"),
        (pair(&good, &text), "text.pem"),
        (pair(&good, &encrypted), "encrypted.key"),
    ] {
        let error = HttpClient::new(options).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}
