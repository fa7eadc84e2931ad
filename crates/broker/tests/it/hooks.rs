//! What a hook decides and learns: authentication, immediate or later, access, and events.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{
    AuthAnswer, AuthReply, AuthRequest, Broker, DropReason, Event, Hook, Identity, Limits,
    OwnedMessage, Peer, ProtocolVersion, QoS, ReasonCode, User,
};
use midge_codec::Packet;

use crate::client::{Client, Received, bytes_of, connect_packet, publish_packet};
use crate::support::{DEADLINE, address, builder, counters, dropped, limited, until, usage};

/// Passes every request for authentication on to the test.
struct Asking(Mutex<Sender<(AuthRequest, AuthReply)>>);

impl Hook for Asking {
    fn authenticate(&self, request: AuthRequest, _: &Peer, reply: AuthReply) {
        self.0.lock().unwrap().send((request, reply)).unwrap();
    }
}

type Asked = Receiver<(AuthRequest, AuthReply)>;

fn asking(workers: usize) -> (Broker, Asked) {
    let (sender, asked) = channel();
    let hook = Arc::new(Asking(Mutex::new(sender)));
    (builder(workers).hook(hook).start().unwrap(), asked)
}

fn send_connect(broker: &Broker, client_id: &str) -> Client {
    let mut client = Client::open(address(broker));
    let connect = connect_packet(ProtocolVersion::V5, client_id);
    client.send(&Packet::Connect(Box::new(connect)));
    client
}

fn code_of(received: &Received) -> ReasonCode {
    match received {
        Received::ConnAck { code, .. } => *code,
        other => panic!("no CONNACK but {other:?}"),
    }
}

#[test]
fn an_answer_may_come_later_from_another_thread() {
    let (broker, asked) = asking(2);
    let answering = thread::spawn(move || {
        let (request, reply) = asked.recv_timeout(DEADLINE).unwrap();
        reply.allow(request.user_name.as_deref());
        (request.user_name, request.password)
    });
    let mut connect = connect_packet(ProtocolVersion::V5, "c");
    (connect.user_name, connect.password) = (Some("ada"), Some(&b"secret"[..]));
    let mut client = Client::open(address(&broker)).connected(&connect);
    client.ping();
    let (user_name, password) = answering.join().unwrap();
    assert_eq!((user_name.as_deref(), password.as_deref()), (Some("ada"), Some(&b"secret"[..])));
    assert_eq!(broker.handle().clients().wait().unwrap()[0].user_name.as_deref(), Some("ada"));
}

#[test]
fn nothing_is_handled_before_the_answer() {
    let (broker, asked) = asking(1);
    let heard = broker.handle().subscribe("#", QoS::AtMostOnce).wait().unwrap();
    let connect = connect_packet(ProtocolVersion::V5, "eager");
    let connect = Packet::Connect(Box::new(connect));
    let publish = publish_packet("t", b"early", QoS::AtLeastOnce, Some(1));
    let mut client = Client::open(address(&broker));
    let both = [connect, publish].map(|packet| bytes_of(&packet, ProtocolVersion::V5)).concat();
    client.send_bytes(&both);
    let (_, reply) = asked.recv_timeout(DEADLINE).unwrap();
    assert_eq!(counters(&broker).bytes_received, both.len() as u64);
    assert_eq!(counters(&broker).messages_received, 0);
    reply.allow(None);
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), b"early");
    assert_eq!(code_of(&client.receive()), ReasonCode::Success);
    assert!(matches!(client.receive(), Received::Ack { .. }));
}

