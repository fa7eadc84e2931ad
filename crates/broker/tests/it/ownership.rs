//! A Client Identifier has one Session in the node, whatever happens in between.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use midge_broker::{AuthAnswer, AuthReply, AuthRequest, Broker, Hook, Peer, Placement, ReasonCode};

use crate::raw::{CONNACK, Raw, connect, connect_v5};
use crate::support::address;

/// Leaves all decisions to the test.
struct Asks(Mutex<Sender<(AuthRequest, AuthReply)>>);

impl Hook for Asks {
    fn authenticate(&self, request: AuthRequest, _: &Peer, reply: AuthReply) {
        self.0.lock().expect("no panic").send((request, reply)).expect("the test listens");
    }
}

fn start() -> (Broker, Receiver<(AuthRequest, AuthReply)>) {
    let (sender, receiver) = mpsc::channel();
    let hook = std::sync::Arc::new(Asks(Mutex::new(sender)));
    let builder = Broker::builder().listen("127.0.0.1:0").workers(2).hook(hook);
    let builder = builder.placement(Placement::Even);
    (builder.start().expect("a free port"), receiver)
}

fn next(asked: &Receiver<(AuthRequest, AuthReply)>) -> (AuthRequest, AuthReply) {
    asked.recv_timeout(Duration::from_secs(5)).expect("the hook is asked")
}

#[test]
fn a_refused_connect_does_not_let_another_worker_make_a_second_session() {
    let (broker, asked) = start();
    let open = || Raw::open(address(&broker));
    let mut clients: Vec<_> = (0..4).map(|_| open()).collect();
    clients[0].write(&[&connect("same")]);
    let (_, first) = next(&asked);
    clients[1].write(&[&connect("same")]);
    next(&asked).1.refuse(ReasonCode::NotAuthorized);
    clients[1].expect(&[0x20, 2, 0, 5]);
    clients[1].expect_end();
    // Wherever these are, they go to the worker that may soon own the first one's Session.
    clients[3].write(&[&connect("same")]);
    let fourth = next(&asked).1;
    clients[2].write(&[&connect("same")]);
    let third = next(&asked).1;
    first.allow(None);
    clients[0].expect(CONNACK);
    third.allow(None);
    fourth.allow(None);
    clients[0].expect_end();
    let sessions = broker.handle().clients().wait().expect("it runs");
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}

/// An assigned Client Identifier belongs to its worker before its CONNECT is decided.
#[test]
fn who_names_an_assigned_identifier_early_makes_no_second_session() {
    for _ in 0..4 {
        let (broker, asked) = start();
        let mut first = Raw::open(address(&broker));
        first.write(&[&connect("")]);
        let (request, reply) = next(&asked);
        assert!(request.is_assigned);
        let mut others: Vec<_> = (0..2).map(|_| Raw::open(address(&broker))).collect();
        for other in &mut others {
            other.write(&[&connect(&request.client_id)]);
            next(&asked).1.allow(None);
            other.expect(CONNACK);
        }
        reply.allow(None);
        // The others came later, one after the other.
        first.expect(b"\x20\x02\0\x03");
        first.expect_end();
        others[0].expect_end();
        let sessions = broker.handle().clients().wait().expect("it runs");
        assert_eq!(sessions.len(), 1, "{sessions:?}");
    }
}

#[test]
fn a_second_connect_is_a_violation_even_if_another_worker_owns_its_identifier() {
    let (broker, asked) = start();
    let open = || Raw::open(address(&broker));
    let mut others: Vec<_> = (0..2).map(|_| open()).collect();
    for (number, other) in others.iter_mut().enumerate() {
        other.write(&[&connect(&format!("other-{number}"))]);
        next(&asked).1.allow(None);
        other.expect(CONNACK);
    }
    for number in 0..2 {
        let mut client = open();
        client.write(&[&connect_v5("client", b"\x15\0\x01m")]);
        next(&asked).1.answer(AuthAnswer::Continue(None));
        client.expect(b"\xF0\x06\x18\x04\x15\0\x01m");
        client.write(&[&connect_v5(&format!("other-{number}"), b"\x15\0\x01m")]);
        client.expect_end();
    }
    assert!(asked.try_recv().is_err(), "nobody is asked about a second CONNECT");
}
