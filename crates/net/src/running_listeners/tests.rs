//! Listeners that change while connections come and exist.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::*;
use crate::acceptor::Accepted;
use crate::admission::Refusal;
use crate::listen::WebSocketOptions;
use crate::listeners::Listeners;
use crate::peer::Transport;
use crate::testing::Directory;

/// No test takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    running: RunningListeners,
    control: Arc<ListenerControl>,
    accepted: Receiver<Accepted>,
}

impl World {
    fn new(listens: &[Listen]) -> Self {
        let listeners = Listeners::bind(listens).unwrap();
        let control = listeners.control();
        let (sender, accepted) = mpsc::channel();
        let pass_on = move |accepted| sender.send(accepted).unwrap();
        let running = listeners.start(Vec::new(), pass_on, || None).unwrap();
        Self { running, control, accepted }
    }

    fn carry_out(&mut self, changes: ListenerChanges) {
        let ready = self.running.prepare(changes).unwrap();
        assert!(self.running.carry_out(ready, || ()).is_empty());
    }

    fn change(&mut self, number: usize, listen: &Listen) {
        let changed = vec![(number, listen.clone())];
        self.carry_out(ListenerChanges { changed, ..ListenerChanges::default() });
    }

    fn refuse(&mut self, changes: ListenerChanges) -> String {
        self.running.prepare(changes).unwrap_err().to_string()
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let figures = self.control.figures();
        figures.iter().filter_map(|(_, address, _)| address.network()).collect()
    }

    /// Closes every connection that is accepted, until `is_so` returns true.
    fn close_until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            drop(self.accepted.recv_timeout(Duration::from_millis(5)));
        }
    }

    /// Returns a client, and its connection as it was accepted.
    fn connect(&self, address: SocketAddr) -> (TcpStream, Accepted) {
        let client = TcpStream::connect(address).unwrap();
        (client, self.accepted.recv_timeout(PATIENCE).unwrap())
    }
}

fn plain(address: impl AsRef<str>) -> Listen {
    Listen::new(address)
}

fn added(number: usize, listen: Listen) -> ListenerChanges {
    ListenerChanges { added: vec![(number, listen)], ..ListenerChanges::default() }
}

fn removed(number: usize) -> ListenerChanges {
    ListenerChanges { removed: vec![number], ..ListenerChanges::default() }
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|it| it.kind() == ErrorKind::ConnectionRefused)
}

fn unix(path: &Path) -> Listen {
    Listen { address: ListenAddress::Unix(path.to_path_buf()), ..Listen::new("") }
}

#[test]
fn a_new_one_accepts_and_one_that_is_removed_does_not() {
    let mut world = World::new(&[plain("127.0.0.1:0")]);
    let (_client, first) = world.connect(world.addresses()[0]);
    world.carry_out(added(5, plain("127.0.0.1:0")));
    let [old, new] = world.addresses()[..] else { panic!("two listeners") };
    let (_other, second) = world.connect(new);
    assert_eq!((first.listener, second.listener), (0, 5));

    world.carry_out(removed(0));
    assert!(is_refused(old));
    assert_eq!(world.addresses(), [new]);
    let (_third, third) = world.connect(new);
    assert_eq!(third.listener, 5);
    assert_eq!(first.stream.peer().transport, Transport::Tcp, "the connection stands");
    // Its address is free for another listener.
    world.carry_out(added(0, plain(old.to_string())));
    assert_eq!(world.connect(old).1.listener, 0);
}

#[test]
fn nobody_is_refused_while_a_listener_changes() {
    let listen = plain("127.0.0.1:0");
    let mut world = World::new(std::slice::from_ref(&listen));
    let address = world.addresses()[0];
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut count = 0;
            while !ends.load(Ordering::Relaxed) {
                let mut client = TcpStream::connect(address).unwrap();
                // Waits until the connection was accepted; otherwise more would be open than may
                // be.
                assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
                count += 1;
            }
            count
        });
        for round in 0..200 {
            let mut listen = listen.clone();
            listen.tcp.backlog = 64 + round;
            listen.tcp.no_delay = round % 2 == 0;
            if round % 3 == 0 {
                listen = listen.websocket(WebSocketOptions::default());
            }
            world.change(0, &listen);
            // Somebody connects after each change, and is closed.
            drop(world.accepted.recv_timeout(PATIENCE).unwrap());
        }
        ends.store(true, Ordering::Relaxed);
        world.close_until(|| clients.is_finished());
        assert!(clients.join().unwrap() >= 200);
    });
}