#[test]
fn a_refusal_is_told_and_a_dropped_reply_is_one() {
    let (broker, asked) = asking(2);
    let mut client = send_connect(&broker, "one");
    asked.recv_timeout(DEADLINE).unwrap().1.refuse(ReasonCode::Banned);
    assert_eq!(code_of(&client.receive()), ReasonCode::Banned);
    assert_eq!(client.receive(), Received::Closed);
    let mut client = send_connect(&broker, "two");
    drop(asked.recv_timeout(DEADLINE).unwrap());
    assert_eq!(code_of(&client.receive()), ReasonCode::NotAuthorized);
    assert_eq!(client.receive(), Received::Closed);
    until("nothing is left", || usage(&broker).connections + usage(&broker).sessions == 0);
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let (sender, asked) = channel();
    let limits = Limits { connect_deadline_ms: 50, ..Limits::default() };
    let hook = Arc::new(Asking(Mutex::new(sender)));
    let broker = builder(1).hook(hook).limits(limits).start().unwrap();
    let mut client = send_connect(&broker, "late");
    let (_, reply) = asked.recv_timeout(DEADLINE).unwrap();
    assert_eq!(client.receive(), Received::Closed);
    let mut other = send_connect(&broker, "other");
    reply.allow(None);
    let (request, reply) = asked.recv_timeout(DEADLINE).unwrap();
    assert_eq!(&*request.client_id, "other");
    reply.allow(None);
    assert_eq!(code_of(&other.receive()), ReasonCode::Success);
    assert_eq!(broker.handle().clients().wait().unwrap().len(), 1);
}

#[test]
fn whoever_connected_last_has_the_session_in_whatever_order_the_hook_answers() {
    for workers in [1, 2] {
        let (broker, asked) = asking(workers);
        let mut first = send_connect(&broker, "same");
        let (_, first_reply) = asked.recv_timeout(DEADLINE).unwrap();
        let mut last = send_connect(&broker, "same");
        asked.recv_timeout(DEADLINE).unwrap().1.allow(None);
        assert_eq!(code_of(&last.receive()), ReasonCode::Success);
        first_reply.allow(None);
        assert_eq!(code_of(&first.receive()), ReasonCode::ServerBusy);
        assert_eq!(first.receive(), Received::Closed);
        last.ping();
    }
}

/// The time that a CONNECT has waited for an old connection does not count against the hook.
#[test]
fn a_connect_that_has_waited_has_its_deadline_for_the_answer() {
    const CONNECT_DEADLINE: Duration = Duration::from_millis(250);
    let (sender, asked) = channel();
    let limits = Limits { connect_deadline_ms: 250, ..Limits::default() };
    let hook = Arc::new(Asking(Mutex::new(sender)));
    let broker = builder(1).hook(hook).limits(limits).start().unwrap();
    let mut old = send_connect(&broker, "same");
    asked.recv_timeout(DEADLINE).unwrap().1.allow(None);
    assert_eq!(code_of(&old.receive()), ReasonCode::Success);
    let publish = bytes_of(&publish_packet("t", b"", QoS::AtMostOnce, None), ProtocolVersion::V5);
    until("a hook has answered in time", || {
        old.send_bytes(&publish[..3]);
        let mut new = send_connect(&broker, "same");
        let (_, reply) = asked.recv_timeout(DEADLINE).unwrap();
        let begun = Instant::now();
        thread::sleep(CONNECT_DEADLINE / 2); // as a slow hook does
        reply.allow(None);
        let is_in_time = begun.elapsed() < CONNECT_DEADLINE * 3 / 4;
        match new.receive() {
            Received::Closed if !is_in_time => old.send_bytes(&publish[3..]),
            answer => {
                assert_eq!(code_of(&answer), ReasonCode::Success);
                old = new;
            }
        }
        is_in_time
    });
}

/// A refused Client is told, and the refusal is counted.
#[test]
fn a_refusal_is_told_though_the_client_has_closed_its_half() {
    let (broker, asked) = asking(1);
    let mut old = send_connect(&broker, "same");
    asked.recv_timeout(DEADLINE).unwrap().1.allow(None);
    assert_eq!(code_of(&old.receive()), ReasonCode::Success);
    let mut stranger = send_connect(&broker, "same");
    stranger.shutdown_write();
    let (_, reply) = asked.recv_timeout(DEADLINE).unwrap();
    old.ping(); // by then the broker has seen the end of the stream
    reply.refuse(ReasonCode::BadUserNameOrPassword);
    assert_eq!(code_of(&stranger.receive()), ReasonCode::BadUserNameOrPassword);
    assert_eq!(counters(&broker).connects_refused, 1);
    old.ping();
}

