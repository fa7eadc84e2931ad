//! A listener whose terms change, and one that is removed.

use super::*;

impl World {
    fn change(&self, change: impl FnOnce(&mut Listen)) {
        let mut listen = Listen::new("[::]:0").quic(QuicOptions::default());
        listen.limits.connect_deadline = Some(PATIENCE);
        change(&mut listen);
        let (tls, admission) = (Arc::clone(&self.tls), Arc::clone(&self.admission));
        let terms = QuicTerms::new(&listen, tls, admission).unwrap();
        let listeners = self.listeners.as_ref().unwrap();
        listeners.change(listeners.ready_terms(7, terms).unwrap().unwrap());
    }

    fn remove(&mut self) {
        self.listeners.as_mut().unwrap().remove(7);
    }

    fn terms(&self) -> QuicTerms {
        let listen = Listen::new("[::]:0").quic(QuicOptions::default());
        QuicTerms::new(&listen, Arc::clone(&self.tls), Arc::clone(&self.admission)).unwrap()
    }

    /// Returns whether a client's connection fails.
    fn is_refused(&self, number: usize) -> bool {
        let mut client = self.connect(number);
        self.signals.drive(|| match pending(client.write(b"x")) {
            Ok(Some(_)) => match pending(client.read(&mut [0; 8])) {
                Ok(None) => None,
                read => Some(read.is_err()),
            },
            Ok(None) => None,
            Err(_) => Some(true),
        })
    }
}

#[test]
fn connections_have_the_terms_that_they_came_by() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    world.change(|listen| {
        listen.protocol =
            Protocol::Quic(QuicOptions { data_streams_max: 0, ..QuicOptions::default() });
    });
    let (mut later, mut later_server) = world.pair();
    // The first connection may still have a data stream.
    let mut data = world.signals.drive(|| client.open_data_stream().ok());
    world.write_all(&mut data, b"data");
    let waker = world.signals.waker(3);
    server.set_waker(waker.clone());
    let mut data = world.signals.drive(|| server.accept_data_stream());
    data.set_waker(waker);
    assert_eq!(world.read_exactly(&mut data, 4), b"data");
    assert!(later.open_data_stream().is_err());
    world.write_all(&mut later, b"more");
    assert_eq!(world.read_exactly(&mut later_server, 4), b"more");
}

/// Makes a change in the middle of a handshake: it is complete on the client's side, but the client
/// has opened no stream before the change.
fn straddling(change: impl FnOnce(&World)) -> (World, QuicStream) {
    let world = World::new();
    let client = world.connect(1);
    world.signals.drive(|| client.is_established().unwrap().then_some(()));
    eventually("a handshake", || world.admission.figures().handshaking == 1);
    change(&world);
    (world, client)
}

#[test]
fn a_handshake_does_not_lead_to_what_others_are_asked_more_for() {
    let (world, mut client) = straddling(|world| {
        let mut listen = Listen::new("[::]:0").quic(QuicOptions::default());
        listen.limits.connect_deadline = Some(PATIENCE);
        let files = world.directory.listener(&world.authority);
        let tls = Arc::new(TlsServer::load(&files, &[]).unwrap());
        let terms = QuicTerms::new(&listen, tls, Arc::clone(&world.admission)).unwrap();
        let listeners = world.listeners.as_ref().unwrap();
        listeners.change(listeners.ready_terms(7, terms).unwrap().unwrap());
    });
    world.write_all(&mut client, b"hello");
    let error = world.failure(&mut client);
    assert!(error.to_string().contains("137"), "{error}");
    eventually("it is counted", || world.admission.figures().failed_handshakes == 1);
    assert!(world.accepted.lock().unwrap().is_empty());
    world.pair();
}

#[test]
fn a_handshake_goes_on_if_only_limits_change() {
    let (world, mut client) = straddling(|world| {
        world.change(|listen| listen.limits.connect_deadline = Some(PATIENCE / 2));
    });
    world.write_all(&mut client, b"hello");
    let mut server = world.accept(2);
    assert_eq!(world.read_exactly(&mut server, 5), b"hello");
}

#[test]
fn one_that_is_removed_refuses_and_its_connections_go_on() {
    let mut world = World::new();
    let (mut client, mut server) = world.pair();
    world.remove();
    assert!(world.is_refused(5));
    world.write_all(&mut client, b"still");
    assert_eq!(world.read_exactly(&mut server, 5), b"still");
    let address = Listen::new(format!("[::]:{}", world.address.port())).address;
    let error = QuicSocket::bind(&address, world.terms()).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    assert!(world.listeners.as_ref().unwrap().may_free_a_port());
    // When its last connection ends, the port becomes free.
    drop(server);
    eventually("the port is free", || QuicSocket::bind(&address, world.terms()).is_ok());
}

#[test]
fn the_port_of_one_that_was_removed_can_be_had_again() {
    let mut world = World::new();
    let address = Listen::new(format!("[::]:{}", world.address.port())).address;
    for _ in 0..3 {
        drop(world.pair());
        world.remove();
        let mut bound = None;
        eventually("the port is free", || {
            bound = QuicSocket::bind(&address, world.terms()).ok();
            bound.is_some()
        });
        let pass_on = Arc::clone(&world.pass_on);
        let listeners = world.listeners.as_mut().unwrap();
        let ready = listeners.ready(7, bound.unwrap()).unwrap();
        listeners.open(ready, &pass_on);
    }
    world.pair();
}
