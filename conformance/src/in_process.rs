//! The broker inside the test process.
//!
//! Together with [`crate::toy_method`], this is the only place that names the crate `midge-broker`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, OnceLock};

use midge_broker::{Broker, Listen, QuicOptions, TlsOptions, WebSocketOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::endpoint::{Carrier, Endpoint, Trust};
use crate::toy_method::ToyHook;

/// The name in the broker's certificate.
const HOST: &str = "localhost";

/// The only broker of this process, which lives as long as the process.
struct Running {
    broker: Broker,
    carriers: Vec<Carrier>,
    trust: Trust,
}

/// Returns the listener for `wanted` of the only broker of this process, which listens for
/// `carrier` and for plain WebSocket. It admits anonymous clients and those of the toy method, uses
/// free ports of the loopback interface, and stores nothing on disk.
pub(crate) fn endpoint(carrier: Carrier, wanted: Carrier) -> Endpoint {
    static RUNNING: OnceLock<Running> = OnceLock::new();
    let running = RUNNING.get_or_init(|| Running::start(carrier));
    let index = running.carriers.iter().position(|one| *one == wanted);
    let index = index.unwrap_or_else(|| panic!("the broker does not listen for {wanted:?}"));
    let address = running.broker.local_addresses()[index].network();
    let path = if wanted.is_websocket() { "/mqtt" } else { "" };
    Endpoint {
        carrier: wanted,
        host: HOST.to_owned(),
        address: address.expect("an address of the network"),
        path: path.to_owned(),
        trust: running.trust.clone(),
    }
}

impl Running {
    fn start(carrier: Carrier) -> Self {
        let files = Files::make();
        let mut carriers = vec![carrier, Carrier::WebSocket];
        carriers.dedup();
        let mut builder = Broker::builder().workers(2).hook(Arc::new(ToyHook));
        // Both workers have Clients, whatever the load is.
        builder = builder.placement(midge_broker::Placement::Even);
        for carrier in &carriers {
            builder = builder.listen(listen(*carrier, &files.tls()));
        }
        let broker = builder.start().unwrap_or_else(|error| panic!("no broker to test: {error}"));
        Self { broker, carriers, trust: files.trust.clone() }
    }
}

fn listen(carrier: Carrier, tls: &TlsOptions) -> Listen {
    let listen = Listen::new("127.0.0.1:0");
    let websocket = WebSocketOptions::default();
    match carrier {
        Carrier::Tcp => listen,
        Carrier::Tls => listen.tls(tls.clone()),
        Carrier::WebSocket => listen.websocket(websocket),
        Carrier::WebSocketTls => listen.websocket(websocket).tls(tls.clone()),
        Carrier::Quic => listen.quic(QuicOptions::default()).tls(tls.clone()),
    }
}

/// The broker's certificate and key in files, kept until the broker has read them.
struct Files {
    directory: PathBuf,
    trust: Trust,
}

impl Files {
    fn make() -> Self {
        let directory = env::temp_dir().join(format!("midge-conformance-{}", process::id()));
        fs::create_dir_all(&directory).expect("a directory for the broker's certificate");
        let key = || KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let server = CertificateParams::new(vec![HOST.to_owned()]).expect("a host's name");
        let server_key = key();
        let server = server.signed_by(&server_key, &authority).expect("a certificate");
        let files = Self { directory, trust: Trust::Authority(authority.der().clone()) };
        let write = |name, text: String| fs::write(files.path(name), text).expect("a file");
        write("server.pem", server.pem());
        write("server.key", server_key.serialize_pem());
        files
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    fn tls(&self) -> TlsOptions {
        TlsOptions::new(self.path("server.pem"), self.path("server.key"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A stray file may stay, but that does not fail a test.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
