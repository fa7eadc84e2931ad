//! What all Clients of a run share: where the broker is, what they were promised, and a way to end
//! all Network Connections at once.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{ProtocolVersion, PublishProperties, QoS, ReasonCode, UserProperties};
use midge_codec::{
    Packet, PacketIdentifier, PacketType, Subscribe, Subscription, SubscriptionOptions, TopicName,
    Will,
};

use crate::client::{Client, Received, acknowledgement, bytes_of, connect_packet};
use crate::support::DEADLINE;

/// What kind of thing was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Message,
    Retained,
    Subscription,
    Will,
    /// A Session that is gone.
    Gone,
}

/// Something for which a Client has an acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) kind: Kind,
    /// The group of publishers to which it belongs.
    pub(crate) group: usize,
    /// The payload of a message, the topic of anything else.
    pub(crate) name: String,
    /// For a retained message; later versions replace earlier ones.
    pub(crate) version: u32,
    pub(crate) at: Instant,
}

/// All promises, in the order in which Clients learned of them.
#[derive(Default)]
pub(crate) struct Ledger {
    promises: Mutex<Vec<Promise>>,
    grown: Condvar,
    /// How often a Client was told that there is no room.
    refused: AtomicUsize,
}

impl Ledger {
    pub(crate) fn note(&self, kind: Kind, group: usize, name: &str, version: u32) {
        let promise = Promise { kind, group, name: name.to_string(), version, at: Instant::now() };
        self.promises.lock().unwrap().push(promise);
        self.grown.notify_all();
    }

    pub(crate) fn note_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.promises.lock().unwrap().len()
    }

    pub(crate) fn promises(&self) -> Vec<Promise> {
        self.promises.lock().unwrap().clone()
    }

    /// Waits for `count` more promises, and for one that is given no earlier than `not_before`.
    pub(crate) fn wait_for_more(&self, count: usize, not_before: Instant) {
        let promises = self.promises.lock().unwrap();
        let wanted = promises.len() + count;
        let is_short = |promises: &mut Vec<Promise>| {
            promises.len() < wanted || promises.last().is_none_or(|last| last.at < not_before)
        };
        let waited = self.grown.wait_timeout_while(promises, DEADLINE, is_short).unwrap();
        assert!(!waited.1.timed_out(), "{count} more acknowledgements do not come");
    }
}

/// A stretch of time with one broker.
pub(crate) struct Scene {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) ledger: Arc<Ledger>,
    /// How long a publisher waits between two messages.
    pub(crate) pace: Duration,
    /// Publishers begin nothing new, and end when everything is answered.
    pub(crate) is_enough: AtomicBool,
    /// As `is_enough`, for publishers whose acknowledgements wait for the device.
    pub(crate) is_quiet: AtomicBool,
    /// The Network Connections are gone and will not come back.
    is_over: AtomicBool,
    cables: Mutex<Vec<Weak<TcpStream>>>,
}

impl Scene {
    pub(crate) fn new(addresses: &[SocketAddr], ledger: &Arc<Ledger>, pace: Duration) -> Self {
        Self {
            addresses: addresses.to_vec(),
            ledger: Arc::clone(ledger),
            pace,
            is_enough: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            cables: Mutex::default(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Ends all Network Connections without a word.
    pub(crate) fn pull_cables(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for cable in self.cables.lock().unwrap().drain(..).filter_map(|cable| cable.upgrade()) {
            // The connection may be closed already.
            let _ = cable.shutdown(Shutdown::Both);
        }
    }

    fn open(&self, listener: usize) -> Option<(Client, Arc<TcpStream>)> {
        let stream = TcpStream::connect(self.addresses[listener]).ok()?;
        let mut cables = self.cables.lock().unwrap();
        if self.is_over() {
            return None;
        }
        let cable = Arc::new(stream.try_clone().unwrap());
        cables.retain(|cable| cable.strong_count() > 0);
        cables.push(Arc::downgrade(&cable));
        Some((Client::over(stream), cable))
    }
}

/// Who connects, and how.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) client_id: String,
    pub(crate) version: ProtocolVersion,
    pub(crate) listener: usize,
    /// The topic of the Will Message, which is also its payload.
    pub(crate) will: Option<String>,
    /// Whether to connect with Clean Start and a Session that ends with the Network Connection;
    /// otherwise the Session lasts.
    pub(crate) is_clean: bool,
}

/// A Network Connection of a Client whose Session outlives it.
pub(crate) struct Link {
    client: Client,
    version: ProtocolVersion,
    pub(crate) session_present: bool,
    /// While this exists, the scene can end the Network Connection.
    cable: Option<Arc<TcpStream>>,
}

/// Why there is no Network Connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoLink {
    /// The scene is over.
    Over,
    Refused(ReasonCode),
}

impl Who {
    pub(crate) fn new(client_id: impl Into<String>, version: ProtocolVersion) -> Self {
        Self { client_id: client_id.into(), version, listener: 0, will: None, is_clean: false }
    }

