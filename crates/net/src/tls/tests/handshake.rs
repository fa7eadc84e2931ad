//! What both sides agree on.

use std::sync::Arc;

use rustls::{Connection, ServerConfig, ServerConnection, version::TLS12, version::TLS13};

use super::pair::{BOTH, Pair, client_config};
use super::pki::{Authority, Directory, Issued};
use crate::tls::{TlsClient, TlsClientOptions, TlsServer, provider};
use crate::{TlsOptions, TlsVersion};

/// Returns the certificate that their side was shown.
fn shown(pair: &Pair) -> Vec<u8> {
    pair.theirs.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn both_versions_are_spoken_and_told() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let server = TlsServer::load(&directory.listener(&authority), &[b"mqtt"]).unwrap();
    for (version, name) in BOTH.into_iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let mut config = client_config(&authority, version, None);
        config.alpn_protocols = vec![b"x-unknown".to_vec(), b"mqtt".to_vec()];
        let mut pair = Pair::connect(&server, &Arc::new(config), "localhost");
        pair.assert_open();
        let info = pair.ours.info().unwrap();
        assert_eq!(info.version, name);
        assert!(info.cipher_suite.starts_with("TLS_"), "{}", info.cipher_suite);
        assert!(!info.cipher_suite.contains("TLS13"), "{}", info.cipher_suite);
        assert_eq!(info.alpn.as_deref(), Some(b"mqtt".as_slice()));
        assert_eq!(info.server_name.as_deref(), Some("localhost"));
        assert_eq!(info.certificate, None);
        pair.assert_talks();
    }
}

#[test]
fn nothing_is_agreed_on_where_nothing_is_offered() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let files = directory.write_pair("ip", &authority.host(&["127.0.0.1"]));
    let options = TlsOptions { certificates: vec![files], ..TlsOptions::default() };
    let server = TlsServer::load(&options, &[b"mqtt"]).unwrap();
    let config = Arc::new(client_config(&authority, &TLS13, None));
    let pair = Pair::connect(&server, &config, "127.0.0.1");
    pair.assert_open();
    let info = pair.ours.info().unwrap();
    assert_eq!((info.alpn.clone(), info.server_name.clone()), (None, None));
}

#[test]
fn an_application_protocol_that_is_not_spoken_is_refused_with_an_alert() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let server = TlsServer::load(&directory.listener(&authority), &[b"mqtt"]).unwrap();
    for version in BOTH {
        let mut config = client_config(&authority, version, None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let pair = Pair::connect(&server, &Arc::new(config), "localhost");
        let error = pair.our_error.unwrap().to_string();
        assert_eq!(error, "the peer offers only other application protocols (ALPN)");
        let alert = rustls::AlertDescription::NoApplicationProtocol;
        assert_eq!(pair.their_error, Some(rustls::Error::AlertReceived(alert)));
    }
}

#[test]
fn an_old_version_is_refused_where_it_is_not_allowed() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let options = TlsOptions { version_min: TlsVersion::Tls13, ..directory.listener(&authority) };
    let server = TlsServer::load(&options, &[]).unwrap();
    let old = Arc::new(client_config(&authority, &TLS12, None));
    let pair = Pair::connect(&server, &old, "localhost");
    let error = pair.our_error.unwrap().to_string();
    assert_eq!(error, "the peer offers no version of TLS that is allowed here");
    let alert = rustls::AlertDescription::ProtocolVersion;
    assert_eq!(pair.their_error, Some(rustls::Error::AlertReceived(alert)));
    let new = Arc::new(client_config(&authority, &TLS13, None));
    Pair::connect(&server, &new, "localhost").assert_open();
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let names: [&[&str]; 4] =
        [&["first.example"], &["*.example.org"], &["a.example.org"], &["*.b.example.org"]];
    let issued: Vec<Issued> = names.iter().map(|names| authority.host(names)).collect();
    let certificates = issued.iter().enumerate();
    let certificates =
        certificates.map(|(index, issued)| directory.write_pair(&index.to_string(), issued));
    let options = TlsOptions { certificates: certificates.collect(), ..TlsOptions::default() };
    let server = TlsServer::load(&options, &[]).unwrap();
    for (asked, index) in [
        ("first.example", 0),
        ("x.example.org", 1),
        // The exact name comes before a wildcard.
        ("a.example.org", 2),
        ("A.Example.ORG", 2),
        // A wildcard is for one label.
        ("x.b.example.org", 3),
        ("y.x.example.org", 0),
        ("example.org", 0),
        ("unknown.example", 0),
    ] {
        let options = TlsClientOptions { insecure: true, ..TlsClientOptions::default() };
        let config = TlsClient::new(&options).unwrap().client_config();
        let pair = Pair::connect(&server, &config, asked);
        pair.assert_open();
        assert_eq!(shown(&pair), issued[index].chain()[0].to_vec(), "{asked}");
    }
}

