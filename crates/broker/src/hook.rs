//! What an embedding program can decide and learn.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use midge_codec::{QoS, ReasonCode};
use midge_core::{AuthAnswer, AuthRequest, ConnectionId, Event, Identity, Policy};
use midge_net::Peer;

use crate::inbox::{Inbox, Letter};
use crate::program::guard::Guard;

/// Decisions and events of a broker. All methods have a default, which allows what a broker without
/// users allows.
///
/// Hooks are called on the workers' threads and must not block. An authentication that has to ask
/// somebody else keeps its [`AuthReply`] and answers later, from any thread. A hook may publish by
/// a [`BrokerHandle`](crate::BrokerHandle), which never blocks it, but it must not wait for the
/// reply: [`Reply::wait`](crate::Reply::wait) panics there.
///
/// A method that panics refuses: nobody is let in, and nothing is published, subscribed or
/// delivered by that call. The log names the method, and the worker goes on with everybody else.
pub trait Hook: Send + Sync + 'static {
    /// Decides about a Client that wants to connect. Without an answer within the CONNECT deadline
    /// the Client is disconnected.
    ///
    /// `peer` is what the transport knows about the Client: its address, what a proxy said, and
    /// what TLS has proven, such as a verified certificate.
    ///
    /// The default lets everybody in anonymously, and supports no enhanced authentication.
    fn authenticate(&self, request: AuthRequest, peer: &Peer, reply: AuthReply) {
        let _ = peer;
        reply.answer(allow_anonymous(&request));
    }

    /// Returns whether `client` may be connected. Asked for each Client that authentication has let
    /// in, and for all that are connected after
    /// [`BrokerHandle::policy_changed`](crate::BrokerHandle::policy_changed).
    fn may_stay(&self, client: &Identity) -> bool {
        let _ = client;
        true
    }

    /// Returns whether `publisher` may publish to `topic` now. Asked for every message, also for
    /// Will Messages and delayed messages at the moment when they are published.
    fn may_publish(&self, publisher: &Identity, topic: &str, qos: QoS, retain: bool) -> bool {
        let _ = (publisher, topic, qos, retain);
        true
    }

    /// Returns whether `subscriber` may subscribe to `filter`. Asked when it does, when a Session
    /// is restored at the start, after
    /// [`BrokerHandle::policy_changed`](crate::BrokerHandle::policy_changed), and when the user of
    /// a Session has got other attributes; a subscription that is refused ends. After a restart,
    /// only the names of absent Clients are known: their [`Identity::source`] is absent, and so are
    /// their attributes. What a Session has in its queue still asks [`Hook::may_receive`] only.
    fn may_subscribe(&self, subscriber: &Identity, filter: &str, qos: QoS) -> bool {
        let _ = (subscriber, filter, qos);
        true
    }

    /// Returns whether `receiver` may be sent a message of `topic` now. Asked for every delivery,
    /// also of queued and retained messages.
    fn may_receive(&self, receiver: &Identity, topic: &str) -> bool {
        let _ = (receiver, topic);
        true
    }

    /// Is told of an event.
    fn on_event(&self, event: &Event) {
        let _ = event;
    }

    /// Returns whether [`Hook::on_event`] shall also be told of every dropped message.
    fn wants_drops(&self) -> bool {
        false
    }
}

/// The way to answer one [`AuthRequest`]. Dropping it without an answer refuses.
pub struct AuthReply {
    connection: ConnectionId,
    inbox: Option<Arc<Inbox>>,
    kept: Option<Kept>,
}

/// What an enhanced authentication keeps from one step to the next.
pub(crate) type Kept = Box<dyn Any + Send>;

impl AuthReply {
    pub(crate) fn new(connection: ConnectionId, inbox: Arc<Inbox>, kept: Option<Kept>) -> Self {
        Self { connection, inbox: Some(inbox), kept }
    }

    /// Takes what the step before this one has kept by [`AuthReply::go_on`].
    pub fn take_kept(&mut self) -> Option<Box<dyn Any + Send>> {
        self.kept.take()
    }

