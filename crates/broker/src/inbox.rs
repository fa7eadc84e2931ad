//! How one thread gives something to a worker: batches of other workers, new connections, requests.
//!
//! One lock per batch, never per message; many letters between two turns are one wake-up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use midge_codec::{ReasonCode, SubscriptionOptions};
use midge_core::{
    AuthAnswer, ClientInfo, ConnectionId, Counters, DropReason, MemoryPressure, PeerMessage, Usage,
    WorkerId,
};
use midge_net::{Notifier, Stream};

use crate::message::OwnedMessage;
use crate::reply::Answer;
use crate::subscription::Sender;

/// Something for a worker to do at its next turn.
pub(crate) enum Letter {
    Batch {
        from: WorkerId,
        messages: Vec<PeerMessage>,
    },
    Accepted {
        stream: Stream,
        peer: SocketAddr,
        listener: u16,
    },
    /// A connection whose Session is this worker's, with what was read of it.
    HandedOver {
        stream: Stream,
        peer: SocketAddr,
        listener: u16,
        bytes: Vec<u8>,
    },
    Authenticated {
        connection: ConnectionId,
        answer: AuthAnswer,
    },
    Publish {
        message: Box<OwnedMessage>,
        answer: Answer<Result<usize, DropReason>>,
    },
    Subscribe(Box<LocalSubscribe>),
    Unsubscribe {
        connection: ConnectionId,
    },
    Disconnect {
        client_id: Box<str>,
        reason_code: ReasonCode,
        answer: Answer<bool>,
    },
    Clients(Answer<Vec<ClientInfo>>),
    Figures(Answer<(Counters, Usage)>),
    Pressure(MemoryPressure),
    /// Shut down: tell Clients to go, then end.
    Drain,
    /// End now.
    Stop,
}

/// A subscription of the process itself.
pub(crate) struct LocalSubscribe {
    pub(crate) filter: Box<str>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) sender: Sender,
    pub(crate) answer: Answer<Result<ConnectionId, ReasonCode>>,
}

/// A worker's letters.
pub(crate) struct Inbox {
    letters: Mutex<Letters>,
    /// Bytes of messages in batches that were not taken yet.
    pending_bytes: AtomicUsize,
    /// The worker has put off as much as it may: batches that it takes would only add to that.
    is_congested: AtomicBool,
    /// Connections that the worker has, or will have: what the acceptor balances by.
    pub(crate) connections: AtomicUsize,
    notifier: Arc<Notifier>,
}

#[derive(Default)]
struct Letters {
    waiting: Vec<Letter>,
    /// The worker has ended: nobody will ever read them.
    is_closed: bool,
}

impl Inbox {
    /// Beyond this, those who send batches shall not read publishers until it is worked off.
    const FULL_BYTES: usize = 64 * 1024 * 1024;

    pub(crate) fn new(notifier: Arc<Notifier>) -> Self {
        Self {
            letters: Mutex::default(),
            pending_bytes: AtomicUsize::new(0),
            is_congested: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            notifier,
        }
    }

    /// Puts a letter in. If the worker has ended it is dropped, and with it whoever waits for an
    /// answer learns that there will be none.
    pub(crate) fn send(&self, letter: Letter) {
        self.put(letter, 0);
    }

    pub(crate) fn send_batch(&self, from: WorkerId, messages: Vec<PeerMessage>) {
        let bytes = messages.iter().map(PeerMessage::size).sum();
        self.put(Letter::Batch { from, messages }, bytes);
    }

    /// Takes everything; `into` is empty and lends its memory.
    pub(crate) fn take(&self, into: &mut Vec<Letter>) {
        let mut letters = self.lock();
        std::mem::swap(&mut letters.waiting, into);
        self.pending_bytes.store(0, Ordering::Relaxed);
    }

    /// The worker has ended.
    pub(crate) fn close(&self) {
        self.set_congested(false);
        let mut letters = self.lock();
        letters.is_closed = true;
        let unread = std::mem::take(&mut letters.waiting);
        self.pending_bytes.store(0, Ordering::Relaxed);
        drop(letters); // dropping letters wakes others
        drop(unread);
    }

    /// The worker tells whether it is behind with what it has taken.
    pub(crate) fn set_congested(&self, is_congested: bool) {
        // Others look at it every turn: their copy of the line stays good while nothing changes.
        if self.is_congested.load(Ordering::Relaxed) != is_congested {
            self.is_congested.store(is_congested, Ordering::Relaxed);
        }
    }

    /// Whether those who send batches shall not read publishers for now.
    pub(crate) fn is_full(&self) -> bool {
        self.is_congested.load(Ordering::Relaxed)
            || self.pending_bytes.load(Ordering::Relaxed) > Self::FULL_BYTES
    }

    fn put(&self, letter: Letter, bytes: usize) {
        let mut letters = self.lock();
        if letters.is_closed {
            return;
        }
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        letters.waiting.push(letter);
        drop(letters);
        self.notifier.notify();
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
