//! A server that serves each connection by a function of the test, in the clear or with TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::HttpUrl;

/// A server. Its threads end with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    is_tls: bool,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// A connection that is served.
pub(crate) struct Exchange {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
    counts: Arc<Counts>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Server {
    pub(crate) fn start(
        serve: impl Fn(Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, serve)
    }

    pub(crate) fn start_with(
        tls: Option<Arc<ServerConfig>>,
        serve: impl Fn(Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let server = Self { address, is_tls: tls.is_some(), counts: Arc::clone(&counts) };
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                let stream: Box<dyn Stream> = match &tls {
                    Some(config) => {
                        let session = ServerConnection::new(Arc::clone(config)).unwrap();
                        Box::new(StreamOwned::new(session, socket.try_clone().unwrap()))
                    }
                    None => Box::new(socket.try_clone().unwrap()),
                };
                let connection = counts.connections.fetch_add(1, Ordering::SeqCst);
                let exchange = Exchange { stream, socket, connection, counts: Arc::clone(&counts) };
                let serve = Arc::clone(&serve);
                // Clients that go away in between are part of the tests.
                thread::spawn(move || drop(serve(exchange)));
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> HttpUrl {
        let scheme = if self.is_tls { "https" } else { "http" };
        HttpUrl::parse(&format!("{scheme}://{}{path}", self.address)).unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }
}

impl Exchange {
    /// Reads a request with its body, and returns it as it came.
    pub(crate) fn read_request(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        let header = loop {
            self.read_byte(&mut bytes)?;
            if bytes.ends_with(b"\r\n\r\n") {
                break String::from_utf8(bytes.clone()).unwrap().to_lowercase();
            }
        };
        let length = header.lines().find_map(|line| line.strip_prefix("content-length:"));
        for _ in 0..length.map_or(0, |it| it.trim().parse().unwrap()) {
            self.read_byte(&mut bytes)?;
        }
        self.counts.requests.fetch_add(1, Ordering::SeqCst);
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn read_byte(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        Ok(())
    }

    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())?;
        self.stream.flush()
    }

    /// Returns the number of requests that all connections have read.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Waits until the client has closed the connection.
    pub(crate) fn wait_for_end(&mut self) -> io::Result<()> {
        self.stream.read(&mut [0]).map(drop)
    }

    /// Waits so long for the client to close the connection.
    pub(crate) fn has_ended_within(&mut self, wait: Duration) -> bool {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let read = self.socket.read(&mut [0]);
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Returns an answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
