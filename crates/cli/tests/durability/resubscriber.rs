//! A client that subscribes again and again: to new filters, plain and shared, and to old ones with
//! another QoS; some it gives up. What a SUBACK has said must hold later. Filters that were given
//! up are not checked, because an UNSUBACK promises nothing about a crash.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use midge_codec::{ProtocolVersion, QoS};

use crate::client::{Client, Happened};
use crate::common::random::Random;
use crate::common::wire::Gone;
use crate::message::{Key, Kind};
use crate::round::{Fault, PATIENCE, Round};
use crate::subscriber::Missing;
use crate::trace::Moment;

/// The most filters in use at the same time.
const FILTERS_MAX: usize = 150;

/// The most requests under way.
const REQUESTS_MAX: usize = 6;

/// A client with its book of subscriptions.
pub(crate) struct Resubscriber {
    pub(crate) client: Client,
    index: u32,
    filters: BTreeMap<u32, Filter>,
    next: u32,
    requests: HashMap<u16, u32>,
    random: Random,
    pub(crate) missing: Missing,
}

/// A filter, named by its number.
#[derive(Clone, Debug)]
struct Filter {
    /// When the broker acknowledged that it is there.
    acknowledged: Option<Moment>,
    /// The QoS at which it may deliver: those granted, and those asked for since.
    qos: Vec<QoS>,
}

impl Resubscriber {
    /// Makes a client; `index` tells clients apart.
    pub(crate) fn new(index: u32, version: ProtocolVersion, random: &Random) -> Self {
        let id = format!("resubscriber-{index}");
        Self {
            client: Client::new(&id, version),
            index,
            filters: BTreeMap::new(),
            next: 0,
            requests: HashMap::new(),
            random: random.fork(&id),
            missing: Missing::default(),
        }
    }

    /// Sends requests and waits for answers until the Network Connection ends.
    pub(crate) fn run(&mut self, round: &Round) -> Result<(), Gone> {
        self.client.connect(round)?;
        self.requests.clear();
        round.note_ready();
        let mut next_burst = Instant::now();
        loop {
            if Instant::now() >= next_burst {
                let room = REQUESTS_MAX.saturating_sub(self.requests.len()) as u64;
                for _ in 0..self.random.below(room + 1) {
                    self.ask();
                }
                next_burst = Instant::now() + self.random.micros(500, 20_000);
            }
            let happened = self.client.next(next_burst, round)?;
            self.note(&happened, round)?;
        }
    }

    fn ask(&mut self) {
        let is_asked = |filter: &u32| self.requests.values().any(|asked| asked == filter);
        let free: Vec<_> = self.filters.keys().copied().filter(|it| !is_asked(it)).collect();
        let chosen = match free.len() as u64 {
            0 => None,
            count => Some(free[self.random.below(count) as usize]),
        };
        let qos = if self.random.once_in(2) { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        match chosen {
            Some(number) if self.filters.len() >= FILTERS_MAX || self.random.once_in(6) => {
                self.filters.remove(&number);
                self.client.unsubscribe(&self.text(number));
            }
            Some(number) if self.random.once_in(5) => self.subscribe(number, qos),
            _ => {
                // The numbers of different clients are disjoint.
                let number = self.next * 16 + self.index;
                self.next += 1;
                self.subscribe(number, qos);
            }
        }
    }

    fn subscribe(&mut self, number: u32, qos: QoS) {
        let request = self.client.subscribe(&self.text(number), qos);
        self.requests.insert(request, number);
        let unknown = Filter { acknowledged: None, qos: Vec::new() };
        self.filters.entry(number).or_insert(unknown).qos.push(qos);
    }

    /// Returns the text of a filter; every fourth one is shared.
    fn text(&self, number: u32) -> String {
        let key = Key::new(Kind::Probe, number, 0);
        let is_shared = (number / 16).is_multiple_of(4);
        let prefix = if is_shared { format!("$share/only-{number}/") } else { String::new() };
        prefix + &key.topic()
    }

    fn note(&mut self, happened: &Happened, round: &Round) -> Result<(), Gone> {
        if let Happened::Subscribed(request, codes) = happened {
            if codes.iter().any(|code| code.is_error()) {
                return Err(Gone::Broken(format!("refuses a subscription: {codes:?}")));
            }
            self.client.is_promised = true;
            let number = self.requests.remove(request);
            if let Some(filter) = number.and_then(|number| self.filters.get_mut(&number)) {
                filter.acknowledged = Some(round.now());
                filter.qos.drain(..filter.qos.len() - 1);
            }
        }
        Ok(())
    }

    /// Returns the filters that must be there.
    pub(crate) fn promised(&self) -> impl Iterator<Item = u32> {
        let promised = self.filters.iter().filter(|(_, filter)| filter.acknowledged.is_some());
        promised.map(|(number, _)| *number)
    }

    /// Receives what was published to its filters until all of it has arrived.
    pub(crate) fn drain(&mut self, round: &Round) -> Result<(), Gone> {
        const QUIET_MAX: Duration = Duration::from_secs(8);
        self.client.connect(round)?;
        self.requests.clear();
        let mut quiet_since = Instant::now();
        while !self.missing.lock().unwrap().is_empty() && quiet_since.elapsed() < QUIET_MAX {
            let soon = Instant::now() + Duration::from_millis(50);
            let happened = self.client.next(soon, round)?;
            let Happened::Message(key, received) = happened else {
                continue;
            };
            quiet_since = Instant::now();
            let filter = self.filters.get(&key.index);
            if let Some(filter) = filter.filter(|filter| !filter.qos.contains(&received.qos)) {
                let (id, qos) = (&self.client.id, received.qos);
                let text = format!("{id} gets {key} at {qos:?}, but has {filter:?}");
                round.find(Fault::SubscriptionLost, &text);
            }
            self.missing.lock().unwrap().remove(&key);
        }
        self.client.ping();
        while !matches!(
            self.client.next(Instant::now() + PATIENCE, round)?,
            Happened::Answered | Happened::Nothing
        ) {}
        self.client.disconnect();
        Ok(())
    }

    /// Returns what is known about the filter that a message was for.
    pub(crate) fn describe(&self, key: Key) -> String {
        let filter = self.filters.get(&key.index);
        format!("{} has {}: {filter:?}", self.client.id, self.text(key.index))
    }
}
