//! What a hook is told of a Client beside its name, and what it can change while the Client is
//! connected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use midge_broker::{
    AuthAnswer, AuthReply, AuthRequest, Broker, Hook, Identity, Peer, QoS, ReasonCode, User,
    UserAttribute, UserFacts,
};

use crate::client::{Client, Received};
use crate::support::{address, builder, usage};

/// A hook that gives every user a floor, and decides by it.
#[derive(Default)]
struct Floors {
    /// Whom it has been asked about last.
    asked: Mutex<Option<Identity>>,
    /// Whether the building is closed: then nobody may have anything.
    is_closed: AtomicBool,
    /// Whether everybody has to leave it.
    is_empty: AtomicBool,
}

impl Hook for Floors {
    fn authenticate(&self, request: AuthRequest, _: &Peer, reply: AuthReply) {
        let valid_for = (&*request.client_id == "visitor").then_some(Duration::from_millis(1));
        let attributes = [("floor".into(), UserAttribute::Number(3))].into();
        let facts = UserFacts { attributes, ..UserFacts::default() };
        let user = User { facts, valid_for, ..User::named("ada") };
        reply.answer(AuthAnswer::Allow { user, data: None });
    }

    fn may_stay(&self, _: &Identity) -> bool {
        !self.is_empty.load(Ordering::SeqCst)
    }

    fn may_publish(&self, publisher: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        *self.asked.lock().unwrap() = Some(publisher.clone());
        let facts = publisher.facts.as_ref();
        match facts.and_then(|facts| facts.attributes.get("floor")) {
            Some(UserAttribute::Number(floor)) => topic.starts_with(&format!("floor/{floor}/")),
            _ => false,
        }
    }

    fn may_subscribe(&self, _: &Identity, _: &str, _: QoS) -> bool {
        !self.is_closed.load(Ordering::SeqCst)
    }
}

fn start(workers: usize) -> (Broker, Arc<Floors>) {
    let hook = Arc::new(Floors::default());
    (builder(workers).hook(hook.clone()).start().unwrap(), hook)
}

#[test]
fn a_hook_decides_by_what_authentication_said_and_by_where_the_client_is() {
    let (broker, hook) = start(2);
    let mut client = Client::connect(address(&broker), "c");
    assert_eq!(
        client.publish_acknowledged("floor/3/lamp", b"on"),
        ReasonCode::NoMatchingSubscribers
    );
    assert_eq!(client.publish_acknowledged("floor/4/lamp", b"on"), ReasonCode::NotAuthorized);
    let asked = hook.asked.lock().unwrap().clone().unwrap();
    assert_eq!(asked.user_name.as_deref(), Some("ada"));
    let source = asked.source.unwrap();
    assert_eq!((source.listener, source.address), (Some(0), Some("127.0.0.1".parse().unwrap())));
}

#[test]
fn a_client_is_told_when_its_credential_has_ended() {
    let (broker, _) = start(1);
    let mut client = Client::connect(address(&broker), "visitor");
    assert_eq!(client.receive(), Received::Disconnect(ReasonCode::MaximumConnectTime));
    assert_eq!(client.receive(), Received::Closed);
}

#[test]
fn a_change_of_the_policy_ends_subscriptions_and_connections() {
    for workers in [1, 2] {
        let (broker, hook) = start(workers);
        let mut clients: Vec<_> =
            (0..8).map(|number| Client::connect(address(&broker), &format!("c{number}"))).collect();
        for client in &mut clients {
            client.subscribe("floor/#", QoS::AtMostOnce);
            client.subscribe("$share/group/floor/#", QoS::AtLeastOnce);
        }
        broker.handle().policy_changed();
        clients.iter_mut().for_each(Client::ping);
        assert_eq!((usage(&broker).subscriptions, usage(&broker).shared_subscriptions), (8, 1));
        hook.is_closed.store(true, Ordering::SeqCst);
        broker.handle().policy_changed();
        crate::support::until("they end", || {
            let usage = usage(&broker);
            usage.subscriptions + usage.shared_subscriptions == 0
        });
        clients.iter_mut().for_each(Client::ping);
        hook.is_empty.store(true, Ordering::SeqCst);
        broker.handle().policy_changed();
        for client in &mut clients {
            assert_eq!(client.receive(), Received::Disconnect(ReasonCode::NotAuthorized));
            assert_eq!(client.receive(), Received::Closed);
        }
    }
}
