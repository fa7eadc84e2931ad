//! Who may come in, and how.

use std::future::Future;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};

use super::relay::Relay;
use super::*;
use crate::admission::Refusal;
use crate::listen::ClientCertificates;
use crate::quic::socket::bind_udp;

/// A client of quinn's own, for what ours does not do.
struct Raw {
    endpoint: Endpoint,
    config: ClientConfig,
}

impl Raw {
    fn new(world: &World, change: impl Fn(&mut rustls::ClientConfig)) -> Self {
        let trust = tls_client(&world.directory, &world.authority);
        let mut config = rustls::ClientConfig::clone(&trust.client_config());
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        change(&mut config);
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        let socket = bind_udp(([127, 0, 0, 1], 0).into()).unwrap();
        let (_, endpoint) = world.client.shared().add_endpoint(socket, None).unwrap();
        Self { endpoint, config }
    }

    fn connect(&self, world: &World) -> quinn::Connecting {
        let _context = world.client.shared().handle().enter();
        self.endpoint.connect_with(self.config.clone(), world.address, "localhost").unwrap()
    }
}

/// Runs a future on the client's thread, and waits for it here.
fn run<T: Send + 'static>(world: &World, what: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    world.client.shared().handle().spawn(async move {
        let _ = tell.send(what.await);
    });
    told.recv_timeout(PATIENCE).expect("it takes too long")
}

#[test]
fn another_protocol_is_refused() {
    let world = World::new();
    let raw = Raw::new(&world, |config| config.alpn_protocols = vec![b"other".to_vec()]);
    let connecting = raw.connect(&world);
    let error = run(&world, async { connecting.await.expect_err("it was accepted") });
    assert!(error.to_string().contains("peer doesn't support any known protocol"), "{error}");
    eventually("it is counted", || world.admission.figures().failed_handshakes == 1);
    world.pair();
}

#[test]
fn an_unknown_authority_is_refused_by_the_client() {
    let world = World::new();
    let trust = tls_client(&world.directory, &Authority::new("another"));
    let mut stream = world.client.connect(world.address, "localhost", &trust).unwrap();
    stream.set_waker(world.signals.waker(1));
    let error = world.failure(&mut stream);
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(stream.is_established().unwrap_err().to_string(), error.to_string());
    assert_eq!(world.failure(&mut stream).to_string(), error.to_string(), "it is told again");
}

#[test]
fn new_connections_get_a_new_certificate() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let next = Authority::new("the next");
    world.directory.listener(&next);
    assert!(world.tls.reload().unwrap());
    // The existing connection goes on.
    world.write_all(&mut client, b"still here");
    assert_eq!(world.read_exactly(&mut server, 10), b"still here");
    // A client that trusts the old authority does not trust the next one.
    let trust = tls_client(&world.directory, &world.authority);
    let mut stream = world.client.connect(world.address, "localhost", &trust).unwrap();
    stream.set_waker(world.signals.waker(3));
    assert_eq!(world.failure(&mut stream).kind(), io::ErrorKind::InvalidData);
    let trust = tls_client(&world.directory, &next);
    let mut stream = world.client.connect(world.address, "localhost", &trust).unwrap();
    stream.set_waker(world.signals.waker(4));
    world.write_all(&mut stream, b"new");
    assert_eq!(world.read_exactly(&mut world.accept(5), 3), b"new");
}

#[test]
fn a_client_shows_its_certificate() {
    let tls = |mut options: TlsOptions, directory: &Directory, authority: &Authority| {
        options.client_ca.push(directory.write("ca.crt", authority.pem()));
        options.client_certificates = ClientCertificates::Required;
        options
    };
    let world = World::with(&Wanted { tls, ..Wanted::default() });
    let error = world.failure(&mut world.connect(1));
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");

    let issued = world.authority.client("sensor-7", 7);
    let options = TlsClientOptions {
        ca: Some(world.directory.path("ca.crt")),
        certificate: Some(world.directory.write_pair("client", &issued)),
        ..TlsClientOptions::default()
    };
    let trust = Arc::new(TlsClient::new(&options).unwrap());
    // The second handshake resumes the session of the first.
    for _ in 0..2 {
        let mut stream = world.client.connect(world.address, "localhost", &trust).unwrap();
        stream.set_waker(world.signals.waker(1));
        world.write_all(&mut stream, b"hello");
        let mut server = world.accept(2);
        let tls = server.peer().tls.unwrap();
        assert_eq!(tls.certificate.as_ref().unwrap().common_name.as_deref(), Some("sensor-7"));
        world.write_all(&mut server, b"hello");
        world.read_exactly(&mut stream, 5);
    }
}

#[test]
fn a_handshake_that_never_ends_is_dropped_and_counted() {
    let deadline = Duration::from_millis(300);
    let world = World::with(&Wanted { deadline, ..Wanted::default() });
    let relay = Relay::new(world.address);
    relay.lose(false, true);
    let stream = world.connect_to(relay.address(), 1);
    eventually("it began", || world.admission.figures().handshaking == 1);
    eventually("it was dropped", || world.admission.figures().handshaking == 0);
    let figures = world.admission.figures();
    assert_eq!((figures.open, figures.failed_handshakes), (0, 1));
    drop(stream);
}

