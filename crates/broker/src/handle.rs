//! Requests to a running broker from the embedding program and everything else that is not a
//! Client.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use midge_codec::{QoS, ReasonCode, SubscriptionOptions};
use midge_core::{
    ClientDetails, ClientInfo, ClientPage, Counters, PROGRAM_CLIENT_ID_PREFIX, Settings, Usage,
    WorkerId,
};
use midge_net::{ListenError, ListenerAddress, ListenerFigures, Renewal};
use midge_store::StoreUsage;

use crate::access::{Access, AccessControl};
use crate::directory::Directory;
use crate::figures::Snapshot;
use crate::inbox::{Inbox, Letter, LocalMessage, LocalSubscribe, OpenSession};
use crate::listener_terms::ListenerSettings;
use crate::listeners::{BrokerListeners, Listener, ListenerChange};
use crate::program::event_hub::{EventHub, EventStream};
use crate::program::guard::must_not_wait;
use crate::program::message::OwnedMessage;
use crate::program::publish_window::{Permit, PublishWindow};
use crate::program::reply::{Answer, NoRoom, Reply, RequestError, Stopped, block_on, request};
use crate::program::session::{ProgramSession, SessionOptions};
use crate::program::subscription::Subscription;
use crate::storage::{Order, Orders};

/// A handle to a running broker; cheap to clone, usable from any thread or task.
#[derive(Clone)]
pub struct BrokerHandle {
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    /// Absent if there is one worker only.
    pub(crate) directory: Option<Arc<Directory>>,
    orders: Option<Arc<Orders>>,
    listeners: Arc<BrokerListeners>,
    pub(crate) publish_window: Arc<PublishWindow>,
    next: Arc<AtomicUsize>,
    started: Instant,
    pub(crate) events: Arc<EventHub>,
    /// Present if the broker has users or access rules.
    pub(crate) access: Option<Arc<AccessControl>>,
}

/// Where a list of Sessions goes on: see [`BrokerHandle::list_clients`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCursor {
    worker: u32,
    place: u32,
}

impl ClientCursor {
    /// How many Sessions a page has at most.
    pub const PAGE: usize = 256;

    /// Returns the cursor as a number, for example for a URL.
    pub fn to_number(self) -> u64 {
        u64::from(self.worker) << 32 | u64::from(self.place)
    }

    /// Returns the cursor that has this number. Any number will do: there is nothing behind one
    /// that no list has given out.
    pub fn from_number(number: u64) -> Self {
        Self { worker: (number >> 32) as u32, place: number as u32 }
    }

    /// The cursor of the page that follows, when the present one's worker goes on at `next`.
    fn after(self, next: Option<u32>, workers: usize) -> Option<Self> {
        match next {
            Some(place) => Some(Self { place, ..self }),
            None => Some(Self { worker: self.worker.saturating_add(1), place: 0 })
                .filter(|next| (next.worker as usize) < workers),
        }
    }
}

impl BrokerHandle {
    pub(crate) fn new(
        inboxes: Arc<[Arc<Inbox>]>,
        directory: Option<Arc<Directory>>,
        orders: Option<Arc<Orders>>,
        listeners: Arc<BrokerListeners>,
        publish_window: Arc<PublishWindow>,
        access: Option<Arc<AccessControl>>,
    ) -> Self {
        Self {
            inboxes,
            directory,
            orders,
            listeners,
            publish_window,
            next: Arc::new(AtomicUsize::new(0)),
            started: Instant::now(),
            events: Arc::default(),
            access,
        }
    }

    /// Returns the present listeners, in the order in which they were asked for.
    pub fn listeners(&self) -> Vec<Listener> {
        self.listeners.all()
    }

    /// Returns how many connections each listener has let in and refused.
    pub fn listener_figures(&self) -> Vec<(ListenerAddress, ListenerFigures)> {
        let figures = self.listeners.control.figures();
        figures.into_iter().map(|(_, address, figures)| (address, figures)).collect()
    }

