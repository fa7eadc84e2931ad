//! Certificates for the tests of real clients, made by the system's openssl.
//!
//! They are not made by the broker's own `midge certs`: what the tests trust comes from elsewhere.

use crate::{
    failure::{Failure, Result},
    process::command,
};
use std::{fs, path::Path};

/// A certificate from the test authority: its file name, its subject, and its names.
struct Leaf {
    name: &'static str,
    subject: &'static str,
    names: &'static str,
}

const SERVERS: &str = "DNS:localhost,IP:127.0.0.1,IP:::1";

const LEAVES: &[Leaf] = &[
    Leaf { name: "server", subject: "/CN=localhost", names: SERVERS },
    // The certificate that a listener has after a replacement.
    Leaf { name: "renewed", subject: "/CN=renewed", names: SERVERS },
    Leaf { name: "other", subject: "/CN=other.test", names: "DNS:other.test,DNS:*.wild.test" },
    Leaf { name: "client", subject: "/O=Midge/CN=a client", names: "DNS:client.test" },
    Leaf { name: "revoked", subject: "/O=Midge/CN=a revoked client", names: "DNS:revoked.test" },
];

/// The configuration of `openssl ca`, which keeps the list of revoked certificates.
const AUTHORITY: &str = "\
[ca]
default_ca = here
[here]
database = index.txt
crlnumber = crlnumber
default_md = sha256
default_crl_days = 30
certificate = ca.pem
private_key = ca.key
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[req]
distinguished_name = subject
[subject]
";

/// Makes in `directory`: an authority `ca` with its list of revoked certificates `crl.pem`, the
/// certificates of servers `server`, `renewed` and `other`, of clients `client` and `revoked`, and
/// `stranger`, a client of another authority. Each is a file `.pem` and a file `.key`.
///
/// # Errors
/// Fails if openssl is not there or refuses.
pub fn make(directory: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Failure::because(path.display(), error))
    };
    write("ca.cnf", AUTHORITY)?;
    write("index.txt", "")?;
    write("crlnumber", "01\n")?;
    for (name, subject) in [("ca", "/CN=Midge tests"), ("strangers", "/CN=Strangers")] {
        let request = format!("req -x509 -config ca.cnf -extensions authority -days 30 {NEW_KEY}");
        openssl(directory, &request, &["-subj", subject], name)?;
    }
    for Leaf { name, subject, names } in LEAVES {
        sign(directory, name, subject, names, "ca")?;
    }
    sign(directory, "stranger", "/CN=a stranger", "DNS:stranger.test", "strangers")?;
    run(directory, "ca -batch -config ca.cnf -revoke revoked.pem", &[])?;
    run(directory, "ca -batch -config ca.cnf -gencrl -out crl.pem", &[])
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn sign(directory: &Path, name: &str, subject: &str, names: &str, authority: &str) -> Result<()> {
    let request = format!(
        "req -x509 -config ca.cnf -days 30 {NEW_KEY} -CA {authority}.pem -CAkey {authority}.key"
    );
    let names = format!("subjectAltName={names}");
    let more = ["-subj", subject, "-addext", &names, "-addext", "basicConstraints=CA:FALSE"];
    openssl(directory, &request, &more, name)
}

fn openssl(directory: &Path, words: &str, more: &[&str], name: &str) -> Result<()> {
    run(directory, &format!("{words} -keyout {name}.key -out {name}.pem"), more)
}

fn run(directory: &Path, words: &str, more: &[&str]) -> Result<()> {
    let mut openssl = command("openssl", directory);
    openssl.args(words.split_whitespace()).args(more);
    let output = openssl.output().map_err(|error| Failure::because("openssl", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure(format!("openssl {words}: {said}")))
}
