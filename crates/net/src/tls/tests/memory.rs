//! What sessions cost that do nothing.

use std::io::Write;
use std::sync::Arc;

use super::pair::{BOTH, Pair, client_config};
use super::pki::{Authority, Directory};
use crate::ClientCertificates;
use crate::tls::TlsServer;

/// Bytes of resident memory for one idle session, with all that it shares with nobody.
const BYTES_MAX: u64 = 8 * 1024;
const COUNT: usize = 2000;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Alone in its process, or others' memory is counted: `cargo test -- --ignored --exact` with this
/// test's name. The figures that count are those of a release build.
#[test]
#[ignore = "counts the memory of its process: to be run alone"]
fn an_idle_session_costs_little() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let ca = directory.write("ca.crt", authority.pem());
    let certificate = authority.client("sensor-7", 7);
    for client_certificates in [ClientCertificates::Off, ClientCertificates::Required] {
        let mut options = directory.listener(&authority);
        options.client_certificates = client_certificates;
        let shows = client_certificates == ClientCertificates::Required;
        if shows {
            options.client_ca.push(ca.clone());
        }
        let server = TlsServer::load(&options, &[b"mqtt"]).unwrap();
        for version in BOTH {
            let config = client_config(&authority, version, shows.then_some(&certificate));
            let config = Arc::new(config);
            // Theirs is gone before the next one comes: only ours stay.
            let session = || {
                let mut pair = Pair::connect(&server, &config, "localhost");
                pair.assert_talks();
                Box::new(pair.ours)
            };
            let mut sessions: Vec<_> = (0..200).map(|_| session()).collect();
            let before = resident_bytes();
            sessions.extend((0..COUNT).map(|_| session()));
            let each = resident_bytes().saturating_sub(before) / COUNT as u64;
            let version = sessions[0].info().unwrap().version;
            let line = format!("{each} bytes: {version}, with certificate: {shows}");
            writeln!(std::io::stderr(), "{line}").unwrap();
            assert!(each <= BYTES_MAX, "{line}");
        }
    }
}