    /// Connects, with as many attempts as it takes, until the scene is over.
    pub(crate) fn connect(&self, scene: &Scene) -> Result<Link, NoLink> {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.connect_once(scene) {
                _ if scene.is_over() => return Err(NoLink::Over),
                Some(result) => return result,
                None => thread::park_timeout(Duration::from_millis(2)),
            }
            assert!(Instant::now() < until, "{} cannot connect", self.client_id);
        }
    }

    fn connect_once(&self, scene: &Scene) -> Option<Result<Link, NoLink>> {
        let (client, cable) = scene.open(self.listener)?;
        let mut link =
            Link { client, version: self.version, session_present: false, cable: Some(cable) };
        let mut connect = connect_packet(self.version, &self.client_id);
        connect.clean_start = self.is_clean;
        if self.version == ProtocolVersion::V5 && !self.is_clean {
            connect.properties.session_expiry_interval = Some(3600);
        }
        connect.will = self.will.as_deref().map(|topic| Will {
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicName::new(topic).unwrap(),
            payload: topic.as_bytes(),
            delay_interval_seconds: None,
            properties: PublishProperties::default(),
        });
        link.client.set_version(self.version);
        link.send(&Packet::Connect(Box::new(connect)));
        match link.receive(DEADLINE) {
            Some(Received::ConnAck { session_present, code: ReasonCode::Success, .. }) => {
                link.session_present = session_present;
                Some(Ok(link))
            }
            Some(Received::ConnAck { code, .. }) => Some(Err(NoLink::Refused(code))),
            Some(Received::Closed) => None,
            other => panic!("{}: no CONNACK but {other:?}", self.client_id),
        }
    }
}

impl Link {
    /// Releases a descriptor: nobody waits for this any more, so the scene need not end it.
    pub(crate) fn rest(&mut self) {
        self.cable = None;
    }

    /// Sends a packet; if it could not be sent, the next receive tells.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        let _ = self.client.try_send_bytes(&bytes_of(packet, self.version));
    }

    pub(crate) fn receive(&mut self, timeout: Duration) -> Option<Received> {
        self.client.receive_within(timeout)
    }

    pub(crate) fn acknowledge(&mut self, kind: PacketType, id: u16) {
        self.send(&acknowledgement(kind, id));
    }

    /// Subscribes and returns the Reason Code; `None`: the Network Connection has ended.
    pub(crate) fn subscribe(&mut self, filters: &[&str], packet_id: u16) -> Option<ReasonCode> {
        self.send_subscribe(filters, packet_id);
        self.receive_suback()
    }

    pub(crate) fn send_subscribe(&mut self, filters: &[&str], packet_id: u16) {
        let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..<_>::default() };
        let entries: Vec<_> =
            filters.iter().map(|filter| Subscription { filter, options }).collect();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: PacketIdentifier::new(packet_id).unwrap(),
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions: entries[..].into(),
        }));
    }

    /// Returns the Reason Code of the SUBACK; `None`: the Network Connection has ended.
    pub(crate) fn receive_suback(&mut self) -> Option<ReasonCode> {
        loop {
            match self.receive(DEADLINE) {
                Some(Received::SubAck { codes, .. }) => return codes.into_iter().max(),
                Some(Received::Closed | Received::Disconnect(_)) => return None,
                Some(_) => (),
                None => panic!("no SUBACK"),
            }
        }
    }
}