#[test]
fn a_connect_that_was_given_up_before_the_answer_takes_nothing_over() {
    let (broker, asked) = asking(1);
    let mut old = send_connect(&broker, "same");
    asked.recv_timeout(DEADLINE).unwrap().1.allow(None);
    assert_eq!(code_of(&old.receive()), ReasonCode::Success);
    let new = send_connect(&broker, "same");
    let (_, reply) = asked.recv_timeout(DEADLINE).unwrap();
    drop(new);
    old.ping(); // by then the broker has seen the end of the stream
    reply.allow(None);
    until("it has gone", || usage(&broker).connections == 1);
    old.ping();
    assert_eq!(counters(&broker).sessions_taken_over, 0);
}

#[test]
fn answers_to_a_broker_that_is_gone_go_nowhere() {
    let (broker, asked) = asking(1);
    let mut client = send_connect(&broker, "c");
    let (_, reply) = asked.recv_timeout(DEADLINE).unwrap();
    drop(broker);
    reply.allow(None);
    assert_eq!(client.receive(), Received::Closed);
}

/// A refused CONNECT must not take its claim to a Client Identifier away from another CONNECT that
/// asks for it too: otherwise two workers would have a Session for it.
#[test]
fn s17_a_refused_connect_leaves_the_claim_of_another() {
    let (broker, asked) = asking(2);
    let ask = |client_id: &str| {
        let client = send_connect(&broker, client_id);
        (client, asked.recv_timeout(DEADLINE).unwrap().1)
    };
    let (mut refused, refusing) = ask("same");
    let (mut first, allowing_first) = ask("same");
    refusing.refuse(ReasonCode::NotAuthorized);
    assert_eq!(code_of(&refused.receive()), ReasonCode::NotAuthorized);
    assert_eq!(refused.receive(), Received::Closed);
    // These connect to the other worker, which has no connection yet.
    let mut later: Vec<_> = (0..4).map(|_| ask("same")).collect();
    let mut connected = Vec::new();
    allowing_first.allow(None);
    assert_eq!(code_of(&first.receive()), ReasonCode::Success);
    for (mut client, allowing) in later.drain(..) {
        allowing.allow(None);
        assert_eq!(code_of(&client.receive()), ReasonCode::Success);
        connected.push(client);
    }
    let clients = broker.handle().clients().wait().unwrap();
    let same = clients.iter().filter(|client| &*client.client_id == "same").count();
    assert_eq!(same, 1, "{clients:?}");
}

/// A toy method: the Client has to send its challenge back reversed.
struct Reversing {
    refuses_again: bool,
}

impl Hook for Reversing {
    fn authenticate(&self, request: AuthRequest, _: &Peer, reply: AuthReply) {
        let Some(step) = request.enhanced else {
            return reply.refuse(ReasonCode::BadUserNameOrPassword);
        };
        if &*step.method != "reverse" {
            return reply.refuse(ReasonCode::BadAuthenticationMethod);
        }
        match step.data.as_deref() {
            None | Some(b"") => reply.answer(AuthAnswer::Continue(Some(b"abc"[..].into()))),
            Some(b"cba") if self.refuses_again && step.reauthentication => {
                reply.refuse(ReasonCode::NotAuthorized);
            }
            Some(b"cba") => {
                let data = Some(b"welcome"[..].into());
                reply.answer(AuthAnswer::Allow { user: User::named("rev"), data });
            }
            Some(_) => reply.refuse(ReasonCode::NotAuthorized),
        }
    }
}

fn reversing(refuses_again: bool, workers: usize) -> Broker {
    builder(workers).hook(Arc::new(Reversing { refuses_again })).start().unwrap()
}

fn begin_reverse(broker: &Broker, client_id: &str) -> Client {
    let mut connect = connect_packet(ProtocolVersion::V5, client_id);
    connect.properties.authentication_method = Some("reverse");
    let mut client = Client::open(address(broker));
    let challenge = client.request(&connect);
    let code = ReasonCode::ContinueAuthentication;
    assert_eq!(challenge, Received::Auth { code, data: Some(b"abc".to_vec()) });
    client
}

