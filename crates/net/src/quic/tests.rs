//! Clients and listeners on loopback. Both sides are polled as a worker does it: read and write
//! until `WouldBlock`, then wait for a signal. No test waits for a fixed time.

mod changes;
mod data_streams;
mod endings;
mod handshakes;
mod relay;
mod streams;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::{QuicDataStream, QuicListeners, QuicRuntime, QuicSocket, QuicStream, QuicTerms};
use crate::acceptor::{Accepted, PassOn};
use crate::admission::Admission;
use crate::listen::{Listen, ListenerLimits, Protocol, QuicOptions, TlsOptions};
use crate::stream::{Received, Stream};
use crate::tls::tests::pki::{Authority, Directory};
use crate::tls::{TlsClient, TlsClientOptions, TlsServer};

/// No test takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stands in for a worker's poller.
#[derive(Default)]
struct Signals {
    numbers: Mutex<Vec<usize>>,
    changed: Condvar,
}

struct Signal {
    number: usize,
    signals: Arc<Signals>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        // This is called under locks of QUIC: a panic here would be the end of the process.
        self.signals.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        self.signals.changed.notify_all();
    }
}

impl Signals {
    fn waker(self: &Arc<Self>, number: usize) -> Waker {
        Arc::new(Signal { number, signals: Arc::clone(self) }).into()
    }

    /// Waits for signals, and returns their numbers.
    fn wait(&self) -> Vec<usize> {
        let numbers = self.numbers.lock().unwrap();
        let wait = self.changed.wait_timeout_while(numbers, PATIENCE, |numbers| numbers.is_empty());
        let numbers = std::mem::take(&mut *wait.unwrap().0);
        assert!(!numbers.is_empty(), "nothing more happens");
        numbers
    }

    /// Tries again at each signal until the attempt works.
    fn drive<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            self.wait();
        }
    }
}

