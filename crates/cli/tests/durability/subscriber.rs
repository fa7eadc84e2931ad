//! Subscribers: some are always there, some come seldom, and some share a subscription. Each keeps
//! a book of what it has got, and notices a duplicate at once.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use midge_codec::{ProtocolVersion, QoS};

use crate::client::{Client, Happened};
use crate::common::random::Random;
use crate::common::wire::{Gone, Received};
use crate::message::{Key, Kind};
use crate::publisher::PublisherQoS;
use crate::round::{Fault, PATIENCE, Round};

/// How long a subscriber waits without any message while something is missing.
const QUIET_MAX: Duration = Duration::from_secs(8);

/// What has yet to arrive; the members of a shared subscription have it in common.
pub(crate) type Missing = Arc<Mutex<HashSet<Key>>>;

/// The part that a subscriber plays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) version: ProtocolVersion,
    pub(crate) qos: QoS,
    pub(crate) wants: Wants,
    pub(crate) presence: Presence,
    /// Its Receive Maximum (MQTT 5.0); 0: the largest possible.
    pub(crate) receive_maximum: u16,
    pub(crate) is_slow: bool,
    /// The ShareName, if it is a member of a shared subscription.
    pub(crate) share: Option<&'static str>,
}

/// The messages to which it subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Those of all publishers.
    All(&'static str),
    /// Those of this publisher.
    Publisher(u32),
    Wills,
}

/// When it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    /// In every n-th round.
    EveryNth(u32),
    /// In half of the rounds.
    Sometimes,
}

/// A subscriber with its book.
pub(crate) struct Subscriber {
    pub(crate) part: Part,
    pub(crate) client: Client,
    /// One book for each publisher; only one in total for Will Messages.
    books: Vec<Book>,
    pub(crate) missing: Missing,
    slowness: Option<Random>,
    /// How many messages it got, including allowed duplicates.
    pub(crate) deliveries: u64,
}

/// What arrived from one publisher.
#[derive(Clone, Debug, Default)]
struct Book {
    /// How often each message arrived, by number, from 0.
    times: Vec<u8>,
    /// The last message of QoS 2.
    last: u32,
}

impl Part {
    pub(crate) fn filter(&self) -> String {
        let filter = match self.wants {
            Wants::All(filter) => filter.to_owned(),
            Wants::Publisher(index) => format!("t/{index}"),
            Wants::Wills => "w/#".to_owned(),
        };
        match self.share {
            Some(share) => format!("$share/{share}/{filter}"),
            None => filter,
        }
    }

    pub(crate) fn wants(&self, key: Key) -> bool {
        match self.wants {
            Wants::All(_) => key.kind == Kind::Traffic,
            Wants::Publisher(index) => key.kind == Kind::Traffic && key.index == index,
            Wants::Wills => key.kind == Kind::Will,
        }
    }

    pub(crate) fn is_present(&self, round: u32, random: &mut Random) -> bool {
        match self.presence {
            Presence::Always => true,
            Presence::EveryNth(n) => round.is_multiple_of(n),
            Presence::Sometimes => random.once_in(2),
        }
    }
}

impl Subscriber {
    pub(crate) fn new(part: Part, publishers: usize, missing: Missing, random: &Random) -> Self {
        let mut client = Client::new(part.name, part.version);
        client.receive_maximum = NonZeroU16::new(part.receive_maximum);
        Self {
            client,
            books: vec![Book::default(); publishers.max(1)],
            missing,
            slowness: part.is_slow.then(|| random.fork(part.name)),
            deliveries: 0,
            part,
        }
    }

    pub(crate) fn set_up(&mut self, round: &Round) -> Result<(), Gone> {
        self.client.connect(round)?;
        self.client.subscribe_and_wait(&self.part.filter(), self.part.qos, round)?;
        round.note_ready();
        // Nothing arrives but the end of the connection.
        self.client.next(Instant::now() + PATIENCE, round).map(|_| ())
    }