#[test]
fn connections_have_the_terms_that_they_came_by() {
    let mut listen = plain("127.0.0.1:0");
    let mut world = World::new(std::slice::from_ref(&listen));
    let address = world.addresses()[0];
    let (_client, plain) = world.connect(address);
    listen = listen.websocket(WebSocketOptions::default());
    listen.limits.connections_max = 2;
    world.change(0, &listen);
    let (_client, websocket) = world.connect(address);
    let transports = [plain.stream.peer().transport, websocket.stream.peer().transport];
    assert_eq!(transports, [Transport::Tcp, Transport::WebSocket]);
    // Connections from before the change count.
    let (_client, third) = world.connect(address);
    assert_eq!(third.refusal, Some(Refusal::Connections));
    assert_eq!(world.control.figures()[0].2.open, 2);
}

#[test]
fn nothing_changes_if_one_of_them_cannot_be() {
    let mut world = World::new(&[plain("127.0.0.1:0"), plain("127.0.0.1:0")]);
    let before = world.addresses();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = taken.local_addr().unwrap();
    let mut other = plain("127.0.0.1:0");
    other.limits.connections_max = 1;
    let error = world.refuse(ListenerChanges {
        added: vec![(2, plain(free.to_string())), (3, plain(taken.to_string()))],
        changed: vec![(0, other)],
        removed: vec![1],
    });
    assert!(error.contains(&taken.to_string()) && error.contains("in use"), "{error}");
    assert_eq!(world.addresses(), before);
    assert!(is_refused(free));
    let clients: Vec<_> = [0, 0, 1].map(|it| world.connect(before[it])).into_iter().collect();
    assert!(clients.iter().all(|(_, accepted)| accepted.refusal.is_none()));

    let error = world.refuse(added(2, plain(before[0].to_string())));
    assert!(error.contains("by this broker itself"), "{error}");
}

#[test]
fn listeners_that_want_one_place_at_the_start_are_told_of_each_other() {
    let refused = |listens: &[Listen]| {
        let started = Listeners::bind(listens).and_then(|it| it.start(Vec::new(), |_| (), || None));
        started.unwrap_err().to_string()
    };
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let address = format!("127.0.0.1:{port}");
    let error = refused(&[plain(&address), plain(&address)]);
    let expected = format!(
        "cannot listen on {address}: the port is in use by this broker itself, which listens on \
         {address}; leave out the one or the other"
    );
    assert_eq!(error, expected);

    let directory = Directory::new();
    let (real, link) = (directory.0.join("real"), directory.0.join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let error = refused(&[unix(&real.join("s")), unix(&link.join("s"))]);
    assert!(error.contains("the socket is in use by this broker itself"), "{error}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = plain(other.local_addr().unwrap().to_string());
    let error = refused(&[plain("127.0.0.1:0"), taken]);
    assert!(error.contains("is another broker running there?"), "{error}");
}

#[test]
fn one_address_gives_way_to_another_at_its_port() {
    let mut world = World::new(&[plain("127.0.0.1:0")]);
    let port = world.addresses()[0].port();
    let loopback = SocketAddr::from(([127, 0, 0, 1], port));
    for (number, address) in [(1, "0.0.0.0"), (2, "127.0.0.1"), (3, "0.0.0.0")] {
        let changes = ListenerChanges {
            added: vec![(number, plain(format!("{address}:{port}")))],
            removed: vec![number - 1],
            changed: Vec::new(),
        };
        world.carry_out(changes);
        assert_eq!(world.connect(loopback).1.listener, number);
    }
    // Nobody else can be bound to that port.
    TcpListener::bind(loopback).unwrap_err();
}

#[test]
fn the_file_of_a_removed_unix_socket_is_removed() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut world = World::new(&[plain("127.0.0.1:0")]);
    world.carry_out(added(1, unix(&path)));
    let _client = UnixStream::connect(&path).unwrap();
    assert_eq!(world.accepted.recv_timeout(PATIENCE).unwrap().listener, 1);
    world.carry_out(removed(1));
    assert!(directory.names().is_empty(), "{:?}", directory.names());
    // A listener that cannot be made leaves no file behind.
    let taken = world.addresses()[0];
    world.refuse(ListenerChanges {
        added: vec![(1, unix(&path)), (2, plain(taken.to_string()))],
        ..ListenerChanges::default()
    });
    assert!(directory.names().is_empty(), "{:?}", directory.names());
}

#[test]
fn a_unix_socket_gets_another_mode_and_nobody_is_refused() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut listen = unix(&path);
    let mut world = World::new(std::slice::from_ref(&listen));
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                let mut client = UnixStream::connect(&path).unwrap();
                // Waits until the connection was accepted; otherwise more would be open than may
                // be.
                assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            }
        });
        for round in 0..100 {
            // Closes the connection.
            drop(world.accepted.recv_timeout(PATIENCE).unwrap());
            let mode = if round % 2 == 0 { 0o600 } else { 0o660 };
            listen.unix.mode = Some(mode);
            world.change(0, &listen);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        ends.store(true, Ordering::Relaxed);
        world.close_until(|| clients.is_finished());
    });
    assert_eq!(directory.names(), ["s"]);
    drop(world);
    assert!(directory.names().is_empty());
}

