//! Messages that count only once their round is confirmed, and which rounds are confirmed. A
//! confirmation may come before a message of its round.

use std::collections::BTreeSet;

use midge_core::{Owner, Round, WorkerId};

use super::Map;

/// How many confirmed rounds of each worker are remembered for messages that come late.
const CONFIRMED_MAX: usize = 1024;

/// The rounds of one life of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    boot: u64,
    provisional: Map<Round, Vec<(Owner, u64)>>,
    confirmed: Confirmed,
}

/// The last confirmed rounds of each worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirmed(Map<WorkerId, BTreeSet<u64>>);

impl Rounds {
    /// Returns the number of the process's life.
    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    pub(crate) fn is_confirmed(&self, round: Round) -> bool {
        self.confirmed.0.get(&round.worker).is_some_and(|numbers| {
            numbers.last().is_some_and(|last| round.number <= *last)
                && numbers.contains(&round.number)
        })
    }

    /// Notes a message that counts only once this round is confirmed.
    pub(crate) fn add(&mut self, round: Round, owner: Owner, sequence: u64) {
        self.provisional.entry(round).or_default().push((owner, sequence));
    }

    /// Confirms a round; returns the messages that count from now on.
    pub(crate) fn confirm(&mut self, round: Round) -> Vec<(Owner, u64)> {
        let numbers = self.confirmed.0.entry(round.worker).or_default();
        numbers.insert(round.number);
        if numbers.len() > CONFIRMED_MAX {
            numbers.pop_first();
        }
        self.provisional.remove(&round).unwrap_or_default()
    }

    /// Begins a new life of the process; returns the messages that waited for a confirmation.
    pub(crate) fn begin(&mut self, boot: u64) -> Vec<(Owner, u64)> {
        self.boot = boot;
        self.confirmed = Confirmed::default();
        self.provisional.drain().flat_map(|(_, entries)| entries).collect()
    }

    /// Returns all messages that wait for a confirmation, by their rounds.
    pub(crate) fn provisional(&self) -> impl ExactSizeIterator<Item = (&Round, &[(Owner, u64)])> {
        self.provisional.iter().map(|(round, entries)| (round, entries.as_slice()))
    }

    /// Returns all confirmed rounds that are remembered.
    pub(crate) fn confirmed(&self) -> impl Iterator<Item = Round> {
        self.confirmed.0.iter().flat_map(|(worker, numbers)| {
            numbers.iter().map(|number| Round { worker: *worker, number: *number })
        })
    }
}
