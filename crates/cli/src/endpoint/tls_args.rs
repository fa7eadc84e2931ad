//! The arguments about TLS, which all commands share that connect to a broker.

use std::path::PathBuf;

use clap::Args;
use midge_net::{CertificateFiles, TlsClientOptions};

use super::scheme::Scheme;

/// How to verify a broker, and how to show who one is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Certificates of the authorities that the broker's has to come from, PEM [default: the
    /// system's]
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,

    /// Use TLS, and believe the system's authorities, beside those of --cafile if that is given
    #[arg(long)]
    tls_use_os_certs: bool,

    /// No TLS, although the port is 8883
    #[arg(long, conflicts_with_all = ["cafile", "tls_use_os_certs", "cert", "insecure",
          "tls_alpn"])]
    no_tls: bool,

    /// A certificate to show to the broker, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Believe whoever answers: no name and no authority is verified. For tests only
    #[arg(long, conflicts_with_all = ["cafile", "tls_use_os_certs"])]
    insecure: bool,

    /// A protocol to offer in the handshake (ALPN); may be repeated, the best first
    #[arg(long, value_name = "NAME")]
    tls_alpn: Vec<String>,
}

impl TlsArgs {
    /// Whether any argument that asks for TLS is given.
    pub(crate) fn is_given(&self) -> bool {
        self.given().is_some()
    }

    /// Whether `--no-tls` is given.
    pub(crate) fn is_refused(&self) -> bool {
        self.no_tls
    }

    /// Refuses arguments that mean nothing with this scheme.
    pub(crate) fn check(&self, scheme: Scheme) -> Result<(), String> {
        if self.no_tls && scheme.has_tls() {
            return Err(format!("--no-tls does not go with {}://", scheme.name()));
        }
        let Some(argument) = self.given().filter(|_| !scheme.has_tls()) else {
            if let Some(name) = self.tls_alpn.iter().find(|name| !is_protocol(name)) {
                return Err(format!("--tls-alpn: '{name}' has to have 1 to 255 bytes"));
            }
            if let (Scheme::Quic, Some(name)) = (scheme, self.tls_alpn.first()) {
                return Err(format!("--tls-alpn {name}: over QUIC it is always mqtt"));
            }
            return Ok(());
        };
        let name = scheme.name();
        Err(match scheme.secured() {
            Some(secured) => {
                format!("{argument} needs TLS: write {}:// instead of {name}://", secured.name())
            }
            None => format!("{argument} needs TLS, and {name}:// has none"),
        })
    }

    /// Makes the options of a TLS client from the arguments.
    pub(crate) fn options(&self) -> TlsClientOptions {
        let files = self.cert.clone().zip(self.key.clone());
        TlsClientOptions {
            ca: self.cafile.clone(),
            system_ca: self.tls_use_os_certs,
            certificate: files.map(|(certificate, key)| CertificateFiles { certificate, key }),
            insecure: self.insecure,
            alpn: self.tls_alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
        }
    }

    /// Names one of the given arguments that ask for TLS.
    fn given(&self) -> Option<&'static str> {
        let all = [
            (self.cafile.is_some(), "--cafile"),
            (self.tls_use_os_certs, "--tls-use-os-certs"),
            (self.cert.is_some(), "--cert"),
            (self.insecure, "--insecure"),
            (!self.tls_alpn.is_empty(), "--tls-alpn"),
        ];
        all.into_iter().find_map(|(is_given, argument)| is_given.then_some(argument))
    }
}

fn is_protocol(name: &str) -> bool {
    (1..=255).contains(&name.len())
}
