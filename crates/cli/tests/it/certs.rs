//! `midge certs`: the files it makes, what OpenSSL says about them, and what it leaves alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::command::{Ended, midge_in};
use crate::directory::Directory;

fn certs(directory: &Directory, arguments: &str) -> Ended {
    midge_in(directory.path(), &[], &format!("certs {arguments}")).end()
}

fn read(directory: &Directory, name: &str) -> String {
    fs::read_to_string(directory.path().join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(directory: &Directory) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn has_openssl() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

/// Returns whether OpenSSL accepts a certificate, and what it prints; needs [`has_openssl`].
fn verify(directory: &Directory, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .current_dir(directory.path())
        .args(["verify", "-x509_strict", "-CAfile", "ca.pem"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn makes_an_authority_a_server_and_a_client() {
    let directory = Directory::empty();
    let text = certs(&directory, "--host MQTT.lan --host 192.0.2.7").text();
    let expected = ["ca.key", "ca.pem", "client.key", "client.pem", "server.key", "server.pem"];
    assert_eq!(names(&directory), expected);
    for name in expected {
        let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        let expected = if name.ends_with(".key") { 0o600 } else { 0o644 };
        assert_eq!(mode & 0o777, expected, "{name}");
    }
    for part in [
        "bind = \"0.0.0.0:8883\"",
        "tls = { certificate = \"server.pem\", key = \"server.key\" }",
        "midge sub -L mqtts://localhost:8883/# --cafile ca.pem",
        "for mqtt.lan, 192.0.2.7, localhost, 127.0.0.1, ::1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    if has_openssl() {
        for arguments in [
            "-purpose sslserver -verify_hostname mqtt.lan server.pem",
            "-purpose sslserver -verify_hostname localhost server.pem",
            "-purpose sslserver -verify_ip 192.0.2.7 server.pem",
            "-purpose sslserver -verify_ip ::1 server.pem",
            "-purpose sslclient client.pem",
        ] {
            let (is_good, text) = verify(&directory, arguments);
            assert!(is_good, "{arguments}: {text}");
        }
        assert!(!verify(&directory, "-verify_hostname other.lan server.pem").0);
        assert!(!verify(&directory, "-purpose sslserver client.pem").0);
    }
}

#[test]
fn nothing_is_written_over_unless_asked_for() {
    let directory = Directory::empty();
    certs(&directory, "").text();
    let files = names(&directory);
    let before: Vec<_> = files.iter().map(|name| read(&directory, name)).collect();
    let error = certs(&directory, "").failure(1);
    assert!(error.contains("server.pem is there already; add --force"), "{error}");
    let after: Vec<_> = files.iter().map(|name| read(&directory, name)).collect();
    assert_eq!(before, after);

    certs(&directory, "--force").text();
    for (name, before) in files.iter().zip(before) {
        let is_same = read(&directory, name) == before;
        assert_eq!(is_same, name.starts_with("ca."), "{name}: the authority stays");
    }
    assert_eq!(names(&directory), files, "and nothing is left beside them");
}

#[test]
fn one_more_client_is_of_the_same_authority() {
    let directory = Directory::empty();
    certs(&directory, "--directory tls").text();
    let text = certs(&directory, "--directory tls --client alice --client bob --json").text();
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made["authority"]["is_new"], false);
    assert_eq!(made["server"], Value::Null);
    assert_eq!(made["clients"][1]["certificate"], "tls/client-bob.pem");
    assert!(made["clients"][0]["not_after"].as_str().unwrap().ends_with('Z'));
    let error = certs(&directory, "--directory tls --client alice").failure(1);
    assert!(error.contains("tls/client-alice.pem is there already"), "{error}");
    if has_openssl() {
        let output = Command::new("openssl")
            .current_dir(directory.path().join("tls"))
            .args([
                "x509",
                "-in",
                "client-alice.pem",
                "-noout",
                "-subject",
                "-checkend",
                "31000000",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("alice"), "{text}");
        let alice = Command::new("openssl")
            .current_dir(directory.path().join("tls"))
            .args(["verify", "-CAfile", "ca.pem", "client-alice.pem", "client-bob.pem"])
            .status();
        assert!(alice.unwrap().success());
    }
}

#[test]
fn revoked_clients_are_on_a_list_that_grows() {
    let directory = Directory::empty();
    certs(&directory, "--client alice --client bob --client carol").text();
    let text = certs(&directory, "--revoke alice").text();
    assert!(text.contains("client_crl = \"crl.pem\""), "{text}");
    let text = certs(&directory, "--crl bob --revoke alice --json").text();
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made["revocation_list"]["certificates"], 2, "alice is on it once");
    let error = certs(&directory, "--revoke dave").failure(1);
    assert!(error.contains("no certificate of the client 'dave'"), "{error}");
    if has_openssl() {
        let check =
            |name| verify(&directory, &format!("-crl_check -CRLfile crl.pem client-{name}.pem"));
        for name in ["alice", "bob"] {
            let (is_good, text) = check(name);
            assert!(!is_good && text.contains("certificate revoked"), "{name}: {text}");
        }
        let (is_good, text) = check("carol");
        assert!(is_good, "{text}");
    }
}

#[test]
fn explains_what_cannot_be() {
    for (arguments, part) in [
        ("--host a/b", "neither a host name"),
        ("--client ../x", "letters, digits"),
        ("--days 0", "1..=36500"),
    ] {
        let directory = Directory::empty();
        let error = certs(&directory, arguments).failure(2);
        assert!(error.contains(part), "{arguments}: {error}");
        assert!(names(&directory).is_empty());
    }
    let directory = Directory::empty();
    fs::write(directory.path().join("file"), "").unwrap();
    let error = certs(&directory, "--directory file").failure(1);
    assert!(error.contains("cannot make the directory file"), "{error}");
}

#[test]
fn other_authorities_are_left_alone() {
    let (directory, other) = (Directory::empty(), Directory::empty());
    certs(&directory, "").text();
    certs(&other, "").text();
    let copy = |name: &str| {
        fs::copy(other.path().join(name), directory.path().join(name)).unwrap();
    };
    copy("ca.key");
    let error = certs(&directory, "--client alice").failure(1);
    assert!(error.contains("do not belong together"), "{error}");
    copy("ca.pem");
    certs(&directory, "--client alice").text();
    fs::write(directory.path().join("ca.pem"), "no certificate").unwrap();
    let error = certs(&directory, "--client bob").failure(1);
    assert!(error.contains("ca.pem is not a certificate"), "{error}");
    fs::remove_file(directory.path().join("ca.pem")).unwrap();
    let error = certs(&directory, "--client bob").failure(1);
    assert!(error.contains("has ca.key but no ca.pem"), "{error}");
    assert!(!names(&directory).iter().any(|name| name.contains("bob")));
}

#[test]
fn the_help_has_examples() {
    let directory = Directory::empty();
    let text = certs(&directory, "--help").text();
    for part in ["Examples:", "--revoke alice", "Exit codes:", "[default: 365]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
