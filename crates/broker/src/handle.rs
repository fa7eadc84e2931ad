//! Requests to a running broker from the embedding program and everything else that is not a
//! Client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use midge_codec::{QoS, ReasonCode, SubscriptionOptions};
use midge_core::{ClientDetails, ClientInfo, ClientPage, Counters, DropReason, Settings, Usage};
use midge_net::{ListenError, ListenerAddress, ListenerFigures, Renewal};
use midge_store::StoreUsage;

use crate::event_stream::{EventHub, EventStream};
use crate::figures::Snapshot;
use crate::inbox::{Inbox, Letter, LocalSubscribe};
use crate::listener_terms::ListenerSettings;
use crate::listeners::{BrokerListeners, Listener, ListenerChange};
use crate::message::OwnedMessage;
use crate::reply::{Reply, Stopped, request};
use crate::storage::{Order, Orders};
use crate::subscription::Subscription;

/// A handle to a running broker; cheap to clone, usable from any thread or task.
#[derive(Clone)]
pub struct BrokerHandle {
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    orders: Option<Arc<Orders>>,
    listeners: Arc<BrokerListeners>,
    next: Arc<AtomicUsize>,
    started: Instant,
    pub(crate) events: Arc<EventHub>,
}

/// Why the broker did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// A gate or a limit refused the message.
    Dropped(DropReason),
    /// The subscription was refused.
    Refused(ReasonCode),
    /// The broker has stopped.
    Stopped,
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
        orders: Option<Arc<Orders>>,
        listeners: Arc<BrokerListeners>,
    ) -> Self {
        let (next, started) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let events = Arc::default();
        Self { inboxes, orders, listeners, next, started, events }
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

    /// Sets whose packets the log shows at its level `trace` from now on, by Client Identifier;
    /// `None` for everybody's. Raising the level later shows no other packets.
    pub fn trace_client(&self, client_id: Option<&str>) {
        let client_id: Option<Arc<str>> = client_id.map(Into::into);
        self.inboxes.iter().for_each(|inbox| inbox.send(Letter::Trace(client_id.clone())));
    }

    /// Publishes a message. The reply says how many receivers matched. For QoS 1 and 2 it comes
    /// when everything that has to be kept of the message is as durable as configured. Messages
    /// published by one handle to one topic keep their order.
    pub fn publish(&self, message: OwnedMessage) -> Reply<Result<usize, DropReason>> {
        let (answer, reply) = request();
        // One worker publishes all messages, which keeps their order.
        self.inboxes[0].send(Letter::Publish { message: Box::new(message), answer });
        reply
    }

    /// Subscribes inside the process and waits until the subscription is in effect. This blocks the
    /// thread for microseconds; tasks should use [`BrokerHandle::subscribe_async`].
    ///
    /// # Errors
    ///
    /// The filter is invalid or not authorized, or the broker has stopped.
    pub fn subscribe(&self, filter: &str, qos: QoS) -> Result<Subscription, RequestError> {
        self.begin_subscribe(filter, qos).wait()?.map_err(RequestError::Refused)
    }

    /// Does the same as [`BrokerHandle::subscribe`] in asynchronous programs. Dropping the future
    /// leaves no subscription behind.
    ///
    /// # Errors
    ///
    /// The same as for [`BrokerHandle::subscribe`].
    pub async fn subscribe_async(
        &self,
        filter: &str,
        qos: QoS,
    ) -> Result<Subscription, RequestError> {
        self.begin_subscribe(filter, qos).await?.map_err(RequestError::Refused)
    }

    /// Returns all Sessions, connected or not. The workers are asked page by page, so that they
    /// serve their Clients in between; a Session that comes or goes meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn clients(&self) -> Result<Vec<ClientInfo>, Stopped> {
        let mut clients = Vec::new();
        let mut next = Some(ClientCursor::default());
        while let Some(cursor) = next {
            let page = self.clients_page(cursor, ClientCursor::PAGE).wait()?;
            clients.extend(page.clients);
            next = cursor.after(page.next, self.inboxes.len());
        }
        Ok(clients)
    }

    /// Returns some Sessions, and where to go on; `None` after the last one. Begin with the default
    /// cursor. A page has at most `most` Sessions, and never more than [`ClientCursor::PAGE`]; it
    /// may have fewer, or none, although there are more. A Session that is there all the time is on
    /// exactly one page, whatever comes and goes between them.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub async fn list_clients(
        &self,
        cursor: ClientCursor,
        most: usize,
    ) -> Result<(Vec<ClientInfo>, Option<ClientCursor>), Stopped> {
        let page = self.clients_page(cursor, most).await?;
        Ok((page.clients, cursor.after(page.next, self.inboxes.len())))
    }

    fn clients_page(&self, cursor: ClientCursor, most: usize) -> Reply<ClientPage> {
        let (answer, reply) = request();
        let most = most.clamp(1, ClientCursor::PAGE);
        match self.inboxes.get(cursor.worker as usize) {
            Some(inbox) => inbox.send(Letter::Clients { from: cursor.place, most, answer }),
            None => answer.send(ClientPage::default()),
        }
        reply
    }

    /// Returns one Session in depth, connected or not; `None` if there is none of this Client.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn client(&self, client_id: &str) -> Result<Option<ClientDetails>, Stopped> {
        let letter = |answer| Letter::Client { client_id: client_id.into(), answer };
        Ok(self.ask_all(letter)?.into_iter().flatten().next())
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
    pub fn store_usage(&self) -> Result<Option<StoreUsage>, Stopped> {
        let Some(orders) = &self.orders else {
            return Ok(None);
        };
        let (answer, reply) = request();
        orders.send([Order::Usage(answer)]);
        reply.wait().map(Some)
    }

    /// Returns the counters and usage of all workers together.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn figures(&self) -> Result<(Counters, Usage), Stopped> {
        let mut all = (Counters::default(), Usage::default());
        for (counters, usage) in self.ask_all(Letter::Figures)? {
            all.0.add(&counters);
            all.1.add(&usage);
        }
        Ok(all)
    }

    /// Returns everything that is counted; the names are in [`crate::Figure::ALL`].
    ///
    /// # Errors
    ///
    /// The broker has stopped, or its store has failed.
    pub fn snapshot(&self) -> Result<Snapshot, Stopped> {
        let (counters, usage) = self.figures()?;
        let store = self.store_usage()?;
        Ok(Snapshot { uptime: self.started.elapsed(), counters, usage, store })
    }

    /// Disconnects a Client. Returns true if it was connected.
    ///
    /// # Errors
    ///
    /// The broker has stopped.
    pub fn disconnect(&self, client_id: &str, reason_code: ReasonCode) -> Result<bool, Stopped> {
        let client_id: Box<str> = client_id.into();
        let found = self.ask_all(|answer| {
            let client_id = client_id.clone();
            Letter::Disconnect { client_id, reason_code, answer }
        })?;
        Ok(found.contains(&true))
    }

    fn ask_all<T>(
        &self,
        letter: impl Fn(crate::reply::Answer<T>) -> Letter,
    ) -> Result<Vec<T>, Stopped> {
        let asked = self.inboxes.iter().map(|inbox| {
            let (answer, reply) = request();
            inbox.send(letter(answer));
            reply
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().map(Reply::wait).collect()
    }

    fn begin_subscribe(&self, filter: &str, qos: QoS) -> Reply<Result<Subscription, ReasonCode>> {
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
}

impl From<Stopped> for RequestError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dropped(reason) => write!(f, "the message was dropped: {}", reason.name()),
            Self::Refused(code) => write!(f, "the subscription was refused: {}", code.name()),
            Self::Stopped => Stopped.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}
