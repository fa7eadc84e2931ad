//! SUBSCRIBE and UNSUBSCRIBE packets with more filters than a turn has time for. They are handled
//! in slices. Meanwhile, what comes after them on their connections is not read, so that a Client
//! sees no difference except the time that it takes.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use crate::base::identity::{ConnectionId, SessionId};
use crate::base::limits::Limits;
use crate::boundary::peer_messages::Ticket;
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::route::Router;
use crate::subscribe::Subscriptions;
use crate::subscribe::filter_queue::FilterQueue;
use crate::subscribe::subscribing::Asking;

/// What is left of packets with many filters.
#[derive(Debug)]
pub(crate) struct Slices {
    waiting: VecDeque<ManyFilters>,
    /// How many bytes of memory they take.
    bytes: usize,
    /// How many filters this turn has time for.
    left: usize,
}

/// A packet with filters that are still to be handled.
#[derive(Debug)]
pub(crate) struct ManyFilters {
    pub(crate) connection: ConnectionId,
    pub(crate) session: SessionId,
    pub(crate) ticket: Ticket,
    pub(crate) task: Task,
    pub(crate) filters: FilterQueue,
}

/// What is to be done with the filters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// With this Subscription Identifier.
    Subscribe(Option<NonZeroU32>),
    Unsubscribe,
}

impl Default for Slices {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, left: Self::FILTERS_PER_TURN }
    }
}

impl Slices {
    const FILTERS_PER_TURN: usize = 1_024;
    /// How many filters of one packet are handled before it is another one's turn.
    const SLICE: usize = 128;

    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a packet of this Session waits.
    pub(crate) fn concern(&self, session: SessionId) -> bool {
        self.waiting.iter().any(|packet| packet.session == session)
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this many filters may be handled at once or put off. While little waits, any packet
    /// may be put off.
    pub(crate) fn can_take(&self, filters: usize, limits: &Limits) -> bool {
        filters <= self.left || self.bytes <= limits.backlog_bytes_max as usize
    }

    /// Whether this many filters may be handled at once; if so, takes them off this turn's share.
    pub(crate) fn admits(&mut self, filters: usize) -> bool {
        let is_admitted = filters <= self.left;
        self.left -= if is_admitted { filters } else { 0 };
        is_admitted
    }
}

impl Subscriptions {
    /// Puts off a packet that has too many filters for this turn.
    pub(crate) fn slice(&mut self, ground: &mut Ground, packet: ManyFilters, turn: &mut Turn) {
        ground.clients.set_reading(packet.connection, false, turn);
        self.slices.bytes += packet.filters.held_bytes();
        self.slices.waiting.push_back(packet);
    }

    /// Goes on with packets that have many filters, within this turn's share.
    pub(crate) fn run_slices(&mut self, router: &mut Router, ground: &mut Ground, turn: &mut Turn) {
        while self.slices.left > 0 {
            let Some(mut packet) = self.slices.waiting.pop_front() else {
                break;
            };
            let bytes = packet.filters.held_bytes();
            self.run_slice(router, ground, &mut packet, turn);
            if packet.filters.is_empty() {
                self.slices.bytes -= bytes;
                self.end_slices(router, ground, &packet, turn);
            } else {
                self.slices.waiting.push_back(packet);
            }
        }
        self.slices.left = Slices::FILTERS_PER_TURN;
    }

    fn run_slice(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        packet: &mut ManyFilters,
        turn: &mut Turn,
    ) {
        let connection = ground.clients.connection(packet.connection);
        let is_there = connection.is_some_and(|connection| connection.session().is_some());
        let slot = ground.clients.slot_of(packet.session).filter(|_| is_there);
        let Some(slot) = slot else {
            return packet.filters.clear(); // nobody is left who could be answered
        };
        let count = packet.filters.len().min(Slices::SLICE).min(self.slices.left);
        self.slices.left -= count;
        let (ticket, task, connection) = (packet.ticket, packet.task, packet.connection);
        let filters = packet.filters.take(count).into_iter();
        match task {
            Task::Subscribe(identifier) => {
                let asking = Asking { connection, slot, identifier };
                self.subscribe_some(router, ground, asking, ticket, filters, turn);
            }
            Task::Unsubscribe => {
                let filters = filters.map(|(filter, _)| filter);
                self.unsubscribe_some(router, ground, slot, ticket, filters, turn);
            }
        }
    }

    fn end_slices(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        packet: &ManyFilters,
        turn: &mut Turn,
    ) {
        let slot = ground.clients.slot_of(packet.session);
        match packet.task {
            Task::Subscribe(_) => self.end_subscribe(router, ground, packet.ticket, slot, turn),
            Task::Unsubscribe => self.end_unsubscribe(router, ground, packet.ticket, slot, turn),
        }
        if let Some(slot) = slot {
            router.go_on_with_streams(ground, slot, turn);
        }
        ground.clients.set_reading(packet.connection, true, turn);
    }
}
