//! A relay of datagrams between one client and the listener, which can lose datagrams on demand.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub(super) struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    front: UdpSocket,
    back: UdpSocket,
    client: Mutex<Option<SocketAddr>>,
    loses_to_server: AtomicBool,
    loses_to_client: AtomicBool,
    is_over: AtomicBool,
}

impl Relay {
    pub(super) fn new(server: SocketAddr) -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            socket
        };
        let shared = Arc::new(Shared {
            front: bind(),
            back: bind(),
            client: Mutex::default(),
            loses_to_server: AtomicBool::new(false),
            loses_to_client: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let address = shared.front.local_addr().unwrap();
        let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || there.to_server(server)),
            thread::spawn(move || back.to_client()),
        ];
        Self { shared, address, threads }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets whether datagrams to the server and to the client get lost.
    pub(super) fn lose(&self, to_server: bool, to_client: bool) {
        self.shared.loses_to_server.store(to_server, Ordering::SeqCst);
        self.shared.loses_to_client.store(to_client, Ordering::SeqCst);
    }
}

impl Shared {
    fn to_server(&self, server: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok((count, client)) = self.front.recv_from(&mut buffer) else { continue };
            *self.client.lock().unwrap() = Some(client);
            if !self.loses_to_server.load(Ordering::SeqCst) {
                let _ = self.back.send_to(&buffer[..count], server);
            }
        }
    }

    fn to_client(&self) {
        let mut buffer = vec![0; 65_536];
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok((count, _)) = self.back.recv_from(&mut buffer) else { continue };
            let client = *self.client.lock().unwrap();
            if let Some(client) = client
                && !self.loses_to_client.load(Ordering::SeqCst)
            {
                let _ = self.front.send_to(&buffer[..count], client);
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