/// Tries again and again, for changes that nobody signals.
fn eventually(what: &str, mut attempt: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !attempt() {
        assert!(begin.elapsed() < PATIENCE, "waiting for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A listener, what it has accepted, and a client that trusts it.
struct World {
    signals: Arc<Signals>,
    accepted: Arc<Mutex<Vec<Accepted>>>,
    listeners: Option<QuicListeners>,
    pass_on: PassOn,
    address: SocketAddr,
    admission: Arc<Admission>,
    tls: Arc<TlsServer>,
    directory: Directory,
    authority: Authority,
    trust: Arc<TlsClient>,
    client: QuicRuntime,
}

/// What a test wants to be different.
#[derive(Clone)]
struct Wanted {
    options: QuicOptions,
    client_options: QuicOptions,
    limits: ListenerLimits,
    tls: fn(TlsOptions, &Directory, &Authority) -> TlsOptions,
    deadline: Duration,
    retry_above: Option<usize>,
    panics_at_first: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            options: QuicOptions::default(),
            client_options: QuicOptions::default(),
            limits: ListenerLimits::default(),
            tls: |options, _, _| options,
            deadline: PATIENCE,
            retry_above: None,
            panics_at_first: false,
        }
    }
}

impl World {
    fn new() -> Self {
        Self::with(&Wanted::default())
    }

    fn with(wanted: &Wanted) -> Self {
        let (directory, authority) = (Directory::new(), Authority::new("authority"));
        let tls = (wanted.tls)(directory.listener(&authority), &directory, &authority);
        let tls = Arc::new(TlsServer::load(&tls, &[]).unwrap());
        let admission = Arc::new(Admission::new(wanted.limits.clone()));
        let mut listen = Listen::new("[::]:0").quic(wanted.options.clone());
        listen.limits.connect_deadline = Some(wanted.deadline);
        let terms = QuicTerms::new(&listen, Arc::clone(&tls), Arc::clone(&admission));
        let mut terms = terms.unwrap();
        terms.retry_above = wanted.retry_above.unwrap_or(terms.retry_above);
        let socket = QuicSocket::bind(&listen.address, terms).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], socket.local_address().port()));
        let signals = Arc::new(Signals::default());
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let panics = Arc::new(Mutex::new(wanted.panics_at_first));
        let pass_on: PassOn = {
            let (accepted, waker) = (Arc::clone(&accepted), signals.waker(usize::MAX));
            Arc::new(move |stream| {
                let panics = std::mem::take(&mut *panics.lock().unwrap());
                assert!(!panics, "a panic on purpose");
                accepted.lock().unwrap().push(stream);
                waker.wake_by_ref();
            })
        };
        let mut listeners = QuicListeners::start().unwrap();
        listeners.open(listeners.ready(7, socket).unwrap(), &pass_on);
        let listeners = Some(listeners);
        let trust = tls_client(&directory, &authority);
        let client = QuicRuntime::with_options(wanted.client_options.clone(), PATIENCE).unwrap();
        Self {
            signals,
            accepted,
            listeners,
            pass_on,
            address,
            admission,
            tls,
            directory,
            authority,
            trust,
            client,
        }
    }

    /// Returns a client's stream, whose handshake may be under way.
    fn connect(&self, number: usize) -> QuicStream {
        self.connect_to(self.address, number)
    }

    fn connect_to(&self, address: SocketAddr, number: usize) -> QuicStream {
        let mut stream = self.client.connect(address, "localhost", &self.trust).unwrap();
        stream.set_waker(self.signals.waker(number));
        stream
    }

    fn accept(&self, number: usize) -> QuicStream {
        let accepted = self.signals.drive(|| self.accepted.lock().unwrap().pop());
        assert_eq!((accepted.listener, accepted.refusal), (7, None));
        let mut stream = quic(accepted.stream);
        stream.set_waker(self.signals.waker(number));
        stream
    }

    /// Returns both ends of a new connection, after a greeting of the client.
    fn pair(&self) -> (QuicStream, QuicStream) {
        let mut client = self.connect(1);
        self.write_all(&mut client, b"hello");
        let mut server = self.accept(2);
        assert_eq!(self.read_exactly(&mut server, 5), b"hello");
        (client, server)
    }

    fn write_all(&self, stream: &mut impl Polled, bytes: &[u8]) {
        let mut rest = bytes;
        self.signals.drive(|| {
            while !rest.is_empty() {
                let count = pending(stream.write(rest)).unwrap()?;
                rest = &rest[count..];
            }
            Some(())
        });
    }

    fn read_exactly(&self, stream: &mut impl Polled, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.signals.drive(|| {
            while bytes.len() < count {
                let mut buffer = vec![0; count - bytes.len()];
                match pending(stream.read(&mut buffer)).unwrap()? {
                    Received::Bytes { count, .. } => bytes.extend_from_slice(&buffer[..count]),
                    Received::End => panic!("the end after {} bytes", bytes.len()),
                }
            }
            Some(())
        });
        bytes
    }

    /// Reads until the end or an error.
    fn read_to_end(&self, stream: &mut impl Polled) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let result = self.signals.drive(|| {
            loop {
                match pending(stream.read(&mut buffer)) {
                    Ok(None) => return None,
                    Ok(Some(Received::Bytes { count, .. })) => {
                        bytes.extend_from_slice(&buffer[..count]);
                    }
                    Ok(Some(Received::End)) => return Some(Ok(())),
                    Err(error) => return Some(Err(error)),
                }
            }
        });
        (bytes, result)
    }

    /// Returns the error that a stream ends with.
    fn failure(&self, stream: &mut impl Polled) -> io::Error {
        self.read_to_end(stream).1.expect_err("it has ended well")
    }
}

fn tls_client(directory: &Directory, authority: &Authority) -> Arc<TlsClient> {
    let ca = Some(directory.write("ca.crt", authority.pem()));
    Arc::new(TlsClient::new(&TlsClientOptions { ca, ..TlsClientOptions::default() }).unwrap())
}

/// Returns the QUIC stream inside a stream.
fn quic(stream: Stream) -> QuicStream {
    stream.into_quic().expect("it is of another kind")
}

/// Turns `WouldBlock` into `None`.
fn pending<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Streams of both kinds.
trait Polled {
    fn read(&mut self, into: &mut [u8]) -> io::Result<Received>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

impl Polled for QuicStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<Received> {
        QuicStream::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }
}

impl Polled for QuicDataStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<Received> {
        QuicDataStream::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }
}

/// Returns bytes that show where they belong.
fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| (place % 251) as u8).collect()
}

#[test]
fn what_crosses_threads_may() {
    fn is_send<T: Send>() {}
    is_send::<QuicStream>();
    is_send::<QuicDataStream>();
    is_send::<QuicListeners>();
    is_send::<QuicRuntime>();
    is_send::<Stream>();
}
