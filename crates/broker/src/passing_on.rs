//! Gives new connections to workers.
//!
//! This module must never read from a connection or wait for a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use midge_codec::ReasonCode;
use midge_net::{Accepted, Transport};

use crate::inbox::{Inbox, Letter, Newcomer};
use crate::listener_terms::ListenerTable;
use crate::placement::{Placement, Placing};

/// How many connections at a time are told to come later; further ones are closed without a word.
const TURNED_AWAY_MAX: usize = 1024;

/// What decides about new connections, on whatever thread they were accepted.
pub(crate) struct PassingOn {
    pub(crate) placement: Placement,
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    pub(crate) table: Arc<ListenerTable>,
    /// How many connections all listeners together let in.
    pub(crate) connections_max: Arc<AtomicUsize>,
    /// How many came beyond that.
    pub(crate) beyond: Arc<AtomicU64>,
}

impl PassingOn {
    /// Gives a connection that no worker has accepted to one.
    pub(crate) fn pass_on(&self, accepted: Accepted) {
        if let Some((worker, newcomer)) = self.place(accepted, None) {
            self.send(worker, newcomer);
        }
    }

    pub(crate) fn send(&self, worker: usize, newcomer: Newcomer) {
        self.inboxes[worker].send(Letter::Accepted(newcomer));
    }

    /// Says which worker gets a connection, and counts it there; `None`: it was closed without a
    /// word. `own` is the worker that has accepted it.
    pub(crate) fn place(
        &self,
        accepted: Accepted,
        own: Option<usize>,
    ) -> Option<(usize, Newcomer)> {
        let Accepted { stream, opened, refusal, listener } = accepted;
        // A connection whose listener is gone is closed.
        let terms = self.table.get(listener)?;
        let worker = self.choose(own);
        let inbox = &self.inboxes[worker];
        let connections_max = self.connections_max.load(Ordering::Relaxed);
        // Several threads accept, so comparing and counting must be one step.
        let one_more = |count: usize| (count < connections_max).then_some(count + 1);
        let is_let_in = refusal.is_none()
            && inbox.let_in.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        let is_turned_away = !is_let_in;
        if is_turned_away {
            self.beyond.fetch_add(u64::from(refusal.is_none()), Ordering::Relaxed);
            // Saying no must not cost a handshake.
            let is_cheap = matches!(
                stream.peer().transport,
                Transport::Tcp | Transport::Unix | Transport::WebSocket
            );
            if self.turned_away() >= TURNED_AWAY_MAX || !is_cheap {
                // The Reason Code is for QUIC, which sends it when it closes.
                stream.abort(ReasonCode::ServerBusy as u32);
                return None;
            }
            inbox.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        inbox.connections.fetch_add(1, Ordering::Relaxed);
        Some((worker, Newcomer { stream, terms, opened, is_turned_away }))
    }

    /// Says which worker is to watch the listeners, because most of those who come will be its own;
    /// `None`: no worker has time to.
    pub(crate) fn watcher(&self) -> Option<usize> {
        let busy = |worker: usize| self.inboxes[worker].load.busy();
        Placing::watcher(self.placement, self.inboxes.len(), busy, |it| self.connections(it))
    }

    fn choose(&self, own: Option<usize>) -> usize {
        let load =
            |worker: usize| Placing::told(&self.inboxes[worker].load, self.connections(worker));
        let workers = self.inboxes.len();
        Placing::choose(self.placement, workers, own, load, |it| self.connections(it))
    }

    fn connections(&self, worker: usize) -> usize {
        self.inboxes[worker].connections.load(Ordering::Relaxed)
    }

    fn turned_away(&self) -> usize {
        self.inboxes.iter().map(|inbox| inbox.turned_away.load(Ordering::Relaxed)).sum()
    }
}