    /// Reads the certificates, keys, authorities and revocation lists of all listeners again. Says
    /// for each listener with TLS whether new ones are in effect, or why the old ones stay. No
    /// connection is dropped. Changed files are also read again without this call, within seconds.
    pub fn reload_certificates(&self) -> Vec<Renewal> {
        self.listeners.control.reload_certificates()
    }

    /// Changes the settings that can be changed while the broker runs. Each worker takes the new
    /// values at its next turn. Connections and Sessions stay as they are.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn reconfigure(&self, settings: Settings) -> Result<(), ListenError> {
        self.listeners.reconfigure(settings, None).map(|_| ())
    }

    /// Changes the settings and replaces all present listeners by these. New ones are bound before
    /// anything is changed. A listener that stays at its place
    /// ([`Listen::is_at_place_of`](crate::Listen::is_at_place_of)) keeps its socket, whatever else
    /// about it is new, and refuses nobody meanwhile; connections that exist keep the settings that
    /// they came by. A listener that is no longer among these is closed, and its connections end:
    /// MQTT 5 Clients are told 0x98 Administrative action, and their Sessions stay.
    ///
    /// Waits a few seconds at most for a QUIC port that the last change has given up.
    ///
    /// # Errors
    ///
    /// One of the listeners cannot be made as asked for, or the broker has stopped. Nothing has
    /// changed then, not even the settings.
    pub fn reconfigure_with(
        &self,
        settings: Settings,
        listeners: &[ListenerSettings],
    ) -> Result<Vec<ListenerChange>, ListenError> {
        self.listeners.reconfigure(settings, Some(listeners))
    }

    /// Tells the broker that the answers of its [`Hook`](crate::Hook) have changed. Whatever is
    /// published, subscribed and sent asks the hook anyway. In addition, within the next turns of
    /// the workers, Clients that may not stay are disconnected (MQTT 5 Clients are told 0x87 Not
    /// authorized), and subscriptions that are not allowed any more end, also those of absent
    /// Clients.
    pub fn policy_changed(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.send(Letter::PolicyChanged));
    }

    /// Replaces what [`BrokerBuilder::access`](crate::BrokerBuilder::access) has set. Within the
    /// next turns of the workers, everything that is not allowed any more ends, as after
    /// [`BrokerHandle::policy_changed`]. Returns false, and changes nothing, if the broker was
    /// started without.
    pub fn set_access(&self, access: Access) -> bool {
        let Some(control) = &self.access else {
            return false;
        };
        control.replace(access);
        self.policy_changed();
        true
    }

    /// Sets whose packets the log shows at its level `trace` from now on, by Client Identifier;
    /// `None` for everybody's. Raising the level later shows no other packets.
    pub fn trace_client(&self, client_id: Option<&str>) {
        let client_id: Option<Arc<str>> = client_id.map(Into::into);
        self.inboxes.iter().for_each(|inbox| inbox.send(Letter::Trace(client_id.clone())));
    }

    /// Publishes a message. The reply says how many receivers matched. For QoS 1 and 2 it comes
    /// when everything that has to be kept of the message is as durable as configured. Messages
    /// published by one handle, or its clones, to one topic keep their order.
    ///
    /// The replies need not be waited for one by one; those to messages of
    /// [`BrokerBuilder::publish_bytes_max`](crate::BrokerBuilder::publish_bytes_max) bytes may be
    /// outstanding. With more, this blocks the thread until half of them have come; tasks should
    /// use [`BrokerHandle::publish_async`]. So should a thread that runs such tasks: room that a
    /// task has been given stays its own until it publishes or is dropped. This never blocks a
    /// [`Hook`](crate::Hook), nor a log that runs on a thread of the broker: then the reply is
    /// [`RequestError::NoRoom`].
    ///
    /// ```
    /// # use midge_broker::{Broker, OwnedMessage, QoS};
    /// # let handle = Broker::builder().start()?;
    /// # let handle = handle.handle();
    /// let message = OwnedMessage::new("sensors/1", "21.5")?.qos(QoS::AtLeastOnce);
    /// let receivers = handle.publish(message).wait();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A gate or a limit refused the message, or the broker has stopped.
    pub fn publish(&self, message: OwnedMessage) -> Reply<usize, RequestError> {
        match self.try_publish(message) {
            Ok(reply) => reply,
            Err(NoRoom(_)) if must_not_wait() => Reply::refused(RequestError::NoRoom),
            Err(NoRoom(message)) => {
                let permit = block_on(self.publish_window.enter(message.size()));
                self.send_publish(message, permit)
            }
        }
    }

    /// Does the same as [`BrokerHandle::publish`] in a task: waits for room without blocking the
    /// thread. The result is the reply, which may be awaited, too. Dropping the future before it is
    /// ready publishes nothing.
    ///
    /// ```
    /// # async fn publish(handle: midge_broker::BrokerHandle, message: midge_broker::OwnedMessage)
    /// #     -> Result<(), midge_broker::RequestError> {
    /// let reply = handle.publish_async(message).await;
    /// let receivers = reply.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the reply are the same as for [`BrokerHandle::publish`].
    pub async fn publish_async(&self, message: OwnedMessage) -> Reply<usize, RequestError> {
        let permit = self.publish_window.enter(message.size()).await;
        self.send_publish(message, permit)
    }

    /// Does the same as [`BrokerHandle::publish`], but does not wait for room.
    ///
    /// # Errors
    ///
    /// There is no room, or others wait for room already. The error has the message.
    pub fn try_publish(&self, message: OwnedMessage) -> Result<Reply<usize, RequestError>, NoRoom> {
        match self.publish_window.try_enter(message.size()) {
            Some(permit) => Ok(self.send_publish(message, permit)),
            None => Err(NoRoom(message)),
        }
    }

    fn send_publish(&self, message: OwnedMessage, permit: Permit) -> Reply<usize, RequestError> {
        let (answer, reply) = request();
        let inbox = self.publisher_of(message.topic());
        inbox.send(Letter::Publish(Box::new(LocalMessage { message, permit, answer })));
        reply
    }

    /// Returns the inbox of the worker that publishes to this topic. It is always the same one: a
    /// message that came in by the least busy worker of the moment could overtake an earlier one of
    /// its topic, which another worker has put off or not yet sent on, although it has answered.
    fn publisher_of(&self, topic: &str) -> &Inbox {
        let hash = foldhash::fast::FixedState::default().hash_one(topic);
        &self.inboxes[(hash % self.inboxes.len() as u64) as usize]
    }

    /// Subscribes inside the process. The reply comes when the subscription is in effect. Dropping
    /// the reply leaves no subscription behind.
    ///
    /// # Errors
    ///
    /// The filter is invalid or not authorized, or the broker has stopped.
    pub fn subscribe(&self, filter: &str, qos: QoS) -> Reply<Subscription, RequestError> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        let (answer, reply) = request();
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        self.inboxes[index].send(Letter::Subscribe(Box::new(LocalSubscribe {
            filter: filter.into(),
            options,
            answer,
        })));
        reply
    }

    /// Opens a Session of the program itself, and subscribes to these filters beside those that the
    /// Session has already. The reply comes when the subscriptions are in effect.
    ///
    /// It is a Session like that of a Client, whose Client Identifier is `$program/` and `name`. If
    /// the broker has a store, the Session is in it: it goes on after a restart, what waits for it
    /// is held to the limits of a Session's queue, and a message is gone only when the program has
    /// acknowledged it. What is not acknowledged comes again when the Session is opened the next
    /// time. A program that opens the Session while it is open takes it over.
    ///
    /// ```no_run
    /// # use midge_broker::{BrokerHandle, QoS, RequestError, SessionOptions};
    /// # fn archive(handle: &BrokerHandle) -> Result<(), RequestError> {
    /// let filters = [("sensors/#", QoS::AtLeastOnce)];
    /// let session = handle.open_session("archive", &filters, SessionOptions::default()).wait()?;
    /// while let Some(message) = session.recv() {
    ///     // Write it somewhere, and then:
    ///     message.acknowledge();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The name is empty, too long or contains U+0000, a filter is invalid or not authorized, there
    /// is no room, or the broker has stopped.
    pub fn open_session(
        &self,
        name: &str,
        filters: &[(&str, QoS)],
        options: SessionOptions,
    ) -> Reply<ProgramSession, RequestError> {
        if name.is_empty() || name.contains('\0') {
            return Reply::refused(RequestError::Refused(ReasonCode::ClientIdentifierNotValid));
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        let (answer, reply) = request();
        self.inboxes[index].send(Letter::OpenSession(Box::new(OpenSession {
            client_id: format!("{PROGRAM_CLIENT_ID_PREFIX}{name}").into(),
            filters: filters.iter().map(|(filter, qos)| ((*filter).into(), *qos)).collect(),
            options,
            answer,
        })));
        reply
    }

    /// Returns all Sessions, connected or not. The workers are asked page by page, so that they
    /// serve their Clients in between, and only while the reply is waited for; a Session that comes
    /// or goes meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn clients(&self) -> Reply<Vec<ClientInfo>> {
        let handle = self.clone();
        Reply::of(async move {
            let mut clients = Vec::new();
            let mut next = Some(ClientCursor::default());
            while let Some(cursor) = next {
                let page;
                (page, next) = handle.list_clients(cursor, ClientCursor::PAGE).await?;
                clients.extend(page);
            }
            Ok(clients)
        })
    }

    /// Returns some Sessions, and where to go on; `None` after the last one. Begin with the default
    /// cursor. A page has at most `most` Sessions, and never more than [`ClientCursor::PAGE`]; it
    /// may have fewer, or none, although there are more. A Session that is there all the time is on
    /// exactly one page, whatever comes and goes between them; only one that moves to another
    /// worker meanwhile may be on two pages, or on none.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn list_clients(
        &self,
        cursor: ClientCursor,
        most: usize,
    ) -> Reply<(Vec<ClientInfo>, Option<ClientCursor>)> {
        let (answer, reply) = request::<ClientPage, Stopped>();
        let most = most.clamp(1, ClientCursor::PAGE);
        match self.inboxes.get(cursor.worker as usize) {
            Some(inbox) => inbox.send(Letter::Clients { from: cursor.place, most, answer }),
            None => answer.send(ClientPage::default()),
        }
        let workers = self.inboxes.len();
        Reply::of(async move {
            let page = reply.await?;
            Ok((page.clients, cursor.after(page.next, workers)))
        })
    }

    /// Returns one Session in depth, connected or not; `None` if there is none of this Client.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn client(&self, client_id: &str) -> Reply<Option<ClientDetails>> {
        let letter = |answer| Letter::Client { client_id: client_id.into(), answer };
        self.ask_owner(client_id, letter, |found| found.into_iter().flatten().next())
    }

    /// Opens a stream of what happens to Clients from now on: connections, refusals,
    /// subscriptions, ends of Sessions. At most `events_max` events wait in it; further ones are
    /// missed and counted. Dropped messages are not among them: see
    /// [`Hook::wants_drops`](crate::Hook::wants_drops).
    pub fn events(&self, events_max: usize) -> EventStream {
        Arc::clone(&self.events).open(events_max)
    }

    /// Returns what the store takes and holds; `None` if everything is in memory only.
    ///
    /// # Errors
    ///
    /// The broker has stopped, or its store has failed.
    pub fn store_usage(&self) -> Reply<Option<StoreUsage>> {
        let asked = self.orders.as_ref().map(|orders| {
            let (answer, reply) = request::<_, Stopped>();
            orders.send([Order::Usage(answer)]);
            reply
        });
        Reply::of(async move {
            match asked {
                Some(reply) => reply.await.map(Some),
                None => Ok(None),
            }
        })
    }

    /// Returns the counters and usage of all workers together.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn figures(&self) -> Reply<(Counters, Usage)> {
        self.ask_all(Letter::Figures, |figures| {
            let mut all = (Counters::default(), Usage::default());
            for (counters, usage) in figures {
                all.0.add(&counters);
                all.1.add(&usage);
            }
            all
        })
    }

    /// Returns everything that is counted; the names are in [`crate::Figure::ALL`].
    ///
    /// # Errors
    ///
    /// The broker has stopped, or its store has failed.
    pub fn snapshot(&self) -> Reply<Snapshot> {
        let (figures, store, started) = (self.figures(), self.store_usage(), self.started);
        Reply::of(async move {
            let (counters, usage) = figures.await?;
            Ok(Snapshot { uptime: started.elapsed(), counters, usage, store: store.await? })
        })
    }

    /// Disconnects a Client. The reply is true if it was connected.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn disconnect(&self, client_id: &str, reason_code: ReasonCode) -> Reply<bool> {
        let letter =
            |answer| Letter::Disconnect { client_id: client_id.into(), reason_code, answer };
        self.ask_owner(client_id, letter, |found| found.contains(&true))
    }

    /// Begins to move a Client, with its Session and its Network Connection, to the worker with
    /// this index. The reply is true if it is on its way; it may still stay if it does not come to
    /// rest within seconds. The Client does not notice. A Client that is connected by QUIC stays
    /// where it is. With [`Placement::Auto`](crate::Placement::Auto) the broker may move it again.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn move_client(&self, client_id: &str, worker: usize) -> Reply<bool> {
        let to = WorkerId::new(worker.min(self.inboxes.len() - 1));
        let letter = |answer| Letter::Move { client_id: client_id.into(), to, answer };
        self.ask_owner(client_id, letter, |found| found.contains(&true))
    }

    /// Returns how busy each worker is, in thousandths of a processor, and how many connections it
    /// has. The load is measured only with [`Placement::Auto`](crate::Placement::Auto).
    pub fn workers(&self) -> Vec<(u32, usize)> {
        let of =
            |inbox: &Arc<Inbox>| (inbox.load.busy(), inbox.connections.load(Ordering::Relaxed));
        self.inboxes.iter().map(of).collect()
    }

    /// Asks the worker that owns a Session. If the Session moves meanwhile, that worker passes the
    /// letter on. If nobody owns one, all workers are asked: a Session of the program may be meant.
    fn ask_owner<T: Send + 'static, R>(
        &self,
        client_id: &str,
        letter: impl Fn(Answer<T>) -> Letter,
        gather: impl FnOnce(Vec<T>) -> R + Send + 'static,
    ) -> Reply<R> {
        match self.directory.as_ref().and_then(|directory| directory.owner(client_id)) {
            Some(owner) => self.ask(&self.inboxes[owner.index()..=owner.index()], letter, gather),
            None => self.ask_all(letter, gather),
        }
    }

    fn ask_all<T: Send + 'static, R>(
        &self,
        letter: impl Fn(Answer<T>) -> Letter,
        gather: impl FnOnce(Vec<T>) -> R + Send + 'static,
    ) -> Reply<R> {
        self.ask(&self.inboxes, letter, gather)
    }

    /// Asks some workers at once, and makes one answer of theirs.
    fn ask<T: Send + 'static, R>(
        &self,
        inboxes: &[Arc<Inbox>],
        letter: impl Fn(Answer<T>) -> Letter,
        gather: impl FnOnce(Vec<T>) -> R + Send + 'static,
    ) -> Reply<R> {
        let asked = inboxes.iter().map(|inbox| {
            let (answer, reply) = request();
            inbox.send(letter(answer));
            reply
        });
        let asked: Vec<Reply<T>> = asked.collect();
        Reply::of(async move {
            let mut answers = Vec::with_capacity(asked.len());
            for reply in asked {
                answers.push(reply.await?);
            }
            Ok(gather(answers))
        })
    }
}
