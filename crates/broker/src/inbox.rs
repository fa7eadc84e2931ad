//! How one thread gives something to a worker: batches from other workers, new connections,
//! requests.
//!
//! Each batch takes the lock once, never once per message. Many letters between two turns cause one
//! wake-up.

use std::any::Any;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use midge_codec::{QoS, ReasonCode, SubscriptionOptions};
use midge_core::{
    AuthAnswer, ClientDetails, ClientPage, ConnectionId, Counters, DropReason, Fetched,
    MovedSession, PeerMessage, Receipt, Settings, Timestamp, Usage, WorkerId,
};
use midge_net::{Notifier, Stream};

use crate::listener_terms::{ListenerPlace, ListenerTerms};
use crate::memory::Shortage;
use crate::pending_bytes::{Bytes, PendingBytes};
use crate::placement::Load;
use crate::program::message::OwnedMessage;
use crate::program::publish_window::Permit;
use crate::program::reply::{Answer, RequestError};
use crate::program::session::{ProgramSession, SessionAct, SessionOptions};
use crate::program::subscription::Subscription;
use crate::spares::Spares;

/// The topics and their contents.
pub(crate) type Topics = Arc<[(String, String)]>;

/// Something for a worker to do at its next turn.
pub(crate) enum Letter {
    Batch {
        from: WorkerId,
        messages: Vec<PeerMessage>,
    },
    Accepted(Newcomer),
    /// A connection whose Session belongs to this worker, with the bytes that were read from it.
    HandedOver {
        stream: Stream,
        terms: Arc<ListenerTerms>,
        /// When the connection came.
        opened: Timestamp,
        bytes: Vec<u8>,
    },
    /// A Session that another worker has given to this one, with its socket if it has one.
    Moved {
        session: Box<MovedSession>,
        socket: Option<Box<MovingSocket>>,
    },
    /// A CONNECT of this Client waits: its Session is to stay, if it still can.
    CallOffMove {
        client_id: Box<str>,
    },
    /// The Session of this Client is to go to another worker.
    Move {
        client_id: Box<str>,
        to: WorkerId,
        answer: Answer<bool>,
    },
    Authenticated {
        connection: ConnectionId,
        answer: AuthAnswer,
        /// Kept by the authentication until the Client's next step.
        kept: Option<Box<dyn Any + Send>>,
    },
    Publish(Box<LocalMessage>),
    Subscribe(Box<LocalSubscribe>),
    Unsubscribe {
        connection: ConnectionId,
    },
    /// The program opens a Session of its own.
    OpenSession(Box<OpenSession>),
    /// What the program has done with such a Session.
    Session(SessionAct),
    Disconnect {
        client_id: Box<str>,
        reason_code: ReasonCode,
        answer: Answer<bool>,
    },
    /// Some of the Sessions, from a place on.
    Clients {
        from: u32,
        most: usize,
        answer: Answer<ClientPage>,
    },
    /// One Session in depth.
    Client {
        client_id: Box<str>,
        answer: Answer<Option<ClientDetails>>,
    },
    Figures(Answer<(Counters, Usage)>),
    /// What the topics below `$SYS` say.
    OwnTopics(Topics),
    /// How short memory is, and what is to be done about it.
    Shortage(Shortage),
    /// Nothing to do but to run a turn.
    Look,
    /// How far the store has come with this worker's commits.
    Receipt(Receipt),
    Fetched(Box<Fetched>),
    /// Whether the store takes no new messages.
    StoreFull(bool),
    /// New values for the settings that can be changed.
    Reconfigure(Arc<Settings>),
    /// Whose packets are traced; `None`: everybody's.
    Trace(Option<Arc<str>>),
    /// A listener is gone: its connections are to be ended.
    EndListener(Arc<ListenerPlace>),
    /// Deadlines may have passed while the machine was suspended.
    Wake,
    /// The hook decides otherwise from now on.
    PolicyChanged,
    /// Another worker has ended, although nobody has told it to. All its batches came before.
    PeerGone(WorkerId),
    /// Shut down: tell Clients to go, then end.
    Drain,
    /// End now.
    Stop,
}

/// A connection that a listener has accepted.
pub(crate) struct Newcomer {
    pub(crate) stream: Stream,
    pub(crate) terms: Arc<ListenerTerms>,
    /// When the connection came.
    pub(crate) opened: Instant,
    /// There is no room for the connection: its CONNECT is to be refused.
    pub(crate) is_turned_away: bool,
}

/// The socket of a Session that goes to another worker, and what was read from it.
pub(crate) struct MovingSocket {
    pub(crate) stream: Stream,
    pub(crate) terms: Arc<ListenerTerms>,
    /// When the connection was accepted.
    pub(crate) opened: Timestamp,
    /// Bytes that were read and not handled.
    pub(crate) partial: Vec<u8>,
    /// Whether the end of the stream was reported, and whether writing has failed.
    pub(crate) ends: bool,
    pub(crate) is_broken: bool,
}

