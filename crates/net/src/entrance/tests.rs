//! Listeners that a poller watches.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::*;
use crate::listen::Listen;
use crate::listener::ListenerAddress;
use crate::listeners::Listeners;
use crate::running_listeners::{ListenerChanges, RunningListeners};

/// No test takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listeners that one poller watches.
struct World {
    running: RunningListeners,
    entrance: Arc<Entrance>,
    poller: Poller,
    /// The connections that the thread has accepted.
    by_thread: Receiver<Accepted>,
    addresses: Vec<SocketAddr>,
}

impl World {
    fn new() -> Self {
        let listeners = Listeners::bind(&[Listen::new("127.0.0.1:0")]).unwrap();
        let (entrance, poller) = (listeners.entrance(), Poller::new().unwrap());
        let addresses = listeners.addresses().iter().filter_map(ListenerAddress::network).collect();
        let (sender, by_thread) = mpsc::channel();
        let pass_on = move |accepted| sender.send(accepted).unwrap();
        let watchers = vec![poller.watcher().unwrap()];
        let running = listeners.start(watchers, pass_on, || Some(0)).unwrap();
        Self { running, entrance, poller, by_thread, addresses }
    }

    /// Waits until the poller reports a listener, and accepts there. Returns how many came.
    fn accept(&mut self, number: usize) -> usize {
        self.poller.wait(Some(Duration::from_millis(100))).unwrap();
        let reported: Vec<_> = self.poller.ready().filter_map(|it| it.listener()).collect();
        let mut count = 0;
        for reported in reported.into_iter().filter(|reported| *reported == number) {
            while self.entrance.accept(reported, |accepted| {
                assert_eq!(accepted.listener, number);
                count += 1;
            }) {}
        }
        count
    }

    /// Connects until somebody was accepted where the poller is. Now and then the thread, which
    /// looks at all listeners once a second, may have been faster.
    fn accept_one_of_many(&mut self, number: usize, address: SocketAddr) {
        let begun = Instant::now();
        let is_accepted = |world: &mut Self| {
            let _client = TcpStream::connect(address).unwrap();
            world.accept(number) > 0
        };
        while !is_accepted(self) {
            assert!(begun.elapsed() < PATIENCE, "the poller does not watch the listener");
        }
    }
}

#[test]
fn a_poller_that_watches_accepts() {
    let mut world = World::new();
    let address = world.addresses[0];
    world.accept_one_of_many(0, address);
    // It watches those, too, that come later.
    let added = vec![(7, Listen::new("127.0.0.1:0"))];
    let ready = world.running.prepare(ListenerChanges { added, ..ListenerChanges::default() });
    let ready = ready.unwrap();
    let added = ready.added().remove(0).1.network().unwrap();
    world.running.carry_out(ready, || ());
    world.accept_one_of_many(7, added);
    world.accept_one_of_many(0, address);
}

#[test]
fn nobody_waits_for_ever_where_the_poller_does_not_come() {
    let world = World::new();
    for _ in 0..2 {
        let client = TcpStream::connect(world.addresses[0]).unwrap();
        let accepted = world.by_thread.recv_timeout(PATIENCE).unwrap();
        assert_eq!(accepted.stream.address().to_string(), client.local_addr().unwrap().to_string());
    }
}

#[test]
fn a_poller_does_not_wait_while_listeners_change() {
    let world = World::new();
    let held = world.entrance.lock();
    let _client = TcpStream::connect(world.addresses[0]).unwrap();
    assert!(!world.entrance.accept(0, |_| panic!("the listeners are held")));
    drop(held);
    world.by_thread.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn when_the_listeners_are_gone_there_is_nobody_to_accept() {
    let World { running, entrance, poller, addresses, .. } = World::new();
    let _client = TcpStream::connect(addresses[0]).unwrap();
    drop(running);
    assert!(!entrance.accept(0, |_| panic!("there is no listener")));
    TcpStream::connect(addresses[0]).unwrap_err();
    drop(poller);
}