#[test]
fn a_unix_socket_that_could_not_be_replaced_gets_its_mode_the_next_time() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut listen = unix(&path);
    listen.unix.mode = Some(0o600);
    let mut world = World::new(std::slice::from_ref(&listen));
    listen.unix.mode = Some(0o666);
    listen.limits.connections_max = 1;
    let changed = vec![(0, listen.clone())];
    let ready = world
        .running
        .prepare(ListenerChanges { changed: changed.clone(), ..ListenerChanges::default() })
        .unwrap();
    // Somebody else takes the path first.
    let aside = directory.0.join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::write(&path, "").unwrap();
    let failed = world.running.carry_out(ready, || ());
    assert!(matches!(&failed[..], [(0, error)] if error.to_string().contains("not a socket")));
    // The listener still accepts, and everything else is in effect.
    fs::rename(&aside, &path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let _first = world.accepted.recv_timeout(PATIENCE).unwrap();
    let _other = UnixStream::connect(&path).unwrap();
    let second = world.accepted.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second.refusal, Some(Refusal::Connections));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    world.change(0, &listen);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    assert_eq!(directory.names(), ["s"]);
}

#[test]
fn nobody_comes_between_the_listeners_and_what_changes_beside_them() {
    let mut world = World::new(&[plain("127.0.0.1:0")]);
    let address = world.addresses()[0];
    let listen = plain("127.0.0.1:0").websocket(WebSocketOptions::default());
    let changes = ListenerChanges { changed: vec![(0, listen)], ..added(1, plain("127.0.0.1:0")) };
    let ready = world.running.prepare(changes).unwrap();
    let new = ready.added()[0].1.network().unwrap();
    let clients = [address, new].map(|address| TcpStream::connect(address).unwrap());
    let before = world.accepted.recv_timeout(PATIENCE).unwrap();
    assert_eq!(before.stream.peer().transport, Transport::Tcp);
    let mut waiting = None;
    world.running.carry_out(ready, || {
        waiting = Some(TcpStream::connect(address).unwrap());
        let nobody = world.accepted.try_recv();
        assert!(nobody.is_err(), "{nobody:?}");
    });
    let after = [0, 1].map(|_| world.accepted.recv_timeout(PATIENCE).unwrap());
    for accepted in after {
        let is_websocket = accepted.stream.peer().transport == Transport::WebSocket;
        assert_eq!(is_websocket, accepted.listener == 0);
    }
    drop((clients, waiting));
}

#[test]
fn a_unix_socket_may_be_written_in_another_way() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut listen = unix(&path);
    let mut world = World::new(std::slice::from_ref(&listen));
    listen.address = ListenAddress::Unix(directory.0.join(".").join("s"));
    listen.unix.mode = Some(0o600);
    world.change(0, &listen);
    let _client = UnixStream::connect(&path).unwrap();
    assert_eq!(world.accepted.recv_timeout(PATIENCE).unwrap().listener, 0);
    // If another path to the directory is used, the socket is found in use, and by whom.
    let link = Directory::new();
    let way = link.0.join("way");
    std::os::unix::fs::symlink(&directory.0, &way).unwrap();
    let changes = ListenerChanges { removed: vec![0], ..added(1, unix(&way.join("s"))) };
    let error = world.refuse(changes);
    assert!(error.contains("by this broker itself"), "{error}");
    assert!(error.contains(&*path.display().to_string()), "{error}");
}

#[test]
fn who_has_stopped_takes_no_changes() {
    let mut world = World::new(&[plain("127.0.0.1:0")]);
    world.running.stop_accepting();
    let error = world.refuse(added(1, plain("127.0.0.1:0")));
    assert!(error.contains("has stopped"), "{error}");
}