impl Letter {
    /// Returns how many messages of other workers the letter carries.
    fn messages(&self) -> u64 {
        match self {
            Self::Batch { messages, .. } => {
                messages.iter().filter(|message| message.is_message()).count() as u64
            }
            _ => 0,
        }
    }
}

/// A message that the process itself publishes.
pub(crate) struct LocalMessage {
    pub(crate) message: OwnedMessage,
    /// Given back before the answer, so that whoever has the answer finds the room.
    pub(crate) permit: Permit,
    pub(crate) answer: Answer<usize, RequestError>,
}

/// A subscription of the process itself.
pub(crate) struct LocalSubscribe {
    pub(crate) filter: Box<str>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) answer: Answer<Subscription, RequestError>,
}

/// A Session that the program wants to have.
pub(crate) struct OpenSession {
    pub(crate) client_id: Box<str>,
    pub(crate) filters: Box<[(Box<str>, QoS)]>,
    pub(crate) options: SessionOptions,
    pub(crate) answer: Answer<ProgramSession, RequestError>,
}

/// What waits for a worker.
#[derive(Default)]
struct Waiting {
    letters: Vec<Letter>,
    /// The lists of batches that the worker has handled, for its next ones.
    emptied: Spares<PeerMessage>,
}

/// A worker's letters.
pub(crate) struct Inbox {
    /// `None` once nobody will read letters any more.
    waiting: Mutex<Option<Waiting>>,
    /// Bytes of the batches that wait. Changed only under the lock of `waiting`, or it would not
    /// match them.
    pending: PendingBytes,
    /// The worker has put off as much as it may: further batches would only add to that.
    is_congested: AtomicBool,
    /// The worker shuts down, and has nothing left to do.
    is_drained: AtomicBool,
    /// Connections that the worker has or is about to get. The acceptor balances by this number.
    pub(crate) connections: AtomicUsize,
    /// How many of them are only to be told to come later.
    pub(crate) turned_away: AtomicUsize,
    /// How busy the worker is.
    pub(crate) load: Load,
    /// Connections of all workers that were let in, which `connections_max` bounds.
    pub(crate) let_in: Arc<AtomicUsize>,
    /// Messages that came after the worker had ended.
    lost: AtomicU64,
    /// The worker's counters when it ended.
    left: Mutex<Counters>,
    notifier: Arc<Notifier>,
}

impl Inbox {
    /// Makes an empty inbox. While more than `full_bytes` wait in it, other workers shall read no
    /// publishers.
    pub(crate) fn new(
        notifier: Arc<Notifier>,
        let_in: Arc<AtomicUsize>,
        full_bytes: usize,
    ) -> Self {
        Self {
            waiting: Mutex::new(Some(Waiting::default())),
            pending: PendingBytes::new(full_bytes),
            is_congested: AtomicBool::new(false),
            is_drained: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            load: Load::default(),
            turned_away: AtomicUsize::new(0),
            let_in,
            lost: AtomicU64::new(0),
            left: Mutex::default(),
            notifier,
        }
    }

    /// Sends a letter. If the worker has ended the letter is lost: a request in it is answered by
    /// `Stopped`, a connection in it is closed.
    pub(crate) fn send(&self, letter: Letter) {
        self.put(|_| letter, Bytes::default());
    }

    /// Sends all of `messages`, and leaves an empty list.
    pub(crate) fn send_batch(&self, from: WorkerId, messages: &mut Vec<PeerMessage>) {
        let mut bytes = Bytes::default();
        for message in &*messages {
            bytes += match message.is_message() {
                true => Bytes::of_messages(message.size()),
                false => Bytes::of_others(message.size()),
            };
        }
        let batch = |waiting: &mut Waiting| {
            let messages = mem::replace(messages, waiting.emptied.take());
            Letter::Batch { from, messages }
        };
        if !self.put(batch, bytes) {
            let lost = messages.drain(..).filter(PeerMessage::is_message).count();
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }

    /// Puts a letter to the others. Returns false, and asks for no letter, if the worker has ended.
    fn put(&self, letter: impl FnOnce(&mut Waiting) -> Letter, bytes: Bytes) -> bool {
        let mut waiting = self.lock();
        let Some(to) = &mut *waiting else {
            return false;
        };
        let letter = letter(to);
        to.letters.push(letter);
        self.pending.add(bytes);
        drop(waiting);
        self.notifier.notify();
        true
    }

    /// Returns the bytes of the batches that wait.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.get().all()
    }