#[test]
fn enhanced_authentication_with_challenge_success_and_again() {
    let broker = reversing(false, 2);
    let mut client = begin_reverse(&broker, "e");
    client.send_auth(ReasonCode::ContinueAuthentication, "reverse", b"cba");
    let (code, data) = (ReasonCode::Success, Some(b"welcome".to_vec()));
    let accepted = Received::ConnAck { session_present: false, code, data: data.clone() };
    assert_eq!(client.receive(), accepted);
    assert_eq!(broker.handle().clients().wait().unwrap()[0].user_name.as_deref(), Some("rev"));

    client.send_auth(ReasonCode::ReAuthenticate, "reverse", b"");
    let again = ReasonCode::ContinueAuthentication;
    assert_eq!(client.receive(), Received::Auth { code: again, data: Some(b"abc".to_vec()) });
    client.ping();
    client.send_auth(ReasonCode::ContinueAuthentication, "reverse", b"cba");
    assert_eq!(client.receive(), Received::Auth { code, data });
    client.ping();
}

#[test]
fn enhanced_authentication_that_fails_ends_the_connection() {
    let broker = reversing(true, 1);
    let mut wrong = begin_reverse(&broker, "wrong");
    wrong.send_auth(ReasonCode::ContinueAuthentication, "reverse", b"abc");
    assert_eq!(code_of(&wrong.receive()), ReasonCode::NotAuthorized);
    assert_eq!(wrong.receive(), Received::Closed);

    let mut again = begin_reverse(&broker, "again");
    again.send_auth(ReasonCode::ContinueAuthentication, "reverse", b"cba");
    assert_eq!(code_of(&again.receive()), ReasonCode::Success);
    again.send_auth(ReasonCode::ReAuthenticate, "reverse", b"cba");
    assert_eq!(again.receive(), Received::Disconnect(ReasonCode::NotAuthorized));
    assert_eq!(again.receive(), Received::Closed);

    let mut unknown = connect_packet(ProtocolVersion::V5, "unknown");
    unknown.properties.authentication_method = Some("other");
    let answer = Client::open(address(&broker)).request(&unknown);
    assert_eq!(code_of(&answer), ReasonCode::BadAuthenticationMethod);
}

/// While a CONNECT is being authenticated, nothing may move the connection to another worker.
#[test]
fn s09_a_second_connect_amid_authentication_is_a_violation() {
    let broker = reversing(false, 2);
    let _owners: Vec<_> = (0..4)
        .map(|number| {
            let mut client = begin_reverse(&broker, &format!("owner{number}"));
            client.send_auth(ReasonCode::ContinueAuthentication, "reverse", b"cba");
            assert_eq!(code_of(&client.receive()), ReasonCode::Success);
            client
        })
        .collect();
    for number in 0..4 {
        let mut client = begin_reverse(&broker, "first");
        let second = format!("owner{number}");
        let mut connect = connect_packet(ProtocolVersion::V5, &second);
        connect.properties.authentication_method = Some("reverse");
        assert_eq!(client.request(&connect), Received::Closed);
    }
    assert_eq!(counters(&broker).protocol_violations, 4);
}

