//! A broker that listens on TCP and QUIC, with certificates of an authority of its own, and a relay
//! of datagrams that can move.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use midge_broker::{Broker, BrokerBuilder, CertificateFiles, Listen, QuicOptions, TlsOptions};
use midge_net::TlsClientOptions;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use super::link::Link;
use crate::support::builder;

/// A broker and its addresses.
pub(crate) struct Place {
    pub(crate) broker: Broker,
    /// For TCP.
    pub(crate) tcp: SocketAddr,
    /// For QUIC.
    pub(crate) quic: SocketAddr,
    /// What a client needs to trust the broker, with a certificate of its own to present.
    pub(crate) tls: TlsClientOptions,
    _directory: Directory,
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Place {
    pub(crate) fn new(workers: usize) -> Self {
        Self::with(workers, QuicOptions::default(), |builder| builder)
    }

    pub(crate) fn with(
        workers: usize,
        options: QuicOptions,
        change: impl FnOnce(BrokerBuilder) -> BrokerBuilder,
    ) -> Self {
        let directory = Directory::new();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca = directory.write("ca", &authority.pem());
        let server = directory.issue("server", &authority);
        let client = directory.issue("client", &authority);
        let tls = TlsOptions::new(server.certificate, server.key).client_ca(&ca);
        let listen = Listen::new("127.0.0.1:0").quic(options).tls(tls);
        let broker = change(builder(workers).listen(listen)).start().unwrap();
        let address = |index: usize| broker.local_addresses()[index].network().unwrap();
        let tls = TlsClientOptions {
            ca: Some(ca),
            certificate: Some(client),
            ..TlsClientOptions::default()
        };
        Self { tcp: address(0), quic: address(1), tls, _directory: directory, broker }
    }

    /// Connects a Client.
    pub(crate) fn connect(&self, client_id: &str) -> Link {
        Link::connect(self.quic, &self.tls, client_id)
    }
}

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-broker-quic-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(format!("{name}.pem"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Issues a certificate under this name, for `localhost`.
    fn issue(&self, name: &str, authority: &CertifiedIssuer<'_, KeyPair>) -> CertificateFiles {
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        CertificateFiles {
            certificate: self.write(name, &certificate.pem()),
            key: self.write(&format!("{name}-key"), &key.serialize_pem()),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Passes datagrams between one client and the broker, as a NAT does.
pub(crate) struct Relay {
    /// Where the client reaches the relay.
    pub(crate) address: SocketAddr,
    /// The socket that the broker sees.
    outside: Arc<Mutex<Arc<UdpSocket>>>,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn new(broker: SocketAddr) -> Self {
        let inside = Arc::new(socket());
        let address = inside.local_addr().unwrap();
        let outside = Arc::new(Mutex::new(Arc::new(socket())));
        let ends = Arc::new(AtomicBool::new(false));
        let client = Arc::new(Mutex::new(None));
        let outward = {
            let (inside, outside) = (Arc::clone(&inside), Arc::clone(&outside));
            let (ends, client) = (Arc::clone(&ends), Arc::clone(&client));
            thread::spawn(move || {
                pass(
                    &ends,
                    || Arc::clone(&inside),
                    |datagram, from| {
                        *client.lock().unwrap() = Some(from);
                        let _ = outside.lock().unwrap().send_to(datagram, broker);
                    },
                );
            })
        };
        let inward = {
            let (outside, ends) = (Arc::clone(&outside), Arc::clone(&ends));
            let current = move || Arc::clone(&outside.lock().unwrap());
            thread::spawn(move || {
                pass(&ends, current, |datagram, _| {
                    if let Some(client) = *client.lock().unwrap() {
                        let _ = inside.send_to(datagram, client);
                    }
                });
            })
        };
        Self { address, outside, ends, threads: vec![outward, inward] }
    }

    /// Returns the address at which the broker sees the client.
    pub(crate) fn outside(&self) -> SocketAddr {
        self.outside.lock().unwrap().local_addr().unwrap()
    }

    /// Moves the client to a new address.
    pub(crate) fn rebind(&self) {
        *self.outside.lock().unwrap() = Arc::new(socket());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    socket
}

/// Passes on the datagrams of the present socket until the end.
fn pass(
    ends: &AtomicBool,
    socket: impl Fn() -> Arc<UdpSocket>,
    mut hand_on: impl FnMut(&[u8], SocketAddr),
) {
    let mut datagram = [0; 65_536];
    while !ends.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket().recv_from(&mut datagram) {
            hand_on(&datagram[..length], from);
        }
    }
}