/// Returns their side as a server.
fn their_server(issued: &Issued, version: &'static rustls::SupportedProtocolVersion) -> Connection {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
    let config = builder.with_single_cert(issued.chain(), issued.private_key()).unwrap();
    ServerConnection::new(Arc::new(config)).unwrap().into()
}

fn connect_ours(client: &TlsClient, theirs: Connection, name: &str) -> Pair {
    let mut pair = Pair::new(client.open(name).unwrap(), theirs);
    let mut out = Vec::new();
    pair.ours.begin(&mut out).unwrap();
    pair.deliver_to_them(&out);
    pair.run();
    pair
}

#[test]
fn our_client_verifies_servers() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let ca = directory.write("ca.crt", authority.pem());
    let options = TlsClientOptions { ca: Some(ca), ..TlsClientOptions::default() };
    let client = TlsClient::new(&options).unwrap();
    let issued = authority.host(&["localhost", "127.0.0.1"]);
    for version in BOTH {
        for name in ["localhost", "127.0.0.1"] {
            let mut pair = connect_ours(&client, their_server(&issued, version), name);
            pair.assert_open();
            assert_eq!(pair.ours.info().unwrap().server_name.as_deref(), Some(name));
            pair.assert_talks();
        }
        let pair = connect_ours(&client, their_server(&issued, version), "other.example");
        let error = pair.our_error.unwrap().to_string();
        let expected = "is for another name: it is for localhost, 127.0.0.1";
        assert_eq!(error, format!("the peer's certificate {expected}"));
        assert!(matches!(pair.their_error, Some(rustls::Error::AlertReceived(_))));

        let stranger = Authority::new("another").host(&["localhost"]);
        let pair = connect_ours(&client, their_server(&stranger, version), "localhost");
        let error = pair.our_error.unwrap().to_string();
        assert_eq!(error, "the peer's certificate is not of an authority that is trusted here");

        let options = TlsClientOptions { insecure: true, ..TlsClientOptions::default() };
        let anybody = TlsClient::new(&options).unwrap();
        connect_ours(&anybody, their_server(&stranger, version), "localhost").assert_talks();
    }
    let error = client.open("no name").unwrap_err().to_string();
    assert_eq!(error, "\"no name\" is neither a host name nor an IP address");
}

/// Our client meets our server, with a certificate on each side.
#[test]
fn our_client_shows_its_certificate() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let ca = directory.write("ca.crt", authority.pem());
    let options = directory.listener(&authority).client_ca(&ca);
    let server = TlsServer::load(&options, &[b"mqtt"]).unwrap();
    let certificate = Some(directory.write_pair("client", &authority.client("sensor", 7)));
    let alpn = vec![b"mqtt".to_vec()];
    let options =
        TlsClientOptions { ca: Some(ca), certificate, alpn, ..TlsClientOptions::default() };
    let client = TlsClient::new(&options).unwrap();
    let config = client.client_config();
    let pair = Pair::connect(&server, &config, "localhost");
    pair.assert_open();
    let certificate = pair.ours.info().unwrap().certificate.clone().unwrap();
    assert_eq!(certificate.common_name.as_deref(), Some("sensor"));
}

#[test]
fn quic_gets_the_same_certificates_and_only_tls_1_3() {
    let (authority, directory) = (Authority::new("CA"), Directory::new());
    let server = TlsServer::load(&directory.listener(&authority), &[b"mqtt"]).unwrap();
    for early_data in [false, true] {
        let config = server.quic_server_config(early_data);
        assert_eq!(config.max_early_data_size, if early_data { u32::MAX } else { 0 });
        assert_eq!(config.alpn_protocols, [b"mqtt".to_vec()]);
        let config = Arc::new(config);
        for version in BOTH {
            let client = Arc::new(client_config(&authority, version, None));
            let mut client = super::pair::client(&client, "localhost");
            let mut server = Connection::from(ServerConnection::new(config.clone()).unwrap());
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            assert_eq!(server.process_new_packets().is_ok(), version.version == TLS13.version);
        }
    }
}