/// Answers what the table says, and allows everything else.
#[derive(Default)]
struct Rules(Mutex<HashMap<(&'static str, String), bool>>);

impl Rules {
    fn deny(&self, what: &'static str, name: &str) {
        self.0.lock().unwrap().insert((what, name.to_string()), false);
    }

    fn may(&self, what: &'static str, name: &str) -> bool {
        *self.0.lock().unwrap().get(&(what, name.to_string())).unwrap_or(&true)
    }
}

impl Hook for Rules {
    fn may_publish(&self, publisher: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        assert!(!publisher.client_id.is_empty());
        self.may("publish", topic)
    }

    fn may_subscribe(&self, _: &Identity, filter: &str, _: QoS) -> bool {
        self.may("subscribe", filter)
    }

    fn may_receive(&self, receiver: &Identity, _: &str) -> bool {
        self.may("receive", &receiver.client_id)
    }
}

#[test]
fn access_is_asked_for_every_publish_subscription_and_delivery() {
    let rules = Arc::new(Rules::default());
    let broker = builder(2).hook(Arc::clone(&rules) as Arc<dyn Hook>).start().unwrap();
    rules.deny("publish", "locked");
    rules.deny("subscribe", "secret/#");
    rules.deny("receive", "outsider");
    let mut one = Client::connect(address(&broker), "one");
    let mut outsider = Client::connect(address(&broker), "outsider");
    assert_eq!(one.try_subscribe("secret/#", QoS::AtMostOnce), ReasonCode::NotAuthorized);
    one.subscribe("#", QoS::AtMostOnce);
    outsider.subscribe("#", QoS::AtMostOnce);
    assert_eq!(one.publish_acknowledged("locked", b""), ReasonCode::NotAuthorized);
    assert_eq!(one.publish_acknowledged("open", b"yes"), ReasonCode::Success);
    assert_eq!(one.message().payload, b"yes");
    outsider.ping();
    assert_eq!(outsider.receive_within(Duration::ZERO), None);
    assert_eq!(dropped(&broker, DropReason::DeliveryNotAuthorized), 1);

    let handle = broker.handle();
    let refused = handle.publish(OwnedMessage::new("locked", "").unwrap()).wait();
    let reason = DropReason::PublishNotAuthorized;
    assert_eq!(refused, Err(midge_broker::RequestError::Dropped(reason)));
    let refused = handle.subscribe("secret/#", QoS::AtMostOnce).wait().err();
    let expected = midge_broker::RequestError::Refused(ReasonCode::NotAuthorized);
    assert_eq!(refused, Some(expected));

    rules.deny("publish", "open");
    assert_eq!(one.publish_acknowledged("open", b"no"), ReasonCode::NotAuthorized);
}

/// Passes every event on to the test.
struct Listening(Mutex<Sender<Event>>);

impl Hook for Listening {
    fn on_event(&self, event: &Event) {
        let _ = self.0.lock().unwrap().send(event.clone());
    }

    fn wants_drops(&self) -> bool {
        true
    }
}

#[test]
fn events_tell_the_life_of_a_client_in_order() {
    let (sender, events) = channel();
    let hook = Arc::new(Listening(Mutex::new(sender)));
    let broker = builder(1).hook(hook).start().unwrap();
    let mut client = Client::connect(address(&broker), "c");
    client.subscribe("a", QoS::AtLeastOnce);
    client.publish_acknowledged("nobody", b"");
    client.disconnect();
    let mut told = Vec::new();
    while told.last() != Some(&"ended c".to_string()) {
        let event = events.recv_timeout(DEADLINE).unwrap();
        told.push(match event {
            Event::Connected { client, session_present, .. } => {
                format!("connected {} {session_present}", client.client_id)
            }
            Event::Subscribed { client, filter, reason_code } => {
                format!("subscribed {} {filter} {reason_code:?}", client.client_id)
            }
            Event::Dropped { topic, reason, .. } => format!("dropped {topic} {}", reason.name()),
            Event::Disconnected { client, reason, .. } => {
                format!("disconnected {} {reason}", client.unwrap().client_id)
            }
            Event::SessionEnded { client } => format!("ended {}", client.client_id),
            other => format!("{other:?}"),
        });
    }
    let expected = [
        "connected c false",
        "subscribed c a GrantedQoS1",
        "dropped nobody no_subscriber",
        "disconnected c the client disconnected",
        "ended c",
    ];
    assert_eq!(told, expected);
}

#[test]
fn without_a_hook_enhanced_authentication_is_refused() {
    let broker = limited(|_| ());
    let mut connect = connect_packet(ProtocolVersion::V5, "c");
    connect.properties.authentication_method = Some("any");
    let answer = Client::open(address(&broker)).request(&connect);
    assert_eq!(code_of(&answer), ReasonCode::BadAuthenticationMethod);
}

/// Panics whenever it is asked about this name.
struct Fragile(&'static str);

impl Fragile {
    fn touch(&self, what: &str) {
        assert!(!what.contains(self.0), "the hook of a test breaks at {what}");
    }
}

impl Hook for Fragile {
    fn authenticate(&self, request: AuthRequest, _: &Peer, reply: AuthReply) {
        self.touch(request.client_id.strip_prefix("login-").unwrap_or_default());
        reply.allow(None);
    }

    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        self.touch(topic.strip_prefix("publish/").unwrap_or_default());
        true
    }

    fn may_subscribe(&self, _: &Identity, filter: &str, _: QoS) -> bool {
        self.touch(filter.strip_prefix("subscribe/").unwrap_or_default());
        true
    }

    fn may_receive(&self, _: &Identity, topic: &str) -> bool {
        self.touch(topic.strip_prefix("receive/").unwrap_or_default());
        true
    }

    fn on_event(&self, event: &Event) {
        if let Event::Connected { client, .. } = event {
            self.touch(client.client_id.strip_prefix("event-").unwrap_or_default());
        }
    }

    fn wants_drops(&self) -> bool {
        self.touch("broken by drops");
        true
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.touch("broken to the end");
    }
}

#[test]
fn a_hook_that_panics_refuses_and_disturbs_nobody() {
    let broker = builder(1).hook(Arc::new(Fragile("broken"))).start().unwrap();
    let mut other = Client::connect(address(&broker), "other");
    let refused = send_connect(&broker, "login-broken").receive();
    assert_eq!(code_of(&refused), ReasonCode::NotAuthorized);

    assert_eq!(other.publish_acknowledged("publish/broken", b"x"), ReasonCode::NotAuthorized);
    let code = other.try_subscribe("subscribe/broken", QoS::AtMostOnce);
    assert_eq!(code, ReasonCode::NotAuthorized);
    other.subscribe("receive/#", QoS::AtLeastOnce);
    let handle = broker.handle();
    for topic in ["receive/broken", "receive/whole"] {
        handle.publish(OwnedMessage::new(topic, "x").unwrap()).wait().unwrap();
    }
    assert_eq!(other.message().topic, "receive/whole");

    // The events still happen when the hook that is told about them panics.
    let mut told = Client::connect(address(&broker), "event-broken");
    told.ping();
    other.ping();
}

/// Keeps the reply and panics: a later answer does not count.
#[test]
fn a_panic_beside_a_kept_reply_is_a_refusal() {
    struct Keeping(Mutex<Sender<AuthReply>>);
    impl Hook for Keeping {
        fn authenticate(&self, _: AuthRequest, _: &Peer, reply: AuthReply) {
            self.0.lock().unwrap().send(reply).unwrap();
            panic!("the hook of a test breaks");
        }
    }
    let (sender, kept) = channel();
    let broker = builder(1).hook(Arc::new(Keeping(Mutex::new(sender)))).start().unwrap();
    let mut client = send_connect(&broker, "c");
    assert_eq!(code_of(&client.receive()), ReasonCode::NotAuthorized);
    kept.recv_timeout(DEADLINE).unwrap().allow(None);
    assert_eq!(client.receive(), Received::Closed);
    assert_eq!(usage(&broker).sessions, 0);
}

/// Workers call the program's wakers, too.
#[test]
fn a_waker_that_panics_disturbs_nobody() {
    struct Sore;
    impl std::task::Wake for Sore {
        fn wake(self: Arc<Self>) {
            panic!("the waker of a test breaks");
        }
    }
    let broker = builder(1).start().unwrap();
    let mut subscription = broker.handle().subscribe("t", QoS::AtMostOnce).wait().unwrap();
    let waker = std::task::Waker::from(Arc::new(Sore));
    let mut context = std::task::Context::from_waker(&waker);
    {
        let next = std::pin::pin!(subscription.next());
        assert!(Future::poll(next, &mut context).is_pending());
    }
    let mut client = Client::connect(address(&broker), "c");
    assert_eq!(client.publish_acknowledged("t", b"x"), ReasonCode::Success);
    assert_eq!(subscription.recv_timeout(DEADLINE).unwrap().payload(), b"x");
    client.ping();
}
