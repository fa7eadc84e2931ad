//! Files that change while a listener uses them.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::version::TLS13;

use super::pair::{Pair, client_config};
use super::pki::{Authority, Directory, Issued};
use crate::tls::TlsServer;

struct Scene {
    authority: Authority,
    directory: Directory,
    server: TlsServer,
}

impl Scene {
    fn new() -> Self {
        let (authority, directory) = (Authority::new("CA"), Directory::new());
        let server = TlsServer::load(&directory.listener(&authority), &[]).unwrap();
        Self { authority, directory, server }
    }

    /// Writes a new certificate into the files.
    fn renew(&self) -> Issued {
        let issued = self.authority.host(&["localhost"]);
        self.directory.write_pair("server", &issued);
        issued
    }

    /// Returns the configuration of a Client that knows no earlier session.
    fn config(&self) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.authority, &TLS13, None))
    }

    fn shown(&self) -> Vec<u8> {
        let pair = Pair::connect(&self.server, &self.config(), "localhost");
        pair.assert_open();
        pair.theirs.peer_certificates().unwrap()[0].to_vec()
    }
}

#[test]
fn a_new_certificate_is_for_new_sessions_and_old_ones_go_on() {
    let scene = Scene::new();
    let mut old = Pair::connect(&scene.server, &scene.config(), "localhost");
    old.assert_talks();
    let new = scene.renew();
    assert!(scene.server.reload_if_changed().unwrap().is_ok());
    assert_eq!(scene.shown(), new.chain()[0].to_vec());
    old.assert_talks();
}

#[test]
fn files_that_have_not_changed_are_not_read_again() {
    let scene = Scene::new();
    assert!(scene.server.reload_if_changed().is_none());
    scene.renew();
    assert!(scene.server.reload_if_changed().is_some());
    assert!(scene.server.reload_if_changed().is_none());
    assert!(!scene.server.reload().unwrap());
}

/// The file is written again unchanged: it is read, but nothing is reported.
#[test]
fn the_same_content_is_no_change() {
    let scene = Scene::new();
    let path = scene.directory.path("server.crt");
    scene.directory.write("server.crt", std::fs::read(path).unwrap());
    assert!(scene.server.reload_if_changed().is_none());
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_once() {
    let scene = Scene::new();
    let before = scene.shown();
    for broken in ["", "-----BEGIN CERTIFICATE-----\nMIIB", "something else"] {
        let path = scene.directory.write("server.crt", broken);
        let error = scene.server.reload_if_changed().unwrap().unwrap_err();
        assert_eq!(error.file(), Some(path.as_path()));
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        assert!(scene.server.reload_if_changed().is_none());
        assert_eq!(scene.shown(), before);
    }
    assert!(scene.server.reload().is_err());
    assert_eq!(scene.server.certificate_infos().len(), 1);
}

#[test]
fn a_file_that_is_good_again_is_taken() {
    let scene = Scene::new();
    let path = scene.directory.path("server.crt");
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = scene.server.reload_if_changed().unwrap().unwrap_err().to_string();
    assert!(error.contains("there is no such file"), "{error}");
    // The same content as before: nothing new is in effect, but the failure is over.
    scene.directory.write("server.crt", good);
    assert!(scene.server.reload_if_changed().unwrap().is_ok());
    assert!(scene.server.reload_if_changed().is_none());

    scene.directory.write("server.crt", "");
    assert!(scene.server.reload_if_changed().unwrap().is_err());
    let new = scene.renew();
    assert!(scene.server.reload_if_changed().unwrap().is_ok());
    assert_eq!(scene.shown(), new.chain()[0].to_vec());
}

/// A certificate is often written before its key.
#[test]
fn half_of_a_pair_is_not_taken() {
    let scene = Scene::new();
    let before = scene.shown();
    let new = scene.authority.host(&["localhost"]);
    scene.directory.write("server.crt", &new.pem);
    let error = scene.server.reload_if_changed().unwrap().unwrap_err();
    assert_eq!(error.file(), Some(scene.directory.path("server.key").as_path()));
    assert_eq!(scene.shown(), before);
    scene.directory.write("server.key", &new.key_pem);
    assert!(scene.server.reload_if_changed().unwrap().is_ok());
    assert_eq!(scene.shown(), new.chain()[0].to_vec());
}

/// As Kubernetes provides secrets: the files are links that go through another link, which is
/// changed.
#[test]
fn a_turned_link_is_a_change() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let turn = |version: &str| -> Issued {
        let issued = authority.host(&["localhost"]);
        std::fs::create_dir(directory.path(version)).unwrap();
        directory.write(&format!("{version}/tls.crt"), &issued.pem);
        directory.write(&format!("{version}/tls.key"), &issued.key_pem);
        std::os::unix::fs::symlink(version, directory.path("turning")).unwrap();
        std::fs::rename(directory.path("turning"), directory.path("data")).unwrap();
        issued
    };
    turn("1");
    let link = |name: &str| -> PathBuf {
        std::os::unix::fs::symlink(format!("data/{name}"), directory.path(name)).unwrap();
        directory.path(name)
    };
    let options = crate::TlsOptions::new(link("tls.crt"), link("tls.key"));
    let server = TlsServer::load(&options, &[]).unwrap();
    assert!(server.reload_if_changed().is_none());
    let new = turn("2");
    assert!(server.reload_if_changed().unwrap().is_ok());
    let config = Arc::new(client_config(&authority, &TLS13, None));
    let pair = Pair::connect(&server, &config, "localhost");
    let shown = pair.theirs.peer_certificates().unwrap();
    assert_eq!(shown, new.chain());
}
