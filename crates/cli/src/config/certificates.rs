//! Whether the certificate files that a configuration names can be used. What a broker would find
//! when it starts is reported at the key that names the file.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use midge_net::{TlsFileError, TlsOptions, TlsServer};

use super::Loaded;
use super::problem::Problem;

/// What was found in the files of all listeners.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// No broker starts with these.
    pub(super) problems: Vec<Problem>,
    /// A broker starts with these, but its Clients may not accept it.
    pub(super) warnings: Vec<String>,
}

/// Opens the files of all listeners.
pub(super) fn look(loaded: &Loaded) -> Findings {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut findings = Findings::default();
    for (index, listener) in loaded.configuration.listeners.iter().enumerate() {
        let Some(files) = &listener.listen.tls else {
            continue;
        };
        match TlsServer::load(files, &[]) {
            Ok(server) => findings.warnings.extend(server.warnings(now)),
            Err(error) => {
                let origin = loaded.origin_of_listener(index, key_of(files, &error));
                findings.problems.push(Problem::new(origin, error.to_string()));
            }
        }
    }
    findings
}

/// The key that names the file which an error is about.
fn key_of(files: &TlsOptions, error: &TlsFileError) -> &'static str {
    let names =
        |files: &[PathBuf]| error.file().is_some_and(|file| files.iter().any(|it| it == file));
    let keys: Vec<_> = files.certificates.iter().map(|files| files.key.clone()).collect();
    match () {
        () if names(&keys) => "tls.key",
        () if names(&files.client_ca) => "tls.client_ca",
        () if names(&files.client_crl) => "tls.client_crl",
        () => "tls.certificate",
    }
}