    /// Receives messages until the Network Connection ends.
    pub(crate) fn run(&mut self, round: &Round, publishers: &Rules) -> Result<(), Gone> {
        self.client.slowness = self.slowness.clone();
        self.client.connect(round)?;
        round.note_ready();
        loop {
            let happened = self.client.next(Instant::now() + PATIENCE, round)?;
            self.note(&happened, round, publishers);
        }
    }

    /// Receives messages until nothing is missing, and disconnects.
    pub(crate) fn drain(&mut self, round: &Round, publishers: &Rules) -> Result<(), Gone> {
        self.client.slowness = None;
        self.client.connect(round)?;
        let mut quiet_since = Instant::now();
        while !self.missing.lock().unwrap().is_empty() && quiet_since.elapsed() < QUIET_MAX {
            let soon = Instant::now() + Duration::from_millis(20);
            let happened = self.client.next(soon, round)?;
            if let Happened::Message(..) = happened {
                quiet_since = Instant::now();
            }
            self.note(&happened, round, publishers);
        }
        // When this is answered, the broker has read everything that this client sent before.
        self.client.ping();
        loop {
            match self.client.next(Instant::now() + PATIENCE, round)? {
                Happened::Answered => break,
                Happened::Nothing => return Err(Gone::Broken("does not answer PINGREQ".into())),
                happened => self.note(&happened, round, publishers),
            }
        }
        self.client.disconnect();
        Ok(())
    }

    fn note(&mut self, happened: &Happened, round: &Round, publishers: &Rules) {
        let Happened::Message(key, received) = happened else {
            return;
        };
        self.deliveries += 1;
        let id = &self.client.id;
        if !self.part.wants(*key) {
            let text = format!("{id} gets {key} without a subscription to it");
            return round.find(Fault::WrongAnswer, &text);
        }
        let expected = publishers.qos(*key).min(self.part.qos);
        if received.qos != expected {
            let text = format!("{id} gets {key} at {:?}, not at {expected:?}", received.qos);
            round.find(Fault::WrongAnswer, &text);
        }
        self.take(*key, received, round);
        self.missing.lock().unwrap().remove(key);
    }

    fn take(&mut self, key: Key, received: &Received, round: &Round) {
        let is_shared = self.part.share.is_some();
        let (book, place) = place_of(key);
        let book = &mut self.books[book];
        if book.times.len() <= place {
            book.times.resize(place + 1, 0);
        }
        book.times[place] = book.times[place].saturating_add(1);
        if received.qos != QoS::ExactlyOnce {
            return;
        }
        let trace = &self.client.trace;
        let id = &self.client.id;
        if book.times[place] > 1 {
            let text = format!("{id} gets {key} twice:\n{}", trace.describe(key));
            round.find_about(Some(key), Fault::Duplicated, &text);
        } else if key.kind == Kind::Traffic && !is_shared && key.number < book.last {
            let last = Key { number: book.last, ..key };
            let text = format!(
                "{id} gets {key} behind {last}:\n{}{}",
                trace.describe(last),
                trace.describe(key)
            );
            round.find_about(Some(key), Fault::OutOfOrder, &text);
        }
        book.last = book.last.max(key.number);
    }

    /// Returns how often this message arrived.
    pub(crate) fn times(&self, key: Key) -> u32 {
        let (book, place) = place_of(key);
        self.books[book].times.get(place).copied().unwrap_or(0).into()
    }

    /// Returns what the client has seen of a message.
    pub(crate) fn describe(&self, key: Key) -> String {
        format!("  {}:\n{}", self.client.id, self.client.trace.describe(key))
    }
}

/// Returns a message's book and its place there. There is one Will Message for each topic, and
/// topics are in no order.
fn place_of(key: Key) -> (usize, usize) {
    match key.kind {
        Kind::Will => (0, key.index as usize),
        _ => (key.index as usize, key.number as usize),
    }
}

/// The QoS at which messages are published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// The QoS of each publisher.
    pub(crate) publishers: Vec<PublisherQoS>,
}

impl Rules {
    fn qos(&self, key: Key) -> QoS {
        match key.kind {
            Kind::Will => crate::will::qos_of(key.index),
            _ => self.publishers[key.index as usize].of(key.number),
        }
    }
}
