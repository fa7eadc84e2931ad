//! Certificates as the usual openssl recipes make them, shown by the broker and by clients: who
//! accepts what, and what the others say. `docs/listeners.md` has the same table in words.

use std::path::Path;
use std::process::Command;

use crate::broker::free_port;
use crate::command::{Ended, Running, midge_in};
use crate::directory::Directory;

/// How a certificate is made: the arguments of `openssl x509 -req` or `openssl req -x509`.
enum Made {
    /// Signed by the authority, with these extensions; without any, of version 1.
    Signed(&'static str, &'static [&'static str]),
    /// `openssl req -x509 -addext ...`.
    ByItself(&'static [&'static str]),
    /// `openssl x509 -req -signkey`.
    ByItselfOfVersion1,
}

use Made::{ByItself, ByItselfOfVersion1, Signed};

const NAMED: &str = "subjectAltName=DNS:localhost";

const RECIPES: [(&str, Made); 14] = [
    ("good", Signed("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n", &[])),
    ("self", ByItself(&[])),
    ("self-named", ByItself(&[NAMED])),
    ("self-end", ByItself(&[NAMED, "basicConstraints=critical,CA:FALSE"])),
    ("version-1", Signed("", &[])),
    ("self-version-1", ByItselfOfVersion1),
    ("nameless", Signed("basicConstraints=CA:FALSE\n", &[])),
    ("authority", Signed("subjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n", &[])),
    ("server", Signed("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n", &[])),
    ("client", Signed("subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n", &[])),
    ("other", Signed("subjectAltName=DNS:example.org\n", &[])),
    ("weak", Signed("subjectAltName=DNS:localhost\n", &[])),
    ("sha1", Signed("subjectAltName=DNS:localhost\n", &["-sha1"])),
    ("expired", Signed("subjectAltName=DNS:localhost\n", &["-days", "-1"])),
];

fn openssl(directory: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let output = command.current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Makes a directory with an authority, and a certificate with its key for each recipe.
fn made() -> Directory {
    let directory = Directory::empty();
    let run = |arguments: &[&str]| openssl(directory.path(), arguments);
    run(&["genrsa", "-out", "key", "2048"]);
    run(&["genrsa", "-out", "short", "1024"]);
    run(&["req", "-x509", "-key", "key", "-out", "ca.pem", "-subj", "/CN=CA"]);
    for (name, made) in &RECIPES {
        let (file, key) = (format!("{name}.pem"), if *name == "weak" { "short" } else { "key" });
        let copy = directory.path().join(format!("{name}.key"));
        std::fs::copy(directory.path().join(key), copy).unwrap();
        let start = ["req", "-key", key, "-subj", "/CN=localhost", "-out"];
        if let ByItself(extensions) = made {
            let added = extensions.iter().flat_map(|extension| ["-addext", extension]);
            let added: Vec<_> = added.collect();
            run(&[&start[..], &[file.as_str(), "-x509"], &added].concat());
            continue;
        }
        run(&[&start[..], &["request", "-new"]].concat());
        let sign = ["x509", "-req", "-in", "request", "-out", &file];
        if let Signed(extensions, further) = made {
            std::fs::write(directory.path().join("extensions"), extensions).unwrap();
            let by = ["-CA", "ca.pem", "-CAkey", "key", "-CAcreateserial"];
            let with = ["-extfile", "extensions"];
            let with = if extensions.is_empty() { &[][..] } else { &with };
            run(&[&sign[..], &by, with, further].concat());
        } else {
            run(&[&sign[..], &["-signkey", key]].concat());
        }
    }
    directory
}

/// Returns the authority file that users give for a certificate.
fn authority(name: &str) -> String {
    if name.starts_with("self") { format!("{name}.pem") } else { "ca.pem".to_owned() }
}

/// Starts a broker that shows a certificate; returns it once it is up, or how it ended.
fn broker(directory: &Path, port: u16, shown: &str, more: &str) -> Result<Running, Ended> {
    let text = format!(
        "[[listener]]\nbind = \"127.0.0.1:{port}\"\n\
         tls = {{ certificate = \"{shown}.pem\", key = \"{shown}.key\"{more} }}\n"
    );
    std::fs::write(directory.join("midge.toml"), text).unwrap();
    let check = midge_in(directory, &[], "config check").end();
    if check.code != Some(0) {
        return Err(check);
    }
    Ok(midge_in(directory, &[], "--in-memory").wait_for("documentation"))
}

/// Returns how `midge pub` and `mosquitto_pub` end.
fn publish(directory: &Path, port: u16, more: &str) -> [Ended; 2] {
    let arguments = format!("-h localhost -p {port} -q 1 -t t -m x {more}");
    let ours = midge_in(directory, &[], &format!("pub {arguments}")).end();
    let words: Vec<_> = arguments.split_whitespace().collect();
    let words: Vec<_> = words
        .iter()
        .map(|word| match word.rsplit_once('.') {
            Some((_, "pem" | "key")) => directory.join(word).to_str().unwrap().to_owned(),
            _ => (*word).to_owned(),
        })
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    [ours, Running::start("mosquitto_pub", &words).end()]
}

const TAKEN: &str = "";

/// Each certificate as the broker's: what the broker says about it at its start, what `midge pub`
/// says, and whether `mosquitto_pub` accepts it.
const AS_SERVERS: [(&str, &str, &str, bool); 13] = [
    ("good", "", TAKEN, true),
    ("self", "CA:TRUE", TAKEN, true),
    ("self-named", "CA:TRUE", TAKEN, true),
    ("self-end", "", TAKEN, true),
    ("version-1", "X.509 version 1", "is of X.509 version 1; make it of version 3", true),
    ("self-version-1", "X.509 version 1", TAKEN, true),
    ("nameless", "no subjectAltName", "make it with -addext subjectAltName=DNS:HOST", true),
    ("authority", "CA:TRUE", "is that of an authority; make one that is not", true),
    ("server", "", TAKEN, true),
    ("client", "lacks serverAuth", "make it with serverAuth", false),
    ("other", "", "it is for example.org. It has to name 'localhost'", false),
    ("sha1", "signed with SHA-1", "such as with SHA-1", false),
    ("expired", "expired", "has expired. Check the certificate's dates", false),
];

#[test]
fn what_clients_make_of_the_brokers_certificate() {
    let made = made();
    for (name, at_start, ours, theirs) in AS_SERVERS {
        let port = free_port();
        let broker = broker(made.path(), port, name, "").unwrap();
        let more = format!("--cafile {}", authority(name));
        let [midge, mosquitto] = publish(made.path(), port, &more);
        assert_eq!(midge.code == Some(0), ours == TAKEN, "{name}: {midge:?}");
        assert!(midge.stderr.contains(ours), "{name}: {midge:?}");
        assert_eq!(mosquitto.code == Some(0), theirs, "{name}: {mosquitto:?}");
        let log = broker.signal("TERM").end().stderr;
        assert!(log.contains(at_start), "{name}: {log}");
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains(".pem: "));
        assert_eq!(warned, !at_start.is_empty(), "{name}: {log}");
    }
    let refused = broker(made.path(), free_port(), "weak", "").err().unwrap();
    assert!(format!("{refused:?}").contains("RSA with at least 2048 bits"), "{refused:?}");
}

/// Each certificate as a client's, with a broker that asks for one from its authority: what the
/// broker's log says, or what `midge pub` says before it connects.
const AS_CLIENTS: [(&str, &str); 13] = [
    ("good", TAKEN),
    ("self", TAKEN),
    ("self-named", TAKEN),
    ("self-end", TAKEN),
    ("version-1", "is of X.509 version 1; make it of version 3"),
    ("self-version-1", TAKEN),
    ("nameless", TAKEN),
    ("authority", "is that of an authority; make one that is not"),
    ("server", "make it with clientAuth"),
    ("client", TAKEN),
    ("weak", "RSA with at least 2048 bits"),
    ("sha1", "such as with SHA-1"),
    ("expired", "has expired"),
];

#[test]
fn what_the_broker_makes_of_a_clients_certificate() {
    let made = made();
    for (name, said) in AS_CLIENTS {
        let port = free_port();
        let asks =
            format!(", client_certificates = \"required\", client_ca = \"{}\"", authority(name));
        let broker = broker(made.path(), port, "good", &asks).unwrap();
        let more = format!("--cafile ca.pem --cert {name}.pem --key {name}.key");
        let ends = publish(made.path(), port, &more);
        for ended in &ends {
            assert_eq!(ended.code == Some(0), said == TAKEN, "{name}: {ended:?}");
        }
        let log = broker.signal("TERM").end().stderr;
        let [midge, _] = ends;
        if name == "weak" {
            assert!(midge.stderr.contains(said), "{name}: {midge:?}");
            continue;
        }
        assert!(log.contains(said), "{name}: {log}");
        let is_told = midge.stderr.contains("the broker's log says what is wrong with it");
        assert_eq!(is_told, said != TAKEN, "{name}: {midge:?}");
    }
}
