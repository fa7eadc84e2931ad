//! The cost of sessions that do nothing.

use std::env;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use super::pair::{BOTH, Pair, client_config};
use super::pki::{Authority, Directory};
use crate::ClientCertificates;
use crate::tls::TlsServer;

/// The most bytes of resident memory for one idle session, with everything that only it uses.
const BYTES_MAX: u64 = 8 * 1024;
const COUNT: usize = if cfg!(debug_assertions) { 300 } else { 2000 };
const NAME: &str = "tls::tests::memory::an_idle_session_costs_little";
const MARK: &str = "MIDGE_TEST_RUNS_ALONE";

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Runs the test in a process of its own; otherwise the memory of other tests would be counted.
fn run_alone() {
    let arguments = ["--exact", NAME, "--nocapture", "--test-threads=1"];
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(arguments).env(MARK, "1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}");
    errors.lines().filter(|line| line.starts_with("figure: ")).for_each(tell);
}

fn tell(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

#[test]
fn an_idle_session_costs_little() {
    if env::var_os(MARK).is_none() {
        return run_alone();
    }
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let ca = directory.write("ca.crt", authority.pem());
    let certificate = authority.client("sensor-7", 7);
    // All sessions stay to the end, so that no kind lives in the room that another has left.
    let mut sessions = Vec::with_capacity(8 * (COUNT + 200));
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
            // Their side is dropped before the next one comes, so that only ours stay.
            let session = || {
                let mut pair = Pair::connect(&server, &config, "localhost");
                pair.assert_talks();
                Box::new(pair.ours)
            };
            sessions.extend((0..200).map(|_| session()));
            let before = resident_bytes();
            sessions.extend((0..COUNT).map(|_| session()));
            let each = resident_bytes().saturating_sub(before) / COUNT as u64;
            let version = sessions.last().unwrap().info().unwrap().version;
            let line =
                format!("figure: {each} bytes, {version}, certificate {client_certificates:?}");
            tell(&line);
            assert!(each <= BYTES_MAX, "{line}");
        }
    }
}