#[test]
fn a_connection_without_a_stream_is_closed_and_counted() {
    let deadline = Duration::from_millis(300);
    let world = World::with(&Wanted { deadline, ..Wanted::default() });
    let connecting = Raw::new(&world, |_| {}).connect(&world);
    let error = run(&world, async { connecting.await.unwrap().closed().await });
    let ConnectionError::ApplicationClosed(close) = error else { panic!("{error}") };
    assert_eq!(close.error_code, 1u32.into());
    eventually("it is counted", || world.admission.figures().failed_handshakes == 1);
    assert_eq!(world.admission.figures().open, 0);
}

#[test]
fn a_handshake_of_a_client_has_a_deadline() {
    let world = World::new();
    let relay = Relay::new(world.address);
    relay.lose(true, true);
    let deadline = Duration::from_millis(100);
    let hasty = QuicRuntime::with_options(QuicOptions::default(), deadline).unwrap();
    let mut stream = hasty.connect(relay.address(), "localhost", &world.trust).unwrap();
    assert!(!stream.is_established().unwrap());
    stream.set_waker(world.signals.waker(1));
    assert_eq!(world.failure(&mut stream).kind(), io::ErrorKind::TimedOut);
}

#[test]
fn who_is_over_a_limit_is_refused_and_counted() {
    let limits = ListenerLimits { connections_max: 1, ..ListenerLimits::default() };
    let world = World::with(&Wanted { limits, ..Wanted::default() });
    let first = world.pair();
    let error = world.failure(&mut world.connect(3));
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    let figures = world.admission.figures();
    assert!(figures.refused.contains(&(Refusal::Connections, 1)), "{figures:?}");
    drop(first);
    eventually("the first is gone", || world.admission.figures().open == 0);
    world.pair();
}

#[test]
fn many_handshakes_make_clients_show_their_address() {
    let world = World::with(&Wanted { retry_above: Some(0), ..Wanted::default() });
    world.pair();
    assert_eq!(world.admission.figures().accepted, 1);
    // A datagram whose sender does not answer begins nothing.
    let relay = Relay::new(world.address);
    relay.lose(false, true);
    let stream = world.connect_to(relay.address(), 1);
    world.pair();
    assert_eq!(world.admission.figures().accepted, 2);
    drop(stream);
}

/// Connects twice. Returns whether the second connection could send early data, and what became of
/// it.
fn comes_back(world: &World) -> (bool, bool) {
    let raw = Raw::new(world, |config| config.enable_early_data = true);
    let first = raw.connect(world);
    let connection = run(world, async {
        let connection = first.await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(b"one").await.unwrap();
        let mut answer = [0; 3];
        receive.read_exact(&mut answer).await.unwrap();
        connection
    });
    drop(connection);
    let connecting = raw.connect(world);
    run(world, async {
        match connecting.into_0rtt() {
            Err(connecting) => (false, connecting.await.is_ok()),
            Ok((connection, is_accepted)) => {
                let (mut send, _receive) = connection.open_bi().await.unwrap();
                send.write_all(b"early").await.unwrap();
                (true, is_accepted.await)
            }
        }
    })
}

/// Answers the first connection from another thread.
fn answer_first(world: &World) -> std::thread::JoinHandle<QuicStream> {
    let accepted = Arc::clone(&world.accepted);
    std::thread::spawn(move || {
        let mut server = None;
        eventually("the first is there", || {
            server = accepted.lock().unwrap().pop();
            server.is_some()
        });
        let mut stream = quic(server.unwrap().stream);
        eventually("it writes", || pending(stream.read(&mut [0; 8])).unwrap().is_some());
        stream.write(b"two").unwrap();
        stream
    })
}

#[test]
fn early_data_is_off_unless_asked_for() {
    let world = World::new();
    let answering = answer_first(&world);
    assert_eq!(comes_back(&world), (false, true));
    drop(answering.join().unwrap());
}

#[test]
fn early_data_arrives_if_asked_for() {
    let options = QuicOptions { early_data: true, ..QuicOptions::default() };
    let world = World::with(&Wanted { options, ..Wanted::default() });
    let answering = answer_first(&world);
    assert_eq!(comes_back(&world), (true, true));
    drop(answering.join().unwrap());
    let mut server = world.accept(2);
    assert_eq!(world.read_exactly(&mut server, 5), b"early");
}

#[test]
fn a_panic_in_a_task_is_not_the_end() {
    let world = World::with(&Wanted { panics_at_first: true, ..Wanted::default() });
    let mut first = world.connect(1);
    // The unwinding after the panic closes the connection.
    world.signals.drive(|| match pending(first.write(b"x")) {
        Ok(_) => pending(first.read(&mut [0; 8])).transpose().map(drop),
        Err(_) => Some(()),
    });
    eventually("its place is free", || world.admission.figures().open == 0);
    world.pair();
}

#[test]
fn a_port_in_use_is_named() {
    let world = World::new();
    let listen = Listen::new(format!("[::]:{}", world.address.port())).quic(QuicOptions::default());
    let terms = QuicTerms::new(&listen, Arc::clone(&world.tls), Arc::clone(&world.admission));
    let bound = QuicSocket::bind(&listen.address, terms.unwrap());
    let error = bound.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
}