    /// Takes all letters. `into` has to be empty; the inbox goes on with its memory, and with the
    /// lists of the batches that were handled.
    pub(crate) fn take(&self, into: &mut Vec<Letter>, emptied: &mut Spares<PeerMessage>) {
        if let Some(waiting) = &mut *self.lock() {
            mem::swap(&mut waiting.letters, into);
            waiting.emptied.append(emptied);
            self.pending.clear();
        }
    }

    /// Closes the inbox of a worker that has ended: all letters in it, and all that come later, are
    /// lost. Returns how many messages of other workers were in it.
    pub(crate) fn close(&self) -> u64 {
        self.set_congested(false);
        let mut waiting = self.lock();
        let left = waiting.take().unwrap_or_default();
        self.pending.clear();
        // Not under the lock: a dropped letter may make its sender send another one.
        drop(waiting);
        left.letters.iter().map(Letter::messages).sum()
    }

    /// Stores the worker's counters, for those who ask after it has ended.
    pub(crate) fn leave_counters(&self, counters: &Counters) {
        counters.clone_into(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the worker's counters when it ended, plus the messages that were lost since.
    pub(crate) fn left_counters(&self) -> Counters {
        let mut counters = self.left.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = self.lost.load(Ordering::Relaxed);
        counters.dropped[DropReason::BrokerEnded as usize] += lost;
        counters
    }

    /// Notes whether the worker is behind with what it has taken.
    pub(crate) fn set_congested(&self, is_congested: bool) {
        // Other workers look at this every turn; without a write their cached copy stays valid.
        if self.is_congested.load(Ordering::Relaxed) != is_congested {
            self.is_congested.store(is_congested, Ordering::Relaxed);
        }
    }

    /// Notes whether the worker shuts down and has nothing left to do.
    pub(crate) fn set_drained(&self, is_drained: bool) {
        if self.is_drained.load(Ordering::Relaxed) != is_drained {
            self.is_drained.store(is_drained, Ordering::Release);
        }
    }

    /// Returns whether the worker shuts down, has nothing left to do, and no letter waits for it.
    pub(crate) fn is_drained(&self) -> bool {
        !self.has_letters() && self.is_drained.load(Ordering::Acquire)
    }

    /// Returns whether a letter waits for the worker.
    pub(crate) fn has_letters(&self) -> bool {
        self.lock().as_ref().is_some_and(|waiting| !waiting.letters.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether workers that send batches must not read publishers for now.
    pub(crate) fn is_full(&self) -> bool {
        self.is_congested.load(Ordering::Relaxed) || self.pending.is_full()
    }

    /// Returns whether workers that send batches must not read any connection for now.
    pub(crate) fn is_overfull(&self) -> bool {
        self.pending.is_overfull()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use midge_core::{
        AllowAll, Core, CoreConfig, DurabilityRules, SharedStrategy, Timestamp, Turn,
    };
    use midge_net::Poller;

    use super::*;

    fn inbox() -> Inbox {
        let poller = Poller::new().unwrap();
        Inbox::new(poller.notifier(), Arc::default(), 1)
    }

    /// Returns a batch in which a worker tells another one of a subscription.
    fn batch() -> Vec<PeerMessage> {
        let mut core = Core::new(CoreConfig {
            worker: WorkerId::new(0),
            workers: 2,
            seed: 1,
            secret: [1, 1],
            limits: Arc::default(),
            budget: Arc::default(),
            policy: Arc::new(AllowAll),
            topics: Arc::default(),
            shared_strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: None,
            tell_drops: false,
            durability: DurabilityRules::default(),
        });
        let mut turn = Turn::new(Timestamp::from_millis(1), 2);
        let id = core.open_local(&mut turn);
        core.subscribe_local(id, "t", SubscriptionOptions::default(), &mut turn);
        turn.fx.to_workers.remove(1)
    }

    #[test]
    fn what_comes_while_the_worker_takes_letters_counts() {
        let (inbox, batch) = (inbox(), batch());
        let size: usize = batch.iter().map(PeerMessage::size).sum();
        let send = || (0..20).for_each(|_| inbox.send_batch(WorkerId::new(0), &mut batch.clone()));
        for _ in 0..300 {
            thread::scope(|scope| {
                let sender = scope.spawn(send);
                while !sender.is_finished() {
                    inbox.take(&mut Vec::new(), &mut Spares::default());
                }
            });
            let (pending, mut left) = (inbox.pending_bytes(), Vec::new());
            inbox.take(&mut left, &mut Spares::default());
            assert_eq!(pending, left.len() * size);
        }
    }

    #[test]
    fn nobody_waits_for_a_worker_that_has_ended() {
        let inbox = inbox();
        inbox.send_batch(WorkerId::new(0), &mut batch());
        assert!(inbox.is_full());
        inbox.close();
        inbox.send_batch(WorkerId::new(0), &mut batch());
        assert!(!inbox.is_full());
    }
}
