//! A way from a TCP port to a listener of any transport, so that tests speak to all of them alike.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use midge_net::{Connector, Poller, Received, Scratch, Stream};

use crate::support::DEADLINE;

/// Lets everybody in who connects to its address, and ends with the test.
pub(crate) struct Bridge {
    address: SocketAddr,
}

impl Bridge {
    pub(crate) fn new(mut connector: Connector) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = connector.connect(DEADLINE).expect("the broker listens");
                thread::spawn(move || carry(near, far));
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Carries bytes in both directions until one side has ended.
fn carry(mut near: TcpStream, mut far: Stream) {
    near.set_nonblocking(true).expect("it is a socket");
    near.set_nodelay(true).expect("it is a socket");
    let mut poller = Poller::new().expect("a poller");
    poller.register(&mut far, 0).expect("it can be watched");
    let (mut scratch, mut room) = (Scratch::new(), vec![0; 256 * 1024]);
    let (mut outward, mut inward) = (Vec::new(), Vec::new());
    loop {
        match near.read(&mut room) {
            Ok(0) => return,
            Ok(count) => outward.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(_) => return,
        }
        match far.read(&mut room, &mut scratch) {
            Ok(Received::End) => break,
            Ok(Received::Bytes { count, .. }) => inward.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(_) => break,
        }
        if far.wants_write() {
            let _ = far.flush();
        }
        if !outward.is_empty() {
            match far.write_vectored(&[IoSlice::new(&outward)], &mut scratch) {
                Ok(count) => drop(outward.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(_) => break,
            }
        }
        if !pass(&mut near, &mut inward) {
            return;
        }
        // Only the far side is watched; the near one is looked at soon enough.
        let _ = poller.wait(Some(Duration::from_micros(500)));
    }
    let _ = near.set_nonblocking(false);
    let _ = near.write_all(&inward);
}

fn pass(near: &mut TcpStream, inward: &mut Vec<u8>) -> bool {
    match near.write(inward) {
        Ok(count) => drop(inward.drain(..count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
        Err(_) => return false,
    }
    true
}