    /// Sends this Authentication Data, and keeps something until the Client's next step. It is
    /// dropped with the connection.
    pub fn go_on(mut self, data: Option<Box<[u8]>>, kept: Box<dyn Any + Send>) {
        self.kept = Some(kept);
        self.send(AuthAnswer::Continue(data));
    }

    /// Lets the Client in as this user.
    pub fn allow(self, user_name: Option<&str>) {
        let user_name = user_name.map(Into::into);
        self.answer(AuthAnswer::allow(user_name));
    }

    /// Refuses the Client with this Reason Code.
    pub fn refuse(self, reason_code: ReasonCode) {
        self.answer(AuthAnswer::Refuse(reason_code));
    }

    /// Gives any answer, also a step of an enhanced authentication.
    pub fn answer(mut self, answer: AuthAnswer) {
        self.send(answer);
    }

    fn send(&mut self, answer: AuthAnswer) {
        if let Some(inbox) = self.inbox.take() {
            let (connection, kept) = (self.connection, self.kept.take());
            inbox.send(Letter::Authenticated { connection, answer, kept });
        }
    }
}

impl Drop for AuthReply {
    fn drop(&mut self) {
        self.send(AuthAnswer::Refuse(ReasonCode::NotAuthorized));
    }
}

impl fmt::Debug for AuthReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthReply").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Returns the answer of a broker without users.
pub(crate) fn allow_anonymous(request: &AuthRequest) -> AuthAnswer {
    match request.enhanced {
        Some(_) => AuthAnswer::Refuse(ReasonCode::BadAuthenticationMethod), // [MQTT-4.12.0-1]
        None => AuthAnswer::allow(None),
    }
}

/// A hook as the broker calls it, with a panic taken as a refusal.
pub(crate) struct GuardedHook {
    /// Taken only when this is dropped, because dropping the hook may panic, too.
    hook: Option<Arc<dyn Hook>>,
    guard: Guard,
}

impl GuardedHook {
    pub(crate) fn new(hook: Arc<dyn Hook>) -> Self {
        Self { hook: Some(hook), guard: Guard::default() }
    }

    /// Asks the hook. Returns false if it panicked: then no answer is to be waited for.
    pub(crate) fn authenticate(&self, request: AuthRequest, peer: &Peer, reply: AuthReply) -> bool {
        let called =
            self.call("the hook authenticate", |hook| hook.authenticate(request, peer, reply));
        called.is_some()
    }

    pub(crate) fn on_event(&self, event: &Event) {
        self.call("the hook on_event", |hook| hook.on_event(event));
    }

    pub(crate) fn wants_drops(&self) -> bool {
        self.call("the hook wants_drops", Hook::wants_drops).unwrap_or(false)
    }

    fn call<T>(&self, method: &str, call: impl FnOnce(&dyn Hook) -> T) -> Option<T> {
        let hook = self.hook.as_deref()?;
        self.guard.call(method, || call(hook))
    }
}

impl Policy for GuardedHook {
    fn may_stay(&self, client: &Identity) -> bool {
        self.call("the hook may_stay", |hook| hook.may_stay(client)).unwrap_or(false)
    }

    fn may_publish(&self, publisher: &Identity, topic: &str, qos: QoS, retain: bool) -> bool {
        let asked = self
            .call("the hook may_publish", |hook| hook.may_publish(publisher, topic, qos, retain));
        asked.unwrap_or(false)
    }

    fn may_subscribe(&self, subscriber: &Identity, filter: &str, qos: QoS) -> bool {
        let asked =
            self.call("the hook may_subscribe", |hook| hook.may_subscribe(subscriber, filter, qos));
        asked.unwrap_or(false)
    }

    fn may_receive(&self, receiver: &Identity, topic: &str) -> bool {
        self.call("the hook may_receive", |hook| hook.may_receive(receiver, topic)).unwrap_or(false)
    }
}

impl Drop for GuardedHook {
    fn drop(&mut self) {
        let hook = self.hook.take();
        self.guard.call("the end of the hook", || drop(hook));
    }
}
